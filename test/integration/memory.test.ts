/** What estimateMemory() says before loading against what the process takes, in a fresh process per case on the built package. */
import { existsSync } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import {
  convert,
  DiffusionPipeline,
  estimateMemory,
  OutOfMemoryError,
  type LoadOptions,
  type TextGenerateOptions,
  type WeightType,
} from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'
import { describeModel, runChild } from './children/run'

// What the allocator of the system and Node's own heap keep differs from run to run; what the plan leaves out is there in every one.
jest.retryTimes(2, { logErrorsBeforeRetry: true })

let model: GoldenModel
let modelFile: string

beforeAll(() => {
  if (!existsSync('dist/esm.mjs')) throw new Error('dist/ is missing: run `npm run build:ts` first')
  model = goldenModel('sd1')
  modelFile = describeModel(model)
})
afterAll(() => model.remove())

interface Said {
  peakBytes: number
  lowPeakBytes: number
  processBytes: number
  previews: number
  measured: number
}

async function measure(request: {
  file?: string
  load?: object
  size: { width: number; height: number }
  run?: object
  steps?: number
}): Promise<Said> {
  const { code, stderr, said } = await runChild('memory', modelFile, JSON.stringify(request))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return said[0] as unknown as Said
}

describe('the measured peak stays within the estimate', () => {
  // The first sizes fit whatever is done; the later ones would not if graphs, maps or weights were left out of the plan.
  test.each([
    [64, 64, { memory: 'fast' }],
    [256, 256, { memory: 'auto' }],
    [384, 256, { memory: 'low' }],
    [512, 384, { memory: 'fast' }],
    [640, 640, { memory: 'auto' }],
    [640, 512, { memory: 'low' }],
    [512, 512, { memory: 'auto', dtype: 'q8_0' }],
    [384, 384, { memory: 'auto', precision: 'exact' }],
  ])('%dx%d, %j', async (width, height, load) => {
    const { peakBytes, lowPeakBytes, processBytes, measured } = await measure({ load, size: { width, height } })
    const stated = peakBytes + processBytes
    expect(measured).toBeLessThanOrEqual(1.05 * stated)
    expect(measured).toBeGreaterThan(0.6 * stated) // an estimate that is far too high refuses what would run
    expect(lowPeakBytes).toBeLessThanOrEqual(peakBytes)
  })

  // Features of two images, both halves of guidance, beside the decoder.
  test.each([
    [384, 384, { memory: 'auto' }, 'vae'],
    [384, 256, { memory: 'low' }, 'vae'],
  ])('%dx%d, %j, features that are reused, previews of method %s', async (width, height, load, method) => {
    const run = { count: 2, deepCache: { interval: 2, branch: 1 }, preview: { method } }
    const { peakBytes, processBytes, previews, measured } = await measure({ load, size: { width, height }, run, steps: 2 })
    const stated = peakBytes + processBytes
    expect(previews).toBe(2)
    expect(measured).toBeLessThanOrEqual(1.05 * stated)
    expect(measured).toBeGreaterThan(0.6 * stated)
  })

  test('a quantised file', async () => {
    const file = path.join(model.folder, 'q4.gguf')
    await convert(model.file, file, { type: 'q4_0', config: model.golden.config })
    const { peakBytes, processBytes, measured } = await measure({ file, size: { width: 512, height: 512 } })
    expect(measured).toBeLessThanOrEqual(1.05 * (peakBytes + processBytes))
  })
})

test('below the weights, they are streamed from the file: the same image, down to the stated floor', async () => {
  const options = { prompt: 'a red circle on a blue background', seed: 1, steps: 3 }
  const draw = async (memory: LoadOptions['memory']) => {
    await using pipe = await DiffusionPipeline.load(undefined, { kind: 'text', device: 'cpu', memory })
    const images: Uint8Array[] = []
    // Twice: the second run finds the weights as the first left them.
    for (let i = 0; i < 2; i++) images.push((await pipe.generate(options)).images[0]!.data)
    return images
  }
  const free = await estimateMemory()
  expect(free.stages.unet!.streamed).toBe(0)
  expect(free.floorBytes).toBeLessThan(free.lowPeakBytes)
  const [wanted] = await draw('auto')
  const between = Math.round((free.floorBytes + free.peakBytes) / 2)
  const streamed: number[] = []
  for (const maxBytes of [free.floorBytes, between]) {
    const estimate = await estimateMemory(undefined, { memory: { maxBytes } })
    expect(estimate.peakBytes).toBeLessThanOrEqual(maxBytes)
    expect(estimate.floorBytes).toBe(free.floorBytes)
    streamed.push(estimate.stages.unet!.streamed)
    for (const image of await draw({ maxBytes })) expect(Buffer.compare(image, wanted!)).toBe(0)
  }
  expect(streamed[0]).toBeGreaterThan(1e6)
  expect(streamed[1]).toBeLessThan(streamed[0]!)
  await expect(estimateMemory(undefined, { memory: { maxBytes: free.floorBytes - 1 } })).rejects.toBeInstanceOf(OutOfMemoryError)
  await expect(draw({ maxBytes: free.floorBytes - 1 })).rejects.toBeInstanceOf(OutOfMemoryError)
})

