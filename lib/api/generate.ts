/** generate(): turns checked options into one native request, and its result into images with settings. */
import { gatherInputs, type GatheredInputs, type InputContext } from '../kinds/gather.js'
import { resolveGenerate, type ResolvedGenerate } from './generate-options.js'
import { enlargeLatents, enlargePictures, hooksOfPasses, planPasses } from './hires.js'
import { cropPicture, cropPreview, framedSize, padEdges, padMask, type Size } from '../image/framing.js'
import { maskWarning, readMaskOf, resampleMask, type Mask } from '../image/mask.js'
import { sizeInMultiples } from '../image/preprocess.js'
import { getVersions } from './devices.js'
import { writeInfotext } from '../infotext/fields.js'
import { runJob, type JobHooks } from '../native/job.js'
import { nativeLatents } from './latents.js'
import type { Vocabulary } from './vocabulary.js'
import type { TinyWarnings } from './tiny-autoencoders.js'
import type { Turn, Turns } from './turns.js'
import { findLoras, partialWarnings, promptLoras, toLoraOptions } from './loras.js'
import type {
  NativeAdapter,
  NativeGenerateArrays,
  NativeGenerateRequest,
  NativeGenerateResult,
  NativeJob,
  NativePipeline,
  NativePromptTokens,
} from '../native/contract.js'
import { checkSide } from '../options/common.js'
import type { CheckedHires } from '../options/hires.js'
import { unetDownsampling } from '../model/spec.js'
import type { RawImage } from '../image/raw-image.js'
import { imageTensor, readImage, toRawImage } from '../image/tensors.js'
import type {
  AnyResolvedOptions,
  FloatImage,
  GenerateOptions,
  GenerateResult,
  GenerateWarning,
  LoadOptions,
  LoraReport,
  ModelPart,
  PipelineInfo,
  ResolvedCommon,
  Timings,
} from '../types.js'
import { invalidRange } from '../options/validate.js'

/** The parts of a pipeline that generate() needs. */
export interface GenerateContext extends InputContext {
  native: NativePipeline
  /** Names for the settings in the image. */
  modelName: string
  refinerName: string | undefined
  /** The pipeline's adapters, once all earlier setLoras() calls have ended, and the folder of adapters for prompts. */
  settleLoras: (signal: AbortSignal | undefined) => Promise<readonly NativeAdapter[]>
  /** Whether setLoras() has been called since: the engine then has those adapters when this call is queued. */
  lorasChanged: () => boolean
  loraDirectory: string | undefined
  hub: LoadOptions['hub']
  /** The words of prompts with the adapters of a call. */
  vocabulary: Pick<Vocabulary, 'tokenizer' | 'reports'>
  tiny: TinyWarnings
  turns: Turns
}

/** Everything passed to the engine except the sampling options. */
interface Gathered extends GatheredInputs {
  /** Size of the final images. */
  size: Size
  /** The size requested from the engine: `size` or, with a mask, the next size that the networks support. */
  frame: Size
  /** Start of image to image, and the part to repaint; both have the frame's size. */
  start: FloatImage | undefined
  mask: Mask | undefined
  latents: Float32Array | undefined
  latentsShape: readonly number[] | undefined
  negative: NativePromptTokens | undefined
  /** Undefined: the pipeline's own. */
  adapters: NativeAdapter[] | undefined
  /** The original prompt, including the adapters that it names, as the web UI writes it into the image. */
  writtenPrompt: string | undefined
  warnings: GenerateWarning[]
}

/** A size determined by the inputs; the caller's size must match it. */
function givenSize(size: Size, { width = size.width, height = size.height }: ResolvedGenerate, info: PipelineInfo): Size {
  if (width === size.width && height === size.height) return size
  const what = info.kind === 'semantic' ? 'label map' : 'image'
  throw invalidRange(`width and height follow the ${what} for this model: ${size.width}x${size.height}, not ${width}x${height}`)
}

/** The requested size, or the image's rounded to multiples that the networks support, or the model's default. */
function drawnSize({ width, height }: ResolvedGenerate, own: Size | undefined, { sizeMultiple, defaults }: PipelineInfo): Size {
  const usual = own ? sizeInMultiples(own, sizeMultiple) : defaults
  const multiple = { multiple: sizeMultiple }
  return { width: checkSide(width ?? usual.width, 'width', multiple), height: checkSide(height ?? usual.height, 'height', multiple) }
}

