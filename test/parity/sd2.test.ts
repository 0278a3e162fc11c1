/** Stable Diffusion 2 in both predictions and its inpainting model, in every layout of their cases: text encoder and one evaluation of the network. */
import { Conditioning, DiffusionPipeline } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference } from '../helpers/golden'
import { goldenModel, row, toLatents, type GoldenModel } from '../helpers/model'

const cases = [
  ['sd2-eps', 'model_out'],
  ['sd2-v', 'model_out'],
  ['sd2-inpaint', 'eps'],
] as const
let model: GoldenModel | undefined
afterEach(() => model?.remove())

describe.each(cases)('%s', (name, output) => {
  const expected = loadExpected(name)

  test.each(Object.keys(loadCase(name).layouts))('%s', async (layout) => {
    const { golden, folder, file } = (model = goldenModel(name, layout))
    const close = (actual: Float32Array, key: string, reference: Float32Array) =>
      expect(maxDifference(actual, reference)).toBeLessThanOrEqual(golden.expected[key]!.atol)
    const single = layout === 'compvis'
    await using pipe = await DiffusionPipeline.load(single ? file : folder, {
      precision: 'exact',
      device: 'cpu',
      ...(single ? { config: golden.config } : {}),
    })
    for (let i = 0; i < 2; i++) {
      const encoded = await pipe.encodePrompt({ tokenIds: Array.from(row(input(golden, 'ids'), i).data) })
      close(await encoded.read(), 'text_context', row(expected.text_context!, i).data)
    }
    const context = row(expected.text_context!, 0)
    const conditioning = await Conditioning.from(context.data, context.shape, expected.concat ? { concat: await toLatents(expected.concat) } : {})
    const x = input(golden, 'x')
    for (let i = 0; i < x.shape[0]!; i++) {
      const out = await pipe.predict(await toLatents(row(x, i)), { timestep: input(golden, 't').data[i]!, conditioning })
      close(await out.read(), output, row(expected[output]!, i).data)
    }
  })
})
