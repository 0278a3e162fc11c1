/** Validation and defaults of loading and sampling options; those of a model's inputs are in conditions.ts and generate-options.ts. Native code trusts what leaves these files. */
import { partTable, weightTypes, type sourceParts } from '../names.js'
import type { NativeLoadRequest, NativeSamplingRequest } from '../native/contract.js'
import type {
  CallOptions,
  DialectName,
  LoadOptions,
  ModelKind,
  ModelPart,
  PipelineInfo,
  Progress,
  RngName,
  SamplingOptions,
  ScheduleName,
  WeightType,
} from '../types.js'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkName,
  checkNumber,
  checkSeed,
  checkSignal,
  checkString,
  invalidRange,
  invalidType,
  isFloat32Array,
  knownKeys,
  listOf,
  show,
} from './validate.js'

/** What a part may be loaded as: `int8` is no type of files. */
const int8OrWeightTypes = [...weightTypes, 'int8'] as const
export const modelParts = Object.keys(partTable) as ModelPart[]
export const modelKinds: readonly ModelKind[] = ['text', 'class', 'unconditional', 'layout', 'semantic', 'superres', 'inpaint', 'rdm', 'autoencoder']
const rngs: readonly RngName[] = ['philox', 'mt19937']
const memoryModes = ['auto', 'fast', 'low'] as const
const dialects: readonly DialectName[] = ['k', 'comfy', 'diffusers', 'compvis', 'sgm']

const maxSide = 16384
const maxSteps = 1000
const maxCount = 256

/** Options of the loop that the network's evaluations are shaped by, not the solver's steps. */
export const evaluationKeys = ['guidanceScale', 'guidanceRescale', 'guidanceInterval', 'deepCache'] as const
export const samplingKeys = ['steps', ...evaluationKeys, 'seed', 'sampler', 'schedule', 'timesteps', 'dialect', 'eta', 'rng', 'extra'] as const
export const callKeys = ['signal'] as const
const loadKeys = [
  'kind',
  'device',
  'dtype',
  'precision',
  'memory',
  'threads',
  'ema',
  'variant',
  'onProgress',
  'config',
  'spec',
  'hub',
  'loraDirectory',
  ...callKeys,
] as const

/** A random 32-bit seed: short enough to be read out, typed in and kept by every other tool. */
export function randomSeed(): bigint {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0]!)
}

/** `signal` and nothing else. */
export function resolveCall(options: unknown, where: string): CallOptions {
  const o = knownKeys(options, where, callKeys)
  return o.signal === undefined ? {} : { signal: checkSignal(o.signal, 'signal') }
}

export function optionalSignal(o: Record<string, unknown>): AbortSignal | undefined {
  return o.signal === undefined ? undefined : checkSignal(o.signal, 'signal')
}

export function optionalProgress(o: Record<string, unknown>): ((progress: Progress) => unknown) | undefined {
  return o.onProgress === undefined ? undefined : checkFunction<(progress: Progress) => unknown>(o.onProgress, 'onProgress')
}

export function resolveRng(value: unknown): RngName {
  return value === undefined ? 'philox' : checkName(value, 'rng', rngs)
}

export function resolveSeed(value: unknown): bigint {
  return value === undefined ? randomSeed() : checkSeed(value, 'seed')
}

// ---- loading ---------------------------------------------------------------------------------------------------------

/** The checked options of a load, apart from the files. */
export interface ResolvedLoad {
  request: Omit<NativeLoadRequest, 'model' | (typeof sourceParts)[number] | 'config'>
  config: LoadOptions['config']
  /** Checked where sources are resolved. */
  hub: LoadOptions['hub']
  /** Checked where prompts name adapters. */
  loraDirectory: LoadOptions['loraDirectory']
  /** What the caller counts on. */
  kind: ModelKind | undefined
  signal: AbortSignal | undefined
  onProgress: ((progress: Progress) => unknown) | undefined
}

function resolveDevice(value: unknown): string {
  if (value === undefined) return 'auto'
  const device = checkString(value, 'device', 64)
  if (!/^(auto|cpu|(cuda|metal|vulkan)(:\d{1,3})?)$/.test(device)) {
    throw invalidRange(
      `device must be 'auto', 'cpu', 'cuda', 'metal' or 'vulkan', with ':' and a number for one of several ('cuda:1'), not ${show(device)}`,
    )
  }
  return device
}

/** What quantising a whole model means to a part, as convert() has it. */
function inBlockModels(part: ModelPart): WeightType | undefined {
  const traits: { title: string; inBlockModels?: WeightType } = partTable[part]
  return traits.inBlockModels
}