/** Size of the images, and the start of image to image in that size. An image with a mask keeps its size and is padded for the networks. */
async function settleSize(
  resolved: ResolvedGenerate,
  info: PipelineInfo,
  { size: fixed, usualSize }: GatheredInputs,
): Promise<Pick<Gathered, 'size' | 'frame' | 'start' | 'mask' | 'warnings'>> {
  const { start: input, startMask, width, height } = resolved
  if (input === undefined) {
    const size = fixed ? givenSize(fixed, resolved, info) : drawnSize(resolved, usualSize, info)
    return { size, frame: size, start: undefined, mask: undefined, warnings: [] }
  }
  const given = await readImage(input)
  const image = await imageTensor(given, 'image')
  const own = { width: image.shape[3]!, height: image.shape[2]! }
  const mask = startMask === undefined ? undefined : await readMaskOf(own, startMask)
  const warning = mask && maskWarning(mask)
  const warnings = warning ? [warning] : []
  if (mask && !fixed && (width ?? own.width) === own.width && (height ?? own.height) === own.height) {
    const frame = framedSize(own, info.sizeMultiple)
    return { size: own, frame, start: await padEdges(image, frame), mask: await padMask(mask, frame), warnings }
  }
  const size = fixed ? givenSize(fixed, resolved, info) : drawnSize(resolved, own, info)
  const fits = own.width === size.width && own.height === size.height
  return {
    size,
    frame: size,
    start: fits ? image : await imageTensor(given, 'image', size),
    mask: mask && (await resampleMask(mask, size.width, size.height)),
    warnings,
  }
}

function checkRows(shape: readonly number[] | undefined, count: number): void {
  if (shape && shape[0] !== 1 && shape[0] !== count)
    throw invalidRange(`image has ${shape[0]} images, but count is ${count}; pass one image or count images`)
}

async function gatherLatents({ latents, count }: ResolvedGenerate, size: Size, info: PipelineInfo) {
  if (latents === undefined) return { latents: undefined, latentsShape: undefined }
  nativeLatents(latents, 'latents')
  // Images of any size are padded: for super-resolution until they can be halved at every level, else to a size that
  // the network supports.
  const multiple = info.kind === 'superres' ? info.downsampling * unetDownsampling(info) : info.sizeMultiple
  const side = (pixels: number) => (Math.ceil(pixels / multiple) * multiple) / info.downsampling
  const expected = [count, info.latentChannels, side(size.height), side(size.width)]
  if (latents.shape.some((length, i) => length !== expected[i]))
    throw invalidRange(`latents have the shape [${latents.shape.join(', ')}], but size and count require [${expected.join(', ')}]`)
  return { latents: await latents.read(), latentsShape: latents.shape }
}

/** The adapters of a call: its own or the pipeline's, and those named in the prompt, which are removed from it. */
async function gatherLoras(resolved: ResolvedGenerate, { info, loraDirectory, hub }: GenerateContext, loras: readonly NativeAdapter[]) {
  const { inputs, negativePrompt, signal, onProgress } = resolved
  const own = resolved.loras && (await findLoras(resolved.loras, 'loras', { hub, signal, onProgress }))
  const written = inputs.prompt?.text
  if (!inputs.prompt || info.kind === 'rdm') return { adapters: own, written, warnings: [] } // rdm prompts are plain text
  const named = await promptLoras(inputs.prompt.text, negativePrompt, loraDirectory)
  inputs.prompt.text = named.text
  return { adapters: named.loras.length > 0 ? [...(own ?? loras), ...named.loras] : own, written, warnings: named.warnings }
}

async function gather(resolved: ResolvedGenerate, pipeline: GenerateContext, loras: readonly NativeAdapter[]): Promise<Gathered> {
  const { info } = pipeline
  const { adapters, written: writtenPrompt, warnings: adapterWarnings } = await gatherLoras(resolved, pipeline, loras)
  const context = { ...pipeline, tokenizer: () => pipeline.vocabulary.tokenizer(adapters ?? loras) }
  const { prompt } = resolved.inputs
  const [positive, negative] =
    prompt && resolved.negativePrompt !== undefined
      ? await (await context.tokenizer()).pair(prompt.text, resolved.negativePrompt, { emphasis: prompt.emphasis, clipSkip: prompt.clipSkip ?? 0 })
      : []
  const own = await gatherInputs(resolved.inputs, context, resolved.signal, positive)
  const { size, frame, start, mask, warnings } = await settleSize(resolved, info, own)
  checkRows(start?.shape ?? own.inputs.imageShape, resolved.count)
  const { vae, previewVae } = context.tiny
  const stages = resolved.preview?.method === 'taesd' ? [...vae, ...previewVae] : vae
  const all = [...resolved.warnings, ...warnings, ...(own.warnings ?? []), ...adapterWarnings, ...stages]
  return {
    ...own,
    size,
    frame,
    start,
    mask,
    ...(await gatherLatents(resolved, size, info)),
    negative,
    adapters,
    writtenPrompt,
    warnings: all,
  }
}

