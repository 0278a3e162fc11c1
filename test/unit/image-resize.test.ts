/** Resizing as Pillow does it, and images to tensors as the reference scripts make them. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { sizeInMultiples, toPlanar } from '../../lib/image/preprocess'
import { RawImage } from '../../lib/image/raw-image'
import { resizeFilters, type ResizeFilter } from '../../lib/image/resize'
import { uniform } from '../helpers/golden'
import { readArrays } from '../helpers/safetensors'

const fixture = (name: string) => path.join('test', 'fixtures', 'procedures', name)
const json = (name: string): any => JSON.parse(readFileSync(fixture(name), 'utf8'))

function pattern(width: number, height: number, channels: number): Uint8Array {
  return Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const c = i % channels
    const x = Math.floor(i / channels) % width
    const y = Math.floor(i / channels / width)
    return (7 * x + 13 * y + 50 * c + Math.floor((x * y) / 8)) % 256
  })
}

/** Top 8 bits of the 32-bit hash behind the formula values. */
function noise(count: number): Uint8Array {
  return Uint8Array.from(uniform('image:noise', 0, count), (v) => Math.floor(((v + 1) / 2) * 256))
}

type ResizeCase = { id: string; input: string; mode: 'L' | 'RGB' | 'RGBA'; from_hw: [number, number]; to_hw: [number, number]; filter: ResizeFilter }

describe('resize', () => {
  const { cases } = json('image_resize.json') as { cases: ResizeCase[] }
  const expected = readArrays(fixture('image_resize.safetensors'))

  test.each(cases.map((entry): [string, ResizeCase] => [entry.id, entry]))('%s', async (id, { input, mode, from_hw, to_hw, filter }) => {
    const channels = ({ L: 1, RGB: 3, RGBA: 4 } as const)[mode]
    const [height, width] = from_hw
    const data = input === 'pattern' ? pattern(width, height, channels) : noise(width * height * channels)
    const resized = await new RawImage({ data, width, height, channels }).resize(to_hw[1], to_hw[0], { filter })
    expect([resized.height, resized.width]).toEqual(to_hw)
    expect(Buffer.compare(resized.data, expected[id]!.data as Uint8Array)).toBe(0)
  })

  test('Lanczos is the default, metadata is kept, invalid arguments are rejected', async () => {
    const image = new RawImage({ data: pattern(20, 10, 3), width: 20, height: 10, channels: 3, metadata: { parameters: 'x' } })
    const resized = await image.resize(9, 7)
    expect(resized.data).toEqual((await image.resize(9, 7, { filter: 'lanczos' })).data)
    expect(resized.metadata).toEqual({ parameters: 'x' })
    await expect(image.resize(0, 7)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    await expect(image.resize(16384, 16384)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    await expect(image.resize(9, 7, { filter: 'sinc' as 'box' })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test('resizing a large image does not block the event loop', async () => {
    const image = new RawImage({ data: pattern(1500, 1200, 3), width: 1500, height: 1200, channels: 3 })
    await image.resize(64, 64)
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await image.resize(1024, 1024)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(3)
  })

  test('all filters shrink, keep flat colours and handle extreme shapes', async () => {
    const flat = new RawImage({ data: new Uint8Array(300 * 2).fill(77), width: 300, height: 2, channels: 1 })
    for (const filter of resizeFilters) {
      for (const [width, height] of [
        [1, 1],
        [1, 300],
        [7, 2],
        [301, 1],
      ] as const) {
        const { data } = await flat.resize(width, height, { filter })
        expect(data.every((byte) => byte === 77)).toBe(true)
      }
    }
  })
})

describe('preprocess', () => {
  const { cases, sizes, tolerance } = json('image_preprocess.json')
  const expected = readArrays(fixture('image_preprocess.safetensors'))
  type Case = { id: string; from_hw: [number, number]; to_hw: [number, number] }
  const images = (cases as Case[]).filter(({ id }) => /^(diffusers|compvis)_image/.test(id))

  test('the fixture has cases for both dialects', () => expect(images.length).toBe(8))

  test.each(images.map((entry): [string, Case] => [entry.id, entry]))('%s', async (id, { from_hw, to_hw }) => {
    const [height, width] = from_hw
    const multiple = id.startsWith('diffusers') ? 8 : Number(id.split('_').at(-1))
    const target = sizeInMultiples({ width, height }, multiple)
    expect([target.height, target.width]).toEqual(to_hw)
    const image = new RawImage({ data: pattern(width, height, 3), width, height, channels: 3 })
    const { data, shape } = await toPlanar(await image.resize(target.width, target.height))
    expect(shape).toEqual([1, 3, ...to_hw])
    const reference = expected[id]!.data
    expect(data).toHaveLength(reference.length)
    let worst = 0
    for (let i = 0; i < data.length; i++) worst = Math.max(worst, Math.abs(data[i]! - reference[i]!))
    expect(worst).toBeLessThanOrEqual(tolerance.float_abs / 2)
  })

  test('sizes are rounded down to multiples, but not below one multiple', () => {
    for (const { hw, mod8, mod32, mod64 } of sizes) {
      for (const [multiple, reference] of [
        [8, mod8],
        [32, mod32],
        [64, mod64],
      ]) {
        const { width, height } = sizeInMultiples({ width: hw[1], height: hw[0] }, multiple)
        // The references end with no pixels at all for tiny images; here one multiple is the least.
        expect([height, width]).toEqual(reference.map((side: number) => Math.max(side, multiple)))
      }
    }
  })

  test('bytes to floats, grey repeated, transparency dropped', async () => {
    const { input, expected: floats } = json('image_convert.json').cases.u8_to_float
    const grey = await toPlanar({ data: Uint8Array.from(input), width: input.length, height: 1, channels: 1 })
    for (let plane = 0; plane < 3; plane++) {
      input.forEach((_: number, i: number) => expect(Math.abs(grey.data[plane * input.length + i]! - floats[i])).toBeLessThanOrEqual(1e-6))
    }
    const rgba = await toPlanar({ data: Uint8Array.of(255, 0, 51, 0), width: 1, height: 1, channels: 4 })
    expect([...rgba.data]).toEqual([1, -1, Math.fround(-0.6)])
  })
})
