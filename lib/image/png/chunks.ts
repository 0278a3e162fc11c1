/**
 * The chunks of a PNG file: their order, sizes and check sums, before any image data is decoded. Like libpng 1.6, accepts files that it reads with a warning,
 * and rejects the others.
 */
import { TimeSlice } from '../../files/time-slice.js'
import { checkImageSize, imageError } from '../image-error.js'
import { bitDepths, crc32Sliced, pngSignature, type PngHeader } from './format.js'

/** Encoders write one per 8 KiB or more: as many as the largest file has. Millions of empty ones would only cost time. */
const maxChunks = 1 << 16
const maxTextBytes = 16 << 20
const maxTextChunks = 1000
/** Maximum size of a stored profile and of an EXIF block. */
const maxProfileBytes = 4 << 20

/** The colour information of a file (see colour/). */
export interface PngColour {
  /** An sRGB chunk: the colours are sRGB. */
  srgb: boolean
  /** Contents of the iCCP chunk. */
  iccp: Buffer | undefined
  /** gAMA times 100000. */
  gamma: number | undefined
  /** cHRM times 100000: x and y of white, red, green, blue. */
  chromaticities: number[] | undefined
}

/** A file with a checked structure. */
export interface PngFile {
  bytes: Buffer
  header: PngHeader
  /** Red, green, blue of the palette, at most as many entries as the bit depth allows. */
  palette: Buffer | undefined
  /** Contents of the tRNS chunk: the transparent colour, 16 bits per sample, or the alphas of the palette. */
  transparency: Buffer | undefined
  colour: PngColour
  /** Contents of the eXIf chunk. */
  exif: Buffer | undefined
  /** Start of the first IDAT chunk, and end of the last consecutive one. */
  dataStart: number
  dataEnd: number
  /** tEXt, zTXt and iTXt chunks. */
  texts: { type: string; data: Buffer }[]
}

function readHeader(data: Buffer, where: string, maxPixels: number | undefined): PngHeader {
  if (data.length !== 13) throw imageError(`${where} is not a PNG file: the header has ${data.length} bytes`)
  const header = { width: data.readUInt32BE(0), height: data.readUInt32BE(4), bitDepth: data[8]!, colourType: data[9]!, interlaced: data[12] === 1 }
  checkImageSize(header.width, header.height, where, maxPixels)
  if (!bitDepths[header.colourType]?.includes(header.bitDepth))
    throw imageError(`${where}: colour type ${header.colourType} with ${header.bitDepth} bits does not exist`)
  if (data[10] !== 0 || data[11] !== 0 || data[12]! > 1) throw imageError(`${where}: unknown compression, filter or interlace method`)
  return header
}

interface Chunk {
  type: string
  data: Buffer
  /** Start of the chunk, and start of the next one. */
  start: number
  end: number
}

async function* chunksOf(file: Buffer, where: string): AsyncGenerator<Chunk, void> {
  const cutShort = () => imageError(`${where} is truncated: it ends inside a chunk, after ${file.length} bytes`, { bytes: file.length })
  const slice = new TimeSlice()
  let start = pngSignature.length
  for (let count = 0; count < maxChunks; count++) {
    if (start + 12 > file.length) throw cutShort()
    const length = file.readUInt32BE(start)
    if (length > file.length - start - 12) throw cutShort()
    const type = file.toString('latin1', start + 4, start + 8)
    if (!/^[A-Za-z]{4}$/.test(type)) throw imageError(`${where} is damaged at byte ${start}: no chunk starts here`)
    const end = start + length + 12
    const sound = (await crc32Sliced(file.subarray(start + 4, end - 4), slice)) === file.readUInt32BE(end - 4)
    if (!sound && isCritical(type)) throw imageError(`${where} is damaged: the checksum of its ${type} chunk at byte ${start} does not match`)
    // A damaged ancillary chunk is skipped.
    if (sound) yield { type, data: file.subarray(start + 8, end - 4), start, end }
    if (type === 'IEND') return
    start = end
  }
  throw imageError(`${where} has more than ${maxChunks} chunks`)
}

/** An upper-case first letter: the chunk is needed to read the image. */
function isCritical(type: string): boolean {
  return type.charCodeAt(0) < 0x60
}

/** Collects the contents of the chunks. */
class Collector {
  readonly #where: string
  readonly #bytes: Buffer
  readonly #maxPixels: number | undefined
  #header: PngHeader | undefined
  #palette: Buffer | undefined
  #transparency: Buffer | undefined
  #exif: Buffer | undefined
  readonly #colour: PngColour = { srgb: false, iccp: undefined, gamma: undefined, chromaticities: undefined }
  #dataStart = 0
  #dataEnd = 0
  #textCount = 0
  #textBytes = 0
  readonly #texts: PngFile['texts'] = []

  constructor(bytes: Buffer, where: string, maxPixels: number | undefined) {
    this.#bytes = bytes
    this.#where = where
    this.#maxPixels = maxPixels
  }

