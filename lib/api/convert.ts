import path from 'node:path'
import { addon, withSource } from '../model/engine.js'
import { findLoras } from './loras.js'
import { runJob } from '../native/job.js'
import { convertLoadOptions, convertOptions } from '../options/convert.js'
import { resolveLoad } from '../options/load.js'
import { checkOptions, nativeFields, omit, only } from '../options/option.js'
import { tokenizerForFile } from '../text/tokenizer.js'
import type { ConvertOptions, LoraReport, ModelInfo, ModelSource } from '../types.js'
import { checkPath, checkString, fileUrlToPath, invalidRange, invalidType, isUrl, knownKeys, show } from '../options/validate.js'

/** Result of {@link convert}. */
export interface ConvertReport {
  destination: string
  tensors: number
  bytes: number
  /** Reports on the adapters. */
  loras: LoraReport[]
  [detail: string]: unknown
}

function resolveDestination(value: unknown): string {
  const file = isUrl(value) ? fileUrlToPath(value.href, 'destination') : checkString(value, 'destination', 32_768)
  checkPath(file, 'destination')
  if (!/\.gguf$/i.test(file)) throw invalidRange(`destination must end in .gguf, the only output format, not ${show(file)}`)
  return path.resolve(file)
}

/**
 * Writes a model as one self-contained GGUF file: tensors in the given type, the model's spec, tokenizer and metadata. Writes a temporary file and renames it at the
 * end, so an aborted or failed conversion leaves nothing behind.
 */
export async function convert(source: ModelSource, destination: string | URL, options: ConvertOptions): Promise<ConvertReport> {
  const o = knownKeys(options, 'convert()', [...Object.keys(convertOptions), ...Object.keys(convertLoadOptions)])
  if (source === undefined) throw invalidType('convert() needs a source: the model to write')
  if (typeof source === 'object' && source !== null && 'refiner' in source && source.refiner !== undefined)
    throw invalidType('convert() writes one model: leave refiner out and convert it separately')
  if (typeof source === 'object' && source !== null && 'previewVae' in source && source.previewVae !== undefined)
    throw invalidType('convert() writes one model: leave previewVae out and pass it to load()')
  const values = checkOptions(convertOptions, o, undefined)
  const fields = nativeFields(omit(convertOptions, 'loras'), values)
  const target = resolveDestination(destination)
  const load = resolveLoad(only(o, convertLoadOptions), 'convert()', convertLoadOptions)
  const hooks = { signal: load.signal, onProgress: load.onProgress }
  const adapters = await findLoras(values.loras ?? [], 'loras', { hub: load.hub, ...hooks })
  // Reads headers first, because only models with a text encoder get a tokenizer.
  const look = await withSource(source, load, (request) => () => addon().inspect(JSON.stringify(request)), { hooks })
  const { source: resolved, request } = look.prepared
  try {
    const tokenizer = await tokenizerForFile(resolved, JSON.parse(look.result) as ModelInfo)
    const job = JSON.stringify({ source: request, destination: target, ...fields, tokenizer, ...(adapters.length > 0 ? { adapters } : {}) })
    const report = await runJob((callbacks) => addon().convert(job, callbacks), hooks)
    const { adapters: merged, ...written } = JSON.parse(report) as { tensors: number; bytes: number; adapters: Omit<LoraReport, 'embeddings'>[] }
    return { destination: target, ...written, loras: merged.map((one) => ({ ...one, embeddings: [] })) }
  } finally {
    await look.prepared.dispose()
  }
}
