/** Inpainting at full resolution, as in the web UI: the masked area is cropped, generated at the requested size, and pasted back. */
import { RawImage } from 'node-latent-diffusion'
import { inSlices } from './slices.js'

const isWhite = (value: number) => value >= 128

export interface Box {
  x: number
  y: number
  width: number
  height: number
}

/**
 * The bounding box of the white area (at least half lightness), with `padding`, extended to the aspect ratio of `width` by `height` as far as the image allows.
 * Undefined if nothing is white.
 */
export async function maskedBox(mask: RawImage, padding: number, width: number, height: number): Promise<Box | undefined> {
  let [left, top, right, bottom] = [mask.width, mask.height, -1, -1]
  await inSlices(mask.height, (y) => {
    const row = mask.data.subarray(y * mask.width, (y + 1) * mask.width)
    const first = row.findIndex(isWhite)
    if (first < 0) return
    left = Math.min(left, first)
    right = Math.max(right, row.findLastIndex(isWhite))
    top = Math.min(top, y)
    bottom = y
  })
  if (right < 0) return undefined
  const padded = { left: left - padding, top: top - padding, right: right + 1 + padding, bottom: bottom + 1 + padding }
  const wanted = { width: padded.right - padded.left, height: padded.bottom - padded.top }
  if (wanted.width * height < wanted.height * width) wanted.width = Math.ceil((wanted.height * width) / height)
  else wanted.height = Math.ceil((wanted.width * height) / width)
  const place = (from: number, to: number, size: number, limit: number) => {
    const side = Math.min(size, limit)
    const start = Math.round((from + to - side) / 2)
    return [Math.min(Math.max(0, start), limit - side), side] as const
  }
  const [x, w] = place(padded.left, padded.right, wanted.width, mask.width)
  const [y, h] = place(padded.top, padded.bottom, wanted.height, mask.height)
  return { x, y, width: w, height: h }
}

export function crop({ data, width, channels }: RawImage, box: Box): RawImage {
  const out = new Uint8Array(box.width * box.height * channels)
  for (let y = 0; y < box.height; y++) {
    const from = ((box.y + y) * width + box.x) * channels
    out.set(data.subarray(from, from + box.width * channels), y * box.width * channels)
  }
  return new RawImage({ data: out, width: box.width, height: box.height, channels })
}

/** The whole image in the middle of one of this size; its outer pixels fill the borders, as in the web UI's `resize_mode` 2. */
export async function fitFill(picture: RawImage, width: number, height: number): Promise<RawImage> {
  const scale = Math.min(width / picture.width, height / picture.height)
  const side = (own: number, limit: number) => Math.min(limit, Math.max(1, Math.round(own * scale)))
  const inner = await picture.resize(side(picture.width, width), side(picture.height, height))
  const [left, top] = [Math.floor((width - inner.width) / 2), Math.floor((height - inner.height) / 2)]
  const { channels } = picture
  const data = new Uint8Array(width * height * channels)
  const within = (at: number, count: number) => Math.min(count - 1, Math.max(0, at))
  await inSlices(height, (y) => {
    const row = within(y - top, inner.height) * inner.width
    for (let x = 0, to = y * width * channels; x < width; x++) {
      const from = (row + within(x - left, inner.width)) * channels
      for (let c = 0; c < channels; c++) data[to++] = inner.data[from + c]!
    }
  })
  return new RawImage({ data, width, height, channels })
}

/** One value per pixel of an image. */
async function mapPixels({ data, width, height, channels }: RawImage, valueAt: (data: RawImage['data'], at: number) => number): Promise<RawImage> {
  const out = new Uint8Array(width * height)
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++) out[i] = valueAt(data, i * channels)
  })
  return new RawImage({ data: out, width, height, channels: 1 })
}

/** Lightness, with transparent parts as black. */
export async function toGrey(picture: RawImage): Promise<RawImage> {
  const { channels } = picture
  if (channels === 1) return picture
  return mapPixels(picture, (data, at) => {
    const light = 0.299 * data[at]! + 0.587 * data[at + 1]! + 0.114 * data[at + 2]!
    return Math.round(channels === 4 ? (light * data[at + 3]!) / 255 : light)
  })
}

/** The transparent area of a four-channel image, in white. */
export function transparency(picture: RawImage): Promise<RawImage> {
  return mapPixels(picture, (data, at) => 255 - data[at + 3]!)
}

export function invert(mask: RawImage): Promise<RawImage> {
  return mapPixels(mask, (data, at) => 255 - data[at]!)
}

/** Shares below 3 % are invisible, but common in black areas of JPEG files. */
const faint = 8

/** All pixels that a soft mask affects, in white. */
export function touched(mask: RawImage, soft: RawImage): Promise<RawImage> {
  return mapPixels(soft, (data, at) => (data[at]! > faint || isWhite(mask.data[at]!) ? 255 : 0))
}

/** Three box blurs of a line, which approximate a Gaussian. */
function blurLine(values: Float32Array, from: number, step: number, count: number, radius: number, line: Float32Array): void {
  const at = (i: number) => line[Math.min(count - 1, Math.max(0, i))]!
  for (let pass = 0; pass < 3; pass++) {
    for (let i = 0; i < count; i++) line[i] = values[from + i * step]!
    let sum = 0
    for (let i = -radius; i <= radius; i++) sum += at(i)
    for (let i = 0; i < count; i++) {
      values[from + i * step] = sum / (2 * radius + 1)
      sum += at(i + radius + 1) - at(i - radius)
    }
  }
}

/** A mask with soft edges. `sigma`: in pixels. */
export async function blur({ data, width, height }: RawImage, sigma: number): Promise<RawImage> {
  const radius = Math.round((Math.sqrt(4 * sigma * sigma + 1) - 1) / 2)
  if (radius < 1) return new RawImage({ data, width, height, channels: 1 })
  const values = new Float32Array(width * height)
  const line = new Float32Array(Math.max(width, height))
  await inSlices(height, (y) => {
    values.set(data.subarray(y * width, (y + 1) * width), y * width)
    blurLine(values, y * width, 1, width, radius, line)
  })
  await inSlices(width, (x) => blurLine(values, x, width, height, radius, line))
  const out = new Uint8Array(width * height)
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++) out[i] = Math.round(values[i]!)
  })
  return new RawImage({ data: out, width, height, channels: 1 })
}

/** Pastes `over` into `box` where `mask` (of the whole image) is white. */
export async function putBack(picture: RawImage, over: RawImage, box: Box, mask: RawImage): Promise<RawImage> {
  const { width, height, channels } = picture
  const data = new Uint8Array(width * height * 3)
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++)
      for (let c = 0; c < 3; c++) data[3 * i + c] = picture.data[i * channels + (channels === 1 ? 0 : c)]!
  })
  await inSlices(box.height, (y) => {
    for (let x = 0; x < box.width; x++) {
      const to = (box.y + y) * width + box.x + x
      const share = mask.data[to]! / 255
      const from = (y * box.width + x) * over.channels
      for (let c = 0; c < 3; c++)
        data[3 * to + c] = Math.round(data[3 * to + c]! * (1 - share) + over.data[from + (over.channels === 1 ? 0 : c)]! * share)
    }
  })
  return new RawImage({ data, width, height, channels: 3, metadata: over.metadata })
}
