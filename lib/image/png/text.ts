/** Texts in PNG files: reading (within limits) and writing tEXt, zTXt and iTXt chunks. */
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { TimeSlice } from '../../files/time-slice.js'
import { imageError } from '../image-error.js'
import type { PngFile } from './chunks.js'
import { makeChunk } from './format.js'

const inflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflate)

/** Maximum bytes of one text, which is decoded without a break, and of all compressed texts of a file together. */
const maxTextBytes = 4 << 20

/** Inflates the texts of a file within their limit. */
class TextInflater {
  readonly #where: string
  #left = maxTextBytes

  constructor(where: string) {
    this.#where = where
  }

  /** Undefined if it is broken. */
  async inflate(bytes: Buffer): Promise<Buffer | undefined> {
    const text = await inflate(bytes, { maxOutputLength: Math.max(1, this.#left) }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_BUFFER_TOO_LARGE') return undefined
      throw imageError(`${this.#where}: its texts decompress to more than ${maxTextBytes} bytes`)
    })
    this.#left -= text?.length ?? 0
    return text
  }
}

async function readText(type: string, data: Buffer, inflater: TextInflater): Promise<[string, string] | undefined> {
  if (data.length > maxTextBytes) return undefined
  const end = data.indexOf(0)
  if (end < 1 || end > 79) return undefined
  const keyword = data.toString('latin1', 0, end)
  const rest = data.subarray(end + 1)
  if (type === 'tEXt') return [keyword, rest.toString('latin1')]
  if (type === 'zTXt') {
    const text = rest[0] === 0 ? await inflater.inflate(rest.subarray(1)) : undefined
    return text && [keyword, text.toString('latin1')]
  }
  const language = rest.indexOf(0, 2)
  const translated = language < 0 ? -1 : rest.indexOf(0, language + 1)
  if (translated < 0 || rest[0]! > 1 || (rest[0] === 1 && rest[1] !== 0)) return undefined
  const body = rest.subarray(translated + 1)
  const text = rest[0] === 1 ? await inflater.inflate(body) : body
  return text && [keyword, text.toString('utf8')]
}

/**
 * Keyword and text of all text chunks; if a keyword occurs twice, the first counts. Unreadable texts are skipped.
 * @throws DiffusionError `ERR_IMAGE_FORMAT` if compressed ones are too long together
 */
export async function readTexts({ texts }: PngFile, where: string): Promise<Record<string, string>> {
  const found = new Map<string, string>()
  const inflater = new TextInflater(where)
  const slice = new TimeSlice()
  for (const { type, data } of texts) {
    const entry = await readText(type, data, inflater)
    if (entry && !found.has(entry[0])) found.set(...entry)
    if (slice.over) await slice.next()
  }
  return Object.fromEntries(found)
}

// eslint-disable-next-line no-control-regex
const latin1 = /^[\x00-\xff]*$/

/** One text chunk: tEXt if the text is Latin-1, else uncompressed iTXt, like Pillow and the web UIs. */
export function textChunk(keyword: string, text: string): Buffer {
  // A NUL would end the text for other readers.
  const clean = text.replaceAll('\0', '')
  const head = Buffer.from(`${keyword}\0`, 'latin1')
  if (latin1.test(clean)) return makeChunk('tEXt', Buffer.concat([head, Buffer.from(clean, 'latin1')]))
  return makeChunk('iTXt', Buffer.concat([head, Buffer.alloc(4), Buffer.from(clean, 'utf8')]))
}
