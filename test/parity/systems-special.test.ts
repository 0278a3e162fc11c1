/** What single systems have beside the rest: raw weights, folders, tiles, noise on the small image, finished images. */
import { Autoencoder, createNoise, DiffusionPipeline, RawImage, type Latents, type LoadOptions, type ModelSource } from '../../lib/index'
import { input, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, row, toLatents, type GoldenModel } from '../helpers/model'
import { beyond, measureSystem, systems } from '../helpers/systems'

let model: GoldenModel
afterEach(() => model.remove())

const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
const withConfig = (): LoadOptions => ({ ...exact, config: model.golden.config })

function expectClose(actual: ArrayLike<number>, reference: ArrayLike<number>, name: string): void {
  const difference = maxDifference(actual, reference)
  expect([name, difference <= model.golden.expected[name]!.atol ? 'within' : difference]).toEqual([name, 'within'])
}

async function drawn(source: ModelSource, options: LoadOptions, steps: number, conditions: object = {}): Promise<Float32Array> {
  await using pipe = await DiffusionPipeline.load(source, options)
  let latents: Latents | undefined
  for await (const step of pipe.sample({ latents: await toLatents(input(model.golden, 'x_T')), steps, sampler: 'ddim', eta: 0, ...conditions }))
    latents = step.latents
  return await latents!.read()
}

describe('raw weights of a checkpoint that also has EMA weights, and the folder made from them', () => {
  const expected = loadExpected('ldm-uncond')

  test.each(['compvis', 'diffusers'])('%s', async (layout) => {
    model = goldenModel('ldm-uncond', layout)
    const options: LoadOptions = layout === 'diffusers' ? exact : { ...withConfig(), ema: false }
    expectClose(await drawn(layout === 'diffusers' ? model.folder : model.file, options, 4), expected.ddim4_raw!.data, 'ddim4_raw')
  })
})

test('LDM text to image as a diffusers folder', async () => {
  model = goldenModel('ldm-txt2img', 'diffusers')
  const expected = loadExpected('ldm-txt2img')
  await using pipe = await DiffusionPipeline.load(model.folder, exact)
  expect(pipe.kind).toBe('text')
  for (const [i, prompt] of ['a virus monster is playing guitar, oil on canvas', ''].entries()) {
    const conditioning = await pipe.encodePrompt(prompt)
    expectClose(await conditioning.read(), row(expected.text_context!, i).data, 'text_context')
    if (i === 0) {
      const out = await pipe.predict(await toLatents(input(model.golden, 'x')), { timestep: Array.from(input(model.golden, 't').data), conditioning })
      expectClose(await out.read(), expected.eps!.data, 'eps')
    }
  }
})

test('scale factor of the churches model: read from the file', async () => {
  model = goldenModel('ldm-churches')
  await using pipe = await DiffusionPipeline.load(model.file, withConfig())
  const entry = (model.golden.layouts.compvis!['model.ckpt'] as { tensors: any[] }).tensors.find(([key]) => key === 'scale_factor')
  expect(pipe.info.spec.scaleFactor).toBeCloseTo(entry[4].value[0], 6)
})

test('super-resolution in tiles: the U-Net and the decoder', async () => {
  model = goldenModel('ldm-sr-tiled')
  const expected = loadExpected('ldm-sr-tiled')
  const { ks } = model.golden.config.tiles as { ks: number }
  await using pipe = await DiffusionPipeline.load(model.file, { ...withConfig(), memory: { tileSize: ks } })
  const conditioning = await pipe.encodeCondition({ image: input(model.golden, 'lr_image') })
  const out = await pipe.predict(await toLatents(input(model.golden, 'x')), { timestep: input(model.golden, 't').data[0]!, conditioning })
  expectClose(await out.read(), expected.eps!.data, 'eps')
  const picture = await pipe.decode(await toLatents(input(model.golden, 'z')), { output: 'float' })
  expectClose(strided(picture, [1, 3, 128, 256], model.golden.expected.decoded!.stride!), expected.decoded!.data, 'decoded')
})

