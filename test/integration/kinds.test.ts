/** Every kind of model from JavaScript, on the tiny checkpoints of the reference cases: generate(), its replay, the stages, the loss. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { DiffusionPipeline, RawImage, type Latents, type AnyGenerateOptions, type AnyInputs, type ModelKind } from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'

interface System {
  golden: string
  kind: ModelKind
  options: () => AnyGenerateOptions
  /** Of the image. */
  size: [number, number]
  /** A training image and its condition for loss(); default: `options` without the size, on a grey image. */
  inputs?: () => AnyInputs
}

/** Colours that vary over the image. */
function picture(width: number, height: number): RawImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 37 + Math.floor(i / (3 * width)) * 11) % 256)
  return new RawImage({ data, width, height, channels: 3 })
}

const map = (width: number, height: number) => ({ data: Uint8Array.from({ length: width * height }, (_, i) => (i >> 3) % 182), width, height })
const hole = (width: number, height: number) => ({
  data: Uint8Array.from({ length: width * height }, (_, i) => (i % width > width / 2 ? 255 : 0)),
  width,
  height,
})
const embedding = (seed: number) => Float32Array.from({ length: 64 }, (_, i) => Math.sin(seed + i))
const small = { width: 64, height: 32 }
const boxes = [
  { label: 'Dog', x: 0.1, y: 0.2, width: 0.5, height: 0.5 },
  { label: 7, x: 0.5, y: 0, width: 0.5, height: 1, occluded: true },
]

const systems: System[] = [
  { golden: 'ldm-uncond', kind: 'unconditional', options: () => ({ ...small }), size: [64, 32], inputs: () => ({}) },
  { golden: 'ldm-churches', kind: 'unconditional', options: () => ({ width: 128, height: 128 }), size: [128, 128], inputs: () => ({}) },
  {
    golden: 'ldm-cin256-v2',
    kind: 'class',
    options: () => ({ classId: 5, guidanceScale: 3, ...small }),
    size: [64, 32],
    inputs: () => ({ classId: 5 }),
  },
  { golden: 'ldm-cin256', kind: 'class', options: () => ({ classId: 3, width: 64, height: 64 }), size: [64, 64], inputs: () => ({ classId: 3 }) },
  {
    golden: 'ldm-txt2img',
    kind: 'text',
    options: () => ({ prompt: 'a red apple', ...small }),
    size: [64, 32],
    inputs: () => ({ prompt: 'a red apple' }),
  },
  { golden: 'ldm-text2img256', kind: 'text', options: () => ({ prompt: 'a cat', ...small }), size: [64, 32], inputs: () => ({ prompt: 'a cat' }) },
  { golden: 'ldm-layout2img', kind: 'layout', options: () => ({ boxes, ...small }), size: [64, 32], inputs: () => ({ boxes }) },
  {
    golden: 'ldm-semantic',
    kind: 'semantic',
    options: () => ({ semanticMap: map(64, 32) }),
    size: [64, 32],
    inputs: () => ({ semanticMap: map(64, 32) }),
  },
  { golden: 'ldm-sr', kind: 'superres', options: () => ({ image: picture(17, 9) }), size: [68, 36], inputs: () => ({ image: picture(16, 8) }) },
  {
    golden: 'sd-x4-upscaler',
    kind: 'superres',
    options: () => ({ image: picture(16, 8), prompt: 'a cat', noiseLevel: 5 }),
    size: [64, 32],
    inputs: () => ({ image: picture(16, 8), prompt: 'a cat' }),
  },
  {
    golden: 'ldm-inpaint-big',
    kind: 'inpaint',
    options: () => ({ image: picture(50, 33), mask: hole(50, 33) }),
    size: [50, 33],
    inputs: () => ({ image: picture(64, 32), mask: hole(64, 32) }),
  },
  {
    golden: 'sd1-inpaint',
    kind: 'inpaint',
    options: () => ({ image: picture(64, 64), mask: hole(64, 64), prompt: 'a cat' }),
    size: [64, 64],
    inputs: () => ({ image: picture(64, 64), mask: hole(64, 64) }),
  },
  {
    golden: 'sd1-pix2pix',
    kind: 'edit',
    options: () => ({ image: picture(60, 50), prompt: 'make it snow' }),
    size: [60, 50],
    inputs: () => ({ image: picture(64, 64), prompt: 'make it snow' }),
  },
  {
    golden: 'sd2-depth',
    kind: 'depth',
    options: () => ({ depthMap: map(70, 39), prompt: 'a cat' }),
    size: [64, 32],
    inputs: () => ({ depthMap: map(70, 39), prompt: 'a cat' }),
  },
  {
    golden: 'ldm-rdm',
    kind: 'rdm',
    options: () => ({ neighbours: [embedding(1), embedding(2)], width: 128, height: 128 }),
    size: [128, 128],
    inputs: () => ({ neighbours: [embedding(1), embedding(2)] }),
  },
]

