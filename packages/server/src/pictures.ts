/** Images in requests: base64 of files, or files of a form. The library checks their size before anything is decoded, and refuses decompression bombs. */
import { DiffusionError, RawImage } from 'node-latent-diffusion'
import { HttpError, invalid } from './errors.js'
import type { Limits } from './settings.js'

const ascii = (bytes: Uint8Array, from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to))

/** PNG, JPEG or WebP. The library would try other formats, too. */
function isSupported(bytes: Uint8Array): boolean {
  return (
    ascii(bytes, 0, 8) === '\x89PNG\r\n\x1a\n' ||
    ascii(bytes, 0, 3) === '\xff\xd8\xff' ||
    (ascii(bytes, 0, 4) === 'RIFF' && ascii(bytes, 8, 12) === 'WEBP')
  )
}

/** Reads an image file from a request with `read`, whose errors name the field. */
async function withinLimits<T>(bytes: Uint8Array, name: string, { maxFileBytes }: Limits, read: () => Promise<T>): Promise<T> {
  if (bytes.length === 0) throw invalid(`${name} is empty`, name)
  if (bytes.length > maxFileBytes) throw invalid(`${name} has ${bytes.length} bytes; this server allows ${maxFileBytes}`, name)
  if (!isSupported(bytes)) throw invalid(`${name} is not a PNG, JPEG or WebP image`, name)
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof DiffusionError)) throw error
    throw new HttpError(400, error.code, `${name}: ${error.message}`, { param: name })
  }
}

/** Checks an image file from a request: its format, its size, and all but the image data themselves, which are decoded later. */
export async function checkPicture(bytes: Uint8Array, name: string, limits: Limits): Promise<Uint8Array> {
  await withinLimits(bytes, name, limits, () => RawImage.size(bytes, { maxPixels: limits.maxPixels }))
  return bytes
}

/** The bytes of base64, plain or as a data: URL. */
function decodeBase64(text: string, name: string, limits: Limits): Uint8Array {
  if (/^\s*(https?|file|ftp):/i.test(text)) throw invalid(`${name} is a URL, which this server does not fetch; send the image in base64`, name)
  const data = text.startsWith('data:') ? text.slice(text.indexOf(',') + 1) : text
  if (text.startsWith('data:') && !/^data:[\w/+.-]*;base64,/.test(text.slice(0, 100))) throw invalid(`${name}: the data: URL is not in base64`, name)
  if (data.length > limits.maxFileBytes * 1.4) throw invalid(`${name} is larger than the limit of ${limits.maxFileBytes} bytes`, name)
  // Characters outside base64 mean a path or other text.
  if (/[^A-Za-z0-9+/=_\-\s]/.test(data)) throw invalid(`${name} is not base64`, name)
  return new Uint8Array(Buffer.from(data, 'base64'))
}

/** The file of an image in base64, checked. */
export async function decodePicture(text: string, name: string, limits: Limits): Promise<Uint8Array> {
  return checkPicture(decodeBase64(text, name, limits), name, limits)
}

/** The pixels of an image in base64. */
export async function readPicture(text: string, name: string, limits: Limits): Promise<RawImage> {
  const bytes = decodeBase64(text, name, limits)
  return withinLimits(bytes, name, limits, () => RawImage.read(bytes, { maxPixels: limits.maxPixels }))
}
