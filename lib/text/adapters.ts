/** Adapters that a prompt names, as the web UI (AUTOMATIC1111 1.10) writes them: `<lora:name:weight>`. They are no words. */

const adapter = /<(?:lora|lyco|hypernet):[^<>]*>/g

/** The marks of adapters in a prompt, as they stand there. */
export function adapterNames(prompt: string): string[] {
  return prompt.match(adapter) ?? []
}

/** A prompt without the marks of adapters. */
export function withoutAdapters(prompt: string): string {
  return prompt.replace(adapter, '')
}

/** What a mark asks for. */
export interface AdapterMark {
  name: string
  weight: number
  textWeight: number
}

/**
 * Reads `<lora:name>`, `<lora:name:both>` and `<lora:name:text:unet>`; `te=` and `unet=` name their numbers. Undefined for a mark of another kind, or with
 * numbers that are none.
 */
export function readMark(mark: string): AdapterMark | undefined {
  const [kind, name = '', ...rest] = mark.slice(1, -1).split(':')
  if (kind === 'hypernet' || name === '') return undefined
  const given: { te?: number; unet?: number } = {}
  const places = ['te', 'unet'] as const
  let place = 0
  for (const part of rest) {
    const [key, value] = part.includes('=') ? (part.split('=', 2) as [string, string]) : [places[place++], part]
    if (key !== 'te' && key !== 'unet') continue // the web UI has a third number, which its own files need
    const number = Number(value)
    if (value.trim() === '' || !Number.isFinite(number) || Math.abs(number) > 1000) return undefined
    given[key] = number
  }
  const textWeight = given.te ?? 1
  return { name, weight: given.unet ?? textWeight, textWeight }
}
