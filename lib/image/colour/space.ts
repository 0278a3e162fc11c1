/** Converts colours of a file to sRGB (IEC 61966-2-1), which the models were trained with. */
import { makeSliced } from '../../files/time-slice.js'

/** From a stored value, 0 to 1, to linear light, 0 to 1. */
export type Curve = (value: number) => number

/** A colour space: three curves and the matrix from linear light to XYZ (D50), row by row, or one curve for grey. */
export type ColourSpace = { curves: readonly Curve[]; toXyz: readonly number[] } | { grey: Curve }

/** Converts samples to sRGB bytes. */
export interface ColourChange {
  /** Byte for each sample, for grey images. */
  grey?: Uint8Array
  /** Writes three bytes at `at`. */
  rgb?: (red: number, green: number, blue: number, out: Uint8Array, at: number) => void
}

const srgbCurve: Curve = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
const fromLight = (light: number) => (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055)

type Matrix = readonly number[]

/** Inverse of a 3 x 3 matrix, row by row; undefined if singular. */
function inverse([a, b, c, d, e, f, g, h, i]: Matrix): number[] | undefined {
  const minors = [e! * i! - f! * h!, c! * h! - b! * i!, b! * f! - c! * e!, f! * g! - d! * i!, a! * i! - c! * g!, c! * d! - a! * f!]
  minors.push(d! * h! - e! * g!, b! * g! - a! * h!, a! * e! - b! * d!)
  const determinant = a! * minors[0]! + b! * minors[3]! + c! * minors[6]!
  return Math.abs(determinant) > 1e-9 ? minors.map((minor) => minor / determinant) : undefined
}

function product(left: Matrix, right: Matrix): number[] {
  return Array.from({ length: 9 }, (_, at) => {
    const [row, column] = [3 * Math.floor(at / 3), at % 3]
    return left[row]! * right[column]! + left[row + 1]! * right[column + 3]! + left[row + 2]! * right[column + 6]!
  })
}

const apply = (m: Matrix, v: readonly number[]) => [0, 3, 6].map((row) => m[row]! * v[0]! + m[row + 1]! * v[1]! + m[row + 2]! * v[2]!)

/** Bradford's cone responses (ICC.1:2022, annex E), for the change to the white of D50. */
const bradford = [0.8951, 0.2664, -0.1614, -0.7502, 1.7135, 0.0367, 0.0389, -0.0685, 1.0296]
const whiteD50 = [0.9642, 1, 0.8249]

/** The matrix to XYZ (D50) for chromaticities x, y of white, red, green, blue; undefined for degenerate ones. */
function matrixOf(chromaticities: readonly number[]): number[] | undefined {
  const [white, ...primaries] = [0, 2, 4, 6].map((i) => {
    const [x, y] = [chromaticities[i]!, chromaticities[i + 1]!]
    return [x / y, 1, (1 - x - y) / y]
  }) as [number[], number[], number[], number[]]
  if (![white, ...primaries].flat().every(Number.isFinite)) return undefined
  const columns = [0, 1, 2].flatMap((row) => primaries.map((primary) => primary[row]!))
  const solved = inverse(columns)
  if (!solved) return undefined
  const amounts = apply(solved, white)
  const scaled = columns.map((value, i) => value * amounts[i % 3]!)
  const [cones, wanted] = [apply(bradford, white), apply(bradford, whiteD50)]
  if (cones.some((cone) => !(cone > 0))) return undefined
  const adapted = product([wanted[0]! / cones[0]!, 0, 0, 0, wanted[1]! / cones[1]!, 0, 0, 0, wanted[2]! / cones[2]!], bradford)
  return product(product(inverse(bradford)!, adapted), scaled)
}

/** x and y of white, red, green, blue. */
const srgbChromaticities = [0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06]
const srgbMatrix = matrixOf(srgbChromaticities)!
const xyzToSrgb = inverse(srgbMatrix)!

