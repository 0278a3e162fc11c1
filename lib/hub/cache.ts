/** The cache on disk, as Python's `huggingface_hub` lays it out: blobs by hash, snapshots of links to them by commit, branches as small files. */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, lstat, mkdir, readdir, readlink, rename, rm, statfs, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { hasSize } from './blob.js'
import { algorithmOf, isHash, isSize, limits, type Listing, type RemoteFile } from './listing.js'
import type { HubSettings } from './settings.js'
import { readSmall } from './small-file.js'
import type { HubSource } from './source.js'

/** Paths of one repository. */
export interface RepoPaths {
  root: string
  blobs: string
  snapshots: string
  refs: string
  locks: string
}

export function repoPaths(
  { site, repo }: Pick<HubSource, 'site' | 'repo'>,
  { cacheDir, civitaiDir }: Pick<HubSettings, 'cacheDir' | 'civitaiDir'>,
): RepoPaths {
  const cache = site === 'hf' ? cacheDir : civitaiDir
  const name = site === 'hf' ? `models--${repo.replace('/', '--')}` : `civitai--${repo}`
  return pathsUnder(cache, name)
}

export function pathsUnder(cache: string, name: string): RepoPaths {
  const root = path.join(cache, name)
  const inside = (folder: string) => path.join(root, folder)
  return { root, blobs: inside('blobs'), snapshots: inside('snapshots'), refs: inside('refs'), locks: path.join(cache, '.locks', name) }
}

/** The repository of a folder of the cache; undefined for other folders. */
export function repoOfFolder(name: string): Pick<HubSource, 'site' | 'repo'> | undefined {
  const hub = /^models--([\w.-]+?)--([\w.-]+)$/.exec(name)
  if (hub) return { site: 'hf', repo: `${hub[1]}/${hub[2]}` }
  const civitai = /^civitai--(\d+)$/.exec(name)
  return civitai ? { site: 'civitai', repo: civitai[1]! } : undefined
}

