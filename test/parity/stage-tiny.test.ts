/** The tiny autoencoder (TAESD) through Autoencoder: its two files, diffusers' folder, GGUF; exact tiles; in place of a model's own first stage; previews. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Autoencoder, convert, DiffusionPipeline, estimateMemory, UnsupportedModelError, type LoadOptions, type RawImage } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, toLatents } from '../helpers/model'

const name = 'addon-taesd'
const golden = loadCase(name)
const expected = loadExpected(name)
const square = (values: Float32Array) => values.reduce((sum, x) => sum + x * x, 0)

/** The reference works on images from 0 to 1, the engine on -1 to 1. */
const unit = (values: Float32Array) => values.map((x) => x / 2 + 0.5)
const signed = ({ data, shape }: { data: Float32Array; shape: number[] }) => ({ data: data.map((x) => 2 * x - 1), shape })

/** Errors as shares of what the case allows, and relative root mean square. */
async function measure(stage: Autoencoder): Promise<{ worst: number; share: number }> {
  const decoded = unit(await stage.decode(await toLatents(input(golden, 'z')), { output: 'float' }))
  const pairs = [
    ['encoded', await (await stage.encode(signed(input(golden, 'image')))).read()],
    ['decoded', strided(decoded, [1, 3, 64, 48], golden.expected.decoded!.stride ?? 1)],
  ] as const
  const worst = pairs.map(([what, actual]) => maxDifference(actual, expected[what]!.data) / golden.expected[what]!.atol)
  const share = pairs.map(([what, actual]) => {
    const reference = expected[what]!.data
    return Math.sqrt(square(actual.map((x, i) => x - reference[i]!)) / square(reference))
  })
  return { worst: Math.max(...worst), share: Math.max(...share) }
}

const exact: LoadOptions = { precision: 'exact', device: 'cpu' }

test.each([
  ['pth', 'taesd_decoder.pth'],
  ['pth', 'taesd_encoder.pth'],
  ['diffusers', '.'],
  ['diffusers', 'diffusion_pytorch_model.safetensors'],
])('layout %s, %s', async (layout, file) => {
  const model = goldenModel(name, layout)
  try {
    await using stage = await Autoencoder.load(path.join(model.folder, file), exact)
    expect(stage.info).toMatchObject({ regularization: 'none', downsampling: 8, latentChannels: 4, codebookSize: 0 })
    expect(stage.info.parameters.vae).toBe(1222532 + 1222531)
    expect((await measure(stage)).worst).toBeLessThanOrEqual(1)
  } finally {
    model.remove()
  }
})

test('fast arithmetic, and GGUF in f32 and q8_0', async () => {
  const model = goldenModel(name, 'pth')
  const errors = async (source: string, options: LoadOptions) => {
    await using stage = await Autoencoder.load(source, { device: 'cpu', ...options })
    return await measure(stage)
  }
  try {
    const file = (type: string) => path.join(model.folder, `${type}.gguf`)
    const source = path.join(model.folder, 'taesd_decoder.pth')
    for (const type of ['f32', 'q8_0'] as const) await convert(source, file(type), { type })
    expect((await errors(source, { precision: 'fast' })).share).toBeLessThanOrEqual(0.03)
    expect((await errors(file('f32'), { precision: 'exact' })).worst).toBeLessThanOrEqual(1)
    expect((await errors(file('q8_0'), { precision: 'fast' })).share).toBeLessThanOrEqual(0.05)
  } finally {
    model.remove()
  }
})

test('tiles are exact', async () => {
  const model = goldenModel(name, 'pth')
  const source = path.join(model.folder, 'taesd_decoder.pth')
  const [c, h, w] = [4, 60, 12]
  const waves = (length: number) => Float32Array.from({ length }, (_, i) => 3 * Math.sin(0.37 * i))
  const z = await toLatents({ shape: [1, c, h, w], data: waves(c * h * w) })
  const image = { shape: [1, 3, 8 * w, 8 * h], data: waves(3 * 64 * h * w) }
  try {
    const both = async (memory: LoadOptions['memory']) => {
      await using stage = await Autoencoder.load(source, { ...exact, memory })
      return [await stage.decode(z, { output: 'float' }), await (await stage.encode(image)).read()] as const
    }
    const whole = await both('fast')
    const tiled = await both({ vaeTiling: { tileSize: 16 } })
    expect(maxDifference(tiled[0], whole[0])).toBeLessThanOrEqual(2e-5)
    expect(maxDifference(tiled[1], whole[1])).toBeLessThanOrEqual(2e-5)
  } finally {
    model.remove()
  }
})

