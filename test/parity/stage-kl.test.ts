/** Stand-alone KL first stages through Autoencoder, in every layout of their cases. */
import { Autoencoder, type LoadOptions } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, toLatents } from '../helpers/model'

const cases = ['stage-kl-f4', 'stage-kl-f8', 'stage-kl-f16', 'stage-kl-f32'].flatMap((name) =>
  Object.keys(loadCase(name).layouts).map((layout) => [name, layout] as const),
)

test.each(cases)('%s, layout %s', async (name, layout) => {
  const model = goldenModel(name, layout)
  const expected = loadExpected(name)
  const folder = layout !== 'compvis'
  const options: LoadOptions = { precision: 'exact', device: 'cpu', ...(folder ? {} : { config: model.golden.config }) }
  try {
    await using first = await Autoencoder.load(folder ? model.folder : model.file, options)
    const close = (actual: Float32Array, what: string) =>
      expect(maxDifference(actual, expected[what]!.data)).toBeLessThanOrEqual(model.golden.expected[what]!.atol)
    const image = input(model.golden, 'image')
    const z = input(model.golden, 'z')
    close(await (await first.encode(image, { output: 'moments' })).read(), 'moments')
    const decoded = await first.decode(toLatents(z), { output: 'float' })
    const factor = first.info.downsampling
    const shape = [z.shape[0]!, 3, z.shape[2]! * factor, z.shape[3]! * factor]
    close(strided(decoded, shape, model.golden.expected.decoded!.stride ?? 1), 'decoded')
    const mean = await first.encode(image, { output: 'mean' })
    close(strided(await first.decode(mean, { output: 'float' }), image.shape, model.golden.expected.recon!.stride ?? 1), 'recon')
  } finally {
    model.remove()
  }
})
