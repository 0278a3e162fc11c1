import { addon } from '../native/call.js'
import { runJob } from '../native/job.js'
import { newFloats } from '../options/arrays.js'
import { shared } from '../options/common.js'
import { integer, nativeFields, option, pick, readOptions, type Options } from '../options/option.js'
import type { CallOptions, RngName } from '../types.js'
import { checkInteger, invalidRange, invalidType, listOf, show } from '../options/validate.js'

/** Options of {@link createNoise}. */
export interface NoiseOptions extends CallOptions {
  seed: number | bigint
  /** For instance [1, 4, 64, 64]. */
  shape: readonly number[]
  /** Default `philox`. */
  rng?: RngName
  /** The n-th call of `randn` after seeding, from 0. */
  offset?: number
}

const maxElements = 2 ** 30

function checkSizes(value: unknown, name: string): number[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be an array of sizes, not ${show(value)}`)
  return listOf(value, name, 32).map((size, i) => checkInteger(size, `${name}[${i}]`, { min: 1, max: maxElements }))
}

const inPrograms = 'noise is for programs'
const noiseOptions = {
  seed: { ...shared.seed, required: true as const },
  shape: option(checkSizes, { required: true, flag: inPrograms }),
  rng: shared.rng,
  offset: integer({ min: 0, max: 2 ** 31 - 1, fallback: () => 0, flag: inPrograms }),
  ...pick(shared, 'signal'),
} satisfies Options<NoiseOptions>

/** Standard normal numbers, identical to `torch.randn`: `philox` as on CUDA, `mt19937` as on the CPU. Computed on another thread. */
export async function createNoise(options: NoiseOptions): Promise<Float32Array> {
  const values = readOptions(noiseOptions, options, 'createNoise()', undefined)
  const { shape, signal } = values
  const elements = shape.reduce((a, b) => a * b, 1)
  if (elements > maxElements) throw invalidRange(`shape [${shape.join(', ')}] has ${elements} elements; at most ${maxElements} are allowed`)
  const out = newFloats(elements, 'createNoise()')
  const request = JSON.stringify(nativeFields(noiseOptions, values))
  await runJob(() => addon().createNoise(request, out), { signal })
  return out
}
