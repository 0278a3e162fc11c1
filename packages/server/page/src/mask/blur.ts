/** Soft edges of a mask. */

/** A box blur over rows, written as columns, so that two passes blur both directions. */
function pass(from: Float32Array, to: Float32Array, width: number, height: number, radius: number): void {
  const share = 1 / (2 * radius + 1)
  for (let y = 0; y < height; y++) {
    const row = y * width
    const at = (x: number) => from[row + Math.min(width - 1, Math.max(0, x))]!
    let sum = 0
    for (let x = -radius; x <= radius; x++) sum += at(x)
    for (let x = 0; x < width; x++) {
      to[x * height + y] = sum * share
      sum += at(x + radius + 1) - at(x - radius)
    }
  }
}

/** The mask (0 to 255) with edges that fall off over about `feather` pixels: three box blurs, nearly a Gaussian. */
export function feathered(mask: Uint8ClampedArray, width: number, height: number, feather: number): Uint8ClampedArray {
  const radius = Math.round(feather / 3)
  if (radius < 1) return mask
  const a = Float32Array.from(mask)
  const b = new Float32Array(mask.length)
  for (let round = 0; round < 3; round++) {
    pass(a, b, width, height, radius)
    pass(b, a, height, width, radius)
  }
  return Uint8ClampedArray.from(a)
}

/** All pixels that a feathered edge affects, which the engine repaints: 0 and 255. */
export function reach(soft: Uint8ClampedArray, feather: number): Uint8ClampedArray {
  const least = Math.round(feather / 3) < 1 ? 128 : 4
  return soft.map((value) => (value >= least ? 255 : 0))
}
