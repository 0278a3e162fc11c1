/** CLIP's image encoder from JavaScript and the command line: pictures to a database, and neighbours out of it. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { DiffusionPipeline, ImageEncoder, RawImage, RetrievalDatabase } from '../../lib/index'
import { cli } from '../helpers/cli'
import { temporaryFolder } from '../helpers/golden'
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

test('embeds pictures, each as itself', async () => {
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

test('latent rdm index writes a database in which a picture finds itself', async () => {
  const output = at('pictures.safetensors')
  const { code, stdout, stderr } = await cli(['rdm', 'index', folder, '-o', output, '--image-encoder', encoderFile, '--precision', 'exact'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/pictures\.safetensors: 3 pictures, embeddings of 40 numbers/)
  const database = await RetrievalDatabase.load(output)
  expect(database).toMatchObject({ size: 3, dim: 40 })
  await using encoder = await ImageEncoder.load(encoderFile, { precision: 'exact' })
  const [nearest] = await database.search(await encoder.embed(picture(2)), 1)
  expect(nearest).toMatchObject({ imageId: '2.png', patch: [0, 0, 40, 30] })
  expect(nearest!.score).toBeCloseTo(1, 5)
})

test('what has no image tower is refused', async () => {
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
