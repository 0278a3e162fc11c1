/** Enlarges latents as torch.nn.functional.interpolate does, without aligned corners or antialiasing. */
import type { Size } from './framing.js'

export type LatentFilter = 'bilinear' | 'bicubic' | 'nearest' | 'nearest-exact'

interface Tap {
  index: number
  weight: number
}

/** Keys' cubic convolution with torch's a = -0.75, at the distances of the four neighbours. */
function cubicWeights(t: number): number[] {
  const a = -0.75
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return [far(t + 1), near(t), near(1 - t), far(2 - t)]
}

/** The inputs of an output position along one axis. */
function tapsAt(position: number, from: number, to: number, filter: LatentFilter): Tap[] {
  const scale = from / to
  const inside = (index: number) => Math.min(from - 1, Math.max(0, index))
  if (filter === 'nearest') return [{ index: inside(Math.floor(position * scale)), weight: 1 }]
  const centre = (position + 0.5) * scale
  if (filter === 'nearest-exact') return [{ index: inside(Math.floor(centre)), weight: 1 }]
  const source = filter === 'bilinear' ? Math.max(0, centre - 0.5) : centre - 0.5
  const base = Math.floor(source)
  const t = source - base
  const [first, weights] = filter === 'bilinear' ? [base, [1 - t, t]] : [base - 1, cubicWeights(t)]
  return weights.map((weight, i) => ({ index: inside(first + i), weight }))
}

/** Planes [rows, from.height, from.width] to [rows, to.height, to.width]. */
export function resizeLatents(data: Float32Array, from: Size, to: Size, filter: LatentFilter): Float32Array {
  const rows = data.length / (from.width * from.height)
  const out = new Float32Array(rows * to.width * to.height)
  const across = Array.from({ length: to.width }, (_, x) => tapsAt(x, from.width, to.width, filter))
  const down = Array.from({ length: to.height }, (_, y) => tapsAt(y, from.height, to.height, filter))
  let at = 0
  for (let row = 0; row < rows; row++)
    for (const vertical of down)
      for (const horizontal of across) {
        let sum = 0
        for (const y of vertical) {
          const line = (row * from.height + y.index) * from.width
          for (const x of horizontal) sum += y.weight * x.weight * data[line + x.index]!
        }
        out[at++] = sum
      }
  return out
}
