/**
 * Resizing of 8-bit images as Pillow does it (ImagingResample, Pillow 12): separable filters that widen when reducing, weights in 22-bit fixed point, horizontal
 * pass first, each pass rounded to 8 bits; with an alpha channel, colours are multiplied by it before and divided by it after.
 */
import { copySliced, inSlices, TimeSlice } from '../files/time-slice.js'

/** Resampling filters, with Pillow's names. */
export type ResizeFilter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos'
export const resizeFilters: readonly ResizeFilter[] = ['nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos']

/** Interleaved bytes. */
export interface Pixels {
  data: Uint8Array
  width: number
  height: number
  channels: number
}

interface Kernel {
  /** Half width at scale 1. */
  support: number
  weight: (x: number) => number
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

const kernels: Record<Exclude<ResizeFilter, 'nearest'>, Kernel> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { support: 1, weight: (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(x * Math.PI))) },
  // Keys' cubic convolution with a = -0.5.
  bicubic: {
    support: 2,
    weight: (x) => {
      const t = Math.abs(x)
      if (t < 1) return (1.5 * t - 2.5) * t * t + 1
      return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

const precisionBits = 32 - 8 - 2
const one = 2 ** precisionBits
const half = 2 ** (precisionBits - 1)

/** For every output position: first input position, number of inputs, and their weights times 2^22. */
interface Taps {
  first: Int32Array
  count: Int32Array
  /** `stride` weights per output position. */
  weights: Int32Array
  stride: number
}

async function computeTaps(inSize: number, outSize: number, { support, weight }: Kernel): Promise<Taps> {
  const scale = inSize / outSize
  const filterScale = Math.max(scale, 1)
  const radius = support * filterScale
  const stride = Math.ceil(radius) * 2 + 1
  const taps: Taps = { first: new Int32Array(outSize), count: new Int32Array(outSize), weights: new Int32Array(outSize * stride), stride }
  const values = new Float64Array(stride)
  await inSlices(outSize, (out) => {
    const centre = (out + 0.5) * scale
    const first = Math.max(0, Math.trunc(centre - radius + 0.5))
    const count = Math.min(inSize, Math.trunc(centre + radius + 0.5)) - first
    let sum = 0
    for (let i = 0; i < count; i++) sum += values[i] = weight((i + first - centre + 0.5) / filterScale)
    for (let i = 0; i < count; i++) {
      const exact = (sum === 0 ? values[i]! : values[i]! / sum) * one
      taps.weights[out * stride + i] = Math.trunc(exact < 0 ? exact - 0.5 : exact + 0.5)
    }
    taps.first[out] = first
    taps.count[out] = count
  })
  return taps
}

function toByte(sum: number): number {
  const value = sum >> precisionBits
  return value < 0 ? 0 : value > 255 ? 255 : value
}

/** Columns of a row computed at a time. */
const pieceColumns = 2048

async function horizontal({ data, width, height, channels }: Pixels, outWidth: number, kernel: Kernel): Promise<Pixels> {
  const { first, count, weights, stride } = await computeTaps(width, outWidth, kernel)
  const out = new Uint8Array(outWidth * height * channels)
  const pieces = Math.ceil(outWidth / pieceColumns)
  await inSlices(height * pieces, (piece) => {
    const y = Math.floor(piece / pieces)
    const begin = (piece % pieces) * pieceColumns
    const end = Math.min(outWidth, begin + pieceColumns)
    const row = y * width * channels
    let target = (y * outWidth + begin) * channels
    for (let x = begin; x < end; x++) {
      const taps = count[x]!
      const weightAt = x * stride
      for (let c = 0; c < channels; c++) {
        let source = row + first[x]! * channels + c
        let sum = half
        for (let i = 0; i < taps; i++, source += channels) sum += data[source]! * weights[weightAt + i]!
        out[target++] = toByte(sum)
      }
    }
  })
  return { data: out, width: outWidth, height, channels }
}

async function vertical({ data, width, height, channels }: Pixels, outHeight: number, kernel: Kernel): Promise<Pixels> {
  const { first, count, weights, stride } = await computeTaps(height, outHeight, kernel)
  const rowLength = width * channels
  const out = new Uint8Array(rowLength * outHeight)
  const sums = new Float64Array(rowLength)
  const slice = new TimeSlice()
  for (let y = 0; y < outHeight; y++) {
    sums.fill(half)
    for (let i = 0; i < count[y]!; i++) {
      const weight = weights[y * stride + i]!
      const row = (first[y]! + i) * rowLength
      for (let x = 0; x < rowLength; x++) sums[x]! += data[row + x]! * weight
      // A row of a much smaller image is computed from thousands.
      if (slice.over) await slice.next()
    }
    const target = y * rowLength
    for (let x = 0; x < rowLength; x++) out[target + x] = toByte(sums[x]!)
  }
  return { data: out, width, height: outHeight, channels }
}

/** Source positions of nearest neighbours: pixel centres, summed step by step as in Pillow. */
function nearestPositions(inSize: number, outSize: number): Int32Array {
  const step = inSize / outSize
  const positions = new Int32Array(outSize)
  let at = step * 0.5
  for (let i = 0; i < outSize; i++, at += step) positions[i] = Math.min(inSize - 1, Math.trunc(at))
  return positions
}

async function nearest({ data, width, height, channels }: Pixels, outWidth: number, outHeight: number): Promise<Pixels> {
  const columns = nearestPositions(width, outWidth)
  const rows = nearestPositions(height, outHeight)
  const out = new Uint8Array(outWidth * outHeight * channels)
  await inSlices(outHeight, (y) => {
    let target = y * outWidth * channels
    for (let x = 0; x < outWidth; x++) {
      const source = (rows[y]! * width + columns[x]!) * channels
      for (let c = 0; c < channels; c++) out[target++] = data[source + c]!
    }
  })
  return { data: out, width: outWidth, height: outHeight, channels }
}

/** a * b / 255, rounded, in Pillow's integer form. */
function times(a: number, b: number): number {
  const product = a * b + 128
  return ((product >> 8) + product) >> 8
}

async function mapRgba(pixels: Pixels, convert: (colour: number, alpha: number) => number): Promise<Pixels> {
  const { data, width, height } = pixels
  const out = new Uint8Array(data.length)
  await inSlices(height, (y) => {
    const end = (y + 1) * width * 4
    for (let i = y * width * 4; i < end; i += 4) {
      const alpha = data[i + 3]!
      for (let c = 0; c < 3; c++) out[i + c] = convert(data[i + c]!, alpha)
      out[i + 3] = alpha
    }
  })
  return { ...pixels, data: out }
}

/** Resizes to `width` x `height`; returns a copy if the size is the same. Does not block the event loop. */
export async function resizePixels(pixels: Pixels, width: number, height: number, filter: ResizeFilter): Promise<Pixels> {
  if (pixels.width === width && pixels.height === height) {
    const data = new Uint8Array(pixels.data.length)
    await copySliced(pixels.data, data)
    return { ...pixels, data }
  }
  if (filter === 'nearest') return nearest(pixels, width, height)
  const kernel = kernels[filter]
  const hasAlpha = pixels.channels === 4
  let current = hasAlpha ? await mapRgba(pixels, times) : pixels
  if (width !== pixels.width) current = await horizontal(current, width, kernel)
  if (height !== pixels.height) current = await vertical(current, height, kernel)
  const divide = (colour: number, alpha: number) => (alpha === 0 || alpha === 255 ? colour : Math.min(255, Math.trunc((255 * colour) / alpha)))
  return hasAlpha ? mapRgba(current, divide) : current
}
