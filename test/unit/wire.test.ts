/** What crosses between a host and its engine. */
import { serialize, deserialize } from 'node:v8'
import { BinaryNotFoundError, DiffusionError, OutOfMemoryError } from '../../lib/errors'
import { DownloadError } from '../../lib/hub/errors'
import { RawImage } from '../../lib/image/raw-image'
import { decodeError, encodeError } from '../../lib/rpc/wire-error'
import { decode, encode, encodeBeside, pictureBuffers } from '../../lib/rpc/wire'

const crossed = (value: unknown, known = {}) => decode(deserialize(serialize(encode(value, 'options'))), known)

describe('values', () => {
  test.each<[string, unknown]>([
    ['numbers and texts', { steps: 3, eta: 0.5, prompt: 'ä', negative: undefined, none: null, flag: true }],
    ['a seed of 64 bits', { seed: 2n ** 64n - 1n }],
    ['lists in lists', { boxes: [{ label: 'cat', box: [0, 0, 0.5, 1] }] }],
    ['arrays of numbers', { schedule: Float32Array.of(3, 2, 0), mask: Uint8Array.of(1, 2) }],
    ['fields that have the name of our mark', { extra: { $latent: 'picture', data: 1 }, own: { $latent: 'same' } }],
  ])('%s', (_, value) => expect(crossed(value)).toEqual(value))

  test('images are restored with their texts', () => {
    const image = new RawImage({
      data: Uint8Array.from({ length: 12 }, (_, i) => i),
      width: 2,
      height: 2,
      channels: 3,
      metadata: { parameters: 'x' },
    })
    const { picture, list } = crossed({ picture: image, list: [image] }) as { picture: RawImage; list: RawImage[] }
    expect(picture).toBeInstanceOf(RawImage)
    expect(picture).toEqual(image)
    expect(list).toEqual([image])
    expect(pictureBuffers(encode([image, image], 'x')).size).toBe(1)
  })

  test('a view sends only its own bytes', () => {
    const pool = Buffer.from('secret picture')
    const wire = encode(pool.subarray(7), 'image') as Uint8Array
    expect(wire.buffer.byteLength).toBe(7)
    expect(Buffer.from(wire).toString()).toBe('picture')
    expect((encode(new Float32Array(8).subarray(2, 4), 'x') as Float32Array).buffer.byteLength).toBe(8)
  })

  test('URLs are sent as strings', () => expect(crossed({ image: new URL('file:///a.png') })).toEqual({ image: 'file:///a.png' }))

  test('values already known to the receiver are not sent', () => {
    const image = new RawImage({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 })
    const wire = encodeBeside({ image, steps: 2, mask: [1] }, { image }, 'options')
    expect(pictureBuffers(wire).size).toBe(0)
    expect((decode(wire, { image }) as { image: RawImage }).image).toBe(image)
    expect(decode(wire, { image })).toEqual({ image, steps: 2, mask: [1] })
  })

  const circle: Record<string, unknown> = {}
  circle.self = circle
  test.each<[unknown, RegExp]>([
    [{ preview: { onPreview() {} } }, /options\.preview\.onPreview is a function, which cannot be sent/],
    [{ list: [Symbol('x')] }, /options\.list\[0\] is a symbol/],
    [{ date: new Date(0) }, /options\.date is .*cannot be sent/],
    [{ latents: new (class Latents {})() }, /options\.latents is .*cannot be sent/],
    [{ list: new Array(2 ** 32 - 1) }, /options\.list has 4294967295 entries/],
    [circle, /nested more than 16 deep/],
  ])('%# is refused by name', (value, message) => {
    expect(() => encode(value, 'options')).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) as string }),
    )
  })
})

test.each([
  { $latent: 'object' },
  { $latent: 'object', entries: [['a']] },
  { $latent: 'object', entries: [[1, 2]] },
  { $latent: 'picture', data: 1 },
])('a forged message is refused: %j', (wire) => expect(() => decode({ extra: wire })).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' })))

test('messages with endless lists or repeated references are rejected', () => {
  let wire: unknown = 1
  for (let i = 0; i < 10; i++) wire = new Array(100).fill(wire)
  expect(() => decode(wire)).toThrow(/more than 1000000 values/)
  expect(() => decode({ extra: new Array(2 ** 32 - 1) })).toThrow(/4294967295 entries/)
})

test('an array with a transferred buffer becomes empty', () => {
  const numbers = Float32Array.of(1)
  structuredClone(numbers.buffer, { transfer: [numbers.buffer] })
  expect(crossed({ numbers })).toEqual({ numbers: new Float32Array() })
})

test('arrays that are used again are copied', () => {
  const numbers = Float32Array.of(1, 2)
  expect(encode(numbers, 'x')).toBe(numbers)
  const wire = encode({ list: [numbers] }, 'x', { copy: true })
  numbers.fill(0)
  expect(decode(wire)).toEqual({ list: [Float32Array.of(1, 2)] })
})

test('deeply nested messages are rejected', () => {
  let wire: unknown = 1
  for (let i = 0; i < 100_000; i++) wire = { wire }
  expect(() => decode(wire)).toThrow(/nested more than/)
})

describe('errors', () => {
  const crossedError = (error: unknown) => decodeError(deserialize(serialize(encodeError(error))) as ReturnType<typeof encodeError>)

  test.each<Error>([
    new OutOfMemoryError('too much', { required: 5, available: 3, plans: [{ width: 64 }] }),
    new BinaryNotFoundError('none', { tried: ['a'] }),
    new DownloadError('integrity', 'differs', { source: 'hf:o/m', status: 200 }),
    new DiffusionError('ERR_IMAGE_FORMAT', 'no image', { bytes: 3 }),
    Object.assign(new RangeError('steps must be'), { code: 'ERR_INVALID_ARG', details: {} }),
    Object.assign(new TypeError('prompt must be'), { code: 'ERR_INVALID_ARG', details: {} }),
    new Error('plain'),
  ])('%s', (error) => {
    const arrived = crossedError(error)
    expect(arrived).toBeInstanceOf(error.constructor)
    expect({ ...arrived }).toEqual({ ...error })
    expect([arrived.name, arrived.message, arrived.stack]).toEqual([error.name, error.message, error.stack])
  })

  test('any thrown value arrives as an error', () => {
    expect(crossedError('text')).toMatchObject({ name: 'Error', message: 'text' })
    expect(crossedError(Object.assign(new Error('x'), { details: { f: () => 1 } }))).toMatchObject({ message: 'x' })
    expect(crossedError(new DOMException('stopped', 'AbortError'))).toMatchObject({ name: 'AbortError', message: 'stopped' })
  })
})
