/** The sampling loop in the caller's hands, and single evaluations of the network. */
import { nativeConditioning } from './conditioning.js'
import { runJob, progressReporter } from '../native/job.js'
import type { Latents } from './latents.js'
import { nativeLatents, wrapLatents } from './latents.js'
import type { NativeConditioning, NativeLatents, NativePipeline, NativeSamplingRequest } from '../native/contract.js'
import {
  callKeys,
  optionalProgress,
  optionalSignal,
  resolveCount,
  resolveDenoising,
  resolveRng,
  resolveSampling,
  resolveSeed,
  resolveSide,
  samplingKeys,
} from '../options/options.js'
import { toRawImage } from '../image/tensors.js'
import type { CreateLatentsOptions, PipelineInfo, PredictOptions, Progress, SampleOptions, SampleStep } from '../types.js'
import { checkInteger, checkName, checkNumber, invalidRange, invalidType, knownKeys, listOf } from '../options/validate.js'

/** Unit-variance start noise. */
export async function createLatents(native: NativePipeline, info: PipelineInfo, options: CreateLatentsOptions | undefined): Promise<NativeLatents> {
  const o = knownKeys(options, 'createLatents()', ['width', 'height', 'seed', 'batch', 'rng', 'signal'])
  const request = {
    width: resolveSide(o.width, 'width', info.defaults.width, info.downsampling),
    height: resolveSide(o.height, 'height', info.defaults.height, info.downsampling),
    batch: resolveCount(o.batch, 'batch'),
    seed: String(resolveSeed(o.seed)),
    rng: resolveRng(o.rng),
  }
  return runJob(
    () => native.createLatents(JSON.stringify(request)),
    { signal: optionalSignal(o) },
    (latents) => latents.dispose(),
  )
}

/** A checked sample() call. */
export interface ResolvedSample {
  request: NativeSamplingRequest
  start: NativeLatents | undefined
  create: CreateLatentsOptions
  image: NativeLatents | null
  conditioning: NativeConditioning | null
  unconditional: NativeConditioning | null
  signal: AbortSignal | undefined
  onProgress: ((progress: Progress) => unknown) | undefined
}

const sampleKeys = [
  'conditioning',
  'unconditional',
  'latents',
  'width',
  'height',
  'batch',
  'image',
  'strength',
  'denoisingStart',
  'denoisingEnd',
  'onProgress',
  ...samplingKeys,
  ...callKeys,
]

export function resolveSample(options: SampleOptions, info: PipelineInfo): ResolvedSample {
  const o = knownKeys(options, 'sample()', sampleKeys, { clipSkip: 'belongs to encodePrompt()' }) as Record<string, unknown> & SampleOptions
  // Whatever the model was trained with: here the caller brings what guidance compares with.
  const sampling = resolveSampling(o, { samplers: info.samplers, schedules: info.schedules, defaults: info.defaults })
  const optional = <T>(value: unknown, name: string, get: (value: unknown, name: string) => T): T | null =>
    value === undefined ? null : get(value, name)
  const unconditional = optional(o.unconditional, 'unconditional', nativeConditioning)
  // Without a second conditioning there is nothing to guide away from: the model's default scale does not apply.
  if (!unconditional) {
    if (o.guidanceScale !== undefined && o.guidanceScale !== 1)
      throw invalidType('guidanceScale other than 1 needs unconditional: the encoded negative (or empty) prompt, null class ...')
    sampling.request.guidanceScale = 1
  }
  if (o.latents !== undefined && (o.width !== undefined || o.height !== undefined || o.batch !== undefined)) {
    throw invalidType('latents already fix width, height and batch; leave those out')
  }
  const image = optional(o.image, 'image', nativeLatents)
  const part = resolveDenoising(o)
  if (part.denoisingStart && o.latents === undefined) throw invalidType('denoisingStart needs latents: the state that the earlier part ended with')
  if (part.denoisingStart !== undefined && image) throw invalidType('denoisingStart and denoisingEnd do not go with image: give strength, or a part')
  Object.assign(sampling.request, part)
  if (o.strength !== undefined && !image) throw invalidType('strength is for image to image: it needs image, the latents from encodeImage()')
  if (image) sampling.request.strength = o.strength === undefined ? 0.75 : checkNumber(o.strength, 'strength', { min: 0, max: 1 })
  const conditioning = optional(o.conditioning, 'conditioning', nativeConditioning)
  const like = image?.shape ?? conditioning?.concatShape
  const sides = (name: 'width' | 'height', axis: 2 | 3) =>
    resolveSide(o[name], name, like ? like[axis] * info.downsampling : info.defaults[name], info.sizeMultiple)
  const { request } = sampling
  return {
    request,
    start: o.latents === undefined ? undefined : nativeLatents(o.latents, 'latents'),
    create: { width: sides('width', 3), height: sides('height', 2), batch: resolveCount(o.batch, 'batch'), seed: sampling.seed, rng: request.rng },
    image,
    conditioning,
    unconditional,
    signal: optionalSignal(o),
    onProgress: optionalProgress(o),
  }
}

