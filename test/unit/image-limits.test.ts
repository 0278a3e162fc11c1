/** Decompression bombs given to the library: each is refused with what is wrong, before memory is spent on it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import sharp from 'sharp'
import { DiffusionError } from '../../lib/errors'
import { RawImage } from '../../lib/image/raw-image'
import { makeBombs, type Bomb, type ImageFile } from '../helpers/bombs'

const side = 1024
const maxPixels = side * side

let bombs: Bomb[]
let sound: ImageFile[]
beforeAll(async () => {
  ;({ bombs, sound } = await makeBombs(side))
})

/** Both calls that look at a file. */
const calls = [
  (...given: Parameters<typeof RawImage.read>) => RawImage.read(...given),
  (...given: Parameters<typeof RawImage.size>) => RawImage.size(...given),
]

const failure = (work: Promise<unknown>) => work.then(() => undefined).catch((error: unknown) => error)

/** Code and message of the refusal, and the bytes of buffers that were allocated for it. */
async function refusal(read: () => Promise<unknown>) {
  const before = process.memoryUsage().arrayBuffers
  const error = await failure(read())
  const taken = process.memoryUsage().arrayBuffers - before
  return { code: error instanceof DiffusionError ? error.code : String(error), message: (error as Error | undefined)?.message ?? '', taken }
}

test('read() refuses them', async () => {
  const wrong: unknown[] = []
  for (const { name, bytes, says } of bombs) {
    const { code, message, taken } = await refusal(() => RawImage.read(bytes, { maxPixels }))
    const isRefused = code === 'ERR_IMAGE_FORMAT' && says.test(message) && message.startsWith('The image')
    if (!isRefused || taken > 64 << 20) wrong.push([name, code, message, taken])
  }
  expect(wrong).toEqual([])
})

test('size() refuses them without decoding, except where only the image data are wrong', async () => {
  const accepted: string[] = []
  for (const { name, bytes, says } of bombs) {
    const { code, message } = await refusal(() => RawImage.size(bytes, { maxPixels }))
    if (code === 'undefined') accepted.push(name)
    else expect([name, code, message]).toEqual([name, 'ERR_IMAGE_FORMAT', expect.stringMatching(says)])
  }
  expect(accepted).toEqual(bombs.filter(({ needsDecoding }) => needsDecoding).map(({ name }) => name))
})

test('sound files of which only a part is read are accepted, and size() gives the size of read()', async () => {
  for (const { name, bytes } of sound) {
    const { width, height } = await RawImage.read(bytes, { maxPixels })
    expect([name, await RawImage.size(bytes, { maxPixels })]).toEqual([name, { width, height }])
  }
})

describe('maxPixels', () => {
  const image = new RawImage({ data: new Uint8Array(8 * 5 * 3), width: 8, height: 5, channels: 3 })

  test('applies to files, bytes and pixels', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'limits-'))
    try {
      const files = await Promise.all((['png', 'jpeg', 'webp'] as const).map((format) => image.encode(format)))
      const file = path.join(folder, 'a.png')
      writeFileSync(file, files[0]!)
      const { data, width, height, channels } = image
      for (const input of [...files, file, image, { data, width, height, channels }]) {
        expect(await RawImage.size(input, { maxPixels: 40 })).toEqual({ width: 8, height: 5 })
        expect((await RawImage.read(input, { maxPixels: 40 })).width).toBe(8)
        for (const call of calls) {
          const error = await failure(call(input, { maxPixels: 39 }))
          expect(error).toMatchObject({ code: 'ERR_IMAGE_FORMAT', details: { width: 8, height: 5, maxPixels: 39 } })
          const where = input === file ? `The image ${file}` : 'The image'
          expect((error as Error).message).toBe(`${where} has 8x5 pixels; the limits are 1 to 16384 pixels per side and 39 pixels in all`)
        }
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test.each([0, -1, 1.5, NaN, 2 ** 40, '40', null])('%p is no limit', async (value) => {
    for (const call of calls) await expect(call(image, { maxPixels: value as number })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test('sizes are those of the upright image', async () => {
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const bytes = await sharp(image.data, { raw: { width: 8, height: 5, channels: 3 } })
        .withMetadata({ orientation: 6 })
        .toFormat(format)
        .toBuffer()
      expect([format, await RawImage.size(bytes)]).toEqual([format, { width: 5, height: 8 }])
      expect((await RawImage.read(bytes)).width).toBe(5)
    }
  })
})
