/** Downloads one file into the cache: resumable, hashed while downloading, accepted only if the hash is right. */
import { constants } from 'node:fs'
import { copyFile, mkdir, open, readdir, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises'
import type { Hash } from 'node:crypto'
import path from 'node:path'
import { DownloadError, fileError } from './errors.js'
import { hashFile, startHash } from './hash.js'
import { request, shown, type Answer, type Transport } from './http.js'
import { limits, type RemoteFile } from './listing.js'
import { acquire, type Lock } from './lock.js'
import { retryAfter, withRetries } from './retry.js'
import { readSmall } from './small-file.js'

/** Settings of a download. */
export interface BlobJob {
  transport: Transport
  backoff: number
  /** Folders of blobs and of locks. */
  blobs: string
  locks: string
  /** Called with the number of downloaded bytes at every change; it drops if a download starts over. */
  onBytes: (bytes: number) => unknown
  /** Interprets answers other than 200 and 206 for this site. */
  refuse: (answer: Answer) => Promise<never>
  /** Checks an answer that seems to be the file. */
  check?: (answer: Answer) => void
}

const suffix = '.latent.incomplete'
const worthAnEtag = 1 << 16

/** True for an interrupted download: ours (the name contains the owner) or another tool's. */
export function isPartial(name: string): boolean {
  return name.endsWith('.incomplete') || name.endsWith(`${suffix}.etag`)
}

/** Size of a file, symbolic links followed; undefined if there is none. */
export async function sizeOf(file: string): Promise<number | undefined> {
  return stat(file).then(
    (status) => (status.isFile() ? status.size : undefined),
    () => undefined,
  )
}

/** True if a file of this size exists. */
export async function hasSize(file: string, { size, exact }: Pick<RemoteFile, 'size' | 'exact'>): Promise<boolean> {
  const found = await sizeOf(file)
  return found !== undefined && (!exact || found === size)
}

/** Bytes of the largest partial download of a file. */
export async function partialSize(blobs: string, hash: string): Promise<number> {
  const pieces = await partials(blobs, hash)
  return pieces[0]?.size ?? 0
}

async function partials(blobs: string, hash: string): Promise<{ file: string; size: number }[]> {
  const names = await readdir(blobs).catch(() => [] as string[])
  const own = names.filter((name) => name.startsWith(`${hash}.`) && name.endsWith(suffix)).map((name) => path.join(blobs, name))
  const sized = await Promise.all(own.map(async (file) => ({ file, size: (await sizeOf(file)) ?? 0 })))
  return sized.sort((a, b) => b.size - a.size)
}

async function removePartial(file: string): Promise<void> {
  await Promise.all([rm(file, { force: true }), rm(`${file}.etag`, { force: true })]).catch(() => undefined)
}

/**
 * A partial file that no other process writes to. A partial file left by another process is taken over by renaming it, or copied if its owner may still be
 * alive, so that later writes have no effect.
 */
async function adopt(blobs: string, hash: string, lock: Lock): Promise<string> {
  const own = path.join(blobs, `${hash}.${lock.token}${suffix}`)
  await mkdir(blobs, { recursive: true })
  const [best, ...others] = await partials(blobs, hash)
  if (best) {
    const etag = await readSmall(`${best.file}.etag`)
    if (lock.doubtful) await copyFile(best.file, own, constants.COPYFILE_FICLONE)
    else await rename(best.file, own)
    if (etag !== undefined) await writeFile(`${own}.etag`, etag)
    await Promise.all([best, ...others].map(({ file }) => removePartial(file)))
  }
  return own
}

/** The growing partial file. */
class PartialFile {
  readonly #file: string
  readonly #remote: RemoteFile
  readonly #handle: FileHandle
  #hash: Hash
  bytes = 0
  /** Strong validator of the answer from which the bytes came. */
  etag: string | undefined

  private constructor(file: string, remote: RemoteFile, handle: FileHandle) {
    this.#file = file
    this.#remote = remote
    this.#handle = handle
    this.#hash = startHash(remote.algorithm, remote.size)
  }

  static async open(file: string, remote: RemoteFile, job: BlobJob): Promise<PartialFile> {
    const partial = new PartialFile(file, remote, await open(file, constants.O_RDWR | constants.O_CREAT, 0o666))
    try {
      const { size } = await partial.#handle.stat()
      if (remote.exact && size > remote.size) await partial.restart()
      else {
        let read = 0
        const { signal } = job.transport
        await hashFile(partial.#hash, file, { bytes: size, signal, onBytes: (count) => job.onBytes((read += count)) })
        partial.bytes = size
        partial.etag = await readSmall(`${file}.etag`)
      }
      return partial
    } catch (error) {
      await partial.close()
      throw error
    }
  }

  /** Starts over from the first byte. */
  async restart(): Promise<void> {
    await this.#handle.truncate(0)
    this.#hash = startHash(this.#remote.algorithm, this.#remote.size)
    this.bytes = 0
    this.etag = undefined
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) at += (await this.#handle.write(chunk, at, chunk.length - at, this.bytes + at)).bytesWritten
    this.#hash.update(chunk)
    this.bytes += chunk.length
  }

  /** Stores a strong validator, so that a download is only resumed with the same file. Not worth it for small files. */
  async keepEtag(etag: string | null): Promise<void> {
    this.etag = etag !== null && /^"[\x21\x23-\x7e]{1,200}"$/.test(etag) ? etag : undefined
    if (this.#remote.size < worthAnEtag) return
    if (this.etag === undefined) await rm(`${this.#file}.etag`, { force: true })
    else await writeFile(`${this.#file}.etag`, this.etag)
  }

  /** The hash of the current contents; call only once. */
  digest(): string {
    return this.#hash.digest('hex')
  }

  async sync(): Promise<void> {
    await this.#handle.datasync()
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

function bad(answer: Answer, why: string, retriable = true): DownloadError {
  return new DownloadError('bad_answer', `${shown(answer.url)} ${why}`, { url: shown(answer.url), status: answer.status }, { retriable })
}

/** Size of the whole file, according to the answer. */
function declaredSize({ status, headers }: Answer): number | undefined {
  const text = status === 206 || status === 416 ? /\/(\d{1,15})$/.exec(headers.get('content-range') ?? '')?.[1] : headers.get('content-length')
  return text && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

function isPage({ path: name }: RemoteFile): boolean {
  return /\.x?html?$/i.test(name)
}

function webPage(answer: Answer): DownloadError {
  return bad(answer, 'sent a web page instead of the file, such as a login page', false)
}

/** Web pages may have other content types, too. */
function looksLikePage(chunk: Uint8Array): boolean {
  return /^\s*<(!doctype html|html|head)[\s>]/i.test(Buffer.from(chunk.subarray(0, 64)).toString('latin1'))
}

/** Rejects answers that cannot be the file before writing anything. */
function checkHead(answer: Answer, remote: RemoteFile, from: number): void {
  const { headers, status } = answer
  const encoding = headers.get('content-encoding')
  if (encoding && encoding !== 'identity') throw bad(answer, `sent the file compressed (${encoding}), which was not requested`)
  if (/^\s*(text\/html|application\/xhtml)/i.test(headers.get('content-type') ?? '') && !isPage(remote)) throw webPage(answer)
  if (status === 206 && Number(/^bytes (\d{1,15})-/.exec(headers.get('content-range') ?? '')?.[1] ?? NaN) !== from)
    throw bad(answer, `sent another part of the file than requested (${headers.get('content-range') ?? 'no Content-Range'})`)
  const size = declaredSize(answer)
  if (size === undefined) return
  if (remote.exact ? size !== remote.size : size > limits.file || Math.abs(size - remote.size) > 1024 + remote.size / 1000)
    throw bad(answer, `reports ${size} bytes for the file, not ${remote.size}`)
}

/** Most bytes accepted of a body; allows some margin for a rounded size. */
function bound({ size, exact }: RemoteFile): number {
  return exact ? size : Math.ceil(size + 1024 + size / 1000)
}

/** One request for the missing bytes. Returns when the body has ended or the file is complete. */
async function receive(partial: PartialFile, remote: RemoteFile, job: BlobJob): Promise<void> {
  const from = partial.bytes
  const range = from > 0 ? { range: `bytes=${from}-`, ...(partial.etag ? { 'if-range': partial.etag } : {}) } : {}
  const answer = await request(remote.url, range, job.transport)
  try {
    if (answer.status === 416 && from > 0) {
      // The file is complete, or the bytes belong to another file: the hash will tell.
      if (remote.exact || declaredSize(answer) !== from) await partial.restart()
      if (partial.bytes === 0) throw bad(answer, 'refuses to send the rest of the file')
      return
    }
    if (answer.status !== 200 && answer.status !== 206) await job.refuse(answer)
    job.check?.(answer)
    if (answer.status === 206 && from === 0) throw bad(answer, 'sent only a part of the file')
    checkHead(answer, remote, from)
    if (answer.status === 200 && from > 0) await partial.restart()
    await partial.keepEtag(answer.headers.get('etag'))
    const most = bound(remote)
    const ends = answer.headers.get('content-length') !== null
    for await (const chunk of answer.body()) {
      if (partial.bytes === 0 && looksLikePage(chunk) && !isPage(remote)) throw webPage(answer)
      await partial.append(chunk.length > most - partial.bytes ? chunk.subarray(0, most - partial.bytes) : chunk)
      job.onBytes(partial.bytes)
      if (partial.bytes < most) continue
      if (!remote.exact) throw bad(answer, 'sent more bytes than the file has')
      // With a length the body ends here, and the connection can be reused. Without one it may not end.
      if (!ends) break
    }
  } finally {
    answer.cancel()
  }
  const size = remote.exact ? remote.size : (declaredSize(answer) ?? 0)
  if (partial.bytes < size) {
    const message = `${answer.url.host} closed the connection after ${partial.bytes} of ${size} bytes`
    throw new DownloadError('network', message, { url: shown(answer.url) })
  }
}

function mismatch(remote: RemoteFile, digest: string): DownloadError {
  const message = `The file from ${remote.url.host} had the hash ${digest} instead of ${remote.hash} twice in a row: it was damaged or changed in transit. Nothing was kept`
  return new DownloadError('integrity', message, { expected: remote.hash, actual: digest })
}

/** Downloads until the hash is right. A resumed or damaged file is downloaded once more from the start. */
async function fill(partial: PartialFile, remote: RemoteFile, job: BlobJob): Promise<void> {
  for (let tries = 1; ; tries++) {
    let best = partial.bytes
    const progressed = () => {
      // An attempt counts as progress from a hundredth of the file or a megabyte on; otherwise a server could keep us forever.
      const on = partial.bytes - best >= Math.min(1 << 20, Math.max(1, remote.size / 100))
      best = Math.max(best, partial.bytes)
      return on
    }
    const { signal } = job.transport
    const whole = () => remote.exact && partial.bytes === remote.size
    const attempt = async () => {
      if (!whole()) await receive(partial, remote, job)
    }
    await withRetries(attempt, { backoff: job.backoff, signal, progressed })
    const digest = partial.digest()
    if (digest === remote.hash) return
    await partial.restart()
    job.onBytes(0)
    if (tries === 2) throw mismatch(remote, digest)
  }
}

/** Another process holds the lock: report its progress. */
async function watchOther(remote: RemoteFile, job: BlobJob): Promise<void> {
  job.onBytes(await partialSize(job.blobs, remote.hash))
}

async function finish(own: string, blob: string, remote: RemoteFile): Promise<void> {
  try {
    await rename(own, blob)
  } catch (error) {
    // Windows cannot replace an open file; a file with this name and size has the same content.
    if (!(await hasSize(blob, remote))) throw error
  }
  await removePartial(own)
}

/** Ensures that the blob of `remote` exists; true if it was downloaded. Waits for another process that is downloading it. */
export async function fetchBlob(remote: RemoteFile, job: BlobJob): Promise<boolean> {
  const blob = path.join(job.blobs, remote.hash)
  if (await hasSize(blob, remote)) return false
  const { signal } = job.transport
  const lock = await acquire(path.join(job.locks, `${remote.hash}.latent.lock`), { signal, onWait: () => watchOther(remote, job) })
  try {
    if (await hasSize(blob, remote)) return false
    const own = await adopt(job.blobs, remote.hash, lock)
    const partial = await PartialFile.open(own, remote, job)
    try {
      await fill(partial, remote, job)
      await partial.sync()
    } catch (error) {
      if (partial.bytes === 0) await removePartial(own)
      throw error
    } finally {
      await partial.close()
    }
    await finish(own, blob, remote)
    return true
  } catch (error) {
    signal?.throwIfAborted()
    throw fileError(error, blob)
  } finally {
    await lock.release()
  }
}

/** Errors common to all sites. */
export function rateLimited(answer: Answer): DownloadError | undefined {
  const { status, headers, url } = answer
  const wait = retryAfter(headers)
  const details = { url: shown(url), status, ...(wait === undefined ? {} : { retryAfter: wait }) }
  if (status === 429)
    return new DownloadError(
      'rate_limited',
      `${url.host} allows no more requests for now${wait ? `; try again in ${Math.ceil(wait)} s` : ''}`,
      details,
    )
  if (status >= 500 || status === 408) return new DownloadError('network', `${url.host} answered with the status ${status}`, details)
  return undefined
}
