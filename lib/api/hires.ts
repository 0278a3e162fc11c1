/** generate() in two passes: at the model's size, then enlarged, as image to image. */
import type { Size } from '../image/framing.js'
import { toPlanar } from '../image/preprocess.js'
import { RawImage } from '../image/raw-image.js'
import { resizeLatents, type LatentFilter } from '../image/resize-latents.js'
import type { NativeGenerateResult, NativePicture } from '../native/contract.js'
import { checkSide } from '../options/common.js'
import type { CheckedHires } from '../options/hires.js'
import { omit } from '../options/option.js'
import { presets } from '../options/presets.js'
import { resolveSampling, samplingOptions, solverSamplingOptions, type ResolvedSampling } from '../options/sampling.js'
import { invalidRange, invalidType } from '../options/validate.js'
import type { FloatImage, GenerateOptions, PipelineInfo, Progress, ResolvedHires, UpscalerName } from '../types.js'
import type { ResolvedGenerate } from './generate-options.js'
import { createSolver } from './solver.js'

const latentFilters: Partial<Record<UpscalerName, LatentFilter>> = {
  latent: 'bilinear',
  latent_bicubic: 'bicubic',
  latent_nearest: 'nearest',
  latent_nearest_exact: 'nearest-exact',
}

/** Other kinds follow the size of an image. */
const kinds: readonly string[] = ['text', 'class', 'unconditional', 'layout', 'rdm']

/** Both passes, before the first one runs. */
export interface Passes {
  first: Size
  second: Size & { steps: number; strength: number; upscaler: UpscalerName; sampling: ResolvedSampling }
  /** The option with its defaults. */
  recorded: ResolvedHires
  /** Whether latents are enlarged, not images. */
  inLatents: boolean
}

const areEqual = (a: readonly number[], b: readonly number[] = []) => a.length === b.length && a.every((value, i) => value === b[i])

/** Whose the timesteps of the first pass are, if not the caller's. A result's options list them, so they are compared. */
function ownerOf({ timesteps, preset }: ResolvedSampling['values'], { defaults }: PipelineInfo): string | undefined {
  if (timesteps === undefined) return undefined
  if (preset !== undefined && areEqual(timesteps, presets[preset].timesteps)) return `the preset '${preset}'`
  return areEqual(timesteps, defaults.timesteps) ? 'the model' : undefined
}

/** Solvers whose grid has a part for each strength and runs all steps in it. */
const ownStart: readonly string[] = ['lcm', 'tcd']

/** The sampling of the second pass. Timesteps of the model or a preset are for the first: the second has its sampler's schedule. */
function secondSampling({ values, request }: ResolvedSampling, steps: number, info: PipelineInfo): ResolvedSampling {
  const { preset, schedule } = values
  const { schedule: usual, sampler } = info.defaults
  // A preset's sampler has no schedule of the model.
  const named = schedule ?? request.schedule ?? (preset === undefined && values.sampler === sampler ? usual : undefined)
  const startsItself = ownStart.includes(values.sampler) && (named ?? info.defaultSchedules[values.sampler]) === 'leading'
  // The web UI runs as many steps as asked for, on a schedule that is longer.
  const extra = startsItself ? values.extra : { ...values.extra, start_rule: 'webui_fixed' }
  return resolveSampling(
    samplingOptions,
    { ...omit(values, 'preset', 'timesteps'), steps, ...(named === undefined ? {} : { schedule: named }), ...(extra ? { extra } : {}) },
    { ...info, defaults: omit(info.defaults, 'timesteps', 'schedule') },
  )
}

/** Plans the second pass as the engine does, because it would refuse it only after the first. */
function checkSecond({ values }: ResolvedSampling, strength: number, { spec }: PipelineInfo, owner: string | undefined): void {
  if (values.sampler === 'ddim_inverse') throw invalidType("hires cannot be used with the sampler 'ddim_inverse', which turns images into noise")
  const known = Object.entries(values).filter(([key]) => Object.hasOwn(solverSamplingOptions, key))
  try {
    createSolver({ ...Object.fromEntries(known), sampler: values.sampler, strength, spec })
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_INVALID_ARG') throw error
    const aside = owner === undefined ? '' : ` (the timesteps of ${owner} are for the first)`
    throw invalidRange(`hires: the second pass${aside} is impossible: ${(error as Error).message}`)
  }
}

