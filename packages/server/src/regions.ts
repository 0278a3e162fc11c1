/** Inpainting at full size, as the web UI does it: the masked area is cut out, made at the size that was asked for, and put back. */
import { RawImage } from 'node-latent-diffusion'

export interface Box {
  x: number
  y: number
  width: number
  height: number
}

/** What is white (from half lightness on), with `padding` around it, in the shape of `width` by `height` as far as the picture goes. Undefined where nothing is. */
export function maskedBox(mask: RawImage, padding: number, width: number, height: number): Box | undefined {
  let [left, top, right, bottom] = [mask.width, mask.height, -1, -1]
  for (let y = 0; y < mask.height; y++) {
    for (let x = 0; x < mask.width; x++) {
      if (mask.data[y * mask.width + x]! < 128) continue
      left = Math.min(left, x)
      right = Math.max(right, x)
      top = Math.min(top, y)
      bottom = y
    }
  }
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

/** Lightness, with transparent parts as black. */
export function toGrey({ data, width, height, channels }: RawImage): RawImage {
  if (channels === 1) return new RawImage({ data, width, height, channels })
  const grey = new Uint8Array(width * height)
  for (let i = 0; i < grey.length; i++) {
    const at = i * channels
    const light = 0.299 * data[at]! + 0.587 * data[at + 1]! + 0.114 * data[at + 2]!
    grey[i] = Math.round(channels === 4 ? (light * data[at + 3]!) / 255 : light)
  }
  return new RawImage({ data: grey, width, height, channels: 1 })
}

export function invert({ data, width, height }: RawImage): RawImage {
  return new RawImage({ data: data.map((value) => 255 - value), width, height, channels: 1 })
}

/** One pass of three box blurs, which come close to a Gaussian of `sigma`. */
function blurLine(values: Float32Array, from: number, step: number, count: number, radius: number): void {
  const line = new Float32Array(count)
  for (let pass = 0; pass < 3; pass++) {
    for (let i = 0; i < count; i++) line[i] = values[from + i * step]!
    const at = (i: number) => line[Math.min(count - 1, Math.max(0, i))]!
    let sum = 0
    for (let i = -radius; i <= radius; i++) sum += at(i)
    for (let i = 0; i < count; i++) {
      values[from + i * step] = sum / (2 * radius + 1)
      sum += at(i + radius + 1) - at(i - radius)
    }
  }
}

export function blur({ data, width, height }: RawImage, sigma: number): RawImage {
  const radius = Math.round((Math.sqrt(4 * sigma * sigma + 1) - 1) / 2)
  if (radius < 1) return new RawImage({ data, width, height, channels: 1 })
  const values = Float32Array.from(data)
  for (let y = 0; y < height; y++) blurLine(values, y * width, 1, width, radius)
  for (let x = 0; x < width; x++) blurLine(values, x, width, height, radius)
  return new RawImage({ data: Uint8Array.from(values, Math.round), width, height, channels: 1 })
}

/** `over` in the place of `box`, as far as `mask` (of the whole picture) is white. */
export function putBack(picture: RawImage, over: RawImage, box: Box, mask: RawImage): RawImage {
  const { width, height, channels } = picture
  const data = new Uint8Array(width * height * 3)
  for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) data[3 * i + c] = picture.data[i * channels + (channels === 1 ? 0 : c)]!
  for (let y = 0; y < box.height; y++) {
    for (let x = 0; x < box.width; x++) {
      const to = (box.y + y) * width + box.x + x
      const share = mask.data[to]! / 255
      const from = (y * box.width + x) * over.channels
      for (let c = 0; c < 3; c++)
        data[3 * to + c] = Math.round(data[3 * to + c]! * (1 - share) + over.data[from + (over.channels === 1 ? 0 : c)]! * share)
    }
  }
  return new RawImage({ data, width, height, channels: 3, metadata: over.metadata })
}
