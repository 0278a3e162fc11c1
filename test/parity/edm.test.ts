/**
 * Models trained on continuous noise levels (Playground v2.5): SDXL's golden network with the markers of such models. Every step against the formulas of Karras et al. 2022
 * with `predict()`, whose numbers the cases of SDXL hold, and the scaling of the latents against its golden numbers.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { Autoencoder, convert, createSolver, DiffusionPipeline, estimateMemory, Latents, RawImage, type LoadOptions } from '../../lib/index'
import { loadCase, maxDifference, safetensorsBytes, type DType } from '../helpers/golden'
import { goldenModel, type GoldenModel } from '../helpers/model'

const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
const config = loadCase('sdxl-base').config
// A configuration that names the prediction goes before the markers of the file.
delete config.model.params.denoiser_config
const prompt = 'a photo of an astronaut riding a horse'
const size = { width: 64, height: 64 }
let model: GoldenModel
let edmFile: string
let vpredFile: string
let pipe: DiffusionPipeline

type Bytes = { dtype: DType; shape: number[]; bytes: Uint8Array }
const floats = (shape: number[], values: number[]): Bytes => ({ dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) })

/** A copy of the model with more tensors. */
function withTensors(name: string, more: Record<string, Bytes>): string {
  const bytes = readFileSync(model.file)
  const data = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, data)) as Record<string, { dtype: DType; shape: number[]; data_offsets: [number, number] }>
  const tensors = new Map<string, Bytes>()
  for (const [
    key,
    {
      dtype,
      shape,
      data_offsets: [from, to],
    },
  ] of Object.entries(header))
    // prettier-ignore
    tensors.set(key, { dtype, shape, bytes: bytes.subarray(data + from, data + to) })
  for (const [key, tensor] of Object.entries(more)) tensors.set(key, tensor)
  const file = path.join(model.folder, name)
  writeFileSync(file, safetensorsBytes(tensors))
  return file
}

beforeAll(async () => {
  model = goldenModel('sdxl-base', 'compvis', { as: 'safetensors' })
  // Other numbers than Playground's: only the names count.
  edmFile = withTensors('edm.safetensors', { edm_mean: floats([1, 4, 1, 1], [9, 9, 9, 9]), edm_std: floats([0], []) })
  vpredFile = withTensors('vpred.safetensors', { 'edm_vpred.sigma_max': floats([], [50]), 'edm_vpred.sigma_min': floats([1], [0.01]) })
  pipe = await DiffusionPipeline.load(edmFile, { ...exact, config })
})
afterAll(async () => {
  await pipe?.dispose()
  model.remove()
})

test('the marker tensors identify the model', () => {
  const { spec, defaults, samplers, schedules, defaultSchedules } = pipe.info
  expect(spec).toMatchObject({
    prediction: 'edm',
    schedule: { edm: { sigmaMin: 0.002, sigmaMax: 80, sigmaData: 0.5 } },
    scaleFactor: 0.5,
    latentsMean: [-1.6574, 1.886, -1.383, 2.5155],
    latentsStd: [8.4927, 5.9022, 6.5498, 5.2299],
  })
  expect(defaults).toMatchObject({ sampler: 'dpmpp_2m', guidanceScale: 3 })
  expect(samplers).toEqual(expect.arrayContaining(['euler', 'dpmpp_2m', 'heun', 'dpm_adaptive']))
  for (const name of ['ddim', 'unipc', 'lcm']) expect(samplers).not.toContain(name)
  expect(schedules).toEqual(expect.arrayContaining(['karras', 'exponential']))
  expect(schedules).not.toContain('normal')
  expect(defaultSchedules.euler).toBe('karras')
})