test('as the first stage of a model', async () => {
  const model = goldenModel('sd1')
  const tiny = goldenModel(name, 'pth')
  const vae = path.join(tiny.folder, 'taesd_decoder.pth')
  const options: LoadOptions = { ...exact, config: model.golden.config }
  try {
    await using stage = await Autoencoder.load(vae, exact)
    const file = path.join(tiny.folder, 'whole.gguf')
    await using pipe = await DiffusionPipeline.load({ model: model.file, vae }, options)
    expect(pipe.info.spec).toMatchObject({ scaleFactor: 1, firstStage: { kind: 'tiny', encoder: true } })
    const z = await toLatents(input(golden, 'z'))
    const alone = await stage.decode(z, { output: 'float' })
    expect(maxDifference(await pipe.decode(z, { output: 'float' }), alone)).toBe(0)
    expect((await estimateMemory({ model: model.file, vae }, { width: 64, height: 64, ...options })).stages.decode!.compute).toBeGreaterThan(0)
    await convert({ model: model.file, vae }, file, { type: 'f32', config: model.golden.config })
    await using again = await DiffusionPipeline.load(file, exact)
    expect(again.info.spec).toMatchObject({ scaleFactor: 1, firstStage: { kind: 'tiny' } })
    expect(maxDifference(await again.decode(z, { output: 'float' }), alone)).toBe(0)
    // and over a converted model whose stored specification has another first stage
    const kl = path.join(tiny.folder, 'kl.gguf')
    await convert(model.file, kl, { type: 'f32', config: model.golden.config })
    await using over = await DiffusionPipeline.load({ model: kl, vae }, exact)
    expect(over.info.spec).toMatchObject({ scaleFactor: 1, firstStage: { kind: 'tiny' } })
  } finally {
    model.remove()
    tiny.remove()
  }
})

/** A file of the tiny autoencoder in safetensors, with a title in its metadata. */
function titled(source: string, target: string, title: string): void {
  const bytes = readFileSync(source)
  const end = 8 + Number(bytes.readBigUInt64LE())
  const header = JSON.stringify({ ...(JSON.parse(bytes.toString('utf8', 8, end)) as object), __metadata__: { 'modelspec.title': title } })
  const text = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(target, Buffer.concat([length, text, bytes.subarray(end)]))
}

