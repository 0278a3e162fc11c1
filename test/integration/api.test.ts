/** The parts of the API around generate(): handles, solvers, noise, devices, inspection, conversion, a checkpoint in an outer zip. */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import {
  Autoencoder,
  Conditioning,
  convert,
  createNoise,
  createSolver,
  DiffusionPipeline,
  DisposedError,
  estimateMemory,
  getDevices,
  getVersions,
  inspect,
  Latents,
  ModelFormatError,
  setLogger,
  UnsupportedModelError,
} from '../../lib/index'
import { samplerNames, scheduleNames } from '../../lib/names'
import { goldenModel, type GoldenModel } from '../helpers/model'
import { zipStored } from '../helpers/torch-checkpoint'
import { held, longestPromised } from '../helpers/thread-time'

let model: GoldenModel
let pipe: DiffusionPipeline
const at = (name: string) => path.join(model.folder, name)

beforeAll(async () => {
  model = goldenModel('sd1')
  writeFileSync(at('model.yaml'), JSON.stringify(model.golden.config))
  pipe = await DiffusionPipeline.load(model.file, { device: 'cpu' })
})
afterAll(async () => {
  await pipe?.dispose()
  model.remove()
})

describe('info', () => {
  test('says what was loaded', () => {
    expect(pipe.info).toMatchObject({
      kind: 'text',
      downsampling: 8,
      latentChannels: 4,
      precision: 'fast',
      defaults: { width: 512, height: 512, guidanceScale: 7.5 },
      spec: { prediction: 'eps', scaleFactor: 0.18215 },
    })
    const { unet, textEncoder, vae, total } = pipe.info.parameters
    expect(unet! + textEncoder! + vae!).toBe(total)
    expect(pipe.info.samplers).toEqual(samplerNames)
    expect(pipe.info.schedules).toEqual(scheduleNames)
    expect(pipe.device.type).toBe('cpu')
  })

  test('memory in use', () => {
    const { parts, total, processPeak } = pipe.memoryUsage()
    expect(parts.unet).toBeGreaterThan(0)
    expect(total).toBeGreaterThanOrEqual(parts.unet! + parts.vae! + parts.textEncoder!)
    expect(processPeak).toBeGreaterThan(total)
  })

  test('spec fields can be overridden; unknown fields get a hint', async () => {
    await using v = await DiffusionPipeline.load(model.file, { spec: { prediction: 'v', steps: 3 } })
    expect(v.info).toMatchObject({ spec: { prediction: 'v' }, defaults: { steps: 3 } })
    await expect(DiffusionPipeline.load(model.file, { spec: { predicton: 'v' } as never })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(/did you mean "prediction"/),
    })
  })
})

