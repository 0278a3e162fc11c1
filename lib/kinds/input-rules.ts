/** The inputs of a model: names, messages for others, checks. */
import { UnsupportedModelError } from '../errors.js'
import { describeParts } from '../model/spec.js'
import type { Values } from '../options/option.js'
import { invalidType } from '../options/validate.js'
import type { PipelineInfo } from '../types.js'
import { inputOptions, negativeOptions, refinerOptions, startOptions, takesPrompts, takesStartPicture, type Input } from './input-options.js'
import type { Emphasis } from './inputs.js'
import { checkSearch } from './neighbours.js'

const inputRows: Readonly<Record<string, Input<unknown>>> = inputOptions

function taken(table: Readonly<Record<string, Input<unknown>>>, info: PipelineInfo): string[] {
  return Object.entries(table).flatMap(([key, row]) => (row.takenBy(info) ? [key] : []))
}

/** Names of the inputs of encodeCondition(). */
export function inputKeys(info: PipelineInfo): string[] {
  return taken(inputOptions, info)
}

/** Names of the inputs of generate(): those, the negative prompt, image to image, and the refiner's. */
export function generateInputKeys(info: PipelineInfo): string[] {
  return [...inputKeys(info), ...taken(negativeOptions, info), ...taken(startOptions, info), ...taken(refinerOptions, info)]
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** Describes the model's inputs for a message. */
export function describeInputs(info: PipelineInfo, startPicture = takesStartPicture(info)): string {
  const rows = startPicture || !takesStartPicture(info) ? { ...inputOptions, ...negativeOptions } : inputOptions
  const own = taken(Object.fromEntries(Object.entries(rows).filter(([, row]) => 'listed' in row)), info)
  const start = startPicture ? 'image with strength and mask' : ''
  if (own.length === 0) return start ? `it takes no inputs except, for image to image, ${start}` : 'it takes no inputs'
  return `it takes ${list(own)}${start ? ` and, for image to image, ${start}` : ''}`
}

/** Messages for inputs that the model does not take, for {@link knownKeys}. */
export function refusedInputs(info: PipelineInfo, startPicture?: boolean): Record<string, string> {
  const takes = describeInputs(info, startPicture)
  const name = info.name || `this ${info.kind} model`
  const rows = { ...startOptions, ...negativeOptions, ...refinerOptions, ...inputOptions }
  return Object.fromEntries(Object.entries(rows).map(([key, { purpose }]) => [key, `is ${purpose}; ${name} is not: ${takes}`]))
}

// ---- checking --------------------------------------------------------------------------------------------------------

/** A prompt with its settings. */
export interface ResolvedPrompt {
  text: string
  emphasis: Emphasis
  clipSkip: number | undefined
}

/** Checked inputs: only those that the model takes, and that were given or have a default. */
export interface ResolvedInputs extends Partial<Omit<Values<typeof inputOptions>, 'prompt' | 'emphasis' | 'clipSkip'>> {
  prompt?: ResolvedPrompt
}

/** The checked inputs of a model. `o` has known keys only. */
export function resolveInputs(o: Record<string, unknown>, info: PipelineInfo): ResolvedInputs {
  if (info.kind === 'autoencoder') throw new UnsupportedModelError(`This model takes no inputs: ${describeParts(info)}`)
  if (info.kind === 'rdm' && o.prompt === undefined && o.neighbours === undefined)
    throw invalidType('prompt and neighbours are missing: this model needs at least one of them')
  const values: Record<string, unknown> = {}
  for (const key of inputKeys(info)) {
    const row = inputRows[key]!
    const missing = o[key] === undefined ? row.missing?.(info) : undefined
    if (missing !== undefined) throw invalidType(`${key} is missing: ${missing}`)
    const value = o[key] === undefined ? row.fallback?.(info as never) : row.check(o[key], key, info as never)
    if (value !== undefined) values[key] = value
  }
  const { prompt, emphasis = 'original', clipSkip, ...rest } = values as Partial<Values<typeof inputOptions>>
  if (rest.neighbours) checkSearch(rest.neighbours, prompt !== undefined)
  return { ...(prompt === undefined ? {} : { prompt: { text: prompt, emphasis, clipSkip } }), ...rest }
}

export { takesPrompts, takesStartPicture }
