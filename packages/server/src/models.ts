/** The models of a server, from its options, its folder and pulls, and their engines. */
import { readdirSync, statSync, type Stats } from 'node:fs'
import path from 'node:path'
import {
  createDiffusionHost,
  listModels,
  pullModel,
  removeModel,
  type DiffusionHost,
  type HostedModel,
  type PipelineInfo,
  type PullProgress,
} from 'node-latent-diffusion'
import { HttpError, invalid, notFound } from './errors.js'
import type { Model, ModelDetails, PullEvent } from './protocol.js'
import type { Settings } from './settings.js'

interface Entry {
  source: string | URL | HostedModel
  /** The file or folder, if it is local. */
  file?: string
  bytes?: number
  origin: 'options' | 'folder' | 'pulled'
  /** Its files were downloaded by this server's pull, so they may be deleted. */
  deletable?: boolean
}

const modelFile = /\.(safetensors|gguf|ckpt)$/i
/** Files next to models that are not models: separate autoencoders, and all shards but the first. */
const noModel = /\.vae\.|taesd|-0*([2-9]|\d{2,})-of-\d+\./i

/** A model name for a file: its name without extension, reduced to valid characters. */
export function nameOf(file: string, taken: (name: string) => boolean): string {
  const plain =
    path
      .basename(file)
      .replace(modelFile, '')
      .replace(/[^\w.-]/g, '_')
      .replace(/^[.-]+/, '')
      .slice(0, 60) || 'model'
  for (let i = 1; ; i++) {
    const name = i === 1 ? plain : `${plain}_${i}`
    if (!taken(name)) return name
  }
}

/** Undefined if a file is missing or not accessible. */
function statusOf(file: string): Stats | undefined {
  try {
    return statSync(file)
  } catch {
    return undefined
  }
}

function sizeOf(file: string): number | undefined {
  const status = statusOf(file)
  return status?.isFile() ? status.size : undefined
}

/** Files and diffusers folders, sorted by name. */
function scan(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith('.'))
    .map(({ name }) => path.join(folder, name))
    .filter((file) => {
      const status = statusOf(file)
      if (status?.isDirectory()) return statusOf(path.join(file, 'model_index.json'))?.isFile() === true
      return status?.isFile() === true && modelFile.test(file) && !noModel.test(path.basename(file))
    })
    .sort()
}

export class Models {
  readonly #entries = new Map<string, Entry>()
  /** Names of models that are being downloaded. */
  readonly #reserved = new Set<string>()
  readonly #settings: Settings
  readonly #details = new Map<string, Promise<PipelineInfo>>()
  /** The engine that generates images. */
  readonly host: DiffusionHost
  /** The engine that reads headers, for descriptions and estimates, so that these do not wait for images. */
  readonly #planner: DiffusionHost

