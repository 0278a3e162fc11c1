/** Arrays of numpy's .npz files: a zip, stored or deflated, of .npy files. Nothing is unpickled. */
import type { Entry } from 'yauzl'
import { DiffusionError, ModelFormatError, UnsupportedModelError } from '../errors.js'
import { ioError, isSystemError, type FileKind } from '../files/regular-file.js'
import { ZipArchive } from '../files/zip-file.js'
import type { ElementType, StoredArray } from './stored-array.js'

const maxEntries = 1000
const maxHeaderBytes = 1 << 16
/** Deflate expands one byte to at most about 1032. */
const maxInflation = 1100

/** Far more than any database has. */
const maxFileBytes = 2 ** 42

export function databaseFile(file: string): FileKind {
  return { what: '', maxBytes: maxFileBytes, refuse: (message) => new ModelFormatError(message, { path: file }) }
}

/** System errors are kept; every other error while reading a zip means a broken file. */
function readError(file: string, error: unknown): Error {
  if (error instanceof DiffusionError) return error
  if (isSystemError(error)) return ioError('', file, error)
  return new ModelFormatError(`${file} is not a valid .npz file: ${(error as Error).message}`, { path: file }, { cause: error })
}

function open(file: string): Promise<ZipArchive> {
  return ZipArchive.open(file, databaseFile(file)).catch((error: unknown) => {
    throw readError(file, error)
  })
}

/** The bytes of an entry. Closes the file even if the reader stops early. */
async function* entryBytes(file: string, entry: Entry, range?: { start: number; end: number }): AsyncGenerator<Buffer, void> {
  const zip = await open(file)
  try {
    const stream = await zip.stream(entry, range)
    try {
      for await (const piece of stream as AsyncIterable<Buffer>) yield piece
    } finally {
      stream.destroy()
    }
  } catch (error) {
    throw readError(file, error)
  } finally {
    await zip.close()
  }
}

/** The header of a .npy file. */
export interface NpyHeader {
  type: ElementType
  itemBytes: number
  shape: number[]
  /** Bytes before the data. */
  dataStart: number
}

const scalarTypes: Record<string, [ElementType, number]> = {
  f2: ['f16', 2],
  f4: ['f32', 4],
  f8: ['f64', 8],
  u1: ['u8', 1],
  i4: ['i32', 4],
  i8: ['i64', 8],
}

/** numpy's type code, such as `<f4`; undefined for unsupported types: objects (pickles), records, big-endian numbers. */
function elementType(descr: string): [ElementType, number] | undefined {
  const [, order, kind, size] = /^([<>|=])([a-zA-Z])(\d{1,6})$/.exec(descr) ?? []
  if (kind === undefined || (order === '>' && size !== '1')) return undefined
  const bytes = Number(size)
  if (kind === 'U' && bytes > 0) return ['utf32', 4]
  if (kind === 'S' && bytes > 0) return ['bytes', 1]
  return scalarTypes[kind + size]
}

/** Number of characters of a string type, treated as a last axis. */
function characters(descr: string): number[] {
  return /^.[US]/.test(descr) ? [Number(descr.slice(2))] : []
}

/**
 * Reads the header of a .npy file (numpy.lib.format): `\x93NUMPY`, version, length, a Python dictionary with descr, fortran_order and shape.
 * @returns undefined if more bytes are needed
 * @throws ModelFormatError for an invalid header, UnsupportedModelError for arrays of other types or orders
 */
