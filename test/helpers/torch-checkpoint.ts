/** Writes what torch.save writes: a stored zip with a protocol 2 pickle and one raw file per storage; or, as before torch 1.6, five pickles and the storages behind them. */
import { crc32 } from './crc32'
import type { DType, Tensor } from './golden'

const storageClass: Record<DType, string> = {
  F32: 'FloatStorage',
  F16: 'HalfStorage',
  F64: 'DoubleStorage',
  I64: 'LongStorage',
  I32: 'IntStorage',
  U8: 'ByteStorage',
  BOOL: 'BoolStorage',
}

const itemSizes: Record<DType, number> = { F32: 4, F16: 2, F64: 8, I64: 8, I32: 4, U8: 1, BOOL: 1 }

class Pickler {
  private readonly parts: Buffer[] = [Buffer.from([0x80, 2])]

  raw(...bytes: number[]): this {
    this.parts.push(Buffer.from(bytes))
    return this
  }
  global(module: string, name: string): this {
    this.parts.push(Buffer.from(`c${module}\n${name}\n`))
    return this
  }
  text(value: string): this {
    const utf8 = Buffer.from(value)
    const head = Buffer.alloc(5)
    head[0] = 0x58 // BINUNICODE
    head.writeUInt32LE(utf8.length, 1)
    this.parts.push(head, utf8)
    return this
  }
  integer(value: number): this {
    const code = Buffer.alloc(5)
    code[0] = 0x4a // BININT
    code.writeInt32LE(value, 1)
    this.parts.push(code)
    return this
  }
  tuple(write: () => void): this {
    this.raw(0x28) // MARK
    write()
    return this.raw(0x74) // TUPLE
  }
  bytes(): Buffer {
    return Buffer.concat([...this.parts, Buffer.from('.')])
  }
}

function pickleTensor(p: Pickler, { dtype, shape, bytes }: Tensor, storage: string, legacy: boolean): void {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1))
  const itemSize = itemSizes[dtype]
  p.global('torch._utils', '_rebuild_tensor_v2')
  p.tuple(() => {
    p.tuple(() => {
      p.text('storage')
        .global('torch', storageClass[dtype])
        .text(storage)
        .text('cpu')
        .integer(bytes.length / itemSize)
      // The view of the storage that old versions could name.
      if (legacy) p.raw(0x4e) // NONE
    })
    p.raw(0x51) // BINPERSID
    p.integer(0)
    p.tuple(() => shape.forEach((size) => p.integer(size)))
    p.tuple(() => strides.forEach((stride) => p.integer(stride)))
    p.raw(0x89) // NEWFALSE
    p.global('collections', 'OrderedDict').raw(0x29, 0x52) // EMPTY_TUPLE REDUCE
  })
  p.raw(0x52) // REDUCE
}

interface ZipEntry {
  name: string
  data: Uint8Array
}

function zipStored(entries: ZipEntry[]): Buffer {
  const files: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, data } of entries) {
    const nameBytes = Buffer.from(name)
    const crc = crc32(data)
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt32LE(crc, 14)
    local.writeUInt32LE(data.length, 18)
    local.writeUInt32LE(data.length, 22)
    local.writeUInt16LE(nameBytes.length, 26)
    const central = Buffer.alloc(46)
    central.writeUInt32LE(0x02014b50, 0)
    central.writeUInt32LE(crc, 16)
    central.writeUInt32LE(data.length, 20)
    central.writeUInt32LE(data.length, 24)
    central.writeUInt16LE(nameBytes.length, 28)
    central.writeUInt32LE(offset, 42)
    files.push(local, nameBytes, Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    directory.push(central, nameBytes)
    offset += local.length + nameBytes.length + data.length
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(size, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...files, ...directory, end])
}

interface Storage {
  bytes: Uint8Array
  itemSize: number
}

/** The checkpoint as a pickle, and its storages by number: `{"state_dict": {...}, "global_step": 1}` as Lightning saves it, or the state dict itself. */
function pickleCheckpoint(tensors: Map<string, Tensor>, wrap: boolean, legacy: boolean): { pickle: Buffer; storages: Map<string, Storage> } {
  const p = new Pickler()
  const storages = new Map<string, Storage>()
  const numbers = new Map<string, string>()
  const pickleDict = () => {
    p.raw(0x7d, 0x28) // EMPTY_DICT MARK
    for (const [key, tensor] of tensors) {
      const owner = tensor.shared ?? key
      if (!numbers.has(owner)) {
        numbers.set(owner, String(numbers.size))
        storages.set(numbers.get(owner)!, { bytes: tensors.get(owner)?.bytes ?? tensor.bytes, itemSize: itemSizes[tensor.dtype] })
      }
      p.text(key)
      pickleTensor(p, tensor, numbers.get(owner)!, legacy)
    }
    p.raw(0x75) // SETITEMS
  }
  if (wrap) {
    p.raw(0x7d, 0x28).text('global_step').integer(1).text('state_dict')
    pickleDict()
    p.raw(0x75)
  } else {
    pickleDict()
  }
  return { pickle: p.bytes(), storages }
}

/** Magic number, protocol version, facts about the machine, the object, the numbers of the storages; then each storage's count and bytes. */
function legacyFile(pickle: Buffer, storages: Map<string, Storage>): Buffer {
  const magic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')
  const version = new Pickler().integer(1001).bytes()
  const system = new Pickler().raw(0x7d, 0x28).text('protocol_version').integer(1001).text('little_endian').raw(0x88, 0x75).bytes()
  const keys = new Pickler().raw(0x5d, 0x28) // EMPTY_LIST MARK
  for (const key of storages.keys()) keys.text(key)
  const data = Array.from(storages.values(), ({ bytes, itemSize }) => {
    const count = Buffer.alloc(8)
    count.writeBigInt64LE(BigInt(bytes.length / itemSize))
    return [count, bytes]
  })
  return Buffer.concat([magic, version, system, pickle, keys.raw(0x65).bytes(), ...data.flat()]) // APPENDS
}

/** `wrap`: as Lightning saves it. `legacy`: in the form before torch 1.6. */
export function writeTorchCheckpoint(tensors: Map<string, Tensor>, { wrap = true, legacy = false } = {}): Buffer {
  const { pickle, storages } = pickleCheckpoint(tensors, wrap, legacy)
  if (legacy) return legacyFile(pickle, storages)
  return zipStored([
    { name: 'archive/data.pkl', data: pickle },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    ...Array.from(storages, ([number, { bytes }]) => ({ name: `archive/data/${number}`, data: bytes })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ])
}

/** One deflated or stored file inside an outer zip is the same container; used for release.zip tests. */
export { zipStored }
