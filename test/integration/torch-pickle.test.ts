/** Torch checkpoints whose pickles are put together by hand: numbers of the other byte order, and one long text in very many places. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { openTensors } from '../../lib/index'
import { temporaryFolder } from '../helpers/golden'
import { processorTime } from '../helpers/processor-time'
import { zipStored } from '../helpers/torch-checkpoint'

const { folder, remove } = temporaryFolder()
afterAll(remove)
const at = (name: string) => path.join(folder, name)

const integer = (value: number) => {
  const code = Buffer.from('J\0\0\0\0')
  code.writeInt32LE(value, 1)
  return code
}
const text = (value: string | Buffer) => {
  const head = Buffer.from('X\0\0\0\0')
  head.writeUInt32LE(value.length, 1)
  return Buffer.concat([head, Buffer.from(value)])
}
const global = (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`)
const join = (...parts: (Buffer | string)[]) => Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
const tuple = (...parts: (Buffer | string)[]) => join('(', ...parts, 't')
/** The last value, by a number; and that value again. */
const memoize = (value: Buffer, number: number) => join(value, `q${String.fromCharCode(number)}`)
const recall = (number: number) => `h${String.fromCharCode(number)}`
const storage = (storageClass: Buffer | string, key: Buffer | string, count: number) =>
  join(tuple(text('storage'), storageClass, key, text('cpu'), integer(count)), 'Q')
const tensor = (of: Buffer | string, shape: number[], strides: number[]) =>
  join(
    global('torch._utils', '_rebuild_tensor_v2'),
    tuple(of, integer(0), tuple(...shape.map(integer)), tuple(...strides.map(integer)), '\x89', '}'),
    'R',
  )
const pickle = (...parts: (Buffer | string)[]) => join('\x80\x02', ...parts, '.')

function checkpoint(name: string, data: Buffer, storages: Record<string, Buffer>, order = 'little'): string {
  const entries = Object.entries(storages).map(([key, bytes]) => ({ name: `archive/data/${key}`, data: bytes }))
  writeFileSync(at(name), zipStored([{ name: 'archive/data.pkl', data }, { name: 'archive/byteorder', data: Buffer.from(order) }, ...entries]))
  return at(name)
}

test.each([
  ['ComplexFloatStorage', 4],
  ['ComplexDoubleStorage', 8],
] as const)('%s of a big-endian file: the halves keep their places, contiguous and transposed', async (storageClass, width) => {
  const numbers = Array.from({ length: 12 }, (_, i) => i + 0.25)
  const bytes = (order: 'LE' | 'BE', values: number[]) => {
    const out = Buffer.alloc(width * values.length)
    values.forEach((value, i) => (width === 4 ? out[`writeFloat${order}`](value, 4 * i) : out[`writeDouble${order}`](value, 8 * i)))
    return out
  }
  const all = memoize(storage(global('torch', storageClass), text('0'), 6), 0)
  const data = pickle('}(', text('plain'), tensor(all, [2, 3], [3, 1]), text('turned'), tensor(recall(0), [3, 2], [1, 3]), 'u')
  const opened = await openTensors(checkpoint('big.ckpt', data, { 0: bytes('BE', numbers) }, 'big'))
  const turned = [0, 3, 1, 4, 2, 5].flatMap((i) => numbers.slice(2 * i, 2 * i + 2))
  expect(opened.get('plain')).toMatchObject({ type: width === 4 ? 'c64' : 'c128', shape: [2, 3], bytes: 12 * width })
  expect(Buffer.from(await opened.read('plain', { as: 'bytes' }))).toEqual(bytes('LE', numbers))
  expect(Buffer.from(await opened.read('turned', { as: 'bytes' }))).toEqual(bytes('LE', turned))
  opened.dispose()
})

describe('a huge string used in many places is not scanned each time', () => {
  const long = Buffer.alloc(16 << 20, 'a')
  const many = 40_000
  /** Milliseconds. All strings together are 670 GB: hashing them takes a minute. */
  const longest = 5_000
  const float = global('torch', 'FloatStorage')
  const one = tensor(storage(float, text('0'), 1), [1], [1])
  const names = Array.from({ length: many }, (_, i) => text(`t${i}`))
  const each = (value: (i: number) => Buffer | string) => names.map((name, i) => join(name, value(i)))

  const cases: [string, Buffer][] = [
    ['as name', pickle(memoize(text(long), 0), '0', memoize(one, 1), '0', '}(', ...names.map(() => recall(0) + recall(1)), 'u')],
    ['as key of a storage', pickle(memoize(text(long), 0), '0', '}(', ...each(() => tensor(storage(float, recall(0), 1), [1], [1])), 'u')],
    [
      'as class of a storage',
      pickle(memoize(join(text('torch'), text(long), '\x93'), 0), '0', '}(', ...each(() => tensor(storage(recall(0), text('0'), 1), [1], [1])), 'u'),
    ],
    [
      'as type of a tensor',
      pickle(
        memoize(join(text('torch'), text(long), '\x93'), 0),
        '0',
        memoize(storage(global('torch', 'UntypedStorage'), text('0'), 4), 1),
        '0',
        '}(',
        ...each(() =>
          join(
            global('torch._utils', '_rebuild_tensor_v3'),
            tuple(recall(1), integer(0), tuple(integer(1)), tuple(integer(1)), '\x89', '}', recall(0)),
            'R',
          ),
        ),
        'u',
      ),
    ],
    ['in the metadata', pickle(memoize(text(long), 0), '0', '}(', text('a'), one, ...each(() => recall(0)), 'u')],
    [
      'as names of metadata',
      pickle(memoize(text(long), 0), '0', '}(', ...names.map(() => recall(0) + 'N'), text('state_dict'), '}(', text('a'), one, 'uu'),
    ],
  ]

  test.each(cases)('%s', async (_, data) => {
    const file = checkpoint('long.ckpt', data, { 0: Buffer.alloc(4) })
    const spent = await processorTime(async () => {
      const opened = await openTensors(file).catch((error: unknown) => error)
      if (opened instanceof Error) expect(opened).toMatchObject({ code: 'ERR_MODEL_FORMAT' })
      else (opened as Awaited<ReturnType<typeof openTensors>>).dispose()
    })
    expect(spent).toBeLessThan(longest)
  })

  test.each<[string, Buffer | string, Buffer | string]>([
    ['as key of every storage', float, recall(0)],
    ['as class of every storage', recall(1), ''],
  ])('%s of a legacy file', async (_, storageClass, sameKey) => {
    const key = (i: number) => (sameKey === '' ? text(`${i}`) : sameKey)
    const head = join(memoize(text(long), 0), '0', memoize(join(text('torch'), recall(0), '\x93'), 1), '0')
    const object = pickle(head, '}(', ...each((i) => tensor(storage(storageClass, key(i), 1), [1], [1])), 'u')
    const keys = pickle(head, '](', ...names.map((_, i) => key(i)), 'e')
    const magic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')
    writeFileSync(at('old.ckpt'), join(magic, pickle(integer(1001)), pickle('}'), object, keys))
    const spent = await processorTime(() => expect(openTensors(at('old.ckpt'))).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' }))
    expect(spent).toBeLessThan(longest)
  })
})