function resolveDtype(value: unknown): Partial<Record<ModelPart, string>> {
  if (value === undefined) return {}
  if (typeof value === 'string') {
    const type = checkName(value, 'dtype', int8OrWeightTypes)
    if (type === 'int8') return { unet: type }
    const blocks = type.startsWith('q')
    return Object.fromEntries(modelParts.map((part) => [part, (blocks && inBlockModels(part)) || type]))
  }
  const o = knownKeys(value, 'dtype', modelParts)
  const dtype: Partial<Record<ModelPart, string>> = {}
  for (const part of modelParts)
    if (o[part] !== undefined) dtype[part] = checkName(o[part], `dtype.${part}`, part === 'unet' || part === 'vae' ? int8OrWeightTypes : weightTypes)
  return dtype
}

function resolveMemory(value: unknown): NativeLoadRequest['memory'] {
  if (value === undefined) return { mode: 'auto' }
  if (typeof value === 'string') return { mode: checkName(value, 'memory', memoryModes) }
  const o = knownKeys(value, 'memory', ['mode', 'maxBytes', 'vaeTiling', 'tileSize'])
  const memory: NativeLoadRequest['memory'] = { mode: o.mode === undefined ? 'auto' : checkName(o.mode, 'memory.mode', memoryModes) }
  if (o.maxBytes !== undefined) memory.maxBytes = checkInteger(o.maxBytes, 'memory.maxBytes', { min: 1, max: Number.MAX_SAFE_INTEGER })
  if (typeof o.vaeTiling === 'object' && o.vaeTiling !== null) {
    const tiling = knownKeys(o.vaeTiling, 'memory.vaeTiling', ['tileSize'])
    memory.vaeTiling = true
    if (tiling.tileSize !== undefined) memory.vaeTileSize = checkInteger(tiling.tileSize, 'memory.vaeTiling.tileSize', { min: 16, max: 2048 })
  } else if (o.vaeTiling !== undefined) {
    memory.vaeTiling = checkBoolean(o.vaeTiling, 'memory.vaeTiling')
  }
  if (o.tileSize !== undefined) memory.tileSize = checkInteger(o.tileSize, 'memory.tileSize', { min: 16, max: 2048 })
  return memory
}

/** Name of a variant of the weights. */
export function resolveVariant(value: unknown): string | undefined {
  if (value === undefined) return undefined
  const variant = checkString(value, 'variant', 64)
  if (!/^[\w-]+$/.test(variant)) throw invalidRange(`variant must be a name such as 'fp16', not ${show(variant)}`)
  return variant
}

function resolveSpec(value: unknown): unknown {
  if (value === undefined) return undefined
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`spec must be an object, not ${show(value)}`)
  return value // names and types are checked against the ModelSpec by the engine, which knows them
}

/** Arithmetic in 8-bit integers and float32 throughout exclude each other. */
function checkArithmetic(precision: 'exact' | 'fast', dtype: Partial<Record<ModelPart, string>>): void {
  const part = modelParts.find((name) => dtype[name] === 'int8')
  if (precision === 'exact' && part)
    throw invalidRange(
      `dtype 'int8' (of ${part}) computes in 8-bit integers, precision 'exact' in float32 throughout: leave one of them out, or choose a dtype such as 'q8_0'`,
    )
}

export function resolveLoad(options: LoadOptions | undefined, where: string): ResolvedLoad {
  const o = knownKeys(options, where, loadKeys)
  const spec = resolveSpec(o.spec)
  const precision = o.precision === undefined ? 'fast' : checkName(o.precision, 'precision', ['exact', 'fast'] as const)
  const dtype = resolveDtype(o.dtype)
  checkArithmetic(precision, dtype)
  const variant = resolveVariant(o.variant)
  return {
    request: {
      device: resolveDevice(o.device),
      threads: o.threads === undefined ? 0 : checkInteger(o.threads, 'threads', { min: 1, max: 1024 }),
      precision,
      dtype,
      memory: resolveMemory(o.memory),
      ...(o.ema === undefined ? {} : { ema: checkBoolean(o.ema, 'ema') }),
      ...(variant === undefined ? {} : { variant }),
      ...(spec === undefined ? {} : { spec }),
    },
    config: o.config as LoadOptions['config'],
    hub: o.hub as LoadOptions['hub'],
    loraDirectory: o.loraDirectory as LoadOptions['loraDirectory'],
    kind: o.kind === undefined ? undefined : checkName(o.kind, 'kind', modelKinds),
    signal: optionalSignal(o),
    onProgress: optionalProgress(o),
  }
}

// ---- sampling --------------------------------------------------------------------------------------------------------

