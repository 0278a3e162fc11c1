/** Texts in PNG files: reading (within limits) and writing tEXt, zTXt and iTXt chunks. */
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { TimeSlice } from '../../files/time-slice.js'
import type { PngFile } from './chunks.js'
import { makeChunk } from './format.js'

const inflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.inflate)

/** Maximum bytes of one text, which is decoded without a break. */
const maxTextBytes = 4 << 20
/** For all compressed texts of a file together, including those that could not be read. */
const maxInflatedTotal = 16 << 20

/** Inflates texts within a total limit. */
class TextInflater {
  #left = maxInflatedTotal

  /** Undefined if it is broken or too long. */
  async inflate(bytes: Buffer): Promise<Buffer | undefined> {
    const limit = Math.min(maxTextBytes, this.#left)
    if (limit === 0) return undefined
    const text = await inflate(bytes, { maxOutputLength: limit }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_BUFFER_TOO_LARGE') this.#left -= limit
      return undefined
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

/** Keyword and text of all text chunks; if a keyword occurs twice, the first counts. Unreadable texts are skipped. */
export async function readTexts(texts: PngFile['texts']): Promise<Record<string, string>> {
  const found = new Map<string, string>()
  const inflater = new TextInflater()
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
