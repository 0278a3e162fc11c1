/** generate(): from checked options to one native request, and from its result to pictures with their settings. */
import { runJob } from './job.js'
import { nativeLatents } from './latents.js'
import type { NativeGenerateRequest, NativeGenerateResult, NativePipeline } from './native/contract.js'
import { resolveGenerate, type ResolvedGenerate } from './options.js'
import { writeInfotext } from './infotext-fields.js'
import { sizeInMultiples } from './image/preprocess.js'
import { imageTensor, toRawImage } from './tensors.js'
import type { PipelineTokenizer } from './tokenizer.js'
import type { FloatImage, GenerateOptions, GenerateResult, PipelineInfo, ResolvedOptions, Timings } from './types.js'
import { invalidRange } from './validate.js'

/** What generate() needs of a pipeline. */
export interface GenerateContext {
  native: NativePipeline
  info: PipelineInfo
  tokenizer: () => PipelineTokenizer
  /** For the settings in the picture. */
  modelName: string
}

interface Inputs {
  width: number
  height: number
  image: FloatImage | undefined
  latents: Float32Array | undefined
  latentsShape: readonly number[] | undefined
}

async function gatherInputs(resolved: ResolvedGenerate, info: PipelineInfo): Promise<Inputs> {
  const given = resolved.image
  const image = given === undefined ? undefined : await imageTensor(given, 'image')
  const own = image && sizeInMultiples({ width: image.shape[3]!, height: image.shape[2]! }, info.sizeMultiple)
  const width = resolved.width ?? own?.width ?? info.defaults.width
  const height = resolved.height ?? own?.height ?? info.defaults.height
  const fits = !image || (image.shape[3] === width && image.shape[2] === height)
  const fitted = fits || given === undefined ? image : await imageTensor(given, 'image', { width, height })
  if (fitted && fitted.shape[0] !== 1 && fitted.shape[0] !== resolved.count) {
    throw invalidRange(`image holds ${fitted.shape[0]} pictures for a count of ${resolved.count}; give one, or as many as count`)
  }
  if (resolved.latents === undefined) return { width, height, image: fitted, latents: undefined, latentsShape: undefined }
  const expected = [resolved.count, info.latentChannels, height / info.downsampling, width / info.downsampling]
  const { shape } = resolved.latents
  nativeLatents(resolved.latents, 'latents')
  if (shape.some((size, i) => size !== expected[i]))
    throw invalidRange(`latents have the shape [${shape.join(', ')}]; size and count ask for [${expected.join(', ')}]`)
  return { width, height, image: fitted, latents: await resolved.latents.read(), latentsShape: shape }
}

function nativeRequest(resolved: ResolvedGenerate, inputs: Inputs, tokenizer: PipelineTokenizer): NativeGenerateRequest {
  const { sampling, emphasis } = resolved
  const [prompt, negative] = tokenizer.pair(resolved.prompt, resolved.negativePrompt, { emphasis, clipSkip: sampling.clipSkip ?? 0 })
  return {
    ...sampling.request,
    prompt,
    negative,
    width: inputs.width,
    height: inputs.height,
    count: resolved.count,
    ...(inputs.image ? { imageShape: [...inputs.image.shape] } : {}),
    ...(inputs.latentsShape ? { latentsShape: [...inputs.latentsShape] } : {}),
    previewEvery: resolved.preview?.every ?? 0,
    previewMethod: resolved.preview?.method ?? 'linear',
    outputFloat: false,
  }
}

/** The options with every default filled in: what was checked, completed by what the engine chose. */
function replayable(resolved: ResolvedGenerate, inputs: Inputs, info: PipelineInfo, chosen: { eta?: number }): ResolvedOptions {
  const { request, seed, clipSkip, schedule } = resolved.sampling
  const eta = chosen.eta ?? request.eta
  const settledSchedule = schedule ?? (request.schedule || info.defaultSchedules[request.sampler])
  return {
    prompt: resolved.prompt,
    negativePrompt: resolved.negativePrompt,
    width: inputs.width,
    height: inputs.height,
    count: resolved.count,
    steps: request.steps,
    guidanceScale: request.guidanceScale,
    guidanceRescale: request.guidanceRescale,
    seed,
    sampler: request.sampler,
    ...(settledSchedule ? { schedule: settledSchedule } : {}),
    ...(eta >= 0 ? { eta } : {}),
    rng: request.rng,
    emphasis: resolved.emphasis,
    ...(clipSkip === undefined ? {} : { clipSkip }),
    ...(resolved.image === undefined ? {} : { image: resolved.image, strength: request.strength }),
    ...(resolved.latents === undefined ? {} : { latents: resolved.latents }),
    ...(request.extra ? { extra: request.extra as NonNullable<ResolvedOptions['extra']> } : {}),
  }
}

/** One generate() call. */
export async function generate(context: GenerateContext, options: GenerateOptions | undefined): Promise<GenerateResult> {
  const { native, info } = context
  const resolved = resolveGenerate(options, info)
  const { signal, onProgress, preview } = resolved
  signal?.throwIfAborted()
  const inputs = await gatherInputs(resolved, info)
  signal?.throwIfAborted()
  const request = nativeRequest(resolved, inputs, context.tokenizer())
  const arrays = { ...(inputs.image ? { image: inputs.image.data } : {}), ...(inputs.latents ? { latents: inputs.latents } : {}) }
  const steps = request.steps
  const onPreview =
    preview &&
    ((step: number, index: number, width: number, height: number, data: Uint8Array) =>
      preview.onPreview(toRawImage({ width, height, channels: 3, data }), { step, steps, index }))
  const result = await runJob((callbacks) => native.generate(JSON.stringify(request), arrays, callbacks), {
    signal,
    onProgress,
    ...(onPreview ? { onPreview } : {}),
  })
  return finish(context, resolved, inputs, result)
}

function finish(context: GenerateContext, resolved: ResolvedGenerate, inputs: Inputs, result: NativeGenerateResult): GenerateResult {
  const summary = JSON.parse(result.summary) as { options?: { eta?: number }; timings: Timings }
  const options = replayable(resolved, inputs, context.info, summary.options ?? {})
  const images = result.images.map((picture, i) => {
    const seed = BigInt.asUintN(64, options.seed + BigInt(i))
    return toRawImage(picture, { parameters: writeInfotext({ ...options, seed }, context.modelName) })
  })
  return { images, seed: options.seed, options, timings: summary.timings }
}
