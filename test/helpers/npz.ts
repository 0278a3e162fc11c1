/** Writes .npy and .npz files as numpy does. */
import { deflateRawSync } from 'node:zlib'
import { crc32 } from './crc32'

export interface NpyArray {
  /** numpy's type text: `<f4`. */
  descr: string
  shape: readonly number[]
  bytes: Uint8Array
  fortran?: boolean
  version?: 1 | 2 | 3
  /** In place of the dictionary. */
  header?: string
}

export function npyFile({ descr, shape, bytes, fortran = false, version = 1, header }: NpyArray): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const dictionary = header ?? `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${sizes}), }`
  const prefix = version === 1 ? 10 : 12
  const text = Buffer.from(dictionary.padEnd(Math.ceil((dictionary.length + prefix + 1) / 64) * 64 - prefix - 1) + '\n', 'latin1')
  const head = Buffer.alloc(prefix)
  head.write('\x93NUMPY', 'latin1')
  head[6] = version
  if (version === 1) head.writeUInt16LE(text.length, 8)
  else head.writeUInt32LE(text.length, 8)
  return Buffer.concat([head, text, bytes])
}

/** A zip of files by name, deflated (savez_compressed) or stored (savez). */
export function zipFile(files: Record<string, Buffer>, deflated: boolean): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [name, content] of Object.entries(files)) {
    const data = deflated ? deflateRawSync(content) : content
    const fields = Buffer.alloc(26)
    fields.writeUInt16LE(20, 0)
    fields.writeUInt16LE(deflated ? 8 : 0, 4)
    fields.writeUInt32LE(crc32(content), 10)
    fields.writeUInt32LE(data.length, 14)
    fields.writeUInt32LE(content.length, 18)
    fields.writeUInt16LE(Buffer.byteLength(name), 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), fields, Buffer.from(name), data])
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(offset, 10)
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00', 'latin1'), fields, rest, Buffer.from(name)]))
    parts.push(local)
    offset += local.length
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(directory.length, 8)
  end.writeUInt16LE(directory.length, 10)
  end.writeUInt32LE(size, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, ...directory, end])
}

export function npzFile(arrays: Record<string, NpyArray>, { deflated = false } = {}): Buffer {
  return zipFile(Object.fromEntries(Object.entries(arrays).map(([name, array]) => [`${name}.npy`, npyFile(array)])), deflated)
}