/** Euler's steps by hand: the network is asked for its output, and everything around it is computed in double precision. */
async function expectEuler(of: DiffusionPipeline, sigmaData: number, sign: 1 | -1, schedule: string): Promise<number[]> {
  const conditioning = await of.encodePrompt(prompt)
  const noise = Float32Array.from({ length: 256 }, (_, i) => Math.sin(3 * i + 1) * 1.2)
  const shape = [1, 4, 8, 8]
  const sigmas: number[] = []
  let x: Float64Array | undefined
  let last = 0
  for await (const { latents, sigma, timestep } of of.sample({
    ...{ conditioning, guidanceScale: 1, steps: 5, sampler: 'euler', ...(schedule === 'karras' ? {} : { schedule: schedule }) },
    latents: await Latents.from(noise, shape),
  })) {
    const before = Math.exp(4 * timestep)
    x ??= Float64Array.from(noise, (value) => value * before)
    const square = before * before + sigmaData * sigmaData
    const network = Float32Array.from(x, (value) => value / Math.sqrt(square))
    const output = await (await of.predict(await Latents.from(network, shape), { timestep: Math.log(before) / 4, conditioning })).read()
    x = x.map((value, i) => {
      const clean = (sigmaData ** 2 / square) * value + sign * ((before * sigmaData) / Math.sqrt(square)) * output[i]!
      return value + ((value - clean) / before) * (sigma - before)
    })
    const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    expect(maxDifference(await latents.read(), x) / largest).toBeLessThan(1e-5)
    sigmas.push(before)
    last = sigma
  }
  return [...sigmas, last]
}

/** Karras et al. 2022, equation 5, rho 7. */
const karras = (low: number, high: number, steps: number) =>
  Array.from({ length: steps }, (_, i) => (high ** (1 / 7) + (i / (steps - 1)) * (low ** (1 / 7) - high ** (1 / 7))) ** 7)

function expectLevels(actual: number[], wanted: number[]): void {
  expect(actual).toHaveLength(wanted.length)
  for (const [i, sigma] of wanted.entries()) expect(Math.abs(actual[i]! - sigma)).toBeLessThanOrEqual(1e-6 * Math.max(sigma, 1e-3))
}

test('every Euler step on the Karras schedule', async () => {
  expectLevels(await expectEuler(pipe, 0.5, 1, 'karras'), [...karras(0.002, 80, 5), 0])
})

test('another schedule', async () => {
  const sigmas = await expectEuler(pipe, 0.5, 1, 'exponential')
  expectLevels(sigmas, [80, 5.656854249492381, 0.4, 0.028284271247461905, 0.002, 0])
})

test('v-prediction on continuous levels in the range given by the file', async () => {
  await using other = await DiffusionPipeline.load(vpredFile, { ...exact, config })
  expect(other.info.spec).toMatchObject({
    prediction: 'v',
    schedule: { edm: { sigmaMin: expect.closeTo(0.01, 6), sigmaMax: 50, sigmaData: 1 } },
    latentsMean: [],
  })
  expect(other.info.defaults.sampler).toBe('dpmpp_2m')
  expectLevels(await expectEuler(other, 1, -1, 'karras'), [...karras(0.01, 50, 5).map((x) => Math.fround(x)), 0])
})

test('createSolver() accepts the spec of such a model', () => {
  const solver = createSolver({ sampler: 'euler', steps: 3, spec: pipe.info.spec })
  expect(solver.sigmas[0]).toBeCloseTo(80, 9)
  expect(solver.timesteps[0]).toBeCloseTo(Math.log(80) / 4, 9)
  const own = createSolver({ sampler: 'euler', steps: 3, prediction: 'v', noiseSchedule: { edm: { sigmaMin: 0.1, sigmaMax: 10, sigmaData: 1 } } })
  expect([own.sigmas[0], own.sigmas[2]]).toEqual([expect.closeTo(10, 9), expect.closeTo(0.1, 9)])
  const plain = createSolver({ sampler: 'euler', steps: 3, prediction: 'eps', spec: pipe.info.spec, noiseSchedule: { edm: null } })
  expect(plain.timesteps[0]).toBeCloseTo(999, 3)
  expect(() => createSolver({ sampler: 'euler', noiseSchedule: { edm: { sigmaMin: 10, sigmaMax: 1, sigmaData: 1 } } })).toThrow(/sigma_min/)
})

