/** Flags of every command with a model, and their conversion to load options. */
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

/** `tileSize` is for commands that generate in tiles. */
const commonMemory = omit(memoryOptions, 'tileSize')

export const loadFlags = {
  ...sourceFlags,
  ...flagsOf(pick(loadOptions, 'device', 'dtype', 'precision')),
  ...flagsOf(commonMemory),
  ...flagsOf(pick(loadOptions, 'threads')),
} as const satisfies Flags

/** For commands that do not use the embedded model by default. */
export const requiredModel = { model: { ...sourceFlags.model, help: modelPlaces } } as const satisfies Flags

export const loraFlags = flagsOf({ ...pick(generateOptions, 'loras'), ...pick(loadOptions, 'loraDirectory', 'embeddings', 'embeddingDirectory') })

export const sizeOptions = pick(generateOptions, 'width', 'height')
export const sizeFlags = flagsOf(sizeOptions)

/** The model given by the flags; undefined, the embedded model in the API, if none is given. */
export function readSource(values: FlagValues<typeof sourceFlags>, positional?: string): ModelSource | undefined {
  const model = values.model ?? positional
  const parts: ModelFiles = readOptionFlags(omit(modelFiles, 'model'), values)
  if (Object.keys(parts).length === 0) return model
  return model === undefined ? parts : { model, ...parts }
}

/** Options for finding and reading files: hub, variant, configuration, EMA weights. */
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
