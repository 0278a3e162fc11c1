/** A checkpoint inside an outer zip, as the original models were published (model.zip holding model.ckpt): unpacked to a temporary file. */
import { createWriteStream, rmSync } from 'node:fs'
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Entry } from 'yauzl'
import { DiffusionError, ModelFormatError } from '../errors.js'
import { isSystemError } from '../files/regular-file.js'
import { ZipArchive } from '../files/zip-file.js'
import { parseConfig } from './config-file.js'

const modelExtensions = /\.(ckpt|pt|pth|bin|safetensors|gguf)$/i
const configExtensions = /\.ya?ml$/i
const maxEntries = 10_000
const maxConfigBytes = 1 << 20
/** Far larger than any published checkpoint. */
const maxModelBytes = 64 * 2 ** 30
const maxArchiveBytes = 2 * maxModelBytes
const folderPrefix = 'latent-unpacked-'
const abandonedMs = 3_600_000

/** Temporary folders in use, removed at exit at the latest; those of killed processes and terminated workers by a later one. */
const folders = new Set<string>()
let exitHooked = false

function removeAtExit(folder: string): void {
  folders.add(folder)
  if (exitHooked) return
  exitHooked = true
  process.once('exit', () => {
    for (const left of folders) rmSync(left, { recursive: true, force: true })
  })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Whether a process may still use its folders. Our own other threads do so until the model is loaded or converted; on Windows as long as it is in use. */
function isUsedBy(pid: number): boolean {
  return pid === process.pid ? process.platform === 'win32' : isAlive(pid)
}

/** When a folder or a file in it was last written, in milliseconds; undefined if it is no folder of this user, or is gone. */
async function lastWritten(folder: string): Promise<number | undefined> {
  const status = await lstat(folder).catch(() => undefined)
  if (!status?.isDirectory()) return undefined
  if (process.getuid && status.uid !== process.getuid()) return undefined // another user's
  const names = await readdir(folder).catch(() => [])
  const files = await Promise.all(names.slice(0, 2).map((name) => lstat(path.join(folder, name)).catch(() => undefined)))
  return Math.max(status.mtimeMs, ...files.map((file) => file?.mtimeMs ?? 0))
}

/**
 * Removes the folders of killed processes and terminated workers, if nothing has been written there for an hour: the process may be in another container that
 * shares the temporary folder.
 */
async function removeAbandoned(): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => [])
  for (const name of names) {
    const pid = new RegExp(`^${folderPrefix}(\\d{1,10})-\\w+$`).exec(name)?.[1]
    const left = path.join(tmpdir(), name)
    if (pid === undefined || folders.has(left) || isUsedBy(Number(pid))) continue
    const written = await lastWritten(left)
    if (written === undefined || Date.now() - written < abandonedMs) continue
    // In use: keep it.
    await rm(left, { recursive: true, force: true }).catch(() => undefined)
  }
}

/** The contents of the zip. */
export interface Unpacked {
  file: string
  config: Record<string, unknown> | undefined
  /** Deletes the temporary file. */
  dispose(): Promise<void>
}

/** Passes at most `limit` bytes, whatever the archive claims. */
function bounded(limit: number): Transform {
  let seen = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen += chunk.length
      done(seen > limit ? new ModelFormatError('the archive contains more than it declares') : null, chunk)
    },
  })
}

async function readText(zip: ZipArchive, entry: Entry): Promise<string> {
  const chunks: Buffer[] = []
  const source = await zip.stream(entry)
  await pipeline(source, bounded(maxConfigBytes), async (input: AsyncIterable<Buffer>) => {
    for await (const chunk of input) chunks.push(chunk)
  })
  return Buffer.concat(chunks).toString('utf8')
}

function chooseModel(entries: Entry[], file: string): Entry {
  const models = entries.filter((entry) => modelExtensions.test(entry.fileName) && !entry.fileName.startsWith('__MACOSX/'))
  if (models.length !== 1) {
    const found =
      models.length === 0
        ? 'contains no checkpoint'
        : `contains ${models.length} checkpoints (${models
            .slice(0, 4)
            .map((entry) => entry.fileName)
            .join(', ')})`
    throw new ModelFormatError(`${file} is an archive that ${found}; unpack it and pass the file you want`)
  }
  const model = models[0]!
  if (model.uncompressedSize > maxModelBytes)
    throw new ModelFormatError(`${file}: ${model.fileName} declares ${model.uncompressedSize} bytes; the limit is ${maxModelBytes}`)
  return model
}

/** Unpacks the only checkpoint of an archive, and its configuration. File names from the archive are not used for writing. */
export async function unpackOuterZip(file: string, signal?: AbortSignal): Promise<Unpacked> {
  let zip: ZipArchive | undefined
  let folder: string | undefined
  try {
    const refuse = (message: string) => new ModelFormatError(message, { path: file })
    zip = await ZipArchive.open(file, { what: '', maxBytes: maxArchiveBytes, refuse })
    const entries = await zip.list(maxEntries, (what) => refuse(`${file} is an archive with ${what}`))
    const model = chooseModel(entries, file)
    const configEntry = entries.find((entry) => configExtensions.test(entry.fileName) && entry.uncompressedSize <= maxConfigBytes)
    const config = configEntry ? parseConfig(await readText(zip, configEntry), `${file}: ${configEntry.fileName}`) : undefined
    await removeAbandoned()
    folder = await mkdtemp(path.join(tmpdir(), `${folderPrefix}${process.pid}-`))
    removeAtExit(folder)
    const target = path.join(folder, `model${path.extname(model.fileName).toLowerCase()}`)
    await pipeline(await zip.stream(model), bounded(model.uncompressedSize), createWriteStream(target), { signal })
    const made = folder
    return { file: target, config: config && 'model' in config ? config : undefined, dispose: () => remove(made) }
  } catch (error) {
    if (folder) await remove(folder)
    signal?.throwIfAborted()
    if (error instanceof DiffusionError || isSystemError(error)) throw error
    throw new ModelFormatError(`${file} cannot be unpacked: ${(error as Error).message}`)
  } finally {
    await zip?.close()
  }
}

async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  folders.delete(folder)
}
