/** Downloads a model by name into the cache: lists, selects, checks the disk space, downloads missing files, links. */
import path from 'node:path'
import { fetchBlob, hasSize, partialSize, sizeOf, type BlobJob } from './blob.js'
import { freeSpace, isInPlace, place, repoPaths, snapshotFile, writeRef, writeTree, type RepoPaths } from './cache.js'
import { checkLogin, listCivitai, refuseCivitai } from './civitai.js'
import { selectCivitai } from './civitai-files.js'
import { about, DownloadError, fileError } from './errors.js'
import type { Answer, Transport } from './http.js'
import { listHub, refuseHub } from './hugging-face.js'
import type { Listing, RemoteFile } from './listing.js'
import { pin, pinned } from './pins.js'
import { chooseFetch } from './proxy.js'
import { ProgressMeter, type PullProgress } from './pull-progress.js'
import { withRetries } from './retry.js'
import { isWeights, largestIndex, selectFiles, shardsOf, type Role, type Selection } from './selection.js'
import type { HubSettings } from './settings.js'
import { readSmall } from './small-file.js'
import type { HubSource } from './source.js'

/** Options of a pull besides the model. */
export interface PullHooks {
  signal?: AbortSignal | undefined
  onProgress?: ((progress: PullProgress) => unknown) | undefined
}

/** One file of a pulled model. */
export interface PulledFile {
  path: string
  size: number
  /** SHA-256 for large files, git's hash for small ones. */
  hash: string
  /** False if it was already in the cache. */
  fetched: boolean
}

/** A model in the cache. */
export interface Pulled {
  source: HubSource
  commit: string
  /** Folder or file for the loader. */
  location: string
  licence: string | undefined
  files: PulledFile[]
}

/** Concurrent connections. */
const lanes = 4
/** Files to download first: configurations, and lists of shards, which tell what else is needed. */
const small = 1 << 20
/** Disk space that is left free. */
const spareBytes = 16 << 20

async function transportOf(source: HubSource, settings: HubSettings, signal: AbortSignal | undefined): Promise<Transport> {
  const site = source.site === 'hf' ? settings.hub : settings.civitai
  return { site, fetch: await chooseFetch(settings), timeout: settings.timeout, signal }
}

/** The current contents of the source. */
async function list(source: HubSource, transport: Transport, backoff: number): Promise<Listing> {
  const read = source.site === 'hf' ? listHub : listCivitai
  return withRetries(() => read(source, transport), { backoff, signal: transport.signal, attempts: 4 })
}

function select(
  listing: Listing,
  role: Role,
  { variant, allowPickle }: HubSettings,
): { selection: Selection; files: ReadonlyMap<string, RemoteFile> } {
  const { source, files } = listing
  if (source.site === 'civitai') return selectCivitai(listing, role, allowPickle)
  return { selection: selectFiles(files.keys(), { ...source, role, variant }), files }
}

/** Patterns as in .gitignore: `*` within a folder, `**` across folders. */
function matcher(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*\*\/?|\*|\?/g, (wild) => (wild === '*' ? '[^/]*' : wild === '?' ? '[^/]' : '.*'))
  return new RegExp(`^${source}$`)
}

/** Files with the same content, which is downloaded once. */
interface Group {
  remote: RemoteFile
  paths: string[]
}

class Puller {
  readonly #listing: Listing
  readonly #files: ReadonlyMap<string, RemoteFile>
  readonly #paths: RepoPaths
  readonly #settings: HubSettings
  readonly #transport: Transport
  readonly meter: ProgressMeter
  readonly done = new Map<string, PulledFile>()

  constructor(listing: Listing, files: ReadonlyMap<string, RemoteFile>, settings: HubSettings, transport: Transport, hooks: PullHooks) {
    this.#listing = listing
    this.#files = files
    this.#settings = settings
    this.#transport = transport
    this.#paths = repoPaths(listing.source, settings)
    this.meter = new ProgressMeter(hooks.onProgress)
  }

  pointer(name: string): string {
    return snapshotFile(this.#paths, this.#listing.commit, name)
  }

  #group(names: readonly string[]): Group[] {
    const groups = new Map<string, Group>()
    for (const name of names) {
      const remote = this.#files.get(name)!
      const group = groups.get(remote.hash) ?? { remote, paths: [] }
      group.paths.push(name)
      groups.set(remote.hash, group)
    }
    return [...groups.values()].sort((a, b) => b.remote.size - a.remote.size)
  }

