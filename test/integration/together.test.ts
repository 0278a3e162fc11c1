/** Several generate() calls side by side: each image is that of a call by itself, and each call is followed, cancelled and fails by itself. */
import { DiffusionPipeline, Latents, RawImage, type GenerateOptions, type GenerateResult } from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'

let model: GoldenModel
let pipe: DiffusionPipeline
let exact: DiffusionPipeline
const load = (precision: 'exact' | 'fast') => DiffusionPipeline.load(model.file, { config: model.golden.config, device: 'cpu', precision })
beforeAll(async () => {
  model = goldenModel('sd1')
  pipe = await load('fast')
  exact = await load('exact')
})
afterAll(async () => {
  await pipe?.dispose()
  await exact?.dispose()
  model.remove()
})

const small: GenerateOptions = { prompt: 'a lighthouse', width: 64, height: 64, steps: 4, seed: 7 }
async function alone(calls: readonly GenerateOptions[], with_ = pipe): Promise<GenerateResult[]> {
  const results: GenerateResult[] = []
  for (const call of calls) results.push(await with_.generate(call))
  return results
}

function difference(a: GenerateResult, b: GenerateResult): { largest: number; mean: number } {
  let [largest, sum, count] = [0, 0, 0]
  for (const [i, { data }] of a.images.entries()) {
    const other = b.images[i]!.data
    for (let at = 0; at < data.length; at++) {
      const apart = Math.abs(data[at]! - other[at]!)
      largest = Math.max(largest, apart)
      sum += apart
    }
    count += data.length
  }
  return { largest, mean: sum / count }
}

/** In float32 at most rounding differs, because larger calls may add in another order. */
const bounds = { exact: { largest: 1, mean: 0.05 }, fast: { largest: 24, mean: 2 } }

async function compare(calls: readonly GenerateOptions[]): Promise<void> {
  for (const [used, bound] of [
    [exact, bounds.exact],
    [pipe, bounds.fast],
  ] as const) {
    const together = await Promise.all(used.generateTogether(calls))
    for (const [i, wanted] of (await alone(calls, used)).entries()) {
      const result = together[i]!
      expect(result.images).toHaveLength(wanted.images.length)
      const { largest, mean } = difference(result, wanted)
      expect(largest).toBeLessThanOrEqual(bound.largest)
      expect(mean).toBeLessThanOrEqual(bound.mean)
      expect(result.options).toEqual(wanted.options)
      expect(result.images.map(({ metadata }) => metadata)).toEqual(wanted.images.map(({ metadata }) => metadata))
    }
  }
}

test('images of different seeds differ by more than the bounds', async () => {
  const [one, two] = await Promise.all(pipe.generateTogether([small, { ...small, seed: 8 }]))
  expect(difference(one!, two!).mean).toBeGreaterThan(10 * bounds.fast.mean)
})

describe('the images are those of single calls', () => {
  test('prompts, negative prompts and seeds of their own', () =>
    compare([
      small,
      { ...small, prompt: 'a (red:1.4) fox', seed: 8 },
      { ...small, negativePrompt: 'dark', seed: 9 },
      { ...small, prompt: '', seed: 10 },
    ]))

  test('steps, samplers, guidance and numbers of images of their own', () =>
    compare([
      small,
      { ...small, steps: 7, sampler: 'euler_a' },
      { ...small, sampler: 'heun', guidanceScale: 3 },
      { ...small, sampler: 'dpm_adaptive' },
      { ...small, guidanceScale: 1, count: 3 },
      { ...small, guidanceInterval: [0.3, 0.8] },
      { ...small, rng: 'mt19937', sampler: 'dpmpp_2m', schedule: 'karras' },
    ]))

  test('prompts of several windows', () =>
    compare([small, { ...small, prompt: 'a lighthouse at the sea, '.repeat(20) }, { ...small, prompt: 'red, '.repeat(50), negativePrompt: 'x' }]))

  test('image to image, with and without a mask', () => {
    const image = new RawImage({ data: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7) % 256), width: 64, height: 64, channels: 3 })
    const mask = new RawImage({ data: Uint8Array.from({ length: 64 * 64 }, (_, i) => (i % 64 < 32 ? 255 : 0)), width: 64, height: 64, channels: 1 })
    return compare([small, { ...small, image, strength: 0.6 }, { ...small, image, mask, strength: 1 }])
  })

  test('sizes of their own, and features that are reused, which share no calls', () =>
    compare([small, { ...small, width: 128 }, { ...small, height: 128, seed: 8 }, { ...small, deepCache: { interval: 2 } }]))
})

test('they share the calls of the U-Net', async () => {
  const callsOf = async (action: () => Promise<unknown>) => (await exact.profile(action)).reduce((sum, { calls }) => sum + calls, 0)
  const one = await callsOf(() => exact.generate(small))
  const evaluations = (await callsOf(() => exact.generate({ ...small, steps: 8 }))) - one // of four steps
  expect(evaluations).toBeGreaterThan(0)
  const four = [7, 8, 9, 10].map((seed) => ({ ...small, seed }))
  const together = await callsOf(() => Promise.all(exact.generateTogether(four)))
  expect(together).toBeLessThanOrEqual(4 * one - 3 * evaluations)
})

