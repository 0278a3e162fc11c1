/** All validation of options, and all defaults. What leaves this file is complete and right; native code trusts it. */
import type { NativeLoadRequest, NativeSamplingRequest } from './native/contract.js'
import type { Latents } from './latents.js'
import type {
  CallOptions,
  GenerateOptions,
  ImageInput,
  LoadOptions,
  ModelPart,
  PipelineInfo,
  PreviewOptions,
  Progress,
  RngName,
  SamplingOptions,
  ScheduleName,
  WeightType,
} from './types.js'
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
  show,
} from './validate.js'

export const weightTypes: readonly WeightType[] = ['f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k', 'q5_0', 'q4_k', 'q4_0']
export const modelParts: readonly ModelPart[] = ['unet', 'textEncoder', 'vae']
const rngs: readonly RngName[] = ['philox', 'mt19937']
const emphases = ['original', 'no_norm', 'comfy'] as const
const previewMethods = ['linear', 'vae'] as const
const memoryModes = ['auto', 'fast', 'low'] as const

const maxSide = 16384
const maxSteps = 1000
const maxCount = 256

const samplingKeys = ['steps', 'guidanceScale', 'guidanceRescale', 'seed', 'clipSkip', 'sampler', 'schedule', 'eta', 'rng', 'extra'] as const
const callKeys = ['signal'] as const
const loadKeys = ['device', 'dtype', 'precision', 'memory', 'threads', 'ema', 'onProgress', 'config', 'spec', ...callKeys] as const
const generateKeys = [
  'prompt',
  'negativePrompt',
  'width',
  'height',
  'count',
  'image',
  'strength',
  'latents',
  'emphasis',
  'onProgress',
  'preview',
  ...samplingKeys,
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
  request: Omit<NativeLoadRequest, 'model' | 'unet' | 'textEncoder' | 'vae' | 'config'>
  config: LoadOptions['config']
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

function resolveDtype(value: unknown): Partial<Record<ModelPart, string>> {
  if (value === undefined) return {}
  if (typeof value === 'string') {
    const type = checkName(value, 'dtype', weightTypes)
    return { unet: type, textEncoder: type, vae: type }
  }
  const o = knownKeys(value, 'dtype', modelParts)
  const dtype: Partial<Record<ModelPart, string>> = {}
  for (const part of modelParts) if (o[part] !== undefined) dtype[part] = checkName(o[part], `dtype.${part}`, weightTypes)
  return dtype
}

function resolveMemory(value: unknown): NativeLoadRequest['memory'] {
  if (value === undefined) return { mode: 'auto' }
  if (typeof value === 'string') return { mode: checkName(value, 'memory', memoryModes) }
  const o = knownKeys(value, 'memory', ['mode', 'maxBytes', 'vaeTiling'])
  const memory: NativeLoadRequest['memory'] = { mode: o.mode === undefined ? 'auto' : checkName(o.mode, 'memory.mode', memoryModes) }
  if (o.maxBytes !== undefined) memory.maxBytes = checkInteger(o.maxBytes, 'memory.maxBytes', { min: 1, max: Number.MAX_SAFE_INTEGER })
  if (typeof o.vaeTiling === 'object' && o.vaeTiling !== null) {
    const tiling = knownKeys(o.vaeTiling, 'memory.vaeTiling', ['tileSize'])
    memory.vaeTiling = true
    if (tiling.tileSize !== undefined) memory.vaeTileSize = checkInteger(tiling.tileSize, 'memory.vaeTiling.tileSize', { min: 16, max: 2048 })
  } else if (o.vaeTiling !== undefined) {
    memory.vaeTiling = checkBoolean(o.vaeTiling, 'memory.vaeTiling')
  }
  return memory
}

function resolveSpec(value: unknown): unknown {
  if (value === undefined) return undefined
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`spec must be an object, not ${show(value)}`)
  return value // names and types are checked against the ModelSpec by the engine, which knows them
}

