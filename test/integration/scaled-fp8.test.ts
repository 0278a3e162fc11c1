/** Checkpoints in 8-bit floats with scales beside the weights (`scale_weight`, `weight_scale`), through the public API: they draw what their dequantised twins draw. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { convert, DiffusionPipeline, inspect } from '../../lib/index'
import { safetensorsBytes, type DType, type Tensor } from '../helpers/golden'
import { goldenModel, type GoldenModel } from '../helpers/model'

const e4m3 = Float32Array.from({ length: 256 }, (_, bits) => {
  const [exponent, mantissa] = [(bits >> 3) & 15, bits & 7]
  if (exponent === 15 && mantissa === 7) return NaN
  return (bits & 128 ? -1 : 1) * (exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10))
})
const sorted = Array.from(e4m3.keys())
  .filter((bits) => !Number.isNaN(e4m3[bits]!))
  .sort((a, b) => e4m3[a]! - e4m3[b]!)

function nearest(value: number): number {
  let [low, high] = [0, sorted.length - 1]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (e4m3[sorted[middle]!]! <= value) low = middle
    else high = middle
  }
  return value - e4m3[sorted[low]!]! < e4m3[sorted[high]!]! - value ? sorted[low]! : sorted[high]!
}

function readTensors(file: string): Map<string, Tensor> {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, { dtype: DType; shape: number[]; data_offsets: [number, number] }>
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => [name, { dtype, shape, bytes: new Uint8Array(bytes.subarray(start + from, start + to)) }],
    ),
  )
}

const bytesOf = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

let model: GoldenModel
let scaled: string
let plain: string

beforeAll(() => {
  model = goldenModel('sd1', 'compvis', { as: 'safetensors' })
  const [eight, full] = [new Map<string, Tensor>(), new Map<string, Tensor>()]
  for (const [name, tensor] of readTensors(model.file)) {
    eight.set(name, tensor)
    full.set(name, tensor)
    if (!name.endsWith('.weight') || tensor.shape.length < 2 || tensor.bytes.length > 400_000) continue
    const values = new Float32Array(new Uint8Array(tensor.bytes).buffer)
    const scale = Math.fround(values.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-6) / 400)
    const bits = Uint8Array.from(values, (x) => nearest(x / scale))
    eight.set(name, { dtype: 'F8_E4M3' as DType, shape: tensor.shape, bytes: bits })
    eight.set(name.replace(/weight$/, 'scale_weight'), { dtype: 'F32', shape: [], bytes: bytesOf(Float32Array.of(scale)) })
    full.set(name, { ...tensor, bytes: bytesOf(Float32Array.from(bits, (b) => Math.fround(e4m3[b]! * scale))) })
  }
  scaled = path.join(model.folder, 'scaled.safetensors')
  plain = path.join(model.folder, 'plain.safetensors')
  writeFileSync(scaled, safetensorsBytes(eight))
  writeFileSync(plain, safetensorsBytes(full))
})

afterAll(() => model.remove())

const config = (): Record<string, unknown> => model.golden.config

async function draw(file: string, options: { config?: Record<string, unknown> } = {}) {
  await using pipe = await DiffusionPipeline.load(file, { kind: 'text', device: 'cpu', precision: 'exact', ...options })
  const text = await pipe.encodePrompt('a red circle')
  const { images } = await pipe.generate({ prompt: 'a red circle', width: 64, height: 64, steps: 2, seed: 1 })
  return { text: await text.read(), picture: images[0]!.data }
}

test('a scaled checkpoint gives the images of its dequantised copy, also after conversion', async () => {
  const [expected, drawn] = [await draw(plain, { config: config() }), await draw(scaled, { config: config() })]
  expect(drawn).toEqual(expected)
  const gguf = path.join(model.folder, 'scaled.gguf')
  await convert(scaled, gguf, { type: 'f32', config: config() })
  expect(await draw(gguf)).toEqual(expected)
})

test('inspect() reports the types of the file', async () => {
  const parts = (await inspect(scaled, { config: config() })).parts as Record<string, { dtypes: Record<string, number> }>
  for (const part of ['unet', 'textEncoder', 'vae'] as const) expect(parts[part]!.dtypes.f8_e4m3).toBeGreaterThan(5)
})

test('unsupported tensors next to a weight are rejected by name', async () => {
  const tensors = readTensors(scaled)
  const name = 'cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.SCB'
  tensors.set(name, { dtype: 'F32', shape: [128], bytes: new Uint8Array(512) })
  const file = path.join(model.folder, 'beside.safetensors')
  writeFileSync(file, safetensorsBytes(tensors))
  await expect(DiffusionPipeline.load(file, { config: config() })).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    message: expect.stringContaining(name) as string,
  })
})