test('latents are normalised by the statistics of their channels', async () => {
  const picture = Float32Array.from({ length: 3 * 64 * 64 }, (_, i) => Math.sin(i / 37))
  const image = { data: picture, shape: [1, 3, 64, 64] }
  await using plain = await DiffusionPipeline.load(model.file, { ...exact, config })
  const codes = (await (await plain.encodeImage(image, { mode: 'mean' })).read()).map((value) => value / plain.info.spec.scaleFactor)
  const { latentsMean, latentsStd } = pipe.info.spec
  const channel = (i: number) => Math.floor(i / 64) % 4
  const wanted = codes.map((z, i) => ((z - latentsMean[channel(i)]!) * 0.5) / latentsStd[channel(i)]!)
  const latents = await pipe.encodeImage(image, { mode: 'mean' })
  expect(maxDifference(await latents.read(), wanted)).toBeLessThan(1e-5)
  // And back: the decoder sees the same codes.
  const through = await pipe.decode(latents, { output: 'float' })
  const direct = await plain.decode(
    await Latents.from(
      codes.map((z) => z * plain.info.spec.scaleFactor),
      [1, 4, 8, 8],
    ),
    { output: 'float' },
  )
  expect(maxDifference(through, direct)).toBeLessThan(1e-4)
})

test('a first stage alone, and that of the pipeline: the same codes as without the statistics', async () => {
  const picture = Float32Array.from({ length: 3 * 64 * 64 }, (_, i) => Math.sin(i / 37))
  const image = { data: picture, shape: [1, 3, 64, 64] }
  await using plain = await Autoencoder.load(model.file, exact)
  const codes = await plain.encode(image, { output: 'mean' })
  const [wanted, decoded] = [await codes.read(), await plain.decode(codes, { output: 'float' })]
  const file = path.join(model.folder, 'edm-stage.gguf')
  await convert(edmFile, file, { type: 'f32', config })
  await using alone = await Autoencoder.load(edmFile, exact)
  await using stored = await Autoencoder.load(file, exact)
  for (const stage of [alone, stored, pipe.firstStage]) {
    const own = await stage.encode(image, { output: 'mean' })
    expect(maxDifference(await own.read(), wanted)).toBeLessThan(1e-5)
    expect(maxDifference(await stage.decode(codes, { output: 'float' }), decoded)).toBeLessThan(1e-4)
    own.dispose()
  }
  // Numbers by which a wrong scaling would show: they are neither all near zero nor in the range of normalised latents.
  expect(Math.max(...wanted.map(Math.abs))).toBeGreaterThan(0.1)
  expect(alone.info).toMatchObject({ kind: 'autoencoder', spec: { scaleFactor: 1, latentsMean: [], latentsStd: [] } })
  expect(plain.info.spec.scaleFactor).toBe(1)
  codes.dispose()
})

test('generate(), image to image with a mask, previews, and options that do not apply', async () => {
  const one = await pipe.generate({ prompt, steps: 3, seed: 1, ...size })
  expect(one.options).toMatchObject({ sampler: 'dpmpp_2m', schedule: 'karras', guidanceScale: 3 })
  expect(new Set(one.images[0]!.data).size).toBeGreaterThan(8)
  const again = await pipe.generate(one.options)
  expect(Buffer.compare(again.images[0]!.data, one.images[0]!.data)).toBe(0)
  const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7) % 256)
  const image = new RawImage({ data, width: 64, height: 64, channels: 3 })
  const mask = { data: Uint8Array.from({ length: 64 * 64 }, (_, i) => (i % 64 > 31 ? 255 : 0)), width: 64, height: 64 }
  const previews: RawImage[] = []
  const repainted = await pipe.generate({
    prompt,
    steps: 4,
    seed: 1,
    image,
    mask,
    strength: 0.6,
    preview: { onPreview: (seen) => void previews.push(seen) },
  })
  const kept = data.findIndex((byte, i) => Math.floor(i / 3) % 64 < 32 && byte !== repainted.images[0]!.data[i])
  expect(kept).toBe(-1)
  expect(previews.length).toBeGreaterThan(0)
  await expect(pipe.generate({ prompt, sampler: 'ddim' as never, ...size })).rejects.toThrow(/sampler/)
  await expect(pipe.generate({ prompt, timesteps: [999], ...size })).rejects.toThrow(/give sigmas/)
  await expect(pipe.loss(image, { prompt })).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_MODEL', message: expect.stringMatching(/EDM/) })
  await expect(DiffusionPipeline.load({ model: model.file, refiner: edmFile }, { ...exact, config })).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED_MODEL',
  })
})

