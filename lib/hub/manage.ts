/** Managing the caches: listing, verifying, deleting. */
import { readdir, realpath, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError } from '../errors.js'
import { isPartial, sizeOf } from './blob.js'
import { expectedHash, isThere, linkTarget, pathsUnder, readTree, repoOfFolder, snapshotFile, snapshotFiles, type RepoPaths } from './cache.js'
import { DownloadError } from './errors.js'
import { hashFile, startHash } from './hash.js'
import { isHeld } from './lock.js'
import type { HubSettings } from './settings.js'
import { readSmall } from './small-file.js'
import type { HubSource } from './source.js'

/** A revision of a model in the cache. */
export interface CachedRevision {
  commit: string
  /** Branches and tags that pointed to it at download time. */
  refs: string[]
  /** Folder of its files. */
  path: string
  files: number
  /** Bytes of its files. Revisions may share some. */
  bytes: number
  /** Time of the last download into it. */
  modified: Date
}

/** A model in the cache. */
export interface CachedModel {
  /** Source for `load()`, such as `hf:owner/name`. */
  source: string
  path: string
  /** Bytes on disk, counted once. */
  bytes: number
  /** Bytes of interrupted downloads, included in `bytes`. */
  incompleteBytes: number
  revisions: CachedRevision[]
}

/** A verified file. */
export interface VerifiedFile {
  source: string
  commit: string
  file: string
  /** `unknown`: the expected hash is not known. */
  state: 'ok' | 'damaged' | 'missing' | 'unknown'
  bytes: number
}

interface Repo {
  source: string
  site: HubSource['site']
  repo: string
  paths: RepoPaths
}

async function subfolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
}

async function repos({ cacheDir, civitaiDir }: HubSettings): Promise<Repo[]> {
  const found: Repo[] = []
  for (const cache of new Set([cacheDir, civitaiDir])) {
    for (const name of await subfolders(cache)) {
      const known = repoOfFolder(name)
      if (known) found.push({ ...known, source: `${known.site}:${known.repo}`, paths: pathsUnder(cache, name) })
    }
  }
  return found.sort((a, b) => (a.source < b.source ? -1 : 1))
}

/** Files below the refs, by the commit in them. */
async function refsOf({ refs }: RepoPaths): Promise<{ name: string; commit: string; file: string }[]> {
  const entries = await readdir(refs, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
  return Promise.all(
    files.map(async (file) => ({
      file,
      name: path.relative(refs, file).split(path.sep).join('/'),
      commit: ((await readSmall(file)) ?? '').trim(),
    })),
  )
}

async function describeRevision(paths: RepoPaths, commit: string, refs: string[]): Promise<CachedRevision> {
  const folder = path.join(paths.snapshots, commit)
  const names = await snapshotFiles(paths, commit)
  const sizes = await Promise.all(names.map((name) => sizeOf(snapshotFile(paths, commit, name))))
  const bytes = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0)
  return { commit, refs, path: folder, files: names.length, bytes, modified: (await stat(folder)).mtime }
}

/** Bytes of the blobs, and of snapshots with files instead of links. */
async function bytesOnDisk(paths: RepoPaths, commits: readonly string[]): Promise<{ bytes: number; incompleteBytes: number }> {
  let [bytes, incompleteBytes] = [0, 0]
  for (const name of await readdir(paths.blobs).catch(() => [] as string[])) {
    const size = (await sizeOf(path.join(paths.blobs, name))) ?? 0
    bytes += size
    if (isPartial(name)) incompleteBytes += size
  }
  for (const commit of commits) {
    for (const name of await snapshotFiles(paths, commit)) {
      const file = snapshotFile(paths, commit, name)
      if ((await linkTarget(file)) === undefined) bytes += (await sizeOf(file)) ?? 0
    }
  }
  return { bytes, incompleteBytes }
}

/** Every model in the caches. */
export async function listCache(settings: HubSettings): Promise<CachedModel[]> {
  return Promise.all(
    (await repos(settings)).map(async ({ source, paths }) => {
      const commits = await subfolders(paths.snapshots)
      const refs = await refsOf(paths)
      const namesOf = (commit: string) => refs.filter((ref) => ref.commit === commit).map(({ name }) => name)
      const revisions = await Promise.all(commits.map((commit) => describeRevision(paths, commit, namesOf(commit))))
      return { source, path: paths.root, ...(await bytesOnDisk(paths, commits)), revisions }
    }),
  )
}

/** The repository of a source in the caches, and the commits that the source refers to: all, or that of its revision. */
async function chosen(source: HubSource, settings: HubSettings): Promise<{ repo: Repo; commits: string[]; whole: boolean }> {
  const repo = (await repos(settings)).find((each) => each.site === source.site && each.repo === source.repo)
  const absent = (what: string) =>
    new DownloadError('not_found', `${what} is not in the cache; run latent list to see what is`, { source: source.name })
  if (!repo) throw absent(source.name)
  const all = await subfolders(repo.paths.snapshots)
  if (source.site === 'civitai' || !source.name.includes('@')) return { repo, commits: all, whole: true }
  const refs = await refsOf(repo.paths)
  const commit = refs.find(({ name }) => name === source.revision)?.commit ?? source.revision
  if (!all.includes(commit)) throw absent(source.name)
  return { repo, commits: [commit], whole: false }
}

/** The files to hash: those of the sources, or all. */
async function toVerify(sources: readonly HubSource[], settings: HubSettings): Promise<{ repo: Repo; commit: string; name: string }[]> {
  const picked =
    sources.length > 0
      ? await Promise.all(sources.map((source) => chosen(source, settings)))
      : await Promise.all((await repos(settings)).map(async (repo) => ({ repo, commits: await subfolders(repo.paths.snapshots) })))
  const files: { repo: Repo; commit: string; name: string }[] = []
  for (const { repo, commits } of picked)
    for (const commit of commits) for (const name of await snapshotFiles(repo.paths, commit)) files.push({ repo, commit, name })
  return files
}

