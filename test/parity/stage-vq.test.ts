/** Stand-alone VQ first stages through Autoencoder, in every layout of their cases: codes, quantisation, decoding. */
import path from 'node:path'
import { Autoencoder, convert, type LoadOptions } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, toLatents } from '../helpers/model'
import { readArrays } from '../helpers/safetensors'

const cases = ['stage-vq-f4', 'stage-vq-f4-noattn', 'stage-vq-f8', 'stage-vq-f16'].flatMap((name) =>
  Object.keys(loadCase(name).layouts).map((layout) => [name, layout] as const),
)

async function compare(first: Autoencoder, name: string): Promise<void> {
  const golden = loadCase(name)
  const expected = loadExpected(name)
  const { indices } = readArrays(`test/fixtures/models/${name}/expected.safetensors`)
  const { downsampling } = first.info
  const [image, z] = [input(golden, 'image'), await toLatents(input(golden, 'z'))]
  const close = (actual: Float32Array, what: string) =>
    expect([what, maxDifference(actual, expected[what]!.data) <= golden.expected[what]!.atol]).toEqual([what, true])
  const decoded = async (value: Parameters<Autoencoder['decode']>[0], what: string, quantize?: boolean) => {
    const [n, , h, w] = z.shape
    const [height, width] = what === 'recon' ? image.shape.slice(2) : [h * downsampling, w * downsampling]
    const out = await first.decode(value, { output: 'float', ...(quantize === undefined ? {} : { quantize }) })
    close(strided(out, [n, 3, height!, width!], golden.expected[what]!.stride ?? 1), what)
  }

  const prequant = await first.encode(image, { output: 'prequant' })
  close(await prequant.read(), 'prequant')
  const codes = await first.encode(image, { output: 'codes' })
  expect(codes.shape).toEqual(indices!.shape)
  expect(Array.from(codes.data)).toEqual(Array.from(indices!.data))
  await decoded(z, 'decoded')
  await decoded(z, 'decoded_noquant', false)
  await decoded(prequant, 'recon')
  await decoded(codes, 'recon')
}

test.each(cases)('%s, layout %s', async (name, layout) => {
  const model = goldenModel(name, layout)
  const folder = layout !== 'compvis'
  const options: LoadOptions = { precision: 'exact', device: 'cpu', ...(folder ? {} : { config: model.golden.config }) }
  try {
    await using first = await Autoencoder.load(folder ? model.folder : model.file, options)
    expect([first.info.regularization, first.info.codebookSize]).toEqual(['vq', model.golden.config.model.params.n_embed])
    await compare(first, name)
  } finally {
    model.remove()
  }
})

test('through GGUF: the same numbers, and the same codes in 8 bits, since the codebook is not quantised', async () => {
  const model = goldenModel('stage-vq-f4')
  try {
    for (const type of ['f32', 'q8_0'] as const) {
      const file = path.join(model.folder, `${type}.gguf`)
      await convert(model.file, file, { type, config: model.golden.config })
      await using first = await Autoencoder.load(file, { precision: 'exact', device: 'cpu' })
      if (type === 'f32') await compare(first, 'stage-vq-f4')
      const expected = loadExpected('stage-vq-f4')
      const quantised = await first.decode(await toLatents(expected.quantised!), { output: 'float' })
      const free = await first.decode(await toLatents(expected.quantised!), { output: 'float', quantize: false })
      // Vectors of the codebook are their own nearest entries.
      expect(maxDifference(quantised, free)).toBeLessThanOrEqual(1e-5)
    }
  } finally {
    model.remove()
  }
})
