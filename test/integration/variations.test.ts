/** Variations: start noise between that of two seeds, in the library, the settings of images, and jobs for workers. */
import { createNoise, DiffusionPipeline, Latents, parseInfotext, type GenerateOptions, type RawImage } from '../../lib/index'
import { decodeOptions, encodeOptions, readJob } from '../../packages/worker/src/job-options'
import { protocolVersion } from '../../packages/worker/src/protocol'
import type { ObjectStore } from '../../packages/worker/src/objects'

let pipe: DiffusionPipeline
beforeAll(async () => {
  pipe = await DiffusionPipeline.load()
})
afterAll(() => pipe?.dispose())

const small: GenerateOptions = { prompt: 'a red circle', steps: 4, seed: 7 }
const draw = async (more: GenerateOptions = {}) => pipe.generate({ ...small, ...more })
const first = async (more: GenerateOptions = {}) => bytes((await draw(more)).images[0])
const bytes = (image: RawImage | undefined) => Buffer.from(image!.data)

/** The web UI's slerp (modules/rng.py), which normalises along the rows of [channels, height, width]. */
function slerp(strength: number, low: Float32Array, high: Float32Array, [channels, height, width]: readonly [number, number, number]): Float32Array {
  const out = new Float32Array(low.length)
  for (let c = 0; c < channels; c++)
    for (let x = 0; x < width; x++) {
      const at = Array.from({ length: height }, (_, y) => (c * height + y) * width + x)
      const norm = (of: Float32Array) => Math.hypot(...at.map((i) => of[i]!))
      const omega = Math.acos(at.reduce((sum, i) => sum + (low[i]! / norm(low)) * (high[i]! / norm(high)), 0))
      const share = (part: number) => Math.sin(part * omega) / Math.sin(omega)
      for (const i of at) out[i] = share(1 - strength) * low[i]! + share(strength) * high[i]!
    }
  return out
}

test('strength 0 is the seed alone, strength 1 the other seed, and between them is another image', async () => {
  const alone = await first()
  expect((await first({ variationSeed: 9, variationStrength: 0 })).equals(alone)).toBe(true)
  const other = await first({ seed: 9 })
  expect((await first({ variationSeed: 9, variationStrength: 1 })).equals(other)).toBe(true)
  const between = await first({ variationSeed: 9, variationStrength: 0.5 })
  expect([between.equals(alone), between.equals(other)]).toEqual([false, false])
  expect((await first({ variationSeed: 9, variationStrength: 0.5 })).equals(between)).toBe(true)
  // A seed is no variation of itself.
  expect((await first({ variationSeed: 7, variationStrength: 0.5 })).equals(alone)).toBe(true)
})

test("the noise is the web UI's", async () => {
  const own = await pipe.createLatents({ seed: 7 })
  const { shape } = own
  const sides = shape.slice(1) as unknown as [number, number, number]
  const noise = (seed: number) => createNoise({ shape: sides, seed })
  const [low, high] = await Promise.all([noise(7), noise(9)])
  expect(low).toEqual(await own.read())
  const latents = await Latents.from(slerp(0.3, low, high, sides), shape)
  const [mine, theirs] = [await first({ variationSeed: 9, variationStrength: 0.3 }), await first({ latents })]
  // Sums in another order.
  expect(Math.max(...mine.map((value, i) => Math.abs(value - theirs[i]!)))).toBeLessThanOrEqual(1)
  expect((await first({ variationSeed: 9, variationStrength: 0.4 })).equals(mine)).toBe(false)
})

test('a batch has one seed, and variation seeds that count up; each image tells its own', async () => {
  const { images, options, seed } = await draw({ count: 3, variationSeed: 2n ** 64n - 1n, variationStrength: 0.5 })
  expect([seed, options.variationSeed, options.variationStrength]).toEqual([7n, 2n ** 64n - 1n, 0.5])
  const fields = images.map(({ metadata }) => parseInfotext(metadata.parameters!).fields)
  expect(fields.map(({ Seed }) => Seed)).toEqual(['7', '7', '7'])
  expect(fields.map((each) => each['Variation seed'])).toEqual([String(2n ** 64n - 1n), '0', '1'])
  expect(new Set(fields.map((each) => each['Variation seed strength']))).toEqual(new Set(['0.5']))
  for (const [i, image] of images.entries())
    expect((await first({ variationSeed: BigInt.asUintN(64, 2n ** 64n - 1n + BigInt(i)), variationStrength: 0.5 })).equals(bytes(image))).toBe(true)
})

test.each(['philox', 'mt19937'] as const)('the options of a result reproduce it, also with a random other seed, with %s', async (rng) => {
  const { images, options } = await draw({ variationStrength: 0.2, sampler: 'euler_a', rng })
  expect(typeof options.variationSeed).toBe('bigint')
  const again = await pipe.generate(options)
  expect(bytes(again.images[0]).equals(bytes(images[0]))).toBe(true)
  const plain = (await draw()).options
  expect([plain.variationSeed, plain.variationStrength]).toEqual([undefined, undefined])
})

test('values that make no sense are refused', async () => {
  for (const more of [
    { variationSeed: 5 },
    { variationStrength: -0.1 },
    { variationStrength: 1.1 },
    { variationStrength: NaN },
    { variationStrength: '0.5' },
    { variationStrength: 0.5, variationSeed: -1 },
    { variationStrength: 0.5, variationSeed: 1.5 },
    { variationStrength: 0.5, variationSeed: 2n ** 64n },
    { variationStrength: 0.5, latents: await pipe.createLatents({ seed: 1 }) },
  ] as object[])
    await expect(draw(more)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(/variation/) })
})

test('jobs for workers keep the other seed, and choose a random one when they are submitted', async () => {
  const store = {} as ObjectStore
  const travel = async (options: object) => {
    const encoded = JSON.parse(JSON.stringify(await encodeOptions({ prompt: 'a', seed: 1, ...options }, store)))
    return decodeOptions(readJob({ version: protocolVersion, model: 'm', options: encoded }), store)
  }
  expect(await travel({ variationSeed: 2n ** 60n, variationStrength: 0.5 })).toMatchObject({ variationSeed: 2n ** 60n, variationStrength: 0.5 })
  expect(await travel({ variationStrength: 0.5 })).toMatchObject({ variationSeed: expect.any(BigInt) })
  expect(await travel({ variationStrength: 0 })).not.toHaveProperty('variationSeed')
  await expect(travel({ variationSeed: -1, variationStrength: 1 })).rejects.toThrow('variationSeed must be a whole number')
  const options = { seed: '1', variationSeed: 'x' }
  expect(() => readJob({ version: protocolVersion, model: 'm', options })).toThrow('variationSeed of the job is not a decimal text')
})
