/** Converts images to tensors for a first stage, like diffusers' VaeImageProcessor and CompVis' load_img. */
import type { RawImage } from './raw-image.js'
import { inSlices } from '../files/time-slice.js'

/** Planar float32, [1, 3, height, width], -1 to 1. */
export interface PlanarImage {
  data: Float32Array
  shape: [1, 3, number, number]
}

/** Width and height rounded down to a multiple (8 in diffusers, 32 or 64 in CompVis), at least one multiple. */
export function sizeInMultiples({ width, height }: { width: number; height: number }, multiple: number): { width: number; height: number } {
  const down = (side: number) => Math.max(multiple, side - (side % multiple))
  return { width: down(width), height: down(height) }
}

/**
 * byte / 255 * 2 - 1 in three planes. Grey is repeated. Transparency is dropped, as by Pillow's convert('RGB') in both references: the stored colours of
 * transparent pixels are used.
 */
export async function toPlanar({ data, width, height, channels }: Pick<RawImage, 'data' | 'width' | 'height' | 'channels'>): Promise<PlanarImage> {
  const table = Float32Array.from({ length: 256 }, (_, byte) => (byte / 255) * 2 - 1)
  const pixels = width * height
  const out = new Float32Array(3 * pixels)
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2]
  await inSlices(height, (y) => {
    const end = (y + 1) * width
    for (let i = y * width; i < end; i++) {
      const at = i * channels
      out[i] = table[data[at]!]!
      out[pixels + i] = table[data[at + green]!]!
      out[2 * pixels + i] = table[data[at + blue]!]!
    }
  })
  return { data: out, shape: [1, 3, height, width] }
}
