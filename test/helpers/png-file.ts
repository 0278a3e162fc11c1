/** PNG files of any colour type, depth and interlacing, built from samples: for reading tests, also of files that no encoder writes. */
import { deflateSync } from 'node:zlib'
import { crc32 } from './crc32'

export interface PngSpec {
  width: number
  height: number
  bitDepth: number
  colourType: number
  interlaced?: boolean
  /** Sample c of pixel (x, y), below 2^bitDepth. */
  sample: (x: number, y: number, c: number) => number
  palette?: number[]
  transparency?: number[]
  /** Further chunks in front of the image data. */
  extra?: Buffer[]
}

export const samplesPerPixel: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

export function pngChunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(data.length, 0)
  body.copy(out, 4)
  out.writeUInt32BE(crc32(body), body.length + 4)
  return out
}

export const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

export function pngHeader({ width, height, bitDepth, colourType, interlaced = false }: Omit<PngSpec, 'sample'>): Buffer {
  const data = Buffer.alloc(13)
  data.writeUInt32BE(width, 0)
  data.writeUInt32BE(height, 4)
  data.set([bitDepth, colourType, 0, 0, interlaced ? 1 : 0], 8)
  return pngChunk('IHDR', data)
}

/** Rows of one pass, each with filter type 0. */
function rows(spec: PngSpec, [x0, y0, dx, dy]: readonly number[]): Buffer[] {
  const { width, height, bitDepth, colourType, sample } = spec
  const out: Buffer[] = []
  const columns = Array.from({ length: Math.max(0, Math.ceil((width - x0!) / dx!)) }, (_, i) => x0! + i * dx!)
  if (columns.length === 0) return []
  const perPixel = samplesPerPixel[colourType]!
  for (let y = y0!; y < height; y += dy!) {
    const row = Buffer.alloc(1 + Math.ceil((columns.length * perPixel * bitDepth) / 8))
    columns.forEach((x, i) => {
      for (let c = 0; c < perPixel; c++) {
        const value = sample(x, y, c)
        const bit = (i * perPixel + c) * bitDepth
        if (bitDepth === 16) row.writeUInt16BE(value, 1 + bit / 8)
        else row[1 + (bit >> 3)]! |= value << (8 - bitDepth - (bit & 7))
      }
    })
    out.push(row)
  }
  return out
}

const wholePass = [[0, 0, 1, 1]]
const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
]

export function pngFile(spec: PngSpec): Buffer {
  const raw = Buffer.concat((spec.interlaced ? adam7 : wholePass).flatMap((pass) => rows(spec, pass)))
  return Buffer.concat([
    signature,
    pngHeader(spec),
    ...(spec.extra ?? []),
    ...(spec.palette ? [pngChunk('PLTE', Uint8Array.from(spec.palette))] : []),
    ...(spec.transparency ? [pngChunk('tRNS', Uint8Array.from(spec.transparency))] : []),
    pngChunk('IDAT', deflateSync(raw)),
    pngChunk('IEND', new Uint8Array(0)),
  ])
}
