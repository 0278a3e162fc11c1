import { checkInteger, checkNumber, invalidType, show } from '../options/validate.js'
import type { Timings } from '../types.js'

/**
 * The milliseconds of one call, of which calls that ran together have equal parts of those that they share (`loadMs`, `sampleMs`), so that the sums over calls are the time of the engine: for
 * statistics.
 * @param timings of a result; `sharedBy` may be absent, as in results of older workers
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for what is no such object
 */
export function ownTimings(timings: Omit<Timings, 'sharedBy'> & Partial<Timings>): Omit<Timings, 'sharedBy'> {
  if (typeof timings !== 'object' || timings === null) throw invalidType(`timings must be those of a result, not ${show(timings)}`)
  const { loadMs, encodeMs, sampleMs, decodeMs, sharedBy } = timings
  const ms = (value: unknown, name: string) => checkNumber(value, `timings.${name}`, { min: 0, max: Number.MAX_VALUE })
  const calls = sharedBy === undefined ? 1 : checkInteger(sharedBy, 'timings.sharedBy', { min: 1, max: 2 ** 31 })
  return {
    loadMs: ms(loadMs, 'loadMs') / calls,
    encodeMs: ms(encodeMs, 'encodeMs'),
    sampleMs: ms(sampleMs, 'sampleMs') / calls,
    decodeMs: ms(decodeMs, 'decodeMs'),
  }
}
