import path from 'node:path'
import { addon, withSource } from '../model/engine.js'
import { runJob } from '../native/job.js'
import { weightTypes } from '../names.js'
import { optionalProgress, optionalSignal, resolveLoad } from '../options/options.js'
import { tokenizerForFile } from '../text/tokenizer.js'
import type { LoadOptions, ModelInfo, ModelSource, Progress, WeightType } from '../types.js'
import { checkName, checkPath, checkString, fileUrlToPath, invalidRange, invalidType, isUrl, knownKeys, listOf, show } from '../options/validate.js'

/** Options of {@link convert}. */
export interface ConvertOptions extends Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal'> {
  /** Weight type of the matrices and convolutions. Small tensors (norms, biases) stay in float. */
  type: WeightType
  /** Other types for single tensors: pattern over canonical tensor names (`*` stands for anything) to type; the first match wins. */
  overrides?: Record<string, WeightType> | readonly (readonly [pattern: string, type: WeightType])[]
  /** Texts to store in the file (`general.license`, `general.author` ...). */
  metadata?: Record<string, string>
  onProgress?: (progress: Progress) => unknown
}

/** What {@link convert} wrote. */
export interface ConvertReport {
  destination: string
  tensors: number
  bytes: number
  [detail: string]: unknown
}

const convertKeys = ['type', 'overrides', 'metadata', 'config', 'spec', 'ema', 'variant', 'hub', 'signal', 'onProgress']

const maxOverrides = 10_000

function resolveOverrides(value: unknown): [string, string][] {
  if (value === undefined) return []
  if (value === null || typeof value !== 'object') throw invalidType(`overrides must be an object or a list of pairs, not ${show(value)}`)
  const pairs = Array.isArray(value) ? listOf(value, 'overrides', maxOverrides) : Object.entries(value)
  return pairs.map((pair, i) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw invalidType(`overrides[${i}] must be a pair [pattern, type], not ${show(pair)}`)
    const [pattern, type] = listOf(pair, `overrides[${i}]`, 2)
    return [checkString(pattern, `overrides[${i}] pattern`, 1000), checkName(type, `overrides[${i}] type`, weightTypes)]
  })
}

function resolveMetadata(value: unknown): Record<string, string> {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw invalidType(`metadata must be an object of strings, not ${show(value)}`)
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, checkString(text, `metadata.${key}`)]))
}

function resolveDestination(value: unknown): string {
  const file = isUrl(value) ? fileUrlToPath(value.href, 'destination') : checkString(value, 'destination', 32_768)
  checkPath(file, 'destination')
  if (!/\.gguf$/i.test(file)) throw invalidRange(`destination must end in .gguf, the only format that is written; not ${show(file)}`)
  return path.resolve(file)
}

/**
 * Writes a model as one GGUF file: tensors in the given type, the model's spec, tokenizer and metadata, so that the file is enough by itself.
 * Streams, and renames a temporary file at the end: an aborted or failed conversion leaves nothing behind.
 */
export async function convert(source: ModelSource, destination: string | URL, options: ConvertOptions): Promise<ConvertReport> {
  const o = knownKeys(options, 'convert()', convertKeys)
  if (source === undefined) throw invalidType('convert() needs a source: the model to write')
  const type = checkName(o.type, 'type', weightTypes)
  const target = resolveDestination(destination)
  const overrides = resolveOverrides(o.overrides)
  const metadata = resolveMetadata(o.metadata)
  const load = resolveLoad({ config: o.config, spec: o.spec, ema: o.ema, variant: o.variant, hub: o.hub } as LoadOptions, 'convert()')
  const hooks = { signal: optionalSignal(o), onProgress: optionalProgress(o) }
  // Headers first: whether there is a text encoder decides whether the file gets a tokenizer.
  const look = await withSource(source, load, (request) => () => addon().inspect(JSON.stringify(request)), { hooks })
  const { source: resolved, request } = look.prepared
  try {
    const tokenizer = await tokenizerForFile(resolved, JSON.parse(look.result) as ModelInfo)
    const job = JSON.stringify({ source: request, destination: target, type, overrides, metadata, tokenizer })
    const report = await runJob((callbacks) => addon().convert(job, callbacks), hooks)
    return { destination: target, ...(JSON.parse(report) as { tensors: number; bytes: number }) }
  } finally {
    await look.prepared.dispose()
  }
}
