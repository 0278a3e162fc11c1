/** Tensors of a safetensors file: an 8-byte length, a JSON header of names, types, shapes and offsets, then the data. */
import { ModelFormatError } from '../errors.js'
import { readRange, streamRange, withRegular } from '../files/regular-file.js'
import { databaseFile } from './npz.js'
import type { ElementType, StoredArray } from './stored-array.js'

/** Three tensors take a few hundred bytes; the rest is for metadata. Parsing a larger header would block the event loop. */
const maxHeaderBytes = 1 << 20

const types: Record<string, [ElementType, number]> = {
  F16: ['f16', 2],
  BF16: ['bf16', 2],
  F32: ['f32', 4],
  F64: ['f64', 8],
  U8: ['u8', 1],
  I32: ['i32', 4],
  I64: ['i64', 8],
}

async function readHeader(file: string): Promise<{ json: unknown; dataStart: number; size: number }> {
  return withRegular(file, databaseFile(file), async (opened) => {
    const { size } = opened
    const length = await readRange(opened, 0, 8)
    const bytes = length.length === 8 ? Number(length.readBigUInt64LE()) : Infinity
    if (bytes > size - 8) throw new ModelFormatError(`${file} is not a safetensors file: its header is longer than the file`, { path: file })
    if (bytes > maxHeaderBytes)
      throw new ModelFormatError(`${file} has a header of ${bytes} bytes; the limit is ${maxHeaderBytes}`, { path: file, bytes })
    const header = await readRange(opened, 8, 8 + bytes)
    if (header.length !== bytes) throw new ModelFormatError(`${file} ends within its header`, { path: file })
    try {
      return { json: JSON.parse(header.toString('utf8')) as unknown, dataStart: 8 + bytes, size }
    } catch (cause) {
      throw new ModelFormatError(`${file} has a header that is not valid JSON`, { path: file }, { cause })
    }
  })
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** A tensor's position, checked against the file. Undefined for unsupported types. */
function tensor(file: string, name: string, value: unknown, dataStart: number, size: number): StoredArray | undefined {
  const where = `${file}: ${name}`
  const broken = (what: string) => new ModelFormatError(`${where}: ${what}`, { path: where })
  const { dtype, shape, data_offsets: offsets } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  if (typeof dtype !== 'string' || !Array.isArray(shape) || !shape.every(isSize) || shape.length > 8)
    throw broken('type or shape is missing or malformed')
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) throw broken('data_offsets are missing or malformed')
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > size - dataStart) throw broken(`its data, bytes ${begin} to ${end}, is outside the file`)
  const type = Object.hasOwn(types, dtype) ? types[dtype] : undefined
  if (!type) return undefined
  if (shape.reduce((a, b) => a * b, type[1]) !== end - begin) throw broken(`the shape [${shape.join(', ')}] does not make ${end - begin} bytes`)
  return {
    where,
    type: type[0],
    itemBytes: type[1],
    shape,
    seekable: true,
    read: (from = 0, to = end - begin) => streamRange(file, databaseFile(file), dataStart + begin + from, dataStart + begin + to),
  }
}

/**
 * The tensors of a safetensors file by name; those of unsupported types are skipped.
 * @throws ModelFormatError for a broken file, DiffusionError `ERR_IO` if it cannot be read
 */
export async function openSafetensors(file: string): Promise<Map<string, StoredArray>> {
  const { json, dataStart, size } = await readHeader(file)
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new ModelFormatError(`${file} has a header that is not an object`, { path: file })
  const arrays = new Map<string, StoredArray>()
  for (const [name, value] of Object.entries(json)) {
    const array = name === '__metadata__' ? undefined : tensor(file, name, value, dataStart, size)
    if (array) arrays.set(name, array)
  }
  return arrays
}
