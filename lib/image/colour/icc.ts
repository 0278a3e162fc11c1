/**
 * ICC profiles (ICC.1:2022) of displays and working spaces: three curves and a matrix, or one curve for grey. Profiles with lookup tables are not supported.
 * All values are checked; a malformed profile counts as none.
 */
import type { ColourSpace, Curve } from './space.js'

const headerBytes = 128
const maxTags = 200
const maxCurveEntries = 1 << 16

interface Tag {
  type: string
  data: Buffer
}

function tagsOf(profile: Buffer): Map<string, Tag> | undefined {
  if (profile.length < headerBytes + 4 || profile.toString('latin1', 36, 40) !== 'acsp') return undefined
  const count = profile.readUInt32BE(headerBytes)
  if (count > maxTags || profile.length < headerBytes + 4 + 12 * count) return undefined
  const tags = new Map<string, Tag>()
  for (let at = headerBytes + 4; count > tags.size && at < headerBytes + 4 + 12 * count; at += 12) {
    const [offset, size] = [profile.readUInt32BE(at + 4), profile.readUInt32BE(at + 8)]
    if (size < 8 || offset > profile.length || size > profile.length - offset) continue
    const data = profile.subarray(offset, offset + size)
    tags.set(profile.toString('latin1', at, at + 4), { type: data.toString('latin1', 0, 4), data })
  }
  return tags
}

const s15Fixed16 = (data: Buffer, at: number) => data.readInt32BE(at) / 65536

/** An XYZType value, [X, Y, Z]. */
function xyzOf(tag: Tag | undefined): [number, number, number] | undefined {
  if (tag?.type !== 'XYZ ' || tag.data.length < 20) return undefined
  return [s15Fixed16(tag.data, 8), s15Fixed16(tag.data, 12), s15Fixed16(tag.data, 16)]
}

/** curveType: the identity, a power, or a table with linear interpolation. */
function sampledCurve(data: Buffer): Curve | undefined {
  if (data.length < 12) return undefined
  const count = data.readUInt32BE(8)
  if (count > maxCurveEntries || data.length < 12 + 2 * count) return undefined
  if (count === 0) return (x) => x
  if (count === 1) {
    const gamma = data.readUInt16BE(12) / 256
    return (x) => x ** gamma
  }
  const table = new Float64Array(count)
  for (let i = 0; i < count; i++) table[i] = data.readUInt16BE(12 + 2 * i) / 65535
  return (x) => {
    const position = Math.min(1, Math.max(0, x)) * (count - 1)
    const left = Math.min(count - 2, Math.floor(position))
    return table[left]! + (position - left) * (table[left + 1]! - table[left]!)
  }
}

/** parametricCurveType: the number of parameters of each function, and the functions. */
const parametric: readonly { numbers: number; make: (p: readonly number[]) => Curve }[] = [
  {
    numbers: 1,
    make:
      ([g]) =>
      (x) =>
        x ** g!,
  },
  {
    numbers: 3,
    make:
      ([g, a, b]) =>
      (x) =>
        x >= -b! / a! ? (a! * x + b!) ** g! : 0,
  },
  {
    numbers: 4,
    make:
      ([g, a, b, c]) =>
      (x) =>
        (x >= -b! / a! ? (a! * x + b!) ** g! : 0) + c!,
  },
  {
    numbers: 5,
    make:
      ([g, a, b, c, d]) =>
      (x) =>
        x >= d! ? (a! * x + b!) ** g! : c! * x,
  },
  {
    numbers: 7,
    make:
      ([g, a, b, c, d, e, f]) =>
      (x) =>
        x >= d! ? (a! * x + b!) ** g! + e! : c! * x + f!,
  },
]

function curveOf(tag: Tag | undefined): Curve | undefined {
  if (tag?.type === 'curv') return sampledCurve(tag.data)
  if (tag?.type !== 'para' || tag.data.length < 12) return undefined
  const { data } = tag
  const kind = parametric[data.readUInt16BE(8)]
  if (!kind || data.length < 12 + 4 * kind.numbers) return undefined
  return kind.make(Array.from({ length: kind.numbers }, (_, i) => s15Fixed16(data, 12 + 4 * i)))
}

/** Grey with L* as its connection space: the curve gives lightness, of which this is the luminance. */
function luminanceOf(lightness: number): number {
  const f = (100 * lightness + 16) / 116
  return f > 6 / 29 ? f ** 3 : ((f - 4 / 29) * 108) / 841
}

/** Whether a profile has lookup tables for this kind of image. */
export function hasTables(profile: Buffer, grey: boolean): boolean {
  const tags = tagsOf(profile)
  return !!tags && profile.toString('latin1', 16, 20) === (grey ? 'GRAY' : 'RGB ') && (tags.has('A2B0') || tags.has('A2B1'))
}

/** The colour space of an image with this profile; undefined for unsupported profiles, or for another kind of image. */
export function readProfile(profile: Buffer, grey: boolean): ColourSpace | undefined {
  const tags = tagsOf(profile)
  if (!tags) return undefined
  const [space, connection] = [profile.toString('latin1', 16, 20), profile.toString('latin1', 20, 24)]
  if (grey) {
    const curve = curveOf(tags.get('kTRC'))
    if (space !== 'GRAY' || !curve) return undefined
    return { grey: connection === 'Lab ' ? (x) => luminanceOf(curve(x)) : curve }
  }
  if (space !== 'RGB ' || connection !== 'XYZ ') return undefined
  const columns = ['rXYZ', 'gXYZ', 'bXYZ'].map((name) => xyzOf(tags.get(name)))
  const curves = ['rTRC', 'gTRC', 'bTRC'].map((name) => curveOf(tags.get(name)))
  if (!columns.every((column) => column !== undefined) || !curves.every((curve) => curve !== undefined)) return undefined
  return { curves, toXyz: [0, 1, 2].flatMap((row) => columns.map((column) => column[row]!)) }
}
