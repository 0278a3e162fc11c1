/** PNG files beyond the plain ones: what libpng reads with a warning, colours, orientation, bombs, and how long the event loop is held. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { constants, deflateSync, inflateSync } from 'node:zlib'
import sharp from 'sharp'
import { readLabelMap } from '../../lib/image/label-map'
import { RawImage } from '../../lib/image/raw-image'
import { pngChunk, pngFile, pngHeader, signature, type PngSpec } from '../helpers/png-file'
import { randomOf } from '../helpers/mutate'
import { held, longestPromised } from '../helpers/thread-time'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const end = pngChunk('IEND', new Uint8Array(0))
/** 4x2 pixels of RGB. */
const rgb: PngSpec = { width: 4, height: 2, bitDepth: 8, colourType: 2, sample: (x, y, c) => 60 * x + 10 * y + c }
const palette = Array.from({ length: 12 }, (_, i) => 20 * i)
const indexed: PngSpec = { width: 4, height: 2, bitDepth: 2, colourType: 3, sample: (x) => x, palette }
const data = (spec: PngSpec) => pngFile(spec)
const pixelsOf = async (file: Uint8Array) => [...(await RawImage.read(file)).data]

/** A chunk put before the first IDAT or before the end. */
function withChunk(file: Buffer, chunk: Buffer, before: 'IDAT' | 'IEND' = 'IDAT'): Buffer {
  const at = file.indexOf(before, 0, 'latin1') - 4
  return Buffer.concat([file.subarray(0, at), chunk, file.subarray(at)])
}

describe('files that libpng reads with a warning are read as by libpng', () => {
  const plain = data(rgb)
  test.each<[string, Buffer, Buffer]>([
    ['a transparency chunk in RGBA', withChunk(data({ ...rgb, colourType: 6 }), pngChunk('tRNS', Buffer.alloc(6))), data({ ...rgb, colourType: 6 })],
    ['a transparency chunk of the wrong size', withChunk(plain, pngChunk('tRNS', Buffer.alloc(5))), plain],
    ['one longer than the palette', data({ ...indexed, transparency: [0, 0, 0, 0, 0] }), data(indexed)],
    ['one with a wrong check sum', withChunk(data(indexed), damaged(pngChunk('tRNS', Buffer.alloc(2)))), data(indexed)],
    ['a palette longer than its depth can name', data({ ...indexed, palette: [...palette, 1, 2, 3] }), data(indexed)],
    ['a palette in grey', withChunk(data({ ...rgb, colourType: 0 }), pngChunk('PLTE', Buffer.alloc(6))), data({ ...rgb, colourType: 0 })],
    ['a broken palette in RGB', withChunk(plain, pngChunk('PLTE', Buffer.alloc(5))), plain],
    ['data after the image is complete', withChunk(plain, pngChunk('IDAT', Buffer.from('surplus')), 'IEND'), plain],
    [
      'data in another place',
      withChunk(withChunk(plain, pngChunk('tEXt', Buffer.from('a\0b')), 'IEND'), pngChunk('IDAT', Buffer.alloc(9)), 'IEND'),
      plain,
    ],
    ['more rows than the header says', Buffer.concat([signature, pngHeader(rgb), dataOf({ ...rgb, height: 5 }), end]), plain],
    ['a wrong sum at the end of the data', Buffer.concat([signature, pngHeader(rgb), wrongSum(dataOf(rgb)), end]), plain],
    [
      'empty data chunks',
      Buffer.concat([signature, pngHeader(rgb), ...Array<Buffer>(50).fill(pngChunk('IDAT', Buffer.alloc(0))), dataOf(rgb), end]),
      plain,
    ],
    ['one byte in a chunk', Buffer.concat([signature, pngHeader(rgb), ...bytewise(dataOf(rgb)), end]), plain],
    ['something after the end', Buffer.concat([plain, Buffer.from('more')]), plain],
    ['an unknown chunk in front of the header', Buffer.concat([signature, pngChunk('abCd', Buffer.alloc(3)), plain.subarray(8)]), plain],
    ['two gammas, the first of which counts', withChunk(plain, Buffer.concat([gamma(45455), gamma(100000)])), plain],
  ])('%s', async (_, file, same) => {
    expect(await pixelsOf(file)).toEqual(await pixelsOf(same))
  })

  test('a transparency chunk before the palette is ignored', async () => {
    const file = Buffer.concat([
      signature,
      pngHeader(indexed),
      pngChunk('tRNS', Buffer.alloc(2)),
      pngChunk('PLTE', Uint8Array.from(palette)),
      dataOf(indexed),
      end,
    ])
    expect((await RawImage.read(file)).channels).toBe(3)
  })

  test('indices beyond the palette are black', async () => {
    expect(await pixelsOf(data({ ...indexed, palette: palette.slice(0, 6) }))).toEqual(
      [...palette.slice(0, 6), 0, 0, 0, 0, 0, 0].flatMap((v) => v).concat([...palette.slice(0, 6), 0, 0, 0, 0, 0, 0]),
    )
  })

  test('64 KiB of data behind the last row are ignored', async () => {
    const needed = 2 * (1 + 3 * 4)
    const withData = (bytes: number) => Buffer.concat([signature, pngHeader(rgb), pngChunk('IDAT', deflateSync(Buffer.alloc(needed + bytes))), end])
    expect(await pixelsOf(withData(1 << 16))).toEqual(Array(24).fill(0))
    await expect(pixelsOf(withData((1 << 16) + 1))).rejects.toThrow(
      'The image: its image data decompress to over 65536 bytes more than 4x2 pixels need',
    )
  })
})