function nativeRequest(
  resolved: ResolvedGenerate,
  gathered: Gathered,
  { lorasChanged }: GenerateContext,
  loras: readonly NativeAdapter[],
): NativeGenerateRequest {
  const { sampling, count, preview, negativePrompt, refinerSwitchAt, variation } = resolved
  const { inputs, size, frame, start, mask, latentsShape, negative, adapters = lorasChanged() ? [...loras] : undefined } = gathered
  return {
    ...sampling.request,
    ...inputs,
    ...(negative ? { negative, ...(negativePrompt === '' ? { emptyNegative: true } : {}) } : {}),
    ...(refinerSwitchAt === undefined ? {} : { refinerSwitchAt }),
    ...frame,
    ...(inputs.depthShape && frame !== size ? { depthArea: [size.width, size.height] } : {}),
    count,
    ...(variation ? { ...variation, variationSeed: String(variation.variationSeed) } : {}),
    ...(start ? { imageShape: [...start.shape] } : {}),
    ...(mask ? { maskShape: [1, 1, mask.height, mask.width] } : {}),
    ...(latentsShape ? { latentsShape: [...latentsShape] } : {}),
    ...(adapters ? { adapters } : {}),
    previewEvery: preview?.every ?? 0,
    previewMethod: preview?.method ?? 'linear',
  }
}

/** The sampling options with all defaults: the checked ones, completed by the engine's choices. */
function resolvedCommon(
  { sampling, count, latents, variation }: ResolvedGenerate,
  size: Size,
  info: PipelineInfo,
  settled: { eta: number },
): ResolvedCommon {
  const { values, request } = sampling
  const schedule = values.schedule ?? (values.timesteps ? undefined : (request.schedule ?? info.defaultSchedules[values.sampler]))
  const eta = settled.eta >= 0 ? settled.eta : undefined
  const all = { ...size, count, ...values, schedule, eta, latents, ...variation }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as unknown as ResolvedCommon
}

/** The inputs, in a form that generate() accepts again. */
function resolvedInputs(resolved: ResolvedGenerate, { kind }: PipelineInfo): Partial<AnyResolvedOptions> {
  const { inputs, negativePrompt, start, startMask, sampling, refinerSwitchAt } = resolved
  const { prompt, ...rest } = inputs
  const prompts = prompt && {
    prompt: prompt.text,
    ...(negativePrompt === undefined ? {} : { negativePrompt }),
    ...(kind === 'rdm' ? {} : { emphasis: prompt.emphasis }), // whose prompts are plain text
  }
  return {
    ...prompts,
    ...(prompt?.clipSkip === undefined ? {} : { clipSkip: prompt.clipSkip }),
    ...rest,
    ...(start === undefined ? {} : { image: start, strength: sampling.request.strength }),
    ...(startMask === undefined ? {} : { mask: startMask }),
    ...(refinerSwitchAt === undefined ? {} : { refinerSwitchAt }),
  }
}

/** A call that is ready for the engine. */
interface Prepared {
  request: string
  arrays: NativeGenerateArrays
  hooks: JobHooks
  finish: (result: NativeGenerateResult) => Promise<GenerateResult>
}

/** What differs in one of two passes. */
interface Pass {
  outputLatents?: true
  /** Start of the second pass, if it is not an image. */
  imageLatents?: { data: Float32Array; shape: number[] }
  strength?: number
  /** The options of the result, which are those of the first pass. */
  described?: { resolved: ResolvedGenerate; size: Size; recorded: Partial<AnyResolvedOptions> }
}

/** The inputs of a call, and the pipeline's adapters, which later setLoras() calls do not change. */
interface Settled {
  gathered: Gathered
  loras: readonly NativeAdapter[]
}

/** Whether the inputs are read or searched, which may take long. Other calls do not wait for that. */
function readsInputs({ start, loras, inputs }: ResolvedGenerate): boolean {
  const { image, mask, semanticMap, depthMap, neighbours } = inputs
  return [start, loras, image, mask, semanticMap, depthMap, neighbours].some((input) => input !== undefined)
}

