/** The sampling loop run by the caller, and single evaluations of the network. */
import { nativeConditioning, type Conditioning } from './conditioning.js'
import { runJob, progressReporter } from '../native/job.js'
import type { Latents } from './latents.js'
import { nativeLatents, wrapLatents } from './latents.js'
import type { NativeConditioning, NativeLatents, NativePipeline, NativeSamplingRequest } from '../native/contract.js'
import { previewMethods } from '../names.js'
import { checkSide, notNative, shared, type SideContext } from '../options/common.js'
import { checkOptions, nativeFields, option, pick, readOptions, type Options, type Values } from '../options/option.js'
import {
  checkGuidanceScale,
  denoisingOptions,
  resolveDenoising,
  resolveSampling,
  samplingOptions,
  strength,
  usualStrength,
} from '../options/sampling.js'
import { toRawImage } from '../image/tensors.js'
import type { CreateLatentsOptions, PipelineInfo, PredictOptions, SampleOptions, SampleStep, SamplingOptions } from '../types.js'
import { checkInteger, checkName, checkNumber, invalidRange, invalidType, knownKeys, listOf } from '../options/validate.js'

const inPrograms = 'tensors are for programs'
const latents = option((value, name) => (nativeLatents(value, name), value as Latents), { flag: inPrograms })
const conditioning = option((value, name) => (nativeConditioning(value, name), value as Conditioning), { flag: inPrograms })
const batch = { ...shared.count, flag: inPrograms }

const createLatentsOptions = {
  ...pick(shared, 'width', 'height', 'seed', 'rng', 'signal'),
  batch,
} satisfies Options<CreateLatentsOptions, SideContext>

/** Unit-variance start noise. */
export async function createLatents(native: NativePipeline, info: PipelineInfo, options: CreateLatentsOptions | undefined): Promise<NativeLatents> {
  const values = readOptions(createLatentsOptions, options, 'createLatents()', { multiple: info.downsampling })
  const { width, height } = info.defaults
  const request = { width, height, ...nativeFields(createLatentsOptions, values) }
  return runJob(
    () => native.createLatents(JSON.stringify(request)),
    { signal: values.signal },
    (created) => created.dispose(),
  )
}

const sampleOptions = {
  conditioning,
  unconditional: conditioning,
  latents,
  ...pick(shared, 'width', 'height'),
  batch,
  image: latents,
  strength,
  ...denoisingOptions,
  ...pick(shared, 'onProgress', 'signal'),
} satisfies Options<Omit<SampleOptions, keyof SamplingOptions>, SideContext>

/** A checked sample() call. */
export interface ResolvedSample extends Pick<Values<typeof sampleOptions>, 'signal' | 'onProgress'> {
  request: NativeSamplingRequest
  start: NativeLatents | undefined
  create: CreateLatentsOptions
  image: NativeLatents | null
  conditioning: NativeConditioning | null
  unconditional: NativeConditioning | null
}

const sampleKeys = [...Object.keys(sampleOptions), ...Object.keys(samplingOptions)]

/** Checks sample()'s options in combination. */
function checkTogether(o: Record<string, unknown>, part: ReturnType<typeof resolveDenoising>, { condition }: PipelineInfo): void {
  // Guidance needs a second conditioning, unless the network takes the scale as an input.
  for (const scale of ['guidanceScale', 'imageGuidanceScale'] as const) {
    if (!condition.guidanceEmbedding && o.unconditional === undefined && o[scale] !== undefined && o[scale] !== 1)
      throw invalidType(`${scale} other than 1 needs unconditional: the encoded negative or empty prompt, the null class ...`)
  }
  if (o.latents !== undefined && (o.width !== undefined || o.height !== undefined || o.batch !== undefined))
    throw invalidType('latents already set width, height and batch; leave those out')
  if (part.denoisingStart && o.latents === undefined) throw invalidType('denoisingStart needs latents: the result of the earlier part')
  if (part.denoisingStart !== undefined && o.image !== undefined)
    throw invalidType('denoisingStart and denoisingEnd cannot be combined with image; use strength instead')
  if (o.strength !== undefined && o.image === undefined)
    throw invalidType('strength needs image: it is for image to image, the latents from encodeImage()')
}

