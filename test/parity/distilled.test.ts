/** U-Nets of the distilled models through the public API, each layout of their cases and GGUF: one evaluation. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { convert, Conditioning, DiffusionPipeline, type LoadOptions, type ModelSource } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, relativeError, safetensorsBytes, type Tensor } from '../helpers/golden'
import { goldenModel, row, toLatents, type GoldenModel } from '../helpers/model'

/** A U-Net alone cannot be loaded: each stands in a model that has text encoders of its width; for the two of SDXS one is made of another width. */
const cases: [name: string, donor: string, width?: number][] = [
  ['unet-ssd1b', 'sdxl-base'],
  ['unet-vega', 'sdxl-base'],
  ['unet-koala700m', 'sdxl-base'],
  ['unet-koala1b', 'sdxl-base'],
  ['unet-bksdm-small', 'sd1'],
  ['unet-sdxs09', 'sd1', 64],
  ['unet-sdxs-dreamshaper', 'sd1', 48],
]

/**
 * Stated relative errors, of 16-bit arithmetic and of 8-bit weights on top: 1.5 times what was measured with products in bfloat16 (AVX-512). Without them, as with AVX2,
 * `fast` computes these files in float32, and the error of 8-bit weights is 10 to 20 % less.
 */
const stated: Record<string, { fast: number; q8: number }> = {
  'unet-ssd1b': { fast: 0.027, q8: 0.061 },
  'unet-vega': { fast: 0.027, q8: 0.052 },
  'unet-koala700m': { fast: 0.049, q8: 0.106 },
  'unet-koala1b': { fast: 0.047, q8: 0.074 },
  'unet-bksdm-small': { fast: 0.023, q8: 0.047 },
  'unet-sdxs09': { fast: 0.021, q8: 0.045 },
  'unet-sdxs-dreamshaper': { fast: 0.016, q8: 0.038 },
}

/** Puts a text encoder of another width in the place of a folder's. Its numbers do not matter: the network is given the golden context itself. */
function widenTextEncoder(folder: string, width: number): void {
  const place = (name: string) => path.join(folder, 'text_encoder', name)
  const config = JSON.parse(readFileSync(place('config.json'), 'utf8')) as { hidden_size: number; intermediate_size: number }
  const { hidden_size: hidden, intermediate_size: inner } = config
  const scaled = (size: number) => (size === hidden || size === inner ? (size / hidden) * width : size)
  const bytes = readFileSync(place('model.safetensors'))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE()))) as Record<string, { dtype: string; shape: number[] }>
  const tensors = new Map<string, Tensor>()
  for (const [name, { dtype, shape }] of Object.entries(header)) {
    if (name === '__metadata__' || dtype !== 'F32') continue
    const wide = shape.map(scaled)
    const numbers = Float32Array.from({ length: wide.reduce((a, b) => a * b, 1) }, (_, i) => Math.cos(i) / width)
    tensors.set(name, { dtype: 'F32', shape: wide, bytes: new Uint8Array(numbers.buffer) })
  }
  writeFileSync(place('model.safetensors'), safetensorsBytes(tensors))
  writeFileSync(place('config.json'), JSON.stringify({ ...config, hidden_size: width, projection_dim: width, intermediate_size: scaled(inner) }))
}
const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
let model: GoldenModel
let rest: GoldenModel
afterEach(() => {
  for (const written of [model, rest]) (written as GoldenModel | undefined)?.remove()
})

/** The texts of the tests of the public API against golden numbers. */
function namedInTests(): string {
  const folders = ['parity', 'integration'].map((name) => path.resolve('test', name))
  return folders
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((file) => file.endsWith('.test.ts'))
        .map((file) => readFileSync(path.join(folder, file), 'utf8')),
    )
    .join('\n')
}

test('every golden case with a U-Net is run through the public API', () => {
  const names = readdirSync(path.resolve('test', 'fixtures', 'models')).filter((name) =>
    /"(?:[^"]*\.)?(?:time_embed\.0|time_embedding\.linear_1)\.weight"/.test(JSON.stringify(loadCase(name).layouts)),
  )
  expect(names.length).toBeGreaterThan(25)
  const text = namedInTests()
  expect(names.filter((name) => !text.includes(`'${name}'`))).toEqual([])
})

/** The numbers of one evaluation and those of the reference, for each row of the case. */
async function evaluated(name: string, source: ModelSource, options: LoadOptions): Promise<{ actual: Float32Array; reference: Float32Array }[]> {
  await using pipe = await DiffusionPipeline.load(source, options)
  const rows = []
  for (let i = 0; i < 2; i++) {
    const at = (key: string) => row(input(model.golden, key), i)
    const { shape, data } = at('context')
    const conditioning = await Conditioning.from(data, shape, model.golden.inputs.vector ? { vector: at('vector').data } : {})
    const out = await pipe.predict(await toLatents(at('x')), { timestep: at('t').data[0]!, conditioning })
    rows.push({ actual: await out.read(), reference: row(loadExpected(name).eps!, i).data })
  }
  return rows
}

async function expectGolden(name: string, source: ModelSource, options: LoadOptions): Promise<void> {
  for (const { actual, reference } of await evaluated(name, source, options))
    expect(maxDifference(actual, reference)).toBeLessThanOrEqual(model.golden.expected.eps!.atol)
}

/** Folders of diffusers say the heads, which the names of the tensors do not. */
function headsOf(layout: string): LoadOptions {
  if (layout !== 'compvis') return {}
  const { num_heads: numHeads, num_head_channels: numHeadChannels } = model.golden.config.unet as Record<string, number | undefined>
  return { spec: { unet: { ...(numHeads === undefined ? {} : { numHeads }), ...(numHeadChannels === undefined ? {} : { numHeadChannels }) } } }
}

describe.each(cases)('%s in %s', (name, donor, width) => {
  const written = (layout: string) => {
    model = goldenModel(name, layout)
    rest = goldenModel(donor, 'diffusers')
    if (width !== undefined) widenTextEncoder(rest.folder, width)
    return { model: rest.folder, unet: layout === 'compvis' ? model.file : path.join(model.folder, 'unet') }
  }

  test.each(Object.keys(loadCase(name).layouts))('%s', async (layout) => {
    await expectGolden(name, written(layout), { ...exact, ...headsOf(layout) })
  })

  test('GGUF after convert()', async () => {
    const files = written('compvis')
    const file = path.join(model.folder, 'model.gguf')
    await convert(files, file, { type: 'f32', ...headsOf('compvis') })
    await expectGolden(name, file, exact)
  })

  test('fast arithmetic, and weights in q8_0', async () => {
    const source = written('diffusers')
    const worst = async (options: LoadOptions) =>
      Math.max(...(await evaluated(name, source, options)).map(({ actual, reference }) => relativeError(actual, reference)))
    const [fast, q8] = [await worst({ device: 'cpu' }), await worst({ device: 'cpu', dtype: 'q8_0' })]
    if (process.env.LATENT_TEST_FIGURES) console.log(name, { fast, q8 })
    expect(fast).toBeLessThan(stated[name]!.fast)
    expect(q8).toBeLessThan(stated[name]!.q8)
    expect(q8).toBeGreaterThan(fast)
  })
})
