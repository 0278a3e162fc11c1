/** Arrays stored in files: element types, and reading rows from a stream of bytes. */
import { ModelFormatError, UnsupportedModelError } from '../errors.js'

/** Element types. `text`: fixed-length strings of UTF-32 or of bytes. */
export type ElementType = 'f16' | 'bf16' | 'f32' | 'f64' | 'u8' | 'i32' | 'i64' | 'utf32' | 'bytes'

/** An array in a file; row-major, little-endian. */
export interface StoredArray {
  /** For messages: file and name. */
  readonly where: string
  readonly type: ElementType
  /** Bytes of an element. */
  readonly itemBytes: number
  readonly shape: readonly number[]
  /** Whether reading can start in the middle. */
  readonly seekable: boolean
  /** The bytes of the data from `start` up to `end`, relative to its beginning, only if `seekable`; default: all. */
  read(start?: number, end?: number): AsyncIterable<Buffer>
}

/** Limits of sizes in a file. */
const maxRows = 2 ** 31 - 1
const maxRowBytes = 1 << 20

/** Rows of an array and bytes per row, checked. A vector has one element per row. */
export function rowsOf(array: StoredArray): { count: number; width: number; bytes: number } {
  const [count = 0, ...rest] = array.shape
  const width = rest.reduce((a, b) => a * b, 1)
  const bytes = width * array.itemBytes
  if (array.shape.length === 0 || count > maxRows || bytes === 0 || bytes > maxRowBytes)
    throw new ModelFormatError(`${array.where} has the shape [${array.shape.join(', ')}], which is not a list of rows`, { path: array.where })
  return { count, width, bytes }
}

/** The rows of an array in blocks of at most `block` rows. Throws if the stream has the wrong length. */
export async function* rowBlocks(array: StoredArray, block: number): AsyncGenerator<{ first: number; count: number; bytes: Buffer }, void> {
  const { count, bytes } = rowsOf(array)
  const full = Buffer.allocUnsafe(Math.min(block, Math.max(count, 1)) * bytes)
  let filled = 0
  let first = 0
  for await (const piece of array.read()) {
    for (let at = 0; at < piece.length;) {
      if (first === count) throw new ModelFormatError(`${array.where} holds more than its shape says`, { path: array.where })
      const room = Math.min(full.length, (count - first) * bytes) - filled
      const taken = Math.min(room, piece.length - at)
      piece.copy(full, filled, at, at + taken)
      filled += taken
      at += taken
      if (taken < room) continue
      yield { first, count: filled / bytes, bytes: full.subarray(0, filled) }
      first += filled / bytes
      filled = 0
    }
  }
  if (first !== count) throw new ModelFormatError(`${array.where} ends after ${first} of ${count} rows`, { path: array.where })
}

/** Single rows by number, in the requested order. */
export async function pickRows(array: StoredArray, indices: readonly number[]): Promise<Buffer[]> {
  const { bytes } = rowsOf(array)
  const found = new Map<number, Buffer>()
  if (array.seekable) {
    for (const index of new Set(indices)) {
      const pieces: Buffer[] = []
      for await (const piece of array.read(index * bytes, (index + 1) * bytes)) pieces.push(piece)
      found.set(index, Buffer.concat(pieces))
    }
  } else {
    const wanted = new Set(indices)
    for await (const { first, count, bytes: block } of rowBlocks(array, Math.max(1, Math.floor(65_536 / bytes)))) {
      for (let row = 0; row < count; row++)
        if (wanted.delete(first + row)) found.set(first + row, Buffer.from(block.subarray(row * bytes, (row + 1) * bytes)))
      if (wanted.size === 0) break
    }
  }
  return indices.map((index) => {
    const row = found.get(index)
    if (row?.length !== bytes) throw new ModelFormatError(`${array.where} ends before row ${index}`, { path: array.where })
    return row
  })
}

let halves: Float32Array | undefined

/** The value of every half by its bits (IEEE 754 binary16). */
function halfTable(): Float32Array {
  return (halves ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => {
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    const magnitude =
      exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15)
    return bits & 0x8000 ? -magnitude : magnitude
  }))
}

const floatTypes: readonly ElementType[] = ['f16', 'bf16', 'f32', 'f64']

/** Fails for arrays that do not hold floating-point numbers. */
export function requireFloats(array: StoredArray): void {
  if (!floatTypes.includes(array.type))
    throw new UnsupportedModelError(`${array.where} holds ${array.type}; floating-point numbers of 16, 32 or 64 bits are expected`, {
      path: array.where,
    })
}

/** Elements as float32, into `out`. */
export function toFloats(bytes: Buffer, type: ElementType, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const table = type === 'f16' ? halfTable() : undefined
  for (let i = 0; i < out.length; i++) {
    if (table) out[i] = table[view.getUint16(2 * i, true)]!
    else if (type === 'f32') out[i] = view.getFloat32(4 * i, true)
    else if (type === 'f64') out[i] = view.getFloat64(8 * i, true)
    else bfloat(view, i, out)
  }
}

const bits = new DataView(new ArrayBuffer(4))

/** A bfloat16 is the upper half of a float32. */
function bfloat(view: DataView, i: number, out: Float32Array): void {
  bits.setUint32(0, view.getUint16(2 * i, true) << 16)
  out[i] = bits.getFloat32(0)
}

/** A row as numbers or, for strings, as text without its padding. */
export function rowValue(bytes: Buffer, type: ElementType, itemBytes: number): number[] | string {
  if (type === 'utf32') return textOf(elements(bytes, 4, (at) => bytes.readUInt32LE(at)).filter((code) => code > 0 && code < 0x110000))
  if (type === 'bytes') return bytes.toString('utf8').replace(/\0+$/, '')
  return elements(bytes, itemBytes, (at) => {
    if (type === 'i64') return Number(bytes.readBigInt64LE(at))
    if (type === 'i32') return bytes.readInt32LE(at)
    if (type === 'u8') return bytes[at]!
    const one = new Float32Array(1)
    toFloats(bytes.subarray(at, at + itemBytes), type, one)
    return one[0]!
  })
}

/** In pieces, because the number of arguments of a call is limited. */
function textOf(codes: readonly number[]): string {
  const piece = 4096
  let text = ''
  for (let at = 0; at < codes.length; at += piece) text += String.fromCodePoint(...codes.slice(at, at + piece))
  return text
}

function elements(bytes: Buffer, step: number, read: (at: number) => number): number[] {
  return Array.from({ length: Math.floor(bytes.length / step) }, (_, i) => read(i * step))
}