/** Writes a file atomically. */
export async function writeWhole(file: string, content: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true })
  const draft = `${file}.${randomBytes(4).toString('hex')}.tmp`
  try {
    await writeFile(draft, content)
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

/** The commit that a branch or tag pointed to when it was downloaded; other names may be commits. */
export async function readRef(paths: RepoPaths, revision: string): Promise<string | undefined> {
  const text = (await readSmall(path.join(paths.refs, ...revision.split('/'))))?.trim() ?? revision
  // Must be the name of a folder inside.
  return /^[\w-][\w.-]{0,127}$/.test(text) ? text : undefined
}

export async function writeRef(paths: RepoPaths, revision: string, commit: string): Promise<void> {
  if (revision === commit) return
  const file = path.join(paths.refs, ...revision.split('/'))
  if ((await readSmall(file)) !== commit) await writeWhole(file, commit)
}

// ---- lists of files --------------------------------------------------------------------------------------------------

function treeFile(paths: RepoPaths, commit: string): string {
  return path.join(paths.root, 'trees', `${commit}.json`)
}

/** Stores the list of files of a commit where Python's library (1.32 and newer) looks for it. */
export async function writeTree(paths: RepoPaths, { commit, files }: Listing): Promise<void> {
  const sorted = [...files.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  const entries = sorted.map(({ path: name, size, hash, algorithm, git }) => [
    name,
    {
      size,
      blob_id: git?.blobId ?? '',
      ...(algorithm === 'sha256' ? { lfs_sha256: hash, lfs_size: size } : {}),
      ...(git?.xetHash ? { xet_hash: git.xetHash } : {}),
    },
  ])
  await writeWhole(treeFile(paths, commit), JSON.stringify({ format_version: 1, files: Object.fromEntries(entries) as unknown }, null, 1))
}

/** What is known about a file of a commit. */
export type KnownFile = Pick<RemoteFile, 'size' | 'hash' | 'algorithm' | 'exact'>

/** The stored list of files of a commit; undefined if there is no readable one. */
export async function readTree(paths: RepoPaths, commit: string): Promise<Map<string, KnownFile> | undefined> {
  try {
    const json = JSON.parse((await readSmall(treeFile(paths, commit), limits.answer)) ?? '') as { format_version?: unknown; files?: unknown }
    if (json.format_version !== 1 || typeof json.files !== 'object' || json.files === null) return undefined
    const known = new Map<string, KnownFile>()
    const exact = !path.basename(paths.root).startsWith('civitai--')
    for (const [name, entry] of Object.entries(json.files as Record<string, Record<string, unknown> | null>)) {
      const algorithm = entry?.lfs_sha256 === undefined ? 'git-sha1' : 'sha256'
      const hash = entry?.lfs_sha256 ?? entry?.blob_id
      const size = entry?.lfs_size ?? entry?.size
      if (isHash(hash, algorithm) && isSize(size)) known.set(name, { size, hash, algorithm, exact })
    }
    return known
  } catch {
    return undefined
  }
}

// ---- snapshots -------------------------------------------------------------------------------------------------------

/** The path of a file of a commit. */
export function snapshotFile(paths: RepoPaths, commit: string, name: string): string {
  return path.join(paths.snapshots, commit, ...name.split('/').filter((part) => part !== ''))
}

/** The readable files of a snapshot, by path in the repository. */
export async function snapshotFiles(paths: RepoPaths, commit: string): Promise<string[]> {
  const root = path.join(paths.snapshots, commit)
  const found: string[] = []
  const walk = async (folder: string, prefix: string, depth: number): Promise<void> => {
    if (depth > 16) return
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      const name = `${prefix}${entry.name}`
      if (entry.isDirectory()) await walk(path.join(folder, entry.name), `${name}/`, depth + 1)
      else if (!entry.name.endsWith('.tmp')) found.push(name)
    }
  }
  await walk(root, '', 0)
  return found.sort()
}

/** The expected hash of a file in a snapshot: the name of its blob, or the one in the list. */
export async function expectedHash(file: string, known: KnownFile | undefined): Promise<Pick<RemoteFile, 'hash' | 'algorithm'> | undefined> {
  const blob = await linkTarget(file)
  const name = blob === undefined ? undefined : path.basename(blob)
  const algorithm = name === undefined ? undefined : algorithmOf(name)
  return algorithm ? { hash: name!, algorithm } : known
}

/** The direct target of a link; undefined for other files. */
export async function linkTarget(file: string): Promise<string | undefined> {
  return readlink(file).then(
    (target) => path.resolve(path.dirname(file), target),
    () => undefined,
  )
}

/** True if the file of a snapshot exists and is the right one. */
export async function isInPlace(pointer: string, known: KnownFile): Promise<boolean> {
  if (!(await hasSize(pointer, known))) return false
  const target = await linkTarget(pointer)
  return target === undefined || path.basename(target) === known.hash
}

export async function isThere(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  )
}

/** Creates a relative link, as Python does; false if the system does not support it (Windows without developer mode). */
async function link(blob: string, pointer: string): Promise<boolean> {
  const draft = `${pointer}.${randomBytes(4).toString('hex')}.tmp`
  try {
    await symlink(path.relative(path.dirname(pointer), blob), draft, 'file')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (['EPERM', 'EACCES', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'UNKNOWN', 'EINVAL'].includes(code ?? '')) return false
    throw error
  }
  try {
    await rename(draft, pointer)
    return true
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

async function copy(from: string, to: string): Promise<void> {
  const draft = `${to}.${randomBytes(4).toString('hex')}.tmp`
  try {
    await copyFile(from, draft, constants.COPYFILE_FICLONE)
    await rename(draft, to)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

/**
 * Puts one blob into a snapshot under one or more names. Without symbolic links, a newly downloaded blob is moved there, as Python does, and an existing one is
 * copied, because other snapshots may need it.
 */
export async function place(blob: string, pointers: readonly string[], options: { fetched: boolean; symlinks: boolean | undefined }): Promise<void> {
  const left = [...pointers]
  for (const pointer of left) await mkdir(path.dirname(pointer), { recursive: true })
  while (left.length > 0 && options.symlinks !== false && (await link(blob, left[0]!))) left.shift()
  for (const [i, pointer] of left.entries()) {
    if (options.fetched && i === left.length - 1) await rename(blob, pointer)
    else await copy(blob, pointer)
  }
}

/** Free bytes on the disk of `folder`; undefined if unknown. */
export async function freeSpace(folder: string): Promise<number | undefined> {
  try {
    await mkdir(folder, { recursive: true })
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    return undefined
  }
}