describe('a tiny autoencoder for the latents of another family', () => {
  const tiny = goldenModel(name, 'diffusers')
  const own = path.join(tiny.folder, 'diffusion_pytorch_model.safetensors')
  const models = Object.fromEntries(['sd1', 'sd2-v', 'sdxl-base'].map((one) => [one, goldenModel(one, 'diffusers')]))
  const place = (...parts: string[]) => path.join(tiny.folder, 'named', ...parts)
  beforeAll(() => {
    const files = ['taesd_decoder', 'taesdxl_decoder', 'TAESD-XL', 'sdxl_taesd', 'taesd3', 'nothing'].map((stem) => [`${stem}.safetensors`])
    for (const parts of [
      ...files,
      ['models--someone--taesdxl', 'snapshots', '0123abcd', 'diffusion_pytorch_model.safetensors'],
      ['taesd', 'taesdxl.safetensors'],
    ]) {
      mkdirSync(path.dirname(place(...parts)), { recursive: true })
      copyFileSync(own, place(...parts))
    }
    titled(own, place('titled.safetensors'), 'TAESDXL 1.2')
    titled(own, place('taesd.safetensors'), 'made with taesdxl')
  })
  afterAll(() => [tiny, ...Object.values(models)].forEach((model) => model.remove()))

  const generated = async (model: string, files: { vae?: string; previewVae?: string }, method?: 'taesd' | 'linear') => {
    await using pipe = await DiffusionPipeline.load({ model: models[model]!.folder, ...files }, exact)
    const preview = method ? { preview: { method, onPreview: () => undefined } } : {}
    const { warnings } = await pipe.generate({ prompt: 'a', steps: 1, width: 64, height: 64, seed: 1, ...preview })
    return warnings
  }

  test.each([
    ['sdxl-base', ['taesd_decoder.safetensors'], 'TAESD'],
    ['sdxl-base', ['taesdxl_decoder.safetensors'], undefined],
    ['sdxl-base', ['taesd3.safetensors'], undefined],
    ['sdxl-base', ['nothing.safetensors'], undefined],
    ['sdxl-base', ['taesd', 'taesdxl.safetensors'], undefined],
    ['sdxl-base', ['taesd.safetensors'], 'TAESD'],
    ['sd1', ['taesd_decoder.safetensors'], undefined],
    ['sd1', ['taesdxl_decoder.safetensors'], 'TAESDXL'],
    ['sd1', ['TAESD-XL.safetensors'], 'TAESDXL'],
    ['sd1', ['sdxl_taesd.safetensors'], 'TAESDXL'],
    ['sd1', ['titled.safetensors'], 'TAESDXL'],
    ['sd2-v', ['models--someone--taesdxl', 'snapshots', '0123abcd', 'diffusion_pytorch_model.safetensors'], 'TAESDXL'],
  ])('%s with %j', async (model, parts, found) => {
    const warnings = await generated(model, { vae: place(...parts) })
    expect(warnings.map(({ code }) => code)).toEqual(found ? ['WARN_VAE_FAMILY'] : [])
    if (found) expect(warnings[0]!.message).toMatch(new RegExp(`^vae: ${parts.at(-1)!.replaceAll('.', '\\.')} is a ${found} by its name`))
  })

  test('of previews, where they are asked for', async () => {
    const previewVae = place('taesdxl_decoder.safetensors')
    expect(await generated('sd1', { previewVae })).toEqual([])
    expect(await generated('sd1', { previewVae }, 'linear')).toEqual([])
    expect(await generated('sd1', { previewVae }, 'taesd')).toMatchObject([
      { code: 'WARN_VAE_FAMILY', message: expect.stringMatching(/^previewVae: /) as string },
    ])
    expect(await generated('sdxl-base', { previewVae }, 'taesd')).toEqual([])
  })

  test('a folder of diffusers says it in its configuration', async () => {
    const folder = place('folder')
    mkdirSync(folder)
    copyFileSync(own, path.join(folder, 'diffusion_pytorch_model.safetensors'))
    const config = JSON.parse(readFileSync(path.join(tiny.folder, 'config.json'), 'utf8')) as object
    writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ ...config, _name_or_path: 'madebyollin/taesd' }))
    expect(await generated('sdxl-base', { vae: folder })).toMatchObject([{ code: 'WARN_VAE_FAMILY' }])
    expect(await generated('sd1', { vae: folder })).toEqual([])
  })
})

test('a decoder alone decodes and says so; an encoder alone is rejected', async () => {
  const model = goldenModel(name, 'pth')
  const alone = path.join(model.folder, 'decoder-only.pth')
  try {
    copyFileSync(path.join(model.folder, 'taesd_decoder.pth'), alone)
    await using stage = await Autoencoder.load(alone, exact)
    const decoded = unit(await stage.decode(await toLatents(input(golden, 'z')), { output: 'float' }))
    const reference = strided(decoded, [1, 3, 64, 48], golden.expected.decoded!.stride ?? 1)
    expect(maxDifference(reference, expected.decoded!.data)).toBeLessThanOrEqual(golden.expected.decoded!.atol)
    await expect(stage.encode(signed(input(golden, 'image')))).rejects.toThrow(UnsupportedModelError)
    await expect(stage.encode(signed(input(golden, 'image')))).rejects.toThrow(/decoder of a tiny autoencoder/)
    await expect(stage.encode(signed(input(golden, 'image')), { output: 'moments' })).rejects.toThrow(/use 'mean'/)
    rmSync(path.join(model.folder, 'taesd_decoder.pth'))
    await expect(Autoencoder.load(path.join(model.folder, 'taesd_encoder.pth'), exact)).rejects.toThrow(/no decoder/)
  } finally {
    model.remove()
  }
})

