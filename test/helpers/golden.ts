/** Golden cases: the checkpoint files of a case from its case.json (weights by formula), its inputs and its expected numbers. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { writeTorchCheckpoint } from './torch-checkpoint'

export type DType = 'F32' | 'F16' | 'F64' | 'I64' | 'I32' | 'U8' | 'BOOL'

export interface Tensor {
  dtype: DType
  shape: number[]
  /** Little-endian bytes, row-major. */
  bytes: Uint8Array
  /** Name of the tensor whose storage this one uses. */
  shared?: string
}

type Extra = { from?: string; from_shape?: number[]; rows?: [number, number][]; transpose?: boolean; shared?: string | true; value?: unknown }
type Entry = [key: string, shape: number[], dtype: DType, rule: string, extra?: Extra]
type LayoutFile = { json: unknown } | { tensors: Entry[] }

export interface GoldenCase {
  seed: number
  constants: Record<string, number>
  // The reference's own configuration, as loosely typed as yaml.
  config: { model: { params: any }; [key: string]: unknown }
  inputs: Record<string, { shape: number[]; dtype: DType; gen?: string; value?: any; box?: number[]; n?: number }>
  expected: Record<string, { what: string; shape: number[]; atol: number; max_abs: number; std: number; stride?: number }>
  layouts: Record<string, Record<string, LayoutFile>>
}

/** Tests run in the repository's root. */
const fixtures = path.resolve('test', 'fixtures', 'models')

export function loadCase(name: string): GoldenCase {
  return JSON.parse(readFileSync(path.join(fixtures, name, 'case.json'), 'utf8')) as GoldenCase
}

/** The expected tensors of a case, float32 (indices are int32). */
export function loadExpected(name: string): Record<string, { shape: number[]; data: Float32Array }> {
  const bytes = readFileSync(path.join(fixtures, name, 'expected.safetensors'))
  const headerLength = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const out: Record<string, { shape: number[]; data: Float32Array }> = {}
  for (const [key, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (key === '__metadata__' || dtype !== 'F32') continue
    const copy = bytes.subarray(8 + headerLength + data_offsets[0], 8 + headerLength + data_offsets[1])
    out[key] = { shape, data: new Float32Array(new Uint8Array(copy).buffer) }
  }
  return out
}

// ---- the formula -----------------------------------------------------------------------------------------------------

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

function fnv1a(text: string): number {
  let h = 0x811c9dc5
  for (const byte of Buffer.from(text, 'utf8')) h = Math.imul(h ^ byte, 0x01000193)
  return h >>> 0
}

// Inside of jest every look at a global costs a microsecond; this runs for each weight of a model.
const { imul } = Math

/** `base` + `factor` times v_i in [-1, 1), computed in float64. */
function fill<T extends Float32Array | Float64Array>(key: string, seed: number, out: T, factor = 1, base = 0): T {
  const h = fnv1a(key) ^ seed
  for (let i = 0; i < out.length; i++) {
    let x = (h + imul(i, 0x9e3779b9)) | 0
    x = imul(x ^ (x >>> 16), 0x85ebca6b)
    x = imul(x ^ (x >>> 13), 0xc2b2ae35)
    out[i] = base + factor * (((x ^ (x >>> 16)) >>> 0) / 2147483648 - 1)
  }
  return out
}

/** v_i in [-1, 1), float64. */
export const uniform = (key: string, seed: number, count: number): Float64Array => fill(key, seed, new Float64Array(count))

function formulaValues<T extends Float32Array | Float64Array>(key: string, shape: number[], rule: string, golden: GoldenCase, out: T): T {
  const constant = golden.constants[rule]!
  const factor = rule === 'w' || rule === 's' ? constant * Math.sqrt(3 / product(shape.slice(1))) : constant
  return fill(key, golden.seed, out, factor, rule === 'n' ? 1 : 0)
}

/** The training buffers, float64. */
function scheduleBuffer(name: string, count: number, start: number, end: number): Float64Array {
  const [a, b] = [Math.sqrt(start), Math.sqrt(end)]
  const step = (b - a) / (count - 1)
  const betas = Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? b : a + i * step) ** 2)
  let running = 1
  const ac = betas.map((beta) => (running *= 1 - beta))
  const prev = ac.map((_, i) => (i === 0 ? 1 : ac[i - 1]!))
  const variance = betas.map((beta, i) => (beta * (1 - prev[i]!)) / (1 - ac[i]!))
  const tables: Record<string, () => Float64Array> = {
    betas: () => betas,
    alphas_cumprod: () => ac,
    alphas_cumprod_prev: () => prev,
    sqrt_alphas_cumprod: () => ac.map(Math.sqrt),
    sqrt_one_minus_alphas_cumprod: () => ac.map((x) => Math.sqrt(1 - x)),
    log_one_minus_alphas_cumprod: () => ac.map((x) => Math.log(1 - x)),
    sqrt_recip_alphas_cumprod: () => ac.map((x) => Math.sqrt(1 / x)),
    sqrt_recipm1_alphas_cumprod: () => ac.map((x) => Math.sqrt(1 / x - 1)),
    posterior_variance: () => variance,
    posterior_log_variance_clipped: () => variance.map((x) => Math.log(Math.max(x, 1e-20))),
    posterior_mean_coef1: () => betas.map((beta, i) => (beta * Math.sqrt(prev[i]!)) / (1 - ac[i]!)),
    posterior_mean_coef2: () => betas.map((beta, i) => ((1 - prev[i]!) * Math.sqrt(1 - beta)) / (1 - ac[i]!)),
  }
  return tables[name]!()
}