  take({ type, data, start, end }: Chunk): void {
    if (!this.#header && !isCritical(type)) return
    if ((type === 'IHDR') !== (this.#header === undefined)) throw imageError(`${this.#where}: its ${type} chunk is in the wrong place`)
    if (type === 'IHDR') this.#header = readHeader(data, this.#where, this.#maxPixels)
    else if (type === 'PLTE') this.#takePalette(data)
    else if (type === 'IDAT') this.#takeData(start, end)
    else if (type === 'tRNS') this.#takeTransparency(data)
    else if (type === 'eXIf') this.#exif ??= data.length <= maxProfileBytes ? data : undefined
    else if (/^(tEXt|zTXt|iTXt)$/.test(type)) this.#takeText(type, data)
    else if (/^(sRGB|iCCP|gAMA|cHRM)$/.test(type)) this.#takeColour(type, data)
    else if (type !== 'IEND' && isCritical(type)) throw imageError(`${this.#where} has the unknown critical chunk ${type}`)
  }

  get #afterData(): boolean {
    return this.#dataEnd > 0
  }

  /** Entries beyond the bit depth are dropped. In other kinds of images a palette is only a hint for displays. */
  #takePalette(data: Buffer): void {
    const { colourType, bitDepth } = this.#header!
    if (colourType !== 3 || this.#afterData) return
    if (this.#palette) throw imageError(`${this.#where} has two palettes`)
    if (data.length === 0 || data.length % 3 !== 0 || data.length > 768)
      throw imageError(`${this.#where}: its palette has ${data.length} bytes; 1 to 256 colours are allowed`)
    this.#palette = data.subarray(0, 3 * 2 ** bitDepth)
  }

  /** Ignored if it does not fit the image. */
  #takeTransparency(data: Buffer): void {
    if (this.#transparency || this.#afterData) return
    const { colourType } = this.#header!
    const colours = (this.#palette?.length ?? 0) / 3
    const fits =
      colourType === 0 ? data.length === 2 : colourType === 2 ? data.length === 6 : colourType === 3 && data.length >= 1 && data.length <= colours
    if (fits) this.#transparency = data
  }

  /** Image data that is not consecutive is ignored. */
  #takeData(start: number, end: number): void {
    if (!this.#afterData) this.#dataStart = start
    else if (this.#dataEnd !== start) return
    this.#dataEnd = end
  }

  #takeColour(type: string, data: Buffer): void {
    const colour = this.#colour
    if (this.#afterData || this.#palette) return
    if (type === 'sRGB') colour.srgb ||= data.length === 1 && data[0]! < 4
    else if (type === 'iCCP') colour.iccp ??= data.length <= maxProfileBytes ? data : undefined
    else if (type === 'gAMA') colour.gamma ??= data.length === 4 ? data.readUInt32BE(0) : undefined
    else if (data.length === 32) colour.chromaticities ??= Array.from({ length: 8 }, (_, i) => data.readUInt32BE(4 * i))
  }

  #takeText(type: string, data: Buffer): void {
    if (++this.#textCount > maxTextChunks) throw imageError(`${this.#where} has more than ${maxTextChunks} texts`)
    this.#textBytes += data.length
    if (this.#textBytes <= maxTextBytes) this.#texts.push({ type, data })
  }

  file(): PngFile {
    const header = this.#header
    if (!header || !this.#afterData) throw imageError(`${this.#where} has no image data`)
    if (header.colourType === 3 && !this.#palette) throw imageError(`${this.#where} has no palette`)
    return {
      bytes: this.#bytes,
      header,
      palette: this.#palette,
      transparency: this.#transparency,
      colour: this.#colour,
      exif: this.#exif,
      dataStart: this.#dataStart,
      dataEnd: this.#dataEnd,
      texts: this.#texts,
    }
  }
}

/** Checks order, sizes and check sums of all chunks. `maxPixels`: of the image. */
export async function readChunks(bytes: Uint8Array, where: string, maxPixels?: number): Promise<PngFile> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const collector = new Collector(file, where, maxPixels)
  for await (const chunk of chunksOf(file, where)) collector.take(chunk)
  return collector.file()
}

/** Joins small chunks, because an encoder may write one per byte. */
const joinedBytes = 1 << 16

/** The compressed image data, in pieces. */
export function* compressedData({ bytes, dataStart, dataEnd }: PngFile): Generator<Buffer, void> {
  let joined = Buffer.allocUnsafe(joinedBytes)
  let filled = 0
  for (let at = dataStart; at < dataEnd;) {
    const length = bytes.readUInt32BE(at)
    const data = bytes.subarray(at + 8, at + 8 + length)
    at += length + 12
    if (filled + length > joinedBytes && filled > 0) {
      yield joined.subarray(0, filled)
      joined = Buffer.allocUnsafe(joinedBytes)
      filled = 0
    }
    if (length > joinedBytes) for (let from = 0; from < length; from += joinedBytes) yield data.subarray(from, from + joinedBytes)
    else filled += data.copy(joined, filled)
  }
  if (filled > 0) yield joined.subarray(0, filled)
}
