/** Writes retrieval databases, as safetensors. */
import { writeWhole } from '../files/atomic-file.js'
import { inSlices } from '../files/time-slice.js'
import {
  checkFinite,
  checkInteger,
  checkPath,
  checkShape,
  checkString,
  invalidRange,
  invalidType,
  isFloat32Array,
  knownKeys,
  listOf,
  show,
} from '../options/validate.js'

/** Rows of a retrieval database. */
export interface RetrievalRows {
  /** [rows, dim], of any length; finite. */
  embeddings: Float32Array
  /** [rows, dim] */
  shape: readonly [number, number]
  /** One text per row: the location of the image. */
  imageIds?: readonly string[]
  /** Four numbers per row, as in the databases of the paper. */
  patches?: readonly (readonly number[])[]
}

const pieceBytes = 4 << 20
const maxIdBytes = 4096

interface Tensor {
  name: string
  dtype: 'F32' | 'I32' | 'U8'
  shape: number[]
  bytes: Uint8Array
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Int32Array) => new Uint8Array(buffer, byteOffset, byteLength)

/** Texts as rows of UTF-8 bytes, padded with zeros. */
async function textRows(ids: readonly string[], count: number): Promise<Tensor> {
  const texts: Buffer[] = []
  let width = 1
  await inSlices(count, (i) => {
    const text = Buffer.from(checkString(ids[i], `imageIds[${i}]`, maxIdBytes), 'utf8')
    width = Math.max(width, texts[texts.push(text) - 1]!.length)
  })
  const bytes = new Uint8Array(texts.length * width)
  await inSlices(count, (row) => bytes.set(texts[row]!, row * width))
  return { name: 'img_id', dtype: 'U8', shape: [texts.length, width], bytes }
}

async function patchRows(patches: readonly unknown[], count: number): Promise<Tensor> {
  const numbers = new Int32Array(4 * count)
  await inSlices(count, (row) => {
    const patch: unknown = patches[row]
    if (!Array.isArray(patch) || patch.length !== 4) throw invalidRange(`patches[${row}] must be four numbers`)
    const checked = listOf(patch, `patches[${row}]`, 4).map((value, i) =>
      checkInteger(value, `patches[${row}][${i}]`, { min: -(2 ** 31), max: 2 ** 31 - 1 }),
    )
    numbers.set(checked, 4 * row)
  })
  return { name: 'patch_coords', dtype: 'I32', shape: [count, 4], bytes: bytesOf(numbers) }
}

async function tensorsOf(rows: RetrievalRows): Promise<Tensor[]> {
  const { embeddings, shape, imageIds, patches } = knownKeys(rows, 'writeRetrievalDatabase()', [
    'embeddings',
    'shape',
    'imageIds',
    'patches',
  ]) as unknown as RetrievalRows
  if (!isFloat32Array(embeddings)) throw invalidType(`embeddings must be a Float32Array, not ${show(embeddings)}`)
  const [count, dim] = checkShape(shape, 'shape', embeddings.length, 2) as [number, number]
  const tensors: Tensor[] = [{ name: 'embedding', dtype: 'F32', shape: [count, dim], bytes: bytesOf(await checkFinite(embeddings, 'embeddings')) }]
  const oneEach = (list: unknown, name: string) => {
    if (!Array.isArray(list) || list.length !== count) throw invalidRange(`${name} must be an array of ${count}, one for each row, not ${show(list)}`)
  }
  if (patches !== undefined) {
    oneEach(patches, 'patches')
    tensors.push(await patchRows(patches, count))
  }
  if (imageIds !== undefined) {
    oneEach(imageIds, 'imageIds')
    tensors.push(await textRows(imageIds, count))
  }
  return tensors
}

/** The length and the JSON, padded with spaces to align the data. */
function headerOf(tensors: readonly Tensor[]): Buffer {
  let at = 0
  const entries = tensors.map(({ name, dtype, shape, bytes }) => [name, { dtype, shape, data_offsets: [at, (at += bytes.length)] }])
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)), 'utf8')
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  header.writeBigUInt64LE(BigInt(header.length - 8))
  json.copy(header, 8)
  return header
}

/**
 * Writes a database that {@link RetrievalDatabase.load} reads. The file is written atomically.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for rows that do not fit together, DiffusionError `ERR_IO` if the file cannot be written
 */
export async function writeRetrievalDatabase(file: string, rows: RetrievalRows): Promise<void> {
  checkPath(checkString(file, 'file'), 'file')
  const tensors = await tensorsOf(rows)
  await writeWhole(file, '', async (handle) => {
    await handle.writeFile(headerOf(tensors))
    for (const { bytes } of tensors) for (let at = 0; at < bytes.length; at += pieceBytes) await handle.writeFile(bytes.subarray(at, at + pieceBytes))
    await handle.sync()
  })
}
