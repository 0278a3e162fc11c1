/** Retrieval databases: .npz and safetensors files of every kind, exact search, writing, and everything that is refused. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { ModelFormatError, UnsupportedModelError } from '../../lib/errors'
import { RetrievalDatabase } from '../../lib/retrieval/database'
import { parseNpyHeader } from '../../lib/retrieval/npz'
import { TopK } from '../../lib/retrieval/top-k'
import { writeRetrievalDatabase } from '../../lib/retrieval/write'
import { toHalf } from '../helpers/golden'
import { randomOf } from '../helpers/mutate'
import { npyFile, npzFile, zipFile, type NpyArray } from '../helpers/npz'

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'retrieval-'))))
afterEach(() => rmSync(folder, { recursive: true }))
const write = (name: string, bytes: Uint8Array): string => {
  const file = path.join(folder, name)
  writeFileSync(file, bytes)
  return file
}

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
const floats = (data: Float32Array, dim: number): NpyArray => ({ descr: '<f4', shape: [data.length / dim, dim], bytes: bytesOf(data) })

/** [rows, dim], seeded. */
function rowsOf(count: number, dim: number, seed = 1): Float32Array {
  const random = randomOf(seed)
  const out = new Float32Array(count * dim)
  for (let i = 0; i < out.length; i++) out[i] = 4 * random() - 2
  return out
}

/** Cosine of every row, in double, best first; by sorting, which the search does not do. */
function bySorting(data: Float32Array, query: Float32Array, k: number): { index: number; score: number }[] {
  const dim = query.length
  const norm = (at: number, of: Float32Array) => Math.sqrt(of.subarray(at, at + dim).reduce((sum, x) => sum + x * x, 0))
  const scores = Array.from({ length: data.length / dim }, (_, index) => {
    let dot = 0
    for (let i = 0; i < dim; i++) dot += data[index * dim + i]! * query[i]!
    return { index, score: dot / norm(index * dim, data) / norm(0, query) }
  })
  return scores.sort((a, b) => b.score - a.score || a.index - b.index).slice(0, k)
}

const text = (ids: readonly string[], length: number) =>
  bytesOf(Uint32Array.from(ids.flatMap((id) => Array.from({ length }, (_, i) => [...id][i]?.codePointAt(0) ?? 0))))