/** PNG's gAMA and cHRM, each times 100000. */
export function spaceOf(gamma: number | undefined, chromaticities: readonly number[] | undefined, grey: boolean): ColourSpace | undefined {
  const exponent = gamma === undefined || gamma < 16 || gamma > 625_000_000 ? undefined : gamma / 100_000
  // Encoders write 1/2.2 for sRGB; libpng treats gammas that differ by less than 5 % as equal.
  const curve = exponent === undefined || Math.abs(exponent * 2.2 - 1) < 0.05 ? srgbCurve : (v: number) => v ** (1 / exponent)
  if (grey) return curve === srgbCurve ? undefined : { grey: curve }
  const toXyz = (chromaticities && matrixOf(chromaticities.map((value) => value / 100_000))) ?? srgbMatrix
  return { curves: [curve, curve, curve], toXyz }
}

function clampedByte(light: number): number {
  return Math.round(255 * fromLight(Math.min(1, Math.max(0, light))))
}

const lightSteps = 1 << 16
let bytesOfLight: Promise<Uint8Array> | undefined

/** sRGB bytes by linear light in 65536 steps; near black, where the curve is steepest, a step is a fifth of a byte. */
function lightTable(): Promise<Uint8Array> {
  return (bytesOfLight ??= makeSliced(new Uint8Array(lightSteps + 1), (i) => clampedByte(i / lightSteps)))
}

/** Levels for testing whether a profile is sRGB. */
const probes = [0, 16, 32, 64, 96, 128, 192, 255]

/** Whether no colour changes by more than one level. */
async function isSrgb(space: ColourSpace): Promise<boolean> {
  if ('grey' in space) return probes.every((byte) => Math.abs(clampedByte(space.grey(byte / 255)) - byte) <= 1)
  const change = await rgbChange(space, 255)
  const out = new Uint8Array(3)
  return probes.every((r) =>
    probes.every((g) =>
      probes.every((b) => {
        change(r, g, b, out, 0)
        return Math.abs(out[0]! - r) <= 1 && Math.abs(out[1]! - g) <= 1 && Math.abs(out[2]! - b) <= 1
      }),
    ),
  )
}

async function rgbChange({ curves, toXyz }: Exclude<ColourSpace, { grey: Curve }>, max: number): Promise<NonNullable<ColourChange['rgb']>> {
  const tables = new Map<Curve, Float32Array>()
  for (const curve of new Set(curves)) tables.set(curve, await makeSliced(new Float32Array(max + 1), (i) => curve(i / max) * lightSteps))
  const [red, green, blue] = curves.map((curve) => tables.get(curve)) as [Float32Array, Float32Array, Float32Array]
  const m = product(xyzToSrgb, toXyz)
  const table = await lightTable()
  const byte = (light: number) => table[light <= 0 ? 0 : light >= lightSteps ? lightSteps : Math.round(light)]!
  return (r, g, b, out, at) => {
    const lr = red[r]!
    const lg = green[g]!
    const lb = blue[b]!
    out[at] = byte(m[0]! * lr + m[1]! * lg + m[2]! * lb)
    out[at + 1] = byte(m[3]! * lr + m[4]! * lg + m[5]! * lb)
    out[at + 2] = byte(m[6]! * lr + m[7]! * lg + m[8]! * lb)
  }
}

function finite(space: ColourSpace): boolean {
  const curves = 'grey' in space ? [space.grey] : space.curves
  const numbers = [...curves.flatMap((curve) => probes.map((byte) => curve(byte / 255))), ...('grey' in space ? [] : space.toXyz)]
  return numbers.every(Number.isFinite)
}

/** Conversion of samples from 0 to `max` to sRGB; undefined if they are already sRGB or the space is invalid. */
export async function changeToSrgb(space: ColourSpace | undefined, max: number): Promise<ColourChange | undefined> {
  if (!space || !finite(space) || (await isSrgb(space))) return undefined
  if ('grey' in space) return { grey: await makeSliced(new Uint8Array(max + 1), (i) => clampedByte(space.grey(i / max))) }
  return { rgb: await rgbChange(space, max) }
}
