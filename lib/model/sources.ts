/** Resolves model sources to files on disk: paths, URLs, parts, models of the hub and of Civitai, and the configuration next to a checkpoint. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError } from '../errors.js'
import type { PullProgress } from '../hub/pull-progress.js'
import { locate } from '../hub/resolve.js'
import type { Role } from '../hub/selection.js'
import { resolveHub, type HubOptions, type HubSettings } from '../hub/settings.js'
import { isHubName, readHubSource } from '../hub/source.js'
import { configBeside, givenConfig } from './config-file.js'
import { embeddedModel, embeddedName } from './embedded.js'
import { sourceParts } from '../names.js'
import type { NativeLoadRequest } from '../native/contract.js'
import type { LoadOptions, ModelFiles, ModelSource, Progress } from '../types.js'
import { checkPlace, modelFiles } from '../options/model-files.js'
import { fileUrlToPath, invalidRange, invalidType, isUrl, knownKeys } from '../options/validate.js'

/** Files of a model, for native code. */
export interface ResolvedSource extends Partial<Record<(typeof sourceParts)[number], string>> {
  model: string
  config?: Record<string, unknown>
  /** A tiny autoencoder for previews. */
  previewVae?: string
  /** A model that takes over within a run, its configuration, and its name. */
  refiner?: string
  refinerConfig?: Record<string, unknown>
  refinerName?: string
  /** Folder or file of a tokenizer given by the caller. */
  tokenizer?: string
  /** Name for reports and image metadata. */
  name: string
}

const partKeys = Object.keys(modelFiles) as (keyof ModelFiles)[]
const laterParts = {
  textEncoder2: 'cannot be replaced: both text encoders of SDXL come with the model',
  controlNet: 'is not supported by this version',
}

/** Options for resolving a source. */
export interface ResolveOptions {
  config?: LoadOptions['config']
  hub?: HubOptions | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((progress: Progress) => unknown) | undefined
  /** Only the model's autoencoder will be read. */
  firstStageOnly?: boolean | undefined
}

/** One resolved path. */
interface Place {
  path: string
  name: string
}

