/** Text in PNG files: the settings of an image (keyword "parameters"). */

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
/** Far more than the settings of any image. */
const maxText = 1 << 18

interface Chunk {
  type: string
  start: number
  data: Uint8Array<ArrayBuffer>
}

function* chunks(file: Uint8Array<ArrayBuffer>): Generator<Chunk> {
  if (signature.some((byte, i) => file[i] !== byte)) throw new Error('This file is not a PNG image')
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  for (let at = 8; at + 12 <= file.length;) {
    const length = view.getUint32(at)
    if (at + 12 + length > file.length) return
    yield { type: latin1(file.subarray(at + 4, at + 8)), start: at, data: file.subarray(at + 8, at + 8 + length) }
    at += 12 + length
  }
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** Inflates at most {@link maxText} bytes. */
async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate')).getReader()
  const parts: Uint8Array[] = []
  for (let size = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return joined(parts)
    size += value.length
    if (size > maxText) {
      await reader.cancel()
      throw new Error('The text in this image is too long')
    }
    parts.push(value)
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

async function textOf({ type, data }: Chunk): Promise<[keyword: string, text: string] | undefined> {
  const zero = data.indexOf(0)
  if (zero < 1 || data.length > maxText) return undefined
  const keyword = latin1(data.subarray(0, zero))
  if (type === 'tEXt') return [keyword, latin1(data.subarray(zero + 1))]
  if (type === 'zTXt') return [keyword, latin1(await inflated(data.subarray(zero + 2)))]
  if (type !== 'iTXt') return undefined
  const language = data.indexOf(0, zero + 3)
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1)
  if (translated < 0) return undefined
  const body = data.subarray(translated + 1)
  return [keyword, new TextDecoder().decode(data[zero + 1] === 1 ? await inflated(body) : body)]
}

/** The text under a keyword, undefined if the file has none. @throws Error for what is not a PNG file */
export async function readPngText(file: Uint8Array<ArrayBuffer>, keyword: string): Promise<string | undefined> {
  for (const chunk of chunks(file)) {
    const found = /^(tEXt|zTXt|iTXt)$/.test(chunk.type) ? await textOf(chunk) : undefined
    if (found?.[0] === keyword) return found[1]
  }
  return undefined
}

let table: Uint32Array | undefined
function crc32(bytes: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
    return n
  })
  let crc = 0xffffffff
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

/** The file with a UTF-8 text inserted after its header. */
export function withPngText(file: Uint8Array<ArrayBuffer>, keyword: string, text: string): Uint8Array<ArrayBuffer> {
  const [header] = chunks(file)
  const end = header!.start + 12 + header!.data.length
  const type = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${text}`)
  const chunk = new Uint8Array(type.length + 8)
  const view = new DataView(chunk.buffer)
  view.setUint32(0, type.length - 4)
  chunk.set(type, 4)
  view.setUint32(type.length + 4, crc32(type))
  return joined([file.subarray(0, end), chunk, file.subarray(end)])
}