/** Hashes files again. With `remove`, damaged ones are deleted, so that the next pull downloads them again. Content shared by several snapshots is read once. */
export async function verifyCache(
  sources: readonly HubSource[],
  settings: HubSettings,
  options: { remove?: boolean; signal?: AbortSignal | undefined; onProgress?: ((done: number, total: number) => unknown) | undefined } = {},
): Promise<VerifiedFile[]> {
  const files = await toVerify(sources, settings)
  const sizes = await Promise.all(files.map(({ repo, commit, name }) => sizeOf(snapshotFile(repo.paths, commit, name))))
  const total = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0)
  const seen = new Map<string, VerifiedFile['state']>()
  const trees = new Map<string, Awaited<ReturnType<typeof readTree>>>()
  const results: VerifiedFile[] = []
  let done = 0
  for (const [i, { repo, commit, name }] of files.entries()) {
    const file = snapshotFile(repo.paths, commit, name)
    const place = `${repo.paths.root} ${commit}`
    if (!trees.has(place)) trees.set(place, await readTree(repo.paths, commit))
    const expected = await expectedHash(file, trees.get(place)?.get(name))
    const content = await realpath(file).catch(() => file)
    const state =
      seen.get(content) ??
      (await hashState(file, sizes[i], expected, { signal: options.signal, onBytes: (bytes) => options.onProgress?.((done += bytes), total) }))
    seen.set(content, state)
    if (state === 'damaged' && options.remove) await removeDamaged(file)
    results.push({ source: repo.source, commit, file: name, state, bytes: sizes[i] ?? 0 })
  }
  return results
}

async function hashState(
  file: string,
  size: number | undefined,
  expected: Awaited<ReturnType<typeof expectedHash>>,
  hooks: { signal: AbortSignal | undefined; onBytes: (bytes: number) => unknown },
): Promise<VerifiedFile['state']> {
  if (size === undefined) return 'missing'
  if (!expected) return 'unknown'
  const hash = startHash(expected.algorithm, size)
  await hashFile(hash, file, hooks)
  return hash.digest('hex') === expected.hash ? 'ok' : 'damaged'
}

/** The entry in the snapshot and its blob. A blob that is itself a link points to the store that Python's library shares among models, which is not touched. */
async function removeDamaged(file: string): Promise<void> {
  const blob = await linkTarget(file)
  await rm(file, { force: true })
  if (blob !== undefined) await rm(blob, { force: true })
}

// ---- deleting --------------------------------------------------------------------------------------------------------

async function refuseBusy({ paths, source }: Repo): Promise<void> {
  for (const name of await readdir(paths.locks).catch(() => [] as string[])) {
    if (name.endsWith('.latent.lock') && (await isHeld(path.join(paths.locks, name))))
      throw new DiffusionError('ERR_BUSY', `${source} is being downloaded by another process; wait for it or stop it first`, { source })
  }
}

/** Blobs that only the snapshot `commit` links to. */
async function ownBlobs(paths: RepoPaths, commit: string, others: readonly string[]): Promise<string[]> {
  const targets = async (each: string) => {
    const names = await snapshotFiles(paths, each)
    return Promise.all(names.map((name) => linkTarget(snapshotFile(paths, each, name))))
  }
  const kept = new Set((await Promise.all(others.map(targets))).flat())
  return (await targets(commit)).filter((blob): blob is string => blob !== undefined && path.dirname(blob) === paths.blobs && !kept.has(blob))
}

/** Deletes one revision: references first, so that nothing points to missing files. */
async function removeRevision(paths: RepoPaths, commit: string): Promise<void> {
  const others = (await subfolders(paths.snapshots)).filter((each) => each !== commit)
  const blobs = await ownBlobs(paths, commit, others)
  for (const { file, commit: target } of await refsOf(paths)) if (target === commit) await rm(file, { force: true })
  await rm(path.join(paths.snapshots, commit), { recursive: true, force: true, maxRetries: 3 })
  for (const blob of blobs) await rm(blob, { force: true })
  await rm(path.join(paths.root, 'trees', `${commit}.json`), { force: true })
}

async function removeRepo({ root, refs, snapshots, locks }: RepoPaths): Promise<void> {
  for (const folder of [refs, snapshots, root, locks]) await rm(folder, { recursive: true, force: true, maxRetries: 3 })
}

/** Deletes a model, or one revision of it; returns the freed bytes. */
export async function removeFromCache(source: HubSource, settings: HubSettings): Promise<number> {
  const { repo, commits, whole } = await chosen(source, settings)
  const { paths } = repo
  await refuseBusy(repo)
  const used = async () => ((await isThere(paths.root)) ? (await bytesOnDisk(paths, await subfolders(paths.snapshots))).bytes : 0)
  const before = await used()
  if (whole || (await subfolders(paths.snapshots)).length <= 1) await removeRepo(paths)
  else for (const commit of commits) await removeRevision(paths, commit)
  return before - (await used())
}

/** Deletes partial files of interrupted downloads that no process is continuing; returns the freed bytes. */
export async function removeIncomplete(settings: HubSettings): Promise<number> {
  let bytes = 0
  for (const { paths } of await repos(settings)) {
    for (const name of await readdir(paths.blobs).catch(() => [] as string[])) {
      if (!isPartial(name) || (await isHeld(path.join(paths.locks, `${name.split('.')[0]}.latent.lock`)))) continue
      const file = path.join(paths.blobs, name)
      bytes += (await sizeOf(file)) ?? 0
      await rm(file, { force: true })
    }
  }
  return bytes
}