describe('exact search', () => {
  const [count, dim] = [3000, 24]
  const data = rowsOf(count, dim)
  const query = rowsOf(1, dim, 99)
  const ids = Array.from({ length: count }, (_, i) => `bild-${i}-ü`)
  const patches = Int32Array.from({ length: count * 4 }, (_, i) => i)
  const arrays = {
    embedding: floats(data, dim),
    img_id: { descr: '<U12', shape: [count], bytes: text(ids, 12) },
    patch_coords: { descr: '<i4', shape: [count, 4], bytes: bytesOf(patches) },
  }
  const expected = bySorting(data, query, 7)

  test.each([
    ['stored, in memory', false, undefined],
    ['stored, from the file', false, { maxMemory: 0 }],
    ['deflated, in memory', true, undefined],
    ['deflated, from the file', true, { maxMemory: 1000 }],
  ])('%s: the same as sorting all', async (_, deflated, options) => {
    const database = await RetrievalDatabase.load(write('db.npz', npzFile(arrays, { deflated })), options)
    expect([database.size, database.dim]).toEqual([count, dim])
    const found = await database.search(query, 7)
    expect(found.map(({ index }) => index)).toEqual(expected.map(({ index }) => index))
    found.forEach(({ index, score, embedding, imageId, patch }, i) => {
      expect(score).toBeCloseTo(expected[i]!.score, 5)
      expect(imageId).toBe(ids[index])
      expect(patch).toEqual([4 * index, 4 * index + 1, 4 * index + 2, 4 * index + 3])
      const length = Math.sqrt(data.subarray(index * dim, (index + 1) * dim).reduce((sum, x) => sum + x * x, 0))
      embedding.forEach((value, k) => expect(value).toBeCloseTo(data[index * dim + k]! / length, 5))
    })
  })

  test('the length of the query vector does not matter, and the query is not modified', async () => {
    const database = await RetrievalDatabase.load(write('db.npz', npzFile(arrays)))
    const long = query.map((x) => 1000 * x)
    const copy = long.slice()
    expect((await database.search(long, 3)).map(({ index }) => index)).toEqual(expected.slice(0, 3).map(({ index }) => index))
    expect(long).toEqual(copy)
  })

  test('rows are numbered across several files or a folder', async () => {
    const half = Math.floor(count / 2) * dim
    mkdirSync(path.join(folder, 'parts'))
    const first = write('parts/part_0.npz', npzFile({ embedding: floats(data.subarray(0, half), dim) }))
    const second = write('parts/part_1.npz', npzFile({ embedding: floats(data.subarray(half), dim) }, { deflated: true }))
    write('parts/notes.txt', Buffer.from('not a part'))
    for (const source of [[first, pathToFileURL(second)], path.join(folder, 'parts')]) {
      const database = await RetrievalDatabase.load(source)
      expect(database.size).toBe(count)
      const found = await database.search(query, 7)
      expect(found.map(({ index }) => index)).toEqual(expected.map(({ index }) => index))
      expect(found[0]).not.toHaveProperty('imageId')
    }
  })

  test('a search does not block the event loop and can be aborted', async () => {
    const big = new Float32Array(40_000 * 64)
    for (let i = 0; i < big.length; i++) big[i] = ((i * 7919) % 1013) - 506
    const database = await RetrievalDatabase.load(write('big.npz', npzFile({ embedding: floats(big, 64) })))
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    for (let i = 0; i < 12; i++) await database.search(rowsOf(1, 64, i), 5)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(3)
    const controller = new AbortController()
    const search = database.search(query.length === 64 ? query : rowsOf(1, 64), 5, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(search).rejects.toThrow('enough')
  })
})

describe('element types', () => {
  const values = [1, 0.5, -2, 0, 3, 0.25]
  const bfloat = (x: number) => new Uint32Array(new Float32Array([x]).buffer)[0]! >>> 16

  test.each<[string, Uint8Array]>([
    ['<f2', bytesOf(Uint16Array.from(values, toHalf))],
    ['<f4', bytesOf(Float32Array.from(values))],
    ['<f8', bytesOf(Float64Array.from(values))],
    ['|f4', bytesOf(Float32Array.from(values))],
  ])('.npz: %s', async (descr, bytes) => {
    for (const version of [1, 2, 3] as const) {
      const database = await RetrievalDatabase.load(write('t.npz', npzFile({ embedding: { descr, shape: [2, 3], bytes, version } })))
      const [best] = await database.search(Float32Array.of(0, 3, 0.25), 1)
      expect(best!.index).toBe(1)
      expect(best!.embedding[1]).toBeCloseTo(3 / Math.hypot(3, 0.25), 6)
    }
  })

  test.each<[string, Uint8Array]>([
    ['F16', bytesOf(Uint16Array.from(values, toHalf))],
    ['BF16', bytesOf(Uint16Array.from(values, bfloat))],
    ['F32', bytesOf(Float32Array.from(values))],
    ['F64', bytesOf(Float64Array.from(values))],
  ])('safetensors: %s', async (dtype, bytes) => {
    const database = await RetrievalDatabase.load(
      write('t.safetensors', safetensors({ embedding: { dtype, shape: [2, 3], data_offsets: [0, bytes.length] } }, bytes)),
    )
    const [best, other] = await database.search(Float32Array.of(1, 0.5, -2), 5)
    expect([best!.index, other!.index]).toEqual([0, 1])
    expect(best!.score).toBeCloseTo(1, 6)
  })

  test.each<[string, NpyArray, unknown]>([
    ['int64', { descr: '<i8', shape: [2], bytes: bytesOf(BigInt64Array.of(5n, -7n)) }, -7],
    ['bytes', { descr: '|S4', shape: [2], bytes: Buffer.from('a\0\0\0b\xc3\xa9\0', 'latin1') }, 'bé'],
    ['a pickled list, which is left alone', { descr: '|O', shape: [2], bytes: Buffer.from('\x80\x03.') }, undefined],
    ['big-endian numbers, likewise', { descr: '>i4', shape: [2], bytes: Buffer.alloc(8) }, undefined],
  ])('identifiers: %s', async (_, img_id, expected) => {
    const embedding = floats(Float32Array.from(values), 3)
    for (const deflated of [false, true]) {
      const database = await RetrievalDatabase.load(write('t.npz', npzFile({ embedding, img_id }, { deflated })))
      expect((await database.search(Float32Array.of(0, 3, 0.25), 1))[0]!.imageId).toBe(expected)
    }
  })

  test('very long identifiers', async () => {
    const length = 262_144
    const img_id = { descr: `<U${length}`, shape: [1], bytes: bytesOf(new Uint32Array(length).fill(0x1f600)) }
    const database = await RetrievalDatabase.load(write('t.npz', npzFile({ embedding: floats(Float32Array.of(1, 2), 2), img_id })))
    const [best] = await database.search(Float32Array.of(1, 2), 1)
    expect(best!.imageId === '\u{1f600}'.repeat(length)).toBe(true)
  })

  test('a row of zeros is similar to nothing', async () => {
    const database = await RetrievalDatabase.load(write('t.npz', npzFile({ embedding: floats(Float32Array.of(0, 0, -1, -1), 2) })))
    expect((await database.search(Float32Array.of(1, 1), 5)).map(({ index }) => index)).toEqual([1])
  })
})

function safetensors(header: object, data: Uint8Array): Buffer {
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json, data])
}