describe('data corrupted after the last row', () => {
  const random = randomOf(3)
  const noise = (width: number, height: number, colourType = 2): PngSpec => ({
    width,
    height,
    bitDepth: 8,
    colourType,
    sample: () => Math.floor(random() * 256),
  })
  /** A file whose data are `bytes` in a stream that goes on with a block of a type that does not exist. */
  const broken = (spec: PngSpec, bytes: Uint8Array) =>
    Buffer.concat([
      signature,
      pngHeader(spec),
      pngChunk('IDAT', Buffer.concat([deflateSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }), Buffer.alloc(9, 7)])),
      end,
    ])

  test.each<[string, PngSpec]>([
    ['6 bytes', noise(2, 2, 0)],
    ['some kilobytes', noise(40, 30)],
    ['64 kB', noise(255, 256, 0)],
    ['64 kB and two bytes', noise(10_922, 6, 0)],
    ['72 kB', noise(120, 200)],
    ['a megabyte', noise(600, 583)],
  ])('%s: is read, as by libpng, if the rows are there', async (_, spec) => {
    const whole = pngFile(spec)
    const rows = inflateSync(whole.subarray(whole.indexOf('IDAT', 0, 'latin1') + 4, whole.length - 16))
    const pixels = Buffer.from((await RawImage.read(whole)).data)
    for (const surplus of [1, 300, 70_000]) {
      const read = await RawImage.read(broken(spec, Buffer.concat([rows, Buffer.alloc(surplus, 'ab')])))
      expect(pixels.equals(read.data)).toBe(true)
    }
    for (const missing of [1, 5, rows.length >> 1])
      await expect(RawImage.read(broken(spec, rows.subarray(0, rows.length - missing)))).rejects.toThrow('cannot be decompressed: invalid block type')
  })

  test('a back-reference before the start of the data is an error', async () => {
    // Fixed codes: three bytes from a distance of one, a zero, the end. The four bytes would be the rows of 1x2 pixels.
    const bits = '110' + '0000001' + '00000' + '00110000' + '0000000'
    const stream = Buffer.from(bits.match(/.{1,8}/g)!.map((byte) => parseInt([...byte].reverse().join(''), 2)))
    const idat = pngChunk('IDAT', Buffer.concat([Buffer.from([0x78, 0x9c]), stream]))
    const file = Buffer.concat([signature, pngHeader({ width: 1, height: 2, bitDepth: 8, colourType: 0 }), idat, end])
    await expect(RawImage.read(file)).rejects.toThrow('invalid distance too far back')
  })
})

