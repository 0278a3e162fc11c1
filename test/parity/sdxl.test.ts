/** SDXL through the public API, from a single file, a folder and a GGUF file: prompts, sizes, zeros for no negative prompt, images. */
import path from 'node:path'
import { convert, Conditioning, DiffusionPipeline, type LoadOptions } from '../../lib/index'
import { input, loadExpected, maxDifference, relativeError, strided } from '../helpers/golden'
import { goldenModel, row, toLatents, type GoldenModel } from '../helpers/model'

let model: GoldenModel
afterEach(() => model.remove())

const prompt = 'a photo of an astronaut riding a horse'
const exact: LoadOptions = { precision: 'exact', device: 'cpu' }

function expectClose(actual: ArrayLike<number>, reference: ArrayLike<number>, name: string): void {
  const difference = maxDifference(actual, reference)
  expect([name, difference <= model.golden.expected[name]!.atol ? 'within' : difference]).toEqual([name, 'within'])
}

/** Height before width in the case, width and height by name in the API. */
function goldenSizes() {
  const [height, width] = Array.from(input(model.golden, 'original_size').data) as [number, number]
  const [top, left] = Array.from(input(model.golden, 'crop_top_left').data) as [number, number]
  return { original: { width, height }, crop: { top, left } }
}

/** Latents after each of the four steps of diffusers' Euler. */
async function expectTrace(name: string, pipe: DiffusionPipeline, conditioning: Conditioning, unconditional: Conditioning): Promise<void> {
  const trace = loadExpected(name).euler4_leading!
  let i = 0
  const options = { latents: await toLatents(input(model.golden, 'x_T')), steps: 4, sampler: 'euler', schedule: 'leading', guidanceScale: 5 } as const
  for await (const step of pipe.sample({ ...options, conditioning, unconditional }))
    expectClose(await step.latents.read(), row(trace, i++).data, 'euler4_leading')
  expect(i).toBe(4)
}

