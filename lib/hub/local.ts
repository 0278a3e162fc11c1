/** Models in the cache: found without network access, and only if they are complete for the loader. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { sizeOf } from './blob.js'
import { isInPlace, readRef, readTree, repoPaths, snapshotFile, snapshotFiles, type KnownFile, type RepoPaths } from './cache.js'
import { DownloadError } from './errors.js'
import { pinned } from './pins.js'
import { isWeights, largestIndex, selectFiles, shardsOf, type Role, type Selection, type Wanted } from './selection.js'
import type { HubSettings } from './settings.js'
import { readSmall } from './small-file.js'
import type { HubSource } from './source.js'

/** A model in the cache. */
export interface Local {
  commit: string
  /** Folder or file for the loader. */
  location: string
}

/** One snapshot, with what is known about it. */
interface Snapshot {
  paths: RepoPaths
  commit: string
  present: string[]
  tree: Map<string, KnownFile> | undefined
}

async function openSnapshot(given: HubSource, settings: HubSettings): Promise<Snapshot | undefined> {
  const source = await pinned(given, settings.lockFile)
  const paths = repoPaths(source, settings)
  const commit = await readRef(paths, source.revision)
  if (commit === undefined) return undefined
  const isFolder = await stat(path.join(paths.snapshots, commit)).then(
    (status) => status.isDirectory(),
    () => false,
  )
  if (!isFolder) return undefined
  const tree = await readTree(paths, commit)
  const names = await snapshotFiles(paths, commit)
  const good = await Promise.all(names.map((name) => isGood({ paths, commit, tree }, name)))
  return { paths, commit, tree, present: names.filter((_, i) => good[i]) }
}

/** A broken link or a file of the wrong size counts as missing. */
async function isGood({ paths, commit, tree }: Omit<Snapshot, 'present'>, name: string): Promise<boolean> {
  const file = snapshotFile(paths, commit, name)
  const known = tree?.get(name)
  return known ? isInPlace(file, known) : (await sizeOf(file)) !== undefined
}

/** Selected files that are missing: shards by their lists, everything else by name. */
async function absent({ paths, commit, present }: Snapshot, selection: Selection, wanted: Wanted): Promise<string[]> {
  const have = new Set(present)
  const missing = selection.files.filter((name) => !have.has(name))
  for (const index of selection.indexes.filter((name) => have.has(name))) {
    const shards = shardsOf(index, (await readSmall(snapshotFile(paths, commit, index), largestIndex)) ?? '', wanted)
    missing.push(...shards.filter((name) => !have.has(name)))
  }
  return missing
}

/** Parts that a diffusers model names and that the loader reads. */
const folders: Record<string, readonly Role[]> = {
  unet: ['model'],
  vae: ['model', 'firstStage'],
  vqvae: ['model', 'firstStage'],
  text_encoder: ['model'],
  text_encoder_2: ['model'],
  bert: ['model'],
  tokenizer: ['model'],
  scheduler: ['model'],
}

/** Without a list of files, the parts named in model_index.json must exist. */
async function namedButAbsent({ paths, commit, present }: Snapshot, { inner, role }: Wanted): Promise<string[]> {
  const index = inner === '' ? 'model_index.json' : `${inner}/model_index.json`
  if (!present.includes(index)) return []
  let parts: Record<string, unknown>
  try {
    parts = JSON.parse((await readSmall(snapshotFile(paths, commit, index), largestIndex)) ?? '') as Record<string, unknown>
  } catch {
    return [index]
  }
  const base = inner === '' ? '' : `${inner}/`
  return Object.entries(parts ?? {})
    .filter(([name, value]) => Object.hasOwn(folders, name) && folders[name]!.includes(role) && Array.isArray(value) && value[1] !== null)
    .map(([name]) => name)
    .filter((name) => !present.some((file) => file.startsWith(`${base}${name}/`)))
}

/** The missing files of a model in a snapshot; the selection is made from the repository's list of files, if known. */
async function look(
  snapshot: Snapshot,
  wanted: Wanted,
  tree: ReadonlyMap<string, KnownFile> | undefined,
): Promise<{ selection: Selection; missing: string[] }> {
  const selection = selectFiles(tree?.keys() ?? snapshot.present, wanted)
  const missing = await absent(snapshot, selection, wanted)
  return { selection, missing: tree ? missing : [...missing, ...(await namedButAbsent(snapshot, wanted))] }
}

/** The selection at download time is not stored; for a Civitai version, the existing file is used. */
function wantedOf(source: HubSource, role: Role, variant: string | undefined): Wanted {
  return { ...source, role, variant }
}

function isChoice(error: unknown): boolean {
  return error instanceof DownloadError && ['choice', 'not_found', 'bad_answer'].includes(error.reason)
}

/** The model in the cache; undefined if it is missing or incomplete. */
export async function findLocal(source: HubSource, role: Role, settings: HubSettings): Promise<Local | undefined> {
  const snapshot = await openSnapshot(source, settings)
  if (!snapshot || snapshot.present.length === 0) return undefined
  const { paths, commit, present, tree } = snapshot
  const found = (selection: Selection): Local => ({ commit, location: snapshotFile(paths, commit, selection.entry) })
  const { variant } = settings
  const wanted = wantedOf(source, role, variant)
  try {
    if (tree && source.site === 'hf') {
      const { selection, missing } = await look(snapshot, wanted, tree)
      if (missing.length === 0) return found(selection)
      // A downloaded variant is also used if the caller requests none; databases have no variants.
      if (variant !== undefined || role === 'database' || !present.some(isWeights)) return undefined
    }
    const { selection, missing } = await look(snapshot, wanted, undefined)
    return missing.length === 0 && (!tree || completeWithout(selection, tree, present, wanted)) ? found(selection) : undefined
  } catch (error) {
    if (isChoice(error)) return undefined
    throw error
  }
}

/** If the list is known: everything except the weights of other variants must exist, and a single file must be the one that the list selects. */
function completeWithout(selection: Selection, tree: ReadonlyMap<string, KnownFile>, present: readonly string[], wanted: Wanted): boolean {
  if (wanted.name.startsWith('civitai:')) return true
  const whole = selectFiles(tree.keys(), wanted)
  if (whole.entry !== selection.entry) return false
  const folderOf = (name: string) => name.slice(0, name.lastIndexOf('/') + 1)
  const isData = (name: string) => isWeights(name) || whole.indexes.includes(name)
  return whole.files.every((name) =>
    isData(name) ? selection.files.some((other) => isWeights(other) && folderOf(other) === folderOf(name)) : present.includes(name),
  )
}
