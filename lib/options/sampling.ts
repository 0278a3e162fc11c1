/** The options of the sampling loop. */
import { etaField, samplerWord, scheduleWord } from '../infotext/words.js'
import type { NativeSamplingRequest } from '../native/contract.js'
import type { DeepCacheOptions, DialectName, EvaluationOption, PipelineInfo, SamplingOptions, ScheduleName } from '../types.js'
import { notNative, shared } from './common.js'
import { readNumbers, readPairs, readSchedule } from './flag-text.js'
import { checkOptions, choice, integer, nativeFields, number, omit, option, readNested, type Options, type Values } from './option.js'
import { presetNames, withPreset } from './presets.js'
import { checkName, checkNumber, invalidRange, invalidType, isFloat32Array, listOf, show } from './validate.js'

const maxSteps = 1000
const dialects: readonly DialectName[] = ['k', 'comfy', 'diffusers', 'compvis', 'sgm']

/** Names and defaults for checking sampling options. */
export type SamplingContext = Pick<PipelineInfo, 'samplers' | 'schedules' | 'defaults'> & {
  spec?: Pick<PipelineInfo['spec'], 'prediction'>
  /** Absent without a model, for a separate solver. */
  condition?: { guidance: boolean; guidanceEmbedding?: true }
}

// ---- checks of single options ----------------------------------------------------------------------------------------

const isUnguided = ({ condition }: SamplingContext) => condition !== undefined && !condition.guidance

export function checkGuidanceScale(value: unknown, name: string): number {
  return checkNumber(value, name, { min: 0, max: 1000 })
}

function checkModelGuidance(value: unknown, name: string, context: SamplingContext): number {
  const scale = checkGuidanceScale(value, name)
  if (isUnguided(context) && scale !== 1)
    throw invalidRange(`guidanceScale must be 1, not ${scale}: this model was trained without an unconditional input, so it cannot be guided`)
  return scale
}

function checkImageGuidance(value: unknown, name: string, { defaults }: SamplingContext): number {
  const scale = checkGuidanceScale(value, name)
  if (defaults.imageGuidanceScale === undefined) throw invalidType(`${name} is only for editing models (InstructPix2Pix)`)
  return scale
}

function checkInterval(value: unknown, name: string): [number, number] {
  if (!Array.isArray(value) || value.length !== 2) throw invalidType(`${name} must be two fractions of the run, [from, to], not ${show(value)}`)
  const [from, to] = listOf(value, name, 2).map((share, i) => checkNumber(share, `${name}[${i}]`, { min: 0, max: 1 })) as [number, number]
  if (from > to) throw invalidRange(`${name} must not end before it starts: [${from}, ${to}]`)
  return [from, to]
}

/** Noise levels, descending; the final 0 is optional. */
function checkSigmas(sigmas: Float32Array): Float32Array {
  if (sigmas.length > maxSteps + 1) throw invalidRange(`schedule: at most ${maxSteps + 1} sigmas are allowed, not ${sigmas.length}`)
  if (!(sigmas[0]! > 0)) throw invalidRange('schedule: a custom schedule needs at least one sigma above 0')
  const copy = Float32Array.from(sigmas)
  copy.forEach((sigma, i) => {
    if (!Number.isFinite(sigma) || sigma < 0) throw invalidRange(`schedule: sigma ${i} is ${sigma}; sigmas are finite and not negative`)
    if (i > 0 && !(sigma < copy[i - 1]!))
      throw invalidRange(`schedule: sigmas must descend; sigma ${i} (${sigma}) is not below the previous one (${copy[i - 1]})`)
  })
  return copy
}

function checkSchedule(value: unknown, name: string, { schedules }: SamplingContext): ScheduleName | Float32Array {
  if (isFloat32Array(value)) return checkSigmas(value)
  if (typeof value !== 'string') throw invalidType(`schedule must be a name or a Float32Array of sigmas, not ${show(value)}`)
  if (value === 'custom')
    throw invalidRange(
      "schedule: 'custom' is not the name of a schedule; for a custom schedule pass a Float32Array of descending noise levels (sigmas)",
    )
  return checkName(value, name, schedules)
}

