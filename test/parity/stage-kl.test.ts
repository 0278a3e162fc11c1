/** Stand-alone KL first stages through Autoencoder, in every layout of their cases, and through GGUF. */
import path from 'node:path'
import { Autoencoder, convert, type LoadOptions } from '../../lib/index'
import { input, loadCase, loadExpected, maxDifference, strided } from '../helpers/golden'
import { goldenModel, toLatents } from '../helpers/model'

const names = ['stage-kl-f4', 'stage-kl-f8', 'stage-kl-f16', 'stage-kl-f32']
const cases = names.flatMap((name) => Object.keys(loadCase(name).layouts).map((layout) => [name, layout] as const))

const square = (values: Float32Array) => values.reduce((sum, x) => sum + x * x, 0)

/** Distances of moments, decoding and both ways: the greatest as a share of what the case allows, and root mean square against that of what is expected. */
async function measure(first: Autoencoder, name: string): Promise<Record<string, { allowed: number; share: number }>> {
  const golden = loadCase(name)
  const expected = loadExpected(name)
  const [image, z] = [input(golden, 'image'), input(golden, 'z')]
  const distance = (actual: Float32Array, what: string) => {
    const reference = expected[what]!.data
    const error = square(actual.map((x, i) => x - reference[i]!)) / square(reference)
    return { allowed: maxDifference(actual, reference) / golden.expected[what]!.atol, share: Math.sqrt(error) }
  }
  const picture = (data: Float32Array, shape: number[], what: string) => distance(strided(data, shape, golden.expected[what]!.stride ?? 1), what)
  const { downsampling } = first.info
  const [n, , h, w] = z.shape as [number, number, number, number]
  const mean = await first.encode(image, { output: 'mean' })
  return {
    moments: distance(await (await first.encode(image, { output: 'moments' })).read(), 'moments'),
    decoded: picture(await first.decode(await toLatents(z), { output: 'float' }), [n, 3, h * downsampling, w * downsampling], 'decoded'),
    recon: picture(await first.decode(mean, { output: 'float' }), image.shape, 'recon'),
  }
}

test.each(cases)('%s, layout %s', async (name, layout) => {
  const model = goldenModel(name, layout)
  const folder = layout !== 'compvis'
  const options: LoadOptions = { precision: 'exact', device: 'cpu', ...(folder ? {} : { config: model.golden.config }) }
  try {
    await using first = await Autoencoder.load(folder ? model.folder : model.file, options)
    for (const [what, { allowed }] of Object.entries(await measure(first, name))) expect([what, allowed <= 1]).toEqual([what, true])
  } finally {
    model.remove()
  }
})

/** Stated errors, relative root mean square, of 16-bit arithmetic and of 8-bit weights on top: the more levels, the more (1.7 to 4.0 % and 3.1 to 9.8 % measured). */
const stated: Record<string, { fast: number; q8: number }> = {
  'stage-kl-f4': { fast: 0.025, q8: 0.045 },
  'stage-kl-f8': { fast: 0.025, q8: 0.05 },
  'stage-kl-f16': { fast: 0.04, q8: 0.07 },
  'stage-kl-f32': { fast: 0.05, q8: 0.12 },
}

test.each(names)('%s: fast, and through GGUF in f32 and q8_0', async (name) => {
  const model = goldenModel(name)
  const worst = async (source: string, options: LoadOptions, by: 'allowed' | 'share') => {
    await using first = await Autoencoder.load(source, { device: 'cpu', ...options })
    return Math.max(...Object.values(await measure(first, name)).map((distance) => distance[by]))
  }
  try {
    const { config } = model.golden
    const file = (type: string) => path.join(model.folder, `${type}.gguf`)
    for (const type of ['f32', 'q8_0'] as const) await convert(model.file, file(type), { type, overrides: { '*': type }, config })
    expect(await worst(model.file, { precision: 'fast', config }, 'share')).toBeLessThanOrEqual(stated[name]!.fast)
    expect(await worst(file('f32'), { precision: 'exact' }, 'allowed')).toBeLessThanOrEqual(1)
    expect(await worst(file('q8_0'), { precision: 'fast' }, 'share')).toBeLessThanOrEqual(stated[name]!.q8)
  } finally {
    model.remove()
  }
})