/** The checked sampling options: the native request, and what TypeScript keeps for itself. */
export interface ResolvedSampling {
  request: NativeSamplingRequest
  seed: bigint
  schedule: ScheduleName | Float32Array | undefined
}

/** Noise levels, descending; the final 0 may be left out. */
function checkSigmas(sigmas: Float32Array): number[] {
  if (sigmas.length > maxSteps + 1) throw invalidRange(`schedule: at most ${maxSteps + 1} sigmas are allowed, not ${sigmas.length}`)
  if (!(sigmas[0]! > 0)) throw invalidRange('schedule: a custom schedule needs at least one sigma above 0')
  for (let i = 0; i < sigmas.length; i++) {
    const sigma = sigmas[i]!
    if (!Number.isFinite(sigma) || sigma < 0) throw invalidRange(`schedule: sigma ${i} is ${sigma}; sigmas are finite and not negative`)
    if (i > 0 && !(sigma < sigmas[i - 1]!)) {
      throw invalidRange(`schedule: sigmas must fall; sigma ${i} (${sigma}) is not below the one before it (${sigmas[i - 1]})`)
    }
  }
  return Array.from(sigmas)
}

/** Timesteps of the steps, descending. Which there are is the noise schedule's matter. */
function checkTimesteps(value: unknown): number[] {
  if (!Array.isArray(value)) throw invalidType(`timesteps must be an array of numbers, not ${show(value)}`)
  if (value.length < 1 || value.length > maxSteps) throw invalidRange(`timesteps must have 1 to ${maxSteps} numbers, not ${value.length}`)
  const timesteps = Array.from(value, (t: unknown, i) => checkNumber(t, `timesteps[${i}]`, { min: 0, max: 99_999 }))
  timesteps.forEach((t, i) => {
    if (i > 0 && !(t < timesteps[i - 1]!))
      throw invalidRange(`timesteps must fall; timesteps[${i}] (${t}) is not below the one before it (${timesteps[i - 1]})`)
  })
  return timesteps
}

/** `listed`: how many steps a custom schedule makes. */
function resolveSteps(o: Record<string, unknown>, listed: number | undefined, fallback: number): number {
  const given = o.steps === undefined ? undefined : checkInteger(o.steps, 'steps', { min: 1, max: maxSteps })
  if (listed === undefined) return given ?? fallback
  if (given !== undefined && given !== listed) {
    throw invalidRange(`steps (${given}) does not fit the custom schedule, which makes ${listed} steps; leave steps out`)
  }
  return listed
}

function isPlainItem(item: unknown): boolean {
  return typeof item === 'string' || typeof item === 'boolean' || (typeof item === 'number' && Number.isFinite(item))
}

function resolveExtra(value: unknown): Record<string, unknown> | undefined {
  if (value === undefined) return undefined
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`extra must be an object, not ${show(value)}`)
  const extra = Object.entries(value).map(([key, item]): [string, unknown] => {
    const list = Array.isArray(item) ? Array.from(item as unknown[]) : undefined
    if (list && list.length <= maxSteps && list.every((one) => typeof one === 'number' && Number.isFinite(one))) return [key, list]
    if (!isPlainItem(item)) throw invalidType(`extra.${key} must be a finite number, a string, a boolean or a list of numbers, not ${show(item)}`)
    return [key, item]
  })
  return Object.fromEntries(extra)
}

/** Names and defaults that sampling options are checked against. */
export type SamplingContext = Pick<PipelineInfo, 'samplers' | 'schedules' | 'defaults'> & {
  /** Absent where there is no model: a solver on its own. */
  condition?: { guidance: boolean }
}

function checkScheduleName(value: unknown, info: SamplingContext): ScheduleName {
  if (typeof value !== 'string') throw invalidType(`schedule must be a name or a Float32Array of sigmas, not ${show(value)}`)
  if (value === 'custom')
    throw invalidRange(
      "schedule: 'custom' is no name to give; a custom schedule is a Float32Array of falling noise levels (sigmas) in the place of the name",
    )
  return checkName(value, 'schedule', info.schedules)
}

function resolveGuidanceScale(value: unknown, { defaults, condition }: SamplingContext): number {
  const scale = value === undefined ? undefined : checkNumber(value, 'guidanceScale', { min: 0, max: 1000 })
  if (condition && !condition.guidance) {
    if (scale !== undefined && scale !== 1)
      throw invalidRange(`guidanceScale must be 1, not ${scale}: this model was trained without an unconditional input to guide away from`)
    return 1
  }
  return scale ?? defaults.guidanceScale
}

