/** The image data of a PNG file, inflated off the main thread. */
import { Readable } from 'node:stream'
import zlib from 'node:zlib'
import { imageError } from '../image-error.js'
import { compressedData, type PngFile } from './chunks.js'

/** Checks and removes the two-byte zlib header. zlib would also check the sum at the end, which libpng does not require. */
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

/** Maximum size of a piece in bytes. */
const pieceBytes = 1 << 16
/** How far back in its output a deflate stream may refer. */
const windowBytes = 1 << 15
/** Upper limit of the bytes lost by an error in {@link inflated}. */
const mostLost = 4 * pieceBytes

/** An uncompressed deflate block of at most 65535 bytes. */
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
 * `prefix` followed by the inflated data, in pieces. They end at multiples of {@link pieceBytes}, and where more input had to be awaited.
 * @throws an error of zlib, whose code begins with Z_, if the data is corrupt; the bytes inflated for the same piece and pieces not yet read are lost
 */
export async function* inflated(file: PngFile, where: string, prefix = Buffer.alloc(0)): AsyncGenerator<Buffer, void> {
  const source = Readable.from(inOrder(prefix, rawDeflate(compressedData(file), where)), { objectMode: false, highWaterMark: pieceBytes })
  // A truncated stream still gives the available data.
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

/** Inflates again the bytes lost by an error, with a piece ending exactly at `total`: bytes `from` to `total`; undefined if the error is before `total`. */
async function inflateUpTo(file: PngFile, where: string, total: number, from: number, fill: number): Promise<Buffer | undefined> {
  const prefix = Buffer.alloc((pieceBytes - (total % pieceBytes)) % pieceBytes, fill)
  const kept: Buffer[] = []
  let at = -prefix.length
  try {
    for await (const piece of inflated(file, where, prefix)) {
      // Nothing is awaited here, so that every piece is read before the next is inflated.
      const end = at + piece.length
      if (end > from) kept.push(piece.subarray(Math.max(0, from - at))) // an empty part would keep its whole piece in memory
      at = end
      if (at >= total) return Buffer.concat(kept, total - from)
    }
  } catch {
    // The first error is reported.
  }
  return undefined
}

/**
 * After an error of {@link inflated} that gave `done` of `total` bytes: the remaining bytes, if only data after them is corrupt. Like libpng, which reads only
 * as many bytes as the rows need.
 */
export async function lastBytes(file: PngFile, where: string, total: number, done: number): Promise<Buffer | undefined> {
  if (total - done > mostLost) return undefined
  const rest = await inflateUpTo(file, where, total, done, 0)
  if (!rest || done >= windowBytes) return rest
  // Back-references before the start of the data are corrupt. Here they reach into the prefix, so the result changes with another prefix.
  const other = await inflateUpTo(file, where, total, done, 255)
  return other && rest.equals(other) ? rest : undefined
}
