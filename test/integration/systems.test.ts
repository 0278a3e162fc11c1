/**
 * The small trained models of the paper's systems (models/systems), by what their images mean: fixed seeds, and checks of pixels that leave room for the small differences
 * between processors. What they draw in general is measured by scripts/eval-systems.mjs.
 */
import path from 'node:path'
import { DiffusionPipeline, RawImage, type GenerateOptions, type ModelKind } from '../../lib/index'
import { describe as describePicture, judge } from '../../scripts/judge/judge.cjs'

const root = path.resolve(__dirname, '..', '..')
const side = 64
const truth = (i: number, folder = '.') => path.join(root, 'training', 'ground_truth', folder, `${String(i).padStart(3, '0')}.png`)

const file = (kind: string) => path.join(root, 'models', 'systems', `${kind}.gguf`)

/** One image of a system. */
async function draw<K extends Exclude<ModelKind, 'autoencoder'>>(kind: K, options: GenerateOptions<K>): Promise<RawImage> {
  const pipe = await DiffusionPipeline.load(file(kind), { kind, device: 'cpu' })
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

test('class: the null class is not listed', async () => {
  await using pipe = await DiffusionPipeline.load(file('class'), { kind: 'class', device: 'cpu' })
  const { classes, condition } = pipe.info
  expect(classes).toHaveLength(90)
  expect(condition).toMatchObject({ classes: 90, nullClass: 90 })
  await expect(pipe.generate({ classId: 90 })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: 'classId must be between 0 and 89, not 90' })
  const unconditional = await pipe.encodeCondition({ classId: 0 }, { unconditional: true })
  expect(unconditional.tokens).toBe(1)
})

test('a file with only a U-Net: the error says what is missing and how to give it', async () => {
  const error = await DiffusionPipeline.load({ unet: file('class') }).catch((reason: Error) => reason as Error & { code: string })
  expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT' })
  if (!(error instanceof Error)) throw new Error('was loaded')
  expect(error.message).toMatch(/^class\.gguf: the first stage and the class embedder are missing\. .* as model, or the first stage as vae/)
  expect(error.message.match(/ is missing/g)).toHaveLength(3)
})

test('layout: an object in each box', async () => {
  const boxes = [
    { label: 'red circle', x: 0.08, y: 0.1, width: 0.35, height: 0.35 },
    { label: 'blue star', x: 0.5, y: 0.5, width: 0.4, height: 0.4 },
  ]
  const image = await draw('layout', { boxes, seed: 1 })
  const seen = describePicture(image)
  for (const { label, x, y, width, height } of boxes) {
    const [color, shape] = label.split(' ')
    const object = seen.find(({ colour, shapes }) => colour === color && shapes.includes(shape!))
    const { x0, y0, x1, y1 } = object!.extent.box
    for (const [is, wanted] of [
      [x0, x],
      [y0, y],
      [x1, x + width],
      [y1, y + height],
    ] as const)
      expect(Math.abs(is - wanted)).toBeLessThan(0.12)
  }
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

test('superres: closer to the original than interpolation', async () => {
  const picture = await RawImage.read(truth(8))
  const small = await picture.resize(side / 4, side / 4, { filter: 'box' })
  const image = await draw('superres', { image: small, prompt: 'a big white crescent, brown background', seed: 1 })
  expect(psnr(image, picture)).toBeGreaterThan(psnr(await small.resize(side, side, { filter: 'bicubic' }), picture) + 0.5)
})
