/** Flags of commands that serve models to others: which ones, and how they are loaded. */
import path from 'node:path'
import type { HostedModel } from '../index.js'
import { flagsOf } from '../options/flags.js'
import { loadOptions, memoryOptions } from '../options/load.js'
import { omit, pick } from '../options/option.js'
import { readOptionFlags, UsageError } from './command.js'

/** Rows whose flags set how models are loaded. */
const loading = pick(loadOptions, 'device', 'dtype', 'precision', 'threads', 'loraDirectory', 'embeddingDirectory')
const memory = omit(memoryOptions, 'tileSize')

export const loadFlags = { ...flagsOf(loading), ...flagsOf(memory) }

export function readLoad(values: Parameters<typeof readOptionFlags>[1]): Omit<HostedModel, 'source'> {
  const memoryGiven = readOptionFlags(memory, values)
  return { ...readOptionFlags(loading, values), ...(Object.keys(memoryGiven).length > 0 ? { memory: memoryGiven } : {}) }
}

/** The values of `--model`: NAME=SOURCE, or a source, which is named by its file. */
export function readModels(given: readonly string[] | undefined, load: Omit<HostedModel, 'source'>): Record<string, HostedModel> {
  const models: Record<string, HostedModel> = {}
  for (const text of given ?? []) {
    const [, named, file] = /^([\w][\w.-]{0,63})=(.+)$/.exec(text) ?? []
    const source = file ?? text
    const name =
      named ??
      (path
        .basename(source.replace(/\.(safetensors|gguf|ckpt)$/i, ''))
        .replace(/[^\w.-]/g, '_')
        .replace(/^[.-]+/, '') ||
        'model')
    if (Object.hasOwn(models, name)) throw new UsageError(`--model names '${name}' twice; give them names: --model ${name}2=${source}`)
    models[name] = { ...load, source }
  }
  return models
}
