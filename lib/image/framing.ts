/** Images whose size does not fit the networks are padded to the next size that does, as in native/pipeline/image/framing.h, and cropped again from the top left. */
import type { NativePicture } from '../native/contract.js'
import type { Mask } from './mask.js'
import { inSlices } from '../files/time-slice.js'

/** Width and height in pixels. */
export interface Size {
  width: number
  height: number
}

/** Planar floats, [n, c, height, width]. */
interface Planes {
  data: Float32Array
  shape: readonly number[]
}

/** Width and height rounded up to a multiple. */
export function framedSize({ width, height }: Size, multiple: number): Size {
  const up = (side: number) => Math.ceil(side / multiple) * multiple
  return { width: up(width), height: up(height) }
}

/** Pads [n, c, h, w] by repeating the last row and column. */
export async function padEdges(image: Planes, { width, height }: Size): Promise<Planes> {
  const [n, c, h, w] = image.shape as [number, number, number, number]
  if (w === width && h === height) return image
  const data = new Float32Array(n * c * height * width)
  await inSlices(n * c * height, (row) => {
    const from = (Math.floor(row / height) * h + Math.min(row % height, h - 1)) * w
    data.set(image.data.subarray(from, from + w), row * width)
    data.fill(image.data[from + w - 1]!, row * width + w, (row + 1) * width)
  })
  return { data, shape: [n, c, height, width] }
}

/** Pads a mask with pixels that are not repainted. */
export async function padMask(mask: Mask, { width, height }: Size): Promise<Mask> {
  if (mask.width === width && mask.height === height) return mask
  const data = new Float32Array(width * height)
  await inSlices(mask.height, (y) => data.set(mask.data.subarray(y * mask.width, (y + 1) * mask.width), y * width))
  return { data, width, height }
}

/** The top left part of an image, and a function that copies one of its rows. Null if it is the whole image; smaller images are unchanged. */
function planCrop(picture: NativePicture, size: Size): { cropped: NativePicture; copyRow: (y: number) => void } | null {
  const { channels } = picture
  const [width, height] = [Math.min(picture.width, size.width), Math.min(picture.height, size.height)]
  if (width === picture.width && height === picture.height) return null
  const data = new Uint8Array(width * height * channels)
  const copyRow = (y: number) => {
    const from = y * picture.width * channels
    data.set(picture.data.subarray(from, from + width * channels), y * width * channels)
  }
  return { cropped: { data, width, height, channels }, copyRow }
}

/** The top left part of an image. */
export async function cropPicture(picture: NativePicture, size: Size): Promise<NativePicture> {
  const plan = planCrop(picture, size)
  if (!plan) return picture
  await inSlices(plan.cropped.height, plan.copyRow)
  return plan.cropped
}

/** The same for a preview, synchronously, so that an error of the listener belongs to the step. */
export function cropPreview(picture: NativePicture, size: Size): NativePicture {
  const plan = planCrop(picture, size)
  if (!plan) return picture
  for (let y = 0; y < plan.cropped.height; y++) plan.copyRow(y)
  return plan.cropped
}
