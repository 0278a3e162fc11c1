/** The options of a load; files are resolved in model/sources. */
import { partTable, weightTypes, type sourceParts } from '../names.js'
import type { NativeLoadRequest } from '../native/contract.js'
import type { DeviceSpec, LoadOptions, MemoryOptions, ModelKind, ModelPart, WeightType } from '../types.js'
import { notNative, shared } from './common.js'
import { embeddings } from './embeddings.js'
import { checkVariant } from './hub.js'
import type { Fail } from './option.js'
import { boolean, checkOptions, choice, integer, nativeFields, omit, option, readNested, type Options, type Values } from './option.js'
import { camelCase } from './flags.js'
import { checkBoolean, checkName, checkString, invalidRange, knownKeys, plainObject, show } from './validate.js'

/** Types that a part may be loaded in; `int8` does not exist in files. */
const int8OrWeightTypes = [...weightTypes, 'int8'] as const
const modelParts = Object.keys(partTable) as ModelPart[]
export const modelKinds: readonly ModelKind[] = [
  'text',
  'class',
  'unconditional',
  'layout',
  'semantic',
  'superres',
  'inpaint',
  'edit',
  'depth',
  'rdm',
  'autoencoder',
]

function checkDevice(value: unknown, name: string): DeviceSpec {
  const device = checkString(value, name, 64)
  if (!/^(auto|cpu|(cuda|ggml-cuda|metal|vulkan)(:\d{1,3})?)$/.test(device)) {
    throw invalidRange(
      `device must be 'auto', 'cpu', 'cuda', 'ggml-cuda', 'metal' or 'vulkan', optionally with a number ('cuda:1'), not ${show(device)}`,
    )
  }
  return device as DeviceSpec
}

type PartTypes = Exclude<NonNullable<LoadOptions['dtype']>, string>

/** The type of a part when the whole model is quantised, as in convert(). */
function inBlockModels(part: ModelPart): WeightType | undefined {
  const traits: { title: string; inBlockModels?: WeightType } = partTable[part]
  return traits.inBlockModels
}

/** Types by part. */
function checkDtype(value: unknown, name: string): PartTypes {
  if (typeof value === 'string') {
    const type = checkName(value, name, int8OrWeightTypes)
    if (type === 'int8') return { unet: type }
    const blocks = type.startsWith('q')
    return Object.fromEntries(modelParts.map((part) => [part, (blocks && inBlockModels(part)) || type]))
  }
  const o = knownKeys(value, name, modelParts)
  const types = (part: ModelPart) => (part === 'unet' || part === 'vae' ? int8OrWeightTypes : weightTypes)
  return Object.fromEntries(modelParts.flatMap((part) => (o[part] === undefined ? [] : [[part, checkName(o[part], `${name}.${part}`, types(part))]])))
}

/** `q8_0` for all parts, or `unet=q8_0,vae=f16`. */
function readDtype(text: string, fail: Fail): unknown {
  if (!text.includes('=')) return text
  return Object.fromEntries(
    text.split(',').map((pair) => {
      const [part, type] = pair.split('=')
      if (!part || !type) return fail(`: '${pair}' is not of the form part=type`)
      return [camelCase(part), type]
    }),
  )
}

// ---- memory ----------------------------------------------------------------------------------------------------------

const tileSides = { min: 16, max: 2048 }
const tilingOptions = { tileSize: integer({ ...tileSides, flag: 'the plan chooses it' }) }

export const memoryOptions = {
  mode: choice({
    names: ['auto', 'fast', 'low'],
    fallback: () => 'auto' as const,
    flag: { name: 'memory', value: 'M', help: 'auto (default), fast, or low: one part of the model in memory at a time' },
  }),
  maxBytes: integer({
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    flag: { value: 'N', help: 'memory limit in bytes; fails early and lists what fits' },
  }),
  vaeTiling: {
    ...option(
      (value, name) => (typeof value === 'object' && value !== null ? readNested(tilingOptions, value, name, undefined) : checkBoolean(value, name)),
      {
        toNative: (tiling: boolean | { tileSize?: number | undefined }) =>
          typeof tiling === 'boolean'
            ? { vaeTiling: tiling }
            : { vaeTiling: true, ...(tiling.tileSize === undefined ? {} : { vaeTileSize: tiling.tileSize }) },
        flag: { help: 'decode in overlapping tiles' },
      },
    ),
    type: 'boolean' as const,
  },
  tileSize: integer({
    ...tileSides,
    flag: { help: 'tile size for large images, in pixels of the small image; default 128' },
  }),
} satisfies Options<MemoryOptions>

function checkMemory(value: unknown, name: string): Values<typeof memoryOptions> {
  if (typeof value !== 'string') return readNested(memoryOptions, value, name, undefined)
  return { mode: memoryOptions.mode.check(value, name) } as Values<typeof memoryOptions>
}