test('linear previews equal those of the corresponding SDXL latents', async () => {
  await using plain = await DiffusionPipeline.load(model.file, { ...exact, config })
  const shown = async (of: DiffusionPipeline, data: Float32Array) => {
    const conditioning = await of.encodePrompt(prompt)
    // A single level next to nothing: the estimate is the start.
    for await (const step of of.sample({
      conditioning,
      guidanceScale: 1,
      sampler: 'euler',
      schedule: Float32Array.of(1e-5),
      latents: await Latents.from(
        data.map((v) => v * 1e5),
        [1, 4, 8, 8],
      ),
    }))
      // prettier-ignore
      return (await step.preview('linear')).data
    throw new Error('no step')
  }
  const codes = Float32Array.from({ length: 256 }, (_, i) => 6 * Math.sin(i))
  const channel = (i: number) => Math.floor(i / 64)
  const { latentsMean, latentsStd } = pipe.info.spec
  const edm = await shown(pipe, codes.map((z, i) => ((z - latentsMean[channel(i)]!) * 0.5) / latentsStd[channel(i)]!)) // prettier-ignore
  const sdxl = await shown(plain, codes.map((z) => z * 0.13025)) // prettier-ignore
  expect(maxDifference(edm, sdxl)).toBeLessThanOrEqual(1)
  expect(new Set(sdxl).size).toBeGreaterThan(20)
})

test('convert() keeps everything; a tiny autoencoder receives SDXL latents', async () => {
  const file = path.join(model.folder, 'edm.gguf')
  await convert(edmFile, file, { type: 'f32', config })
  const options = { prompt, steps: 3, seed: 1, ...size }
  const one = await pipe.generate(options)
  {
    await using other = await DiffusionPipeline.load(file, exact)
    const spec = { ...other.info.spec, naming: pipe.info.spec.naming }
    expect(pipe.info.spec).toMatchObject(spec)
    expect(maxDifference((await other.generate(options)).images[0]!.data, one.images[0]!.data)).toBeLessThanOrEqual(1)
  }
  const tiny = goldenModel('addon-taesd', 'diffusers')
  try {
    for (const source of [edmFile, file]) {
      await using other = await DiffusionPipeline.load({ model: source, vae: tiny.folder }, { ...exact, ...(source === file ? {} : { config }) })
      const { latentsMean, latentsStd, scaleFactor } = other.info.spec
      expect(scaleFactor).toBe(0.5)
      expect(latentsMean[0]! / -1.6574).toBeCloseTo(0.13025, 9)
      expect(latentsStd[3]! / 5.2299).toBeCloseTo(0.13025, 9)
      const stored = path.join(model.folder, 'tiny.gguf')
      await convert({ model: source, vae: tiny.folder }, stored, { type: 'f32', ...(source === file ? {} : { config }) })
      await using back = await DiffusionPipeline.load(stored, exact)
      expect(back.info.spec.latentsMean).toEqual(latentsMean)
    }
  } finally {
    tiny.remove()
  }
})

