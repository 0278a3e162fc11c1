/** VQ first stages: images to numbers and back; what KL stages say when they are asked for numbers. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { Autoencoder, DiffusionPipeline, RawImage, type Codes } from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'

const models: GoldenModel[] = []

function golden(name: string): string {
  const model = goldenModel(name)
  models.push(model)
  writeFileSync(path.join(model.folder, 'config.yaml'), JSON.stringify(model.golden.config))
  return model.file
}

const data = Uint8Array.from({ length: 32 * 16 * 3 }, (_, i) => (i * 29 + (i >> 5) * 3) % 256)
const picture = new RawImage({ data, width: 32, height: 16, channels: 3 })
const exact = { device: 'cpu', precision: 'exact' } as const

afterAll(() => models.forEach((model) => model.remove()))

describe('VQ', () => {
  let stage: Autoencoder
  beforeAll(async () => (stage = await Autoencoder.load(golden('stage-vq-f4'), exact)))
  afterAll(() => stage?.dispose())

  test('reports its kind', () => {
    expect(stage.info).toMatchObject({ regularization: 'vq', downsampling: 4, latentChannels: 3 })
    expect(stage.info.codebookSize).toBeGreaterThan(1)
  })

  test('decoding latents uses the codes', async () => {
    const codes = await stage.codes(picture)
    expect(codes.shape).toEqual([1, 4, 8])
    expect(codes.data).toHaveLength(32)
    expect(codes.data.every((code) => code >= 0 && code < stage.info.codebookSize)).toBe(true)
    expect(await stage.encode(picture, { output: 'codes' })).toEqual(codes)
    const latents = await stage.encode(picture)
    expect(latents.shape).toEqual([1, 3, 4, 8])
    const fromLatents = await stage.decode(latents, { output: 'float' })
    expect(await stage.decode(codes, { output: 'float' })).toEqual(fromLatents)
    expect(await stage.decode(latents, { output: 'float', quantize: true })).toEqual(fromLatents)
    expect(await stage.decode(latents, { output: 'float', quantize: false })).not.toEqual(fromLatents)
    const [image] = await stage.decode(codes)
    expect([image!.width, image!.height]).toEqual([32, 16])
    // Numbers survive a round trip of their own latents.
    const sample = await stage.encode(picture, { output: 'prequant' })
    expect(await sample.read()).toEqual(await latents.read())
  })

  test('codes given by the caller', async () => {
    const flat: Codes = { data: new Int32Array(32).fill(3), shape: [4, 8] as never }
    const [image] = await stage.decode(flat)
    expect([image!.width, image!.height]).toEqual([32, 16])
  })

  test.each<[() => Promise<unknown>, RegExp]>([
    [() => stage.decode({ data: Int32Array.of(-1), shape: [1, 1, 1] }), /codes\.data\[0\] is -1; the codebook has entries 0 to/],
    [() => stage.decode({ data: Int32Array.of(1 << 20), shape: [1, 1, 1] }), /codes\.data\[0\]/],
    [() => stage.decode({ data: new Int32Array(3), shape: [1, 1, 2] }), /describes 2 values/],
    [() => stage.decode({ data: new Int32Array(3), shape: [3] as never }), /\[n, height, width\]/],
    [() => stage.decode({ data: new Int32Array(1), shape: [1, 1, 1] }, { quantize: false }), /entries of the codebook already/],
    [() => stage.encode(picture, { output: 'moments' }), /VQ and has no posterior/],
    [() => stage.encode(picture, { output: 'code' as never }), /Did you mean 'codes'/],
    [() => stage.decode('x' as never), /latents must be Latents/],
  ])('%#', async (call, message) => {
    await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })
})

describe('KL', () => {
  let stage: Autoencoder
  beforeAll(async () => (stage = await Autoencoder.load(golden('stage-kl-f4'), exact)))
  afterAll(() => stage?.dispose())

  test.each<[() => Promise<unknown>, RegExp]>([
    [() => stage.codes(picture), /KL and has no codes/],
    [() => stage.encode(picture, { output: 'codes' }), /KL and has no codes/],
    [() => stage.encode(picture, { output: 'prequant' }), /KL and does not quantise/],
    [() => stage.decode({ data: new Int32Array(1), shape: [1, 1, 1] }), /KL and has no codes/],
  ])('%#', async (call, message) => {
    expect(stage.info).toMatchObject({ regularization: 'kl', codebookSize: 0 })
    await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })
})

test('the first stage of a pipeline has codes too', async () => {
  await using pipe = await DiffusionPipeline.load(golden('ldm-uncond'), { ...exact, kind: 'unconditional' })
  const codes = await pipe.firstStage.codes(picture)
  const latents = await pipe.encodeImage(picture, { mode: 'mean' })
  const [a] = await pipe.firstStage.decode(codes)
  const [b] = await pipe.decode(latents)
  expect(a!.data).toEqual(b!.data)
  await expect(DiffusionPipeline.load(models.at(-1)!.file, { kind: 'class' })).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
    details: { kind: 'unconditional', expected: 'class' },
  })
})
