/** Refuses image files that would decompress to far more than an image of their size, or decode for minutes. Sizes are checked before (pictures.ts). */
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { invalid } from './errors.js'
import type { Size } from './pictures.js'
import { inSlices } from './slices.js'

/** Encoders write one per several kilobytes. */
const maxChunks = 1 << 16
const maxTexts = 1000
/** Decompressed bytes of all compressed texts of a file, and of its colour profile. */
const maxTextBytes = 4 << 20
/** Bytes after the last row, which some encoders write. */
const maxSurplus = 1 << 16
/** Encoders write about ten. A scan of a few bytes may go over every pixel. */
const maxScans = 200
const pieceBytes = 1 << 16

const inflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflate)

/** Decompressed size, at most `limit`; undefined if it is larger. What is broken counts as 0: the reader of the image tells what is wrong. */
async function inflatedSize(bytes: Uint8Array, limit: number): Promise<number | undefined> {
  try {
    return (await inflate(bytes, { maxOutputLength: limit })).length
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? undefined : 0
  }
}

/** Whether image data decompress to more than `limit` bytes; the bytes are not kept. */
async function inflatesBeyond(pieces: readonly Buffer[], limit: number): Promise<boolean> {
  const inflater = zlib.createInflate()
  const source = Readable.from(pieces, { objectMode: false })
  source.pipe(inflater)
  let total = 0
  try {
    for await (const piece of inflater as AsyncIterable<Buffer>) if ((total += piece.length) > limit) return true
  } catch {
    // broken, as above
  } finally {
    source.destroy()
    inflater.destroy()
  }
  return false
}

/** Compressed contents of a zTXt, iTXt or iCCP chunk; undefined if they are not compressed. */
function compressed(type: string, data: Buffer): Buffer | undefined {
  const keyword = data.indexOf(0)
  if (keyword < 0) return undefined
  if (type !== 'iTXt') return data.subarray(keyword + 2)
  const language = data.indexOf(0, keyword + 3)
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1)
  return translated < 0 || data[keyword + 1] !== 1 ? undefined : data.subarray(translated + 1)
}

/** An upper limit of the bytes of the rows of a PNG image with their filter bytes. */
function rowBytes({ width, height }: Size, bitDepth: number, colourType: number, isInterlaced: boolean): number {
  const samples = colourType === 2 ? 3 : colourType === 4 ? 2 : colourType === 6 ? 4 : 1
  const bytes = height * (1 + Math.ceil((width * samples * bitDepth) / 8))
  return isInterlaced ? 2 * bytes + 64 : bytes // its passes have more rows, which end with whole bytes
}

async function refusePng(file: Buffer, name: string, size: Size): Promise<void> {
  const data: Buffer[] = []
  let chunks = 0
  let texts = 0
  let textBytes = 0
  for (let at = 8; at + 12 <= file.length;) {
    const end = at + 12 + file.readUInt32BE(at)
    if (end > file.length) break // cut short, which its reader tells
    if (++chunks > maxChunks) throw invalid(`${name} has more than ${maxChunks} chunks`, name)
    const type = file.toString('latin1', at + 4, at + 8)
    const content = file.subarray(at + 8, end - 4)
    at = end
    if (type === 'IEND') break
    if (type === 'IDAT') data.push(content)
    if (!/^(tEXt|zTXt|iTXt|iCCP)$/.test(type)) continue
    if (++texts > maxTexts) throw invalid(`${name} has more than ${maxTexts} texts`, name)
    const packed = type === 'tEXt' ? undefined : compressed(type, content)
    const bytes = packed === undefined ? 0 : await inflatedSize(packed, Math.max(1, maxTextBytes - textBytes))
    if (bytes === undefined)
      throw invalid(`${name}: its ${type === 'iCCP' ? 'colour profile decompresses' : 'texts decompress'} to more than ${maxTextBytes} bytes`, name)
    textBytes += bytes
  }
  const limit = rowBytes(size, file[24]!, file[25]!, file[28] === 1) + maxSurplus
  if (await inflatesBeyond(data, limit))
    throw invalid(`${name}: its image data decompress to more than ${size.width}x${size.height} pixels need`, name)
}

/** Coded data have no such bytes; other segments may by chance. */
const scanMarker = Buffer.from([0xff, 0xda])

async function refuseJpeg(file: Buffer, name: string): Promise<void> {
  let scans = 0
  await inSlices(Math.ceil(file.length / pieceBytes), (i) => {
    const piece = file.subarray(i * pieceBytes, (i + 1) * pieceBytes + 1) // one byte more, for a marker at the border
    for (let at = piece.indexOf(scanMarker); at >= 0; at = piece.indexOf(scanMarker, at + 2))
      if (++scans > maxScans) throw invalid(`${name} has more than ${maxScans} scans`, name)
  })
}

/** @throws HttpError 400 */
export async function refuseBombs(bytes: Uint8Array, name: string, size: Size): Promise<void> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (file[0] === 0x89) await refusePng(file, name, size)
  else if (file[0] === 0xff) await refuseJpeg(file, name)
}
