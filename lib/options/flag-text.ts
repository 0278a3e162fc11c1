/** Parsing of flag values that are more than one number or name. */
import type { Fail } from './option.js'

/** A number from the command line. */
export function readNumber(text: string, fail: Fail): number {
  const number = Number(text)
  if (text.trim() === '' || Number.isNaN(number)) return fail(` takes a number, not '${text}'`)
  return number
}

/** Comma-separated numbers. */
export function readNumbers(text: string, fail: Fail, least: number, most: number): number[] {
  const numbers = text.split(',').map((part) => readNumber(part, fail))
  if (numbers.length < least || numbers.length > most)
    return fail(` takes ${least === most ? least : `${least} or ${most}`} number${most > 1 ? 's' : ''} between commas, not '${text}'`)
  return numbers
}

/** The name of a schedule, or noise levels: comma-separated numbers, optionally preceded by `sigmas:`. */
export function readSchedule(text: string, fail: Fail): string | Float32Array {
  const [, prefix, numbers] = /^\s*(?:(sigmas|timesteps)\s*:)?(.*)$/is.exec(text)!
  if (prefix?.toLowerCase() === 'timesteps')
    return fail(' takes noise levels (sigmas:14.6,7.1,2.2,0) or the name of a schedule; use --timesteps for timesteps')
  if (prefix === undefined && !text.includes(',')) return text
  return Float32Array.from(numbers!.split(','), (part) => readNumber(part, fail))
}

/** Comma-separated `name=value` pairs; numbers, true and false are converted, everything else is text. */
export function readPairs(text: string, fail: Fail): Record<string, number | boolean | string> {
  const read = (value: string) =>
    value === 'true' || value === 'false' ? value === 'true' : value === '' || Number.isNaN(Number(value)) ? value : Number(value)
  return Object.fromEntries(
    text.split(',').map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) return fail(`: '${pair}' is not of the form NAME=VALUE`)
      return [pair.slice(0, at).trim(), read(pair.slice(at + 1).trim())]
    }),
  )
}
