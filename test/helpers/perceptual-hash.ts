/** Perceptual hashes of images: what small differences of arithmetic leave alone, and another image does not. */
import type { RawImage } from '../../lib/index'

const side = 32
const kept = 8

/** The lowest 8 x 8 coefficients of the two-dimensional cosine transform of 32 x 32 values. */
function lowFrequencies(values: Float64Array): Float64Array {
  const basis = (k: number, i: number) => Math.cos(((2 * i + 1) * k * Math.PI) / (2 * side))
  const rows = new Float64Array(kept * side)
  for (let k = 0; k < kept; k++)
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) rows[k * side + y]! += values[y * side + x]! * basis(k, x)
  const out = new Float64Array(kept * kept)
  for (let v = 0; v < kept; v++) for (let k = 0; k < kept; k++) for (let y = 0; y < side; y++) out[v * kept + k]! += rows[k * side + y]! * basis(v, y)
  return out
}

/** 192 bits as 48 hexadecimal digits: per channel, which of the 64 lowest frequencies are above their median (Zauner 2010, the DCT hash). */
export async function perceptualHash(image: RawImage): Promise<string> {
  const { data, channels } = await image.resize(side, side, { filter: 'bilinear' })
  let bits = ''
  for (let c = 0; c < 3; c++) {
    const values = Float64Array.from({ length: side * side }, (_, i) => data[i * channels + (channels < 3 ? 0 : c)]!)
    const low = lowFrequencies(values)
    // The mean has nothing to do with structure.
    const median = [...low.subarray(1)].sort((a, b) => a - b)[(low.length - 1) >> 1]!
    bits += [...low].map((value) => (value > median ? '1' : '0')).join('')
  }
  return (bits.match(/.{4}/g) ?? []).map((four) => parseInt(four, 2).toString(16)).join('')
}

/** Number of differing bits. */
export function hashDistance(a: string, b: string): number {
  if (a.length !== b.length) return Infinity
  return [...a].reduce((sum, digit, i) => sum + (parseInt(digit, 16) ^ parseInt(b[i]!, 16)).toString(2).replaceAll('0', '').length, 0)
}
