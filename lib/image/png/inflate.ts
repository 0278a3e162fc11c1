/** The image data of a PNG file, inflated off the main thread. */
import { Readable } from 'node:stream'
import zlib from 'node:zlib'
import { imageError } from '../image-error.js'
import { compressedData, type PngFile } from './chunks.js'

/** Checks the two bytes in front of the data, which zlib would check with a sum at the end that libpng does not insist on. */
function* rawDeflate(pieces: Iterable<Buffer>, where: string): Generator<Buffer, void> {
  let head = Buffer.alloc(0)
  for (const piece of pieces) {
    if (head.length === 2) yield piece
    else {
      const both = Buffer.concat([head, piece])
      head = both.subarray(0, 2)
      if (head.length < 2) continue
      const sound = (head[0]! & 15) === 8 && head[0]! >> 4 <= 7 && head.readUInt16BE(0) % 31 === 0 && (head[1]! & 32) === 0
      if (!sound) throw imageError(`${where} is damaged: its image data cannot be decompressed: it is not a zlib stream`)
      if (both.length > 2) yield both.subarray(2)
    }
  }
}

/** Bytes given out at once, at most. */
const pieceBytes = 1 << 16
/** How far back in its output a deflate stream may refer. */
const windowBytes = 1 << 15
/** More than an error of {@link inflated} loses. */
const mostLost = 4 * pieceBytes

/** A deflate block of bytes as they are: at most 65535. */
function storedBlock(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt16LE(bytes.length, 1)
  head.writeUInt16LE(65535 - bytes.length, 3)
  return Buffer.concat([head, bytes])
}

function* inOrder(prefix: Buffer, pieces: Iterable<Buffer>): Generator<Buffer, void> {
  if (prefix.length > 0) yield storedBlock(prefix)
  yield* pieces
}

/**
 * The inflated data, behind `prefix`, in pieces. They end at multiples of {@link pieceBytes}, and where data to inflate was not there yet.
 * @throws an error of zlib, whose code begins with Z_, where the data is broken; lost are what zlib inflated of the same piece, and pieces that nobody has read yet
 */
export async function* inflated(file: PngFile, where: string, prefix = Buffer.alloc(0)): AsyncGenerator<Buffer, void> {
  const source = Readable.from(inOrder(prefix, rawDeflate(compressedData(file), where)), { objectMode: false, highWaterMark: pieceBytes })
  // A stream that ends early still gives what it has.
  const inflater = zlib.createInflateRaw({ chunkSize: pieceBytes, finishFlush: zlib.constants.Z_SYNC_FLUSH })
  source.on('error', (error) => inflater.destroy(error))
  source.pipe(inflater)
  try {
    yield* inflater as AsyncIterable<Buffer>
  } finally {
    source.destroy()
    inflater.destroy()
  }
}

/** Inflates once more what is lost to an error, so that a piece ends where the data should: bytes `from` to `total`; undefined where the error lies in front of `total`. */
async function inflateUpTo(file: PngFile, where: string, total: number, from: number, fill: number): Promise<Buffer | undefined> {
  const prefix = Buffer.alloc((pieceBytes - (total % pieceBytes)) % pieceBytes, fill)
  const kept: Buffer[] = []
  let at = -prefix.length
  try {
    for await (const piece of inflated(file, where, prefix)) {
      // Nothing is awaited here, so that every piece is read before the next is inflated.
      kept.push(piece.subarray(Math.max(0, from - at)))
      at += piece.length
      if (at >= total) return Buffer.concat(kept)
    }
  } catch {
    // The error of the first time is reported.
  }
  return undefined
}

/**
 * After an error of {@link inflated} which gave `done` of `total` bytes: the rest, if the data is broken only behind it. libpng asks zlib for as many bytes as the rows
 * need, and does not look further either.
 */
export async function lastBytes(file: PngFile, where: string, total: number, done: number): Promise<Buffer | undefined> {
  if (total - done > mostLost) return undefined
  const rest = await inflateUpTo(file, where, total, done, 0)
  if (!rest || done >= windowBytes) return rest
  // Data that refers to what is in front of its beginning is broken; here that is the prefix, and shows by another one.
  const other = await inflateUpTo(file, where, total, done, 255)
  return other && rest.equals(other) ? rest : undefined
}
