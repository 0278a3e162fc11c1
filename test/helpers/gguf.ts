/** GGUF files as other tools write them: Q6_K blocks, and rows of 256 with the shape that a tensor had (ComfyUI-GGUF). */
import { toHalf } from './golden'

export interface GgufTensor {
  name: string
  shape: number[]
  values: Float32Array
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)])
const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)])

/** One block of 256 numbers: sixteen scales of 8 bits under one half, and 6 bits each. */
function q6kBlock(values: Float32Array): Buffer {
  const block = Buffer.alloc(210)
  const largest = (from: number) => Math.max(...Array.from(values.subarray(from, from + 16), Math.abs))
  const scales = Array.from({ length: 16 }, (_, i) => largest(16 * i) / 31)
  const d = Math.max(...scales) / 127
  const bits = Array.from({ length: 256 }, (_, i) => {
    const scale = d === 0 ? 0 : Math.round(scales[i >> 4]! / d) * d
    return scale === 0 ? 32 : Math.min(63, Math.max(0, Math.round(values[i]! / scale) + 32))
  })
  for (let half = 0; half < 2; half++) {
    for (let l = 0; l < 32; l++) {
      const [a, b, c, e] = [0, 32, 64, 96].map((at) => bits[128 * half + at + l]!) as [number, number, number, number]
      block[64 * half + l] = (a & 15) | ((c & 15) << 4)
      block[64 * half + 32 + l] = (b & 15) | ((e & 15) << 4)
      block[128 + 32 * half + l] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((e >> 4) << 6)
    }
  }
  scales.forEach((scale, i) => block.writeInt8(d === 0 ? 0 : Math.round(scale / d), 192 + i))
  block.writeUInt16LE(toHalf(d), 208)
  return block
}

/** Matrices whose numbers make whole blocks as Q6_K, flattened to rows of 256 where their own rows are no multiple; all others in float32. */
export function comfyGguf(tensors: readonly GgufTensor[]): { bytes: Buffer; flattened: string[] } {
  const keys: Buffer[] = [Buffer.concat([text('general.architecture'), u32(8), text('sd1')])]
  const list: Buffer[] = []
  const data: Buffer[] = []
  const flattened: string[] = []
  let offset = 0
  for (const { name, shape, values } of tensors) {
    const blocks = shape.length > 1 && values.length % 256 === 0
    const flat = blocks && shape.at(-1)! % 256 !== 0
    if (flat) {
      flattened.push(name)
      keys.push(Buffer.concat([text(`comfy.gguf.orig_shape.${name}`), u32(9), u32(5), u64(shape.length), ...shape.map(u32)]))
    }
    const stored = flat ? [values.length / 256, 256] : shape
    const bytes = padded(
      blocks
        ? Buffer.concat(Array.from({ length: values.length / 256 }, (_, i) => q6kBlock(values.subarray(256 * i, 256 * i + 256))))
        : Buffer.from(values.buffer, values.byteOffset, values.byteLength),
    )
    list.push(Buffer.concat([text(name), u32(stored.length), ...[...stored].reverse().map(u64), u32(blocks ? 14 : 0), u64(offset)]))
    data.push(bytes)
    offset += bytes.length
  }
  const head = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(keys.length), ...keys, ...list])
  return { bytes: Buffer.concat([padded(head), ...data]), flattened }
}
