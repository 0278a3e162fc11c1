/**
 * What the compiler takes and refuses after a pipeline has been narrowed to its kind. Not run: `npm run lint` and the tests compile it (test/unit/types.test.ts), and
 * every @ts-expect-error that expects in vain is an error itself.
 */
import { Autoencoder, DiffusionPipeline, type GenerateOptions, type GenerateResult, type ModelKind, type PipelineInfo, type RawImage } from '../../lib/index.js'

const map = { data: new Uint8Array(4), width: 2, height: 2 }
const boxes = [{ label: 'Dog', x: 0, y: 0, width: 1, height: 0.5 }]

/** Without narrowing everything that some kind takes is taken; the run time knows better. */
export async function unnarrowed(): Promise<void> {
  const pipe = await DiffusionPipeline.load('x')
  await pipe.generate({ prompt: 'a cat', steps: 3 })
  await pipe.generate({ classId: 3 })
  await pipe.generate()
  const options: GenerateOptions = { prompt: 'a cat' }
  options.classId = 3
  const { images, options: used } = await pipe.generate(options)
  images satisfies RawImage[]
  await pipe.generate(used)
  await pipe.upscale('small.png')
  await pipe.encodeCondition({ boxes })
  await pipe.encodePrompt('a cat')
  // @ts-expect-error no kind takes this
  await pipe.generate({ promt: 'a cat' })
  // @ts-expect-error nor this
  await pipe.generate({ classId: [1] })
}

export async function byKind(pipe: DiffusionPipeline): Promise<void> {
  if (pipe.kind === 'class') {
    await pipe.generate({ classId: 207 })
    const result = await pipe.generate({ classId: 'golden retriever', guidanceScale: 3, image: 'start.png', strength: 0.5 })
    result satisfies GenerateResult
    const { options } = result
    options.classId satisfies number
    await pipe.generate(options)
    pipe.info.classes satisfies readonly string[]
    pipe.info.condition.nullClass satisfies number | undefined
    await pipe.encodeCondition({ classId: 1 })
    await pipe.loss('x.png', { classId: 1 }, { timesteps: [1, 2] })
    // @ts-expect-error boxes belong to layout models
    await pipe.generate({ classId: 207, boxes })
    // @ts-expect-error so do prompts to text models
    await pipe.generate({ prompt: 'a cat' })
    // @ts-expect-error a class is needed
    await pipe.generate({})
    // @ts-expect-error even where nothing is passed
    await pipe.generate()
    // @ts-expect-error not of this kind
    await pipe.encodeCondition({ prompt: 'a cat' })
    // @ts-expect-error for super-resolution
    await pipe.upscale('small.png')
    // @ts-expect-error belongs to semantic models
    void pipe.info.condition.labels
  }
}