test('a limit that is too small gives an error that lists what fits', async () => {
  const estimate = (maxBytes: number, mode: 'auto' | 'low' = 'auto') =>
    estimateMemory(model.file, { config: model.golden.config as never, width: 512, height: 512, memory: { mode, maxBytes } })
  const free = await estimateMemory(model.file, { config: model.golden.config as never, width: 512, height: 512 })
  // What it states without a bound is a bound that it fits.
  expect((await estimate(free.peakBytes)).peakBytes).toBeLessThanOrEqual(free.peakBytes)
  // Less than that: smaller batches, bands, tiles and streamed weights, down to a refusal that names the way out.
  const bound = Math.round(0.8 * free.peakBytes)
  expect((await estimate(bound)).peakBytes).toBeLessThanOrEqual(bound)
  const error = await estimate(Math.round(0.9 * free.floorBytes)).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ name: 'OutOfMemoryError', details: { required: expect.any(Number) as number } })
})

test('the alternatives in the error work under the same limit', async () => {
  const config = model.golden.config as never
  const free = await estimateMemory(model.file, { config, width: 320, height: 192, guidanceScale: 5 })
  const maxBytes = Math.round(0.97 * free.floorBytes)
  const draw = async (memory: LoadOptions['memory'], options: TextGenerateOptions, dtype?: WeightType) => {
    await using pipe = await DiffusionPipeline.load(model.file, { config, memory, dtype })
    if (pipe.kind !== 'text') throw new Error(pipe.kind)
    return pipe.generate({ prompt: 'a', steps: 1, guidanceScale: 5, ...options })
  }
  const error = await draw({ maxBytes }, { width: 320, height: 192 }).catch((reason: unknown) => reason as OutOfMemoryError)
  if (!(error instanceof OutOfMemoryError)) throw new Error('nothing was refused')
  expect(error.required).toBeGreaterThan(maxBytes)
  expect(error.available).toBe(maxBytes)
  expect(error.plans.length).toBeGreaterThan(0)
  expect(error.nearest).toEqual(error.plans[0])
  expect(error.least).toBeUndefined()
  for (const { width, height, memory, dtype, guidanceScale, peakBytes } of error.plans) {
    expect(peakBytes).toBeLessThanOrEqual(maxBytes)
    const { images } = await draw({ mode: memory, maxBytes }, { width, height, ...(guidanceScale ? { guidanceScale } : {}) }, dtype)
    expect(images[0]).toMatchObject({ width, height })
  }
})

test('errors for lack of memory list plans that fit', async () => {
  await using pipe = await DiffusionPipeline.load()
  const size = { width: 16384, height: 16384 }
  if ((await estimateMemory(undefined, size)).peakBytes < 1.5 * totalmem()) return // it might not be refused here
  const error = await pipe.generate({ prompt: 'a red circle', ...size, steps: 1 }).catch((reason: unknown) => reason)
  if (!(error instanceof OutOfMemoryError)) throw new Error('nothing was refused')
  expect(error.required).toBeGreaterThan(error.available!)
  expect(error.plans.length).toBeGreaterThan(0)
  for (const { peakBytes } of error.plans) expect(peakBytes).toBeLessThanOrEqual(error.available!)
})

test('if nothing fits, the error names the minimum', async () => {
  const error = await DiffusionPipeline.load(model.file, { config: model.golden.config as never, memory: { maxBytes: 1000 } }).catch(
    (reason: unknown) => reason,
  )
  expect(error).toMatchObject({
    name: 'OutOfMemoryError',
    available: 1000,
    plans: [],
    nearest: undefined,
    least: { memory: 'low', guidanceScale: 1 },
  })
  expect((error as Error).message).toMatch(/Nothing fits; the smallest choice is 64x64/)
})
