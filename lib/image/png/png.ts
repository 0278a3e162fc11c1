/**
 * Reads and writes PNG in plain TypeScript with Node's zlib. No maintained library decodes without blocking the event loop, inflates only once, limits the
 * inflated size and keeps the texts: pngjs and fast-png decode a whole image without a break.
 */
import { imageError } from '../image-error.js'
import { exifOrientation, turnUpright, uprightSize, type ImageSize } from '../orientation.js'
import type { Pixels } from '../resize.js'
import { readChunks } from './chunks.js'
import { readWithSharpIfThere } from '../sharp-codec.js'
import { needsTables, profileOf, readNumbers, readPixels } from './pixels.js'
import { readTexts } from './text.js'

export { isPng } from './format.js'
export { writePng } from './write.js'

/**
 * Reads a PNG of any kind to 8 bits in sRGB, upright: 16 bits are rounded, palettes and small depths expanded, profiles, gamma and EXIF's orientation applied.
 * A profile with lookup tables needs the optional peer dependency sharp, which has a colour engine; without sharp the values are taken as sRGB.
 */
export async function readPng(bytes: Uint8Array, where: string, maxPixels?: number): Promise<Pixels & { metadata: Record<string, string> }> {
  const file = await readChunks(bytes, where, maxPixels)
  const profile = await profileOf(file, where)
  const converted = needsTables(file, profile) ? await readWithSharpIfThere(bytes, 'PNG') : undefined
  const pixels = converted ?? (await turnUpright(await readPixels(file, profile, where), exifOrientation(file.exif)))
  return { ...pixels, metadata: await readTexts(file, where) }
}

/** The size that {@link readPng} gives. Checks everything but the image data. */
export async function pngSize(bytes: Uint8Array, where: string, maxPixels?: number): Promise<ImageSize> {
  const file = await readChunks(bytes, where, maxPixels)
  await profileOf(file, where)
  await readTexts(file, where)
  return uprightSize(file.header, exifOrientation(file.exif))
}

/** Reads the numbers of a grey PNG of any depth, or the palette indices of a palette PNG, upright: one per pixel, unconverted. */
export async function readPngSamples(bytes: Uint8Array, where: string): Promise<{ data: Uint16Array; width: number; height: number }> {
  const file = await readChunks(bytes, where)
  const { colourType } = file.header
  if (colourType !== 0 && colourType !== 3) throw imageError(`${where} has several numbers per pixel; use a greyscale or palette PNG`, { colourType })
  const { data, width, height } = await turnUpright({ ...(await readNumbers(file, where)), channels: 1 }, exifOrientation(file.exif))
  return { data, width, height }
}