describe.each(systems)('$golden', ({ golden, kind, options, size: [width, height], inputs }) => {
  let model: GoldenModel
  let pipe: DiffusionPipeline
  const run = { steps: 2, seed: 7 }

  beforeAll(async () => {
    model = goldenModel(golden)
    writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
    pipe = await DiffusionPipeline.load(model.file, { device: 'cpu', precision: 'exact' })
  })
  afterAll(async () => {
    await pipe?.dispose()
    model.remove()
  })

  test('reports its kind', async () => {
    expect(pipe.kind).toBe(kind)
    expect(pipe.info.kind).toBe(kind)
    expect(pipe.is(kind)).toBe(true)
    expect(pipe.is(kind === 'text' ? 'class' : 'text')).toBe(false)
    expect(pipe.info.parameters.total).toBe(
      Object.entries(pipe.info.parameters).reduce((sum, [part, count]) => (part === 'total' ? sum : sum + count), 0),
    )
  })

  test('generates, and the resolved options reproduce the image', async () => {
    const previews: number[] = []
    const preview = { onPreview: (_image: RawImage, { step }: { step: number }) => previews.push(step) }
    const first = await pipe.generate({ ...options(), ...run, preview })
    const [image] = first.images
    expect([image!.width, image!.height]).toEqual([width, height])
    expect(new Set(image!.data).size).toBeGreaterThan(8)
    expect(previews[0]).toBe(1)
    expect(first.options).toMatchObject({ steps: 2, seed: 7n, width, height })
    expect(image!.metadata.parameters).toContain(`Size: ${width}x${height}`)
    const again = await pipe.generate(first.options)
    expect(again.options).toEqual(first.options)
    expect(Buffer.compare(again.images[0]!.data, image!.data)).toBe(0)
  })

  if (kind === 'inpaint')
    test('keeps every byte outside the mask', async () => {
      const { image, mask } = options() as { image: RawImage; mask: ReturnType<typeof hole> }
      const { images } = await pipe.generate({ ...options(), ...run })
      const kept = Array.from(mask.data).flatMap((white, i) => (white ? [] : [3 * i, 3 * i + 1, 3 * i + 2]))
      expect(kept.length).toBeGreaterThan(100)
      expect(kept.filter((i) => images[0]!.data[i] !== image.data[i])).toEqual([])
      expect(Buffer.compare(images[0]!.data, image.data)).not.toBe(0)
    })

  if (kind === 'edit')
    test('a negative prompt has an effect while one of the guidance scales is not 1', async () => {
      const warned = async (more: AnyGenerateOptions) =>
        (await pipe.generate({ ...options(), ...run, negativePrompt: 'rain', guidanceScale: 1, ...more })).warnings.length
      expect([await warned({}), await warned({ imageGuidanceScale: 1 })]).toEqual([0, 1])
    })

  if (golden === 'ldm-txt2img')
    test('image to image with a mask keeps the image size and the bytes outside the mask', async () => {
      const image = picture(50, 33)
      const sizes: [number, number][] = []
      const preview = { method: 'vae' as const, onPreview: (seen: RawImage) => void sizes.push([seen.width, seen.height]) }
      const first = await pipe.generate({ ...run, steps: 4, prompt: 'a cat', image, mask: hole(50, 33), preview })
      const [drawn] = first.images
      expect([drawn!.width, drawn!.height]).toEqual([50, 33])
      expect(drawn!.metadata.parameters).toContain('Size: 50x33')
      expect(sizes[0]).toEqual([50, 33])
      const differing = (i: number) => drawn!.data[i] !== image.data[i]
      const outside = [...image.data.keys()].filter((i) => !hole(50, 33).data[Math.floor(i / 3)])
      expect(outside.filter(differing)).toEqual([])
      expect([...image.data.keys()].filter(differing).length).toBeGreaterThan(1000)
      const again = await pipe.generate(first.options)
      expect(Buffer.compare(again.images[0]!.data, drawn!.data)).toBe(0)
      const kept = await pipe.generate({ ...run, prompt: 'a cat', image, mask: { ...hole(50, 33), data: new Uint8Array(50 * 33) } })
      expect(Buffer.compare(kept.images[0]!.data, image.data)).toBe(0)
    })

  test('different inputs give a different image', async () => {
    const data = async (more: AnyGenerateOptions) => (await pipe.generate({ ...options(), ...run, ...more })).images[0]!.data
    const one = await data({})
    const changes: Partial<Record<ModelKind, AnyGenerateOptions>> = {
      text: { prompt: 'the sea at night' },
      class: { classId: 1 },
      unconditional: { seed: 8 },
      layout: { boxes: boxes.slice(1) },
      semantic: { semanticMap: { ...map(64, 32), data: new Uint8Array(64 * 32) } },
      superres: { image: new RawImage({ ...picture(17, 9), data: new Uint8Array(17 * 9 * 3), width: 17, height: 9 }) },
      inpaint: { seed: 8 },
      edit: { imageGuidanceScale: 3 },
      depth: { depthMap: hole(70, 39) },
      rdm: { neighbours: [embedding(9)] },
    }
    const change = golden === 'sd-x4-upscaler' ? { noiseLevel: 300 } : changes[kind]!
    expect(Buffer.compare(await data(change), one)).not.toBe(0)
  })

  if (golden === 'ldm-txt2img')
    test('BERT skips no layers', async () => {
      await expect(pipe.encodePrompt('a cat', { clipSkip: 2 })).rejects.toMatchObject({
        code: 'ERR_INVALID_ARG',
        message: expect.stringMatching(/encodePrompt\(\): option 'clipSkip' is for models with a CLIP text encoder/),
      })
      expect((await pipe.encodePrompt('a cat', { emphasis: 'comfy' })).tokens).toBe(77)
    })

  test('aborts', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const running = pipe.generate({
      ...options(),
      steps: 1000,
      signal: controller.signal,
      onProgress: ({ step }) => step > 1 && controller.abort(reason),
    })
    await expect(running).rejects.toBe(reason)
  })

  test('a custom loop: encodeCondition(), sample(), decode()', async () => {
    const { guidance } = pipe.info.condition
    const condition = inputs!()
    const conditioning = await pipe.encodeCondition(condition, { seed: 7 })
    const unconditional = guidance ? await pipe.encodeCondition(condition, { unconditional: true, seed: 7 }) : undefined
    if (guidance) expect(unconditional!.tokens).toBe(conditioning.tokens)
    expect(conditioning.tokens > 0 || conditioning.concatShape !== null || kind === 'unconditional').toBe(true)
    const size = conditioning.concatShape ? {} : { width, height }
    let last: Latents | undefined
    for await (const step of pipe.sample({ conditioning, ...(unconditional ? { unconditional } : {}), ...size, ...run })) last = step.latents
    const [image] = await pipe.decode(last!)
    expect(image!.width).toBeGreaterThan(0)
    if (kind === 'superres' || kind === 'inpaint' || kind === 'edit') return
    const generated = await pipe.generate({ ...options(), ...run })
    expect(Buffer.compare(image!.data, generated.images[0]!.data)).toBe(0)
  })

  test('loss', async () => {
    const condition = inputs!()
    const factor = kind === 'superres' ? 4 : 1
    const { image } = condition
    const target = image instanceof RawImage ? picture(image.width * factor, image.height * factor) : picture(width, height)
    const { losses, timesteps, mean } = await pipe.loss(target, condition, { timesteps: [10, 500, 900], seed: 1 })
    expect(timesteps).toEqual([10, 500, 900])
    expect(losses.every((value) => value > 0 && Number.isFinite(value))).toBe(true)
    expect(mean).toBeCloseTo((losses[0]! + losses[1]! + losses[2]!) / 3, 5)
    const again = await pipe.loss(target, condition, { timesteps: [500], seed: 1 })
    expect(again.losses[0]).toBeCloseTo(losses[1]!, 6) // the noise is the seed's, whatever the timesteps
    await expect(pipe.loss(picture(width + 1, height), condition)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })
})
