/** Small image files that would take gigabytes or minutes if a reader believed them. */
import { constants, deflateRawSync, deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { pngChunk, pngFile, pngHeader, signature } from './png-file'

const mebibyte = 2 ** 20
const none = new Uint8Array(0)
const repeated = (count: number, bytes: Buffer) => Buffer.alloc(count * bytes.length, bytes)

/** A zlib stream of that many zeros, a kilobyte for each mebibyte. It is built of equal pieces, because compressing gigabytes would take seconds. */
function packedZeros(mebibytes: number): Buffer {
  const piece = deflateRawSync(Buffer.alloc(64 * mebibyte), { finishFlush: constants.Z_FULL_FLUSH })
  return Buffer.concat([Buffer.from([0x78, 0x9c]), repeated(mebibytes / 64, piece), deflateRawSync(none)])
}

const rgb = (width: number, height: number) => ({ width, height, bitDepth: 8, colourType: 2 })

/** A PNG of that size with this image data. */
const pngOf = (side: number, data: Uint8Array) =>
  Buffer.concat([signature, pngHeader(rgb(side, side)), pngChunk('IDAT', data), pngChunk('IEND', none)])

/** A sound PNG with further chunks. */
const pngWith = (...extra: Buffer[]) => pngFile({ ...rgb(64, 64), sample: () => 128, extra })

/** A large PNG behind a chunk whose contents are the header of a small one. */
function disguisedPng(): Buffer {
  const whole = pngOf(8000, packedZeros(192))
  return Buffer.concat([signature, pngChunk('teSt', pngHeader(rgb(64, 64)).subarray(8, 21)), whole.subarray(8)])
}

const text = (type: string, keyword: string, data: Uint8Array) =>
  pngChunk(type, Buffer.concat([Buffer.from(`${keyword}\0${type === 'iTXt' ? '\x01\0\0' : ''}\0`, 'latin1'), data]))

const marker = (code: number) => Buffer.from([0xff, code])
const segment = (code: number, ...data: number[]) =>
  Buffer.concat([marker(code), Buffer.from([(data.length + 2) >> 8, (data.length + 2) & 255, ...data])])
/** A frame header of one grey component. */
const frame = (code: number, width: number, height: number) => segment(code, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0)
const start = Buffer.concat([marker(0xd8), segment(0xdb, 0, ...Array<number>(64).fill(16))])
/** A code table with one code, of one bit. */
const table = (id: number, symbol: number) => segment(0xc4, id, 1, ...Array<number>(15).fill(0), symbol)

/** A JPEG that is `width` wide to its reader, and 64 to who takes a stuffed byte between segments for a marker with a length. */
function disguisedJpeg(width: number): Buffer {
  const tables = [table(0, 0), table(0x10, 0)]
  const hidden = Buffer.concat([frame(0xc0, width, width), ...tables])
  const decoy = frame(0xc0, 64, 64)
  const comment = Buffer.concat([marker(0xfe), Buffer.from([0, decoy.length + 2])])
  const length = 2 + hidden.length + comment.length
  const scan = Buffer.concat([segment(0xda, 1, 1, 0, 0, 63, 0), Buffer.alloc(width ** 2 / 64 / 4)]) // two bits for each block
  return Buffer.concat([start, marker(0), Buffer.from([length >> 8, length & 255]), hidden, comment, decoy, scan, marker(0xd9)])
}

/** A progressive JPEG of 1024x1024 with many scans of twelve bytes, each of which goes over all blocks. */
function manyScans(count: number): Buffer {
  const first = Buffer.concat([segment(0xda, 1, 1, 0, 0, 0, 0), Buffer.alloc(1024 ** 2 / 64 / 8)])
  const scan = Buffer.concat([segment(0xda, 1, 1, 0, 1, 63, 0), Buffer.from([0, 1])])
  return Buffer.concat([start, frame(0xc2, 1024, 1024), table(0, 0), table(0x10, 0xe0), first, repeated(count, scan), marker(0xd9)])
}

function riffChunk(type: string, ...data: Uint8Array[]): Buffer {
  const head = Buffer.alloc(8)
  const content = Buffer.concat(data)
  head.write(type, 'latin1')
  head.writeUInt32LE(content.length, 4)
  return Buffer.concat([head, content, Buffer.alloc(content.length % 2)])
}

const webpOf = (...chunks: Buffer[]) => riffChunk('RIFF', Buffer.from('WEBP'), ...chunks)
/** Numbers of three bytes, the lowest first. */
const threes = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from([value & 255, (value >> 8) & 255, value >> 16])))
const canvas = (side: number, flags = 0) => riffChunk('VP8X', Buffer.from([flags, 0, 0, 0]), threes(side - 1, side - 1))
const animated = (side: number, ...frames: Buffer[]) => webpOf(canvas(side, 2), riffChunk('ANIM', Buffer.alloc(6)), ...frames)
/** The chunk with the pixels of a file. */
const pixels = (file: Buffer) => file.subarray(12)
const frameOf = (file: Buffer, side: number) => riffChunk('ANMF', threes(0, 0, side - 1, side - 1, 100), Buffer.alloc(1), pixels(file))

