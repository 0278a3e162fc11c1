/** Flags that every command with a model has, and how they become load options. */
import type { LoadOptions, ModelFiles, ModelSource, WeightType } from '../index.js'
import { camelCase, UsageError, type FlagValues, type Flags } from './command.js'

export const sourceFlags = {
  model: {
    kind: 'text',
    short: 'm',
    value: 'FILE',
    help: 'checkpoint, diffusers folder or hf:owner/name in the local cache; default: the model inside the package',
  },
  unet: { kind: 'text', value: 'FILE', help: "U-Net in place of the model's" },
  'text-encoder': { kind: 'text', value: 'FILE', help: "text encoder in place of the model's" },
  'image-encoder': { kind: 'text', value: 'FILE', help: 'CLIP with its image tower, for retrieval-augmented models' },
  vae: { kind: 'text', value: 'FILE', help: "first stage in place of the model's" },
  tokenizer: { kind: 'text', value: 'DIR', help: "tokenizer files in place of the model's" },
  config: { kind: 'text', value: 'YAML', help: 'configuration; the .yaml beside the model is taken by itself' },
  ema: { kind: 'switch', help: 'use the EMA weights of a training checkpoint' },
  'no-ema': { kind: 'switch', help: 'read the raw weights of a training checkpoint' },
} as const satisfies Flags

export const loadFlags = {
  ...sourceFlags,
  device: { kind: 'text', value: 'NAME', help: 'auto, cpu, cuda, cuda:1 ... (see: latent devices)' },
  dtype: {
    kind: 'text',
    value: 'TYPE',
    help: 'weights in memory: f32 f16 bf16 q8_0 q6_k q5_k q5_0 q4_k q4_0, int8 (8-bit arithmetic too), by part: unet=q8_0,vae=f16',
  },
  precision: { kind: 'text', value: 'P', help: 'fast (default) or exact: float32 throughout' },
  memory: { kind: 'text', value: 'M', help: 'auto (default), fast or low: one part at a time' },
  'vae-tiling': { kind: 'switch', help: 'decode in overlapping tiles' },
  threads: { kind: 'number', value: 'N', help: 'threads; default: the physical cores' },
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
  const parts: ModelFiles = {}
  if (values.unet !== undefined) parts.unet = values.unet
  if (values['text-encoder'] !== undefined) parts.textEncoder = values['text-encoder']
  if (values['image-encoder'] !== undefined) parts.imageEncoder = values['image-encoder']
  if (values.vae !== undefined) parts.vae = values.vae
  if (values.tokenizer !== undefined) parts.tokenizer = values.tokenizer
  if (Object.keys(parts).length === 0) return model
  return model === undefined ? parts : { model, ...parts }
}

/** The weights that `--ema` or `--no-ema` asks for; without `ema` where neither is given. */
export function readEma(values: Pick<FlagValues<typeof sourceFlags>, 'ema' | 'no-ema'>): Pick<LoadOptions, 'ema'> {
  if (values.ema && values['no-ema']) throw new UsageError('--ema and --no-ema exclude each other')
  if (values['no-ema']) return { ema: false }
  return values.ema ? { ema: true } : {}
}

export function readLoadOptions(values: FlagValues<typeof loadFlags>): LoadOptions {
  const options: Record<string, unknown> = readEma(values)
  for (const name of ['device', 'precision', 'threads', 'config'] as const) if (values[name] !== undefined) options[name] = values[name]
  if (values.dtype !== undefined) options.dtype = readDtype(values.dtype)
  if (values['vae-tiling']) options.memory = { ...(values.memory === undefined ? {} : { mode: values.memory }), vaeTiling: true }
  else if (values.memory !== undefined) options.memory = values.memory
  return options
}
