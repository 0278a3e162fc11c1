/** Flags that every command with a model has, and how they become load options. */
import type { LoadOptions, LoraOptions, ModelFiles, ModelSource, WeightType } from '../index.js'
import { weightTypes } from '../names.js'
import { camelCase, sameOptions, UsageError, type FlagValues, type Flags } from './command.js'

const modelHelp = 'checkpoint, diffusers folder, hf:owner/name or civitai:VERSION'

export const sourceFlags = {
  model: {
    kind: 'text',
    short: 'm',
    value: 'FILE',
    help: `${modelHelp}; default: the model inside the package`,
  },
  unet: { kind: 'text', value: 'FILE', help: "U-Net in place of the model's" },
  'text-encoder': { kind: 'text', value: 'FILE', help: "text encoder in place of the model's" },
  'image-encoder': { kind: 'text', value: 'FILE', help: 'CLIP with its image tower, for retrieval-augmented models' },
  vae: { kind: 'text', value: 'FILE', help: "first stage in place of the model's" },
  tokenizer: { kind: 'text', value: 'DIR', help: "tokenizer files in place of the model's" },
  config: { kind: 'text', value: 'YAML', help: 'configuration; the .yaml beside the model is taken by itself' },
  ema: { kind: 'switch', help: 'use the EMA weights of a training checkpoint' },
  'no-ema': { kind: 'switch', help: 'read the raw weights of a training checkpoint' },
  variant: { kind: 'text', value: 'NAME', help: 'of a diffusers folder: the weights to fetch and to read, e.g. fp16' },
  offline: { kind: 'switch', help: 'take hf: and civitai: models from the cache alone' },
} as const satisfies Flags

export const loadFlags = {
  ...sourceFlags,
  device: { kind: 'text', value: 'NAME', help: 'auto, cpu, cuda, cuda:1 ... (see: latent devices)' },
  dtype: {
    kind: 'text',
    value: 'TYPE',
    help: `weights in memory: ${weightTypes.join(' ')}, int8 (8-bit arithmetic too), by part: unet=q8_0,vae=f16`,
  },
  precision: { kind: 'text', value: 'P', help: 'fast (default) or exact: float32 throughout' },
  memory: { kind: 'text', value: 'M', help: 'auto (default), fast or low: one part at a time' },
  'max-bytes': { kind: 'number', value: 'N', help: 'a bound on memory, kept or refused with what would fit' },
  'vae-tiling': { kind: 'switch', help: 'decode in overlapping tiles' },
  threads: { kind: 'number', value: 'N', help: 'threads; default: the physical cores' },
} as const satisfies Flags

/** For the commands that do nothing with the model inside the package. */
export const requiredModel = { model: { ...sourceFlags.model, help: modelHelp } } as const satisfies Flags

export const loraFlags = {
  lora: {
    kind: 'texts',
    value: 'FILE[:W]',
    help: 'adapter (LoRA and relatives) and its weight; may be given more than once',
  },
  'lora-dir': { kind: 'text', value: 'DIR', help: 'folder in which <lora:name:1> in a prompt finds its file' },
} as const satisfies Flags

/** `style.safetensors:0.8` or `style.safetensors:0.8:0.4`. */
function readLora(text: string): LoraOptions {
  const number = /:(-?(?:\d+\.?\d*|\.\d+))$/
  const numbers: number[] = []
  let path = text
  for (let found = number.exec(path); found && numbers.length < 2; found = number.exec(path)) {
    numbers.unshift(Number(found[1]))
    path = path.slice(0, found.index)
  }
  if (path === '') throw new UsageError(`--lora: '${text}' names no file`)
  const [weight, textWeight] = numbers
  return { path, ...(weight === undefined ? {} : { weight }), ...(textWeight === undefined ? {} : { textWeight }) }
}

export function readLoras(values: Pick<FlagValues<typeof loraFlags>, 'lora'>): { loras?: LoraOptions[] } {
  return values.lora === undefined ? {} : { loras: values.lora.map(readLora) }
}

export const sizeFlags = {
  width: { kind: 'number', help: "pixels; default: the model's" },
  height: { kind: 'number', help: "pixels; default: the model's" },
} as const satisfies Flags

/** `q8_0` for all parts, or `unet=q8_0,vae=f16`. */
function readDtype(text: string): LoadOptions['dtype'] {
  if (!text.includes('=')) return text as WeightType
  return Object.fromEntries(
    text.split(',').map((pair) => {
      const [part, type] = pair.split('=')
      if (!part || !type) throw new UsageError(`--dtype: '${pair}' is not of the form part=type`)
      return [camelCase(part), type]
    }),
  )
}

/** The model that the flags name; undefined, which the API takes for the package's own, where they name none. */
export function readSource(values: FlagValues<typeof sourceFlags>, positional?: string): ModelSource | undefined {
  const model = values.model ?? positional
  const parts: ModelFiles = sameOptions(values, ['unet', 'text-encoder', 'image-encoder', 'vae', 'tokenizer'])
  if (Object.keys(parts).length === 0) return model
  return model === undefined ? parts : { model, ...parts }
}

/** How the files are to be found and read: the hub's options, the variant, the configuration, and the weights that `--ema` or `--no-ema` asks for; without `ema` where neither is given. */
export function readFileOptions(
  values: Pick<FlagValues<typeof sourceFlags>, 'config' | 'ema' | 'no-ema' | 'variant' | 'offline'>,
): Pick<LoadOptions, 'config' | 'variant' | 'ema' | 'hub'> {
  if (values.ema && values['no-ema']) throw new UsageError('--ema and --no-ema exclude each other')
  const hub = { ...sameOptions(values, ['variant']), ...(values.offline ? { localFilesOnly: true } : {}) }
  return {
    ...sameOptions(values, ['config', 'variant', 'ema']),
    ...(values['no-ema'] ? { ema: false } : {}),
    ...(Object.keys(hub).length > 0 ? { hub } : {}),
  }
}

export function readLoadOptions(values: FlagValues<typeof loadFlags>): LoadOptions {
  const options: LoadOptions = { ...readFileOptions(values), ...sameOptions(values, ['device', 'precision', 'threads']) }
  if (values.dtype !== undefined) options.dtype = readDtype(values.dtype)
  const mode = values.memory as 'auto' | 'fast' | 'low' | undefined
  const bounds = { ...sameOptions(values, ['max-bytes']), ...(values['vae-tiling'] ? { vaeTiling: true } : {}) }
  if (Object.keys(bounds).length > 0) options.memory = { ...(mode === undefined ? {} : { mode }), ...bounds }
  else if (mode !== undefined) options.memory = mode
  return options
}
