/** Flags that every command with a model has, and how they become load options. */
import type { LoadOptions, ModelFiles, ModelSource } from '../index.js'
import { flagsOf } from '../options/flags.js'
import { generateOptions } from '../options/generate.js'
import { hubOptions } from '../options/hub.js'
import { loadOptions, memoryOptions } from '../options/load.js'
import { modelFiles, modelPlaces } from '../options/model-files.js'
import { omit, pick } from '../options/option.js'
import { readOptionFlags, type FlagValues, type Flags } from './command.js'

export const sourceFlags = {
  ...flagsOf(modelFiles),
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
export const requiredModel = { model: { ...sourceFlags.model, help: modelPlaces } } as const satisfies Flags

export const loraFlags = flagsOf({ ...pick(generateOptions, 'loras'), ...pick(loadOptions, 'loraDirectory', 'embeddings', 'embeddingDirectory') })

export const sizeOptions = pick(generateOptions, 'width', 'height')
export const sizeFlags = flagsOf(sizeOptions)

/** The model that the flags name; undefined, which the API takes for the package's own, where they name none. */
export function readSource(values: FlagValues<typeof sourceFlags>, positional?: string): ModelSource | undefined {
  const model = values.model ?? positional
  const parts: ModelFiles = readOptionFlags(omit(modelFiles, 'model'), values)
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
