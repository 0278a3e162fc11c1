/** Converts images to tensors of the first stage and back. */
import { ownFloats } from '../options/arrays.js'
import { toPlanar } from './preprocess.js'
import { RawImage } from './raw-image.js'
import type { NativePicture } from '../native/contract.js'
import type { FloatImage, ImageInput } from '../types.js'
import { checkFinite, checkShape, invalidRange, isFloat32Array } from '../options/validate.js'

function isFloatImage(image: unknown): image is FloatImage {
  return typeof image === 'object' && image !== null && isFloat32Array((image as { data?: unknown }).data) && 'shape' in image
}

/** Reads an image option as an image, so that a file is read only once. */
export async function readImage(image: ImageInput): Promise<FloatImage | RawImage> {
  return isFloatImage(image) ? image : RawImage.read(image)
}

/** An image option as planar floats. With `size`, images are resized to it; exact floats must already have it. */
export async function imageTensor(image: ImageInput, name: string, size?: { width: number; height: number }): Promise<FloatImage> {
  if (isFloatImage(image)) {
    const shape = checkShape(image.shape, `${name}.shape`, image.data.length)
    const full = shape.length === 3 ? [1, ...shape] : shape
    if (full.length !== 4)
      throw invalidRange(`${name}.shape must be [n, channels, height, width] or [channels, height, width], not [${shape.join(', ')}]`)
    if (size && (full[3] !== size.width || full[2] !== size.height)) {
      throw invalidRange(`${name} is ${full[3]}x${full[2]}, but ${size.width}x${size.height} is required; float tensors are not resized`)
    }
    return { data: await checkFinite(await ownFloats(image.data, `${name}.data`), `${name}.data`), shape: full }
  }
  const picture = await RawImage.read(image)
  return toPlanar(size && (picture.width !== size.width || picture.height !== size.height) ? await picture.resize(size.width, size.height) : picture)
}

/** Wraps an image of the engine in the public class. */
export function toRawImage({ data, width, height, channels }: NativePicture, metadata: Record<string, string> = {}): RawImage {
  return new RawImage({ data, width, height, channels: channels as 1 | 3 | 4, metadata })
}