/** @throws TypeError or RangeError if the passes are impossible */
export function planPasses(asked: CheckedHires, resolved: ResolvedGenerate, info: PipelineInfo): Passes {
  if (!kinds.includes(info.kind)) throw invalidType(`hires is for models that draw from noise alone, not for the kind '${info.kind}'`)
  if (resolved.start !== undefined || resolved.latents !== undefined) throw invalidType('hires cannot be combined with image or latents')
  const { values } = resolved.sampling
  const owner = ownerOf(values, info)
  if ((values.timesteps !== undefined && owner === undefined) || values.schedule instanceof Float32Array)
    throw invalidType('hires cannot be combined with timesteps or sigmas: these are for one number of steps')
  const multiple = { multiple: info.sizeMultiple }
  const first = {
    width: checkSide(resolved.width ?? info.defaults.width, 'width', multiple),
    height: checkSide(resolved.height ?? info.defaults.height, 'height', multiple),
  }
  const { scale, strength, upscaler, steps = values.steps } = asked
  const rounded = (pixels: number) => Math.floor((pixels * scale!) / info.sizeMultiple) * info.sizeMultiple
  const width = checkSide(
    scale === undefined ? asked.width : rounded(first.width),
    scale === undefined ? 'hires.width' : 'width x hires.scale',
    multiple,
  )
  const height = checkSide(
    scale === undefined ? asked.height : rounded(first.height),
    scale === undefined ? 'hires.height' : 'height x hires.scale',
    multiple,
  )
  if (width < first.width || height < first.height)
    throw invalidRange(`hires: the second pass (${width}x${height}) must not be smaller than the first (${first.width}x${first.height})`)
  const inLatents = latentFilters[upscaler] !== undefined
  if (!inLatents && info.spec.firstStage?.encoder === false)
    throw invalidType(`hires.upscaler '${upscaler}' enlarges images, and this model has no encoder for them; use latent`)
  const sampling = secondSampling(resolved.sampling, steps, info)
  checkSecond(sampling, strength, info, owner)
  return {
    first,
    second: { width, height, steps, strength, upscaler, sampling },
    recorded: { ...(scale === undefined ? { width, height } : { scale }), steps, strength, upscaler },
    inLatents,
  }
}

type Hooks = Pick<ResolvedGenerate, 'onProgress' | 'preview'>
type OnPreview = NonNullable<GenerateOptions['preview']>['onPreview']

/** Progress and previews of both passes as those of one run. */
export function hooksOfPasses({ onProgress, preview, sampling }: ResolvedGenerate, { first, second }: Passes): { first: Hooks; second: Hooks } {
  const began = performance.now()
  const steps = sampling.values.steps + second.steps
  const area = ({ width, height }: Size) => width * height
  let furthest = 0
  /** Estimated time of the second pass. */
  let later: number | null = null
  const hooksOf = (pass: 'first' | 'second'): Hooks => {
    const [before, share] = pass === 'first' ? [0, sampling.values.steps] : [sampling.values.steps, second.steps]
    // Some schedules have more or fewer steps than asked for.
    const placed = (progress: Progress): Progress => {
      const timed = { ...progress, elapsedMs: performance.now() - began }
      const { phase, step, etaMs } = progress
      // The end of the first pass and the start of the second would look like the end and the start of the call.
      if (phase === (pass === 'first' ? 'decode' : 'encode')) return { ...timed, phase: 'sample', step: sampling.values.steps, steps, etaMs: later }
      if (phase !== 'sample') return timed
      furthest = Math.max(furthest, before + (step >= progress.steps ? share : Math.min(step, share)))
      if (pass === 'second') return { ...timed, step: furthest, steps, etaMs: step === 0 ? later : etaMs }
      if (etaMs !== null && progress.steps > step) later = ((etaMs / (progress.steps - step)) * second.steps * area(second)) / area(first)
      return { ...timed, step: furthest, steps, etaMs: etaMs === null || later === null ? null : etaMs + later }
    }
    const onPreview: OnPreview = (image, at) => preview!.onPreview(image, { ...at, step: before + Math.min(at.step, share), steps })
    return {
      onProgress: onProgress && ((progress) => onProgress(placed(progress))),
      preview: preview && { ...preview, onPreview },
    }
  }
  return { first: hooksOf('first'), second: hooksOf('second') }
}

/** The latents of the first pass, enlarged. */
export function enlargeLatents(
  { tensor }: NativeGenerateResult,
  { first, second }: Passes,
  downsampling: number,
): { data: Float32Array; shape: number[] } {
  const { shape, data } = tensor!
  const side = ({ width, height }: Size) => ({ width: width / downsampling, height: height / downsampling })
  const to = side(second)
  return { data: resizeLatents(data, side(first), to, latentFilters[second.upscaler]!), shape: [shape[0]!, shape[1]!, to.height, to.width] }
}

/** The images of the first pass, enlarged, as one batch. */
export async function enlargePictures(pictures: readonly NativePicture[], { second }: Passes): Promise<FloatImage> {
  const { width, height } = second
  const filter = second.upscaler as 'lanczos' | 'bicubic' | 'nearest'
  const rows: FloatImage[] = []
  for (const { data, width: w, height: h, channels } of pictures) {
    const image = new RawImage({ data, width: w, height: h, channels: channels as 1 | 3 | 4 })
    rows.push(await toPlanar(await image.resize(width, height, { filter })))
  }
  const all = new Float32Array(rows.reduce((sum, { data }) => sum + data.length, 0))
  let at = 0
  for (const { data } of rows) {
    all.set(data, at)
    at += data.length
  }
  return { data: all, shape: [rows.length, ...rows[0]!.shape.slice(1)] }
}
