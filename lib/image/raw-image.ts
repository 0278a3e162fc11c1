import path from 'node:path'
import { writeWhole } from '../files/atomic-file.js'
import { readRegular, type FileKind } from '../files/regular-file.js'
import {
  checkBoolean,
  checkInteger,
  checkName,
  checkPath,
  checkString,
  fileUrlToPath,
  invalidRange,
  invalidType,
  isBytes,
  isUrl,
  knownKeys,
  show,
} from '../options/validate.js'
import { checkImageSize, imageError, maxImageFileBytes, maxImagePixels, maxImageSide } from './image-error.js'
import type { ImageSize } from './orientation.js'
import { isPng, pngSize, readPng, writePng } from './png/png.js'
import { resizeFilters, resizePixels, type ResizeFilter } from './resize.js'
import { readWithSharp, sizeWithSharp, writeWithSharp } from './sharp-codec.js'

/** Formats that {@link RawImage.encode} writes. JPEG and WebP need the optional peer `sharp`. */
export type ImageFormat = 'png' | 'jpeg' | 'webp'

/** The data of a {@link RawImage}; the same as raw pixels of `sharp` and other libraries. */
export interface RawImageData {
  /** Interleaved 8-bit rows, top to bottom: width * height * channels bytes. */
  data: Uint8Array | Uint8ClampedArray
  width: number
  height: number
  /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
  channels: 1 | 3 | 4
  /** Metadata texts by keyword. */
  metadata?: Readonly<Record<string, string>>
}

/** Sources for {@link RawImage.read}: a path or `file:` URL, the bytes of an image file, or pixels. */
export type RawImageInput = string | URL | Uint8Array | RawImageData

/** Options of {@link RawImage.read} and {@link RawImage.size}. */
export interface ReadImageOptions {
  /** Maximum pixels of the image, width times height. Default and maximum 67,108,864. */
  maxPixels?: number
}

/** Options of {@link RawImage.encode} and {@link RawImage.save}. */
export interface EncodeOptions {
  /** JPEG and WebP: 1 to 100. Default 92. */
  quality?: number
  /** WebP: without loss. Default false. */
  lossless?: boolean
  /** PNG: zlib's level, 0 (fast) to 9 (small). Default 6. */
  compressionLevel?: number
  /** PNG: write `metadata` into the file. Default true. */
  metadata?: boolean
}

const formats: readonly ImageFormat[] = ['png', 'jpeg', 'webp']
const extensions: Record<string, ImageFormat> = { '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp' }

/** Maximum length and number of texts, which reading allows too. */
const maxTextLength = 4 << 20
const maxTexts = 1000

/** A checked copy of texts by keyword for a PNG file. */
function checkMetadata(value: unknown): Record<string, string> {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object') throw invalidType(`metadata must be an object of strings, not ${show(value)}`)
  const entries = Object.entries(value)
  if (entries.length > maxTexts) throw invalidRange(`metadata has ${entries.length} texts; at most ${maxTexts} are allowed`)
  for (const [keyword, text] of entries) {
    // eslint-disable-next-line no-control-regex
    if (keyword.length < 1 || keyword.length > 79 || !/^[\x01-\xff]*$/.test(keyword))
      throw invalidRange(`metadata: ${show(keyword)} is not a keyword of 1 to 79 Latin-1 characters`)
    checkString(text, `metadata.${keyword}`, maxTextLength)
  }
  return Object.fromEntries(entries)
}

/** The path of a path or file: URL. `expected`: the accepted values, for messages. */
function toFile(value: unknown, name: string, expected = 'a path, a file: URL, the bytes of an image file, or pixels'): string {
  if (isUrl(value)) {
    if (value.protocol !== 'file:')
      throw invalidRange(`${name}: only file: URLs are read and written, not ${value.protocol} ones; fetch it and pass its bytes`)
    return fileUrlToPath(value.href, name)
  }
  if (typeof value !== 'string') throw invalidType(`${name} must be ${expected}, not ${show(value)}`)
  if (/^file:\/\//i.test(value)) return fileUrlToPath(value, name)
  if (/^(https?|data):/i.test(value)) throw invalidRange(`${name}: ${show(value)} is not a file; fetch it and pass its bytes`)
  return checkPath(value, name)
}

const pictureFile: FileKind = { what: 'The image', maxBytes: maxImageFileBytes, refuse: imageError }

/** The bytes of an image file given by its path, URL or bytes, and its name for messages: `what` for bytes. */
export async function readPictureBytes(input: unknown, name: string, what = name): Promise<{ bytes: Uint8Array; where: string }> {
  if (isBytes(input)) {
    if (input.length > maxImageFileBytes) throw imageError(`${what} has ${input.length} bytes; the limit is ${maxImageFileBytes}`)
    return { bytes: input, where: what }
  }
  const file = toFile(input, name)
  return { bytes: await readRegular(file, pictureFile), where: `The image ${file}` }
}

/** The kind of an image file by its first bytes, or undefined. */
function sniff(bytes: Uint8Array): string | undefined {
  const ascii = (from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to))
  if (isPng(bytes)) return 'PNG'
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'JPEG'
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') return 'WebP'
  if (/^GIF8[79]a/.test(ascii(0, 6))) return 'GIF'
  if (ascii(0, 4) === 'II*\0' || ascii(0, 4) === 'MM\0*') return 'TIFF'
  return /^ftyp(avif|avis|heic|mif1)/.test(ascii(4, 12)) ? 'AVIF or HEIF' : undefined
}

