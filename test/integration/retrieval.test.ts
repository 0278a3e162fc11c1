/** CLIP's image encoder from JavaScript and the command line: images to a database, and neighbours out of it. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { DiffusionPipeline, ImageEncoder, RawImage, RetrievalDatabase, writeRetrievalDatabase } from '../../lib/index'
import { cli } from '../helpers/cli'
import { loadCase, materialise, temporaryFolder } from '../helpers/golden'
import { goldenModel, type GoldenModel } from '../helpers/model'

let clip: GoldenModel
let encoderFile: string
const { folder, remove } = temporaryFolder()
const at = (name: string) => path.join(folder, name)

function picture(seed: number): RawImage {
  const data = Uint8Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * (7 + seed * 4) + seed * 50) % 256)
  return new RawImage({ data, width: 40, height: 30, channels: 3 })
}

beforeAll(async () => {
  clip = goldenModel('clip-vision', 'diffusers')
  encoderFile = path.join(clip.folder, 'image_encoder')
  for (const seed of [1, 2, 3]) await picture(seed).save(at(`${seed}.png`))
})
afterAll(() => {
  clip.remove()
  remove()
})

test('embeds images, each nearest to itself', async () => {
  await using encoder = await ImageEncoder.load(encoderFile, { device: 'cpu', precision: 'exact' })
  expect(encoder.dim).toBe(40)
  const one = await encoder.embed(picture(1))
  expect(one).toHaveLength(40)
  expect(await encoder.embed(at('1.png'))).toEqual(one)
  expect(await encoder.embed(picture(2))).not.toEqual(one)
  await expect(encoder.embed({ data: new Float32Array(3), shape: [3, 1, 1] })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  await expect(encoder.embed(picture(1), { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
  await encoder.dispose()
  await expect(encoder.embed(picture(1))).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
})

test('latent rdm index writes a database in which each image is its own nearest neighbour', async () => {
  const output = at('pictures.safetensors')
  const { code, stdout, stderr } = await cli(['rdm', 'index', folder, '-o', output, '--image-encoder', encoderFile, '--precision', 'exact'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/pictures\.safetensors: 3 images, embeddings of 40 numbers/)
  const database = await RetrievalDatabase.load(output)
  expect(database).toMatchObject({ size: 3, dim: 40 })
  await using encoder = await ImageEncoder.load(encoderFile, { precision: 'exact' })
  const [nearest] = await database.search(await encoder.embed(picture(2)), 1)
  expect(nearest).toMatchObject({ imageId: '2.png', patch: [0, 0, 40, 30] })
  expect(nearest!.score).toBeCloseTo(1, 5)
})

test('latent rdm index checks the folder first', async () => {
  const argv = ['rdm', 'index', folder, '-o', at('none/db.safetensors'), '--image-encoder', at('missing')]
  expect(await cli(argv)).toMatchObject({ code: 2, stderr: expect.stringMatching(/--output: .* cannot be written: its folder does not exist/) })
})

test('an image encoder alone reports its kind', async () => {
  await using pipe = await DiffusionPipeline.load({ imageEncoder: encoderFile })
  await expect(pipe.generate({})).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    message: expect.stringMatching(/no U-Net, only an image encoder: use embedImage\(\)$/),
  })
})

/** The CLIP of the reference case with projections as wide as RDM's context. */
function fittingClip(target: string): void {
  const golden = structuredClone(loadCase('clip-openai'))
  for (const file of Object.values(golden.layouts.hf!)) {
    if ('json' in file) (file.json as { projection_dim: number }).projection_dim = 64
    else for (const entry of file.tensors) if (entry[0].endsWith('_projection.weight')) entry.splice(1, 4, [64, entry[1][1]!], 'F32', 'w')
  }
  materialise(golden, 'hf', target)
}

