import { DiffusionError } from '../errors.js'

/** Limits on images from outside, checked before anything is allocated. */
export const maxImageSide = 16_384
export const maxImagePixels = 64 << 20
export const maxImageFileBytes = 512 << 20

/** An image that is broken, cut short, too large or of an unknown kind. */
export function imageError(message: string, details?: Record<string, unknown>, cause?: unknown): DiffusionError {
  return new DiffusionError('ERR_IMAGE_FORMAT', message, details, cause === undefined ? undefined : { cause })
}

export function checkImageSize(width: number, height: number, where: string, maxPixels = maxImagePixels): void {
  if (width < 1 || height < 1 || width > maxImageSide || height > maxImageSide || width * height > maxPixels) {
    throw imageError(`${where} has ${width}x${height} pixels; the limits are 1 to ${maxImageSide} pixels per side and ${maxPixels} pixels in all`, {
      width,
      height,
      maxPixels,
    })
  }
}
