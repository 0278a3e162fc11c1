/** Downloading and managing models: the public functions behind `latent pull | list | verify | rm`. */
import { shared } from '../options/common.js'
import { hubOptions, pullOptions, verifyOptions } from '../options/hub.js'
import { callback, checkOptions, only, type Options } from '../options/option.js'
import type { CallOptions } from '../types.js'
import { knownKeys, listOf } from '../options/validate.js'
import { listCache, removeFromCache, removeIncomplete, verifyCache, type CachedModel, type VerifiedFile } from '../hub/manage.js'
import { planPull, pull, type PulledFile } from '../hub/pull.js'
import type { PullProgress } from '../hub/pull-progress.js'
import { resolveHub, type HubOptions } from '../hub/settings.js'
import { readHubSource, type HubSource } from '../hub/source.js'

/** Options of {@link pullModel}. */
export interface PullOptions extends HubOptions, CallOptions {
  /** The part to download. Default `model`. */
  part?: 'model' | 'unet' | 'textEncoder' | 'imageEncoder' | 'vae' | 'tokenizer'
  /** Additional files, as patterns of their paths (`*` within a folder, `**` across folders). */
  include?: readonly string[]
  /** Report what would be downloaded, without downloading. Default false. */
  dryRun?: boolean
  /** Called a few times a second. An error thrown here rejects the call. */
  onProgress?: (progress: PullProgress) => unknown
}

/** Result of {@link pullModel}; with `dryRun`, what it would download. */
export interface PullReport {
  source: string
  /** The commit; for Civitai the version. */
  commit: string
  /** Folder or file in the cache, for `load()`; absent with `dryRun`. */
  path?: string
  licence?: string
  /** Bytes of all files, and of those that had to be downloaded. */
  bytes: number
  fetchedBytes: number
  files: PulledFile[]
}

/** Options of {@link listModels}. */
export type CacheOptions = Pick<HubOptions, 'cacheDir'>

/** Options of {@link verifyModels}. */
export interface VerifyOptions extends CacheOptions, CallOptions {
  /** Delete damaged files, so that the next {@link pullModel} downloads them again. Default false. */
  remove?: boolean
  /** Called with the bytes read so far, and the total. */
  onProgress?: (bytes: number, totalBytes: number) => unknown
}

const pulling = {
  ...pullOptions,
  onProgress: callback<NonNullable<PullOptions['onProgress']>>({ flag: 'latent pull shows a progress bar' }),
  signal: shared.signal,
} satisfies Options<Omit<PullOptions, keyof HubOptions>>

const verifying = {
  ...verifyOptions,
  onProgress: callback<NonNullable<VerifyOptions['onProgress']>>({ flag: 'latent verify shows a progress bar' }),
  signal: shared.signal,
} satisfies Options<Omit<VerifyOptions, keyof HubOptions>>

/**
 * Downloads a model into the cache: the files that the loader needs of `hf:owner/name[@revision][/path][:tag]` or `civitai:VERSION`, at the latest commit of the
 * branch. Resumes interrupted downloads and checks every hash. Throws {@link DownloadError}; downloaded data is kept.
 */
export async function pullModel(source: string | URL, options?: PullOptions): Promise<PullReport> {
  const o = knownKeys(options, 'pullModel()', Object.keys({ ...hubOptions, ...pulling }))
  const settings = resolveHub(only(o, hubOptions))
  const { part: role, include, dryRun, ...hooks } = checkOptions(pulling, o, undefined)
  const parsed = readHubSource(source, settings, 'source')
  if (dryRun) {
    const { listing, files, missingBytes } = await planPull(parsed, role, settings, hooks, include)
    const described = files.map(({ path, size, hash }) => ({ path, size, hash, fetched: false }))
    return report(parsed, listing.commit, listing.licence, described, { fetchedBytes: missingBytes })
  }
  const { commit, licence, files, location } = await pull(parsed, role, settings, hooks, include)
  return report(parsed, commit, licence, files, { path: location })
}

function report(source: HubSource, commit: string, licence: string | undefined, files: PulledFile[], extra: Partial<PullReport>): PullReport {
  const sum = (some: readonly PulledFile[]) => some.reduce((bytes, { size }) => bytes + size, 0)
  const fetchedBytes = sum(files.filter(({ fetched }) => fetched))
  return { source: source.name, commit, ...(licence === undefined ? {} : { licence }), bytes: sum(files), fetchedBytes, files, ...extra }
}

/** The models in the cache. */
export async function listModels(options?: CacheOptions): Promise<CachedModel[]> {
  return listCache(resolveHub(knownKeys(options, 'listModels()', ['cacheDir'])))
}

/** Hashes the files of a model in the cache again, or of every model, without contacting a server. */
export async function verifyModels(source?: string | URL | readonly (string | URL)[], options?: VerifyOptions): Promise<VerifiedFile[]> {
  const o = knownKeys(options, 'verifyModels()', ['cacheDir', ...Object.keys(verifying)])
  const settings = resolveHub(o.cacheDir === undefined ? {} : { cacheDir: o.cacheDir })
  const named = source === undefined ? [] : Array.isArray(source) ? listOf(source, 'source', 1000) : [source]
  const work = checkOptions(verifying, o, undefined)
  const sources = named.map((each) => readHubSource(each, settings, 'source'))
  return verifyCache(sources, settings, work)
}

/** Deletes a model from the cache, or with `@revision` one revision. Returns the freed bytes. */
export async function removeModel(source: string | URL, options?: CacheOptions): Promise<number> {
  const settings = resolveHub(knownKeys(options, 'removeModel()', ['cacheDir']))
  return removeFromCache(readHubSource(source, settings, 'source'), settings)
}

/** Deletes partial files of interrupted downloads. Returns the freed bytes. */
export async function removeIncompleteDownloads(options?: CacheOptions): Promise<number> {
  return removeIncomplete(resolveHub(knownKeys(options, 'removeIncompleteDownloads()', ['cacheDir'])))
}