export function parseNpyHeader(bytes: Buffer, where: string): NpyHeader | undefined {
  const broken = (what: string) => new ModelFormatError(`${where} is not a valid .npy array: ${what}`, { path: where })
  if (bytes.length < 12) return undefined
  if (bytes.toString('latin1', 0, 6) !== '\x93NUMPY') throw broken('its header is missing')
  const wide = bytes[6]! > 1
  if (bytes[6]! < 1 || bytes[6]! > 3) throw broken(`version ${bytes[6]}`)
  const length = wide ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8)
  if (length > maxHeaderBytes) throw broken(`a header of ${length} bytes`)
  const dataStart = (wide ? 12 : 10) + length
  if (bytes.length < dataStart) return undefined
  const text = bytes.toString('latin1', dataStart - length, dataStart)
  const [, descr] = /'descr'\s*:\s*'([^']*)'/.exec(text) ?? []
  const [, fortran] = /'fortran_order'\s*:\s*(True|False)/.exec(text) ?? []
  const [, sizes] = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(text) ?? []
  if (fortran === undefined || sizes === undefined || (descr === undefined && !/'descr'\s*:\s*\[/.test(text)))
    throw broken('its header cannot be read')
  const type = elementType(descr ?? '')
  if (!type)
    throw new UnsupportedModelError(`${where} holds elements of type ${JSON.stringify(descr ?? 'record')}, which are not supported`, { path: where })
  const shape = [...sizes.split(',').flatMap((size) => (size.trim() === '' ? [] : [Number(size)])), ...characters(descr!)]
  if (!shape.every(Number.isSafeInteger) || !Number.isSafeInteger(shape.reduce((a, b) => a * b, type[1]))) throw broken('its shape is too large')
  if (fortran === 'True' && shape.filter((size) => size > 1).length > 1)
    throw new UnsupportedModelError(`${where} is stored column by column (fortran_order); save it with numpy.ascontiguousarray`, { path: where })
  return { type: type[0], itemBytes: type[1], shape, dataStart }
}

async function readHead(file: string, entry: Entry, where: string): Promise<NpyHeader> {
  let head = Buffer.alloc(0)
  for await (const piece of entryBytes(file, entry)) {
    head = Buffer.concat([head, piece])
    const header = parseNpyHeader(head, where)
    if (header) return header
  }
  throw new ModelFormatError(`${where} ends within its header`, { path: where })
}

async function* withoutHead(pieces: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer, void> {
  for await (const piece of pieces) {
    if (piece.length > bytes) yield bytes > 0 ? piece.subarray(bytes) : piece
    bytes = Math.max(0, bytes - piece.length)
  }
}

async function readArray(file: string, entry: Entry, where: string): Promise<StoredArray> {
  const { uncompressedSize, compressedSize } = entry
  if (uncompressedSize > compressedSize * maxInflation + maxHeaderBytes)
    throw new ModelFormatError(`${where} declares ${uncompressedSize} bytes, but has only ${compressedSize} compressed`, { path: where })
  const { type, itemBytes, shape, dataStart } = await readHead(file, entry, where)
  const bytes = shape.reduce((a, b) => a * b, itemBytes)
  if (dataStart + bytes !== uncompressedSize)
    throw new ModelFormatError(`${where} has the shape [${shape.join(', ')}], ${bytes} bytes, but holds ${uncompressedSize - dataStart}`, {
      path: where,
    })
  const seekable = entry.compressionMethod === 0
  return {
    where,
    type,
    itemBytes,
    shape,
    seekable,
    read: (start = 0, end = bytes) =>
      seekable ? entryBytes(file, entry, { start: dataStart + start, end: dataStart + end }) : withoutHead(entryBytes(file, entry), dataStart),
  }
}

/**
 * The arrays of a .npz file by name. Only their headers are read.
 * @param required must exist and be readable; others with unsupported types (pickled objects) are skipped
 * @throws ModelFormatError for a broken file, UnsupportedModelError for a required array of another type, DiffusionError `ERR_IO` if it cannot be read
 */
export async function openNpz(file: string, required: string): Promise<Map<string, StoredArray>> {
  const zip = await open(file)
  let entries: Entry[]
  try {
    entries = await zip.list(maxEntries, (what) => new ModelFormatError(`${file} lists ${what}`, { path: file }))
  } catch (error) {
    throw readError(file, error)
  } finally {
    await zip.close()
  }
  const arrays = new Map<string, StoredArray>()
  for (const entry of entries) {
    const name = entry.fileName.replace(/\.npy$/, '')
    try {
      if (name !== entry.fileName) arrays.set(name, await readArray(file, entry, `${file}: ${name}`))
    } catch (error) {
      if (name === required || !(error instanceof UnsupportedModelError)) throw error
    }
  }
  return arrays
}