export function resolveLoad(options: LoadOptions | undefined, where: string): ResolvedLoad {
  const o = knownKeys(options, where, loadKeys)
  const spec = resolveSpec(o.spec)
  return {
    request: {
      device: resolveDevice(o.device),
      threads: o.threads === undefined ? 0 : checkInteger(o.threads, 'threads', { min: 1, max: 1024 }),
      precision: o.precision === undefined ? 'fast' : checkName(o.precision, 'precision', ['exact', 'fast'] as const),
      dtype: resolveDtype(o.dtype),
      memory: resolveMemory(o.memory),
      ...(o.ema === undefined ? {} : { ema: checkBoolean(o.ema, 'ema') }),
      ...(spec === undefined ? {} : { spec }),
    },
    config: o.config as LoadOptions['config'],
    signal: optionalSignal(o),
    onProgress: optionalProgress(o),
  }
}

// ---- sampling --------------------------------------------------------------------------------------------------------

/** The checked sampling options: the native request, and what TypeScript keeps for itself. */
export interface ResolvedSampling {
  request: NativeSamplingRequest
  seed: bigint
  clipSkip: number | undefined
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

function resolveSteps(o: Record<string, unknown>, sigmas: number[] | undefined, fallback: number): number {
  const given = o.steps === undefined ? undefined : checkInteger(o.steps, 'steps', { min: 1, max: maxSteps })
  if (!sigmas) return given ?? fallback
  const steps = sigmas.length - (sigmas.at(-1) === 0 ? 1 : 0)
  if (given !== undefined && given !== steps) {
    throw invalidRange(`steps (${given}) does not fit the custom schedule, which makes ${steps} steps; leave steps out`)
  }
  return steps
}

function resolveExtra(value: unknown): Record<string, unknown> | undefined {
  if (value === undefined) return undefined
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`extra must be an object, not ${show(value)}`)
  for (const [key, item] of Object.entries(value)) {
    const plain = typeof item === 'string' || typeof item === 'boolean' || (typeof item === 'number' && Number.isFinite(item))
    if (!plain) throw invalidType(`extra.${key} must be a finite number, a string or a boolean, not ${show(item)}`)
  }
  return { ...value }
}

/** Names and defaults that sampling options are checked against. */
export type SamplingContext = Pick<PipelineInfo, 'samplers' | 'schedules' | 'defaults'>

function checkScheduleName(value: unknown, info: SamplingContext): ScheduleName {
  if (typeof value !== 'string') throw invalidType(`schedule must be a name or a Float32Array of sigmas, not ${show(value)}`)
  return checkName(value, 'schedule', info.schedules)
}

/** `o` has known keys only. */
export function resolveSampling(o: Record<string, unknown> & SamplingOptions, info: SamplingContext): ResolvedSampling {
  const custom = isFloat32Array(o.schedule) ? checkSigmas(o.schedule) : undefined
  const sampler = o.sampler === undefined ? info.defaults.sampler : checkName(o.sampler, 'sampler', info.samplers)
  // A sampler of the caller's choice comes with its own schedule, not with that of the model's default sampler.
  const fallback = o.sampler === undefined || o.sampler === info.defaults.sampler ? (info.defaults.schedule ?? '') : ''
  const named = custom || o.schedule === undefined ? undefined : checkScheduleName(o.schedule, info)
  const seed = resolveSeed(o.seed)
  const extra = resolveExtra(o.extra)
  return {
    request: {
      sampler,
      schedule: custom ? '' : (named ?? fallback),
      ...(custom ? { sigmas: custom } : {}),
      steps: resolveSteps(o, custom, info.defaults.steps),
      guidanceScale:
        o.guidanceScale === undefined ? info.defaults.guidanceScale : checkNumber(o.guidanceScale, 'guidanceScale', { min: 0, max: 1000 }),
      guidanceRescale: o.guidanceRescale === undefined ? 0 : checkNumber(o.guidanceRescale, 'guidanceRescale', { min: 0, max: 1 }),
      eta: o.eta === undefined ? (info.defaults.eta ?? -1) : checkNumber(o.eta, 'eta', { min: 0, max: 1 }),
      seed: String(seed),
      rng: resolveRng(o.rng),
      strength: 1,
      ...(extra ? { extra } : {}),
    },
    seed,
    clipSkip: resolveClipSkip(o.clipSkip),
    schedule: custom ? Float32Array.from(custom) : named,
  }
}

