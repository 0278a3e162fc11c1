/** From what the caller named to files on disk: paths, URLs, parts, the local Hugging Face cache, and the configuration beside a checkpoint. */
import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { DiffusionError } from '../errors.js'
import { readRegular, type FileKind } from '../files/regular-file.js'
import { configBeside, givenConfig } from './config-file.js'
import { embeddedModel, embeddedName } from './embedded.js'
import type { LoadOptions, ModelFiles, ModelSource } from '../types.js'
import { fileUrlToPath, invalidRange, invalidType, isUrl, knownKeys, show } from '../options/validate.js'

/** Files of a model, as native code takes them. */
export interface ResolvedSource {
  model: string
  unet?: string
  textEncoder?: string
  imageEncoder?: string
  vae?: string
  config?: Record<string, unknown>
  /** Folder or file of the caller's own tokenizer. */
  tokenizer?: string
  /** Name for reports and image metadata. */
  name: string
}

const partKeys = ['model', 'unet', 'textEncoder', 'imageEncoder', 'vae', 'tokenizer'] as const
const laterParts = {
  textEncoder2: 'is for SDXL, which this version does not run',
  previewVae: "is not supported by this version; previews are linear or by the model's own first stage",
  controlNet: 'is not supported by this version',
}

function missing(file: string, why = 'does not exist'): DiffusionError {
  return new DiffusionError('ERR_IO', `${file} ${why}. Pass a model file, a diffusers folder or hf:owner/name`, { path: file })
}

/** The folder of the local Hugging Face cache, by the environment variables that every tool of theirs knows. */
export function huggingFaceCache(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HF_HUB_CACHE) return env.HF_HUB_CACHE
  if (env.HUGGINGFACE_HUB_CACHE) return env.HUGGINGFACE_HUB_CACHE
  if (env.HF_HOME) return path.join(env.HF_HOME, 'hub')
  return path.join(env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'huggingface', 'hub')
}

/** The name of a commit. */
const cacheEntry: FileKind = { what: '', maxBytes: 1024, refuse: (message, details) => new DiffusionError('ERR_IO', message, details) }

/** `hf:owner/name[@revision][/path]` to a snapshot folder (or a file in it) that is already on this machine. */
async function fromHuggingFaceCache(source: string): Promise<string> {
  const match = /^hf:([\w.-]{1,96}\/[\w.-]{1,96})(?:@([\w.-]{1,128}))?((?:\/[^/\\]+)*)$/.exec(source)
  const inner = match?.[3] ?? ''
  if (!match || /(^|\/)\.{1,2}(\/|$)/.test(`${match[1]}${inner}`))
    throw invalidRange(`${show(source)} is not of the form hf:owner/name, hf:owner/name@revision or hf:owner/name/file`)
  const folder = path.join(huggingFaceCache(), `models--${match[1]!.replace('/', '--')}`)
  const revision = match[2] ?? 'main'
  const commit = await readRegular(path.join(folder, 'refs', revision), cacheEntry).then(
    (text) => text.toString('utf8').trim(),
    () => revision,
  )
  if (!/^[\w-][\w.-]*$/.test(commit)) throw missing(source, `has a broken cache entry (${path.join(folder, 'refs', revision)})`)
  const snapshot = path.join(folder, 'snapshots', commit, inner)
  if (!(await exists(snapshot))) {
    throw missing(
      source,
      `is not in the local Hugging Face cache (${folder}), and nothing is downloaded by this version; fetch it with \`hf download ${match[1]}\``,
    )
  }
  return snapshot
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

/** One path, URL or hf: name to an absolute path that exists. */
async function toPath(value: unknown, name: string): Promise<string> {
  let file: string
  if (isUrl(value)) {
    const url = value
    if (url.protocol !== 'file:')
      throw invalidRange(`${name}: only file: URLs are read, not ${url.protocol} ones; nothing is downloaded by this version`)
    file = fileUrlToPath(url.href, name)
  } else if (typeof value === 'string') {
    if (value === '') throw invalidRange(`${name} is an empty string; a path is expected`)
    if (value.includes('\0')) throw invalidRange(`${name} contains a NUL character`)
    if (value.startsWith('hf:')) return fromHuggingFaceCache(value)
    if (/^https?:\/\//i.test(value))
      throw invalidRange(`${name}: nothing is downloaded by this version; fetch ${show(value)} yourself and pass its path`)
    file = /^file:\/\//i.test(value) ? fileUrlToPath(value, name) : path.resolve(value)
  } else {
    throw invalidType(`${name} must be a path or a URL, not ${show(value)}`)
  }
  if (!(await exists(file))) throw missing(file)
  return file
}

function isParts(source: ModelSource): source is ModelFiles {
  return typeof source === 'object' && source !== null && !Array.isArray(source) && !ArrayBuffer.isView(source) && !isUrl(source)
}

/** What to call a model: the file without its extension, the folder, or the repository (whose folder in the cache is named after a commit). */
async function modelName(file: string, given: unknown): Promise<string> {
  const repository = typeof given === 'string' ? /^hf:[^/]+\/([^/@]+)(?:@[^/]*)?$/.exec(given)?.[1] : undefined
  if (repository !== undefined) return repository
  return (await stat(file)).isDirectory() ? path.basename(file) : path.parse(file).name
}

/** The package's own model, for callers that name none. */
async function ownModel(): Promise<ResolvedSource> {
  const model = embeddedModel()
  if (!(await exists(model))) {
    throw new DiffusionError(
      'ERR_IO',
      `The model inside the package, ${model}, is not there: install the package again (a packer or bundler may have left it out), or pass a model of your own`,
      { path: model },
    )
  }
  return { model, name: embeddedName }
}

async function resolveParts(source: ModelSource): Promise<ResolvedSource> {
  if (!isParts(source)) {
    const model = await toPath(source, 'source')
    return { model, name: await modelName(model, source) }
  }
  const o = knownKeys(source, 'the model source', partKeys, laterParts)
  const files: Partial<Record<(typeof partKeys)[number], string>> = {}
  for (const key of partKeys) if (o[key] !== undefined) files[key] = await toPath(o[key], `source.${key}`)
  const main = (['model', 'unet', 'vae', 'imageEncoder'] as const).find((key) => files[key] !== undefined)
  if (!main) throw invalidType('the model source names no weights: give model, unet or vae')
  return { ...files, model: files.model ?? '', name: await modelName(files[main]!, o[main]) }
}

/** Resolves a source and its configuration; no source means the package's own model. */
export async function resolveSource(source: ModelSource | undefined, config?: LoadOptions['config']): Promise<ResolvedSource> {
  const files = source === undefined ? await ownModel() : await resolveParts(source)
  if (config !== undefined) return { ...files, config: await givenConfig(config) }
  // A GGUF carries its spec and a diffusers folder its json; other single files may have a .yaml beside them.
  if (!files.model || /\.gguf$/i.test(files.model) || (await stat(files.model)).isDirectory()) return files
  const beside = await configBeside(files.model)
  return beside ? { ...files, config: beside } : files
}

/** The part of a native load request that names files. */
export function sourceRequest({ model, unet, textEncoder, imageEncoder, vae, config }: ResolvedSource) {
  return {
    model,
    ...(unet ? { unet } : {}),
    ...(textEncoder ? { textEncoder } : {}),
    ...(imageEncoder ? { imageEncoder } : {}),
    ...(vae ? { vae } : {}),
    ...(config ? { config } : {}),
  }
}