function missing(file: string, given: string): DiffusionError {
  const hint = /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(given) ? `. For the model of that name on the hub, pass hf:${given}` : ''
  return new DiffusionError('ERR_IO', `${file} does not exist. Pass a model file, a diffusers folder, hf:owner/name or civitai:VERSION${hint}`, {
    path: file,
  })
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

/** The display name of a file or folder: its name without extension. */
async function nameOf(file: string): Promise<string> {
  return (await stat(file)).isDirectory() ? path.basename(file) : path.parse(file).name
}

async function localPlace(file: string, given: string): Promise<Place> {
  if (!(await exists(file))) throw missing(file, given)
  return { path: file, name: await nameOf(file) }
}

function downloadProgress(onProgress: ResolveOptions['onProgress']): ((progress: PullProgress) => unknown) | undefined {
  return (
    onProgress && (({ bytes, totalBytes, elapsedMs, etaMs }) => onProgress({ phase: 'download', step: bytes, steps: totalBytes, elapsedMs, etaMs }))
  )
}

/** Resolves one path, URL or hub name to a path on disk; downloads from a hub if it is not in the cache. */
async function toPlace(
  value: unknown,
  name: string,
  role: Role,
  settings: () => HubSettings,
  { signal, onProgress }: ResolveOptions,
): Promise<Place> {
  const given = checkPlace(value, name)
  const text = isUrl(given) ? given.href : given
  if (isHubName(text) || /^https?:\/\//i.test(text)) {
    const hub = settings()
    const found = await locate(readHubSource(text, hub, name), role, hub, { signal, onProgress: downloadProgress(onProgress) })
    return { path: found.location, name: found.name }
  }
  if (/^file:\/\//i.test(text)) return localPlace(fileUrlToPath(text, name), text)
  if (isUrl(given)) throw invalidRange(`${name}: only file: and https: URLs are read, not ${given.protocol} ones`)
  return localPlace(path.resolve(text), text)
}

/** One file or folder, without looking for a configuration. `role`: the needed part of a hub's repository. */
export async function resolveFile(file: unknown, name: string, options: ResolveOptions = {}, role: Role = 'model'): Promise<string> {
  return (await toPlace(file, name, role, () => resolveHub(options.hub), options)).path
}

/** The same for a folder of files. */
export async function resolveFolder(folder: unknown, name: string): Promise<string> {
  const place = await resolveFile(folder, name)
  if (!(await stat(place)).isDirectory()) throw invalidRange(`${name}: ${place} is a file; pass its folder`)
  return place
}

function isParts(source: ModelSource): source is ModelFiles {
  return typeof source === 'object' && source !== null && !Array.isArray(source) && !ArrayBuffer.isView(source) && !isUrl(source)
}

/** The embedded model, the default source. */
function ownModel(): ResolvedSource {
  return { model: embeddedModel(), name: embeddedName }
}

function roleOf(key: (typeof partKeys)[number], { firstStageOnly }: ResolveOptions): Role {
  if (key === 'previewVae') return 'vae'
  if (key === 'refiner') return 'model'
  return key === 'model' && firstStageOnly ? 'firstStage' : key
}

async function resolveParts(source: ModelSource, settings: () => HubSettings, options: ResolveOptions): Promise<ResolvedSource> {
  if (!isParts(source)) {
    const place = await toPlace(source, 'source', options.firstStageOnly ? 'firstStage' : 'model', settings, options)
    return { model: place.path, name: place.name }
  }
  const o = knownKeys(source, 'the model source', partKeys, laterParts)
  const main = (['model', 'unet', 'vae', 'imageEncoder'] as const).find((key) => o[key] !== undefined)
  if (!main) throw invalidType('the model source has no weights: pass model, unet or vae')
  const files: Partial<Record<keyof ModelFiles, string>> = {}
  let name = ''
  let refinerName: string | undefined
  for (const key of partKeys) {
    if (o[key] === undefined) continue
    const place = await toPlace(o[key], `source.${key}`, roleOf(key, options), settings, options)
    files[key] = place.path
    if (key === main) name = place.name
    if (key === 'refiner') refinerName = place.name
  }
  return { ...files, model: files.model ?? '', name, ...(refinerName === undefined ? {} : { refinerName }) }
}

/** Resolves a source and its configuration; without a source, the embedded model. */
export async function resolveSource(source: ModelSource | undefined, options: ResolveOptions = {}): Promise<ResolvedSource> {
  const { config, hub } = options
  // Options are checked before searching for files; environment and stored token are read when needed.
  const given = hub === undefined ? undefined : resolveHub(hub)
  const files = source === undefined ? ownModel() : await resolveParts(source, () => given ?? resolveHub(undefined), options)
  const refinerConfig = await ownConfig(files.refiner)
  if (refinerConfig) files.refinerConfig = refinerConfig
  if (config !== undefined) return { ...files, config: await givenConfig(config) }
  const beside = await ownConfig(files.model)
  return beside ? { ...files, config: beside } : files
}

/** A GGUF contains its spec and a diffusers folder its json; other single files may have a .yaml next to them. */
async function ownConfig(model: string | undefined): Promise<Record<string, unknown> | undefined> {
  if (!model || /\.gguf$/i.test(model) || (await stat(model)).isDirectory()) return undefined
  return configBeside(model)
}

/** The fields of a native load request that come from the source. */
export type SourceField = 'model' | (typeof sourceParts)[number] | 'previewVae' | 'refiner' | 'refinerConfig' | 'config'

/** The part of a native load request that names files. */
export function sourceRequest(source: ResolvedSource): Pick<NativeLoadRequest, SourceField> {
  const request: ReturnType<typeof sourceRequest> = { model: source.model }
  for (const part of sourceParts) if (source[part]) request[part] = source[part]
  for (const part of ['previewVae', 'refiner'] as const) if (source[part]) request[part] = source[part]
  if (source.refinerConfig) request.refinerConfig = source.refinerConfig
  if (source.config) request.config = source.config
  return request
}