/** Reads the inputs and waits until the call may be queued. */
async function settle(context: GenerateContext, resolved: ResolvedGenerate, turn: Turn): Promise<Settled> {
  const { signal } = resolved
  signal?.throwIfAborted()
  if (readsInputs(resolved)) turn.pass()
  const loras = await context.settleLoras(signal)
  const gathered = await gather(resolved, context, loras)
  await turn.reached(signal)
  signal?.throwIfAborted()
  return { gathered, loras }
}

function preparePass(context: GenerateContext, resolved: ResolvedGenerate, { gathered, loras }: Settled, pass: Pass = {}): Prepared {
  const { signal, onProgress, preview } = resolved
  const { imageLatents, strength, outputLatents, described } = pass
  const request = {
    ...nativeRequest(resolved, gathered, context, loras),
    ...(outputLatents ? { outputLatents } : {}),
    ...(strength === undefined ? {} : { strength }),
    ...(imageLatents ? { imageLatentsShape: imageLatents.shape } : {}),
  }
  const arrays = {
    ...(imageLatents ? { imageLatents: imageLatents.data } : {}),
    ...gathered.arrays,
    ...(gathered.start ? { image: gathered.start.data } : {}),
    ...(gathered.mask ? { mask: gathered.mask.data } : {}),
    ...(gathered.latents ? { latents: gathered.latents } : {}),
  }
  const steps = request.steps
  const onPreview =
    preview &&
    ((step: number, index: number, width: number, height: number, data: Uint8Array) =>
      preview.onPreview(toRawImage(cropPreview({ width, height, channels: 3, data }, gathered.size)), { step, steps, index }))
  const own = described ?? { resolved, size: gathered.size, recorded: {} }
  return {
    request: JSON.stringify(request),
    arrays,
    hooks: { signal, onProgress, ...(onPreview ? { onPreview } : {}) },
    finish: (result) => finish(context, own, { ...gathered, adapters: gathered.adapters ?? loras }, result),
  }
}

/** One generate() call. */
export async function generate(context: GenerateContext, options: GenerateOptions | undefined): Promise<GenerateResult> {
  const resolved = resolveGenerate(options, context.info)
  const turn = context.turns.take()
  try {
    if (resolved.hires !== undefined) return await generateTwice(context, resolved, resolved.hires, turn)
    const prepared = preparePass(context, resolved, await settle(context, resolved, turn))
    const made = run(context, prepared)
    turn.pass()
    return await prepared.finish(await made)
  } finally {
    turn.pass()
  }
}

function run({ native }: GenerateContext, { request, arrays, hooks }: Prepared): Promise<NativeGenerateResult> {
  return runJob((callbacks) => native.generate(request, arrays, callbacks), hooks)
}

/** Both passes use one reading of the options, the inputs and the adapters. */
async function generateTwice(context: GenerateContext, resolved: ResolvedGenerate, hires: CheckedHires, turn: Turn): Promise<GenerateResult> {
  const { info } = context
  const passes = planPasses(hires, resolved, info)
  const { inLatents, first, second } = passes
  const hooks = hooksOfPasses(resolved, passes)
  const settled = await settle(context, resolved, turn)
  const prepared = preparePass(context, { ...resolved, ...first, ...hooks.first }, settled, inLatents ? { outputLatents: true } : {})
  const running = run(context, prepared)
  turn.pass()
  const made = await running
  const size = { width: second.width, height: second.height }
  const enlarged: Pick<Gathered, 'size' | 'frame' | 'start'> = {
    size,
    frame: size,
    start: inLatents ? undefined : await enlargePictures(made.images, passes),
  }
  const next = preparePass(
    context,
    { ...resolved, ...size, sampling: second.sampling, ...hooks.second },
    { ...settled, gathered: { ...settled.gathered, ...enlarged } },
    {
      strength: second.strength,
      described: { resolved, size: first, recorded: { hires: passes.recorded } },
      ...(inLatents ? { imageLatents: enlargeLatents(made, passes, info.downsampling) } : {}),
    },
  )
  const result = await next.finish(await run(context, next))
  const { timings } = JSON.parse(made.summary) as { timings: Timings }
  for (const key of ['loadMs', 'encodeMs', 'sampleMs', 'decodeMs'] as const) result.timings[key] += timings[key]
  return result
}

