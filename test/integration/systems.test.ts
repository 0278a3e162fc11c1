/**
 * The small trained models of the paper's systems (models/systems), by what their pictures mean: fixed seeds, and checks of pixels that leave room for the small differences
 * between processors. What they draw in general is measured by scripts/eval-systems.mjs.
 */
import path from 'node:path'
import { DiffusionPipeline, RawImage, type GenerateOptions, type ModelKind } from '../../lib/index'
import { judge } from '../../scripts/judge/judge.cjs'

const root = path.resolve(__dirname, '..', '..')
const side = 64
const truth = (i: number, folder = '.') => path.join(root, 'training', 'ground_truth', folder, `${String(i).padStart(3, '0')}.png`)

/** One picture of a system. */
async function draw<K extends Exclude<ModelKind, 'autoencoder'>>(kind: K, options: GenerateOptions<K>): Promise<RawImage> {
  const pipe = await DiffusionPipeline.load(path.join(root, 'models', 'systems', `${kind}.gguf`), { kind, device: 'cpu' })
  try {
    const { images } = await (pipe as DiffusionPipeline).generate(options)
    return images[0]!
  } finally {
    await pipe.dispose()
  }
}

/** In decibels. */
function psnr(a: RawImage, b: RawImage): number {
  const sum = a.data.reduce((total, value, i) => total + (value - b.data[i]!) ** 2, 0)
  return 10 * Math.log10((255 ** 2 * a.data.length) / sum)
}

test('class: colour and shape', async () => {
  const image = await draw('class', { classId: 'yellow star', seed: 1 })
  expect(judge(image, { objects: [{ color: 'yellow', shape: 'star' }] }).objects).toBe(true)
})

test('semantic: shapes and colours of the map', async () => {
  const image = await draw('semantic', { semanticMap: truth(3, 'labels'), seed: 1 })
  expect(
    judge(image, {
      objects: [
        { color: 'blue', shape: 'triangle' },
        { color: 'white', shape: 'cross' },
      ],
      relation: 'left',
    }),
  ).toMatchObject({
    objects: true,
    relation: true,
  })
})

test('superres: closer than interpolation', async () => {
  const picture = await RawImage.read(truth(8))
  const small = await picture.resize(side / 4, side / 4, { filter: 'box' })
  const image = await draw('superres', { image: small, prompt: 'a big white crescent, brown background', seed: 1 })
  expect(psnr(image, picture)).toBeGreaterThan(psnr(await small.resize(side, side, { filter: 'bicubic' }), picture) + 0.5)
})
