/**
 * The only way in which files from outside are opened: regular files of limited size, opened without blocking. Pipes and devices are rejected instead of
 * blocking a thread forever.
 */
import { constants } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { DiffusionError } from '../errors.js'
import { inSlices } from './time-slice.js'

/** The expected kind of file, and the error for others. */
export interface FileKind {
  /** For messages: `The image`, `The configuration`; '' for only the path. */
  what: string
  /** Maximum size in bytes. */
  maxBytes: number
  /** The error for files that are not regular or too large. */
  refuse: (message: string, details: Record<string, unknown>) => Error
}

/** An open regular file. */
export interface RegularFile {
  handle: FileHandle
  /** Size in bytes when it was opened. */
  size: number
}

/** Most bytes per read; between reads the event loop runs. */
const pieceBytes = 4 << 20

/** Read only; does not wait for the writer of a pipe, and a terminal does not become the controlling one. Windows has neither flag and needs neither. */
const openFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0)

function named(what: string, file: string): string {
  return what === '' ? file : `${what} ${file}`
}

/** Converts a system error. */
export function ioError(what: string, file: string, cause: unknown): DiffusionError {
  return new DiffusionError('ERR_IO', `${named(what, file)} cannot be read: ${(cause as Error).message}`, { path: file }, { cause })
}

function check(status: { isFile(): boolean; size: number }, file: string, { what, maxBytes, refuse }: FileKind): void {
  if (!status.isFile()) throw refuse(`${named(what, file)} is not a regular file`, { path: file })
  if (status.size > maxBytes)
    throw refuse(`${named(what, file)} has ${status.size} bytes; the limit is ${maxBytes}`, { path: file, bytes: status.size })
}

/**
 * Opens a regular file. The caller closes the handle.
 * @throws the error of `kind.refuse` for pipes, devices, folders and files that are too large, DiffusionError `ERR_IO` for system errors
 */
export async function openRegular(file: string, kind: FileKind): Promise<RegularFile> {
  const failed = (cause: unknown) => {
    throw ioError(kind.what, file, cause)
  }
  // Checked before opening, because opening a device may have side effects, and again on the open file.
  check(await stat(file).catch(failed), file, kind)
  const handle = await open(file, openFlags).catch(failed)
  try {
    const status = await handle.stat().catch(failed)
    check(status, file, kind)
    return { handle, size: status.size }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Fills `target` from `position` on, as far as the file goes; returns the number of bytes. */
async function fill(handle: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let filled = 0
  while (filled < target.length) {
    const { bytesRead } = await handle.read(target, filled, Math.min(pieceBytes, target.length - filled), position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

/** Runs `work` on an open file and closes it. System errors become `ERR_IO`. */
export async function withRegular<T>(file: string, kind: FileKind, work: (opened: RegularFile) => Promise<T>): Promise<T> {
  const opened = await openRegular(file, kind)
  try {
    return await work(opened)
  } catch (error) {
    throw isSystemError(error) ? ioError(kind.what, file, error) : error
  } finally {
    await opened.handle.close()
  }
}

/** Distinguishes system errors (`ENOENT` ...) from all others. */
export function isSystemError(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException
  return syscall !== undefined || (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code))
}

/** The whole contents of a file, at most its size when it was opened. */
export function readRegular(file: string, kind: FileKind): Promise<Buffer> {
  return withRegular(file, kind, async ({ handle, size }) => {
    const bytes = Buffer.allocUnsafeSlow(size)
    return bytes.subarray(0, await fill(handle, bytes, 0))
  })
}

/** Bytes `start` up to `end` of a file; fewer if it ends earlier. */
export async function readRange({ handle }: RegularFile, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(end - start)
  return bytes.subarray(0, await fill(handle, bytes, start))
}

/** Bytes `start` up to `end` of a file, in pieces that the caller may keep. */
export async function* streamRange(file: string, kind: FileKind, start: number, end: number, bytesEach = 1 << 18): AsyncGenerator<Buffer, void> {
  const opened = await openRegular(file, kind)
  try {
    for (let at = start; at < end; at += bytesEach) {
      const piece = await readRange(opened, at, Math.min(end, at + bytesEach))
      if (piece.length > 0) yield piece
      if (piece.length < Math.min(bytesEach, end - at)) return
    }
  } catch (error) {
    throw isSystemError(error) ? ioError(kind.what, file, error) : error
  } finally {
    await opened.handle.close()
  }
}

const decodedAtOnce = 1 << 18

/** Decodes UTF-8 without blocking the event loop. */
async function decodeSliced(bytes: Uint8Array): Promise<string> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  const parts: string[] = []
  await inSlices(Math.ceil(bytes.length / decodedAtOnce), (i) =>
    parts.push(decoder.decode(bytes.subarray(i * decodedAtOnce, (i + 1) * decodedAtOnce), { stream: true })),
  )
  parts.push(decoder.decode())
  return parts.join('')
}

/** A text file; undefined if it does not exist. */
export async function readTextIfAny(file: string, kind: FileKind): Promise<string | undefined> {
  try {
    return await decodeSliced(await readRegular(file, kind))
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}
