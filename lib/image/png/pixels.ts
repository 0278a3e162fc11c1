/** Converts rows of a PNG file to 8-bit pixels, or to the stored numbers. */
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { hasTables, readProfile } from '../colour/icc.js'
import { changeToSrgb, spaceOf, type ColourChange } from '../colour/space.js'
import { imageError } from '../image-error.js'
import type { Pixels } from '../resize.js'
import type { PngFile } from './chunks.js'
import { samplesPerPixel } from './format.js'
import { readRows, type Pass } from './rows.js'

const inflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflate)
const maxProfileBytes = 4 << 20

/**
 * The ICC profile of a file; undefined if it is missing or broken.
 * @throws DiffusionError `ERR_IMAGE_FORMAT` if it is too large
 */
export async function profileOf({ colour: { iccp: chunk } }: PngFile, where: string): Promise<Buffer | undefined> {
  if (!chunk) return undefined
  const end = chunk.indexOf(0)
  if (end < 1 || end > 79 || chunk[end + 1] !== 0) return undefined
  return inflate(chunk.subarray(end + 2), { maxOutputLength: maxProfileBytes }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_BUFFER_TOO_LARGE') return undefined
    throw imageError(`${where}: its colour profile decompresses to more than ${maxProfileBytes} bytes`)
  })
}

const isGrey = ({ header: { colourType } }: PngFile) => colourType === 0 || colourType === 4

/** Whether converting to sRGB needs the lookup tables of the profile, which {@link readPixels} does not support. */
export function needsTables(file: PngFile, profile: Buffer | undefined): boolean {
  return profile !== undefined && hasTables(profile, isGrey(file)) && !readProfile(profile, isGrey(file))
}

/** The conversion to sRGB: the profile takes precedence over sRGB, and that over gamma and chromaticities; invalid information is ignored. */
async function colourChange(file: PngFile, profile: Buffer | undefined): Promise<ColourChange | undefined> {
  const { header, colour } = file
  const grey = isGrey(file)
  const max = header.bitDepth === 16 && header.colourType !== 3 ? 65535 : header.colourType === 3 ? 255 : 2 ** header.bitDepth - 1
  const space = profile && readProfile(profile, grey)
  if (space) return changeToSrgb(space, max)
  if (colour.srgb || (colour.gamma === undefined && colour.chromaticities === undefined)) return undefined
  return changeToSrgb(spaceOf(colour.gamma, colour.chromaticities, grey), max)
}

type Samples = Uint8Array | Uint16Array

/** The samples of a row, one number each. `into` has room for them. */
function unpack(row: Uint8Array, bitDepth: number, count: number, into: Uint16Array): Samples {
  if (bitDepth === 8) return row
  if (bitDepth === 16) {
    for (let i = 0; i < count; i++) into[i] = (row[2 * i]! << 8) | row[2 * i + 1]!
    return into
  }
  const mask = (1 << bitDepth) - 1
  for (let i = 0; i < count; i++) {
    const bit = i * bitDepth
    into[i] = (row[bit >> 3]! >> (8 - bitDepth - (bit & 7))) & mask
  }
  return into
}

/** Byte for each sample: 16 bits are rounded, fewer than 8 are scaled to the full range. */
function byteTable(bitDepth: number): Uint8Array {
  const max = 2 ** bitDepth - 1
  const table = new Uint8Array(max + 1)
  for (let value = 0; value <= max; value++) table[value] = Math.floor((value * 255) / max + 0.5)
  return table
}

/** Writes the pixel whose samples begin at `from` to `out` at `to`. */
type PixelWriter = (samples: Samples, from: number, out: Uint8Array, to: number) => void

/** Red, green, blue, alpha by index: black for missing entries, as in libpng. */
function paletteTable({ palette, transparency }: PngFile, change: ColourChange | undefined): Uint8Array {
  const table = new Uint8Array(4 * 256)
  for (let i = 0; i < 256; i++) table[4 * i + 3] = transparency?.[i] ?? 255
  for (let i = 0; i < palette!.length / 3; i++) {
    const [r, g, b] = palette!.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number]
    if (change?.rgb) change.rgb(r, g, b, table, 4 * i)
    else table.set([r, g, b], 4 * i)
  }
  return table
}