  /** Downloads several files concurrently. The first failure stops all; downloaded data is kept. */
  async fetch(names: readonly string[]): Promise<void> {
    const groups = this.#group(names.filter((name) => !this.done.has(name)))
    const group = new AbortController()
    const outer = this.#transport.signal
    const follow = () => group.abort(outer!.reason)
    if (outer?.aborted) follow()
    outer?.addEventListener('abort', follow, { once: true })
    const lane = async () => {
      for (let next = groups.shift(); next && !group.signal.aborted; next = groups.shift()) await this.#fetchGroup(next, group.signal)
    }
    try {
      const running = Array.from({ length: Math.min(lanes, groups.length) }, () =>
        lane().catch((error: unknown) => {
          if (!group.signal.aborted) group.abort(error)
        }),
      )
      await Promise.all(running)
      if (group.signal.aborted) throw group.signal.reason
    } finally {
      outer?.removeEventListener('abort', follow)
    }
  }

  #job(remote: RemoteFile, signal: AbortSignal): BlobJob {
    const { source, licence } = this.#listing
    const transport = { ...this.#transport, signal }
    const { site } = transport
    return {
      transport,
      backoff: this.#settings.backoff,
      blobs: this.#paths.blobs,
      locks: this.#paths.locks,
      onBytes: (bytes) => this.meter.set(remote, bytes),
      refuse: (answer) =>
        source.site === 'hf' ? refuseHub(answer, source, site, licence, remote.path) : refuseCivitai(answer, source, site, remote.path),
      ...(source.site === 'civitai' ? { check: (answer: Answer) => checkLogin(answer, source, site) } : {}),
    }
  }

