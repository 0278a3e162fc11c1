/** U-Nets of the distilled models through the public API, each layout of their cases and GGUF: one evaluation. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { convert, Conditioning, DiffusionPipeline, type LoadOptions, type ModelSource } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, safetensorsBytes, type Tensor } from '../helpers/golden'
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

async function expectGolden(name: string, source: ModelSource, options: LoadOptions): Promise<void> {
  await using pipe = await DiffusionPipeline.load(source, options)
  for (let i = 0; i < 2; i++) {
    const at = (key: string) => row(input(model.golden, key), i)
    const { shape, data } = at('context')
    const conditioning = await Conditioning.from(data, shape, model.golden.inputs.vector ? { vector: at('vector').data } : {})
    const out = await pipe.predict(await toLatents(at('x')), { timestep: at('t').data[0]!, conditioning })
    expect(maxDifference(await out.read(), row(loadExpected(name).eps!, i).data)).toBeLessThanOrEqual(model.golden.expected.eps!.atol)
  }
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
})
