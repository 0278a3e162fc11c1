/** Validation and defaults of generate(). */
import { resolveInputs, type ResolvedInputs } from '../kinds/conditions.js'
import type { MaskInput } from '../kinds/inputs.js'
import { generateInputKeys, refusedInputs, takesPrompts, takesStartPicture } from '../kinds/input-rules.js'
import type { Latents } from './latents.js'
import { resolveLoras, type CheckedLora } from './loras.js'
import {
  callKeys,
  optionalProgress,
  optionalSignal,
  resolveCount,
  resolveSampling,
  resolveSide,
  samplingKeys,
  type ResolvedSampling,
} from '../options/options.js'
import type { GenerateOptions, ImageInput, PipelineInfo, PreviewOptions, Progress } from '../types.js'
import { checkFunction, checkInteger, checkName, checkNumber, checkString, invalidType, knownKeys } from '../options/validate.js'

export const previewMethods = ['linear', 'vae'] as const

const commonKeys = ['width', 'height', 'count', 'latents', 'loras', 'onProgress', 'preview', ...samplingKeys, ...callKeys] as const

/** The checked options of a generate() call; the size is settled later where it follows the picture's. */
export interface ResolvedGenerate {
  inputs: ResolvedInputs
  /** Where the model is guided by prompts. */
  negativePrompt: string | undefined
  width: number | undefined
  height: number | undefined
  count: number
  sampling: ResolvedSampling
  /** Start of image to image, and what of it to repaint. */
  start: ImageInput | undefined
  startMask: MaskInput | undefined
  latents: Latents | undefined
  /** In place of the pipeline's; undefined: those. */
  loras: CheckedLora[] | undefined
  preview: Required<PreviewOptions> | undefined
  onProgress: ((progress: Progress) => unknown) | undefined
  signal: AbortSignal | undefined
}

function resolvePreview(value: unknown): Required<PreviewOptions> | undefined {
  if (value === undefined) return undefined
  const o = knownKeys(value, 'preview', ['every', 'method', 'onPreview'])
  if (o.onPreview === undefined) throw invalidType('preview.onPreview is missing: the function that receives the pictures')
  return {
    every: o.every === undefined ? 1 : checkInteger(o.every, 'preview.every', { min: 1, max: 1000 }),
    method: o.method === undefined ? 'linear' : checkName(o.method, 'preview.method', previewMethods),
    onPreview: checkFunction<PreviewOptions['onPreview']>(o.onPreview, 'preview.onPreview'),
  }
}

/** Sides of kinds whose inputs set the size, and of a picture with a mask, are compared with it later; they need not be multiples of anything. */
export function resolveSize(o: Record<string, unknown>, info: PipelineInfo): { width: number | undefined; height: number | undefined } {
  const multiple = takesStartPicture(info) && o.mask === undefined ? info.sizeMultiple : 1
  const side = (name: 'width' | 'height') => (o[name] === undefined ? undefined : resolveSide(o[name], name, 0, multiple))
  return { width: side('width'), height: side('height') }
}

export function resolveGenerate(options: GenerateOptions | undefined, info: PipelineInfo, where = 'generate()'): ResolvedGenerate {
  const o = knownKeys(options, where, [...generateInputKeys(info), ...commonKeys], refusedInputs(info))
  const sampling = resolveSampling(o, info)
  const start = takesStartPicture(info) ? (o.image as ImageInput | undefined) : undefined
  if (o.strength !== undefined && start === undefined) throw invalidType('strength is for image to image: it needs image')
  const startMask = takesStartPicture(info) ? (o.mask as MaskInput | undefined) : undefined
  if (startMask !== undefined && start === undefined) throw invalidType('mask says what of image to repaint: it needs image')
  if (start !== undefined) sampling.request.strength = o.strength === undefined ? 0.75 : checkNumber(o.strength, 'strength', { min: 0, max: 1 })
  return {
    inputs: resolveInputs(o, info),
    negativePrompt: takesPrompts(info) ? (o.negativePrompt === undefined ? '' : checkString(o.negativePrompt, 'negativePrompt')) : undefined,
    ...resolveSize(o, info),
    count: resolveCount(o.count, 'count'),
    sampling,
    start,
    startMask,
    latents: o.latents as Latents | undefined,
    loras: o.loras === undefined ? undefined : resolveLoras(o.loras),
    preview: resolvePreview(o.preview),
    onProgress: optionalProgress(o),
    signal: optionalSignal(o),
  }
}