/** Runs a checked sample() call step by step. Leaving the loop early frees the run. */
export async function* sampleSteps(
  native: NativePipeline,
  info: PipelineInfo,
  resolved: ResolvedSample,
  usable: () => void,
): AsyncGenerator<SampleStep, Latents, void> {
  usable()
  resolved.signal?.throwIfAborted()
  const { signal } = resolved
  const start = resolved.start ?? (await createLatents(native, info, { ...resolved.create, ...(signal ? { signal } : {}) }))
  const report = resolved.onProgress && progressReporter(resolved.onProgress)
  const { request, image, conditioning, unconditional } = resolved
  const begin = () => native.startSampling(JSON.stringify(request), start, image, conditioning, unconditional)
  const sampler = await runJob(begin, { signal }).finally(() => {
    if (!resolved.start) start.dispose()
  })
  const latents = wrapLatents(sampler.latents)
  try {
    let done = sampler.steps === 0
    while (!done) {
      usable()
      const step = await runJob((callbacks) => sampler.step(callbacks), { signal })
      done = step.done
      await report?.('sample', step.index + 1, step.steps)
      yield {
        index: step.index,
        steps: step.steps,
        sigma: step.sigma,
        timestep: step.timestep,
        latents,
        async preview(method = 'linear', row = 0) {
          const name = checkName(method, 'method', ['linear', 'vae'] as const)
          const index = checkInteger(row, 'row', { min: 0, max: latents.shape[0] - 1 })
          return toRawImage(await runJob(() => sampler.preview(name, index), { signal }))
        },
      }
    }
    return latents
  } finally {
    sampler.dispose()
  }
}

/** One evaluation of the network. */
export async function predict(native: NativePipeline, latents: Latents, options: PredictOptions): Promise<Latents> {
  const handle = nativeLatents(latents, 'latents')
  const o = knownKeys(options, 'predict()', ['timestep', 'conditioning', 'unconditional', 'guidanceScale', 'concat', ...callKeys])
  const bounds = { min: 0, max: 1e6 }
  const given: unknown = o.timestep
  if (given === undefined) throw invalidType('timestep is missing: a number, or one per row')
  const timesteps = Array.isArray(given)
    ? listOf(given, 'timestep', 10_000).map((t, i) => checkNumber(t, `timestep[${i}]`, bounds))
    : [checkNumber(given, 'timestep', bounds)]
  if (timesteps.length !== 1 && timesteps.length !== latents.shape[0]) {
    throw invalidRange(`timestep has ${timesteps.length} values for ${latents.shape[0]} rows; give one, or one per row`)
  }
  const guidanceScale = o.guidanceScale === undefined ? 1 : checkNumber(o.guidanceScale, 'guidanceScale', { min: 0, max: 1000 })
  const conditioning = o.conditioning === undefined ? null : nativeConditioning(o.conditioning, 'conditioning')
  const unconditional = o.unconditional === undefined ? null : nativeConditioning(o.unconditional, 'unconditional')
  if (guidanceScale !== 1 && !unconditional) throw invalidType('guidanceScale other than 1 needs unconditional')
  const concat = o.concat === undefined ? null : nativeLatents(o.concat, 'concat')
  const result = await runJob(() => native.predict(JSON.stringify({ timesteps, guidanceScale }), handle, conditioning, unconditional, concat), {
    signal: optionalSignal(o),
  })
  return wrapLatents(result)
}