function rearranged(values: Float64Array, shape: number[], extra: Extra): Float64Array {
  let out = values
  if (extra.rows) {
    const row = product(shape.slice(1))
    out = Float64Array.from(extra.rows.flatMap(([low, high]) => Array.from(values.subarray(low * row, high * row))))
  }
  if (extra.transpose) {
    const [rows, columns] = [out.length / shape[1]!, shape[1]!]
    out = Float64Array.from({ length: out.length }, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
  }
  return out
}

function entryValues([key, shape, , rule, extra = {}]: Entry, golden: GoldenCase): Float64Array {
  const count = product(shape)
  switch (rule) {
    case 'schedule': {
      const { linear_start, linear_end } = golden.config.model.params
      return scheduleBuffer(key.slice(key.lastIndexOf('.') + 1), count, linear_start, linear_end)
    }
    case 'arange':
      return Float64Array.from({ length: count }, (_, i) => i)
    case 'causal': {
      const side = shape.at(-1)!
      return Float64Array.from({ length: count }, (_, i) => (i % side > Math.floor(i / side) % side ? -Infinity : 0))
    }
    case 'lit':
      return Float64Array.from(([extra.value] as number[][]).flat(9).map(Number))
    default: {
      const sourceShape = extra.from_shape ?? shape
      return rearranged(formulaValues(extra.from ?? key, sourceShape, rule, golden, new Float64Array(product(sourceShape))), sourceShape, extra)
    }
  }
}

const single = new Float32Array(1)
const singleBits = new Uint32Array(single.buffer)

/** Float32 value to the bits of the nearest half, ties to even. */
export function toHalf(value: number): number {
  if (value !== value) return 0x7e00
  single[0] = value
  const bits = singleBits[0]!
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude >= 0x477ff000) return sign | 0x7c00 // from 65520
  const exponent = magnitude >>> 23
  if (exponent < 102) return sign // below half of the least subnormal
  // Subnormal below 2^-14: the leading bit joins the mantissa. A mantissa that overflows carries into the exponent by itself.
  const subnormal = exponent < 113
  const mantissa = subnormal ? (magnitude & 0x7fffff) | 0x800000 : magnitude - (112 << 23)
  const shift = subnormal ? 126 - exponent : 13
  const half = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const middle = 1 << (shift - 1)
  return sign | (half + (rest > middle || (rest === middle && half % 2 === 1) ? 1 : 0))
}

function encode(values: Float64Array, dtype: DType): Uint8Array {
  const array =
    dtype === 'F32'
      ? new Float32Array(values)
      : dtype === 'F16'
        ? Uint16Array.from(values, toHalf)
        : dtype === 'F64'
          ? values
          : dtype === 'I64'
            ? BigInt64Array.from(Array.from(values, BigInt))
            : dtype === 'I32'
              ? new Int32Array(values)
              : new Uint8Array(values)
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

function entryTensor(entry: Entry, golden: GoldenCase, half: boolean): Tensor {
  const [key, shape, dtype, rule, extra] = entry
  const owner = extra?.shared === true ? extra.from : extra?.shared
  const stored = half && dtype === 'F32' ? 'F16' : dtype
  // Nearly all of a model, and most of the time of the tests that write one: no array of float64 between.
  const plain = stored === 'F32' && !['schedule', 'arange', 'causal', 'lit'].includes(rule) && !extra?.rows && !extra?.transpose
  const bytes = plain
    ? new Uint8Array(formulaValues(extra?.from ?? key, extra?.from_shape ?? shape, rule, golden, new Float32Array(product(shape))).buffer)
    : encode(entryValues(entry, golden), stored)
  return { dtype: stored, shape, bytes, ...(owner === undefined ? {} : { shared: owner }) }
}

// ---- files -----------------------------------------------------------------------------------------------------------

export function safetensorsBytes(tensors: Map<string, Tensor>): Buffer {
  const header: Record<string, unknown> = {}
  let offset = 0
  for (const [key, { dtype, shape, bytes }] of tensors) header[key] = { dtype, shape, data_offsets: [offset, (offset += bytes.length)] }
  const json = JSON.stringify(header)
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, ...Array.from(tensors.values(), ({ bytes }) => bytes)])
}

