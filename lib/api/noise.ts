import { OutOfMemoryError } from '../errors.js'
import { addon } from '../native/call.js'
import { runJob } from '../native/job.js'
import { optionalSignal, resolveRng } from '../options/options.js'
import type { CallOptions, RngName } from '../types.js'
import { checkInteger, checkSeed, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'

/** Options of {@link createNoise}. */
export interface NoiseOptions extends CallOptions {
  seed: number | bigint
  /** For instance [1, 4, 64, 64]. */
  shape: readonly number[]
  /** Default `philox`. */
  rng?: RngName
  /** Which draw of the generator, from 0: the n-th call of `randn` after seeding. */
  offset?: number
}

const maxElements = 2 ** 30

function newFloats(length: number): Float32Array {
  try {
    return new Float32Array(length)
  } catch (cause) {
    const message = `createNoise(): there is no memory for ${length} numbers, ${4 * length} bytes`
    throw new OutOfMemoryError(message, { required: 4 * length }, { cause })
  }
}

/** Standard normal numbers, exactly those of `torch.randn`: `philox` as on CUDA, `mt19937` as on the CPU. They are drawn on another thread. */
export async function createNoise(options: NoiseOptions): Promise<Float32Array> {
  const o = knownKeys(options, 'createNoise()', ['seed', 'shape', 'rng', 'offset', 'signal'])
  const seed = checkSeed(o.seed, 'seed')
  if (!Array.isArray(o.shape)) throw invalidType(`shape must be an array of sizes, not ${show(o.shape)}`)
  const shape = listOf(o.shape, 'shape', 32).map((size, i) => checkInteger(size, `shape[${i}]`, { min: 1, max: maxElements }))
  const elements = shape.reduce((a, b) => a * b, 1)
  if (elements > maxElements) throw invalidRange(`shape [${shape.join(', ')}] has ${elements} elements; at most ${maxElements} are allowed`)
  const offset = o.offset === undefined ? 0 : checkInteger(o.offset, 'offset', { min: 0, max: 2 ** 31 - 1 })
  const out = newFloats(elements)
  const request = JSON.stringify({ seed: String(seed), shape, rng: resolveRng(o.rng), offset })
  await runJob(() => addon().createNoise(request, out), { signal: optionalSignal(o) })
  return out
}
