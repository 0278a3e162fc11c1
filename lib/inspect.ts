import { checkKind, withSource, addon } from './engine.js'
import { readInfo } from './info.js'
import { guarded } from './native/call.js'
import { resolveLoad } from './options.js'
import type { LoadOptions, ModelInfo, ModelSource } from './types.js'
import { checkInteger, checkNumber, invalidType, knownKeys, show } from './validate.js'

/** Options of {@link inspect}. */
export type InspectOptions = Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'signal'>

/** Says what a model is and what is in its files, from headers alone: no weights are read. Without a source: the model inside the package. */
export async function inspect(source?: ModelSource, options?: InspectOptions): Promise<ModelInfo> {
  const load = resolveLoad(knownKeys(options, 'inspect()', ['config', 'spec', 'ema', 'signal']), 'inspect()')
  const { result, prepared } = await withSource(source, load, (request) => () => addon().inspect(JSON.stringify(request)))
  await prepared.dispose()
  return JSON.parse(result) as ModelInfo
}

/** What {@link estimateMemory} is asked for. */
export interface EstimateRequest extends Omit<LoadOptions, 'onProgress'> {
  /** Pixels. Default: the model's. */
  width?: number
  height?: number
  /** 1 halves the batch of the network. Default: the model's. */
  guidanceScale?: number
}

/** Bytes of working memory and floating point operations of one call of a network. */
export interface StageEstimate {
  bytes: number
  flops: number
}

/** What a picture will cost, known before a weight is read. */
export interface MemoryEstimate {
  width: number
  height: number
  /** Bytes of the weights by part; `mapped` of them stay in the file's mapping. */
  weights: Record<string, { bytes: number; mapped: number }>
  textEncoder?: StageEstimate
  /** Class embedder or spatial rescaler. */
  conditioner?: StageEstimate
  /** CLIP's image tower, where one is loaded. */
  imageEncoder?: StageEstimate
  unet?: StageEstimate
  encode?: StageEstimate
  decode?: StageEstimate
  /** All weights and the largest stage, in bytes: the peak with everything resident. */
  peakBytes: number
  /** The largest single part with its stage: the peak with `memory: 'low'`, one part at a time. */
  lowPeakBytes: number
}

function peaks(
  estimate: Omit<MemoryEstimate, 'width' | 'height' | 'peakBytes' | 'lowPeakBytes'>,
): Pick<MemoryEstimate, 'peakBytes' | 'lowPeakBytes'> {
  const work: Record<string, number> = {
    textEncoder: estimate.textEncoder?.bytes ?? 0,
    conditioner: estimate.conditioner?.bytes ?? 0,
    imageEncoder: estimate.imageEncoder?.bytes ?? 0,
    unet: estimate.unet?.bytes ?? 0,
    vae: Math.max(estimate.encode?.bytes ?? 0, estimate.decode?.bytes ?? 0),
  }
  const parts = Object.entries(work).map(([name, bytes]) => ({ weights: estimate.weights[name]?.bytes ?? 0, bytes }))
  const weights = parts.reduce((sum, part) => sum + part.weights, 0)
  return { peakBytes: weights + Math.max(...Object.values(work)), lowPeakBytes: Math.max(...parts.map((part) => part.weights + part.bytes)) }
}

/** Peak bytes per stage for a picture of the given size (decoded in one piece), before anything is loaded. Without a source: for the model inside the package. */
export async function estimateMemory(source?: ModelSource, request: EstimateRequest = {}): Promise<MemoryEstimate> {
  if (typeof request !== 'object' || request === null) throw invalidType(`estimateMemory() takes an options object, not ${show(request)}`)
  const { width, height, guidanceScale, ...rest } = request
  const load = resolveLoad(rest, 'estimateMemory()')
  if (guidanceScale !== undefined) checkNumber(guidanceScale, 'guidanceScale', { min: 0, max: 1000 })
  for (const [name, side] of [
    ['width', width],
    ['height', height],
  ] as const)
    if (side !== undefined) checkInteger(side, name, { min: 8, max: 16384 })
  // In low memory mode a load reads headers only; weights would come with the first use.
  load.request.memory = { ...load.request.memory, mode: 'low' }
  const { result: pipeline, prepared } = await withSource(
    source,
    load,
    (native) => (callbacks) => addon().loadPipeline(JSON.stringify(native), callbacks),
  )
  try {
    const { defaults, condition } = checkKind(readInfo(pipeline), load, prepared)
    const size = { width: width ?? defaults.width, height: height ?? defaults.height }
    const guided = condition.guidance && (guidanceScale ?? defaults.guidanceScale) !== 1
    const estimate = JSON.parse(guarded(() => pipeline.estimate(JSON.stringify({ ...size, guided })))) as Omit<
      MemoryEstimate,
      'width' | 'height' | 'peakBytes' | 'lowPeakBytes'
    >
    return { ...size, ...estimate, ...peaks(estimate) }
  } finally {
    await pipeline.dispose().promise
    await prepared.dispose()
  }
}
