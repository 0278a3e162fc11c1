/** The command line's flags, derived from the tables of options. */
import type { FlagText, OptionTable } from './option.js'

/** kebab-case of the API's camelCase. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** The API's camelCase of kebab-case. */
export function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

type Kebab<S extends string> = S extends `${infer H}${infer T}` ? `${H extends Lowercase<H> ? H : `-${Lowercase<H>}`}${Kebab<T>}` : S
type FlagName<K extends string, Row> = Row extends { flag: { name: infer N extends string } } ? N : Kebab<K>
type FlagKind<Row> = Row extends { type: 'boolean' }
  ? 'switch'
  : Row extends { type: 'number' }
    ? 'number'
    : Row extends { type: 'list' }
      ? 'texts'
      : 'text'

export interface DerivedFlag<Kind> {
  kind: Kind
  short?: string
  value?: string
  help: string
}

/** A flag for each row that has one, and `no-NAME` for those with a negation. */
export type FlagsOf<Table> = {
  [K in keyof Table & string as Table[K] extends { flag: { help: string } } ? FlagName<K, Table[K]> : never]: DerivedFlag<FlagKind<Table[K]>>
} & {
  [K in keyof Table & string as Table[K] extends { flag: { negation: string } } ? `no-${FlagName<K, Table[K]>}` : never]: DerivedFlag<'switch'>
}

const kinds = { boolean: 'switch', number: 'number', list: 'texts', other: 'text' } as const

function rowsWithFlags(table: OptionTable): [name: string, key: string, flag: FlagText, kind: (typeof kinds)[keyof typeof kinds]][] {
  return Object.entries(table).flatMap(([key, { flag, type }]) => {
    if (typeof flag === 'string') return []
    return [[flag.name ?? kebabCase(key), key, flag, kinds[type]]]
  })
}

/** The flags of a table, in its order. */
export function flagsOf<Table extends OptionTable>(table: Table): FlagsOf<Table> {
  const flags: Record<string, DerivedFlag<string>> = {}
  for (const [name, , { short, value, help, negation }, kind] of rowsWithFlags(table)) {
    flags[name] = { kind, ...(short ? { short } : {}), ...(value ? { value } : {}), help }
    if (negation !== undefined) flags[`no-${name}`] = { kind: 'switch', help: negation }
  }
  return flags as FlagsOf<Table>
}

/** Converts flag values to options. `fail` gets the whole message. */
export function optionsOfFlags(
  table: OptionTable,
  values: Readonly<Record<string, unknown>>,
  fail: (message: string) => Error,
): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const [name, key, { read }] of rowsWithFlags(table)) {
    const given = values[name]
    if (values[`no-${name}`] === true) {
      if (given !== undefined) throw fail(`--${name} and --no-${name} cannot be combined`)
      options[key] = false
    } else if (given !== undefined) {
      const refuse = (message: string): never => {
        throw fail(`--${name}${message}`)
      }
      const readText = (text: unknown) => (read && typeof text === 'string' ? read(text, refuse) : text)
      const value: unknown = Array.isArray(given) ? given.map(readText) : readText(given)
      if (value !== undefined) options[key] = value
    }
  }
  return options
}
