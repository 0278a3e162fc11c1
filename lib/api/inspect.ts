import { addon, checkKind, discardPipeline, loadPipeline, withSource } from '../model/engine.js'
import { resolveSize } from './generate-options.js'
import type { PreviewOptions } from '../kinds/generate-types.js'
import { readInfo } from './info.js'
import { findLoras } from './loras.js'
import { runJob } from '../native/job.js'
import type { NativePipeline } from '../native/contract.js'
import type { SideContext } from '../options/common.js'
import { estimateOptions } from '../options/estimate.js'
import { loadOptions, resolveLoad } from '../options/load.js'
import { checkOptions, nativeFields, omit, only, pick, type Options } from '../options/option.js'
import type { DeepCacheOptions, LoadOptions, LoraOptions, ModelInfo, ModelSource, PipelineInfo } from '../types.js'
import { knownKeys } from '../options/validate.js'

/** Options of {@link inspect}. */
export type InspectOptions = Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal' | 'onProgress'>

const inspectOptions = pick(loadOptions, 'config', 'spec', 'ema', 'variant', 'hub', 'signal', 'onProgress') satisfies Options<InspectOptions>

/** Describes a model and its files from their headers, without loading weights. Without a source: the embedded model. */
export async function inspect(source?: ModelSource, options?: InspectOptions): Promise<ModelInfo> {
  const load = resolveLoad(options, 'inspect()', inspectOptions)
  const { result, prepared } = await withSource(source, load, (request) => () => addon().inspect(JSON.stringify(request)))
  await prepared.dispose()
  return JSON.parse(result) as ModelInfo
}

/** {@link DiffusionPipeline.info} of a model, from headers only, without what depends on the available memory. */
export async function describeModel(source: ModelSource | undefined, options: LoadOptions): Promise<PipelineInfo> {
  const load = resolveLoad(options, 'describe()')
  load.request.headersOnly = true
  const { result: pipeline, prepared } = await withSource(source, load, loadPipeline, { discard: discardPipeline })
  try {
    return checkKind(readInfo(pipeline), load, prepared)
  } finally {
    await pipeline.dispose().promise
    await prepared.dispose()
  }
}

/** Options of {@link estimateMemory}. */
export interface EstimateRequest extends LoadOptions {
  /** Pixels; for `hires`, of its second pass. Default: the model's. */
  width?: number
  height?: number
  /** 1 halves the batch of the network (for editing models together with `imageGuidanceScale: 1`). Default: the model's. */
  guidanceScale?: number
  /** Editing models. Default: the model's. */
  imageGuidanceScale?: number
  /** Images per call. Default 1. */
  count?: number
  /** As in `generate()`. Features are kept for every image. */
  deepCache?: DeepCacheOptions
  /** As in `generate()`. Previews with method `vae` are decoded while the run keeps latents and `deepCache` features. */
  preview?: Partial<PreviewOptions>
  /** As in `generate()`. Counts the memory of adapters; their files are read. */
  loras?: readonly LoraOptions[]
}

/** Bytes of working memory and floating point operations of one call of a network. */
export interface StageEstimate {
  bytes: number
  flops: number
}

/** Resident bytes while one stage runs. */
export interface StageMemory {
  /** Weights of the running part, and what the other parts keep in memory. */
  weights: number
  /** Bytes of the running part's weights that are not kept, but read from the mapped file in every evaluation, because of `memory.maxBytes`. Usually 0. */
  streamed: number
  /** Activations and scratch, for the plan of this memory mode and limit: one batch or two, whole, in bands or in tiles. */
  compute: number
  /** Latents, images and their copies, and features kept by `deepCache`. */
  pictures: number
  /** The sum of weights, compute and pictures. */
  peak: number
}