function paletteWriter(file: PngFile, channels: number, change: ColourChange | undefined): PixelWriter {
  const table = paletteTable(file, change)
  return (samples, from, out, to) => {
    const entry = 4 * samples[from]!
    for (let c = 0; c < channels; c++) out[to + c] = table[entry + c]!
  }
}

/** The transparent colour, sample by sample, with the image's bit depth. */
function colourKey({ header: { bitDepth, colourType }, transparency }: PngFile): number[] | undefined {
  if (!transparency) return undefined
  return Array.from({ length: samplesPerPixel[colourType]! }, (_, i) => transparency.readUInt16BE(2 * i) & (2 ** bitDepth - 1))
}

function greyWriter(file: PngFile, channels: number, change: ColourChange | undefined): PixelWriter {
  const { bitDepth, colourType } = file.header
  const bytes = byteTable(bitDepth)
  const greys = change?.grey ?? bytes
  if (channels === 1) return (samples, from, out, to) => (out[to] = greys[samples[from]!]!)
  const key = colourKey(file)?.[0]
  const alpha = colourType === 4 ? (value: number) => bytes[value]! : undefined
  return (samples, from, out, to) => {
    const grey = samples[from]!
    out[to] = out[to + 1] = out[to + 2] = greys[grey]!
    out[to + 3] = alpha ? alpha(samples[from + 1]!) : grey === key ? 0 : 255
  }
}

function rgbWriter(file: PngFile, channels: number, change: ColourChange | undefined): PixelWriter {
  const { bitDepth, colourType } = file.header
  const bytes = byteTable(bitDepth)
  const [red, green, blue] = (colourKey(file) ?? [-1, -1, -1]) as [number, number, number]
  return (samples, from, out, to) => {
    const r = samples[from]!
    const g = samples[from + 1]!
    const b = samples[from + 2]!
    if (change?.rgb) change.rgb(r, g, b, out, to)
    else {
      out[to] = bytes[r]!
      out[to + 1] = bytes[g]!
      out[to + 2] = bytes[b]!
    }
    if (channels === 4) out[to + 3] = colourType === 6 ? bytes[samples[from + 3]!]! : r === red && g === green && b === blue ? 0 : 255
  }
}

/** Decodes to 1 channel for grey, 3 for colour, 4 if anything can be transparent. `profile`: that of {@link profileOf}. */
export async function readPixels(file: PngFile, profile: Buffer | undefined, where: string): Promise<Pixels> {
  const { width, height, bitDepth, colourType } = file.header
  const channels = file.transparency || colourType >= 4 ? 4 : colourType === 0 ? 1 : 3
  const change = await colourChange(file, profile)
  const makeWriter = colourType === 3 ? paletteWriter : colourType === 0 || colourType === 4 ? greyWriter : rgbWriter
  const write = makeWriter(file, channels, change)
  const perPixel = samplesPerPixel[colourType]!
  const unpacked = new Uint16Array(bitDepth === 8 ? 0 : width * perPixel)
  const data = new Uint8Array(width * height * channels)
  const plain = bitDepth === 8 && !change && !file.transparency && (colourType === 0 || colourType === 2 || colourType === 6)
  const writeRow = (row: Uint8Array, y: number, { x, dx, columns }: Pass) => {
    let to = (y * width + x) * channels
    if (plain && dx === 1) return data.set(row, to)
    const samples = unpack(row, bitDepth, columns * perPixel, unpacked)
    for (let i = 0, from = 0; i < columns; i++, from += perPixel, to += dx * channels) write(samples, from, data, to)
  }
  await readRows(file, writeRow, where)
  return { data, width, height, channels }
}

/** The stored numbers of a grey or palette image, one per pixel. */
export async function readNumbers(file: PngFile, where: string): Promise<{ data: Uint16Array; width: number; height: number }> {
  const { width, height, bitDepth } = file.header
  const unpacked = new Uint16Array(width)
  const data = new Uint16Array(width * height)
  const writeRow = (row: Uint8Array, y: number, { x, dx, columns }: Pass) => {
    const samples = unpack(row, bitDepth, columns, unpacked)
    for (let i = 0, to = y * width + x; i < columns; i++, to += dx) data[to] = samples[i]!
  }
  await readRows(file, writeRow, where)
  return { data, width, height }
}