describe('SD x4 upscaler', () => {
  const expected = loadExpected('sd-x4-upscaler')

  test('as a diffusers folder', async () => {
    model = goldenModel('sd-x4-upscaler', 'diffusers')
    await using pipe = await DiffusionPipeline.load(model.folder, exact)
    expect(pipe.kind).toBe('superres')
    const distances = await measureSystem(
      pipe,
      systems.find(({ name }) => name === 'sd-x4-upscaler')!,
    )
    expect(Object.keys(distances).sort()).toEqual(['ddim4', 'image_out', 'model_out', 'text_context'])
    expect(beyond(distances, ({ atol }) => atol)).toEqual([])
  })

  test('the small image gets the requested noise level', async () => {
    model = goldenModel('sd-x4-upscaler')
    await using pipe = await DiffusionPipeline.load(model.file, withConfig())
    const [clean, noise] = [input(model.golden, 'lr_image'), input(model.golden, 'lr_noise')]
    // alpha_bar of level 20 in the low-scale schedule, by the two numbers that the golden mix is made of
    const keep = mixOf(expected.concat!.data, clean.data, noise.data)
    // On the CPU the reference draws it before the start noise; the generator of CUDA gives each draw its own numbers, the first to the start noise.
    for (const [rng, offset] of [
      ['mt19937', 0],
      ['philox', 1],
    ] as const) {
      const drawn = await createNoise({ seed: 5, shape: clean.shape, rng, offset })
      const conditioning = await pipe.encodeCondition({ prompt: '', image: clean, noiseLevel: 20 }, { seed: 5, rng })
      expect(conditioning.classLabel).toBe(20)
      const mixed = clean.data.map((value, i) => Math.sqrt(keep) * value + Math.sqrt(1 - keep) * drawn[i]!)
      expect(maxDifference(await conditioning.readConcat(), mixed)).toBeLessThanOrEqual(1e-4)
    }
  })

  /** alpha_bar of mix = sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise, by least squares. */
  function mixOf(mix: Float32Array, clean: Float32Array, noise: Float32Array): number {
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)
    const [cc, nn, cn] = [dot(clean, clean), dot(noise, noise), dot(clean, noise)]
    return ((dot(mix, clean) * nn - dot(mix, noise) * cn) / (cc * nn - cn * cn)) ** 2
  }
})

test('inpainting: the finished image is the reference’s where the mask is, and byte for byte the given one elsewhere', async () => {
  model = goldenModel('ldm-inpaint-big')
  const expected = loadExpected('ldm-inpaint-big')
  await using pipe = await DiffusionPipeline.load(model.file, { ...withConfig(), kind: 'inpaint' })
  for (const i of [0, 1]) {
    const { data: planes, shape } = row(input(model.golden, 'image'), i)
    const [height, width] = [shape[2]!, shape[3]!]
    const image = await RawImage.read({ data: interleaved(planes), width, height, channels: 3 })
    const { data: mask } = row(input(model.golden, 'mask'), i)
    const latents = await toLatents(row(input(model.golden, 'x_T'), i))
    const { images } = await pipe.generate({ image, mask: { data: mask, width, height }, latents, steps: 4, sampler: 'ddim', eta: 0 })
    const out = images[0]!
    expect([out.width, out.height]).toEqual([width, height])
    const kept = out.data.filter((_, at) => mask[Math.floor(at / 3)] === 0)
    expect(Buffer.from(kept).equals(Buffer.from(image.data.filter((_, at) => mask[Math.floor(at / 3)] === 0)))).toBe(true)
    // The image went in as bytes, which moves the result by more than rounding: 3 steps of 255.
    const painted = strided(planar(out), [1, 3, height, width], model.golden.expected.inpainted!.stride ?? 1)
    expect(maxDifference(painted, row(expected.inpainted!, i).data)).toBeLessThanOrEqual(3.5 / 255)
  }
})

/** Planes of values 0 to 1 as bytes. */
function interleaved(planes: Float32Array): Uint8Array {
  const pixels = planes.length / 3
  return Uint8Array.from({ length: planes.length }, (_, at) => Math.round(255 * planes[(at % 3) * pixels + Math.floor(at / 3)]!))
}

function planar({ data, width, height }: RawImage): Float32Array {
  const pixels = width * height
  return Float32Array.from({ length: 3 * pixels }, (_, at) => data[(at % pixels) * 3 + Math.floor(at / pixels)]! / 255)
}

test('tiny residual streams: epsilons of the AttentionBlock U-Net, VQ-f8 and the BERTEmbedder', async () => {
  model = goldenModel('ldm-small-signal')
  const expected = loadExpected('ldm-small-signal')
  await using first = await Autoencoder.load(model.file, withConfig())
  expectClose(await (await first.encode(input(model.golden, 'image'), { output: 'prequant' })).read(), expected.prequant!.data, 'prequant')
  const x = input(model.golden, 'x')
  const decoded = await first.decode(await toLatents(x), { output: 'float', quantize: false })
  expectClose(strided(decoded, [1, 3, 64, 96], model.golden.expected.decoded_noquant!.stride ?? 1), expected.decoded_noquant!.data, 'decoded_noquant')
  await first.dispose()

  // The case combines parts that no public model combines; its U-Net is conditioned on nothing.
  const { params } = model.golden.config.model
  const config = {
    model: {
      target: 'ldm.models.diffusion.ddpm.LatentDiffusion',
      params: { ...params, cond_stage_config: '__is_unconditional__', conditioning_key: null },
    },
  }
  await using pipe = await DiffusionPipeline.load(model.file, { ...exact, config })
  const out = await pipe.predict(await toLatents(x), { timestep: input(model.golden, 't').data[0]! })
  expectClose(await out.read(), expected.eps!.data, 'eps')
})
