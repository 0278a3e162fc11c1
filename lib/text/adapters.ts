/** Adapters named in a prompt, in the web UI's syntax (AUTOMATIC1111 1.10): `<lora:name:weight>`. They are not part of the text. */

const adapter = /<(?:lora|lyco|hypernet):[^<>]*>/g

/** The adapter tags in a prompt, verbatim. */
export function adapterNames(prompt: string): string[] {
  return prompt.match(adapter) ?? []
}

/** A prompt without adapter tags. */
export function withoutAdapters(prompt: string): string {
  return prompt.replace(adapter, '')
}

/** A parsed tag. */
export interface AdapterMark {
  name: string
  weight: number
  textWeight: number
}

/**
 * Reads `<lora:name>`, `<lora:name:both>` and `<lora:name:text:unet>`; `te=` and `unet=` name their numbers. Undefined for other tags or invalid numbers.
 */
export function readMark(mark: string): AdapterMark | undefined {
  const [kind, name = '', ...rest] = mark.slice(1, -1).split(':')
  if (kind === 'hypernet' || name === '') return undefined
  const given: { te?: number; unet?: number } = {}
  const places = ['te', 'unet'] as const
  let place = 0
  for (const part of rest) {
    const [key, value] = part.includes('=') ? (part.split('=', 2) as [string, string]) : [places[place++], part]
    if (key !== 'te' && key !== 'unet') continue // the web UI has a third number, for its own formats
    const number = Number(value)
    if (value.trim() === '' || !Number.isFinite(number) || Math.abs(number) > 1000) return undefined
    given[key] = number
  }
  const textWeight = given.te ?? 1
  return { name, weight: given.unet ?? textWeight, textWeight }
}