describe('previews by a tiny autoencoder', () => {
  const model = goldenModel('sd1')
  const tiny = goldenModel(name, 'pth')
  const previewVae = path.join(tiny.folder, 'taesd_decoder.pth')
  const options: LoadOptions = { precision: 'exact', device: 'cpu', config: model.golden.config }
  const run = { prompt: 'a lighthouse', width: 64, height: 64, steps: 4, seed: 7, sampler: 'euler' } as const
  afterAll(() => {
    model.remove()
    tiny.remove()
  })

  test.each(['auto', 'low', 'fast'] as const)('of the present estimate, and the image stays the same; memory %s', async (memory) => {
    await using pipe = await DiffusionPipeline.load({ model: model.file, previewVae }, { ...options, memory })
    await using plain = await DiffusionPipeline.load(model.file, { ...options, memory })
    expect(pipe.info.parameters).toEqual(plain.info.parameters)
    const shown: RawImage[] = []
    const { images } = await pipe.generate({ ...run, preview: { method: 'taesd', onPreview: (image) => shown.push(image) } })
    expect(images[0]!.data).toEqual((await plain.generate(run)).images[0]!.data)
    expect(shown.map(({ width, height }) => [width, height])).toEqual([
      [64, 64],
      [64, 64],
      [64, 64],
    ])
    // What the tiny autoencoder makes of the estimate at that step, through sample().
    await using stage = await Autoencoder.load(previewVae, exact)
    const conditioning = await pipe.encodePrompt(run.prompt)
    const latents = await pipe.createLatents({ width: 64, height: 64, seed: 7 })
    for await (const step of pipe.sample({ conditioning, latents, steps: 4, sampler: 'euler', guidanceScale: 1 })) {
      const [expectedPicture] = await stage.decode(step.latents)
      const picture = await step.preview('taesd')
      expect([picture.width, picture.height]).toEqual([64, 64])
      if (step.index === step.steps - 1) expect(picture.data).toEqual(expectedPicture!.data) // sigma is 0: the estimate is the latents
    }
  })

  test('are included in the estimate', async () => {
    const source = { model: model.file, previewVae }
    const with_ = await estimateMemory(source, { ...options, width: 64, height: 64, preview: { method: 'taesd' } })
    const without = await estimateMemory(source, { ...options, width: 64, height: 64 })
    expect(with_.stages.preview!.peak).toBeGreaterThan(without.stages.unet!.weights)
    expect(without.stages.preview).toBeUndefined()
  })

  test('need a tiny autoencoder for the same latents', async () => {
    await using plain = await DiffusionPipeline.load(model.file, options)
    const preview = { method: 'taesd', onPreview: () => undefined } as const
    await expect(plain.generate({ ...run, preview })).rejects.toThrow(/needs a tiny autoencoder \(TAESD\); load the model with previewVae/)
    const kl = goldenModel('stage-kl-f8', 'diffusers')
    const other = goldenModel('ldm-uncond')
    try {
      await expect(DiffusionPipeline.load({ model: model.file, previewVae: kl.folder }, options)).rejects.toThrow(/is not a tiny autoencoder/)
      await expect(DiffusionPipeline.load({ model: other.file, previewVae }, { ...options, config: other.golden.config })).rejects.toThrow(
        /reads latents of 4 channels/,
      )
    } finally {
      other.remove()
      kl.remove()
    }
    await using asStage = await DiffusionPipeline.load({ model: model.file, vae: previewVae }, options)
    const shown: RawImage[] = []
    await asStage.generate({ ...run, preview: { method: 'taesd', onPreview: (image) => shown.push(image) } })
    expect(shown).toHaveLength(3)
  })
})