  constructor(settings: Settings) {
    this.#settings = settings
    for (const [name, source] of Object.entries(settings.models)) this.#entries.set(name, describeSource(source))
    for (const [name, entry] of this.#scanned()) this.#entries.set(name, entry)
    if (this.#entries.size === 0) this.#entries.set('tiny-scenes', { source: { ...settings.load }, origin: 'options' })
    const models = Object.fromEntries([...this.#entries].map(([name, { source }]) => [name, source]))
    const { maxModels, maxBatch, keepAliveMs } = settings
    this.host = createDiffusionHost({ models, maxModels, maxBatch, idleMs: keepAliveMs, maxQueue: 1_000_000 })
    this.#planner = createDiffusionHost({ models, idleMs: 30_000, maxQueue: 1_000_000 })
  }

  get defaultName(): string {
    return this.#entries.keys().next().value!
  }

  names(): string[] {
    return [...this.#entries.keys()]
  }

  /** The name of a known model. */
  resolve(name: string | undefined): string {
    if (name === undefined) return this.defaultName
    if (this.#entries.has(name)) return name
    throw notFound(`There is no model '${name}'; there are ${this.names().join(', ')}`, 'model')
  }

  list(): Model[] {
    const loaded = new Map(this.host.models().map((model) => [model.name, model.loaded]))
    return [...this.#entries].map(([name, { bytes, origin }]) => ({
      name,
      loaded: loaded.get(name) === true,
      pulled: origin === 'pulled',
      ...(bytes === undefined ? {} : { bytes }),
    }))
  }

  loaded(): string[] {
    return this.host
      .models()
      .filter(({ loaded }) => loaded)
      .map(({ name }) => name)
  }

  /** The file of a model, if it is local. */
  fileOf(name: string): string | undefined {
    return this.#entries.get(name)?.file
  }

  /** How a model is loaded. */
  optionsOf(name: string): Partial<HostedModel> {
    const source = this.#entries.get(name)?.source
    return typeof source === 'object' && !(source instanceof URL) ? source : {}
  }

  /** The description of a model from its headers; read once. */
  info(name: string): Promise<PipelineInfo> {
    let info = this.#details.get(name)
    if (!info) {
      info = this.#planner.describe(name)
      this.#details.set(name, info)
      info.catch(() => this.#details.delete(name)) // read again, as the file may be fixed
    }
    return info
  }

  async details(name: string): Promise<ModelDetails> {
    const info = await this.info(name)
    const model = this.list().find((each) => each.name === name)!
    const {
      kind,
      name: title,
      defaults,
      samplers,
      schedules,
      defaultSchedules,
      labels,
      sizeMultiple,
      downsampling,
      condition,
      parameters,
      device,
    } = info
    return {
      ...model,
      ...{ kind, title, defaults, samplers, schedules, defaultSchedules, labels, sizeMultiple, downsampling },
      condition: { ...condition },
      ...('classes' in info ? { classes: [...info.classes] } : {}),
      parameters: parameters.total,
      device: device.name,
    }
  }

  estimate(name: string, request: Parameters<DiffusionHost['estimate']>[1]) {
    return this.#planner.estimate(name, request)
  }

  /** Scans the folder again. A loaded model that is gone is unloaded by the engine later, without waiting. */
  async refresh(): Promise<void> {
    let found: Map<string, Entry>
    try {
      found = new Map(this.#scanned())
    } catch {
      return // the folder cannot be read at the moment
    }
    for (const [name, { origin }] of [...this.#entries])
      if (origin === 'folder' && !found.has(name) && this.#entries.size > 1) void this.#forget(name).catch(() => {})
    for (const [name, entry] of found) {
      const { bytes } = this.#entries.get(name) ?? {}
      if (!this.#entries.has(name) || bytes !== entry.bytes) void this.#add(name, entry).catch(() => {})
    }
  }

  /**
   * Reserves a name for a model to download; `fetch` downloads it and releases the name on failure.
   * @throws HttpError if the request is rejected
   */
  pull(source: string, wanted: string | undefined): { fetch(tell: (event: PullEvent) => void, signal: AbortSignal): Promise<Model> } {
    if (!this.#settings.pull) throw new HttpError(403, 'ERR_FORBIDDEN', 'This server does not download models: it was started with --no-pull')
    if (!/^(hf:[\w.-]+\/[\w.-]+|civitai:\d)/.test(source))
      throw invalid("source must be the name of a model on a hub, 'hf:owner/name' or 'civitai:VERSION'", 'source')
    if (wanted !== undefined && !/^\w[\w.-]{0,63}$/.test(wanted))
      throw invalid('name must be up to 64 letters, digits, dots, dashes and underscores', 'name')
    const taken = (name: string) => this.#entries.has(name) || this.#reserved.has(name)
    if (wanted !== undefined && taken(wanted))
      throw new HttpError(409, 'ERR_EXISTS', `A model '${wanted}' already exists or is being downloaded`, { param: 'name' })
    const name = wanted ?? nameOf(source.replace(/^\w+:/, '').replace(/@.*$/, ''), taken)
    this.#reserved.add(name)
    return {
      fetch: async (tell, signal) => {
        try {
          return await this.#fetch(source, name, tell, signal)
        } finally {
          this.#reserved.delete(name)
        }
      },
    }
  }

  async #fetch(source: string, name: string, tell: (event: PullEvent) => void, signal: AbortSignal): Promise<Model> {
    const { hub, load } = this.#settings
    const onProgress = ({ file, bytes, totalBytes }: PullProgress) => tell({ type: 'progress', file, bytes, totalBytes })
    const wasThere = await this.#isCached(source)
    const { fetchedBytes } = await pullModel(source, { ...hub, signal, onProgress })
    await this.#add(name, { source: { ...load, source, hub }, origin: 'pulled', deletable: fetchedBytes > 0 && !wasThere })
    return this.list().find((each) => each.name === name)!
  }

  /** Whether any part of the repository is already in the cache, which other programs use too. */
  async #isCached(source: string): Promise<boolean> {
    const { cacheDir } = this.#settings.hub
    const repository = repositoryOf(source)
    return (await listModels(cacheDir === undefined ? {} : { cacheDir })).some((each) => repositoryOf(each.source) === repository)
  }

  /** Removes a pulled model. Its files are deleted if only this pull downloaded them. */
  async remove(name: string): Promise<void> {
    const entry = this.#entries.get(this.resolve(name))!
    if (entry.origin !== 'pulled') throw new HttpError(403, 'ERR_FORBIDDEN', `'${name}' was not pulled by this server, so it cannot be deleted`)
    const { source } = entry.source as { source: string }
    const other = [...this.#entries].find(
      ([, each]) => each !== entry && hubSource(each) !== undefined && repositoryOf(hubSource(each)!) === repositoryOf(source),
    )
    if (other && entry.deletable) throw new HttpError(409, 'ERR_STATE', `'${name}' shares its files with '${other[0]}'`)
    if (this.#entries.size === 1) throw new HttpError(409, 'ERR_STATE', `'${name}' is the only model of this server and cannot be deleted`)
    await this.#forget(name)
    if (!entry.deletable) return
    const { cacheDir } = this.#settings.hub
    try {
      await removeModel(source, cacheDir === undefined ? {} : { cacheDir })
    } catch (error) {
      await this.#add(name, entry)
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.host.close(), this.#planner.close()])
  }

  async #add(name: string, entry: Entry): Promise<void> {
    const added = [this.host, this.#planner].map((host) => host.addModel(name, entry.source))
    this.#entries.set(name, entry)
    this.#details.delete(name)
    await Promise.all(added)
  }

  async #forget(name: string): Promise<void> {
    this.#entries.delete(name)
    this.#details.delete(name)
    await Promise.all([this.host, this.#planner].map((host) => host.removeModel(name))) // both at once, because the name may be reused meanwhile
  }

  #scanned(): [string, Entry][] {
    const { modelsDir, load } = this.#settings
    if (modelsDir === undefined) return []
    const taken = new Set([...this.#entries].filter(([, { origin }]) => origin !== 'folder').map(([name]) => name))
    return scan(modelsDir).map((file) => {
      const name = nameOf(file, (each) => taken.has(each))
      taken.add(name)
      const bytes = sizeOf(file)
      return [name, { source: { ...load, source: file }, file, origin: 'folder' as const, ...(bytes === undefined ? {} : { bytes }) }]
    })
  }
}

/** `hf:owner/name` without a revision, a path or a tag. */
function repositoryOf(source: string): string {
  const [, site, repository] = /^(hf|civitai):(?:\d+@)?([^/@:]+(?:\/[^/@:]+)?)/i.exec(source) ?? []
  return site === undefined ? source : `${site}:${site.toLowerCase() === 'hf' ? repository! : repository!.split('/')[0]!}`.toLowerCase()
}

function hubSource({ source }: Entry): string | undefined {
  const named = typeof source === 'string' || source instanceof URL ? source : source.source
  return typeof named === 'string' && /^(hf|civitai):/.test(named) ? named : undefined
}

function describeSource(source: string | URL | HostedModel): Entry {
  const named = typeof source === 'string' || source instanceof URL ? source : source.source
  if (typeof named !== 'string' || /^(hf|civitai):/.test(named)) return { source, origin: 'options' }
  const bytes = sizeOf(named)
  return { source, origin: 'options', file: named, ...(bytes === undefined ? {} : { bytes }) }
}
