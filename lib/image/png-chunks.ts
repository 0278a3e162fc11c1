/** The chunks of a PNG file (PNG specification, third edition): checked before any picture data is decoded; text chunks read and written. */
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { checkImageSize, imageError } from './image-error.js'

const inflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflate)

export const pngSignature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)

const maxTextBytes = 16 << 20
const maxTextChunks = 1000
/** Text that is worth keeping of one chunk when it comes compressed. */
const maxInflatedText = 4 << 20

export interface PngHeader {
  width: number
  height: number
  bitDepth: number
  /** 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha. */
  colourType: number
  interlaced: boolean
}

/** A file whose structure has been checked. */
export interface PngFile {
  header: PngHeader
  /** Contents of the tRNS chunk: the transparent colour, 16 bits per sample, or the alphas of the palette. */
  transparency: Buffer | undefined
  /** The file reduced to what is needed for the picture: IHDR, PLTE, tRNS, IDAT, IEND. */
  essential: Buffer
  /** The IDAT contents, joined. */
  compressed: Buffer
  /** Contents of tEXt, zTXt and iTXt chunks. */
  texts: { type: string; data: Buffer }[]
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

function crc32Of(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[i]!) & 0xff]!
  return (crc ^ 0xffffffff) >>> 0
}

/** zlib's own where Node has it (22.2, 20.15), several times as fast. */
const crc32: (bytes: Uint8Array) => number = (zlib as { crc32?: (bytes: Uint8Array) => number }).crc32 ?? crc32Of

const depths: Record<number, readonly number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] }
const samples: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

function readHeader(data: Buffer, where: string): PngHeader {
  if (data.length !== 13) throw imageError(`${where} is not a PNG file: the header has ${data.length} bytes`)
  const header = { width: data.readUInt32BE(0), height: data.readUInt32BE(4), bitDepth: data[8]!, colourType: data[9]!, interlaced: data[12] === 1 }
  checkImageSize(header.width, header.height, where)
  if (!depths[header.colourType]?.includes(header.bitDepth))
    throw imageError(`${where}: colour type ${header.colourType} with ${header.bitDepth} bits does not exist`)
  if (data[10] !== 0 || data[11] !== 0 || data[12]! > 1) throw imageError(`${where}: unknown compression, filter or interlace method`)
  return header
}

interface Chunk {
  type: string
  data: Buffer
  /** Length, type, data and check sum as they stand in the file. */
  whole: Buffer
}

function* chunksOf(file: Buffer, where: string): Generator<Chunk> {
  const cutShort = () => imageError(`${where} is cut short: it ends inside a chunk, after ${file.length} bytes`, { bytes: file.length })
  for (let at = pngSignature.length; ;) {
    if (at + 12 > file.length) throw cutShort()
    const length = file.readUInt32BE(at)
    if (length > file.length - at - 12) throw cutShort()
    const type = file.toString('latin1', at + 4, at + 8)
    if (!/^[A-Za-z]{4}$/.test(type)) throw imageError(`${where} is broken at byte ${at}: no chunk begins here`)
    const whole = file.subarray(at, at + length + 12)
    const sound = crc32(whole.subarray(4, length + 8)) === whole.readUInt32BE(length + 8)
    const critical = type.charCodeAt(0) < 0x60
    if (!sound && (critical || type === 'tRNS'))
      throw imageError(`${where} is damaged: the check sum of its ${type} chunk at byte ${at} does not match`)
    // A damaged chunk that the picture does not need is left out.
    if (sound) yield { type, data: whole.subarray(8, length + 8), whole }
    if (type === 'IEND') return
    at += length + 12
  }
}

function checkPalette({ colourType, bitDepth }: PngHeader, entries: number, where: string): void {
  const allowed = colourType === 3 ? 2 ** bitDepth : 256
  if (!Number.isInteger(entries) || entries < 1 || entries > allowed || colourType === 0 || colourType === 4)
    throw imageError(`${where}: a palette of ${entries} colours does not fit its header`)
}

function checkTransparency({ colourType }: PngHeader, bytes: number, palette: number, where: string): void {
  const fits = colourType === 0 ? bytes === 2 : colourType === 2 ? bytes === 6 : colourType === 3 && bytes >= 1 && bytes <= palette
  if (!fits) throw imageError(`${where}: a transparency chunk of ${bytes} bytes does not fit its header`)
}

/** Checks order, sizes and check sums of all chunks. */
export function readChunks(file: Buffer, where: string): PngFile {
  let header: PngHeader | undefined
  let palette = 0
  let transparency: Buffer | undefined
  let textBytes = 0
  let previous = ''
  const kept: Buffer[] = [file.subarray(0, pngSignature.length)]
  const data: Buffer[] = []
  const texts: PngFile['texts'] = []
  for (const chunk of chunksOf(file, where)) {
    const misplaced = () => imageError(`${where}: its ${chunk.type} chunk is in the wrong place`)
    if ((chunk.type === 'IHDR') !== (header === undefined)) throw misplaced()
    if (chunk.type === 'IHDR') header = readHeader(chunk.data, where)
    else if (chunk.type === 'PLTE') {
      if (palette > 0 || data.length > 0 || transparency) throw misplaced()
      palette = chunk.data.length / 3
      checkPalette(header!, palette, where)
    } else if (chunk.type === 'tRNS') {
      if (transparency || data.length > 0) throw misplaced()
      checkTransparency(header!, chunk.data.length, palette, where)
      transparency = chunk.data
    } else if (chunk.type === 'IDAT') {
      if (data.length > 0 && previous !== 'IDAT') throw misplaced()
      data.push(chunk.data)
    } else if (chunk.type === 'tEXt' || chunk.type === 'zTXt' || chunk.type === 'iTXt') {
      textBytes += chunk.data.length
      if (textBytes <= maxTextBytes && texts.length < maxTextChunks) texts.push(chunk)
    } else if (chunk.type !== 'IEND' && chunk.type.charCodeAt(0) < 0x60) {
      throw imageError(`${where} needs the chunk type ${chunk.type}, which is not known`)
    }
    if (['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND'].includes(chunk.type)) kept.push(chunk.whole)
    previous = chunk.type
  }
  if (!header || data.length === 0) throw imageError(`${where} holds no picture data`)
  if (header.colourType === 3 && palette === 0) throw imageError(`${where} lacks its palette`)
  return { header, transparency, essential: Buffer.concat(kept), compressed: Buffer.concat(data), texts }
}