/** The format of an image file of allowed size. */
function formatOf(bytes: Uint8Array, where: string): string {
  if (bytes.length > maxImageFileBytes) throw imageError(`${where} has ${bytes.length} bytes; the limit is ${maxImageFileBytes}`)
  const kind = sniff(bytes)
  if (!kind) throw imageError(`${where} is not a supported image: PNG, or JPEG and WebP if sharp is installed`, { bytes: bytes.length })
  return kind
}

/** Decodes the bytes of an image file; `where`: its name for messages. */
export async function readEncoded(bytes: Uint8Array, where: string, maxPixels?: number): Promise<RawImage> {
  const kind = formatOf(bytes, where)
  const decoded: { data: Uint8Array; width: number; height: number; channels: number; metadata?: Record<string, string> } =
    kind === 'PNG' ? await readPng(bytes, where, maxPixels) : await readWithSharp(bytes, kind, where, maxPixels)
  return new RawImage({ ...decoded, channels: decoded.channels as 1 | 3 | 4, metadata: decoded.metadata ?? {} })
}

function readOptions(options: ReadImageOptions | undefined, call: string): number {
  const { maxPixels } = knownKeys(options, call, ['maxPixels'])
  return maxPixels === undefined ? maxImagePixels : checkInteger(maxPixels, 'maxPixels', { min: 1, max: maxImagePixels })
}

/** An image: interleaved 8-bit pixels and metadata texts. */
export class RawImage {
  /** Interleaved rows, top to bottom, width * height * channels bytes. */
  readonly data: Uint8Array
  readonly width: number
  readonly height: number
  /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
  readonly channels: 1 | 3 | 4
  /** Metadata texts by keyword, as in PNG files; `parameters` has the settings of a generated image in A1111's format. */
  readonly metadata: Readonly<Record<string, string>>

  /** Wraps pixels without copying them. */
  constructor(image: RawImageData) {
    if (typeof image !== 'object' || image === null) throw invalidType(`an image must be { data, width, height, channels }, not ${show(image)}`)
    const { data, width, height, channels, metadata } = image
    if (!isBytes(data)) throw invalidType(`data must be a Uint8Array, not ${show(data)}`)
    const side = { min: 1, max: maxImageSide }
    this.width = checkInteger(width, 'width', side)
    this.height = checkInteger(height, 'height', side)
    if (width * height > maxImagePixels) throw invalidRange(`an image of ${width}x${height} exceeds the limit of ${maxImagePixels} pixels`)
    if (channels !== 1 && channels !== 3 && channels !== 4) throw invalidRange(`channels must be 1, 3 or 4, not ${show(channels)}`)
    this.channels = channels
    const expected = width * height * channels
    if (data.length !== expected) throw invalidRange(`data has ${data.length} bytes; ${width}x${height} with ${channels} channels are ${expected}`)
    this.data = Object.prototype.toString.call(data) === '[object Uint8Array]' ? data : new Uint8Array(data.buffer, data.byteOffset, data.length)
    this.metadata = checkMetadata(metadata)
  }