export function resolveSample(options: SampleOptions, info: PipelineInfo): ResolvedSample {
  const o = knownKeys(options, 'sample()', sampleKeys, { clipSkip: 'belongs to encodePrompt()' })
  // Independent of the model's training: the caller provides the unconditional half.
  const { samplers, schedules, defaults, spec } = info
  const condition = info.condition.guidanceEmbedding && info.condition
  const { request, values } = resolveSampling(samplingOptions, o, { samplers, schedules, defaults, spec, condition })
  const given = checkOptions(sampleOptions, o, { multiple: info.sizeMultiple })
  const part = resolveDenoising(o)
  checkTogether(o, part, info)
  const native = <T, N>(value: T | undefined, name: string, get: (value: T, name: string) => N): N | null =>
    value === undefined ? null : get(value, name)
  const image = native(given.image, 'image', nativeLatents)
  const steering = native(given.conditioning, 'conditioning', nativeConditioning)
  Object.assign(request, part)
  if (given.unconditional === undefined && !info.condition.guidanceEmbedding) {
    request.guidanceScale = 1
    if (request.imageGuidanceScale !== undefined) request.imageGuidanceScale = 1
  }
  if (image) request.strength = given.strength ?? usualStrength
  const like = image?.shape ?? steering?.concatShape
  const side = (name: 'width' | 'height', axis: 2 | 3) =>
    given[name] ?? checkSide(like ? like[axis] * info.downsampling : defaults[name], name, { multiple: info.sizeMultiple })
  return {
    request,
    start: native(given.latents, 'latents', nativeLatents) ?? undefined,
    create: { width: side('width', 3), height: side('height', 2), batch: given.batch, seed: values.seed, rng: values.rng },
    image,
    conditioning: steering,
    unconditional: native(given.unconditional, 'unconditional', nativeConditioning),
    signal: given.signal,
    onProgress: given.onProgress,
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
          const name = checkName(method, 'method', previewMethods)
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

/** `lowest`: negative for models trained on continuous noise levels, whose time is a logarithm. */
function checkTimesteps(value: unknown, name: string, { rows, lowest }: { rows: number; lowest: number }): number[] {
  if (value === undefined) throw invalidType(`${name} is missing: a number, or one per row`)
  const bounds = { min: lowest, max: 1e6 }
  const timesteps = Array.isArray(value)
    ? listOf(value, name, 10_000).map((t, i) => checkNumber(t, `${name}[${i}]`, bounds))
    : [checkNumber(value, name, bounds)]
  if (timesteps.length !== 1 && timesteps.length !== rows)
    throw invalidRange(`${name} has ${timesteps.length} values for ${rows} rows; give one, or one per row`)
  return timesteps
}

const predictOptions = {
  timestep: option(checkTimesteps, { required: true, toNative: (timesteps: number[]) => ({ timesteps }), flag: inPrograms }),
  conditioning: { ...conditioning, toNative: notNative },
  unconditional: { ...conditioning, toNative: notNative },
  guidanceScale: option(checkGuidanceScale, { fallback: () => 1, flag: inPrograms }),
  imageGuidanceScale: option(checkGuidanceScale, { fallback: () => 1, flag: inPrograms }),
  concat: { ...latents, toNative: notNative },
  signal: shared.signal,
} satisfies Options<PredictOptions, { rows: number; lowest: number }>

/** One evaluation of the network. */
export async function predict(
  native: NativePipeline,
  { condition, defaults, spec }: PipelineInfo,
  state: Latents,
  options: PredictOptions,
): Promise<Latents> {
  const handle = nativeLatents(state, 'latents')
  const values = readOptions(predictOptions, options, 'predict()', { rows: state.shape[0], lowest: spec.schedule.edm ? -1e6 : 0 })
  const { guidanceScale, imageGuidanceScale, signal } = values
  if (guidanceScale !== 1 && !values.unconditional && !condition.guidanceEmbedding)
    throw invalidType('guidanceScale other than 1 needs unconditional')
  if (imageGuidanceScale !== 1 && defaults.imageGuidanceScale === undefined)
    throw invalidType('imageGuidanceScale is only for editing models (InstructPix2Pix)')
  if (imageGuidanceScale !== 1 && !values.unconditional) throw invalidType('imageGuidanceScale other than 1 needs unconditional')
  const steering = values.conditioning ? nativeConditioning(values.conditioning, 'conditioning') : null
  const unconditional = values.unconditional ? nativeConditioning(values.unconditional, 'unconditional') : null
  const concat = values.concat ? nativeLatents(values.concat, 'concat') : null
  const request = JSON.stringify(nativeFields(predictOptions, values))
  return wrapLatents(await runJob(() => native.predict(request, handle, steering, unconditional, concat), { signal }))
}
