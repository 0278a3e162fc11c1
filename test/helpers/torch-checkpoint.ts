/** Writes what torch.save writes: a stored zip with a protocol 2 pickle and one raw file per storage. */
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

function pickleTensor(p: Pickler, { dtype, shape, bytes }: Tensor, storage: string): void {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1))
  const itemSize = { F32: 4, F16: 2, F64: 8, I64: 8, I32: 4, U8: 1, BOOL: 1 }[dtype]
  p.global('torch._utils', '_rebuild_tensor_v2')
  p.tuple(() => {
    p.tuple(() =>
      p
        .text('storage')
        .global('torch', storageClass[dtype])
        .text(storage)
        .text('cpu')
        .integer(bytes.length / itemSize),
    )
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

/** `wrap`: `{"state_dict": {...}, "global_step": 1}` as Lightning saves it; otherwise the state dict itself. */
export function writeTorchCheckpoint(tensors: Map<string, Tensor>, { wrap = true } = {}): Buffer {
  const p = new Pickler()
  const storages = new Map<string, Uint8Array>()
  const numbers = new Map<string, string>()
  const pickleDict = () => {
    p.raw(0x7d, 0x28) // EMPTY_DICT MARK
    for (const [key, tensor] of tensors) {
      const owner = tensor.shared ?? key
      if (!numbers.has(owner)) {
        numbers.set(owner, String(numbers.size))
        storages.set(numbers.get(owner)!, tensors.get(owner)?.bytes ?? tensor.bytes)
      }
      p.text(key)
      pickleTensor(p, tensor, numbers.get(owner)!)
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
  return zipStored([
    { name: 'archive/data.pkl', data: p.bytes() },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    ...Array.from(storages, ([number, data]) => ({ name: `archive/data/${number}`, data })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ])
}

/** One deflated or stored file inside an outer zip is the same container; used for release.zip tests. */
export { zipStored }