const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const

/** The inflated picture data: one block of rows, or seven when interlaced; each row has a filter byte in front. */
function rowBlocks({ width, height, bitDepth, colourType, interlaced }: PngHeader): { rows: number; rowBytes: number }[] {
  const bits = bitDepth * samples[colourType]!
  const block = (columns: number, rows: number) => ({ rows: columns > 0 ? Math.max(0, rows) : 0, rowBytes: 1 + Math.ceil((columns * bits) / 8) })
  if (!interlaced) return [block(width, height)]
  return adam7.map(([x, y, dx, dy]) => block(Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)))
}

/**
 * Inflates the picture data, off the main thread and never to more than it may have, to see that it is whole and that its rows have filters that exist
 * (pngjs raises an error that nobody can catch where they do not).
 */
export async function checkPictureData({ header, compressed }: PngFile, where: string): Promise<void> {
  const blocks = rowBlocks(header)
  const expected = blocks.reduce((sum, { rows, rowBytes }) => sum + rows * rowBytes, 0)
  const raw = await inflate(compressed, { maxOutputLength: expected }).catch((cause: unknown) => {
    const bomb = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
    const what = bomb
      ? `holds more picture data than its ${header.width}x${header.height} pixels need`
      : 'is damaged: its picture data cannot be decompressed'
    throw imageError(`${where} ${what}`, {}, cause)
  })
  if (raw.length !== expected) throw imageError(`${where} is cut short: ${raw.length} of ${expected} bytes of picture data are there`)
  let at = 0
  for (const { rows, rowBytes } of blocks) {
    for (let row = 0; row < rows; row++, at += rowBytes)
      if (raw[at]! > 4) throw imageError(`${where} is damaged: a row has the filter ${raw[at]}, which does not exist`)
  }
}

async function readText(type: string, data: Buffer): Promise<[string, string] | undefined> {
  const end = data.indexOf(0)
  if (end < 1 || end > 79) return undefined
  const keyword = data.toString('latin1', 0, end)
  const rest = data.subarray(end + 1)
  const inflated = (bytes: Buffer) => inflate(bytes, { maxOutputLength: maxInflatedText }).catch(() => undefined)
  if (type === 'tEXt') return [keyword, rest.toString('latin1')]
  if (type === 'zTXt') {
    const text = rest[0] === 0 ? await inflated(rest.subarray(1)) : undefined
    return text && [keyword, text.toString('latin1')]
  }
  const language = rest.indexOf(0, 2)
  const translated = language < 0 ? -1 : rest.indexOf(0, language + 1)
  if (translated < 0 || rest[0]! > 1 || (rest[0] === 1 && rest[1] !== 0)) return undefined
  const body = rest.subarray(translated + 1)
  const text = rest[0] === 1 ? await inflated(body) : body
  return text && [keyword, text.toString('utf8')]
}

/** Keyword and text of all text chunks; of two with one keyword the first counts. Texts that cannot be read are left out. */
export async function readTexts(texts: PngFile['texts']): Promise<Record<string, string>> {
  const found = new Map<string, string>()
  for (const { type, data } of texts) {
    const entry = await readText(type, data)
    if (entry && !found.has(entry[0])) found.set(...entry)
  }
  return Object.fromEntries(found)
}

function chunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(data.length + 12)
  out.writeUInt32BE(data.length, 0)
  out.write(type, 4, 'latin1')
  data.copy(out, 8)
  out.writeUInt32BE(crc32(out.subarray(4, data.length + 8)), data.length + 8)
  return out
}

// eslint-disable-next-line no-control-regex
const latin1 = /^[\x00-\xff]*$/

/** One text chunk: tEXt where the text is Latin-1, else uncompressed iTXt, as Pillow and the web UIs write it. */
export function textChunk(keyword: string, text: string): Buffer {
  // A NUL would end the text for other readers.
  const clean = text.replaceAll('\0', '')
  const head = Buffer.from(`${keyword}\0`, 'latin1')
  if (latin1.test(clean)) return chunk('tEXt', Buffer.concat([head, Buffer.from(clean, 'latin1')]))
  return chunk('iTXt', Buffer.concat([head, Buffer.alloc(4), Buffer.from(clean, 'utf8')]))
}

/** The picture data of a grey or palette file as that of a plain grey one, whose samples are the numbers in the file. */
export function asGreySamples({ header: { width, height, bitDepth, interlaced }, compressed }: PngFile): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = bitDepth
  header[12] = interlaced ? 1 : 0
  return Buffer.concat([pngSignature, chunk('IHDR', header), chunk('IDAT', compressed), chunk('IEND', Buffer.alloc(0))])
}