function damaged(chunk: Buffer): Buffer {
  chunk[chunk.length - 1]! ^= 1
  return chunk
}

/** The IDAT chunk of a file. */
function dataOf(spec: PngSpec): Buffer {
  const file = pngFile(spec)
  return file.subarray(file.indexOf('IDAT', 0, 'latin1') - 4, file.length - 12)
}

function wrongSum(idat: Buffer): Buffer {
  const body = Buffer.from(idat.subarray(8, idat.length - 4))
  body[body.length - 1]! ^= 1
  return pngChunk('IDAT', body)
}

function bytewise(idat: Buffer): Buffer[] {
  return [...idat.subarray(8, idat.length - 4)].map((byte) => pngChunk('IDAT', Uint8Array.of(byte)))
}

function gamma(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return pngChunk('gAMA', bytes)
}

/** Bytes of arrays in use. Above `known`, what is garbage is not counted: when it is collected is left to chance. */
function bytesHeld(known: number): number {
  const { arrayBuffers } = process.memoryUsage()
  if (arrayBuffers <= known) return arrayBuffers
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

/** The most bytes of buffers that `work` has at a time, beside those that were there before. */
async function bytesTaken(work: () => Promise<unknown>): Promise<number> {
  const before = bytesHeld(0)
  let most = before
  let next = setImmediate(function look() {
    most = Math.max(most, bytesHeld(most))
    next = setImmediate(look)
  })
  try {
    await work()
  } finally {
    clearImmediate(next)
  }
  return Math.max(most, bytesHeld(most)) - before
}

describe('decompression bombs', () => {
  const withTexts = (count: number, chunk: (index: number) => Buffer) =>
    Buffer.concat([signature, pngHeader(rgb), ...Array.from({ length: count }, (_, i) => chunk(i)), dataOf(rgb), end])

  test('compressed texts have 4 MiB together', async () => {
    const text = deflateSync(Buffer.alloc(1 << 20, 'a'))
    const file = (count: number) => withTexts(count, (i) => pngChunk('zTXt', Buffer.concat([Buffer.from(`k${i}\0\0`), text])))
    const { metadata } = await RawImage.read(file(4))
    expect(Object.values(metadata).map(({ length }) => length)).toEqual(Array(4).fill(1 << 20))
    const before = process.cpuUsage()
    await expect(RawImage.read(file(1000))).rejects.toThrow('The image: its texts decompress to more than 4194304 bytes')
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / 1e6).toBeLessThan(2)
  })

  test('a file has at most 1000 texts', async () => {
    const file = (count: number) => withTexts(count, (i) => pngChunk('tEXt', Buffer.from(`k${i}\0v`)))
    expect(Object.keys((await RawImage.read(file(1000))).metadata)).toHaveLength(1000)
    await expect(RawImage.read(file(1001))).rejects.toThrow('The image has more than 1000 texts')
  })

  /** In a function of its own, so that nothing of what it takes is alive while the file is read. */
  const rows = (width: number, height: number) => deflateSync(Buffer.alloc((1 + width * 8) * height), { level: 1 })

  test('a large 16-bit image is inflated once, row by row', async () => {
    const [width, height] = [3000, 2000]
    const file = Buffer.concat([signature, pngHeader({ width, height, bitDepth: 16, colourType: 6 }), pngChunk('IDAT', rows(width, height)), end])
    expect(file.length).toBeLessThan(2 << 20)
    const pixels = width * height * 4
    expect(await bytesTaken(() => RawImage.read(file))).toBeLessThan(pixels + (8 << 20))
  })

  test('a large 16-bit image with data corrupted after the last row takes no more memory', async () => {
    const [width, height] = [3000, 2000]
    const whole = deflateSync(Buffer.alloc((1 + width * 8) * height + 100), { level: 1, finishFlush: constants.Z_SYNC_FLUSH })
    const broken = Buffer.concat([whole, Buffer.alloc(64, 0xff)]) // no block of deflate begins like this
    const file = Buffer.concat([signature, pngHeader({ width, height, bitDepth: 16, colourType: 6 }), pngChunk('IDAT', broken), end])
    expect(await bytesTaken(() => RawImage.read(file))).toBeLessThan(width * height * 4 + (8 << 20))
  })

  test('an endless compressed profile', async () => {
    const chunk = pngChunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(Buffer.alloc(64 << 20))]))
    const file = withChunk(data(rgb), chunk)
    const refused = () => expect(RawImage.read(file)).rejects.toThrow('The image: its colour profile decompresses to more than 4194304 bytes')
    expect(await bytesTaken(refused)).toBeLessThan(16 << 20)
  })
})