describe('writing', () => {
  const [count, dim] = [300, 16]
  const embeddings = rowsOf(count, dim)
  const imageIds = Array.from({ length: count }, (_, i) => `${'sub/'.repeat(i % 3)}ä${i}.png`)
  const patches = imageIds.map((_, i) => [i, 2 * i, 3 * i, -i])

  test('round-trips', async () => {
    const file = path.join(folder, 'own.safetensors')
    await writeRetrievalDatabase(file, { embeddings, shape: [count, dim], imageIds, patches })
    expect(readdirSync(folder)).toEqual(['own.safetensors'])
    for (const maxMemory of [undefined, 0]) {
      const database = await RetrievalDatabase.load(file, { maxMemory })
      const [best] = await database.search(embeddings.subarray(17 * dim, 18 * dim), 1)
      expect(best).toMatchObject({ index: 17, imageId: imageIds[17], patch: patches[17] })
      expect(best!.score).toBeCloseTo(1, 5)
    }
    // Data begins at a multiple of 8, as readers that map the file like it.
    expect(readFileSync(file).readBigUInt64LE() % 8n).toBe(0n)
  })

  test('names and locations are optional', async () => {
    const file = path.join(folder, 'own.safetensors')
    await writeRetrievalDatabase(file, { embeddings, shape: [count, dim] })
    const [best] = await (await RetrievalDatabase.load(file)).search(embeddings.subarray(0, dim), 1)
    expect(Object.keys(best!)).toEqual(['index', 'score', 'embedding'])
  })

  test.each<[string, object, RegExp]>([
    ['a shape that does not fit', { embeddings, shape: [count, dim + 1] }, /describes 5100 values/],
    ['other numbers', { embeddings: new Float64Array(4), shape: [2, 2] }, /must be a Float32Array/],
    ['NaN', { embeddings: Float32Array.of(1, 2, NaN, Infinity), shape: [2, 2] }, /embeddings\[2\] is NaN/],
    ['too few names', { embeddings, shape: [count, dim], imageIds: ['a'] }, /imageIds must be an array of 300/],
    ['a name that is none', { embeddings, shape: [count, dim], imageIds: imageIds.map(() => 5) }, /imageIds\[0\] must be a string/],
    ['places of three numbers', { embeddings, shape: [count, dim], patches: imageIds.map(() => [1, 2, 3]) }, /patches\[0\] must be four numbers/],
    ['an unknown key', { embeddings, shape: [count, dim], imageId: [] }, /unknown option 'imageId'/],
  ])('refused: %s', async (_, rows, message) => {
    await expect(writeRetrievalDatabase(path.join(folder, 'x'), rows as never)).rejects.toThrow(message)
    expect(readdirSync(folder)).toEqual([])
  })

  test('an unwritable target', async () => {
    await expect(writeRetrievalDatabase(path.join(folder, 'none', 'x'), { embeddings, shape: [count, dim] })).rejects.toMatchObject({
      code: 'ERR_IO',
    })
  })
})