/** Several generate() calls at once. Each settles by itself. */
export function generateTogether(context: () => GenerateContext, calls: readonly GenerateOptions[]): Promise<GenerateResult>[] {
  if (calls.some(({ hires }) => hires !== undefined)) return calls.map(async (options) => generate(context(), options)) // two runs each
  const turn = context().turns.take()
  let holding = calls.length
  const pass = () => {
    if (--holding === 0) turn.pass() // all of them read inputs
  }
  const ready = calls.map(async (options) => {
    const own = context()
    const resolved = resolveGenerate(options, own.info)
    const settled = await settle(own, resolved, { ...turn, pass })
    return () => preparePass(own, resolved, settled)
  })
  const started = Promise.allSettled(ready)
    .then((all) => {
      const prepared = all.map((each) => (each.status === 'fulfilled' ? each.value() : undefined))
      const results = startTogether(context().native, prepared)
      return prepared.map((call, i) => call && { finish: call.finish, result: results[i]! })
    })
    .finally(turn.pass)
  return ready.map(async (call, i) => {
    await call
    const { finish, result } = (await started)[i]!
    return finish(await result)
  })
}

/** Starts those calls that are ready. The results are those of the engine. */
function startTogether(native: NativePipeline, all: readonly (Prepared | undefined)[]): (Promise<NativeGenerateResult> | undefined)[] {
  const group: {
    call: Parameters<NativePipeline['generateTogether']>[0][number]
    started: (job: NativeJob<NativeGenerateResult>) => void
    failed: (error: unknown) => void
  }[] = []
  const results = all.map((each) => {
    if (!each) return undefined
    const { request, arrays, hooks } = each
    const result = runJob<NativeGenerateResult>((callbacks) => {
      let job: NativeJob<NativeGenerateResult> | undefined
      const promise = new Promise<NativeGenerateResult>((resolve, reject) => {
        group.push({
          call: { request, arrays, callbacks },
          started: (own) => {
            job = own
            own.promise.then(resolve, reject)
          },
          failed: reject,
        })
      })
      return { promise, cancel: () => job?.cancel() }
    }, hooks)
    result.catch(() => {}) // reported by its call
    return result
  })
  // runJob() has started all those that were not aborted meanwhile.
  try {
    if (group.length > 0) for (const [i, job] of native.generateTogether(group.map(({ call }) => call)).entries()) group[i]!.started(job)
  } catch (error) {
    for (const { failed } of group) failed(error)
  }
  return results
}

/** The seeds of image `index`: with variations, all have the same first seed, as in A1111. */
function seedsOf({ seed, variationSeed }: Pick<ResolvedCommon, 'seed' | 'variationSeed'>, index: number) {
  const later = (first: bigint) => BigInt.asUintN(64, first + BigInt(index))
  return variationSeed === undefined ? { seed: later(seed) } : { seed, variationSeed: later(variationSeed) }
}

async function finish(
  context: GenerateContext,
  { resolved, size: ownSize, recorded }: NonNullable<Pass['described']>,
  { size, warnings, adapters, writtenPrompt }: Pick<Gathered, 'size' | 'warnings' | 'writtenPrompt'> & { adapters: readonly NativeAdapter[] },
  result: NativeGenerateResult,
): Promise<GenerateResult> {
  const { info, modelName, refinerName } = context
  const { version } = getVersions()
  const summary = JSON.parse(result.summary) as { eta: number; timings: Timings; float32Parts?: ModelPart[]; adapters: LoraReport[] }
  const loras = toLoraOptions(adapters)
  const reports = await context.vocabulary.reports(summary.adapters, adapters)
  const options = {
    ...resolvedCommon(resolved, ownSize, info, summary),
    ...resolvedInputs(resolved, info),
    ...(loras.length > 0 ? { loras } : {}),
    ...recorded,
  }
  const written = writtenPrompt === undefined ? {} : { prompt: writtenPrompt }
  const images: RawImage[] = []
  for (const [i, picture] of result.images.entries()) {
    const parameters = writeInfotext({ ...options, ...written, ...seedsOf(options, i) }, { model: modelName, refiner: refinerName }, info, version)
    images.push(toRawImage(await cropPicture(picture, size), { parameters }))
  }
  return {
    images,
    seed: options.seed,
    options,
    timings: summary.timings,
    float32Parts: summary.float32Parts ?? [],
    loras: reports,
    warnings: [...warnings, ...partialWarnings(reports)],
  }
}
