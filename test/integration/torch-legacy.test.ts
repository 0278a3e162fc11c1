/** Torch files in the form before torch 1.6: types that are not read, and where storages lie whose elements have an unknown size. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { openTensors } from '../../lib/index'
import { temporaryFolder, type Tensor } from '../helpers/golden'
import { writeTorchCheckpoint } from '../helpers/torch-checkpoint'

const { folder, remove } = temporaryFolder()
const at = (name: string) => path.join(folder, name)
afterAll(remove)

test('complex tensors in a legacy torch file only fail if they are read', async () => {
  const tensors = new Map<string, Tensor>([
    ['a', { dtype: 'F32', shape: [2], bytes: Buffer.from(Float32Array.of(1, 2).buffer) }],
    ['z', { dtype: 'F64', shape: [2], bytes: Buffer.alloc(16) }],
  ])
  const text = writeTorchCheckpoint(tensors, { legacy: true }).toString('latin1')
  const file = at('complex.ckpt')
  // Twice as wide as the numbers that it was written with.
  writeFileSync(file, Buffer.concat([Buffer.from(text.replaceAll('DoubleStorage', 'ComplexDoubleStorage'), 'latin1'), Buffer.alloc(16)]))
  const opened = await openTensors(file)
  expect(await opened.read('a')).toEqual(Float32Array.of(1, 2))
  expect(opened.get('z')).toMatchObject({ type: 'c128', bytes: 32, readable: false })
  opened.dispose()
})

test('the bytes of a transposed complex matrix', async () => {
  const numbers = Float64Array.from({ length: 18 }, (_, i) => i + 0.5)
  const bytes = Buffer.from(numbers.buffer)
  const text = writeTorchCheckpoint(new Map([['z', { dtype: 'F64', shape: [3, 3], bytes: bytes.subarray(0, 72) }]]), { legacy: true }).toString(
    'latin1',
  )
  const strides = (...lengths: number[]) => `(${lengths.map((length) => `J${String.fromCharCode(length)}\0\0\0`).join('')}t`
  expect(text.split(strides(3, 1))).toHaveLength(2)
  const file = at('transposed.ckpt')
  const changed = text.replaceAll('DoubleStorage', 'ComplexDoubleStorage').replace(strides(3, 1), strides(1, 3))
  writeFileSync(file, Buffer.concat([Buffer.from(changed, 'latin1'), bytes.subarray(72)]))
  const opened = await openTensors(file)
  const read = await opened.read('z', { as: 'bytes' })
  const expected = [0, 3, 6, 1, 4, 7, 2, 5, 8].flatMap((i) => [numbers[2 * i]!, numbers[2 * i + 1]!])
  expect([...new Float64Array(read.buffer, read.byteOffset, 18)]).toEqual(expected)
  opened.dispose()
})

describe('storages of unknown types in a legacy torch file', () => {
  const of = (dtype: Tensor['dtype'], bytes: Uint8Array | Float32Array | Float64Array): Tensor => {
    const raw = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return { dtype, shape: [raw.length / { F32: 4, F64: 8, F16: 2, U8: 1, I64: 8, I32: 4, BOOL: 1 }[dtype]], bytes: raw }
  }
  const write = (name: string, tensors: [string, Tensor][], classes: Record<string, string>) => {
    let text = writeTorchCheckpoint(new Map(tensors), { legacy: true }).toString('latin1')
    for (const [known, unknown] of Object.entries(classes)) text = text.replaceAll(known, unknown)
    const bytes = Buffer.from(text, 'latin1')
    writeFileSync(at(name), bytes)
    return bytes
  }
  const random = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 89 + 13) % 251)
  const strange = { DoubleStorage: 'Ab64Storage', IntStorage: 'Cd32Storage', HalfStorage: 'Ef16Storage' }
  const mixed: [string, Tensor][] = [
    ['f', of('F32', Float32Array.of(1, 2, 3))],
    ['u1', of('F64', random(16))],
    ['g', of('F32', Float32Array.of(4))],
    ['u2', of('F64', random(80))],
    ['i', of('I32', random(12))],
    ['none', of('I32', random(0))],
    ['h', of('F32', Float32Array.of(5, 6))],
    ['s', of('F16', random(14))],
    ['b', of('U8', Uint8Array.of(7, 8, 9))],
  ]

  test('their sizes follow from the rest of the file', async () => {
    const bytes = write('many.ckpt', mixed, strange)
    const opened = await openTensors(at('many.ckpt'))
    expect(opened.names).toEqual(mixed.map(([name]) => name))
    for (const [name, values] of [
      ['f', Float32Array.of(1, 2, 3)],
      ['g', Float32Array.of(4)],
      ['h', Float32Array.of(5, 6)],
      ['b', Uint8Array.of(7, 8, 9)],
    ] as const)
      expect(await opened.read(name)).toEqual(values)
    for (const [name, type] of [
      ['u1', 'Ab64Storage'],
      ['u2', 'Ab64Storage'],
      ['i', 'Cd32Storage'],
      ['s', 'Ef16Storage'],
    ] as const) {
      expect(opened.get(name)).toMatchObject({ readable: false })
      await expect(opened.read(name)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT', message: expect.stringContaining(type) })
    }
    opened.dispose()
    for (const cut of [1, 4, 14, 40, 100]) {
      writeFileSync(at('many.ckpt'), bytes.subarray(0, -cut))
      await expect(openTensors(at('many.ckpt'))).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
    }
    writeFileSync(at('many.ckpt'), Buffer.concat([bytes, Buffer.alloc(1)]))
    await expect(openTensors(at('many.ckpt'))).rejects.toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      message: expect.stringMatching(/Ab64Storage.*cut off/),
    })
  })

  test('several possible sizes: rejected if a known storage could be at two places', async () => {
    // Elements of 1 and 8 bytes, or of 8 and 1: the counts of both readings are there, 14 bytes apart.
    const middle = random(32)
    middle.fill(0, 6, 14)
    middle[6] = 32
    const last = random(16)
    last.fill(0, 6, 14)
    last[6] = 2
    const doubled: [string, Tensor][] = [
      ['x', of('U8', random(2))],
      ['known', { ...of('U8', middle), dtype: 'BOOL' }],
      ['y', of('F64', last)],
    ]
    write('twice.ckpt', doubled, { ByteStorage: 'AaStorage', DoubleStorage: 'BbStorage' })
    await expect(openTensors(at('twice.ckpt'))).rejects.toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      message: expect.stringMatching(/AaStorage, BbStorage.*more than one combination.*torch 1\.6/),
    })
    // Before both of them, its place is sure.
    const first: [string, Tensor][] = [doubled[1]!, doubled[0]!, doubled[2]!]
    write('once.ckpt', first, { ByteStorage: 'AaStorage', DoubleStorage: 'BbStorage' })
    const opened = await openTensors(at('once.ckpt'))
    expect(Array.from((await opened.read('known')) as Uint8Array)).toEqual(Array.from(middle, Number))
    opened.dispose()
  })

  test('types without a number of their own and quantised tensors are named as in torch', async () => {
    write('named.ckpt', mixed, {
      DoubleStorage: 'UInt64Storage',
      IntStorage: 'QInt32Storage',
      HalfStorage: 'UInt16Storage',
      ByteStorage: 'Float8_e5m2Storage',
    })
    const opened = await openTensors(at('named.ckpt'))
    expect(['u1', 's', 'b', 'i'].map((name) => opened.get(name)!.type)).toEqual([
      'u64',
      'u16',
      'f8_e5m2',
      'an unsupported torch type (QInt32Storage)',
    ])
    expect(await opened.read('h')).toEqual(Float32Array.of(5, 6))
    await expect(opened.read('i')).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT', message: expect.stringContaining('QInt32Storage') })
    opened.dispose()
  })

  test('a file crafted for a long search is rejected quickly', async () => {
    // Counts of 1 everywhere, whatever the sizes.
    const ones = Uint8Array.from({ length: 8 }, (_, i) => (i === 0 ? 1 : 0))
    const many = Array.from({ length: 200 }, (_, i): [string, Tensor] => [`t${i}`, of('F64', ones)])
    let number = 0
    const text = writeTorchCheckpoint(new Map(many), { legacy: true })
      .toString('latin1')
      .replaceAll('DoubleStorage', () => `Class${number++}Storage`)
    writeFileSync(at('endless.ckpt'), Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(3)]))
    await expect(openTensors(at('endless.ckpt'))).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
  })
})