describe('the event loop is blocked for at most 20 ms', () => {
  const random = randomOf(5)
  const noise = (width: number, height: number, channels: 1 | 3 | 4) =>
    new RawImage({ data: Uint8Array.from({ length: width * height * channels }, (_, i) => (i % 97) + (random() & 7)), width, height, channels })
  const image = noise(1024, 1024, 3)

  test('when reading and writing 1024x1024', async () => {
    const bytes = await image.encode()
    expect(await held(() => image.encode())).toBeLessThan(longestPromised)
    expect(await held(() => RawImage.read(bytes))).toBeLessThan(longestPromised)
    const filtered = await sharp(image.data, { raw: { width: 1024, height: 1024, channels: 3 } })
      .png({ adaptiveFiltering: true, progressive: true })
      .toBuffer()
    expect(await held(() => RawImage.read(filtered))).toBeLessThan(longestPromised)
  })

  test('for 16 bits with a custom gamma', async () => {
    const deep = withChunk(
      pngFile({ width: 512, height: 512, bitDepth: 16, colourType: 2, sample: (x, y, c) => (x * y * (c + 3)) & 65535 }),
      gamma(100000),
    )
    expect(await held(() => RawImage.read(deep))).toBeLessThan(longestPromised)
  })

  test('when resizing, also thousands of rows to one', async () => {
    expect(await held(() => image.resize(700, 900))).toBeLessThan(longestPromised)
    const tall = noise(500, 12_000, 4)
    expect(await held(() => tall.resize(500, 1))).toBeLessThan(longestPromised)
    expect(await held(() => tall.resize(500, 12_000))).toBeLessThan(longestPromised)
  })
})