test('a diffusers folder declares it in its scheduler and first stage', async () => {
  const folder = goldenModel('sdxl-base', 'diffusers')
  const edit = (file: string, change: (json: Record<string, unknown>) => Record<string, unknown>) => {
    const at = path.join(folder.folder, file)
    mkdirSync(path.dirname(at), { recursive: true })
    writeFileSync(at, JSON.stringify(change(JSON.parse(readFileSync(at, 'utf8')) as Record<string, unknown>)))
  }
  const { latentsMean, latentsStd } = pipe.info.spec
  const scheduler = { _class_name: 'EDMDPMSolverMultistepScheduler', prediction_type: 'epsilon', sigma_min: 0.002, sigma_max: 70, sigma_data: 0.5 }
  edit('scheduler/scheduler_config.json', () => scheduler)
  edit('vae/config.json', (json) => ({ ...json, scaling_factor: 0.5, latents_mean: latentsMean, latents_std: latentsStd }))
  try {
    await using other = await DiffusionPipeline.load(folder.folder, exact)
    expect(other.info.spec).toMatchObject({ prediction: 'edm', schedule: { edm: { sigmaMax: 70 } }, latentsMean, latentsStd, scaleFactor: 0.5 })
    expect(other.info.defaults).toMatchObject({ sampler: 'dpmpp_2m', guidanceScale: 3 })
    const spec = { schedule: { edm: { sigmaMin: 0.002, sigmaMax: 70, sigmaData: 0.5 } } }
    const options = { prompt, steps: 3, seed: 1, ...size }
    await using single = await DiffusionPipeline.load(edmFile, { ...exact, config, spec })
    expect(maxDifference((await other.generate(options)).images[0]!.data, (await single.generate(options)).images[0]!.data)).toBeLessThanOrEqual(1)
    // Another first stage does not change what the network's latents mean.
    const tiny = goldenModel('addon-taesd', 'diffusers')
    try {
      await using replaced = await DiffusionPipeline.load({ model: folder.folder, vae: tiny.folder }, exact)
      expect(replaced.info.spec.scaleFactor).toBe(0.5)
      expect(replaced.info.spec.latentsStd[3]! / latentsStd[3]!).toBeCloseTo(0.13025, 9)
      await using same = await DiffusionPipeline.load({ model: folder.folder, vae: path.join(folder.folder, 'vae') }, exact)
      expect(same.info.spec).toMatchObject({ latentsMean, latentsStd, scaleFactor: 0.5 })
    } finally {
      tiny.remove()
    }
    edit('vae/config.json', (json) => ({ ...json, latents_std: [1, 2] }))
    await expect(DiffusionPipeline.load(folder.folder, exact)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
    edit('vae/config.json', (json) => ({ ...json, latents_std: 'wide' }))
    await expect(DiffusionPipeline.load(folder.folder, exact)).rejects.toThrow(/latents_std must be a list of numbers/)
  } finally {
    folder.remove()
  }
})

test("the caller's word", async () => {
  {
    await using eps = await DiffusionPipeline.load(edmFile, { ...exact, config, spec: { prediction: 'eps' } })
    expect(eps.info.spec).toMatchObject({ prediction: 'eps', schedule: { edm: null }, latentsMean: [] })
  }
  {
    await using same = await DiffusionPipeline.load(edmFile, { ...exact, config, spec: { prediction: 'edm' } })
    expect(same.info.spec).toMatchObject({ prediction: 'edm', latentsMean: pipe.info.spec.latentsMean, scaleFactor: 0.5 })
  }
  await using edm = await DiffusionPipeline.load(model.file, { ...exact, config, spec: { prediction: 'edm', sampler: 'heun' } })
  expect(edm.info.spec).toMatchObject({ prediction: 'edm', schedule: { edm: { sigmaMax: 80 } }, sampler: 'heun', latentsMean: [] })
  const refused = { edm: { sigmaMin: 5, sigmaMax: 1, sigmaData: 0.5 } }
  await expect(estimateMemory(model.file, { config, spec: { schedule: refused } })).rejects.toThrow(/sigmaMin must be below sigmaMax/)
})