describe('prompts', () => {
  test('tokenize() shows the tokens the encoder receives', async () => {
    const { chunks, truncated } = await pipe.tokenize('a (red:1.5) cat')
    expect(truncated).toBe(false)
    expect(chunks).toHaveLength(1)
    expect(chunks[0]!.ids.slice(0, 5)).toEqual([49406, 320, 736, 2368, 49407])
    expect(chunks[0]!.weights.slice(0, 5)).toEqual([1, 1, 1.5, 1, 1])
    expect(chunks[0]!.ids).toHaveLength(77)
  })

  test('a long prompt uses several windows and can be padded to a length', async () => {
    const long = await pipe.encodePrompt('one BREAK two BREAK three')
    expect(long.shape).toEqual([1, 231, 32])
    expect((await pipe.encodePrompt('', { minChunks: 3 })).tokens).toBe(231)
  })

  test.each<[unknown, RegExp]>([
    [{ tokenIds: [] }, /empty/],
    [{ tokenIds: [49406, 49408] }, /tokenIds\[1\]/],
    [{ tokenIds: new Array(78).fill(1) }, /multiple of 77/],
    [{ tokenIds: 'x' }, /array/],
    [{ ids: [1] }, /unknown option 'ids'/],
  ])('%j is refused', async (prompt, message) => {
    await expect(pipe.encodePrompt(prompt as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })
})

describe('latents and conditioning', () => {
  test('round-trip unchanged, and copies are independent', async () => {
    const data = Float32Array.from({ length: 16 }, (_, i) => i - 8)
    const latents = await Latents.from(data, [1, 4, 2, 2])
    const copy = await latents.clone()
    await latents.write(data.map((x) => -x))
    expect(await copy.read()).toEqual(data)
    const into = new Float32Array(16)
    expect(await latents.read(into)).toBe(into)
    expect(into).toEqual(data.map((x) => -x))
    latents.dispose()
    latents.dispose()
    await expect(latents.read()).rejects.toBeInstanceOf(DisposedError)
    expect(await copy.read()).toEqual(data)
  })

  test.each<[() => unknown, RegExp]>([
    [() => Latents.from(new Float32Array(5), [1, 1, 2, 2]), /describes 4 values/],
    [() => Latents.from(new Float32Array(4), [4]), /4 sizes/],
    [() => Latents.from([1, 2] as never, [1, 1, 1, 2]), /Float32Array/],
    [() => Latents.from(Float32Array.of(1, NaN, Infinity, 2), [1, 1, 2, 2]), /data\[1\] is NaN/],
    [() => Conditioning.from(Float32Array.of(1, 2, 3, -Infinity), [2, 2]), /data\[3\] is -Infinity/],
    [() => Conditioning.from(new Float32Array(4), [2, 2, 1]), /\[1, tokens, dim\]/],
    [() => Conditioning.from(new Float32Array(4), [2, 2], { vector: Float32Array.of(1, NaN) }), /vector\[1\] is NaN/],
    [() => Conditioning.from(new Float32Array(4), [2, 2], { vector: [1] as never }), /vector must be a Float32Array/],
    [() => Conditioning.from(new Float32Array(4), [2, 2], { vector: new Float32Array() }), /at least one number/],
    [async () => (await Latents.from(new Float32Array(4), [1, 1, 2, 2])).write(new Float32Array(3)), /must have 4 values/],
    [async () => (await Latents.from(new Float32Array(4), [1, 1, 2, 2])).write(Float32Array.of(1, 2, Infinity, NaN)), /from\[2\] is Infinity/],
    [() => pipe.sample({ image: {} as never }), /image must be Latents/],
    [() => pipe.sample({ clipSkip: 2 } as never), /encodePrompt/],
    [() => pipe.sample({ guidanceScale: 3 }), /needs unconditional/],
  ])('%s is refused', async (action, message) => {
    await expect((async () => action())()).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })

  test('changing or transferring arrays during a call is harmless', async () => {
    const data = new Float32Array(1 << 20).fill(0.5)
    const made = Latents.from(data, [1, 4, 512, 512])
    structuredClone(data.buffer, { transfer: [data.buffer] })
    await made.then(
      (latents) => latents.dispose(),
      (error: unknown) => expect(error).toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(/transferred/) as string }),
    )
    const small = Float32Array.of(1, 2, 3, 4)
    const copied = Latents.from(small, [1, 1, 2, 2])
    small.fill(9)
    expect(await (await copied).read()).toEqual(Float32Array.of(1, 2, 3, 4))
  })

  test('eight million numbers do not block the event loop', async () => {
    const shape = [8, 4, 512, 512]
    const data = await createNoise({ seed: 1, shape })
    const latents = await Latents.from(data, shape)
    expect(await held(async () => (await Latents.from(data, shape)).dispose())).toBeLessThan(longestPromised)
    expect(await held(() => latents.write(data))).toBeLessThan(longestPromised)
    expect(await held(() => latents.read(data))).toBeLessThan(longestPromised)
    expect(await held(async () => (await latents.clone()).dispose())).toBeLessThan(longestPromised)
    expect(await held(() => Conditioning.from(null, null, { concat: latents }))).toBeLessThan(longestPromised)
    const solver = () => createSolver({ sampler: 'dpmpp_2m', steps: 2 })
    expect(await held(() => solver().scaleInput(latents, 0))).toBeLessThan(longestPromised)
    expect(await held(() => solver().scaleInput(data, 0))).toBeLessThan(longestPromised)
    expect(await held(() => solver().step(data, latents, 0))).toBeLessThan(longestPromised)
    expect(await held(() => solver().step(data, data, 0))).toBeLessThan(longestPromised)
  })

  test('noise: invalid arguments, aborting, and no long blocking of the event loop', async () => {
    await expect(pipe.createLatents({ width: 60 })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(/multiple of 8/) as string,
    })
    await expect(createNoise({ seed: 1, shape: [0] })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    const reason = new Error('enough')
    // Two thousand million draws come before this one.
    const endless = createNoise({ seed: 1, shape: [4096], rng: 'mt19937', offset: 2 ** 31 - 1, signal: AbortSignal.timeout(50) })
    await expect(endless).rejects.toMatchObject({ name: 'TimeoutError' })
    const never = AbortSignal.abort(reason)
    await expect(createNoise({ seed: 1, shape: [4], signal: never })).rejects.toBe(reason)
    await expect(pipe.createLatents({ seed: 1, signal: never })).rejects.toBe(reason)
    expect(await held(async () => (await pipe.createLatents({ width: 4096, height: 4096, batch: 8 })).dispose())).toBeLessThan(longestPromised)
    expect(await held(() => createNoise({ seed: 1, shape: [8, 4, 512, 512], rng: 'mt19937' }))).toBeLessThan(longestPromised)
  })

  test('conditioning without tokens has no data', async () => {
    const concat = await Latents.from(Float32Array.of(1, 2, 3, 4), [1, 1, 2, 2])
    const conditioning = await Conditioning.from(null, null, { concat })
    expect(conditioning.tokens).toBe(0)
    expect(await conditioning.read()).toEqual(new Float32Array())
    expect(await conditioning.readConcat()).toEqual(Float32Array.of(1, 2, 3, 4))
    await expect(conditioning.read(new Float32Array(1))).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })

  test('the vector of a conditioning is copied, can be read back, and is rejected by a network that takes none', async () => {
    const vector = Float32Array.of(0.5, -2, 8)
    const conditioning = await Conditioning.from(new Float32Array(77 * pipe.info.condition.dim!), [77, pipe.info.condition.dim!], { vector })
    vector.fill(9)
    expect(conditioning.vectorDim).toBe(3)
    expect(await conditioning.readVector()).toEqual(Float32Array.of(0.5, -2, 8))
    await expect(conditioning.readVector(new Float32Array(2))).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    const latents = await pipe.createLatents({ width: 64, height: 64 })
    await expect(pipe.predict(latents, { timestep: 1, conditioning })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(/has a vector/),
    })
    const without = await Conditioning.from(new Float32Array(2), [1, 2])
    expect(without.vectorDim).toBe(0)
    expect(await without.readVector()).toEqual(new Float32Array())
    conditioning.dispose()
    await expect(conditioning.readVector()).rejects.toBeInstanceOf(DisposedError)
  })

  test('predict() rejects conditioning of another width', async () => {
    const latents = await pipe.createLatents({ width: 64, height: 64 })
    const conditioning = await Conditioning.from(new Float32Array(2 * 7), [2, 7])
    await expect(pipe.predict(latents, { timestep: 1, conditioning })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    const both = { timestep: 1, conditioning, unconditional: conditioning }
    await expect(pipe.predict(latents, { ...both, imageGuidanceScale: 2 })).rejects.toThrow(/only for editing models/)
  })

  test('createLatents() is the same as createNoise()', async () => {
    const latents = await pipe.createLatents({ width: 64, height: 64, seed: 5, rng: 'mt19937' })
    expect(await latents.read()).toEqual(await createNoise({ seed: 5, shape: [1, 4, 8, 8], rng: 'mt19937' }))
  })
})

