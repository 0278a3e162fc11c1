import { addon, guarded } from '../native/call.js'
import { resolveRng } from '../options/options.js'
import type { RngName } from '../types.js'
import { checkInteger, checkSeed, invalidRange, invalidType, knownKeys, show } from '../options/validate.js'

/** Options of {@link createNoise}. */
export interface NoiseOptions {
  seed: number | bigint
  /** For instance [1, 4, 64, 64]. */
  shape: readonly number[]
  /** Default `philox`. */
  rng?: RngName
  /** Which draw of the generator, from 0: the n-th call of `randn` after seeding. */
  offset?: number
}

const maxElements = 2 ** 30

/** Standard normal numbers, exactly those of `torch.randn`: `philox` as on CUDA, `mt19937` as on the CPU. */
export function createNoise(options: NoiseOptions): Float32Array {
  const o = knownKeys(options, 'createNoise()', ['seed', 'shape', 'rng', 'offset'])
  const seed = checkSeed(o.seed, 'seed')
  if (!Array.isArray(o.shape)) throw invalidType(`shape must be an array of sizes, not ${show(o.shape)}`)
  const shape = o.shape.map((size, i) => checkInteger(size, `shape[${i}]`, { min: 1, max: maxElements }))
  const elements = shape.reduce((a, b) => a * b, 1)
  if (elements > maxElements) throw invalidRange(`shape [${shape.join(', ')}] has ${elements} elements; at most ${maxElements} are allowed`)
  const offset = o.offset === undefined ? 0 : checkInteger(o.offset, 'offset', { min: 0, max: 2 ** 31 - 1 })
  const out = new Float32Array(elements)
  guarded(() => addon().createNoise(JSON.stringify({ seed: String(seed), shape, rng: resolveRng(o.rng), offset }), out))
  return out
}