describe('rejected', () => {
  const embedding = floats(Float32Array.of(1, 2, 3, 4), 2)
  const member = (array: Partial<NpyArray>): Buffer => npzFile({ embedding: { ...embedding, ...array } })
  const load = (name: string, bytes: Uint8Array) => RetrievalDatabase.load(write(name, bytes))

  test.each<[string, Buffer, RegExp]>([
    ['no zip', Buffer.from('hello'), /not a valid .npz file/],
    ['an empty file', Buffer.alloc(0), /not a valid .npz file/],
    ['no embeddings', npzFile({ other: embedding }), /no array 'embedding'/],
    ['no .npy', zipFile({ 'embedding.npy': Buffer.from('not an array, but long enough') }, false), /its header is missing/],
    ['a short .npy', zipFile({ 'embedding.npy': Buffer.from('\x93NUMPY', 'latin1') }, false), /ends within its header/],
    ['fewer values than its shape says', member({ shape: [3, 2] }), /\[3, 2\], 24 bytes, but holds 16/],
    ['more values', member({ shape: [1, 2] }), /but holds 16/],
    ['an absurd shape', member({ shape: [2 ** 40, 2 ** 40] }), /its shape is too large/],
    ['a shape that is none', member({ header: "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }" }), /header cannot be read/],
    ['no shape', member({ header: "{'descr': '<f4', 'fortran_order': False, }" }), /header cannot be read/],
    ['an expression', member({ header: "__import__('os')" }), /header cannot be read/],
    ['a vector', member({ shape: [4] }), /\[rows, dim\] is expected/],
    ['no rows', member({ shape: [0, 2], bytes: new Uint8Array() }), /\[rows, dim\] is expected/],
    ['names of another length', npzFile({ embedding, img_id: { descr: '<i4', shape: [3], bytes: new Uint8Array(12) } }), /3 rows for 2 embeddings/],
    ['NaN', npzFile({ embedding: floats(Float32Array.of(1, 2, NaN, 4), 2) }), /row 1 has values that are not numbers/],
    ['infinity', npzFile({ embedding: floats(Float32Array.of(1, Infinity, 3, 4), 2) }), /row 0 has values/],
  ])('.npz: %s', async (_, bytes, message) => {
    const loading = load('bad.npz', bytes)
    await expect(loading).rejects.toThrow(message)
    await expect(loading).rejects.toBeInstanceOf(ModelFormatError)
  })

  test.each<[string, Buffer]>([
    ['pickled objects', member({ descr: '|O' })],
    ['records', member({ header: "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2), }" })],
    ['integers', member({ descr: '<i4' })],
    ['big-endian numbers', member({ descr: '>f4' })],
    ['columns first', member({ fortran: true })],
  ])('.npz of a kind that is not read: %s', async (_, bytes) => {
    await expect(load('other.npz', bytes)).rejects.toBeInstanceOf(UnsupportedModelError)
  })

  test('a deflate bomb is rejected by its declared size', async () => {
    const bytes = npzFile({ embedding: { descr: '<f4', shape: [2, 2], bytes: new Uint8Array(16) } }, { deflated: true })
    // The uncompressed size in the central directory.
    const at = bytes.lastIndexOf('PK\x01\x02') + 24
    bytes.writeUInt32LE(0x7fffffff, at)
    await expect(load('bomb.npz', bytes)).rejects.toThrow(/declares 2147483647 bytes/)
  })

  test('an archive with less data than declared', async () => {
    const data = npzFile({ embedding: floats(rowsOf(5000, 8), 8) }, { deflated: true })
    data.fill(0x55, 2000, 60_000)
    await expect(load('damaged.npz', data)).rejects.toBeInstanceOf(ModelFormatError)
  })

  test.each<[string, Buffer, RegExp]>([
    ['too short', Buffer.from('abc'), /header is longer than the file/],
    ['a header beyond the file', Buffer.from('ffffffffffffff7f', 'hex'), /header is longer than the file/],
    ['no JSON', safetensors({}, Buffer.alloc(0)).fill('x', 8), /not valid JSON/],
    ['a list', safetensors([], Buffer.alloc(0)), /not an object/],
    ['an entry that is none', safetensors({ embedding: 5 }, Buffer.alloc(4)), /type or shape/],
    ['a negative size', safetensors({ embedding: { dtype: 'F32', shape: [-1, 2], data_offsets: [0, 4] } }, Buffer.alloc(4)), /type or shape/],
    ['no offsets', safetensors({ embedding: { dtype: 'F32', shape: [1, 1] } }, Buffer.alloc(4)), /data_offsets/],
    ['data beyond the file', safetensors({ embedding: { dtype: 'F32', shape: [2, 1], data_offsets: [0, 8] } }, Buffer.alloc(4)), /outside the file/],
    [
      'a shape of another size',
      safetensors({ embedding: { dtype: 'F32', shape: [2, 1], data_offsets: [0, 4] } }, Buffer.alloc(4)),
      /does not make 4 bytes/,
    ],
    [
      'a type of no name',
      safetensors({ embedding: { dtype: 'toString', shape: [1, 1], data_offsets: [0, 4] } }, Buffer.alloc(4)),
      /no array 'embedding'/,
    ],
  ])('safetensors: %s', async (_, bytes, message) => {
    const loading = load('bad.safetensors', bytes)
    await expect(loading).rejects.toThrow(message)
    await expect(loading).rejects.toBeInstanceOf(ModelFormatError)
  })

  test('files that do not belong together, and no files', async () => {
    const [a, b] = [write('a.npz', npzFile({ embedding })), write('b.npz', npzFile({ embedding: floats(Float32Array.of(1, 2, 3), 3) }))]
    await expect(RetrievalDatabase.load([a, b])).rejects.toThrow(/embeddings of 3 values, but the previous files have 2/)
    await expect(RetrievalDatabase.load([])).rejects.toThrow(/names no file/)
    await expect(RetrievalDatabase.load(path.join(folder, 'none.npz'))).rejects.toMatchObject({ code: 'ERR_IO' })
    mkdirSync(path.join(folder, 'empty'))
    await expect(RetrievalDatabase.load(path.join(folder, 'empty'))).rejects.toThrow(/no .npz or .safetensors/)
    await expect(RetrievalDatabase.load(5 as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    await expect(RetrievalDatabase.load(a, { memory: 1 } as never)).rejects.toThrow(/unknown option 'memory'/)
  })

  test.each<[string, unknown, unknown, RegExp]>([
    ['an array', [1, 2], 1, /query must be a Float32Array/],
    ['another length', new Float32Array(3), 1, /query has 3 values; this database holds embeddings of 2/],
    ['zeros', new Float32Array(2), 1, /no direction/],
    ['NaN', Float32Array.of(1, NaN), 1, /no direction/],
    ['no neighbours', Float32Array.of(1, 1), 0, /k must be between 1 and 1000/],
  ])('query: %s', async (_, query, k, message) => {
    const database = await load('q.npz', npzFile({ embedding }))
    await expect(database.search(query as Float32Array, k as number)).rejects.toThrow(message)
  })
})

test('an incomplete .npy header asks for more bytes', () => {
  const file = npyFile({ descr: '<f4', shape: [1, 2], bytes: new Uint8Array(8) })
  for (let length = 0; length < 128; length++) expect(parseNpyHeader(file.subarray(0, length), 'x')).toBeUndefined()
  expect(parseNpyHeader(file.subarray(0, 128), 'x')).toEqual({ type: 'f32', itemBytes: 4, shape: [1, 2], dataStart: 128 })
})

test('top k: the highest, the first of equal ones, never NaN', () => {
  const best = new TopK(3)
  ;[1, 5, NaN, 5, 2, 5, -Infinity].forEach((score, index) => best.add(index, score))
  expect(best.entries.map(({ index }) => index)).toEqual([1, 3, 5])
  const random = randomOf(3)
  const scores = Array.from({ length: 500 }, () => Math.floor(random() * 50))
  const many = new TopK(40)
  scores.forEach((score, index) => many.add(index, score))
  const sorted = scores.map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score || a.index - b.index)
  expect(many.entries).toEqual(sorted.slice(0, 40))
})