describe.each(['compvis', 'diffusers', 'GGUF'])('%s', (layout) => {
  const load = async (name: string) => {
    model = goldenModel(name, layout === 'GGUF' ? 'compvis' : layout)
    if (layout === 'diffusers') return DiffusionPipeline.load(model.folder, exact)
    const { config } = model.golden
    if (layout === 'compvis') return DiffusionPipeline.load(model.file, { ...exact, config })
    const file = path.join(model.folder, 'model.gguf')
    await convert(model.file, file, { type: 'f32', config })
    return DiffusionPipeline.load(file, exact)
  }

  test('base', async () => {
    await using pipe = await load('sdxl-base')
    const expected = loadExpected('sdxl-base')
    expect(pipe.info).toMatchObject({ kind: 'text', condition: { sizes: 'base', zeroNegative: true, dim: 72 } })
    const sizes = { ...goldenSizes(), target: { width: 1024, height: 1024 } }
    const conditioning = await pipe.encodeCondition({ prompt, sizes })
    expect([conditioning.shape, conditioning.vectorDim]).toEqual([[1, 77, 72], 1576])
    const tokens = await conditioning.read()
    const part = (first: number, count: number) => tokens.filter((_, i) => i % 72 >= first && i % 72 < first + count)
    expectClose(part(0, 32), row(expected.context_l!, 0).data, 'context_l')
    expectClose(part(32, 40), row(expected.context_g!, 0).data, 'context_g')
    expectClose(await conditioning.readVector(), expected.vector!.data, 'vector')
    const unconditional = await pipe.encodeCondition({ prompt, sizes }, { unconditional: true })
    expect(await unconditional.read()).toEqual(new Float32Array(77 * 72))
    await expectTrace('sdxl-base', pipe, conditioning, unconditional)
    // generate() takes the same way: no negative prompt, and the empty one, are the zeros; another one is encoded.
    const settings = { prompt, sizes, width: 64, height: 64, steps: 2, seed: 1 }
    const [plain, empty, other] = await Promise.all(
      ['', undefined, 'a red sky'].map((negativePrompt) => pipe.generate({ ...settings, negativePrompt })),
    )
    expect(empty!.images[0]!.data).toEqual(plain!.images[0]!.data)
    expect(other!.images[0]!.data).not.toEqual(plain!.images[0]!.data)
    expect(plain!.options).toMatchObject({ sizes })
    const larger = await pipe.generate({ ...settings, sizes: { original: { width: 2048, height: 2048 } } })
    expect(larger.images[0]!.data).not.toEqual(plain!.images[0]!.data)
    await expect(pipe.generate({ prompt, sizes: { aestheticScore: 7 } })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test('refiner', async () => {
    await using pipe = await load('sdxl-refiner')
    const expected = loadExpected('sdxl-refiner')
    expect(pipe.info).toMatchObject({ kind: 'text', condition: { sizes: 'refiner', dim: 40 } })
    const conditioning = await pipe.encodeCondition({ prompt, sizes: goldenSizes() })
    expectClose(await conditioning.read(), row(expected.context_g!, 0).data, 'context_g')
    expectClose(await conditioning.readVector(), expected.vector!.data, 'vector')
    const unconditional = await pipe.encodeCondition({ prompt, sizes: goldenSizes() }, { unconditional: true })
    expectClose(await unconditional.read(), row(expected.context_g!, 1).data, 'context_g')
    await expectTrace('sdxl-refiner', pipe, conditioning, unconditional)
    const picture = await pipe.generate({ prompt, width: 64, height: 64, steps: 2, seed: 1 })
    expect(picture.images[0]).toMatchObject({ width: 64, height: 64 })
    await expect(pipe.generate({ prompt, sizes: { target: { width: 8, height: 8 } } })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })
})

/** Tokens of both text encoders side by side, as the base model has them. */
function goldenContext(expected: ReturnType<typeof loadExpected>): { shape: number[]; data: Float32Array } {
  const parts = [expected.context_l, expected.context_g].filter((part) => part !== undefined).map((part) => row(part, 0))
  const tokens = Array.from({ length: 77 }, (_, i) => parts.map(({ data, shape }) => Array.from(data.subarray(i * shape[2]!, (i + 1) * shape[2]!))))
  const dim = parts.reduce((sum, { shape }) => sum + shape[2]!, 0)
  return { shape: [1, 77, dim], data: Float32Array.from(tokens.flat(2)) }
}

/** Relative errors of tokens, pooled text and sizes, one evaluation, encoder and decoder. */
async function errorsOf(name: string, options: LoadOptions): Promise<Record<string, number>> {
  await using pipe = await DiffusionPipeline.load(model.folder, { device: 'cpu', ...options })
  const expected = loadExpected(name)
  const target = name === 'sdxl-base' ? { target: { width: 1024, height: 1024 } } : {}
  const encoded = await pipe.encodeCondition({ prompt, sizes: { ...goldenSizes(), ...target } })
  const context = goldenContext(expected)
  const conditioning = await Conditioning.from(context.data, context.shape, { vector: expected.vector!.data })
  const evaluated = await pipe.predict(await toLatents(row(input(model.golden, 'x'), 0)), {
    timestep: input(model.golden, 't').data[0]!,
    conditioning,
  })
  const last = row(expected.euler5!, 4)
  const decoded = await pipe.decode(await toLatents(row({ shape: last.shape.slice(1), data: last.data }, 0)), { output: 'float' })
  const image = row(expected.image_out!, 0)
  const { stride = 1 } = model.golden.expected.image_out!
  return {
    context: relativeError(await encoded.read(), context.data),
    vector: relativeError(await encoded.readVector(), expected.vector!.data),
    unet: relativeError(await evaluated.read(), row(expected.eps!, 0).data),
    encoder: relativeError(await (await pipe.encodeImage(input(model.golden, 'image'), { mode: 'moments' })).read(), expected.moments!.data),
    decoder: relativeError(strided(decoded, [1, 3, image.shape[2]! * stride, image.shape[3]! * stride], stride), image.data),
  }
}

/**
 * Stated relative errors of `fast` and of weights in q8_0 on top, 1.5 times the larger of both models as measured with products in bfloat16. Without them, as with AVX2,
 * `fast` computes these files in float32. Text encoders do so everywhere; only the attention of a first stage has weights in 8 bits.
 */
const stated = {
  context: { fast: 1e-4, q8: 0.0091 },
  vector: { fast: 1e-4, q8: 0.0018 },
  unet: { fast: 0.018, q8: 0.028 },
  encoder: { fast: 0.0145, q8: 0.016 },
  decoder: { fast: 0.0092, q8: 0.0097 },
}

test.each(['sdxl-base', 'sdxl-refiner'])('%s: fast arithmetic, and weights in q8_0', async (name) => {
  model = goldenModel(name, 'diffusers')
  const [fast, q8] = [await errorsOf(name, {}), await errorsOf(name, { dtype: 'q8_0' })]
  if (process.env.LATENT_TEST_FIGURES) console.log(name, { fast, q8 })
  for (const [part, bounds] of Object.entries(stated)) {
    expect([part, fast[part], fast[part]! < bounds.fast]).toEqual([part, fast[part], true])
    expect([part, q8[part], q8[part]! < bounds.q8]).toEqual([part, q8[part], true])
  }
  for (const part of ['context', 'vector', 'unet']) expect(q8[part]).toBeGreaterThan(fast[part]!)
})
