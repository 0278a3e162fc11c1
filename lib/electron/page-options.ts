/** Options from a page: only data, within the application's limits, without file names. */
import type { HostGenerateOptions } from '../host/host.js'
import type { ImageSize } from '../image/orientation.js'
import { RawImage } from '../image/raw-image.js'
import { presets } from '../options/presets.js'
import { checkBoolean, checkInteger, invalidRange, invalidType, isBytes, knownKeys, show } from '../options/validate.js'
import type { PipelineInfo } from '../types.js'
import type { PageLimits } from './main.js'

const limitKeys = ['maxPixels', 'maxSteps', 'maxJobs', 'files'] as const

export function resolveLimits(limits: unknown): Required<PageLimits> {
  const o = knownKeys(limits, 'limits', limitKeys)
  const count = (key: 'maxPixels' | 'maxSteps' | 'maxJobs', usual: number) =>
    o[key] === undefined ? usual : checkInteger(o[key], `limits.${key}`, { min: 1, max: 2 ** 31 })
  const files = o.files !== undefined && checkBoolean(o.files, 'limits.files')
  return { maxPixels: count('maxPixels', 1 << 20), maxSteps: count('maxSteps', 100), maxJobs: count('maxJobs', 8), files }
}

/** Options whose value may be a string. For others a string would be a path. */
const textKeys = new Set(['model', 'preset', 'prompt', 'negativePrompt', 'sampler', 'schedule', 'dialect', 'rng', 'emphasis', 'classId'])

/** Options with images or maps. */
const pictureKeys = ['image', 'mask', 'semanticMap', 'depthMap'] as const

/** Options handled on the page's side. */
const notForPages = ['signal', 'onProgress', 'latents']

type Given = Record<string, unknown>

function refuseFiles(options: Given): void {
  for (const [key, value] of Object.entries(options))
    if (typeof value === 'string' && !textKeys.has(key))
      throw invalidType(`${key}: a page must pass the bytes or pixels of an image, not a file name`)
  if (options.loras !== undefined) throw invalidType('loras: a page cannot name adapter files; use <lora:name:1> in the prompt')
}

/** The number of steps, as far as the options tell. */
function stepsOf({ steps, schedule, timesteps, preset }: Given, usual: number): number {
  if (Array.isArray(timesteps)) return timesteps.length
  if (ArrayBuffer.isView(schedule)) {
    const sigmas = schedule as Float32Array
    return sigmas.length - (sigmas.at(-1) === 0 ? 1 : 0)
  }
  if (typeof steps === 'number') return steps
  const own = typeof preset === 'string' && Object.hasOwn(presets, preset) ? presets[preset as keyof typeof presets] : undefined
  return own?.steps ?? own?.timesteps?.length ?? usual
}

/** The second pass; the engine rejects values that are not numbers. */
function hiresOf(given: unknown, steps: number): { steps: number; scale: number; width: number | undefined; height: number | undefined } {
  if (typeof given !== 'object' || given === null) return { steps: 0, scale: 1, width: undefined, height: undefined }
  const number = (value: unknown) => (typeof value === 'number' ? value : undefined)
  const { steps: own, scale, width, height } = given as Given
  return { steps: number(own) ?? steps, scale: number(scale) ?? 1, width: number(width), height: number(height) }
}

function checkPixels(what: string, width: number, height: number, { maxPixels }: Required<PageLimits>): void {
  // The negation is also true for NaN.
  if (!(width * height <= maxPixels))
    throw invalidRange(`${what} of ${width}x${height} pixels is larger than the ${maxPixels} pixels that this application allows`)
}

/** Size of an image or map in any form that the engine accepts; the engine rejects others. Files are not decoded. */
async function sizeOf(value: unknown): Promise<ImageSize> {
  if (isBytes(value) || typeof value !== 'object' || value === null) return RawImage.size(value as Uint8Array)
  const { width, height, shape } = value as Given
  return Array.isArray(shape) ? { width: Number(shape.at(-1)), height: Number(shape.at(-2)) } : { width: Number(width), height: Number(height) }
}

/** Checks the images of a page. */
async function checkPictures(options: Readonly<Given>, limits: Required<PageLimits>): Promise<ImageSize | undefined> {
  let own: ImageSize | undefined
  for (const key of pictureKeys) {
    const value = options[key]
    if (value === undefined || typeof value === 'string') continue
    const size = await sizeOf(value)
    checkPixels(key, size.width, size.height, limits)
    if (key !== 'mask' && !(key === 'depthMap' && own)) own = size // a start image sets the size before a depth map does
  }
  return own
}

/** The options of a job from a page's decoded options. `info`: of their model. */
export async function readPageOptions(given: unknown, limits: Required<PageLimits>, info: PipelineInfo): Promise<HostGenerateOptions> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw invalidType(`options must be an object, not ${show(given)}`)
  const options: Given = { ...given }
  for (const key of notForPages) delete options[key]
  if (!limits.files) refuseFiles(options)
  const steps = stepsOf(options, info.defaults.steps)
  const hires = hiresOf(options.hires, steps)
  if (steps + hires.steps > limits.maxSteps) throw invalidRange(`steps is ${steps + hires.steps}; this application allows ${limits.maxSteps}`)
  const own = await checkPictures(options, limits)
  const { count = 1 } = options
  const { width = own?.width ?? info.defaults.width, height = own?.height ?? info.defaults.height } = options
  // Not with `hires`, which other kinds refuse.
  const factor = info.kind === 'superres' && 'factor' in info.condition ? Number(info.condition.factor) : 1
  // The engine rejects values that are not numbers.
  const isSized = [width, height, count].every((value) => typeof value === 'number')
  if (isSized) {
    checkPixels('a job', (width as number) * factor * (count as number), (height as number) * factor, limits)
    const second = { width: hires.width ?? (width as number) * hires.scale, height: hires.height ?? (height as number) * hires.scale }
    checkPixels('a job', second.width * (count as number), second.height, limits)
  }
  return options
}
