/** Flags that every command with a model has, and how they become load options. */
import type { LoadOptions, ModelFiles, ModelSource } from '../index.js'
import { flagsOf } from '../options/flags.js'
import { generateOptions } from '../options/generate.js'
import { hubOptions } from '../options/hub.js'
import { loadOptions, memoryOptions } from '../options/load.js'
import { omit, pick } from '../options/option.js'
import { readOptionFlags, sameOptions, type FlagValues, type Flags } from './command.js'

const modelHelp = 'checkpoint, diffusers folder, hf:owner/name or civitai:VERSION'

export const sourceFlags = {
  model: {
    kind: 'text',
    short: 'm',
    value: 'FILE',
    help: `${modelHelp}; default: the model inside the package`,
  },
  unet: { kind: 'text', value: 'FILE', help: "replaces the model's U-Net" },
  'text-encoder': { kind: 'text', value: 'FILE', help: "replaces the model's text encoder" },
  'image-encoder': { kind: 'text', value: 'FILE', help: 'CLIP with its image tower, for retrieval-augmented models' },
  vae: { kind: 'text', value: 'FILE', help: "replaces the model's first stage (VAE)" },
  refiner: { kind: 'text', value: 'FILE', help: "a second model, such as SDXL's refiner, that takes over within a run" },
  tokenizer: { kind: 'text', value: 'DIR', help: "replaces the model's tokenizer files" },
  ...flagsOf(pick(loadOptions, 'config', 'ema', 'variant')),
  ...flagsOf(pick(hubOptions, 'localFilesOnly')),
} as const satisfies Flags

/** `tileSize` is for commands that draw in tiles. */
const commonMemory = omit(memoryOptions, 'tileSize')

export const loadFlags = {
  ...sourceFlags,
  ...flagsOf(pick(loadOptions, 'device', 'dtype', 'precision')),
  ...flagsOf(commonMemory),
  ...flagsOf(pick(loadOptions, 'threads')),
} as const satisfies Flags

/** For the commands that do nothing with the model inside the package. */
export const requiredModel = { model: { ...sourceFlags.model, help: modelHelp } } as const satisfies Flags

export const loraFlags = flagsOf({ ...pick(generateOptions, 'loras'), ...pick(loadOptions, 'loraDirectory', 'embeddings', 'embeddingDirectory') })

export const sizeFlags = flagsOf(pick(generateOptions, 'width', 'height'))

/** The model that the flags name; undefined, which the API takes for the package's own, where they name none. */
export function readSource(values: FlagValues<typeof sourceFlags>, positional?: string): ModelSource | undefined {
  const model = values.model ?? positional
  const parts: ModelFiles = sameOptions(values, ['unet', 'text-encoder', 'image-encoder', 'vae', 'refiner', 'tokenizer'])
  if (Object.keys(parts).length === 0) return model
  return model === undefined ? parts : { model, ...parts }
}

/** How the files are to be found and read: the hub's options, the variant, the configuration, and the weights that `--ema` or `--no-ema` asks for. */
export function readFileOptions(
  values: Pick<FlagValues<typeof sourceFlags>, 'config' | 'ema' | 'no-ema' | 'variant' | 'offline'>,
): Pick<LoadOptions, 'config' | 'variant' | 'ema' | 'hub'> {
  const hub = readOptionFlags(pick(hubOptions, 'variant', 'localFilesOnly'), values)
  return { ...readOptionFlags(pick(loadOptions, 'config', 'ema', 'variant'), values), ...(Object.keys(hub).length > 0 ? { hub } : {}) }
}

export function readLoadOptions(
  values: FlagValues<typeof loadFlags> & { 'tile-size'?: number; 'lora-dir'?: string; embedding?: string[]; 'embedding-dir'?: string },
): LoadOptions {
  const memory = readOptionFlags(memoryOptions, values)
  return {
    ...readFileOptions(values),
    ...readOptionFlags(pick(loadOptions, 'device', 'dtype', 'precision', 'threads', 'loraDirectory', 'embeddings', 'embeddingDirectory'), values),
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
  }
}
