/** Reads the arrays of a safetensors fixture of any integer or float type that the golden files use. */
import { readFileSync } from 'node:fs'

type Arrays = Uint8Array | Int32Array | Float32Array

export function readArrays(file: string): Record<string, { shape: number[]; data: Arrays }> {
  const bytes = readFileSync(file)
  const headerLength = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: 'U8' | 'I32' | 'F32'; shape: number[]; data_offsets: [number, number] }
  >
  const out: Record<string, { shape: number[]; data: Arrays }> = {}
  for (const [key, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (key === '__metadata__') continue
    const copy = new Uint8Array(bytes.subarray(8 + headerLength + data_offsets[0], 8 + headerLength + data_offsets[1]))
    out[key] = { shape, data: dtype === 'U8' ? copy : dtype === 'I32' ? new Int32Array(copy.buffer) : new Float32Array(copy.buffer) }
  }
  return out
}