const pickled = /\.(ckpt|pt|pth|bin)$/

/**
 * Writes the files of a layout below `folder`. Files that are pickles in public releases (.ckpt, .bin ...) are written as pickles in a zip, as torch writes them;
 * `as` forces one container for all of them; `legacy` is a pickle as before torch 1.6.
 */
export function materialise(
  golden: GoldenCase,
  layout: string,
  folder: string,
  options: { half?: boolean; as?: 'safetensors' | 'ckpt' | 'legacy' } = {},
): void {
  for (const [name, file] of Object.entries(golden.layouts[layout]!)) {
    const target = path.join(folder, name)
    mkdirSync(path.dirname(target), { recursive: true })
    if ('json' in file) {
      writeFileSync(target, JSON.stringify(file.json, null, 2))
      continue
    }
    const tensors = new Map(file.tensors.map((entry) => [entry[0], entryTensor(entry, golden, options.half ?? false)]))
    const stem = target.slice(0, target.length - path.extname(target).length)
    const container = options.as ?? (pickled.test(name) ? 'ckpt' : 'safetensors')
    if (container === 'safetensors') writeFileSync(`${stem}.safetensors`, safetensorsBytes(tensors))
    else
      writeFileSync(
        pickled.test(name) ? target : `${stem}.ckpt`,
        writeTorchCheckpoint(tensors, { wrap: !name.endsWith('.bin'), legacy: container === 'legacy' }),
      )
  }
}

/** An input tensor of a case, float32 (labels are whole numbers). */
export function input(golden: GoldenCase, name: string): { shape: number[]; data: Float32Array } {
  const { shape, gen, value, box = [], n = 0 } = golden.inputs[name]!
  if (value !== undefined) return { shape, data: Float32Array.from((value as number[][]).flat(9).map(Number)) }
  if (gen === 'rect') return { shape, data: rectangle(shape, box) }
  const v = uniform(`input:${name}`, golden.seed, product(shape))
  const rules: Record<string, (x: number) => number> = {
    unit: (x) => x * Math.sqrt(3),
    pm1: (x) => x,
    '01': (x) => 0.5 * x + 0.5,
    labels: (x) => Math.min(Math.floor(((x + 1) / 2) * n), n - 1),
  }
  return { shape, data: Float32Array.from(v, rules[gen!]) }
}

/** Ones inside of the box [y0, y1, x0, x1], zeros elsewhere. */
function rectangle(shape: readonly number[], [y0 = 0, y1 = 0, x0 = 0, x1 = 0]: readonly number[]): Float32Array {
  const [h, w] = [shape.at(-2)!, shape.at(-1)!]
  return Float32Array.from({ length: product(shape) }, (_, i) => {
    const [y, x] = [Math.floor(i / w) % h, i % w]
    return y >= y0 && y < y1 && x >= x0 && x < x1 ? 1 : 0
  })
}

/** Every n-th row and column of [..., h, w] data, from 0, as expected tensors with a stride were kept. */
export function strided(data: Float32Array, shape: readonly number[], stride: number): Float32Array {
  const [h, w] = [shape.at(-2)!, shape.at(-1)!]
  return data.filter((_, i) => (Math.floor(i / w) % h) % stride === 0 && (i % w) % stride === 0)
}

export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity
  let worst = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!)
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Infinity : difference
  }
  return worst
}

/** Root mean square of the differences as a share of that of the reference: unlike the largest difference, it hardly depends on the order of additions. */
export function relativeError(actual: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (actual.length !== reference.length) return Infinity
  let [error, size] = [0, 0]
  for (let i = 0; i < reference.length; i++) {
    error += (actual[i]! - reference[i]!) ** 2
    size += reference[i]! ** 2
  }
  const share = Math.sqrt(error / size)
  return Number.isNaN(share) ? Infinity : share
}

/** A temporary folder and the function that removes it. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'latent-test-'))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }) }
}
