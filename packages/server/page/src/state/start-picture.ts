/** The start image and its mask. Both stay while prompts change. */
import { signal } from '@preact/signals'
import { canvasOf, pngOf, type Mask } from '../mask/raster.js'
import { server } from './server.js'

export interface StartPicture {
  /** PNG, within the server's size limit. */
  file: Blob
  url: string
  width: number
  height: number
  mask?: Mask
}

export const start = signal<StartPicture | undefined>(undefined)
export const isEditingMask = signal(false)

const fits = (pixels: number, width: number, height: number) => Math.min(1, Math.sqrt(pixels / (width * height)))

/** Accepts any image that the browser can read; rotated by its EXIF orientation, and reduced if it exceeds the server's limit. */
export async function startFrom(file: Blob): Promise<StartPicture> {
  let bitmap: ImageBitmap
  try {
    bitmap = await createImageBitmap(file)
  } catch {
    throw new Error('This browser cannot read that file as an image')
  }
  const scale = fits(server.peek()?.limits.maxPixels ?? 1 << 20, bitmap.width, bitmap.height)
  const width = Math.max(1, Math.floor(bitmap.width * scale))
  const height = Math.max(1, Math.floor(bitmap.height * scale))
  const [canvas, context] = canvasOf({ width, height })
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0, width, height)
  bitmap.close()
  const png = await pngOf(canvas)
  clearStart()
  return (start.value = { file: png, url: URL.createObjectURL(png), width, height })
}

export function clearStart(): void {
  const old = start.peek()
  start.value = undefined
  isEditingMask.value = false
  if (old) URL.revokeObjectURL(old.url)
}

export function setMask(mask: Mask | undefined): void {
  const now = start.peek()
  if (now) start.value = { ...now, mask }
}

/** The size to generate: the image's, scaled towards the model's training size. */
export function sizeFor({ width, height }: { width: number; height: number }, usual: { width: number; height: number }, multiple: number) {
  const own = usual.width * usual.height
  const scale = width * height > own * 1.5 || width * height < own / 4 ? Math.sqrt(own / (width * height)) : 1
  const rounded = (pixels: number) => Math.max(multiple, Math.round((pixels * scale) / multiple) * multiple)
  return { width: rounded(width), height: rounded(height) }
}
