/** What the server says by itself: errors without folders, limits of steps with presets, work on images in slices. */
import { RawImage } from 'node-latent-diffusion'
import { toAnswer, withoutFolders } from '../../packages/server/src/errors'
import { PictureUrls } from '../../packages/server/src/picture-urls'
import { blur, fitFill, maskedBox, putBack, toGrey, touched } from '../../packages/server/src/regions'
import { checkLimits, stepsOf } from '../../packages/server/src/requests'
import { threadTime } from '../helpers/thread-time'

describe('errors of files', () => {
  test.each([
    ['There is no file "/srv/my models/a.gguf"', 'There is no file "a.gguf"'],
    ["ENOENT: no such file or directory, open '/srv/models/a.gguf'", "ENOENT: no such file or directory, open 'a.gguf'"],
    ["EBUSY: open 'C:\\Models\\My own\\a.gguf'", "EBUSY: open 'a.gguf'"],
    ['"models/sub/a.gguf" is a folder, not a file', '"a.gguf" is a folder, not a file'],
    ['/srv/models/a.gguf cannot be read: EIO', 'a.gguf cannot be read: EIO'],
    ['file:///srv/models/a.gguf does not exist', 'a.gguf does not exist'],
    ['\\\\nas\\share\\a.gguf does not exist', 'a.gguf does not exist'],
    ['https://example.org/o/name/a.gguf answered 404', 'https://example.org/o/name/a.gguf answered 404'],
    [
      "'hf:owner/name' has no such file; pass hf:owner/name or civitai:VERSION",
      "'hf:owner/name' has no such file; pass hf:owner/name or civitai:VERSION",
    ],
    ['The type is image/png, and 1/2 of it is missing', 'The type is image/png, and 1/2 of it is missing'],
  ])('%s', (message, expected) => expect(withoutFolders(message)).toBe(expected))

  test('clients get the file name, the log the full path', () => {
    const file = '/srv/my models/a.gguf'
    const error = Object.assign(new Error(`${file} does not exist`), { code: 'ERR_IO', details: { path: file, dir: '/srv/my models', bytes: 5 } })
    expect(toAnswer(error)).toEqual({
      status: 422,
      log: `${file} does not exist`,
      error: { code: 'ERR_IO', message: 'a.gguf does not exist', retriable: false, details: { dir: 'my models', bytes: 5 } },
    })
    const own = toAnswer(Object.assign(new Error('There is no GET /latent/v1/x'), { statusCode: 404 }))
    expect([own.error.message, own.log]).toEqual(['There is no GET /latent/v1/x', undefined])
  })
})

test('images with a URL are deleted after an hour, or when newer ones need the space', () => {
  let now = 0
  const urls = new PictureUrls(100, () => now)
  const [first, second] = [urls.add(Buffer.alloc(40), 'png'), urls.add(Buffer.alloc(40), 'webp')]
  expect([urls.get(first).type, urls.get(second).type]).toEqual(['image/png', 'image/webp'])
  const third = urls.add(Buffer.alloc(40), 'png')
  expect(() => urls.get(first)).toThrow(/kept for an hour/)
  expect([urls.get(second), urls.get(third)].map(({ bytes }) => bytes.length)).toEqual([40, 40])
  now = 3_600_001
  expect(() => urls.get(third)).toThrow(/kept for an hour/)
  expect(urls.get(urls.add(Buffer.alloc(400), 'png')).bytes).toHaveLength(400) // the newest is kept, whatever its size
})