export async function bySwitch(pipe: DiffusionPipeline): Promise<void> {
  switch (pipe.kind) {
    case 'text':
      await pipe.generate()
      await pipe.generate({ prompt: 'a cat', negativePrompt: 'a dog', clipSkip: 2, emphasis: 'comfy', image: 'x.png', strength: 0.4, mask: 'mask.png' })
      // @ts-expect-error not of this kind
      await pipe.generate({ prompt: 'a cat', noiseLevel: 20 })
      break
    case 'class':
      await pipe.generate({ classId: 207 })
      break
    case 'unconditional':
      await pipe.generate()
      await pipe.generate({ seed: 1, count: 4 })
      // @ts-expect-error not of this kind
      await pipe.generate({ negativePrompt: 'a cat' })
      break
    case 'layout':
      await pipe.generate({ boxes })
      // @ts-expect-error a box has a size
      await pipe.generate({ boxes: [{ label: 1, x: 0, y: 0 }] })
      break
    case 'semantic':
      await pipe.generate({ semanticMap: map })
      // @ts-expect-error a list has no width
      await pipe.generate({ semanticMap: [1, 2, 3] })
      break
    case 'superres':
      await pipe.generate({ image: 'small.png', noiseLevel: 10, prompt: 'a cat' })
      await pipe.upscale('small.png', { steps: 10 })
      // @ts-expect-error not of this kind
      await pipe.generate({ image: 'small.png', strength: 0.5 })
      break
    case 'inpaint':
      await pipe.generate({ image: 'x.png', mask: map })
      // @ts-expect-error a mask is needed
      await pipe.generate({ image: 'x.png' })
      break
    case 'edit':
      await pipe.generate({ image: 'x.png', prompt: 'make it snow', imageGuidanceScale: 1.2 })
      // @ts-expect-error an image is needed
      await pipe.generate({ prompt: 'make it snow' })
      // @ts-expect-error it starts from noise
      await pipe.generate({ image: 'x.png', strength: 0.5 })
      break
    case 'depth':
      await pipe.generate({ depthMap: { data: new Float32Array(4), width: 2, height: 2 }, prompt: 'a cat', image: 'x.png', strength: 0.5 })
      await pipe.encodeCondition({ depthMap: 'depth.png' }, { width: 512, height: 512 })
      // @ts-expect-error a depth map is needed
      await pipe.generate({ prompt: 'a cat' })
      break
    case 'rdm':
      await pipe.generate({ prompt: 'a cat', neighbours: [new Float32Array(768)] })
      // @ts-expect-error not of this kind
      await pipe.generate({ negativePrompt: 'a cat' })
      await pipe.encodeCondition({ prompt: 'a cat' })
      // @ts-expect-error it has one embedding of a prompt, not its hidden states
      await pipe.encodePrompt('a cat')
      break
    case 'autoencoder':
      // @ts-expect-error a first stage makes nothing of nothing
      await pipe.generate({ steps: 3 })
      break
    default:
      pipe satisfies never
  }
}

/** The other ways to narrow. */
export async function otherWays(): Promise<void> {
  const expected = await DiffusionPipeline.load('x', { kind: 'class' })
  expected satisfies DiffusionPipeline<'class'>
  await expected.generate({ classId: 3 })
  // @ts-expect-error not of this kind
  await expected.generate({ boxes })

  const embedded = await DiffusionPipeline.load(undefined, { kind: 'text' })
  await embedded.generate({ prompt: 'a red circle' })

  const pipe = await DiffusionPipeline.load('x')
  if (pipe.is('layout', 'semantic')) {
    await pipe.generate({ boxes })
    await pipe.generate({ semanticMap: map })
    // @ts-expect-error not of this kind
    await pipe.generate({ classId: 3 })
  }
  const { kind } = pipe
  if (kind === 'class') {
    // @ts-expect-error not of this kind
    await pipe.generate({ boxes })
  }
  // @ts-expect-error a kind that does not exist
  pipe.is('video')
  // @ts-expect-error no such kind
  if (pipe.kind === 'video') return
  const loose: DiffusionPipeline = await DiffusionPipeline.load('x', { kind: 'text' satisfies ModelKind })
  await loose.generate({ prompt: 'a cat' })
}

/**
 * `pipe.info.kind` narrows `pipe.info`. TypeScript (6.0) never narrows an object by a property of its property, so `pipe` itself keeps its type there: this call
 * compiles, and is refused when it runs.
 */
export async function byInfo(pipe: DiffusionPipeline): Promise<void> {
  if (pipe.info.kind === 'semantic') {
    pipe.info.condition.labels satisfies number
    await pipe.generate({ classId: 3 })
  }
  const { info } = pipe
  info satisfies PipelineInfo
  // @ts-expect-error only class models have classes
  void info.classes
}

export async function firstStages(pipe: DiffusionPipeline): Promise<void> {
  await using stage = await Autoencoder.load('x')
  const codes = await stage.codes('x.png')
  codes.data satisfies Int32Array
  const same = await stage.encode('x.png', { output: 'codes' })
  same satisfies typeof codes
  const latents = await stage.encode('x.png', { output: 'prequant' })
  const floats = await stage.decode(latents, { output: 'float', quantize: false })
  floats satisfies Float32Array
  const images = await stage.decode(codes)
  images satisfies RawImage[]
  pipe.firstStage.info.regularization satisfies 'kl' | 'vq' | 'none'
  // @ts-expect-error latents are not codes
  void latents.data
}
