/** Images in and out: PNG of every kind against another decoder, JPEG and WebP through sharp, files, refusals. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { deflateRawSync, deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { DiffusionError } from '../../lib/errors'
import { RawImage, type RawImageInput } from '../../lib/image/raw-image'
import { pngChunk, pngFile, pngHeader, signature, type PngSpec } from '../helpers/png-file'

const gradient = (width: number, height: number, channels: 1 | 3 | 4) =>
  new RawImage({ data: Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 37 + (i >> 4)) & 255), width, height, channels })

const invalid = { code: 'ERR_INVALID_ARG' }
const broken = { code: 'ERR_IMAGE_FORMAT' }

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'image-'))))
afterEach(() => rmSync(folder, { recursive: true }))

describe('PNG of every kind', () => {
  const kinds: [number, number][] = [...[1, 2, 4, 8, 16].map((d): [number, number] => [0, d]), ...[1, 2, 4, 8].map((d): [number, number] => [3, d])]
  for (const colourType of [2, 4, 6]) kinds.push([colourType, 8], [colourType, 16])
  const cases = kinds.flatMap(([colourType, bitDepth]) =>
    [false, true].map((interlaced): [number, number, boolean] => [colourType, bitDepth, interlaced]),
  )

  test.each(cases)('colour type %i, %i bits, interlaced %s', async (colourType, bitDepth, interlaced) => {
    for (const [width, height] of [
      [1, 1],
      [3, 2],
      [13, 11],
      [16, 9],
    ] as const) {
      const sample: PngSpec['sample'] = (x, y, c) => (x * 5 + y * 3 + c * 7 + x * y * 1021) % 2 ** bitDepth
      const palette = colourType === 3 ? Array.from({ length: 3 * 2 ** bitDepth }, (_, i) => (i * 53) & 255) : undefined
      const spec: PngSpec = { width, height, bitDepth, colourType, interlaced, sample, ...(palette ? { palette } : {}) }
      const image = await RawImage.read(pngFile(spec))
      expect([image.width, image.height]).toEqual([width, height])
      const channels = colourType === 0 ? 1 : colourType === 2 || colourType === 3 ? 3 : 4
      expect(image.channels).toBe(channels)
      // 16 bits are rounded here; smaller depths of grey are stretched to the whole range.
      const byte = (value: number) => Math.round((value * 255) / (2 ** bitDepth - 1))
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const pixel = [...image.data.subarray((y * width + x) * channels, (y * width + x + 1) * channels)]
          const values = [0, 1, 2, 3].map((c) => sample(x, y, c))
          const expected = {
            0: () => [byte(values[0]!)],
            2: () => values.slice(0, 3).map(byte),
            3: () => palette!.slice(3 * values[0]!, 3 * values[0]! + 3),
            4: () => [values[0]!, values[0]!, values[0]!, values[1]!].map(byte),
            6: () => values.map(byte),
          }[colourType]!()
          expect(pixel).toEqual(expected)
        }
      }
    }
  })

  test.each([
    [0, 8, [0, 6], undefined],
    [0, 2, [0, 2], undefined],
    [2, 8, [0, 6, 0, 13, 0, 20], undefined],
    [3, 4, [0, 128, 255], Array.from({ length: 48 }, (_, i) => i * 5)],
  ])('transparency chunk with colour type %i, %i bits: as sharp reads it', async (colourType, bitDepth, transparency, palette) => {
    const sample: PngSpec['sample'] = (x, y, c) => (x + y + c * 7) % 2 ** bitDepth
    const file = pngFile({ width: 12, height: 10, bitDepth, colourType, sample, transparency, ...(palette ? { palette } : {}) })
    const image = await RawImage.read(file)
    expect(image.channels).toBe(4)
    const reference = await sharp(file).ensureAlpha().toColourspace('srgb').raw().toBuffer()
    expect(Buffer.from(image.data).equals(reference)).toBe(true)
    expect(new Set(image.data.filter((_, i) => i % 4 === 3)).size).toBeGreaterThan(1)
  })

  test.each([1, 3, 4] as const)('images with %i channels round-trip, here and in sharp', async (channels) => {
    const image = gradient(61, 40, channels)
    for (const compressionLevel of [0, 6, 9]) {
      const bytes = await image.encode('png', { compressionLevel })
      const back = await RawImage.read(bytes)
      expect([back.width, back.height, back.channels]).toEqual([61, 40, channels])
      expect(Buffer.compare(back.data, image.data)).toBe(0)
      const { data, info } = await sharp(bytes)
        .toColourspace(channels === 1 ? 'b-w' : 'srgb')
        .raw()
        .toBuffer({ resolveWithObject: true })
      expect(info.channels).toBe(channels)
      expect(data.equals(Buffer.from(image.data))).toBe(true)
    }
  })

  test('files of another encoder, with filters and interlacing', async () => {
    const { data, width, height } = gradient(200, 133, 3)
    for (const options of [{ adaptiveFiltering: true }, { progressive: true }, { palette: true, colours: 16 }]) {
      const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
        .png(options)
        .toBuffer()
      const reference = await sharp(bytes).raw().toBuffer()
      expect(Buffer.compare((await RawImage.read(bytes)).data, reference)).toBe(0)
    }
  })
})

describe('texts in PNG files', () => {
  const withChunks = (...extra: Buffer[]) => RawImage.read(pngFile({ width: 1, height: 1, bitDepth: 8, colourType: 0, sample: () => 0, extra }))

  test('compressed and uncompressed text chunks of all three types', async () => {
    const { metadata } = await withChunks(
      pngChunk('tEXt', Buffer.from('Title\0caf\xe9', 'latin1')),
      pngChunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0', 'latin1'), deflateSync(Buffer.from('na\xefve', 'latin1'))])),
      pngChunk('iTXt', Buffer.from('parameters\0\0\0de\0Parameter\0日本語', 'utf8')),
      pngChunk('iTXt', Buffer.concat([Buffer.from('Author\0\x01\0\0\0', 'latin1'), deflateSync(Buffer.from('日本', 'utf8'))])),
      pngChunk('tEXt', Buffer.from('Title\0second', 'latin1')),
    )
    expect(metadata).toEqual({ Title: 'café', Comment: 'naïve', parameters: '日本語', Author: '日本' })
  })

  test('malformed text chunks are ignored', async () => {
    const damaged = pngChunk('tEXt', Buffer.from('Key\0text'))
    damaged[12]! ^= 1
    const { metadata } = await withChunks(
      damaged,
      pngChunk('tEXt', Buffer.from('no end of keyword')),
      pngChunk('tEXt', Buffer.from('\0no keyword')),
      pngChunk('zTXt', Buffer.from('Bad\0\0not deflate')),
      pngChunk('iTXt', Buffer.from('Short\0\0\0')),
      pngChunk('tEXt', Buffer.from('__proto__\0x')),
    )
    expect(Object.entries(metadata)).toEqual([['__proto__', 'x']])
  })

  test('written with every keyword; omitted on request', async () => {
    const { data, width, height, channels } = gradient(4, 4, 3)
    const metadata = { parameters: 'a\nb', Note: 'ü', Emoji: '🙂', Empty: '', Nul: 'a\0b' }
    const image = new RawImage({ data, width, height, channels, metadata })
    expect((await RawImage.read(await image.encode())).metadata).toEqual({ ...metadata, Nul: 'ab' })
    expect((await RawImage.read(await image.encode('png', { metadata: false }))).metadata).toEqual({})
    expect((await sharp(await image.encode()).metadata()).comments).toContainEqual({ keyword: 'parameters', text: 'a\nb' })
  })
})

describe('errors', () => {
  const header = (spec: Partial<PngSpec>) =>
    Buffer.concat([
      signature,
      pngHeader({ width: 4, height: 4, bitDepth: 8, colourType: 2, ...spec }),
      pngChunk('IDAT', deflateSync(Buffer.alloc(52))),
      pngChunk('IEND', new Uint8Array(0)),
    ])
  const sound = header({})
  const end = pngChunk('IEND', new Uint8Array(0))
  const ihdr = pngHeader({ width: 4, height: 4, bitDepth: 8, colourType: 2 })
  const idat = pngChunk('IDAT', deflateSync(Buffer.alloc(52)))
  const palettePicture = pngHeader({ width: 4, height: 4, bitDepth: 8, colourType: 3 })
  const halves = (between: Buffer) => {
    const data = deflateSync(Buffer.from(Array.from({ length: 52 }, (_, i) => (i % 13 === 0 ? 0 : (i * i) & 255))))
    return [pngChunk('IDAT', data.subarray(0, 20)), between, pngChunk('IDAT', data.subarray(20))]
  }

  test('the valid file is read', async () => expect((await RawImage.read(sound)).data).toHaveLength(48))

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['no image', Buffer.from('#!/bin/sh')],
    ['the signature alone', signature],
    ['a file cut short', sound.subarray(0, 60)],
    ['a file without end', sound.subarray(0, sound.length - 12)],
    ['width 0', header({ width: 0 })],
    ['a giant', header({ width: 0x7fffffff, height: 0x7fffffff })],
    ['too many pixels', header({ width: 16000, height: 16000 })],
    ['3 bits', header({ bitDepth: 3 })],
    ['RGB with 4 bits', header({ bitDepth: 4 })],
    ['colour type 7', header({ colourType: 7 })],
    ['a palette image without palette', header({ colourType: 3 })],
    ['less data than pixels', header({ width: 5 })],
    ['no data', Buffer.concat([signature, ihdr, end])],
    ['data that is not deflate', Buffer.concat([signature, ihdr, pngChunk('IDAT', Buffer.from('hello')), end])],
    ['a filter of type 9', Buffer.concat([signature, ihdr, pngChunk('IDAT', deflateSync(Buffer.alloc(52, 9))), end])],
    ['two headers', Buffer.concat([signature, ihdr, ihdr, idat, end])],
    ['no header', Buffer.concat([signature, idat, end])],
    ['an unknown critical chunk', Buffer.concat([signature, ihdr, pngChunk('ABCD', Buffer.alloc(4)), idat, end])],
    ['an empty palette', Buffer.concat([signature, palettePicture, pngChunk('PLTE', Buffer.alloc(0)), idat, end])],
    ['a palette of 257', Buffer.concat([signature, palettePicture, pngChunk('PLTE', Buffer.alloc(771)), idat, end])],
    ['two palettes', Buffer.concat([signature, palettePicture, pngChunk('PLTE', Buffer.alloc(6)), pngChunk('PLTE', Buffer.alloc(6)), idat, end])],
    ['a palette after the data', Buffer.concat([signature, palettePicture, idat, pngChunk('PLTE', Buffer.alloc(6)), end])],
    ['half of the data in another place', Buffer.concat([signature, ihdr, ...halves(pngChunk('tEXt', Buffer.from('a\0b'))), end])],
    ['data that begins otherwise than zlib', Buffer.concat([signature, ihdr, pngChunk('IDAT', deflateRawSync(Buffer.alloc(52))), end])],
    ['a dictionary', Buffer.concat([signature, ihdr, pngChunk('IDAT', deflateSync(Buffer.alloc(52), { dictionary: Buffer.from('abc') })), end])],
    ['one byte of data', Buffer.concat([signature, ihdr, pngChunk('IDAT', Buffer.from([0x78])), end])],
    ['more chunks than any encoder writes', Buffer.concat([signature, ihdr, ...Array<Buffer>(300_000).fill(pngChunk('IDAT', Buffer.alloc(0))), end])],
    ['a chunk longer than the file', Buffer.concat([signature, ihdr, Buffer.from([0x7f, 0xff, 0xff, 0xff]), Buffer.from('IDAT')])],
  ])('%s', async (_, bytes) => {
    const error: unknown = await RawImage.read(bytes).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(DiffusionError)
    expect(error).toMatchObject(broken)
  })

  test('the check sum detects a flipped bit anywhere in the header or the data', async () => {
    for (const at of [16, 24, 30, 45, 50]) {
      const flipped = Buffer.from(sound)
      flipped[at]! ^= 4
      await expect(RawImage.read(flipped)).rejects.toMatchObject(broken)
    }
  })

  test.each<[string, unknown]>([
    ['null', null],
    ['a number', 5],
    ['an empty path', ''],
    ['an address', 'https://example.org/a.png'],
    ['an address as URL', new URL('https://example.org/a.png')],
    ['an object', {}],
    ['5 channels', { data: new Uint8Array(5), width: 1, height: 1, channels: 5 }],
    ['too few bytes', { data: new Uint8Array(5), width: 2, height: 1, channels: 3 }],
    ['floats', { data: new Float32Array(3), width: 1, height: 1, channels: 3 }],
    ['width 0', { data: new Uint8Array(0), width: 0, height: 1, channels: 3 }],
    ['fractional sizes', { data: new Uint8Array(3), width: 0.5, height: 2, channels: 3 }],
    ['metadata of numbers', { data: new Uint8Array(3), width: 1, height: 1, channels: 3, metadata: { a: 5 } }],
    ['an impossible keyword', { data: new Uint8Array(3), width: 1, height: 1, channels: 3, metadata: { 日本: 'x' } }],
  ])('as input: %s', async (_, input) => {
    await expect(RawImage.read(input as RawImageInput)).rejects.toMatchObject(invalid)
  })

  test('missing files, folders and unknown extensions', async () => {
    await expect(RawImage.read(path.join(folder, 'none.png'))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(RawImage.read(folder)).rejects.toBeInstanceOf(DiffusionError)
    await expect(gradient(2, 2, 3).save(5 as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: 'file must be a path or a file: URL to write to, not 5',
    })
    await expect(gradient(2, 2, 3).save(path.join(folder, 'a.bmp'))).rejects.toMatchObject(invalid)
    await expect(gradient(2, 2, 3).save(path.join(folder, 'no', 'a.png'))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(gradient(2, 2, 3).encode('gif' as 'png')).rejects.toMatchObject(invalid)
    await expect(gradient(2, 2, 3).encode('png', { compressionLevel: 10 })).rejects.toMatchObject(invalid)
    await expect(gradient(2, 2, 3).encode('png', { quallity: 1 } as object)).rejects.toMatchObject(invalid)
  })
})

describe('files', () => {
  test('saved atomically, by path, URL and any name, without temporary files', async () => {
    const image = gradient(8, 8, 3)
    const names = ['a.png', 'ü 日本 #%.PNG']
    await image.save(path.join(folder, names[0]!))
    await image.save(pathToFileURL(path.join(folder, names[1]!)))
    expect(readdirSync(folder).sort()).toEqual([...names].sort())
    for (const input of [
      path.join(folder, names[1]!),
      pathToFileURL(path.join(folder, names[1]!)),
      pathToFileURL(path.join(folder, names[1]!)).href,
    ]) {
      expect((await RawImage.read(input)).data).toEqual(image.data)
    }
    await image.save(path.join(folder, names[0]!))
    expect(readdirSync(folder)).toHaveLength(2)
  })

  test('a target that cannot be replaced leaves no temporary file', async () => {
    const target = path.join(folder, 'taken.png')
    mkdirSync(path.join(target, 'inner'), { recursive: true })
    await expect(gradient(2, 2, 3).save(target)).rejects.toMatchObject({ code: 'ERR_IO' })
    expect(readdirSync(folder)).toEqual(['taken.png'])
  })

  test('pixels and images are used unchanged', async () => {
    const image = gradient(2, 2, 4)
    expect(await RawImage.read(image)).toBe(image)
    const data = new Uint8ClampedArray(image.data)
    expect((await RawImage.read({ data, width: 2, height: 2, channels: 4 })).data).toEqual(image.data)
  })
})

describe('JPEG and WebP', () => {
  test('reading and writing through sharp; the format is detected by content', async () => {
    const flat = new RawImage({ data: new Uint8Array(32 * 16 * 3).fill(90), width: 32, height: 16, channels: 3 })
    for (const name of ['a.jpg', 'b.jpeg', 'c.webp']) {
      const file = path.join(folder, name)
      await flat.save(file, { quality: 95 })
      expect((await sharp(readFileSync(file)).metadata()).format).toBe(name.endsWith('webp') ? 'webp' : 'jpeg')
      const back = await RawImage.read(file)
      expect([back.width, back.height, back.channels]).toEqual([32, 16, 3])
      expect(Math.max(...back.data.map((byte) => Math.abs(byte - 90)))).toBeLessThanOrEqual(3)
    }
    const rgba = gradient(10, 10, 4)
    const opaque = new RawImage({ ...rgba, data: rgba.data.map((byte, i) => (i % 4 === 3 ? 255 : byte)) })
    expect((await RawImage.read(await opaque.encode('webp', { lossless: true }))).data).toEqual(opaque.data.filter((_, i) => i % 4 !== 3))
  })

  test('transparent images get a white background in JPEG', async () => {
    const clear = new RawImage({ data: new Uint8Array(8 * 8 * 4), width: 8, height: 8, channels: 4 })
    const back = await RawImage.read(await clear.encode('jpeg'))
    expect(Math.min(...back.data)).toBeGreaterThan(250)
  })

  test('EXIF orientation turns the image upright', async () => {
    const { data, width, height } = gradient(6, 4, 3)
    const jpeg = await sharp(data, { raw: { width, height, channels: 3 } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer()
    const image = await RawImage.read(jpeg)
    expect([image.width, image.height]).toEqual([4, 6])
  })

  test('corrupt files are rejected', async () => {
    const jpeg = Buffer.from(await gradient(64, 64, 3).encode('jpeg'))
    await expect(RawImage.read(jpeg.subarray(0, 300))).rejects.toMatchObject(broken)
    await expect(RawImage.read(Buffer.from('RIFF0000WEBPVP8 junk'))).rejects.toMatchObject(broken)
  })

  test('without sharp, the error says what to do', async () => {
    jest.resetModules()
    jest.doMock('sharp', () => {
      throw Object.assign(new Error("Cannot find module 'sharp'"), { code: 'MODULE_NOT_FOUND' })
    })
    const fresh = jest.requireActual<{ RawImage: typeof RawImage }>('../../lib/image/raw-image')
    const image = new fresh.RawImage(gradient(4, 4, 3))
    await expect(image.encode('webp')).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_IMAGE',
      message: expect.stringContaining('npm install sharp') as string,
    })
    await expect(fresh.RawImage.read(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0))).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_IMAGE' })
    expect((await fresh.RawImage.read(await image.encode('png'))).data).toEqual(image.data)
    jest.dontMock('sharp')
  })
})
