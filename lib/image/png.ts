/** PNG in and out. The picture itself is the library's work (pngjs); what surrounds it is checked here first. */
import { PNG } from 'pngjs'
import { imageError } from './image-error.js'
import { asGreySamples, checkPictureData, pngSignature, readChunks, readTexts, textChunk, type PngFile } from './png-chunks.js'
import type { Pixels } from './resize.js'
import { inSlices } from '../files/time-slice.js'

export function isPng(bytes: Uint8Array): boolean {
  return bytes.length >= 8 && pngSignature.every((byte, i) => bytes[i] === byte)
}

/** Four samples per pixel; `raw`: as they stand in the file, 16-bit ones in a Uint16Array, else scaled to bytes. */
function decodeRgba(essential: Buffer, where: string, raw = false): Promise<Buffer | Uint16Array> {
  return new Promise((resolve, reject) => {
    const png = new PNG({ skipRescale: raw })
    // Stays for good: an error that the library reports after its callback would otherwise end the process.
    png.on('error', (cause: unknown) =>
      reject(imageError(`${where} is damaged: ${cause instanceof Error ? cause.message : String(cause)}`, {}, cause)),
    )
    png.on('parsed', (data) => resolve(data))
    png.end(essential)
  })
}

/** The transparent colour of grey and RGB pictures, as bytes. */
function colourKey({ header: { bitDepth, colourType }, transparency }: PngFile): number[] | undefined {
  if (!transparency || colourType === 3) return undefined
  const byte = (at: number) => Math.floor(((transparency.readUInt16BE(at) & (2 ** bitDepth - 1)) * 255) / (2 ** bitDepth - 1) + 0.5)
  return colourType === 0 ? [byte(0), byte(0), byte(0)] : [byte(0), byte(2), byte(4)]
}

/** Keeps the channels that the file has: 1 for grey, 3 for colour, 4 where anything can be transparent. */
async function narrow(rgba: Buffer | Uint16Array, file: PngFile): Promise<Pixels> {
  const { width, height, colourType } = file.header
  const channels = file.transparency || colourType >= 4 ? 4 : colourType === 0 ? 1 : 3
  const data = new Uint8Array(width * height * channels)
  const key = colourKey(file)
  await inSlices(height, (y) => {
    const end = (y + 1) * width
    for (let pixel = y * width; pixel < end; pixel++) {
      // The library blackens transparent pixels; their colour is put back.
      const clear = key !== undefined && rgba[pixel * 4 + 3] === 0
      for (let c = 0; c < channels; c++) data[pixel * channels + c] = clear && c < 3 ? key[c]! : rgba[pixel * 4 + c]!
    }
  })
  return { data, width, height, channels }
}

/** Reads a PNG of any kind; 16 bits are rounded to 8, palettes and small depths are expanded, gamma and profiles are not applied. */
export async function readPng(bytes: Uint8Array, where: string): Promise<Pixels & { metadata: Record<string, string> }> {
  const file = readChunks(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), where)
  await checkPictureData(file, where)
  const pixels = await narrow(await decodeRgba(file.essential, where), file)
  return { ...pixels, metadata: await readTexts(file.texts) }
}

/** Reads the numbers of a grey PNG of any depth, or the palette indices of a palette PNG: one per pixel, as they stand in the file. */
export async function readPngSamples(bytes: Uint8Array, where: string): Promise<{ data: Uint16Array; width: number; height: number }> {
  const file = readChunks(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), where)
  const { width, height, colourType } = file.header
  if (colourType !== 0 && colourType !== 3) throw imageError(`${where} has several numbers per pixel; a grey or palette PNG has one`, { colourType })
  await checkPictureData(file, where)
  const rgba = await decodeRgba(asGreySamples(file), where, true)
  const data = new Uint16Array(width * height)
  await inSlices(height, (y) => {
    for (let pixel = y * width; pixel < (y + 1) * width; pixel++) data[pixel] = rgba[pixel * 4]!
  })
  return { data, width, height }
}

const colourTypes: Record<number, 0 | 2 | 6> = { 1: 0, 3: 2, 4: 6 }
const headerBytes = 8 + 25

/** Writes an 8-bit PNG with one text chunk per entry of `metadata`. */
export async function writePng(
  { data, width, height, channels }: Pixels,
  metadata: Readonly<Record<string, string>>,
  compressionLevel: number,
): Promise<Uint8Array> {
  const colourType = colourTypes[channels]!
  const png = new PNG({
    colorType: colourType,
    inputColorType: colourType,
    inputHasAlpha: channels === 4,
    // One fixed filter: choosing the best per row would hold the event loop several times as long for two percent of size.
    filterType: 1,
    deflateLevel: compressionLevel,
    deflateStrategy: 0,
  })
  // Set here, as the constructor would allocate a picture for the size.
  png.width = width
  png.height = height
  png.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const whole = await new Promise<Buffer>((resolve, reject) => {
    const parts: Buffer[] = []
    png.on('data', (part: Buffer) => parts.push(part))
    png.on('end', () => resolve(Buffer.concat(parts)))
    png.on('error', reject)
    png.pack()
  })
  const texts = Object.entries(metadata).map(([keyword, text]) => textChunk(keyword, text))
  return Buffer.concat([whole.subarray(0, headerBytes), ...texts, whole.subarray(headerBytes)])
}