test('createNoise() equals torch.randn on the CPU', async () => {
  // torch.manual_seed(0); torch.randn(2, 2)
  const noise = Array.from(await createNoise({ seed: 0, shape: [2, 2], rng: 'mt19937' }))
  ;[1.5409961, -0.2934289, -2.1787894, 0.5684313].forEach((expected, i) => expect(noise[i]).toBeCloseTo(expected, 5))
})

describe('createSolver', () => {
  test('creating the longest runs blocks the thread for less than 20 ms', async () => {
    for (const options of [
      { sampler: 'dpm2_a', schedule: 'beta', steps: 1000 },
      { sampler: 'dpmpp_2m', steps: 1000, betas: new Float32Array(10_000).fill(1e-4) },
    ] as const) {
      expect(await held(() => createSolver(options))).toBeLessThan(longestPromised)
    }
  })

  test('works on plain arrays, with the values of the schedule', async () => {
    const solver = createSolver({ sampler: 'euler', schedule: 'karras', steps: 3 })
    expect(solver.timesteps).toHaveLength(3)
    expect(solver.sigmas).toHaveLength(4)
    expect(solver.sigmas.at(-1)).toBe(0)
    const x = Float32Array.of(1, -1)
    // A model that sees nothing but noise: eps = x / sigma makes every Euler step end at x * next / sigma.
    for (let i = 0; i < 3; i++) {
      const before = Float32Array.from(x)
      const result = await solver.step(
        x.map((v) => v / solver.sigmas[i]!),
        x,
        i,
      )
      expect(result).toBe(x)
      expect(x[0]).toBeCloseTo((before[0]! * solver.sigmas[i + 1]!) / solver.sigmas[i]!, 4)
    }
  })

  test.each<[object, RegExp]>([
    [{}, /sampler is missing/],
    [{ sampler: 'eulr' }, /unknown name 'eulr'\. Did you mean 'euler'/],
    [{ sampler: 'ddim', steps: 0 }, /steps/],
    [{ sampler: 'ddim', prediction: 'x0' }, /prediction/],
    [{ sampler: 'ddim', betas: [2] }, /betas\[0\]/],
    [{ sampler: 'ddim', startStep: 1, strength: 0.5 }, /cannot be combined/],
    [{ sampler: 'euler', extra: { nonsense: 1 } }, /nonsense/],
  ])('%j is refused', (options, message) => {
    expect(() => createSolver(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) }),
    )
  })
})

