/** SDXL's base model and refiner in one generate(), through the public API: the same as two loops by hand, whose numbers sdxl.test.ts holds against the reference. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { convert, DiffusionPipeline, estimateMemory, inspect, parseInfotext, RawImage, type LoadOptions, type Latents } from '../../lib/index'
import { cli } from '../helpers/cli'
import { maxDifference } from '../helpers/golden'
import { goldenModel, type GoldenModel } from '../helpers/model'

const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
const prompts = { prompt: 'a photo of an astronaut riding a horse', negativePrompt: 'a red sky' }
const run = { steps: 4, sampler: 'euler', schedule: 'leading', guidanceScale: 5 } as const
const size = { width: 64, height: 64 }
const sizes = { original: size, target: size }

let models: GoldenModel[]
const made = (name: string, layout: string): GoldenModel => {
  const model = goldenModel(name, layout)
  models.push(model)
  // Of a single file the configuration lies beside it.
  if (layout === 'compvis') writeFileSync(model.file.replace(/\.\w+$/, '.yaml'), JSON.stringify(model.golden.config))
  return model
}
beforeEach(() => void (models = []))
afterEach(() => models.forEach((model) => model.remove()))

/** The files of both models, as the layout has them. */
async function both(layout: string): Promise<{ model: string; refiner: string }> {
  const file = async (name: string) => {
    const { folder, file, golden } = made(name, layout === 'GGUF' ? 'compvis' : layout)
    if (layout === 'diffusers') return folder
    if (layout === 'compvis') return file
    const converted = path.join(folder, 'converted.gguf')
    await convert(file, converted, { type: 'f32', config: golden.config })
    return converted
  }
  return { model: await file('sdxl-base'), refiner: await file('sdxl-refiner') }
}

/** The latents of one model's part of the schedule. */
async function part(pipe: DiffusionPipeline, latents: Latents, share: { denoisingStart?: number; denoisingEnd?: number }): Promise<Latents> {
  const isBase = pipe.info.condition.sizes === 'base'
  const own = isBase ? sizes : { original: size }
  const conditioning = await pipe.encodeCondition({ prompt: prompts.prompt, sizes: own })
  const unconditional = await pipe.encodeCondition({ prompt: prompts.negativePrompt, sizes: isBase ? own : { ...own, aestheticScore: 2.5 } })
  const steps = pipe.sample({ ...run, latents, conditioning, unconditional, ...share })
  for (;;) {
    const { done, value } = await steps.next()
    if (done) return value
  }
}

test.each(['compvis', 'diffusers', 'GGUF'])('%s: one list of steps, the rest of them the refiner’s', async (layout) => {
  const source = await both(layout)
  await using pipe = await DiffusionPipeline.load(source, exact)
  await using base = await DiffusionPipeline.load(source.model, exact)
  await using refiner = await DiffusionPipeline.load(source.refiner, exact)
  expect(pipe.info.refiner).toMatchObject({ name: refiner.info.name, parameters: { unet: refiner.info.parameters.unet } })
  expect(pipe.info.parameters).toEqual(base.info.parameters)
  expect(base.info.refiner).toBeUndefined()

  const latents = await base.createLatents({ ...size, seed: 3 })
  const first = await part(base, latents, { denoisingEnd: 0.4 })
  const second = await part(refiner, first, { denoisingStart: 0.4 })
  const expected = (await base.decode(second))[0]!
  const settings = { ...prompts, ...run, ...size, seed: 3 }
  const { images, options } = await pipe.generate({ ...settings, refinerSwitchAt: 0.4 })
  expect(maxDifference(images[0]!.data, expected.data)).toBeLessThanOrEqual(1)
  expect(options).toMatchObject({ refinerSwitchAt: 0.4 })
  expect((await pipe.generate(options)).images[0]!.data).toEqual(images[0]!.data)
  // Never, and by default.
  const never = await pipe.generate({ ...settings, refinerSwitchAt: 1 })
  expect(never.images[0]!.data).toEqual((await base.generate(settings)).images[0]!.data)
  const usual = await pipe.generate(settings)
  expect(usual.options.refinerSwitchAt).toBe(0.8)
  expect(usual.images[0]!.data).not.toEqual(never.images[0]!.data)
  const { fields } = parseInfotext(usual.images[0]!.metadata.parameters!)
  expect(fields).toMatchObject({ Refiner: path.parse(source.refiner).name, 'Refiner switch at': '0.8' })
  expect(parseInfotext(never.images[0]!.metadata.parameters!).fields).not.toHaveProperty('Refiner')
})