describe('colours', () => {
  const colours: PngSpec = {
    width: 32,
    height: 8,
    bitDepth: 8,
    colourType: 2,
    sample: (x, y, c) => [(x * 8) & 255, (y * 32 + x) & 255, (255 - x * 7 + y) & 255][c]!,
  }
  const grey: PngSpec = { ...colours, colourType: 0 }
  const srgbOf = (light: number) => Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055))
  const numbers = (...values: number[]) => {
    const bytes = Buffer.alloc(4 * values.length)
    values.forEach((value, i) => bytes.writeUInt32BE(value, 4 * i))
    return bytes
  }

  test.each<[string, Buffer]>([
    ['sRGB', pngChunk('sRGB', Uint8Array.of(0))],
    ['the gamma that is written for sRGB', gamma(45455)],
    [
      'the gamma and chromaticities that are',
      Buffer.concat([gamma(45455), pngChunk('cHRM', numbers(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))]),
    ],
    ['sRGB beside another gamma', Buffer.concat([gamma(100000), pngChunk('sRGB', Uint8Array.of(0))])],
    ['a gamma of nothing', gamma(0)],
    ['chromaticities that make no sense', pngChunk('cHRM', numbers(0, 0, 0, 0, 0, 0, 0, 0))],
    ['chromaticities on a line', pngChunk('cHRM', numbers(31270, 32900, 10000, 10000, 20000, 20000, 30000, 30000))],
    ['a profile that is none', pngChunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(Buffer.from('no profile'))]))],
    ['a profile of no stream', pngChunk('iCCP', Buffer.from('p\0\0xyz'))],
  ])('%s changes nothing', async (_, chunk) => {
    expect(await pixelsOf(withChunk(data(colours), chunk))).toEqual(await pixelsOf(data(colours)))
  })

  test('16-bit linear light keeps its dark tones', async () => {
    const spec: PngSpec = { width: 64, height: 4, bitDepth: 16, colourType: 0, sample: (x) => x * x * 16 }
    const image = await RawImage.read(withChunk(data(spec), gamma(100000)))
    expect([...image.data.subarray(0, 64)]).toEqual(Array.from({ length: 64 }, (_, x) => srgbOf((x * x * 16) / 65535)))
    const colour = await RawImage.read(withChunk(data({ ...spec, colourType: 2 }), gamma(100000)))
    Array.from({ length: 64 }, (_, x) => expect(Math.abs(colour.data[3 * x]! - image.data[x]!)).toBeLessThanOrEqual(1))
  })

  test('a palette and its transparency', async () => {
    const file = withChunk(data({ ...indexed, transparency: [255, 0] }), Buffer.alloc(0))
    const at = file.indexOf('PLTE', 0, 'latin1') - 4
    const changed = await RawImage.read(Buffer.concat([file.subarray(0, at), gamma(100000), file.subarray(at)]))
    const expected = [0, 1, 2, 3].flatMap((i) => [...palette.slice(3 * i, 3 * i + 3).map((v) => srgbOf(v / 255)), i === 1 ? 0 : 255])
    expect([...changed.data.subarray(0, 16)]).toEqual(expected)
  })

  const wide = (spec: PngSpec) => sharp(data(spec)).withIccProfile('p3')

  test('a profile of another colour space is applied as by sharp to PNG, JPEG and WebP', async () => {
    const png = await sharp(data(colours)).withIccProfile('p3').png().toBuffer()
    expect(png.indexOf('iCCP', 0, 'latin1')).toBeGreaterThan(0)
    const image = await RawImage.read(png)
    const apart = (other: Uint8Array) => Math.max(...[...other].map((value, i) => Math.abs(value - image.data[i]!)))
    expect(apart(await sharp(png).toColourspace('srgb').raw().toBuffer())).toBeLessThanOrEqual(2)
    expect(apart((await RawImage.read(await wide(colours).webp({ lossless: true }).toBuffer())).data)).toBeLessThanOrEqual(2)
    // The numbers in the file are other ones.
    expect(apart(await sharp(png).keepIccProfile().raw().toBuffer())).toBeGreaterThan(20)
  })

  /** A profile of tables (ICC.1:2022, 10.11): red gives the lightness of a grey. */
  function tableProfile(): Buffer {
    const table = Buffer.alloc(48 + 3 * 256 + 3 * 8 + 3 * 256)
    table.write('mft1', 0, 'latin1')
    table.set([3, 3, 2], 8) // inputs, outputs, points of the grid per input
    for (const at of [12, 28, 44]) table.writeInt32BE(65536, at) // the matrix, of one
    const ramp = Array.from({ length: 256 }, (_, i) => i)
    table.set([...ramp, ...ramp, ...ramp], 48)
    table.set(Array.from({ length: 8 }, (_, i) => [i < 4 ? 0 : 255, 128, 128]).flat(), 48 + 768)
    table.set([...ramp, ...ramp, ...ramp], 48 + 768 + 24)
    const head = Buffer.alloc(128 + 4 + 12)
    head.writeUInt32BE(head.length + table.length, 0)
    head.writeUInt32BE(0x02400000, 8)
    for (const [text, at] of [
      ['mntrRGB Lab ', 12],
      ['acsp', 36],
      ['A2B0', 132],
    ] as const)
      head.write(text, at, 'latin1')
    for (const [value, at] of [
      [0xf6d6, 68],
      [0x10000, 72],
      [0xd32d, 76],
      [1, 128],
      [head.length, 136],
      [table.length, 140],
    ] as const)
      head.writeUInt32BE(value, at)
    return Buffer.concat([head, table])
  }

  test('a profile with tables is applied as by sharp', async () => {
    const chunk = pngChunk('iCCP', Buffer.concat([Buffer.from('tables\0\0', 'latin1'), deflateSync(tableProfile())]))
    const png = withChunk(withChunk(data(colours), pngChunk('tEXt', Buffer.from('parameters\0a word'))), chunk)
    const image = await RawImage.read(png)
    const greys = Array.from({ length: image.width * image.height }, (_, i) => image.data.subarray(3 * i, 3 * i + 3))
    for (const [r, g, b] of greys) expect(Math.max(r!, g!, b!) - Math.min(r!, g!, b!)).toBeLessThanOrEqual(2)
    expect([...image.data]).toEqual([...(await sharp(png).toColourspace('srgb').raw().toBuffer())])
    expect(image.metadata).toEqual({ parameters: 'a word' })
    // In an image of another kind it counts for nothing.
    expect(await pixelsOf(withChunk(data(grey), chunk))).toEqual(await pixelsOf(data(grey)))
  })

  test('grey images with an RGB profile keep their values', async () => {
    const png = await sharp(data(colours)).withIccProfile('p3').png().toBuffer()
    const at = png.indexOf('iCCP', 0, 'latin1') - 4
    const chunk = png.subarray(at, at + 12 + png.readUInt32BE(at))
    expect(await pixelsOf(withChunk(data(grey), chunk))).toEqual(await pixelsOf(data(grey)))
  })
})