describe('limits', () => {
  const info = { kind: 'text', condition: {}, defaults: { steps: 50, width: 64, height: 64 } } as never
  test('steps of a preset count as far as they run', () => {
    expect(stepsOf({ preset: 'lightning-8' }, info)).toBe(8)
    expect(stepsOf({ preset: 'dmd2' }, info)).toBe(4)
    expect(stepsOf({ preset: 'lcm', steps: 9 }, info)).toBe(9)
    expect(stepsOf({ preset: 'dmd2', schedule: 'karras' }, info)).toBe(50)
    expect(stepsOf({ preset: 'toString' as never }, info)).toBe(50)
  })
  test('many images with few steps are accepted', async () => {
    const limits = { maxSteps: 20, maxTotalSteps: 80, maxCount: 16, maxPixels: 1e9 } as never
    await checkLimits({ preset: 'turbo', count: 16 }, info, limits)
    await expect(checkLimits({ preset: 'lightning-8', count: 16 }, info, limits)).rejects.toThrow(/128/)
  })
  test('the image that sets the size counts: label map, start image or depth map', async () => {
    const limits = { maxSteps: 50, maxTotalSteps: 50, maxCount: 1, maxPixels: 64 * 64 } as never
    const grey = (side: number) => new RawImage({ data: new Uint8Array(side * side), width: side, height: side, channels: 1 })
    const [small, large] = [grey(8), grey(65)]
    await expect(checkLimits({ semanticMap: large, image: small }, info, limits)).rejects.toThrow(/65x65/)
    await checkLimits({ depthMap: large, image: small }, info, limits)
    await expect(checkLimits({ depthMap: large }, info, limits)).rejects.toThrow(/65x65/)
    await checkLimits({ depthMap: large, width: 32, height: 32 }, info, limits)
  })
})

test('resizing with filled borders: the outer pixels are repeated, above and below or at the sides', async () => {
  const column = (...data: number[]) => new RawImage({ data: Uint8Array.from(data), width: 1, height: data.length, channels: 1 })
  const row = (...data: number[]) => new RawImage({ data: Uint8Array.from(data), width: data.length, height: 1, channels: 1 })
  expect([...(await fitFill(row(10, 20, 30), 3, 3)).data]).toEqual([10, 20, 30, 10, 20, 30, 10, 20, 30])
  expect([...(await fitFill(column(10, 20), 5, 2)).data]).toEqual([10, 10, 10, 10, 10, 20, 20, 20, 20, 20])
  const picture = new RawImage({ data: Uint8Array.from({ length: 4 * 2 * 3 }, (_, i) => i), width: 4, height: 2, channels: 3 })
  const filled = await fitFill(picture, 4, 5)
  expect([filled.width, filled.height, filled.channels]).toEqual([4, 5, 3])
  const [above, below] = [[...picture.data.subarray(0, 12)], [...picture.data.subarray(12)]]
  expect([...filled.data]).toEqual([...above, ...above, ...below, ...below, ...below])
  expect([...(await fitFill(picture, 8, 4)).data]).toEqual([...(await picture.resize(8, 4)).data])
})

test('blurring and compositing a large mask does not block the event loop', async () => {
  const side = 2048
  const picture = new RawImage({ data: new Uint8Array(side * side * 3).fill(90), width: side, height: side, channels: 3 })
  const data = picture.data.map((_, i) => (Math.floor(i / 3) % side < side / 2 ? 255 : 0))
  /** The longest hold of the event loop, as a part of the whole work, by this thread's own time. */
  const share = async () => {
    let longest = 0
    let last = threadTime()
    const watch = setInterval(() => {
      longest = Math.max(longest, threadTime() - last)
      last = threadTime()
    })
    const began = threadTime()
    const mask = await toGrey(new RawImage({ data, width: side, height: side, channels: 3 }))
    last = threadTime()
    const soft = await blur(mask, 8)
    const hole = await touched(mask, soft)
    const box = await maskedBox(hole, 0, 64, 64)
    const made = await putBack(picture, picture, { x: 0, y: 0, width: side, height: side }, soft)
    const end = threadTime()
    clearInterval(watch)
    return { part: Math.max(longest, end - last) / (end - began), soft, box, made }
  }
  // Compiling and collecting garbage add to single runs; work done at a stretch is too long in every one.
  let { part, soft, box, made } = await share()
  for (let run = 1; run < 5 && part >= 1 / 4; run++) ({ part, soft, box, made } = await share())
  expect(box).toMatchObject({ x: 0, y: 0, height: side })
  expect(soft.data[side / 2]! / 255).toBeCloseTo(0.5, 1)
  expect(made.data.every((value) => value === 90)).toBe(true)
  expect(part).toBeLessThan(1 / 4)
})
