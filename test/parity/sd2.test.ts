/** Stable Diffusion 2 in both predictions and its inpainting model, in every layout of their cases: text encoder and one evaluation of the network. */
import { Conditioning, DiffusionPipeline, type LoadOptions } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, relativeError } from '../helpers/golden'
import { goldenModel, row, toLatents, type GoldenModel } from '../helpers/model'

const cases = [
  ['sd2-eps', 'model_out'],
  ['sd2-v', 'model_out'],
  ['sd2-inpaint', 'eps'],
] as const

/** Stated relative errors: 16-bit arithmetic (1.2 % measured in the U-Net with products in bfloat16; text encoders compute a file of float32 in float32), and 8-bit weights on top (1.1 and 2.2 %). */
const stated = { fast: { text: 1e-4, unet: 0.018 }, q8: { text: 0.017, unet: 0.033 } }

let model: GoldenModel | undefined
afterEach(() => {
  model?.remove()
  model = undefined
})

type Compare = (actual: Float32Array, key: string, reference: Float32Array) => void

/** Both prompts, and each row of one evaluation. */
async function compareParts(name: string, output: string, options: LoadOptions, compare: Compare, layout = 'diffusers'): Promise<void> {
  const expected = loadExpected(name)
  const { golden, folder, file } = (model ??= goldenModel(name, layout))
  const single = layout === 'compvis'
  await using pipe = await DiffusionPipeline.load(single ? file : folder, {
    device: 'cpu',
    ...options,
    ...(single ? { config: golden.config } : {}),
  })
  for (let i = 0; i < 2; i++) {
    const encoded = await pipe.encodePrompt({ tokenIds: Array.from(row(input(golden, 'ids'), i).data) })
    compare(await encoded.read(), 'text_context', row(expected.text_context!, i).data)
  }
  const context = row(expected.text_context!, 0)
  const conditioning = await Conditioning.from(context.data, context.shape, expected.concat ? { concat: await toLatents(expected.concat) } : {})
  const x = input(golden, 'x')
  for (let i = 0; i < x.shape[0]!; i++) {
    const out = await pipe.predict(await toLatents(row(x, i)), { timestep: input(golden, 't').data[i]!, conditioning })
    compare(await out.read(), output, row(expected[output]!, i).data)
  }
}

describe.each(cases)('%s', (name, output) => {
  test.each(Object.keys(loadCase(name).layouts))('%s', async (layout) => {
    const within: Compare = (actual, key, reference) =>
      expect(maxDifference(actual, reference)).toBeLessThanOrEqual(model!.golden.expected[key]!.atol)
    await compareParts(name, output, { precision: 'exact' }, within, layout)
  })

  test('fast arithmetic, and weights in q8_0', async () => {
    const worst = async (options: LoadOptions) => {
      const errors: Record<string, number> = {}
      await compareParts(name, output, options, (actual, key, reference) => {
        errors[key] = Math.max(errors[key] ?? 0, relativeError(actual, reference))
      })
      return { text: errors.text_context!, unet: errors[output]! }
    }
    const [fast, q8] = [await worst({}), await worst({ dtype: 'q8_0' })]
    if (process.env.LATENT_TEST_FIGURES) console.log(name, { fast, q8 })
    for (const part of ['text', 'unet'] as const) {
      expect(fast[part]).toBeLessThan(stated.fast[part])
      expect(q8[part]).toBeLessThan(stated.q8[part])
      expect(q8[part]).toBeGreaterThan(fast[part])
    }
  })
})
