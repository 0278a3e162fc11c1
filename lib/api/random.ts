import { addon, guarded } from '../native/call.js'
import { resolveRng } from '../options/options.js'
import type { RngName } from '../types.js'
import { checkInteger, checkName, checkSeed, invalidRange, invalidType, knownKeys } from '../options/validate.js'

/** Options of {@link createRandom}. */
export interface RandomOptions {
  /**
   * `words`: the generator's raw 32-bit words. Of the generator `mt19937` also `uniform`: numbers of [0, 1), as `torch.rand`; `integers`: `low` <= x < `high`, as
   * `torch.randint`; `permutation`: the numbers 0 to `count` - 1 in random order, as `torch.randperm`.
   */
  kind: 'words' | 'uniform' | 'integers' | 'permutation'
  seed: number | bigint
  /** How many numbers, 1 to 2^20. */
  count: number
  /** Default `mt19937`. `philox` has words alone: block i of four is that of the counter (0, 0, i, 0). */
  rng?: RngName
  /** Of `integers`, default 0. */
  low?: number
  /** Of `integers`, at most 2^31. */
  high?: number
}

const kinds = ['words', 'uniform', 'integers', 'permutation'] as const
const maxCount = 2 ** 20

/** The first numbers that a generator gives after seeding, exactly those of torch; `createNoise()` gives normal ones. */
export function createRandom(options: RandomOptions & { kind: 'words' }): Uint32Array
export function createRandom(options: RandomOptions & { kind: 'uniform' }): Float32Array
export function createRandom(options: RandomOptions & { kind: 'integers' | 'permutation' }): Int32Array
export function createRandom(options: RandomOptions): Uint32Array | Float32Array | Int32Array
export function createRandom(options: RandomOptions): Uint32Array | Float32Array | Int32Array {
  const o = knownKeys(options, 'createRandom()', ['kind', 'seed', 'count', 'rng', 'low', 'high'])
  const kind = checkName(o.kind, 'kind', kinds)
  const seed = checkSeed(o.seed, 'seed')
  const count = checkInteger(o.count, 'count', { min: 1, max: maxCount })
  const rng = o.rng === undefined ? 'mt19937' : resolveRng(o.rng)
  if (rng !== 'mt19937' && kind !== 'words') throw invalidRange(`rng: ${kind} are those of mt19937; ${rng} has words alone`)
  const bounds = resolveBounds(o, kind)
  const out = kind === 'uniform' ? new Float32Array(count) : new Int32Array(count)
  guarded(() => addon().createRandom(JSON.stringify({ kind, seed: String(seed), rng, ...bounds }), out))
  return kind === 'words' ? new Uint32Array(out.buffer) : out
}

function resolveBounds(o: Record<string, unknown>, kind: RandomOptions['kind']): { low?: number; high?: number } {
  if (kind !== 'integers') {
    if (o.low !== undefined || o.high !== undefined) throw invalidType("low and high are for kind 'integers'")
    return {}
  }
  if (o.high === undefined) throw invalidType("high is missing: kind 'integers' gives low <= x < high")
  const low = o.low === undefined ? 0 : checkInteger(o.low, 'low', { min: -(2 ** 31), max: 2 ** 31 - 1 })
  return { low, high: checkInteger(o.high, 'high', { min: low + 1, max: 2 ** 31 }) }
}
