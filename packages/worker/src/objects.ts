/** Objects by the hash of their contents: keys, and the interface of stores. */
import { createHash } from 'node:crypto'
import { QueueError } from './errors.js'

/**
 * A store of files by content: the key is the SHA-256 of the bytes and an ending, as in `2c26…7ae.png`. Putting the same bytes again is no error, so a job that
 * is run twice leaves one object.
 */
export interface ObjectStore {
  /**
   * `signal` ends the writing.
   * @returns the key
   * @throws QueueError `ERR_STORE` if the store cannot be written, the reason of the signal
   */
  put(bytes: Uint8Array, signal?: AbortSignal): Promise<string>
  /**
   * `signal` ends the reading.
   * @throws QueueError `ERR_OBJECT_MISSING` if it does not exist or is damaged, `ERR_STORE` if the store cannot be read, the reason of the signal
   */
  get(key: string, signal?: AbortSignal): Promise<Uint8Array>
  /** Deletes what was neither written nor read for this many milliseconds; absent if the store expires objects by itself. */
  prune?(unusedMs: number): Promise<number>
}

/** Bytes of an object; larger ones are refused. */
export const maxObjectBytes = 256 * 2 ** 20

function endingOf(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(12, bytes.byteLength)).toString('latin1')
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'png'
  if (head.startsWith('\xff\xd8\xff')) return 'jpg'
  if (/^RIFF....WEBP/s.test(head)) return 'webp'
  return 'bin'
}

export const types: Readonly<Record<string, string>> = { png: 'image/png', jpg: 'image/jpeg', webp: 'image/webp', bin: 'application/octet-stream' }

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

export function keyOf(bytes: Uint8Array): string {
  if (bytes.byteLength > maxObjectBytes) throw new QueueError('ERR_STORE', `An object has ${bytes.byteLength} bytes; the limit is ${maxObjectBytes}`)
  return `${hashOf(bytes)}.${endingOf(bytes)}`
}

/** The SHA-256 in a key. @throws QueueError `ERR_OBJECT_MISSING` if it is not a key of a store */
export function hashInKey(key: unknown): string {
  const [, hash] = typeof key === 'string' ? (/^([0-9a-f]{64})\.(png|jpg|webp|bin)$/.exec(key) ?? []) : []
  if (hash === undefined) throw new QueueError('ERR_OBJECT_MISSING', `'${String(key).slice(0, 100)}' is not a key of an object store`)
  return hash
}

/** Checks bytes against their key. */
export function verified(bytes: Uint8Array, key: string): Uint8Array {
  if (hashOf(bytes) !== hashInKey(key)) throw new QueueError('ERR_OBJECT_MISSING', `The object ${key} is damaged: its contents have another hash`)
  return bytes
}