describe('inspect, estimate, convert', () => {
  test('inspect reads headers', async () => {
    const info = await inspect(model.file)
    expect(info).toMatchObject({ spec: { kind: 'text' }, parts: { unet: { tensors: 686 }, vae: { tensors: 248 } } })
  })

  test('an estimate grows with the size', async () => {
    const [one, four] = [await estimateMemory(model.file, { width: 64, height: 64 }), await estimateMemory(model.file, { width: 128, height: 128 })]
    expect(four.unet!.flops).toBeGreaterThan(2 * one.unet!.flops)
    expect(four.decode!.bytes).toBeGreaterThan(one.decode!.bytes)
  })

  test('an estimate accepts the sizes that generate() accepts', async () => {
    const multiple = pipe.info.sizeMultiple
    const small = { width: multiple, height: multiple }
    expect(await estimateMemory(model.file, small)).toMatchObject(small)
    for (const width of [0, multiple + 1, 16384 + multiple, 1e9]) {
      const said = await pipe.generate({ prompt: '', width }).catch((error: Error) => error.message)
      expect(said).toMatch(/^width must be /)
      const failure = await estimateMemory(model.file, { width }).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'ERR_INVALID_ARG' })
      if (width === multiple + 1) expect((failure as Error).message).toBe(said)
    }
  })

  test('a converted file contains tokenizer, spec and metadata', async () => {
    const events: string[] = []
    const report = await convert(model.file, at('model.gguf'), {
      type: 'f16',
      metadata: { 'general.license': 'test' },
      onProgress: ({ phase }) => events.push(phase),
    })
    expect(report).toMatchObject({ destination: at('model.gguf') })
    expect(events).toContain('convert')
    const info = await inspect(at('model.gguf'))
    expect(info).toMatchObject({ hasTokenizer: true, spec: { kind: 'text', scaleFactor: 0.18215 } })
    expect(JSON.stringify(info.metadata)).toContain('general.license')
    await using loaded = await DiffusionPipeline.load(at('model.gguf'))
    expect(await loaded.tokenize('a cat')).toEqual(await pipe.tokenize('a cat'))
    await convert(at('model.gguf'), at('again.gguf'), { type: 'q8_0' })
    expect(await inspect(at('again.gguf'))).toMatchObject({ hasTokenizer: true })
  })

  test('an aborted conversion leaves no file', async () => {
    const reason = new Error('stop')
    let outcome: unknown
    // The first progress may be heard when the file is complete.
    for (let tries = 0; outcome !== reason && tries < 20; tries++) {
      rmSync(at('never.gguf'), { force: true })
      const controller = new AbortController()
      const options = { type: 'q8_0', signal: controller.signal, onProgress: () => controller.abort(reason) } as const
      outcome = await convert(model.file, at('never.gguf'), options).catch((error: unknown) => error)
    }
    expect(outcome).toBe(reason)
    expect(readdirSync(model.folder).filter((name) => name.includes('never'))).toEqual([])
  })

  test.each<[string, object, RegExp]>([
    ['x.safetensors', { type: 'f16' }, /\.gguf/],
    ['x.gguf', {}, /type must be one of/],
    ['x.gguf', { type: 'q9_0' }, /Did you mean/],
    ['x.gguf', { type: 'f16', overrides: { '*': 'int4' } }, /overrides\[0\] type/],
  ])('convert to %s with %j is refused', async (name, options, message) => {
    await expect(convert(model.file, at(name), options as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(message),
    })
  })
})