function resolveGuidanceInterval(value: unknown): [number, number] {
  if (!Array.isArray(value) || value.length !== 2)
    throw invalidType(`guidanceInterval must be two fractions of the run, [from, to], not ${show(value)}`)
  const [from, to] = listOf(value, 'guidanceInterval', 2).map((share, i) => checkNumber(share, `guidanceInterval[${i}]`, { min: 0, max: 1 })) as [
    number,
    number,
  ]
  if (from > to) throw invalidRange(`guidanceInterval must not end before it begins: [${from}, ${to}]`)
  return [from, to]
}

export function resolveDeepCache(value: unknown): { interval: number; branch: number } {
  const o = knownKeys(value, 'deepCache', ['interval', 'branch'])
  const interval = checkInteger(o.interval, 'deepCache.interval', { min: 2, max: maxSteps })
  return { interval, branch: o.branch === undefined ? 0 : checkInteger(o.branch, 'deepCache.branch', { min: 0, max: 1000 }) }
}

/** `o` has known keys only. */
export function resolveSampling(o: Record<string, unknown> & SamplingOptions, info: SamplingContext): ResolvedSampling {
  const custom = isFloat32Array(o.schedule) ? checkSigmas(o.schedule) : undefined
  const timesteps = o.timesteps === undefined ? undefined : checkTimesteps(o.timesteps)
  if (timesteps && o.schedule !== undefined) throw invalidType('timesteps take the place of schedule; give one of them')
  const listed = timesteps?.length ?? (custom && custom.length - (custom.at(-1) === 0 ? 1 : 0))
  const sampler = o.sampler === undefined ? info.defaults.sampler : checkName(o.sampler, 'sampler', info.samplers)
  // A sampler of the caller's choice comes with its own schedule, not with that of the model's default sampler.
  const fallback = o.sampler === undefined || o.sampler === info.defaults.sampler ? (info.defaults.schedule ?? '') : ''
  const named = custom || o.schedule === undefined ? undefined : checkScheduleName(o.schedule, info)
  const seed = resolveSeed(o.seed)
  const extra = resolveExtra(o.extra)
  return {
    request: {
      sampler,
      schedule: custom || timesteps ? '' : (named ?? fallback),
      ...(custom ? { sigmas: custom } : {}),
      ...(timesteps ? { timesteps } : {}),
      ...(o.dialect === undefined ? {} : { dialect: checkName(o.dialect, 'dialect', dialects) }),
      steps: resolveSteps(o, listed, info.defaults.steps),
      guidanceScale: resolveGuidanceScale(o.guidanceScale, info),
      guidanceRescale: o.guidanceRescale === undefined ? 0 : checkNumber(o.guidanceRescale, 'guidanceRescale', { min: 0, max: 1 }),
      ...(o.guidanceInterval === undefined ? {} : { guidanceInterval: resolveGuidanceInterval(o.guidanceInterval) }),
      ...(o.deepCache === undefined ? {} : { deepCache: resolveDeepCache(o.deepCache) }),
      eta: o.eta === undefined ? (info.defaults.eta ?? -1) : checkNumber(o.eta, 'eta', { min: 0, max: 1 }),
      seed: String(seed),
      rng: resolveRng(o.rng),
      strength: 1,
      ...(extra ? { extra } : {}),
    },
    seed,
    schedule: custom ? Float32Array.from(custom) : named,
  }
}

/** Which part of the training time is run; {} where all of it is. */
export function resolveDenoising(o: Record<string, unknown>): Pick<NativeSamplingRequest, 'denoisingStart' | 'denoisingEnd'> {
  const share = (name: 'denoisingStart' | 'denoisingEnd', fallback: number) =>
    o[name] === undefined ? fallback : checkNumber(o[name], name, { min: 0, max: 1 })
  const [denoisingStart, denoisingEnd] = [share('denoisingStart', 0), share('denoisingEnd', 1)]
  if (!(denoisingStart < denoisingEnd)) throw invalidRange(`denoisingStart (${denoisingStart}) must lie below denoisingEnd (${denoisingEnd})`)
  return denoisingStart === 0 && denoisingEnd === 1 ? {} : { denoisingStart, denoisingEnd }
}

/** A width or height in pixels. */
export function resolveSide(value: unknown, name: 'width' | 'height', fallback: number, multiple: number): number {
  if (value === undefined) return fallback
  const side = checkInteger(value, name, { min: multiple, max: maxSide })
  if (side % multiple !== 0) {
    const below = side - (side % multiple)
    throw invalidRange(`${name} must be a multiple of ${multiple} for this model, not ${side}; the nearest are ${below} and ${below + multiple}`)
  }
  return side
}

export function resolveCount(value: unknown, name: 'count' | 'batch'): number {
  return value === undefined ? 1 : checkInteger(value, name, { min: 1, max: maxCount })
}
