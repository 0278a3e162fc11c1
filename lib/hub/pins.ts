/** `latent.lock.json` pins the commit and the file hashes of models, for reproducible results. */
import path from 'node:path'
import { ModelFormatError } from '../errors.js'
import { readTextIfAny, type FileKind } from '../files/regular-file.js'
import { writeWhole } from './cache.js'
import { DownloadError } from './errors.js'
import { isHash, type Listing, type RemoteFile } from './listing.js'
import { acquire } from './lock.js'
import type { HubSource } from './source.js'

const pinsFile: FileKind = {
  what: 'The list of pinned models',
  maxBytes: 16 << 20,
  refuse: (message, details) => new ModelFormatError(message, details),
}

interface Pin {
  commit: string
  /** Hashes of the downloaded files. */
  files: Record<string, string>
}

interface Pins {
  version: 1
  models: Record<string, Pin>
}

function isPin(value: unknown): value is Pin {
  const { commit, files } = (value ?? {}) as Partial<Pin>
  return (
    typeof commit === 'string' &&
    /^[\w-][\w.-]{0,127}$/.test(commit) &&
    typeof files === 'object' &&
    files !== null &&
    Object.values(files).every((hash) => isHash(hash, 'sha256') || isHash(hash, 'git-sha1'))
  )
}

async function readPins(file: string): Promise<Pins> {
  const text = await readTextIfAny(file, pinsFile)
  if (text === undefined) return { version: 1, models: {} }
  try {
    const json = JSON.parse(text) as Partial<Pins>
    if (json.version === 1 && typeof json.models === 'object' && json.models !== null && Object.values(json.models).every(isPin)) return json as Pins
  } catch {
    // Said below.
  }
  throw new ModelFormatError(`${file} is not a list of pinned models of this version; delete it to create a new one`, { path: file })
}

/** The source at its pinned commit. Names with their own commit are unchanged. */
export async function pinned(source: HubSource, file: string | undefined): Promise<HubSource> {
  if (file === undefined) return source
  const { models } = await readPins(file)
  const pin = Object.hasOwn(models, source.name) ? models[source.name] : undefined
  return pin ? { ...source, revision: pin.commit } : source
}

/** Adds the downloaded files, or checks them against the pins. */
export async function pin(file: string | undefined, { source, commit }: Listing, files: readonly RemoteFile[]): Promise<void> {
  if (file === undefined) return
  const lock = await acquire(path.join(path.dirname(file), `.${path.basename(file)}.lock`))
  try {
    const pins = await readPins(file)
    const before = Object.hasOwn(pins.models, source.name) ? pins.models[source.name] : undefined
    const known = before?.commit === commit ? before.files : {}
    for (const { path: name, hash } of files) {
      if (Object.hasOwn(known, name) && known[name] !== hash)
        throw new DownloadError('integrity', `${source.name} ${name} has the hash ${hash}, but ${file} pins it to ${known[name]}`, {
          source: source.name,
          file: name,
        })
    }
    const all = { ...known, ...Object.fromEntries(files.map(({ path: name, hash }) => [name, hash])) }
    const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)))
    const models = Object.fromEntries(
      Object.entries({ ...pins.models, [source.name]: { commit, files: sorted } }).sort(([a], [b]) => (a < b ? -1 : 1)),
    )
    const text = `${JSON.stringify({ version: 1, models }, null, 2)}\n`
    if ((await readTextIfAny(file, pinsFile)) !== text) await writeWhole(file, text)
  } finally {
    await lock.release()
  }
}
