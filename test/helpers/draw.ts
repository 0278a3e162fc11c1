/** Flat images of shapes by textbook formulas, to try the judge of scripts/judge on: not how the training draws them. */
import { RawImage } from '../../lib/index'

export type Rgb = readonly [number, number, number]

/** Is (x, y), y down, inside the shape of unit size around the origin? */
export const insideShape: Record<string, (x: number, y: number) => boolean> = {
  circle: (x, y) => x * x + y * y < 1,
  ring: (x, y) => x * x + y * y < 1 && x * x + y * y > 0.2,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.85,
  diamond: (x, y) => Math.abs(x) + Math.abs(y) < 1,
  triangle: (x, y) => y < 0.5 && y > -1 + Math.sqrt(3) * Math.abs(x),
  cross: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 1 && Math.min(Math.abs(x), Math.abs(y)) < 1 / 3,
  // A pentagram: in at least four of the half planes beyond the lines through its points.
  star: (x, y) =>
    [0, 1, 2, 3, 4].filter((k) => {
      const angle = (2 * Math.PI * k) / 5 + Math.PI / 2
      return x * Math.cos(angle) + y * Math.sin(angle) < Math.cos((2 * Math.PI) / 5)
    }).length >= 4,
  heart: (x, y) => {
    const [u, v] = [1.15 * x, 0.15 - 1.15 * y]
    return (u * u + v * v - 1) ** 3 < u * u * v ** 3
  },
  moon: (x, y) => x * x + y * y < 1 && (x - 0.45) ** 2 + (y + 0.1) ** 2 > 0.64,
}

export interface Figure {
  shape: string
  colour: Rgb
  x: number
  y: number
  r: number
  /** Radians. */
  turn?: number
}

/** Figures over a background, 4 x 4 samples a pixel. */
export function draw(figures: readonly Figure[], background: Rgb | ((y: number) => Rgb), size = 64): RawImage {
  const data = new Uint8Array(size * size * 3)
  const samples = 4
  for (let i = 0; i < size * size * samples * samples; i++) {
    const [column, row] = [i % (size * samples), Math.floor(i / (size * samples))]
    const [x, y] = [(column + 0.5) / (size * samples), (row + 0.5) / (size * samples)]
    let colour = typeof background === 'function' ? background(y) : background
    for (const figure of figures) {
      const [dx, dy, turn] = [(x - figure.x) / figure.r, (y - figure.y) / figure.r, figure.turn ?? 0]
      const inside = insideShape[figure.shape]!
      if (inside(dx * Math.cos(turn) + dy * Math.sin(turn), dy * Math.cos(turn) - dx * Math.sin(turn))) colour = figure.colour
    }
    const at = (Math.floor(row / samples) * size + Math.floor(column / samples)) * 3
    for (let c = 0; c < 3; c++) data[at + c]! += colour[c]! / samples ** 2
  }
  return new RawImage({ data, width: size, height: size, channels: 3 })
}