  async #fetchGroup({ remote, paths: names }: Group, signal: AbortSignal): Promise<void> {
    const pointers = names.map((name) => this.pointer(name))
    const inPlace = await Promise.all(pointers.map((pointer) => isInPlace(pointer, remote)))
    const left = pointers.filter((_, i) => !inPlace[i])
    let fetched = false
    try {
      if (left.length > 0) {
        const blob = path.join(this.#paths.blobs, remote.hash)
        // Without links, the only copy may be in the snapshot.
        const twin = pointers.find((_, i) => inPlace[i])
        const from = twin !== undefined && !(await hasSize(blob, remote)) ? twin : blob
        if (from === blob) fetched = await fetchBlob(remote, this.#job(remote, signal))
        await place(from, left, { fetched, symlinks: this.#settings.symlinks })
      }
    } catch (error) {
      signal.throwIfAborted()
      throw about(fileError(error, this.#paths.root), { source: this.#listing.source.name, file: remote.path })
    }
    for (const name of names) this.done.set(name, { path: name, size: (await sizeOf(this.pointer(name))) ?? remote.size, hash: remote.hash, fetched })
    this.meter.finish(remote)
  }

  /** The files that the lists of shards among `indexes` name. */
  async shards(indexes: readonly string[]): Promise<string[]> {
    const { source } = this.#listing
    const all: string[] = []
    for (const index of indexes) {
      const shards = shardsOf(index, (await readSmall(this.pointer(index), largestIndex)) ?? '', source)
      const absent = shards.find((name) => !this.#files.has(name))
      if (absent !== undefined)
        throw new DownloadError('bad_answer', `${source.name}: ${index} lists ${absent}, which is not in the repository`, { source: source.name })
      all.push(...shards)
    }
    return all
  }

  /** Bytes to download per content; parts may exist already. */
  async missing(names: readonly string[]): Promise<number> {
    let bytes = 0
    for (const { remote, paths: group } of this.#group(names)) {
      const places = await Promise.all(group.map((name) => isInPlace(this.pointer(name), remote)))
      const present = places.includes(true) || (await hasSize(path.join(this.#paths.blobs, remote.hash), remote))
      const here = present ? remote.size : Math.min(remote.size, await partialSize(this.#paths.blobs, remote.hash))
      this.meter.add(remote, here)
      bytes += remote.size - here
    }
    return bytes
  }

  /** Fails before downloading large files if the disk has not enough space. */
  async checkSpace(bytes: number): Promise<void> {
    const free = await freeSpace(this.#paths.root)
    if (bytes === 0 || free === undefined || bytes + spareBytes <= free) return
    const { name } = this.#listing.source
    const gigabytes = (count: number) => `${(count / 1e9).toFixed(2)} GB`
    const message = `${name} needs another ${gigabytes(bytes)}, but ${this.#paths.root} has only ${gigabytes(free)} free. Free some space, or use another folder (HF_HUB_CACHE, hub.cacheDir)`
    throw new DownloadError('disk_space', message, { source: name, required: bytes, available: free })
  }

  remotes(): RemoteFile[] {
    return [...this.done.keys()].map((name) => this.#files.get(name)!)
  }

  async publish(): Promise<void> {
    await writeRef(this.#paths, this.#listing.source.revision, this.#listing.commit)
  }
}

/** What {@link planPull} found. */
export interface PullPlan {
  listing: Listing
  selection: Selection
  files: RemoteFile[]
  /** Bytes to download; shards that are named only in a list are not counted. */
  missingBytes: number
}

interface Prepared {
  listing: Listing
  selection: Selection
  files: ReadonlyMap<string, RemoteFile>
  names: string[]
  puller: Puller
}

async function prepare(given: HubSource, role: Role, settings: HubSettings, hooks: PullHooks, include: readonly string[]): Promise<Prepared> {
  if (settings.offline)
    throw new DownloadError(
      'offline',
      `${given.name} is not completely in the cache, and downloads are disabled (HF_HUB_OFFLINE or localFilesOnly): run \`latent pull ${given.name}\` with a network connection`,
      { source: given.name },
    )
  const source = await pinned(given, settings.lockFile)
  const transport = await transportOf(source, settings, hooks.signal)
  let listing: Listing
  try {
    listing = await list(source, transport, settings.backoff)
  } catch (error) {
    hooks.signal?.throwIfAborted()
    throw about(error, { source: source.name })
  }
  const { selection, files } = select(listing, role, settings)
  const patterns = include.map(matcher)
  const extra = [...files.keys()].filter((name) => patterns.some((pattern) => pattern.test(name)))
  return {
    listing,
    selection,
    files,
    names: [...new Set([...selection.files, ...extra])],
    puller: new Puller(listing, files, settings, transport, hooks),
  }
}

/** Runs with a callback whose error, thrown or by a rejected promise, ends the call with that error. */
async function guarded<T>({ signal, onProgress }: PullHooks, run: (hooks: PullHooks) => Promise<T>): Promise<T> {
  if (!onProgress) return run({ signal })
  const controller = new AbortController()
  const follow = () => controller.abort(signal!.reason)
  if (signal?.aborted) follow()
  signal?.addEventListener('abort', follow, { once: true })
  const report = (progress: PullProgress) => {
    const result = onProgress(progress)
    if (result instanceof Promise) result.catch((error: unknown) => controller.abort(error))
  }
  try {
    return await run({ signal: controller.signal, onProgress: report })
  } finally {
    signal?.removeEventListener('abort', follow)
  }
}

/** What a pull would do, without downloading files. */
export async function planPull(
  source: HubSource,
  role: Role,
  settings: HubSettings,
  hooks: PullHooks = {},
  include: readonly string[] = [],
): Promise<PullPlan> {
  const { listing, selection, files, names, puller } = await prepare(source, role, settings, hooks, include)
  const missingBytes = await puller.missing(names)
  return { listing, selection, files: names.map((name) => files.get(name)!), missingBytes }
}

/** A list of shards has a few hundred kilobytes; the loader rejects longer ones. */
function checkIndexes(indexes: readonly string[], files: ReadonlyMap<string, RemoteFile>, { name }: HubSource): void {
  const large = indexes.find((index) => files.get(index)!.size > largestIndex)
  if (large !== undefined) throw new DownloadError('bad_answer', `${name}: ${large} is too large for a list of shards`, { source: name, file: large })
}

/** Downloads the files that the loader needs, and those matching the patterns in `include`, into the cache. */
export async function pull(
  source: HubSource,
  role: Role,
  settings: HubSettings,
  hooks: PullHooks = {},
  include: readonly string[] = [],
): Promise<Pulled> {
  return guarded(hooks, (safe) => pullInto(source, role, settings, safe, include))
}

async function pullInto(source: HubSource, role: Role, settings: HubSettings, hooks: PullHooks, include: readonly string[]): Promise<Pulled> {
  const { listing, selection, files, names, puller } = await prepare(source, role, settings, hooks, include)
  const paths = repoPaths(listing.source, settings)
  try {
    await writeTree(paths, listing)
  } catch (error) {
    throw fileError(error, paths.root)
  }
  // All files are registered before the first byte, so that the percentage does not jump.
  await puller.missing(names)
  checkIndexes(selection.indexes, files, listing.source)
  const first = names.filter((name) => selection.indexes.includes(name) || (files.get(name)!.size <= small && !isWeights(name)))
  await puller.fetch(first)
  const all = [...new Set([...names, ...(await puller.shards(selection.indexes))])]
  await puller.checkSpace(await puller.missing(all.filter((name) => !puller.done.has(name))))
  await puller.fetch(all)
  await puller.publish()
  await pin(settings.lockFile, listing, puller.remotes())
  return {
    source: listing.source,
    commit: listing.commit,
    location: snapshotFile(paths, listing.commit, selection.entry),
    licence: listing.licence,
    files: [...puller.done.values()],
  }
}