/** Timesteps, descending. The engine checks them against the noise schedule. */
function checkTimesteps(value: unknown, name: string): number[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be an array of numbers, not ${show(value)}`)
  if (value.length < 1 || value.length > maxSteps) throw invalidRange(`${name} must have 1 to ${maxSteps} numbers, not ${value.length}`)
  const timesteps = Array.from(value, (t: unknown, i) => checkNumber(t, `${name}[${i}]`, { min: 0, max: 99_999 }))
  timesteps.forEach((t, i) => {
    if (i > 0 && !(t < timesteps[i - 1]!))
      throw invalidRange(`${name} must descend; ${name}[${i}] (${t}) is not below the previous one (${timesteps[i - 1]})`)
  })
  return timesteps
}

type Extra = NonNullable<SamplingOptions['extra']>

function isPlainItem(item: unknown): item is string | boolean | number {
  return typeof item === 'string' || typeof item === 'boolean' || (typeof item === 'number' && Number.isFinite(item))
}

function checkExtra(value: unknown, name: string): Extra {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`${name} must be an object, not ${show(value)}`)
  const extra = Object.entries(value).map(([key, item]): [string, Extra[string]] => {
    const list = Array.isArray(item) ? Array.from(item as unknown[]) : undefined
    if (list && list.length <= maxSteps && list.every((one) => typeof one === 'number' && Number.isFinite(one))) return [key, list as number[]]
    if (!isPlainItem(item)) throw invalidType(`${name}.${key} must be a finite number, a string, a boolean or a list of numbers, not ${show(item)}`)
    return [key, item]
  })
  return Object.fromEntries(extra)
}

const deepCacheOptions = {
  interval: integer({ min: 2, max: maxSteps, required: true, flag: 'the first number of --deep-cache' }),
  branch: integer({ min: 0, max: 1000, fallback: () => 0, flag: 'the second number of --deep-cache' }),
} satisfies Options<DeepCacheOptions>

const deepCache = option((value, name): Required<DeepCacheOptions> => readNested(deepCacheOptions, value, name, undefined), {
  flag: {
    value: 'N[,B]',
    help: 'run the whole network only every N-th step, and the outer blocks up to branch B (default 0) in between',
    read(text, fail) {
      const [interval, branch] = readNumbers(text, fail, 1, 2)
      return { interval, branch }
    },
  },
  toInfotext: ({ interval, branch }: DeepCacheOptions) => ({ DeepCache: `${interval} ${branch}` }),
})

// ---- the table -------------------------------------------------------------------------------------------------------

/** Sampling options of the model, not the solver. */
const evaluationOptions = {
  preset: choice({
    names: presetNames,
    toNative: notNative,
    flag: { value: 'NAME', help: 'settings of a few-step model: turbo, lightning-4, hyper-sd, lcm, tcd, dmd2, pcm ... (docs/kinds.md)' },
    infotext: 'Preset',
  }),
  guidanceScale: {
    ...option(checkModelGuidance, {
      fallback: (context: SamplingContext) => (isUnguided(context) ? 1 : context.defaults.guidanceScale),
      flag: { help: "how closely to follow the prompt, 1: no guidance; default: the model's, 7.5 for Stable Diffusion" },
      infotext: 'CFG scale',
    }),
    type: 'number' as const,
  },
  imageGuidanceScale: {
    ...option(checkImageGuidance, {
      fallback: ({ defaults }: SamplingContext) => defaults.imageGuidanceScale,
      flag: { help: "editing models: how closely to follow the image; default: the model's, 1.5" },
      infotext: 'Image CFG scale',
    }),
    type: 'number' as const,
  },
  guidanceRescale: number({
    min: 0,
    max: 1,
    fallback: () => 0,
    flag: { help: 'rescales guided predictions against overexposure, 0 to 1; default 0' },
    toInfotext: (share: number) => ({ 'CFG Rescale phi': share > 0 ? share : undefined }),
  }),
  guidanceInterval: option(checkInterval, {
    flag: {
      value: 'A,B',
      help: 'guide only this part of the run, in fractions: 0,0.7; default 0,1',
      read: (text, fail) => readNumbers(text, fail, 2, 2),
    },
    toInfotext: (interval: readonly number[]) => ({ 'Guidance interval': interval.join(' ') }),
  }),
  deepCache,
} satisfies Options<Pick<SamplingOptions, EvaluationOption>, SamplingContext>

export const samplingOptions = {
  steps: integer({
    min: 1,
    max: maxSteps,
    fallback: ({ defaults }: SamplingContext) => defaults.steps,
    flag: { help: "number of sampling steps; default: the model's" },
    infotext: 'Steps',
  }),
  seed: shared.seed,
  sampler: option((value, name, { samplers }: SamplingContext) => checkName(value, name, samplers), {
    fallback: ({ defaults }: SamplingContext) => defaults.sampler,
    flag: { value: 'NAME', help: "ddim, euler, euler_a, heun, dpmpp_2m, unipc ... (listed below); default: the model's" },
    toInfotext: (name: string) => ({ Sampler: samplerWord(name) }),
  }),
  schedule: option(checkSchedule, {
    toNative: (schedule: string | Float32Array) => (typeof schedule === 'string' ? { schedule } : { sigmas: Array.from(schedule) }),
    flag: {
      value: 'NAME',
      help: "karras, ays ... (listed below), or descending noise levels: sigmas:14.6,7.1,2.2,0; default: the sampler's",
      read: readSchedule,
    },
    toInfotext: (schedule: string | Float32Array) => ({ 'Schedule type': typeof schedule === 'string' ? scheduleWord(schedule) : 'Custom' }),
  }),
  timesteps: option(checkTimesteps, {
    flag: {
      value: 'LIST',
      help: 'explicit timesteps instead of a schedule: 999,749,499,249',
      read: (text, fail) => readNumbers(text, fail, 1, maxSteps),
    },
    toInfotext: (timesteps: readonly number[]) => ({ Timesteps: timesteps.join(' ') }),
  }),
  dialect: choice({
    names: dialects,
    flag: { value: 'NAME', help: `reference implementation to follow: ${dialects.join(', ')}; default: depends on sampler and schedule` },
    infotext: 'Dialect',
  }),
  eta: number({
    min: 0,
    max: 1,
    fallback: ({ defaults }: SamplingContext) => defaults.eta,
    flag: { help: 'noise added per step, from 0 (none, as DDIM) to 1 (as DDPM)' },
    toInfotext: (eta: number, { sampler }: { sampler: string }) => etaField(sampler, eta),
  }),
  ...evaluationOptions,
  rng: shared.rng,
  extra: option(checkExtra, {
    flag: { value: 'LIST', help: 'sampler parameters: s_churn=10,order=3', read: readPairs },
    toInfotext: (extra: Extra) => ({ 'Solver parameters': Object.keys(extra).length > 0 ? JSON.stringify(extra) : undefined }),
  }),
} satisfies Options<SamplingOptions, SamplingContext>

/** The options of a separate solver. */
export const solverSamplingOptions = omit(samplingOptions, ...(Object.keys(evaluationOptions) as (keyof typeof evaluationOptions)[]))

// ---- rules between options --------------------------------------------------------------------------------------

/** The checked sampling options, and the engine's request. */
export interface ResolvedSampling {
  values: Partial<Values<typeof samplingOptions>> & Pick<Values<typeof samplingOptions>, 'steps' | 'seed' | 'sampler' | 'rng'>
  request: NativeSamplingRequest
}

/** Number of steps of the caller's own list. */
function listedSteps({ schedule, timesteps }: { schedule?: unknown; timesteps?: readonly number[] | undefined }): number | undefined {
  if (timesteps) return timesteps.length
  return schedule instanceof Float32Array ? schedule.length - (schedule.at(-1) === 0 ? 1 : 0) : undefined
}

/**
 * The model's schedule or timesteps, which belong to its default sampler: another sampler has a default of its own. Timesteps are for their own number of steps.
 */
function modelSchedule({ sampler, schedule, timesteps, steps }: ResolvedSampling['values'], { defaults }: SamplingContext) {
  if (schedule !== undefined || timesteps !== undefined || sampler !== defaults.sampler) return {}
  if (defaults.timesteps?.length === steps) return { timesteps: [...defaults.timesteps] }
  return defaults.schedule === undefined ? {} : { schedule: defaults.schedule }
}

/** `given` has only known keys. `table`: the options that the call takes. */
export function resolveSampling<Table extends Partial<typeof samplingOptions>>(
  table: Table,
  given: Record<string, unknown>,
  context: SamplingContext,
): ResolvedSampling {
  if (given.timesteps !== undefined && given.schedule !== undefined) throw invalidType('timesteps and schedule cannot be combined')
  const preset = table.preset && given.preset !== undefined ? table.preset.check(given.preset, 'preset') : undefined
  const all = preset ? withPreset(preset, given, context.spec?.prediction, context.condition?.guidanceEmbedding) : given
  const values = checkOptions(table, all, context) as ResolvedSampling['values']
  const listed = listedSteps(values)
  if (listed !== undefined && given.steps !== undefined && given.steps !== listed)
    throw invalidRange(`steps (${values.steps}) does not match the custom schedule, which has ${listed} steps; leave steps out`)
  values.steps = listed ?? values.steps
  const own = preset ? {} : modelSchedule(values, context)
  if (own.timesteps) values.timesteps = own.timesteps
  const fields = { ...own, ...nativeFields(table, values as never) }
  return { values, request: fields as unknown as NativeSamplingRequest }
}

const share = number({ min: 0, max: 1, flag: 'for two models that share a schedule, which the command line does not run' })

/** The part of the training time to run. */
export const denoisingOptions = {
  denoisingStart: { ...share, fallback: () => 0 },
  denoisingEnd: { ...share, fallback: () => 1 },
} satisfies Options<Pick<NativeSamplingRequest, 'denoisingStart' | 'denoisingEnd'>>

/** {} for the whole training time. */
export function resolveDenoising(given: Record<string, unknown>): Pick<NativeSamplingRequest, 'denoisingStart' | 'denoisingEnd'> {
  const part = checkOptions(denoisingOptions, given, undefined)
  const { denoisingStart, denoisingEnd } = part
  if (!(denoisingStart < denoisingEnd)) throw invalidRange(`denoisingStart (${denoisingStart}) must be below denoisingEnd (${denoisingEnd})`)
  return denoisingStart === 0 && denoisingEnd === 1 ? {} : part
}

export const strength = number({
  min: 0,
  max: 1,
  flag: { help: 'image to image: amount of change, 0 to 1: the fraction of the steps to run; default 0.75' },
  infotext: 'Denoising strength',
})

/** Default of `strength` if an image is given. */
export const usualStrength = 0.75
