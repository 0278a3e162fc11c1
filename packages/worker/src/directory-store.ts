/** Objects as files of a folder: in 256 folders by the first two digits of the hash. */
import { randomUUID } from 'node:crypto'
import { constants, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import path from 'node:path'
import { QueueError } from './errors.js'
import { hashInKey, keyOf, maxObjectBytes, verified, type ObjectStore } from './objects.js'

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code

function failure(doing: string, error: unknown): QueueError {
  return new QueueError('ERR_STORE', `The object store cannot be ${doing}: ${(error as Error).message}`, { retriable: true, cause: error })
}

/** A folder, on one machine or shared by all (NFS, EFS, SMB). */
export class DirectoryStore implements ObjectStore {
  readonly #root: string

  constructor(directory: string) {
    if (typeof directory !== 'string' || directory === '') throw new TypeError('store: directory must be the path of a folder')
    this.#root = path.resolve(directory)
  }

  async put(bytes: Uint8Array, signal?: AbortSignal): Promise<string> {
    const key = keyOf(bytes)
    const file = this.#fileOf(key)
    signal?.throwIfAborted()
    try {
      if (await this.#touch(file, bytes.byteLength)) return key
      await mkdir(path.dirname(file), { recursive: true })
      await writeWhole(file, bytes, signal)
      return key
    } catch (error) {
      signal?.throwIfAborted()
      throw failure('written', error)
    }
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    const file = this.#fileOf(key)
    let bytes: Uint8Array
    try {
      bytes = await readWhole(file, signal)
      await this.#touch(file, bytes.byteLength).catch(() => false) // its age counts from the last use; the folder may be read-only
    } catch (error) {
      signal?.throwIfAborted()
      if (codeOf(error) === 'ENOENT') throw new QueueError('ERR_OBJECT_MISSING', `There is no object ${key}; objects are deleted after some time`)
      throw failure('read', error)
    }
    return verified(bytes, key)
  }

  async prune(unusedMs: number): Promise<number> {
    const before = Date.now() - unusedMs
    let count = 0
    for (const folder of await readdir(this.#root).catch(() => [])) {
      if (!/^[0-9a-f]{2}$/.test(folder)) continue
      for (const name of await readdir(path.join(this.#root, folder)).catch(() => [])) {
        if (!/^[0-9a-f]{64}\./.test(name)) continue
        const file = path.join(this.#root, folder, name)
        const status = await stat(file).catch(() => undefined) // another machine may delete it meanwhile
        if (!status || status.mtimeMs >= before) continue
        await rm(file, { force: true }).catch(() => {})
        count++
      }
    }
    return count
  }

  #fileOf(key: string): string {
    return path.join(this.#root, hashInKey(key).slice(0, 2), key)
  }

  /** Whether a whole file is there; if so, it counts as used now. */
  async #touch(file: string, size: number): Promise<boolean> {
    try {
      if ((await stat(file)).size !== size) return false
      const now = new Date()
      await utimes(file, now, now).catch((error: unknown) => {
        if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'EACCES') throw error // a file of another user; its age counts from its last writing
      })
      return true
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false
      throw error
    }
  }
}

/** Under another name first, so that nobody reads half a file. */
async function writeWhole(file: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  const part = `${file}.${randomUUID()}.part`
  try {
    const handle = await open(part, 'wx')
    try {
      await handle.writeFile(bytes, signal ? { signal } : {})
      await handle.sync()
    } finally {
      await handle.close()
    }
    signal?.throwIfAborted()
    await rename(part, file)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
}

async function readWhole(file: string, signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted()
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)) // a named pipe must not block
  try {
    const status = await handle.stat()
    if (!status.isFile() || status.size > maxObjectBytes) throw new Error(`${path.basename(file)} is not a file of at most ${maxObjectBytes} bytes`)
    return await handle.readFile(signal ? { signal } : {})
  } finally {
    await handle.close()
  }
}