/** Memory needed for an image, in bytes. */
export interface MemoryEstimate {
  width: number
  height: number
  /** Bytes of the weights by part; `mapped` of them stay in the memory-mapped file. */
  weights: Record<string, { bytes: number; mapped: number }>
  textEncoder?: StageEstimate
  /** Class embedder or spatial rescaler. */
  conditioner?: StageEstimate
  /** CLIP's image tower, if loaded. */
  imageEncoder?: StageEstimate
  unet?: StageEstimate
  /** The refiner's U-Net, if loaded; its text encoder is included in `textEncoder`. */
  refiner?: StageEstimate
  encode?: StageEstimate
  decode?: StageEstimate
  /** Bytes by stage, for the requested memory mode and limit. */
  stages: Partial<Record<'textEncoder' | 'conditioner' | 'imageEncoder' | 'unet' | 'refiner' | 'preview' | 'encode' | 'decode', StageMemory>>
  /** The largest stage of an image that starts from noise, in bytes. */
  peakBytes: number
  /** The same with `memory: 'low'`. */
  lowPeakBytes: number
  /** The smallest `memory.maxBytes` under which the image can be made, with weights streamed from the file; slower the less memory there is. 0: unknown. */
  floorBytes: number
  /** Memory of the process itself: its present resident size, plus an allowance for the tokenizer and the image encoder. */
  processBytes: number
}

/** Allowance for JavaScript during a run: the tokenizer's tables, the file encoder, memory kept by allocators. Measured, with some margin. */
const scriptBytes = 80 * 2 ** 20

type NativeEstimate = Omit<MemoryEstimate, 'width' | 'height' | 'peakBytes' | 'lowPeakBytes' | 'floorBytes' | 'processBytes'> & {
  peak: number
  floor: number
}

const table = estimateOptions satisfies Options<Omit<EstimateRequest, keyof LoadOptions>, SideContext>
const estimateKeys = [...Object.keys(loadOptions), ...Object.keys(table)]

/**
 * Estimates the peak memory of each stage for an image of the given size, in bytes, without loading weights. Without a source: for the embedded model. Throws
 * OutOfMemoryError, with the plans that fit, if `memory.maxBytes` is too small.
 */
export async function estimateMemory(source?: ModelSource, request: EstimateRequest = {}): Promise<MemoryEstimate> {
  const where = 'estimateMemory()'
  const given = knownKeys(request, where, estimateKeys)
  const load = resolveLoad(only(given, loadOptions), where)
  const run = checkOptions(table, given, { multiple: 1 }) // rejects invalid sizes before opening files
  const { hub, signal, onProgress } = load
  const adapters = run.loras && { adapters: await findLoras(run.loras, 'loras', { hub, signal, onProgress }) }
  const fields = { ...nativeFields(omit(table, 'width', 'height', 'guidanceScale', 'loras'), run), ...adapters }
  load.request.headersOnly = true
  const { result: pipeline, prepared } = await withSource(source, load, loadPipeline, { discard: discardPipeline })
  let low = pipeline
  try {
    const info = checkKind(readInfo(pipeline), load, prepared)
    const { defaults, condition } = info
    const asked = resolveSize(given, info)
    const size = { width: asked.width ?? defaults.width, height: asked.height ?? defaults.height }
    const guidanceScale = condition.guidance ? (run.guidanceScale ?? defaults.guidanceScale) : 1
    const ask = async (one: NativePipeline) =>
      JSON.parse(await runJob(() => one.estimate(JSON.stringify({ ...size, guidanceScale, ...fields })), { signal })) as NativeEstimate
    const { peak, floor, ...measured } = await ask(pipeline)
    const { memory } = load.request
    // A plan belongs to a loaded model, so the smallest one needs another load, from files that are already local.
    if (memory.mode !== 'low')
      low = await runJob(loadPipeline({ ...prepared.request, memory: { ...memory, mode: 'low' } }), { signal }, discardPipeline)
    const lowPeakBytes = low === pipeline ? peak : (await ask(low)).peak
    return { ...size, ...measured, peakBytes: peak, lowPeakBytes, floorBytes: floor, processBytes: process.memoryUsage.rss() + scriptBytes }
  } finally {
    if (low !== pipeline) await low.dispose().promise
    await pipeline.dispose().promise
    await prepared.dispose()
  }
}