export interface ImageFile {
  name: string
  /** MIME type. */
  type: string
  bytes: Buffer
}

export interface Bomb extends ImageFile {
  /** What a refusal says. */
  says: RegExp
  /** The size in the header is allowed, so that only decoding finds what is wrong. */
  needsDecoding: boolean
}

/** Files to refuse, and files that are images though they are read only in part. `side`: of the largest square that is accepted. */
export async function makeBombs(side: number): Promise<{ bombs: Bomb[]; sound: ImageFile[] }> {
  const flat = (width: number) => sharp({ create: { width, height: width, channels: 3, background: '#808080' } })
  const lossless = (width: number) => flat(width).webp({ lossless: true }).toBuffer()
  const [small, full, large, lossy] = (await Promise.all([lossless(64), lossless(side), lossless(8000), flat(64).webp().toBuffer()])) as [
    ...[Buffer, Buffer, Buffer, Buffer],
  ]
  const jpeg = await flat(64).jpeg().toBuffer()
  const announcing = (file: Buffer, write: (copy: Buffer) => void) => {
    const copy = Buffer.from(file)
    write(copy)
    return copy
  }
  const zeros = packedZeros(4096)
  const longText = deflateSync(Buffer.alloc(4 * mebibyte, 'a'))
  const texts = Array.from({ length: 100 }, (_, i) => text('zTXt', `k${i}`, longText))
  const frameHeader = jpeg.indexOf(marker(0xc0))
  const bombs: [type: string, name: string, says: RegExp, bytes: Buffer, needsDecoding?: true][] = [
    ['png', 'a PNG of 65000x65000', /65000x65000 pixels/, pngOf(65_000, deflateSync(Buffer.alloc(100_000)))],
    ['png', 'a PNG of 8000x8000 behind another header', /8000x8000 pixels/, disguisedPng()],
    ['png', 'a PNG with 4 GiB of data for 64x64', /more than 64x64 pixels need/, pngOf(64, zeros), true],
    ['png', 'a PNG with 4 GiB of data for the largest size', /more than \d+x\d+ pixels need/, pngOf(side, zeros), true],
    ['png', 'a PNG with a zTXt of 4 GiB', /texts decompress to more than 4194304 bytes/, pngWith(text('zTXt', 'parameters', zeros))],
    ['png', 'a PNG with an iTXt of 4 GiB', /texts decompress to more than 4194304 bytes/, pngWith(text('iTXt', 'parameters', zeros))],
    ['png', 'a PNG with 100 texts of 4 MiB', /texts decompress to more than 4194304 bytes/, pngWith(...texts)],
    ['png', 'a PNG with 5000 texts', /more than 1000 texts/, pngWith(repeated(5000, text('tEXt', 'a', none)))],
    ['png', 'a PNG with a profile of 4 GiB', /colour profile decompresses/, pngWith(text('iCCP', 'p', zeros))],
    ['png', 'a PNG with a million chunks', /more than 65536 chunks/, pngWith(repeated(1_000_000, pngChunk('teSt', none)))],
    [
      ...(['jpeg', 'a JPEG of 65000x65000', /65000x65000 pixels/] as const),
      announcing(jpeg, (copy) => {
        copy.writeUInt16BE(65_000, frameHeader + 5)
        copy.writeUInt16BE(65_000, frameHeader + 7)
      }),
    ],
    ['jpeg', 'a JPEG of 8000x8000 behind another header', /8000x8000 pixels/, disguisedJpeg(8000)],
    ['jpeg', 'a JPEG with 5000 scans', /more than 200 scans/, manyScans(5000)],
    ['webp', 'a WebP of 16383x16383', /16383x16383 pixels/, announcing(lossy, (copy) => copy.writeUInt32LE(0x3fff3fff, 26))],
    ['webp', 'a lossless WebP of 16384x16384', /not a valid WebP/, announcing(small, (copy) => copy.writeUInt32LE(0x0fffffff, 21))],
    ['webp', 'a WebP with a canvas of 65000x65000', /not a valid WebP/, webpOf(canvas(65_000), pixels(small))],
    ['webp', 'a WebP of 8000x8000 on a canvas of 64x64', /not a valid WebP/, webpOf(canvas(64), pixels(large))],
    ['webp', 'an animated WebP of 65000x65000', /not a valid WebP/, animated(65_000, frameOf(small, 64))],
    ['webp', 'an animated WebP whose frames are larger than its canvas', /not a valid WebP/, animated(64, frameOf(large, 8000))],
  ]
  return {
    bombs: bombs.map(([type, name, says, bytes, needsDecoding = false]) => ({ type: `image/${type}`, name, says, bytes, needsDecoding })),
    sound: [
      { type: 'image/webp', name: 'an animated WebP with 10000 frames', bytes: animated(side, repeated(10_000, frameOf(full, side))) },
      { type: 'image/jpeg', name: 'a JPEG with 100 scans', bytes: manyScans(99) },
      { type: 'image/png', name: 'a PNG with 4 MiB of texts', bytes: pngWith(text('zTXt', 'k', deflateSync(Buffer.alloc(4 * mebibyte - 1, 'a')))) },
    ],
  }
}
