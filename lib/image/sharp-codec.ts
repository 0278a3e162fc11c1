/** JPEG, WebP and other formats through the optional peer dependency `sharp`, loaded at first use. */
import { createRequire } from 'node:module'
import type sharpModule from 'sharp'
import { DiffusionError } from '../errors.js'
import { inSlices } from '../files/time-slice.js'
import { checkImageSize, imageError, maxImagePixels } from './image-error.js'
import { checkJpegScans } from './jpeg-scans.js'
import { uprightSize, type ImageSize } from './orientation.js'
import type { Pixels } from './resize.js'

type Sharp = typeof sharpModule

function loadSharp(what: string): Sharp {
  try {
    return createRequire(__filename)('sharp') as Sharp
  } catch (cause) {
    throw new DiffusionError(
      'ERR_UNSUPPORTED_IMAGE',
      `${what} needs the optional package sharp, which is not installed: npm install sharp. PNG works without it`,
      {},
      { cause },
    )
  }
}

/**
 * The size that {@link readWithSharp} gives, from the header.
 * @throws DiffusionError `ERR_IMAGE_FORMAT` for images that are broken, too large or take too long
 */
export async function sizeWithSharp(bytes: Uint8Array, format: string, where: string, maxPixels = maxImagePixels): Promise<ImageSize> {
  const sharp = loadSharp(`Reading ${format} (${where})`)
  if (format === 'JPEG') await checkJpegScans(bytes, where)
  const { width, height, orientation } = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((cause: unknown) => {
      throw invalidFile(format, where, cause)
    })
  checkImageSize(width, height, where, maxPixels)
  return uprightSize({ width, height }, orientation)
}

function invalidFile(format: string, where: string, cause: unknown): DiffusionError {
  return imageError(`${where} is not a valid ${format} file: ${(cause as Error).message}`, {}, cause)
}

/** Decodes to 8-bit sRGB, rotated by the EXIF orientation. */
export async function readWithSharp(bytes: Uint8Array, format: string, where: string, maxPixels = maxImagePixels): Promise<Pixels> {
  await sizeWithSharp(bytes, format, where, maxPixels)
  const sharp = loadSharp(`Reading ${format} (${where})`)
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels, failOn: 'truncated' })
      .rotate()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    const pixels = {
      data: new Uint8Array(data.buffer, data.byteOffset, data.length),
      width: info.width,
      height: info.height,
      channels: info.channels as number,
    }
    return pixels.channels === 2 ? await greyAlphaToRgba(pixels) : pixels
  } catch (cause) {
    throw invalidFile(format, where, cause)
  }
}

/** The same; undefined if sharp is not installed or cannot read the image. */
export function readWithSharpIfThere(bytes: Uint8Array, format: string): Promise<Pixels | undefined> {
  return readWithSharp(bytes, format, 'the image').catch(() => undefined)
}

async function greyAlphaToRgba({ data, width, height }: Pixels): Promise<Pixels> {
  const out = new Uint8Array(width * height * 4)
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++) {
      out[4 * i] = out[4 * i + 1] = out[4 * i + 2] = data[2 * i]!
      out[4 * i + 3] = data[2 * i + 1]!
    }
  })
  return { data: out, width, height, channels: 4 }
}

export interface SharpEncodeOptions {
  quality: number
  lossless: boolean
}

/** JPEG has no transparency: images are composited on white. */
export async function writeWithSharp(
  { data, width, height, channels }: Pixels,
  format: 'jpeg' | 'webp',
  { quality, lossless }: SharpEncodeOptions,
): Promise<Uint8Array> {
  const sharp = loadSharp(`Writing ${format.toUpperCase()}`)
  const image = sharp(data, { raw: { width, height, channels: channels as 1 | 3 | 4 } })
  return format === 'jpeg' ? image.flatten({ background: '#ffffff' }).jpeg({ quality }).toBuffer() : image.webp({ quality, lossless }).toBuffer()
}
