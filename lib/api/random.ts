import { addon, guarded } from '../native/call.js'
import { shared } from '../options/common.js'
import { choice, integer, nativeFields, option, readOptions, type Options, type Values } from '../options/option.js'
import type { RngName } from '../types.js'
import { checkInteger, invalidRange, invalidType } from '../options/validate.js'

/** Options of {@link createRandom}. */
export interface RandomOptions {
  /**
   * `words`: the generator's raw 32-bit words. Of the generator `mt19937` also `uniform`: numbers of [0, 1), as `torch.rand`; `integers`: `low` <= x < `high`, as
   * `torch.randint`; `permutation`: the numbers 0 to `count` - 1 in random order, as `torch.randperm`.
   */
  kind: 'words' | 'uniform' | 'integers' | 'permutation'
  seed: number | bigint
  /** Number of values, 1 to 2^18. */
  count: number
  /** Default `mt19937`. `philox` supports only `words`: block i of four is that of the counter (0, 0, i, 0). */
  rng?: RngName
  /** Of `integers`, default 0. */
  low?: number
  /** Of `integers`, at most 2^31. */
  high?: number
}

const inPrograms = 'random numbers are for programs'
const randomOptions = {
  kind: choice({ names: ['words', 'uniform', 'integers', 'permutation'], required: true, flag: inPrograms }),
  seed: { ...shared.seed, required: true as const },
  count: integer({ min: 1, max: 2 ** 18, required: true, flag: inPrograms }),
  rng: { ...shared.rng, fallback: () => 'mt19937' as const },
  low: integer({ min: -(2 ** 31), max: 2 ** 31 - 1, flag: inPrograms }),
  high: option((value) => value as number, { flag: inPrograms }), // above `low`
} satisfies Options<RandomOptions>

/** The first numbers of a generator after seeding, identical to torch. For normal numbers use `createNoise()`. */
export function createRandom(options: RandomOptions & { kind: 'words' }): Uint32Array
export function createRandom(options: RandomOptions & { kind: 'uniform' }): Float32Array
export function createRandom(options: RandomOptions & { kind: 'integers' | 'permutation' }): Int32Array
export function createRandom(options: RandomOptions): Uint32Array | Float32Array | Int32Array
export function createRandom(options: RandomOptions): Uint32Array | Float32Array | Int32Array {
  const values = readOptions(randomOptions, options, 'createRandom()', undefined)
  const { kind, count, rng } = values
  if (rng !== 'mt19937' && kind !== 'words') throw invalidRange(`rng: '${kind}' needs mt19937; ${rng} gives 'words' only`)
  const bounds = resolveBounds(values)
  const out = kind === 'uniform' ? new Float32Array(count) : new Int32Array(count)
  guarded(() => addon().createRandom(JSON.stringify({ ...nativeFields(randomOptions, values), ...bounds }), out))
  return kind === 'words' ? new Uint32Array(out.buffer) : out
}

function resolveBounds({ kind, low, high }: Values<typeof randomOptions>): { low?: number; high?: number } {
  if (kind !== 'integers') {
    if (low !== undefined || high !== undefined) throw invalidType("low and high are for kind 'integers'")
    return {}
  }
  if (high === undefined) throw invalidType("high is missing: kind 'integers' gives low <= x < high")
  return { low: low ?? 0, high: checkInteger(high, 'high', { min: (low ?? 0) + 1, max: 2 ** 31 }) }
}