test('settings, memory, errors', async () => {
  const source = await both('diffusers')
  await using pipe = await DiffusionPipeline.load(source, exact)
  const settings = { ...prompts, ...run, ...size, seed: 3, refinerSwitchAt: 0.4 }
  const plain = (await pipe.generate(settings)).images[0]!.data
  const scored = await pipe.generate({ ...settings, sizes: { target: { width: 1024, height: 1024 }, aestheticScore: 2 } })
  expect(scored.images[0]!.data).not.toEqual(plain)
  await using low = await DiffusionPipeline.load(source, { ...exact, memory: 'low' })
  expect(maxDifference((await low.generate(settings)).images[0]!.data, plain)).toBeLessThanOrEqual(1)
  for (const dtype of ['q8_0', 'f16'] as const) {
    await using fast = await DiffusionPipeline.load(source, { device: 'cpu', dtype })
    const { data } = (await fast.generate(settings)).images[0]!
    expect(maxDifference(data, plain)).toBeLessThan(64)
  }
  // The refiner alone goes on from an image, here through the base model's first stage.
  await using alone = await DiffusionPipeline.load({ model: source.refiner, vae: path.join(source.model, 'vae') }, exact)
  const start = new RawImage({ data: plain, ...size, channels: 3 })
  const refined = await alone.generate({ ...prompts, ...run, seed: 3, image: start, strength: 0.5 })
  expect(refined.images[0]!.data).not.toEqual(plain)
  const { images } = await pipe.generate({ ...settings, image: start, strength: 0.5, refinerSwitchAt: 0 })
  expect(maxDifference(images[0]!.data, refined.images[0]!.data)).toBeLessThanOrEqual(1)

  const fast = { ...exact, ...size, memory: 'fast' } as const
  const estimate = await estimateMemory(source, fast)
  const own = await estimateMemory(source.model, fast)
  expect(estimate.weights.refiner!.bytes).toBeGreaterThan(0)
  expect(estimate.stages.refiner!.peak).toBeGreaterThan(0)
  expect(estimate.peakBytes).toBeGreaterThan(own.peakBytes)
  expect(estimate.lowPeakBytes).toBeLessThan(estimate.peakBytes)
  expect(await inspect(source)).toMatchObject({ refiner: { kind: 'text', parts: { unet: { tensors: expect.any(Number) as number } } } })

  const refusal = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as Error
  await expect(pipe.generate({ ...settings, refinerSwitchAt: 1.5 })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  await expect(alone.generate({ ...prompts, refinerSwitchAt: 0.8 })).rejects.toEqual(refusal('ERR_INVALID_ARG', /loaded with a refiner/))
  const other = made('sd1', 'diffusers')
  const wrong = DiffusionPipeline.load({ model: source.model, refiner: other.folder }, exact)
  await expect(wrong).rejects.toEqual(refusal('ERR_UNSUPPORTED_MODEL', /^refiner: .* both must be text to image models of one family/))
  const vae = DiffusionPipeline.load({ model: source.model, refiner: path.join(source.refiner, 'vae') }, exact)
  await expect(vae).rejects.toEqual(refusal('ERR_UNSUPPORTED_MODEL', /^refiner: /))
  await expect(convert(source, path.join(other.folder, 'out.gguf'), { type: 'f16' })).rejects.toEqual(refusal('ERR_INVALID_ARG', /one model/))
})

test('latent generate --refiner --refiner-switch-at', async () => {
  const { model, refiner } = await both('diffusers')
  const output = path.join(model, 'out.png')
  const flags = ['--refiner', refiner, '--refiner-switch-at', '0.4', '--width', '64', '--height', '64', '--steps', '4', '--seed', '3', '-o', output]
  const drawn = await cli(['generate', 'a horse', '-m', model, ...flags, '--json'])
  expect([drawn.code, drawn.stderr]).toEqual([0, ''])
  const { metadata } = await RawImage.read(output)
  expect(parseInfotext(metadata.parameters!).fields).toMatchObject({ Refiner: path.basename(refiner), 'Refiner switch at': '0.4' })
  const estimated = await cli(['estimate', model, '--refiner', refiner, '--width', '64', '--height', '64'])
  expect(estimated.stdout).toMatch(/one refiner step .*\n(.*\n)*.*peak, refiner/)
})