describe('orientation', () => {
  const spec: PngSpec = { width: 5, height: 3, bitDepth: 8, colourType: 2, sample: (x, y, c) => 50 * x + 15 * y + c }
  const exif = (orientation: number, order: 'II' | 'MM' = 'MM', mark = '') => {
    const block = Buffer.alloc(26)
    block.write(order === 'II' ? 'II*\0' : 'MM\0*', 0, 'latin1')
    const u16 = (value: number, at: number) => (order === 'II' ? block.writeUInt16LE(value, at) : block.writeUInt16BE(value, at))
    const u32 = (value: number, at: number) => (order === 'II' ? block.writeUInt32LE(value, at) : block.writeUInt32BE(value, at))
    u32(8, 4)
    u16(1, 8)
    u16(0x0112, 10)
    u16(3, 12)
    u32(1, 14)
    u16(orientation, 18)
    return pngChunk('eXIf', Buffer.concat([Buffer.from(mark, 'latin1'), block]))
  }

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('%i: rotated upright as by sharp', async (orientation) => {
    const reference = await sharp(data(spec)).withMetadata({ orientation }).webp({ lossless: true }).toBuffer()
    const { data: pixels, info } = await sharp(reference).rotate().raw().toBuffer({ resolveWithObject: true })
    for (const chunk of [exif(orientation, 'II'), exif(orientation, 'MM'), exif(orientation, 'II', 'Exif\0\0')]) {
      for (const before of ['IDAT', 'IEND'] as const) {
        const image = await RawImage.read(withChunk(data(spec), chunk, before))
        expect([image.width, image.height]).toEqual([info.width, info.height])
        expect(Buffer.compare(image.data, pixels)).toBe(0)
      }
    }
  })

  test.each([
    ['no orientation', exif(0)],
    ['one that does not exist', exif(9)],
    ['a block cut short', pngChunk('eXIf', Buffer.from('MM\0*\0\0\0\x08\0\x05'))],
    ['a directory beyond the block', pngChunk('eXIf', Buffer.from('MM\0*\xff\xff\xff\xff', 'latin1'))],
    ['no block', pngChunk('eXIf', Buffer.from('hello, world'))],
  ])('%s changes nothing', async (_, chunk) => {
    expect(await pixelsOf(withChunk(data(spec), chunk))).toEqual(await pixelsOf(data(spec)))
  })

  test('label maps are rotated, too', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'labels-'))
    try {
      const file = path.join(folder, 'a.png')
      writeFileSync(file, withChunk(data({ ...spec, colourType: 0, sample: (x, y) => x + 5 * y }), exif(6)))
      expect(readFileSync(file).length).toBeGreaterThan(0)
      const { data: labels, width, height } = await readLabelMap(file, 20)
      expect([width, height, ...labels]).toEqual([3, 5, 10, 5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