test('profile() lists the work of its own pipeline only', async () => {
  const callsOf = async (action: () => Promise<unknown>) => (await exact.profile(action)).reduce((sum, { calls }) => sum + calls, 0)
  await using other = await load('exact')
  const alone = await callsOf(() => exact.generate(small))
  expect(alone).toBeGreaterThan(0)
  expect(await callsOf(() => Promise.all([exact.generate(small), other.generate({ ...small, seed: 8 })]))).toBe(alone)
  expect(await callsOf(() => other.generate(small))).toBe(0)
})

test('a call whose numbers overflow fails alone', async () => {
  const data = new Float32Array(256).fill(3e38)
  const latents = await Latents.from(data, [1, 4, 8, 8])
  const calls = [small, { ...small, seed: 8, latents }, { ...small, seed: 9 }]
  const [one, wrong, other] = await Promise.allSettled(exact.generateTogether(calls))
  expect(wrong).toMatchObject({ status: 'rejected', reason: { code: 'ERR_MODEL_FORMAT' } })
  for (const [result, call] of [
    [one, calls[0]],
    [other, calls[2]],
  ] as const) {
    if (result?.status !== 'fulfilled') throw new Error('it failed with the other')
    expect(difference(result.value, await exact.generate(call)).largest).toBeLessThanOrEqual(bounds.exact.largest)
  }
})

test('progress and previews are those of each call', async () => {
  const seen: string[][] = [[], []]
  const previews: number[][] = [[], []]
  const calls = [4, 6].map((steps, i): GenerateOptions => ({
    ...small,
    steps,
    seed: i,
    onProgress: ({ phase, step, steps: all }) => void (phase === 'sample' && seen[i]!.push(`${step}/${all}`)),
    preview: { every: 2, onPreview: (_, { step }) => void previews[i]!.push(step) },
  }))
  await Promise.all(pipe.generateTogether(calls))
  expect(seen.map((each) => each.at(-1))).toEqual(['4/4', '6/6'])
  expect(previews).toEqual([[2], [2, 4]])
})

test('a call that is aborted or wrong leaves the others alone', async () => {
  const control = new AbortController()
  const reason = new Error('enough')
  const calls: GenerateOptions[] = [
    { ...small, steps: 8 },
    {
      ...small,
      steps: 1000,
      seed: 3,
      signal: control.signal,
      onProgress: ({ phase, step }) => void (phase === 'sample' && step >= 2 && control.abort(reason)),
    },
    { ...small, steps: -1 },
    { ...small, signal: AbortSignal.abort(reason) },
    {
      ...small,
      seed: 5,
      onProgress: () => {
        throw reason
      },
    },
    { ...small, loras: [{ path: 'missing.safetensors' }] },
    { ...small, prompt: 'a (red:10000000) fox' }, // refused by the engine before it is queued
    { ...small, image: new RawImage({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 }), strength: 0.01 }, // of no steps
  ]
  const results = await Promise.allSettled(pipe.generateTogether(calls))
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', ...Array<string>(7).fill('rejected')])
  const reasons = results.map((each) => (each.status === 'rejected' ? (each.reason as unknown) : undefined))
  expect(reasons[1]).toBe(reason)
  expect(reasons[2]).toMatchObject({ code: 'ERR_INVALID_ARG' })
  expect(reasons[3]).toBe(reason)
  expect(reasons[4]).toBe(reason)
  expect(reasons[7]).toMatchObject({ message: 'strength: 0.01 of 4 steps leaves no step to run; use a higher strength or more steps' })
  expect(reasons[6]).toEqual(await pipe.generate(calls[6]).catch((error: unknown) => error))
  const { value } = results[0] as PromiseFulfilledResult<GenerateResult>
  expect(difference(value, (await alone([calls[0]!]))[0]!).mean).toBeLessThanOrEqual(bounds.fast.mean)
})

test('if all are aborted, the engine is free within one operation', async () => {
  const control = new AbortController()
  // Together they would take minutes.
  const calls = Array.from({ length: 4 }, (_, seed): GenerateOptions => ({
    ...small,
    width: 512,
    height: 512,
    steps: 400,
    seed,
    signal: control.signal,
  }))
  let started!: () => void
  const sampling = new Promise<void>((resolve) => (started = resolve))
  calls[0]!.onProgress = ({ phase }) => void (phase === 'sample' && started())
  const all = Promise.allSettled(pipe.generateTogether(calls))
  await sampling
  control.abort()
  expect((await all).every(({ status }) => status === 'rejected')).toBe(true)
  await pipe.generate(small)
})

test('a call that is aborted in the queue is rejected at once, the rest is made', async () => {
  const control = new AbortController()
  const long = new AbortController()
  const blocker = pipe.generate({ ...small, width: 512, height: 512, steps: 400, signal: long.signal }).catch((error: unknown) => error)
  const calls = pipe.generateTogether([small, { ...small, seed: 8, signal: control.signal }])
  const gone = calls[1]!.catch((error: unknown) => error)
  await new Promise((resolve) => setTimeout(resolve, 50))
  control.abort()
  expect(await gone).toMatchObject({ name: 'AbortError' })
  long.abort()
  await blocker
  expect(difference(await calls[0]!, (await alone([small]))[0]!).largest).toBe(0)
})

test('no calls, and calls of a disposed pipeline', async () => {
  expect(pipe.generateTogether([])).toEqual([])
  const other = await load('fast')
  await other.dispose()
  expect(() => other.generateTogether([small])).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }))
})
