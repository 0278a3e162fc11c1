/** The public surface as types/index.d.ts declares it: every function, constructor and method, and the fields of the options that each parameter takes. */
import path from 'node:path'
import ts from 'typescript'

/** Fields of an object by name, with the fields of the objects that they may be. */
export type Fields = Map<string, Fields>

export interface Callable {
  /** `createNoise`, `new RawImage`, `Latents.from` (static) or `Latents#read`. */
  name: string
  /** One per parameter: the fields of the options that it may be. */
  parameters: Fields[]
}

const file = path.resolve(__dirname, '..', '..', 'types', 'index.d.ts')

/** How deep options within options are followed. */
const depth = 3

export function readSurface(): { callables: Callable[]; fieldsOf: (type: string) => Fields } {
  const program = ts.createProgram([file], { target: ts.ScriptTarget.ES2022, strict: true, types: [] })
  const checker = program.getTypeChecker()
  const source = program.getSourceFile(file)!
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source)!)

  const isOurs = (symbol: ts.Symbol | undefined) => symbol?.declarations?.some((node) => node.getSourceFile() === source) ?? false
  /** Plain objects with fields that we declare: neither classes nor what other declarations merge with. */
  const isOptions = (type: ts.Type) =>
    !type.isClass() &&
    type.getCallSignatures().length === 0 &&
    !['URL', 'AbortSignal'].includes(type.symbol?.name ?? '') &&
    !checker.isArrayType(type) &&
    checker.getPropertiesOfType(type).some(isOurs)

  function fields(type: ts.Type, left: number): Fields {
    const found: Fields = new Map()
    const parts = type.isUnion() ? type.types : [type]
    for (const part of left === 0 ? [] : parts) {
      const element = checker.isArrayType(part) ? checker.getIndexTypeOfType(part, ts.IndexKind.Number) : undefined
      if (element) fields(element, left).forEach((inner, name) => found.set(name, inner))
      if (!isOptions(part)) continue
      for (const property of checker.getPropertiesOfType(part)) found.set(property.name, fields(checker.getTypeOfSymbol(property), left - 1))
    }
    return found
  }
  const parametersOf = (signatures: readonly ts.Signature[]) => {
    const parameters: Fields[] = []
    for (const signature of signatures)
      signature.parameters.forEach((parameter, i) => {
        const known = (parameters[i] ??= new Map() as Fields)
        fields(checker.getTypeOfSymbol(parameter), depth).forEach((inner, name) => known.set(name, inner))
      })
    return parameters
  }

  const callables: Callable[] = []
  const addMembers = (owner: string, type: ts.Type, mark: '.' | '#') => {
    for (const member of checker.getPropertiesOfType(type)) {
      if (member.name === 'prototype' || !isOurs(member) || member.name.startsWith('#')) continue
      const signatures = checker.getTypeOfSymbol(member).getCallSignatures()
      const name = member.name.startsWith('__@') ? `[${member.name.slice(3).replace(/@.*/, '')}]` : member.name
      if (signatures.length > 0) callables.push({ name: `${owner}${mark}${name}`, parameters: parametersOf(signatures) })
    }
  }
  for (const symbol of exported) {
    if ((symbol.flags & ts.SymbolFlags.Value) === 0) continue
    const type = checker.getTypeOfSymbol(symbol)
    const made = type.getConstructSignatures()
    if (type.getCallSignatures().length > 0) callables.push({ name: symbol.name, parameters: parametersOf(type.getCallSignatures()) })
    const instance = checker.getPropertyOfType(type, 'prototype')
    if (!instance) continue
    if (made.length > 0) callables.push({ name: `new ${symbol.name}`, parameters: parametersOf(made) })
    addMembers(symbol.name, type, '.')
    addMembers(symbol.name, checker.getTypeOfSymbol(instance), '#')
  }
  const fieldsOf = (name: string) => {
    const symbol = exported.find((one) => one.name === name)
    if (!symbol) throw new Error(`types/index.d.ts has no ${name}`)
    return fields(checker.getDeclaredTypeOfSymbol(symbol), depth)
  }
  return { callables, fieldsOf }
}