test('a checkpoint inside an outer zip is unpacked, used and deleted', async () => {
  // A temporary folder of its own: others use the system's at the same time.
  const temporary = at('temporary')
  mkdirSync(temporary)
  const yaml = Buffer.from(JSON.stringify(model.golden.config))
  writeFileSync(
    at('release.zip'),
    zipStored([
      { name: 'model.safetensors', data: readFileSync(model.file) },
      { name: 'config.yaml', data: yaml },
    ]),
  )
  const tmpdir = jest.spyOn(os, 'tmpdir').mockReturnValue(temporary)
  try {
    const zipped = await DiffusionPipeline.load(at('release.zip'))
    expect(zipped.info.parameters).toEqual(pipe.info.parameters)
    // Where a mapped file needs no name, nothing is left however the process ends.
    expect(readdirSync(temporary)).toEqual(process.platform === 'win32' ? [expect.stringMatching(/^latent-unpacked-/)] : [])
    expect((await zipped.generate({ prompt: 'x', width: 64, height: 64, steps: 1 })).images).toHaveLength(1)
    await zipped.dispose()
    expect(readdirSync(temporary)).toEqual([])
  } finally {
    tmpdir.mockRestore()
  }
  expect(existsSync(at('release.zip'))).toBe(true)
})

describe('the wrong file', () => {
  test('a corrupt file', async () => {
    writeFileSync(at('broken.safetensors'), Buffer.concat([Buffer.from([255, 255, 255, 255, 255, 255, 255, 127]), Buffer.alloc(64)]))
    await expect(DiffusionPipeline.load(at('broken.safetensors'))).rejects.toBeInstanceOf(ModelFormatError)
  })

  test('a first stage alone encodes and decodes, but does not generate', async () => {
    const stage = goldenModel('stage-kl-f8')
    try {
      await using alone = await Autoencoder.load(stage.file, { config: stage.golden.config })
      const codes = await alone.encode({ data: new Float32Array(3 * 64 * 64), shape: [1, 3, 64, 64] }, { output: 'mean' })
      expect(codes.shape).toEqual([1, 4, 8, 8])
      expect((await alone.decode(codes))[0]).toMatchObject({ width: 64, height: 64 })
      await using loaded = await DiffusionPipeline.load(stage.file, { config: stage.golden.config })
      const refused = loaded.generate({ prompt: 'x' })
      await expect(refused).rejects.toBeInstanceOf(UnsupportedModelError)
      await expect(refused).rejects.toThrow(/generate\(\): this source has no U-Net, only a first stage: use Autoencoder\.load\(\)/)
    } finally {
      stage.remove()
    }
  })
})

test('devices and versions', async () => {
  expect(await getDevices()).toContainEqual(expect.objectContaining({ id: 'cpu', type: 'cpu' }))
  expect(getVersions()).toMatchObject({ version: expect.stringMatching(/^\d+\.\d+\.\d+/), cpu: { features: expect.any(Array) } })
})

test('a logger receives messages, may throw, and can be removed', async () => {
  setLogger(() => {
    throw new Error('not your business')
  })
  await using other = await DiffusionPipeline.load(model.file)
  expect(other.info.kind).toBe('text')
  setLogger(null)
  expect(() => setLogger('x' as never)).toThrow(TypeError)
})
