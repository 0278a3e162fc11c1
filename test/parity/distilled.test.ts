/** U-Nets of the distilled models through the public API, each layout of their cases and GGUF: one evaluation. */
import path from 'node:path'
import { convert, Conditioning, DiffusionPipeline, type LoadOptions, type ModelSource } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference } from '../helpers/golden'
import { goldenModel, row, toLatents, type GoldenModel } from '../helpers/model'

/** A U-Net alone cannot be loaded: each stands in a model that has text encoders of its width. For the two of SDXS there is none. */
const cases: [name: string, donor: string][] = [
  ['unet-ssd1b', 'sdxl-base'],
  ['unet-vega', 'sdxl-base'],
  ['unet-koala700m', 'sdxl-base'],
  ['unet-koala1b', 'sdxl-base'],
  ['unet-bksdm-small', 'sd1'],
]
const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
let model: GoldenModel
let rest: GoldenModel
afterEach(() => {
  model.remove()
  rest.remove()
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

describe.each(cases)('%s in %s', (name, donor) => {
  const written = (layout: string) => {
    model = goldenModel(name, layout)
    rest = goldenModel(donor, 'diffusers')
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
