/** Thousands of damaged retrieval databases: each is searched, or refused with a typed error. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DiffusionError } from '../../lib/errors'
import { RetrievalDatabase } from '../../lib/retrieval/database'
import { writeRetrievalDatabase } from '../../lib/retrieval/write'
import { mutate, randomOf } from '../helpers/mutate'
import { npzFile } from '../helpers/npz'

let folder: string
beforeAll(() => (folder = mkdtempSync(path.join(tmpdir(), 'mutants-'))))
afterAll(() => rmSync(folder, { recursive: true }))

const [rows, dim] = [6, 4]
const random = randomOf(5)
const embeddings = Float32Array.from({ length: rows * dim }, () => random() - 0.5)
const imageIds = Array.from({ length: rows }, (_, i) => `img${i}`)
const patches = imageIds.map((_, i) => [i, i, i, i])

function npz(deflated: boolean): Buffer {
  const text = Uint32Array.from(imageIds.flatMap((id) => [...id.padEnd(5, '\0')].map((character) => character.codePointAt(0)!)))
  return npzFile(
    {
      embedding: { descr: '<f4', shape: [rows, dim], bytes: new Uint8Array(embeddings.buffer) },
      img_id: { descr: '<U5', shape: [rows], bytes: new Uint8Array(text.buffer) },
      patch_coords: { descr: '<i4', shape: [rows, 4], bytes: new Uint8Array(Int32Array.from(patches.flat()).buffer) },
    },
    { deflated },
  )
}

/** Whether the file was refused; whatever was accepted must be searched, or be found broken while it is read. */
async function refuses(file: string, maxMemory: number): Promise<boolean> {
  try {
    const database = await RetrievalDatabase.load(file, { maxMemory })
    const query = new Float32Array(database.dim).fill(0.5)
    for (const { index, score, embedding } of await database.search(query, 3)) {
      expect(index).toBeLessThan(database.size)
      expect(Math.abs(score)).toBeLessThan(1.001)
      expect(embedding).toHaveLength(database.dim)
    }
    return false
  } catch (error) {
    if (error instanceof DiffusionError && ['ERR_MODEL_FORMAT', 'ERR_UNSUPPORTED_MODEL'].includes(error.code)) return true
    throw error
  }
}

async function mutants(name: string, original: Buffer, count: number): Promise<number> {
  const file = path.join(folder, name)
  const damage = randomOf(original.length)
  writeFileSync(file, original)
  expect(await refuses(file, 0)).toBe(false)
  let refused = 0
  for (let round = 0; round < count; round++) {
    writeFileSync(file, mutate(original, damage))
    if (await refuses(file, round % 2 === 0 ? 0 : 2 ** 20)) refused++
  }
  return refused
}

test.each([
  ['stored', false],
  ['deflated', true],
])('.npz, %s: 400 mutants', async (name, deflated) => {
  expect(await mutants(`${name}.npz`, npz(deflated), 400)).toBeGreaterThan(120)
})

test('safetensors: 400 mutants', async () => {
  const file = path.join(folder, 'whole.safetensors')
  await writeRetrievalDatabase(file, { embeddings, shape: [rows, dim], imageIds, patches })
  expect(await mutants('damaged.safetensors', readFileSync(file), 400)).toBeGreaterThan(120)
})
