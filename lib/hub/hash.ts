/** The hashes that sites publish: SHA-256 of the bytes, or git's blob hash. */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { RemoteFile } from './listing.js'

/** An incremental hash. `size`: of the whole file, which is part of git's hash. */
export function startHash(algorithm: RemoteFile['algorithm'], size: number): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}

/** Adds the first `bytes` of a file. */
export async function hashFile(
  hash: Hash,
  file: string,
  options: { bytes?: number; signal?: AbortSignal | undefined; onBytes?: (bytes: number) => unknown } = {},
): Promise<void> {
  const { bytes, signal, onBytes } = options
  if (bytes === 0) return
  const stream = createReadStream(file, { highWaterMark: 1 << 20, ...(bytes === undefined ? {} : { end: bytes - 1 }) })
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    signal?.throwIfAborted()
    hash.update(chunk)
    onBytes?.(chunk.length)
  }
}
