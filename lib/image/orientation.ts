/** EXIF orientation (CIPA DC-008, tag 0x0112). */
import { inSlices } from '../files/time-slice.js'

/** 1 upright, 2 mirrored, 3 upside down, 4 both, 5 to 8 turned by a quarter: 5 and 7 mirrored, 6 clockwise, 8 anticlockwise. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8

const orientationTag = 0x0112
const shortType = 3

/** The orientation in an EXIF block; 1 if missing or invalid. */
export function exifOrientation(exif: Buffer | undefined): Orientation {
  if (!exif) return 1
  // Some programs keep the prefix that the block has in JPEG files.
  const tiff = exif.toString('latin1', 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif
  const mark = tiff.toString('latin1', 0, 4)
  if (tiff.length < 8 || (mark !== 'II*\0' && mark !== 'MM\0*')) return 1
  const little = mark === 'II*\0'
  const u16 = (at: number) => (little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at))
  const directory = little ? tiff.readUInt32LE(4) : tiff.readUInt32BE(4)
  if (directory + 2 > tiff.length) return 1
  for (let at = directory + 2, left = u16(directory); left > 0 && at + 12 <= tiff.length; left--, at += 12) {
    if (u16(at) !== orientationTag) continue
    const value = u16(at + 8)
    return u16(at + 2) === shortType && value >= 1 && value <= 8 ? (value as Orientation) : 1
  }
  return 1
}

/** Pixels. */
export interface ImageSize {
  width: number
  height: number
}

/** The size of an image after its rotation. */
export function uprightSize({ width, height }: ImageSize, orientation: number | undefined): ImageSize {
  return (orientation ?? 1) >= 5 ? { width: height, height: width } : { width, height }
}

/** Interleaved samples. */
interface Samples<D extends Uint8Array | Uint16Array> {
  data: D
  width: number
  height: number
  channels: number
}

/** Rotates an image upright. */
export async function turnUpright<D extends Uint8Array | Uint16Array>(picture: Samples<D>, orientation: Orientation): Promise<Samples<D>> {
  if (orientation === 1) return picture
  const { data, width, height, channels } = picture
  const quarter = orientation >= 5
  const [outWidth, outHeight] = quarter ? [height, width] : [width, height]
  // Offset of the source of the first pixel, and the steps to the next column and row.
  const fromRight = [2, 3, 7, 8].includes(orientation)
  const fromBottom = [3, 4, 6, 7].includes(orientation)
  const across = (fromRight ? -1 : 1) * channels
  const down = (fromBottom ? -1 : 1) * width * channels
  const first = (fromRight ? width - 1 : 0) * channels + (fromBottom ? height - 1 : 0) * width * channels
  const [columnStep, rowStep] = quarter ? [down, across] : [across, down]
  const out = new (data.constructor as new (length: number) => D)(data.length)
  await inSlices(outHeight, (y) => {
    let from = first + y * rowStep
    let to = y * outWidth * channels
    for (let x = 0; x < outWidth; x++, from += columnStep) for (let c = 0; c < channels; c++) out[to++] = data[from + c]!
  })
  return { data: out, width: outWidth, height: outHeight, channels }
}
