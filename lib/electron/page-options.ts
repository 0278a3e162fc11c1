/** Options that come from a page: data alone, within the application's limits, and no file names. */
import { RawImage } from '../image/raw-image.js'
import { checkInteger, invalidRange, invalidType, isBytes, knownKeys, show } from '../options/validate.js'
import { decode } from '../rpc/wire.js'
import type { HostGenerateOptions } from '../host/host.js'
import type { PageLimits } from './main.js'

const limitKeys = ['maxPixels', 'maxSteps', 'maxJobs', 'files'] as const

export function resolveLimits(limits: unknown): Required<PageLimits> {
  const o = knownKeys(limits, 'limits', limitKeys)
  const count = (key: 'maxPixels' | 'maxSteps' | 'maxJobs', usual: number) =>
    o[key] === undefined ? usual : checkInteger(o[key], `limits.${key}`, { min: 1, max: 2 ** 31 })
  return { maxPixels: count('maxPixels', 1 << 20), maxSteps: count('maxSteps', 100), maxJobs: count('maxJobs', 8), files: o.files === true }
}

/** Options whose value may be a text. Of any other a text would be a path. */
const textKeys = new Set(['model', 'prompt', 'negativePrompt', 'sampler', 'schedule', 'dialect', 'rng', 'emphasis', 'classId'])

/** Options that the page's side keeps for itself. */
const notForPages = new Set(['signal', 'onProgress', 'latents'])

function refuseFiles(options: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(options))
    if (typeof value === 'string' && !textKeys.has(key)) throw invalidType(`${key} from a page is the bytes or pixels of a picture, not a file name`)
  if (options.loras !== undefined) throw invalidType('loras are named by the application, or in prompts as <lora:name:1>, not by a page')
}

function checkSteps({ steps, schedule, timesteps }: Record<string, unknown>, { maxSteps }: PageLimits): void {
  const given = Math.max(
    typeof steps === 'number' ? steps : 0,
    ArrayBuffer.isView(schedule) || Array.isArray(schedule) ? (schedule as ArrayLike<number>).length - 1 : 0,
    Array.isArray(timesteps) ? timesteps.length : 0,
  )
  if (given > maxSteps!) throw invalidRange(`steps is ${given}; this application allows ${maxSteps}`)
}

function checkPixels(what: string, width: number, height: number, { maxPixels }: PageLimits): void {
  if (width * height > maxPixels!)
    throw invalidRange(`${what} of ${width}x${height} pixels is larger than the ${maxPixels} pixels that this application allows`)
}

/** The options of a job from those of a page. `usual`: size of the model's pictures. */
export async function readPageOptions(
  message: unknown,
  limits: Required<PageLimits>,
  usual: { width: number; height: number },
): Promise<HostGenerateOptions> {
  const given = decode(message)
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw invalidType(`options must be an object, not ${show(given)}`)
  const options: Record<string, unknown> = Object.fromEntries(Object.entries(given).filter(([key]) => !notForPages.has(key)))
  if (!limits.files) refuseFiles(options)
  checkSteps(options, limits)
  let own: { width: number; height: number } | undefined
  for (const [key, value] of Object.entries(options)) {
    const image = isBytes(value) ? await RawImage.read(value) : value
    if (!(image instanceof RawImage)) continue
    checkPixels(key, image.width, image.height, limits)
    options[key] = image
    if (key === 'image') own = image
  }
  const { width = own?.width ?? usual.width, height = own?.height ?? usual.height, count = 1 } = options
  if (typeof width === 'number' && typeof height === 'number' && typeof count === 'number') checkPixels('a job', width * count, height, limits)
  return options
}