// ---- the table -------------------------------------------------------------------------------------------------------

export const loadOptions = {
  kind: choice({ names: modelKinds, toNative: notNative, flag: 'each command sets the kind that it needs' }),
  device: option(checkDevice, {
    fallback: (): DeviceSpec => 'auto',
    flag: { value: 'NAME', help: 'auto (default), cpu, cuda, cuda:1 ... (see latent devices)' },
  }),
  dtype: option(checkDtype, {
    fallback: (): PartTypes => ({}),
    flag: {
      value: 'TYPE',
      help: `weights in memory: ${weightTypes.join(' ')}, int8 (8-bit arithmetic); by part: unet=q8_0,vae=f16`,
      read: readDtype,
    },
  }),
  precision: choice({
    names: ['exact', 'fast'],
    fallback: () => 'fast' as const,
    flag: { value: 'P', help: 'fast (default), or exact: float32 throughout' },
  }),
  memory: option(checkMemory, {
    fallback: (): Values<typeof memoryOptions> => checkMemory({}, 'memory'),
    toNative: (memory: Values<typeof memoryOptions>) => ({ memory: nativeFields(memoryOptions, memory) }),
    flag: 'its options have separate flags',
  }),
  threads: integer({ min: 1, max: 1024, fallback: () => 0, flag: { value: 'N', help: 'number of threads; default: the number of physical cores' } }),
  ema: boolean({
    flag: { help: 'use the EMA weights of a training checkpoint', negation: 'use the raw weights of a training checkpoint' },
  }),
  variant: option(checkVariant, { flag: { value: 'NAME', help: 'weights to download and read in a diffusers folder, e.g. fp16' } }),
  onProgress: shared.onProgress,
  config: option((value) => value as NonNullable<LoadOptions['config']>, {
    toNative: notNative, // read and parsed when the files are resolved
    flag: { value: 'YAML', help: 'model configuration; default: the .yaml file next to the model, if any' },
  }),
  // The engine checks names and types against its ModelSpec.
  spec: option((value, name) => plainObject(value, name) as NonNullable<LoadOptions['spec']>, {
    flag: 'a configuration file says the same: --config',
  }),
  hub: option((value) => value as NonNullable<LoadOptions['hub']>, {
    toNative: notNative,
    flag: '--offline and --variant; the rest by environment variables',
  }),
  loraDirectory: option((value) => value as NonNullable<LoadOptions['loraDirectory']>, {
    toNative: notNative, // located before the model is loaded
    flag: { name: 'lora-dir', value: 'DIR', help: 'folder of the adapters named by <lora:name:1> in a prompt' },
  }),
  embeddings,
  embeddingDirectory: option((value) => value as NonNullable<LoadOptions['embeddingDirectory']>, {
    toNative: notNative, // located once the model is known
    flag: { name: 'embedding-dir', value: 'DIR', help: 'folder of textual inversions' },
  }),
  signal: shared.signal,
} satisfies Options<LoadOptions>

/** For loads that read no prompts. */
export const promptlessLoadOptions = omit(loadOptions, 'loraDirectory', 'embeddings', 'embeddingDirectory')

/** The checked options of a load, without the files: the engine's request, and the options used in TypeScript. */
export interface ResolvedLoad extends Pick<
  Values<typeof loadOptions>,
  'config' | 'hub' | 'loraDirectory' | 'embeddings' | 'embeddingDirectory' | 'kind' | 'signal' | 'onProgress'
> {
  request: Omit<NativeLoadRequest, 'model' | (typeof sourceParts)[number] | 'previewVae' | 'refiner' | 'refinerConfig' | 'config'>
}

/** 8-bit integer arithmetic and float32 throughout exclude each other. */
function checkArithmetic({ precision, dtype }: Values<typeof loadOptions>): void {
  const part = modelParts.find((name) => dtype[name] === 'int8')
  if (precision === 'exact' && part)
    throw invalidRange(
      `dtype 'int8' (of ${part}) computes in 8-bit integers and precision 'exact' in float32; remove one of them, or use a dtype such as 'q8_0'`,
    )
}

/** `table`: the options that the call takes. */
export function resolveLoad(options: unknown, where: string, table: Partial<typeof loadOptions> = loadOptions): ResolvedLoad {
  const given = knownKeys(options, where, Object.keys(table))
  const values = checkOptions(loadOptions, given, undefined)
  checkArithmetic(values)
  const { config, hub, loraDirectory, embeddings, embeddingDirectory, kind, onProgress, signal } = values
  const request = nativeFields(loadOptions, values) as unknown as ResolvedLoad['request']
  return { request, config, hub, loraDirectory, embeddings, embeddingDirectory, kind, signal, onProgress }
}