describe('a retrieval-augmented model with CLIP beside it', () => {
  let rdm: GoldenModel
  let pipe: DiffusionPipeline<'rdm'>
  const run = { width: 128, height: 128, steps: 2, seed: 7 }

  beforeAll(async () => {
    rdm = goldenModel('ldm-rdm')
    writeFileSync(path.join(rdm.folder, 'config.yaml'), JSON.stringify(rdm.golden.config))
    const target = path.join(rdm.folder, 'clip')
    fittingClip(target)
    pipe = await DiffusionPipeline.load(
      { model: rdm.file, textEncoder: target, imageEncoder: target },
      { kind: 'rdm', device: 'cpu', precision: 'exact' },
    )
  })
  afterAll(async () => {
    await pipe?.dispose()
    rdm.remove()
  })

  test('encodes prompts: one normalised embedding before the neighbours', async () => {
    const prompt = await pipe.encodeCondition({ prompt: 'a cat (sleeping:1.5)' })
    expect(prompt.shape).toEqual([1, 1, 64])
    const row = await prompt.read()
    expect(Math.hypot(...row)).toBeCloseTo(1, 5)
    const both = await pipe.encodeCondition({ prompt: 'a cat (sleeping:1.5)', neighbours: [new Float32Array(64).fill(2)] })
    expect(both.tokens).toBe(2)
    const rows = await both.read()
    expect(rows.slice(0, 64)).toEqual(row)
    expect(rows[64]).toBeCloseTo(1 / 8, 5)
    const zeros = await pipe.encodeCondition({ prompt: 'a cat', neighbours: [row] }, { unconditional: true })
    expect(await zeros.read()).toEqual(new Float32Array(128))
  })

  test('searches by the prompt or by an image', async () => {
    const query = await (await pipe.encodeCondition({ prompt: 'a cat' })).read()
    const away = query.map((x, i) => (i % 2 ? x : -x))
    await writeRetrievalDatabase(at('db.safetensors'), { embeddings: Float32Array.of(...away, ...query, ...away.map((x) => -x)), shape: [3, 64] })
    const database = await RetrievalDatabase.load(at('db.safetensors'))
    const found = await pipe.generate({ prompt: 'a cat', neighbours: { database, k: 1 }, ...run })
    const given = await pipe.generate({ prompt: 'a cat', neighbours: [query], ...run })
    expect(found.images[0]!.data).toEqual(given.images[0]!.data)
    expect((await pipe.generate(found.options)).images[0]!.data).toEqual(given.images[0]!.data)
    const image = await pipe.embedImage(picture(1))
    expect(image).toHaveLength(64)
    const byPicture = await pipe.generate({ neighbours: { database, k: 2, query: image }, ...run })
    expect(byPicture.images[0]!.data).not.toEqual(given.images[0]!.data)
  })

  test('tokenizes plain text, and has no hidden states', async () => {
    expect((await pipe.tokenize('a (red:1.5) cat')).chunks[0]!.weights).toEqual(new Array(77).fill(1))
    expect((await pipe.tokenize('a (red:1.5) cat')).chunks[0]!.text.join('')).toContain('(')
    const any = pipe as DiffusionPipeline
    await expect(any.encodePrompt('a cat')).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_MODEL',
      message: expect.stringMatching(/use encodeCondition\(\{ prompt, neighbours \}\)/),
    })
  })

  test('truncates prompts longer than its window and reports it', async () => {
    const long = await pipe.encodeCondition({ prompt: 'cat '.repeat(200) })
    expect(long).toMatchObject({ tokens: 1, truncated: true })
  })
})

test('models without an image tower are rejected', async () => {
  const rdm = goldenModel('ldm-rdm')
  try {
    writeFileSync(path.join(rdm.folder, 'config.yaml'), JSON.stringify(rdm.golden.config))
    await expect(ImageEncoder.load(rdm.file)).rejects.toMatchObject({ code: expect.stringMatching(/ERR_(UNSUPPORTED_MODEL|MODEL_FORMAT)/) })
    await using pipe = await DiffusionPipeline.load(rdm.file, { kind: 'rdm' })
    await expect(pipe.embedImage(picture(1))).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_MODEL', message: expect.stringMatching(/imageEncoder/) })
    await expect(pipe.generate({ prompt: 'a cat' })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_MODEL',
      message: expect.stringMatching(/textEncoder/),
    })
  } finally {
    rdm.remove()
  }
})