export function resolveClipSkip(value: unknown): number | undefined {
  return value === undefined ? undefined : checkInteger(value, 'clipSkip', { min: 1, max: 100 })
}

export function resolveEmphasis(value: unknown): 'original' | 'no_norm' | 'comfy' {
  return value === undefined ? 'original' : checkName(value, 'emphasis', emphases)
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

// ---- generate --------------------------------------------------------------------------------------------------------

/** The checked options of a generate() call; the size is settled later where it follows the picture's. */
export interface ResolvedGenerate {
  prompt: string
  negativePrompt: string
  emphasis: 'original' | 'no_norm' | 'comfy'
  width: number | undefined
  height: number | undefined
  count: number
  sampling: ResolvedSampling
  image: ImageInput | undefined
  latents: Latents | undefined
  preview: Required<PreviewOptions> | undefined
  onProgress: ((progress: Progress) => unknown) | undefined
  signal: AbortSignal | undefined
}

function resolvePreview(value: unknown): Required<PreviewOptions> | undefined {
  if (value === undefined) return undefined
  const o = knownKeys(value, 'preview', ['every', 'method', 'onPreview'])
  if (o.onPreview === undefined) throw invalidType('preview.onPreview is missing: the function that receives the pictures')
  return {
    every: o.every === undefined ? 1 : checkInteger(o.every, 'preview.every', { min: 1, max: maxSteps }),
    method: o.method === undefined ? 'linear' : checkName(o.method, 'preview.method', previewMethods),
    onPreview: checkFunction<PreviewOptions['onPreview']>(o.onPreview, 'preview.onPreview'),
  }
}

function refusals(info: PipelineInfo): Record<string, string> {
  const takes = 'this model takes prompt, negativePrompt and, for image to image, image with strength'
  const other = (what: string) => `is for ${what}; ${info.name || info.kind} is not one: ${takes}`
  return {
    classId: other('class-conditional models'),
    boxes: other('layout-to-image models'),
    semanticMap: other('semantic synthesis models'),
    control: other('pipelines with a ControlNet'),
    mask: other('inpainting models'),
  }
}

export function resolveGenerate(options: GenerateOptions | undefined, info: PipelineInfo, where = 'generate()'): ResolvedGenerate {
  const o = knownKeys(options, where, generateKeys, refusals(info))
  const sampling = resolveSampling(o, info)
  if (o.strength !== undefined && o.image === undefined) throw invalidType('strength is for image to image: it needs image')
  if (o.image !== undefined) sampling.request.strength = o.strength === undefined ? 0.75 : checkNumber(o.strength, 'strength', { min: 0, max: 1 })
  return {
    prompt: o.prompt === undefined ? '' : checkString(o.prompt, 'prompt'),
    negativePrompt: o.negativePrompt === undefined ? '' : checkString(o.negativePrompt, 'negativePrompt'),
    emphasis: resolveEmphasis(o.emphasis),
    width: o.width === undefined ? undefined : resolveSide(o.width, 'width', 0, info.sizeMultiple),
    height: o.height === undefined ? undefined : resolveSide(o.height, 'height', 0, info.sizeMultiple),
    count: resolveCount(o.count, 'count'),
    sampling,
    image: o.image as ImageInput | undefined,
    latents: o.latents as Latents | undefined,
    preview: resolvePreview(o.preview),
    onProgress: optionalProgress(o),
    signal: optionalSignal(o),
  }
}

export { callKeys, samplingKeys }
