/** The files that prompts may name, as listed and as loaded: what is listed works, and what works is listed. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { DiffusionPipeline } from '../../lib/api/pipeline'
import { listEmbeddings } from '../../lib/api/embeddings'
import { listLoras } from '../../lib/api/loras'
import { goldenModel } from '../helpers/model'

const width = 128 // of the text encoder of the embedded model

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'prompt-files-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A safetensors file of zeros. */
function tensorFile(name: string, shapes: Readonly<Record<string, number[]>>): string {
  let end = 0
  const entries = Object.entries(shapes).map(([key, shape]) => {
    const begin = end
    end += 4 * shape.reduce((a, b) => a * b, 1)
    return [key, { dtype: 'F32', shape, data_offsets: [begin, end] }]
  })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  const file = path.join(folder, name)
  writeFileSync(file, Buffer.concat([length, header, Buffer.alloc(end)]))
  return file
}

describe('listLoras()', () => {
  test('names and paths, of subfolders, too; of the same name the one that counts', async () => {
    const files = ['b.safetensors', 'a.GGUF', 'notes.txt', 'b.pt', 'sub/c.v2.bin', 'sub/b.ckpt']
    mkdirSync(path.join(folder, 'sub'))
    mkdirSync(path.join(folder, 'folder.safetensors'))
    for (const file of files) writeFileSync(path.join(folder, file), '')
    const expected = { a: 'a.GGUF', b: 'b.pt', 'c.v2': 'sub/c.v2.bin' }
    for (const directory of [folder, pathToFileURL(folder)])
      expect(await listLoras(directory)).toEqual(Object.entries(expected).map(([name, file]) => ({ name, path: path.join(folder, file) })))
  })

  test('what is no folder', async () => {
    await expect(listLoras(path.join(folder, 'none'))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(listLoras(tensorFile('a.safetensors', {}))).rejects.toThrow(RangeError)
  })

  test('a prompt that names a file of a folder that is gone', async () => {
    await using pipe = await DiffusionPipeline.load(undefined, { loraDirectory: folder })
    rmSync(folder, { recursive: true })
    if (pipe.kind !== 'text') throw new Error('the embedded model reads text')
    await expect(pipe.generate({ prompt: 'x <lora:a:1>', steps: 1 })).rejects.toMatchObject({ code: 'ERR_IO' })
  })
})

describe('listEmbeddings()', () => {
  test('words that fit the model are those that its prompts read', async () => {
    tensorFile('glow.safetensors', { emb_params: [2, width] })
    tensorFile('several.safetensors', { first: [width], second: [1, width] })
    tensorFile('alone.safetensors', { inside: [3, width] })
    tensorFile('half.safetensors', { good: [width], bad: [width + 1] })
    tensorFile('sdxl.safetensors', { clip_l: [3, 768], clip_g: [3, 1280] })
    tensorFile('long.safetensors', { emb_params: [76, width] })
    tensorFile('network.safetensors', { weight: [4, 4, 3, 3], bias: [4] })
    tensorFile('table.safetensors', { weight: [1001, width] })
    writeFileSync(path.join(folder, 'broken.safetensors'), 'nothing')
    await using pipe = await DiffusionPipeline.load(undefined, { embeddingDirectory: folder })
    const list = await listEmbeddings(folder, { info: pipe.info })
    const word = (name: string, file: string, vectors: number, widths: number[], fits: boolean) => ({
      name,
      path: path.join(folder, `${file}.safetensors`),
      vectors,
      widths,
      fits,
    })
    expect(list).toEqual([
      word('inside', 'alone', 3, [width], true),
      word('alone', 'alone', 3, [width], true),
      word('glow', 'glow', 2, [width], true),
      word('good', 'half', 1, [width], false),
      word('bad', 'half', 1, [width + 1], false),
      word('long', 'long', 76, [width], false),
      word('sdxl', 'sdxl', 3, [768, 1280], false),
      word('first', 'several', 1, [width], true),
      word('second', 'several', 1, [width], true),
    ])
    for (const { name, vectors, fits } of list) {
      const { chunks } = await pipe.tokenize(name)
      expect([name, chunks[0]!.ids.filter((id) => id < 0).length]).toEqual([name, fits ? vectors : 0])
    }
    const plain = await listEmbeddings(pathToFileURL(folder))
    expect(plain).toEqual(list.map(({ name, path: file, vectors, widths }) => ({ name, path: file, vectors, widths })))
  })

  test('a model without a CLIP text encoder loads with a folder of them, but not with a list', async () => {
    const file = tensorFile('glow.safetensors', { emb_params: [2, width] })
    const model = goldenModel('ldm-cin256-v2')
    try {
      const load = { config: model.golden.config, device: 'cpu' } as const
      await using pipe = await DiffusionPipeline.load(model.file, { ...load, embeddingDirectory: folder })
      expect(pipe.kind).toBe('class')
      await expect(DiffusionPipeline.load(model.file, { ...load, embeddings: [file] })).rejects.toThrow(/CLIP text encoder/)
    } finally {
      model.remove()
    }
  })

  test('what is no folder, and what describes no model', async () => {
    await expect(listEmbeddings(path.join(folder, 'none'))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(listEmbeddings(tensorFile('a.safetensors', {}))).rejects.toThrow(RangeError)
    for (const info of [null, 5, {}, { spec: { conditioners: [null] } }])
      await expect(listEmbeddings(folder, { info: info as never })).rejects.toThrow(TypeError)
  })
})
