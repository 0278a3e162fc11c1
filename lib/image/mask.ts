/** Masks of inpainting: images or numbers as one float per pixel, 0 or 1. */
import type { GenerateWarning } from '../kinds/generate-types.js'
import type { MaskInput } from '../kinds/inputs.js'
import { invalidRange, isBytes, isFloat32Array } from '../options/validate.js'
import { checkPixelNumbers, type PixelNumbers } from './pixel-numbers.js'
import { RawImage } from './raw-image.js'
import { findSliced, inSlices } from '../files/time-slice.js'

/** 1 repaints, 0 keeps. */
export type Mask = PixelNumbers<Float32Array>

/** A mask that has been read. */
export interface ReadMask extends Mask {
  /** Number of pixels to repaint. */
  selected: number
  /** Whether it has a non-trivial alpha channel, which is ignored. */
  hasAlpha: boolean
}

/** Threshold from which a pixel is repainted (scripts/inpaint.py of the reference). */
const threshold = 0.5

/** Numbers without channels, which distinguishes them from pixels of an image. */
export function isPixelNumbers(value: unknown): value is { data: unknown; width: unknown; height: unknown } {
  return typeof value === 'object' && value !== null && !(value instanceof RawImage) && 'data' in value && !('channels' in value)
}

const isShares = (data: unknown): data is Uint8Array | Float32Array => isBytes(data) || isFloat32Array(data)

/** Bytes are relative to 255, or to 1 in a mask of only zeros and ones. */
async function whiteOf(data: Uint8Array): Promise<number> {
  return (await findSliced(data, (byte) => byte > 1)) < 0 ? 1 : 255
}

async function binarise({ data, width, height }: PixelNumbers<ArrayLike<number>>, white: number, name: string): Promise<ReadMask> {
  const out = new Float32Array(width * height)
  let selected = 0
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++) {
      const share = data[i]! / white
      if (!(share >= 0 && share <= 1)) throw invalidRange(`${name}: the value ${data[i]} at (${i % width}, ${y}) is not between 0 and 1`)
      if (share >= threshold) selected += out[i] = 1
    }
  })
  return { data: out, width, height, selected, hasAlpha: false }
}

/** Lightness of every pixel, as in Pillow's convert('L'): ITU-R 601-2 in 16-bit fixed point; transparency is dropped. */
export async function lightness({ data, width, height, channels }: RawImage): Promise<Uint8Array> {
  if (channels === 1) return data
  const out = new Uint8Array(width * height)
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++) {
      const at = i * channels
      out[i] = (data[at]! * 19595 + data[at + 1]! * 38470 + data[at + 2]! * 7471 + 0x8000) >> 16
    }
  })
  return out
}

/** Whether a pixel is not opaque. */
async function saysAlpha({ data, channels }: RawImage): Promise<boolean> {
  if (channels !== 4) return false
  const alphas = { length: data.length / 4 }
  let found = false
  await inSlices(Math.ceil(alphas.length / 4096), (block) => {
    for (let i = 4096 * block; i < Math.min(alphas.length, 4096 * (block + 1)); i++) found ||= data[4 * i + 3]! < 255
  })
  return found
}

/** Reads a mask: pixels of at least half lightness become 1. An alpha channel is ignored, as in the reference. */
async function readMask(input: MaskInput, name = 'mask'): Promise<ReadMask> {
  if (isPixelNumbers(input)) {
    const mask = checkPixelNumbers(input, name, isShares, 'a Uint8Array or a Float32Array')
    return binarise(mask, isBytes(mask.data) ? await whiteOf(mask.data) : 1, name)
  }
  const picture = await RawImage.read(input)
  const { width, height } = picture
  return { ...(await binarise({ data: await lightness(picture), width, height }, 255, name)), hasAlpha: await saysAlpha(picture) }
}

/** Reads the mask of an image, which must have its size. */
export async function readMaskOf(image: { width: number; height: number }, input: MaskInput): Promise<ReadMask> {
  const mask = await readMask(input)
  if (mask.width !== image.width || mask.height !== image.height)
    throw invalidRange(`mask is ${mask.width}x${mask.height}, but image is ${image.width}x${image.height}; they must have the same size`)
  return mask
}

/** The warning for a mask that selects nothing or everything. */
export function maskWarning({ width, height, selected, hasAlpha }: ReadMask): GenerateWarning | undefined {
  if (selected > 0 && selected < width * height) return undefined
  const alpha = hasAlpha ? '; its alpha channel is ignored: paint the area to repaint white and the rest black' : ''
  return selected === 0
    ? { code: 'WARN_MASK_EMPTY', message: `mask selects nothing: no pixel of ${width}x${height} is white, so nothing is repainted${alpha}` }
    : {
        code: 'WARN_MASK_FULL',
        message: `mask selects everything: all ${width}x${height} pixels are white, so the whole image is repainted${alpha}`,
      }
}

/** The mask resized by nearest-neighbour sampling. */
export async function resampleMask(mask: Mask, width: number, height: number): Promise<Mask> {
  if (mask.width === width && mask.height === height) return mask
  const data = new Float32Array(width * height)
  await inSlices(height, (y) => {
    const row = Math.floor(((y + 0.5) * mask.height) / height) * mask.width
    for (let x = 0; x < width; x++) data[y * width + x] = mask.data[row + Math.floor(((x + 0.5) * mask.width) / width)]!
  })
  return { data, width, height }
}
