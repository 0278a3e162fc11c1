/** A latent consistency model with a whole U-Net: the guidance scale is told to the network, in a folder, in GGUF, in smaller types and from a single file. */
import path from 'node:path'
import { convert, createSolver, DiffusionPipeline, estimateMemory, type Latents, type LoadOptions, type ModelSource } from '../../lib/index'
import { input, loadCase, loadExpected, materialise, maxDifference } from '../helpers/golden'
import { goldenModel, row, times, toConditioning, toLatents, type GoldenModel } from '../helpers/model'

const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
const lcm = loadCase('sd1-lcm')
const expected = loadExpected('sd1-lcm')
const at = (name: string) => input(lcm, name)
const guidanceScale = lcm.config.guidance_scale as number
let model: GoldenModel

/** The case's U-Net in the folder of the case that it stands on. */
beforeAll(() => {
  model = goldenModel('sd1', 'diffusers')
  materialise(lcm, 'diffusers', model.folder)
})
afterAll(() => model.remove())

async function epsOf(pipe: DiffusionPipeline, scale = guidanceScale): Promise<Float32Array> {
  const conditioning = await toConditioning(at('context'))
  return (await pipe.predict(await toLatents(at('x')), { timestep: at('t').data[0]!, conditioning, guidanceScale: scale })).read()
}

/** Largest difference from the reference as a share of its largest number. */
async function distance(source: ModelSource, options: LoadOptions): Promise<number> {
  await using pipe = await DiffusionPipeline.load(source, options)
  return maxDifference(await epsOf(pipe), expected.eps!.data) / lcm.expected.eps!.max_abs
}

test('model information', async () => {
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  expect(pipe.info.spec.unet!.guidanceEmbedDim).toBe(256)
  expect(pipe.info).toMatchObject({ kind: 'text', condition: { guidance: true, guidanceEmbedding: true } })
  expect(pipe.info.defaults).toMatchObject({ sampler: 'lcm', steps: 4, guidanceScale: 8 })
})

test('the U-Net reads the guidance scale', async () => {
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  const eps = await epsOf(pipe)
  expect(maxDifference(eps, expected.eps!.data)).toBeLessThanOrEqual(lcm.expected.eps!.atol)
  expect(maxDifference(await epsOf(pipe, 1), eps)).toBeGreaterThan(100 * lcm.expected.eps!.atol)
})

test('features are reused only for the same scale', async () => {
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  const data = async (interval?: number) => {
    const options = { prompt: 'a cat', seed: 5, width: 64, height: 64, steps: 4, guidanceInterval: [0, 0.5] as const }
    return (await pipe.generate(interval ? { ...options, deepCache: { interval } } : options)).images[0]!.data
  }
  // From the third step on the network is told another scale: its features are made anew there, as with an interval of two.
  expect(await data(4)).toEqual(await data(2))
  expect(await data(2)).not.toEqual(await data())
})

test('four steps with the reference noise', async () => {
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  const solver = createSolver({ sampler: 'lcm', steps: 4, spec: pipe.info.spec })
  const trace = expected.lcm!
  const conditioning = await toConditioning(at('context'))
  const x: Latents = await toLatents(times(at('x_T'), solver.initNoiseSigma))
  for (const [i, timestep] of solver.timesteps.entries()) {
    const output = await pipe.predict(await solver.scaleInput(x, i), { timestep, conditioning, guidanceScale })
    await solver.step(output, x, i, i < 3 ? at(`noise_${i}`).data : undefined)
    expect(maxDifference(await x.read(), row(trace, i).data)).toBeLessThanOrEqual(lcm.expected.lcm!.atol)
  }
})

test('sample() and generate() use one evaluation per step, with and without the scale', async () => {
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  const conditioning = await pipe.encodePrompt('a cat')
  const run = async (options: object) => {
    let latents: Latents | undefined
    for await (const step of pipe.sample({ conditioning, seed: 5, width: 64, height: 64, ...options })) latents = step.latents
    return latents!.read()
  }
  const own = await run({})
  expect(maxDifference(own, await run({ guidanceScale: 8, unconditional: await pipe.encodePrompt('a dog') }))).toBe(0)
  expect(maxDifference(own, await run({ guidanceScale: 2 }))).toBeGreaterThan(0.01)
  // Outside of the interval the weight is that of guidance 1.
  expect(maxDifference(await run({ guidanceInterval: [0, 0] }), await run({ guidanceScale: 1 }))).toBe(0)

  const base = { prompt: 'a cat', seed: 5, width: 64, height: 64 }
  const plain = await pipe.generate(base)
  expect(plain.options).toMatchObject({ sampler: 'lcm', steps: 4, guidanceScale: 8 })
  expect([plain.warnings, 'negativePrompt' in plain.options]).toEqual([[], false])
  const negative = await pipe.generate({ ...base, negativePrompt: 'a dog '.repeat(100) })
  expect(negative.images[0]!.data).toEqual(plain.images[0]!.data)
  expect(negative.warnings.map(({ code }) => code)).toEqual(['WARN_NEGATIVE_IGNORED'])
  expect((await pipe.generate({ ...base, negativePrompt: '' })).warnings).toEqual([])
  const flat = await pipe.generate({ ...base, prompt: 'a (cat:1.4)', emphasis: 'no_norm' })
  expect([flat.options, flat.images[0]!.metadata.parameters]).toEqual([
    expect.objectContaining({ emphasis: 'no_norm' }),
    expect.stringContaining('Emphasis: No norm'),
  ])
})

test('GGUF, half precision, q8_0 and fast arithmetic', async () => {
  const file = path.join(model.folder, 'lcm.gguf')
  const worst: Record<string, number> = {}
  for (const type of ['f32', 'f16', 'q8_0'] as const) {
    await convert(model.folder, file, { type })
    worst[type] = await distance(file, exact)
    worst[`${type} fast`] = await distance(file, { device: 'cpu' })
  }
  expect(worst.f32).toBeLessThan(1e-4)
  expect(worst.f16).toBeLessThan(4e-3)
  expect(worst.q8_0).toBeLessThan(3e-2)
  for (const type of ['f32', 'f16']) expect(worst[`${type} fast`]).toBeLessThan(2e-2)
  expect(worst['q8_0 fast']).toBeLessThan(4e-2)
  if (process.env.LATENT_TEST_FIGURES) console.log(worst)
})

test('guidance needs no extra memory: one row', async () => {
  const [guided, bare] = await Promise.all([8, 1].map((scale) => estimateMemory(model.folder, { ...exact, guidanceScale: scale })))
  expect(guided!.stages.unet).toEqual(bare!.stages.unet)
})

test('a separate U-Net file', async () => {
  const rest = goldenModel('sd1', 'diffusers')
  try {
    const source = { model: rest.folder, unet: path.join(model.folder, 'unet') }
    expect(await distance(source, exact)).toBeLessThan(1e-4)
  } finally {
    rest.remove()
  }
})

test('the preset uses the scale of the model', async () => {
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  const { options } = await pipe.generate({ prompt: 'a cat', preset: 'lcm', steps: 2, width: 64, height: 64 })
  expect(options).toMatchObject({ sampler: 'lcm', steps: 2, guidanceScale: 8 })
})