  /**
   * Reads an image: a path or `file:` URL, the bytes of a file, or pixels. The format is detected from the content. PNG of any depth is read to 8 bits with its texts;
   * JPEG, WebP and others if the optional peer `sharp` is installed. The image is rotated by its EXIF orientation and converted to sRGB from its ICC profile or
   * PNG's gamma and chromaticities. (A PNG profile with lookup tables needs sharp, too; without it the values are taken as sRGB.)
   *
   * Files from others can be read. Before pixels are allocated, their size is compared with the limits (`maxPixels`, 16384 per side); files of more than 512 MiB are refused, and so are
   * files made to take gigabytes or minutes: PNG with 64 KiB of image data more than its pixels need, with compressed texts or a profile of more than 4 MiB, with more than 1,000 texts or
   * 65,536 chunks; JPEG with more than 200 scans. Of an animated image the first frame is read.
   * @throws DiffusionError `ERR_IMAGE_FORMAT` for damaged, unknown or too large images, `ERR_UNSUPPORTED_IMAGE` if sharp is missing, `ERR_IO` if the file cannot be read
   */
  static async read(input: RawImageInput | RawImage, options?: ReadImageOptions): Promise<RawImage> {
    const maxPixels = readOptions(options, 'read()')
    if (typeof input === 'object' && !isUrl(input) && !isBytes(input) && input !== null && 'data' in input) {
      const image = input instanceof RawImage ? input : new RawImage(input)
      checkImageSize(image.width, image.height, 'The image', maxPixels)
      return image
    }
    const { bytes, where } = await readPictureBytes(input, 'image', 'The image')
    return readEncoded(bytes, where, maxPixels)
  }

  /**
   * The size of an image in pixels, as {@link RawImage.read} gives it, without decoding the image. Refuses what `read()` refuses, except files that are damaged or have too much data where
   * their pixels are.
   * @throws DiffusionError as `read()`
   */
  static async size(input: RawImageInput | RawImage, options?: ReadImageOptions): Promise<ImageSize> {
    const maxPixels = readOptions(options, 'size()')
    if (typeof input === 'object' && !isUrl(input) && !isBytes(input)) {
      const { width, height } = await RawImage.read(input, { maxPixels })
      return { width, height }
    }
    const { bytes, where } = await readPictureBytes(input, 'image', 'The image')
    const kind = formatOf(bytes, where)
    return kind === 'PNG' ? pngSize(bytes, where, maxPixels) : sizeWithSharp(bytes, kind, where, maxPixels)
  }

  /** The bytes of an image file. Default format: PNG, with `metadata` as text chunks. */
  async encode(format: ImageFormat = 'png', options?: EncodeOptions): Promise<Uint8Array> {
    const kind = checkName(format, 'format', formats)
    const o = knownKeys(options, 'encode()', ['quality', 'lossless', 'compressionLevel', 'metadata'])
    const quality = o.quality === undefined ? 92 : checkInteger(o.quality, 'quality', { min: 1, max: 100 })
    const lossless = o.lossless !== undefined && checkBoolean(o.lossless, 'lossless')
    const level = o.compressionLevel === undefined ? 6 : checkInteger(o.compressionLevel, 'compressionLevel', { min: 0, max: 9 })
    const withMetadata = o.metadata === undefined || checkBoolean(o.metadata, 'metadata')
    if (kind === 'png') return writePng(this, withMetadata ? this.metadata : {}, level)
    return writeWithSharp(this, kind, { quality, lossless })
  }

  /**
   * Writes a file whose name ends in .png, .jpg, .jpeg or .webp. Writes a temporary file and renames it, so no partial file is left. Symbolic links are followed.
   * @throws DiffusionError `ERR_IO` if the file cannot be written
   */
  async save(file: string | URL, options?: EncodeOptions): Promise<void> {
    const target = path.resolve(toFile(file, 'file', 'a path or a file: URL to write to'))
    const format = extensions[path.extname(target).toLowerCase()]
    if (!format) throw invalidRange(`The name of an image file must end in .png, .jpg, .jpeg or .webp, not ${show(target)}`)
    const bytes = await this.encode(format, options)
    await writeWhole(target, 'The image', (handle) => handle.writeFile(bytes))
  }

  /** A resized copy, with the same result as Pillow. Default filter: Lanczos. */
  async resize(width: number, height: number, options?: { filter?: ResizeFilter }): Promise<RawImage> {
    const o = knownKeys(options, 'resize()', ['filter'])
    const filter = o.filter === undefined ? 'lanczos' : checkName(o.filter, 'filter', resizeFilters)
    const side = { min: 1, max: maxImageSide }
    checkInteger(width, 'width', side)
    checkInteger(height, 'height', side)
    if (width * height > maxImagePixels) throw invalidRange(`an image of ${width}x${height} exceeds the limit of ${maxImagePixels} pixels`)
    const { data } = await resizePixels(this, width, height, filter)
    return new RawImage({ data, width, height, channels: this.channels, metadata: this.metadata })
  }
}
