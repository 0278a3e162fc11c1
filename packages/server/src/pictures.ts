/** Images in requests: base64 of files, whose size is read from their headers before anything is decoded. */
import { refuseBombs } from './bombs.js'
import { invalid } from './errors.js'
import type { Limits } from './settings.js'

export interface Size {
  width: number
  height: number
}

const ascii = (bytes: Uint8Array, from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to))

function pngSize(bytes: Uint8Array, view: DataView): Size | undefined {
  if (bytes.length < 33 || view.getUint32(0) !== 0x89504e47 || view.getUint32(4) !== 0x0d0a1a0a) return undefined
  if (ascii(bytes, 12, 16) !== 'IHDR') return undefined // readers skip other chunks in front of it
  return { width: view.getUint32(16), height: view.getUint32(20) }
}

/** The first frame header; every segment before it contains its length. Files are refused where readers would go on elsewhere and find another header. */
function jpegSize(bytes: Uint8Array, view: DataView): Size | undefined {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return undefined
  for (let at = 2; at + 9 <= bytes.length;) {
    if (bytes[at] !== 0xff) return undefined
    const marker = bytes[at + 1]!
    if (marker === 0xff) at++
    else if (marker === 0) return undefined
    else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) }
    else at += marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7) ? 2 : 2 + view.getUint16(at + 2)
  }
  return undefined
}

function webpSize(bytes: Uint8Array, view: DataView): Size | undefined {
  if (bytes.length < 30 || ascii(bytes, 0, 4) !== 'RIFF' || ascii(bytes, 8, 12) !== 'WEBP') return undefined
  const three = (at: number) => bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
  switch (ascii(bytes, 12, 16)) {
    case 'VP8X':
      return { width: 1 + three(24), height: 1 + three(27) }
    case 'VP8 ':
      return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff }
    case 'VP8L': {
      const bits = view.getUint32(21, true)
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) }
    }
    default:
      return undefined
  }
}

/** The size in an image file's header; undefined for unsupported formats. */
export function pictureSize(bytes: Uint8Array): Size | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return pngSize(bytes, view) ?? jpegSize(bytes, view) ?? webpSize(bytes, view)
}

/** Checks format and size of an image file from a request, and that it decompresses to no more than that. */
export async function checkPicture(bytes: Uint8Array, name: string, { maxFileBytes, maxPixels }: Limits): Promise<Uint8Array> {
  if (bytes.length === 0) throw invalid(`${name} is empty`, name)
  if (bytes.length > maxFileBytes) throw invalid(`${name} has ${bytes.length} bytes; this server allows ${maxFileBytes}`, name)
  const size = pictureSize(bytes)
  if (!size) throw invalid(`${name} is not a PNG, JPEG or WebP image`, name)
  if (!(size.width > 0 && size.height > 0 && size.width * size.height <= maxPixels))
    throw invalid(`${name} has ${size.width}x${size.height} pixels; this server allows 1 to ${maxPixels}`, name)
  await refuseBombs(bytes, name, size)
  return bytes
}

/** Base64 of an image, plain or as a data: URL. */
export async function decodePicture(text: string, name: string, limits: Limits): Promise<Uint8Array> {
  if (/^\s*(https?|file|ftp):/i.test(text)) throw invalid(`${name} is a URL, which this server does not fetch; send the image in base64`, name)
  const data = text.startsWith('data:') ? text.slice(text.indexOf(',') + 1) : text
  if (text.startsWith('data:') && !/^data:[\w/+.-]*;base64,/.test(text.slice(0, 100))) throw invalid(`${name}: the data: URL is not in base64`, name)
  if (data.length > limits.maxFileBytes * 1.4) throw invalid(`${name} is larger than the limit of ${limits.maxFileBytes} bytes`, name)
  // Characters outside base64 mean a path or other text.
  if (/[^A-Za-z0-9+/=_\-\s]/.test(data)) throw invalid(`${name} is not base64`, name)
  return checkPicture(new Uint8Array(Buffer.from(data, 'base64')), name, limits)
}
