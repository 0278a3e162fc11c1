/** Checks requests against the limits of the server. */
import { presets, RawImage, type HostGenerateOptions, type ImageSize, type PipelineInfo } from 'node-latent-diffusion'
import { invalid } from './errors.js'
import type { RunResult } from './queue.js'
import type { Limits } from './settings.js'

/** Steps of the options, of their preset, or of the model. */
export function stepsOf({ steps, timesteps, schedule, preset }: HostGenerateOptions, info: PipelineInfo): number {
  const own = timesteps?.length ?? steps
  if (own !== undefined) return own
  // A preset's steps belong to its schedule.
  const named = preset !== undefined && schedule === undefined && Object.hasOwn(presets, preset) ? presets[preset] : undefined
  return named?.timesteps?.length ?? named?.steps ?? info.defaults.steps
}

/** The size of a request's images. */
export async function sizeOf(options: HostGenerateOptions, info: PipelineInfo): Promise<ImageSize> {
  // A label map determines the size before the start image; a depth map after it.
  const given = [options.semanticMap, options.image, options.depthMap].find((each) => each instanceof Uint8Array || each instanceof RawImage)
  const own = given ? await RawImage.size(given) : info.defaults
  return { width: options.width ?? own.width, height: options.height ?? own.height }
}

/** The seeds of an image of a result: with variations, all images have the same first seed. */
export function seedsOf({ seed, options }: Pick<RunResult, 'seed' | 'options'>, index: number): { seed: bigint; variationSeed?: bigint } {
  const later = (first: bigint) => BigInt.asUintN(64, first + BigInt(index))
  const { variationSeed } = options
  // Results of workers are JSON, where it is a text.
  const isVaried = typeof variationSeed === 'bigint' || (typeof variationSeed === 'string' && /^\d{1,20}$/.test(variationSeed))
  return isVaried ? { seed, variationSeed: later(BigInt(variationSeed)) } : { seed: later(seed) }
}

/** Whether an input image has a strength; the other kinds are conditioned on it. */
export function takesStrength({ kind }: PipelineInfo): boolean {
  return !['superres', 'inpaint', 'edit'].includes(kind)
}

/** The factor of an upscaler. */
function factorOf({ kind, condition }: PipelineInfo): number {
  return kind === 'superres' && 'factor' in condition ? condition.factor : 1
}

/** Steps and size of the second pass of `hires`. */
function secondPass({ hires }: HostGenerateOptions, steps: number, { width, height }: ImageSize): ImageSize & { steps: number } {
  if (!hires) return { steps: 0, width, height }
  const { scale = 1 } = hires
  return { steps: hires.steps ?? steps, width: hires.width ?? Math.floor(width * scale), height: hires.height ?? Math.floor(height * scale) }
}

/** Rejects requests beyond the limits. With a second pass, the steps of both count, and the size of the larger. The engine rejects values of wrong types. */
export async function checkLimits(options: HostGenerateOptions, info: PipelineInfo, limits: Limits): Promise<void> {
  const { maxPixels, maxSteps, maxCount, maxTotalSteps } = limits
  const firstSteps = stepsOf(options, info)
  const first = await sizeOf(options, info)
  const second = secondPass(options, firstSteps, first)
  const steps = firstSteps + second.steps
  const { count = 1 } = options
  if (steps > maxSteps) throw invalid(`steps is ${steps}; this server allows ${maxSteps}`, 'steps')
  if (count > maxCount) throw invalid(`${count} images were requested; this server allows ${maxCount} per request`, 'count')
  if (steps * count > maxTotalSteps)
    throw invalid(`${count} images of ${steps} steps are ${steps * count} steps; this server allows ${maxTotalSteps}`, 'steps')
  const { width, height } = second.width * second.height > first.width * first.height ? second : first
  const pixels = width * height * factorOf(info) ** 2 * count
  if (pixels > maxPixels)
    throw invalid(
      `${count > 1 ? `${count} images` : 'An image'} of ${width}x${height} are ${pixels} pixels; this server allows ${maxPixels}`,
      'width',
    )
}
