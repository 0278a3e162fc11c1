/** generate() and its life: reproducible images, aborts, throwing callbacks, queues, disposal. The model is the synthetic one of the reference case. */
import { readFileSync, writeFileSync } from 'node:fs'
import { DiffusionPipeline, DisposedError, ModelFormatError, RawImage, type GenerateOptions, type Progress } from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'

let model: GoldenModel
let pipe: DiffusionPipeline
const small: GenerateOptions = { prompt: 'a (red:1.3) lighthouse', width: 64, height: 64, steps: 4, seed: 7 }

beforeAll(async () => {
  model = goldenModel('sd1')
  pipe = await DiffusionPipeline.load(model.file, { config: model.golden.config, device: 'cpu' })
})
afterAll(async () => {
  await pipe?.dispose()
  model.remove()
})

const bytes = (image: RawImage | undefined) => Buffer.from(image!.data)

describe('pictures', () => {
  test('the same seed gives the same bytes, another seed different ones', async () => {
    const [a, b, c] = [await pipe.generate(small), await pipe.generate(small), await pipe.generate({ ...small, seed: 8 })]
    expect(a.images[0]).toMatchObject({ width: 64, height: 64, channels: 3 })
    expect(bytes(a.images[0]).equals(bytes(b.images[0]))).toBe(true)
    expect(bytes(a.images[0]).equals(bytes(c.images[0]))).toBe(false)
  })

  test('each image of a batch equals a single image with its seed', async () => {
    const { images, seed } = await pipe.generate({ ...small, count: 3 })
    expect(seed).toBe(7n)
    expect(images).toHaveLength(3)
    const alone = await pipe.generate({ ...small, seed: 9 })
    expect(bytes(images[2]).equals(bytes(alone.images[0]))).toBe(true)
  })

  test('the options of a result reproduce it', async () => {
    const { images, options } = await pipe.generate({ ...small, seed: undefined, sampler: 'euler_a', negativePrompt: 'dark' })
    const again = await pipe.generate(options)
    expect(bytes(again.images[0]).equals(bytes(images[0]))).toBe(true)
    expect(again.options).toEqual(options)
    expect(options).toMatchObject({
      sampler: 'euler_a',
      steps: 4,
      width: 64,
      height: 64,
      count: 1,
      rng: 'philox',
      negativePrompt: 'dark',
      guidanceScale: 7.5,
    })
  })

  test('running the stages separately gives the bytes of generate()', async () => {
    const whole = await pipe.generate(small)
    const conditioning = await pipe.encodePrompt(small.prompt!)
    const unconditional = await pipe.encodePrompt('')
    const latents = await pipe.createLatents({ width: 64, height: 64, seed: 7 })
    let picture: RawImage | undefined
    for await (const step of pipe.sample({ conditioning, unconditional, latents, steps: 4, seed: 7 })) {
      if (step.index === 3) picture = (await pipe.decode(step.latents))[0]
    }
    expect(bytes(picture).equals(bytes(whole.images[0]))).toBe(true)
  })

  test('given latents replace the seed', async () => {
    const whole = await pipe.generate(small)
    const latents = await pipe.createLatents({ width: 64, height: 64, seed: 7 })
    const { images } = await pipe.generate({ ...small, seed: 1, latents })
    expect(bytes(images[0]).equals(bytes(whole.images[0]))).toBe(true)
  })

  test('sizes: not square, larger than in training', async () => {
    const { images } = await pipe.generate({ ...small, width: 128, height: 64, steps: 1 })
    expect(images[0]).toMatchObject({ width: 128, height: 64 })
  })

  test('a prompt longer than one window with a short negative prompt', async () => {
    const prompt = Array.from({ length: 120 }, (_, i) => `word${i}`).join(' ')
    expect((await pipe.tokenize(prompt)).chunks.length).toBeGreaterThan(1)
    expect((await pipe.generate({ ...small, prompt, steps: 1 })).images).toHaveLength(1)
  })

  test('warns of a negative prompt without guidance', async () => {
    const call = { ...small, guidanceScale: 1, seed: 3 }
    const [plain, negative, guided] = [
      await pipe.generate(call),
      await pipe.generate({ ...call, negativePrompt: 'a dog' }),
      await pipe.generate({ ...call, negativePrompt: 'a dog', guidanceScale: 2 }),
    ]
    expect([plain, negative, guided].map(({ warnings }) => warnings.map(({ code }) => code))).toEqual([[], ['WARN_NEGATIVE_IGNORED'], []])
    expect(negative.images[0]!.data).toEqual(plain.images[0]!.data)
  })

  test('without guidance', async () => {
    const { images, options } = await pipe.generate({ ...small, guidanceScale: 1 })
    expect(options.guidanceScale).toBe(1)
    expect(images).toHaveLength(1)
  })

  test('guidance for some of the steps, with reused features', async () => {
    const plain = await pipe.generate(small)
    const late = await pipe.generate({ ...small, guidanceInterval: [0.5, 1] })
    const cached = await pipe.generate({ ...small, deepCache: { interval: 2 } })
    expect(late.options.guidanceInterval).toEqual([0.5, 1])
    expect(cached.options.deepCache).toEqual({ interval: 2, branch: 0 })
    expect(plain.options).not.toHaveProperty('deepCache')
    expect(bytes(late.images[0]).equals(bytes(plain.images[0]))).toBe(false)
    expect(bytes(cached.images[0]).equals(bytes(plain.images[0]))).toBe(false)
    // What a result says of its options makes the same image again.
    const again = await pipe.generate(cached.options)
    expect(bytes(again.images[0]).equals(bytes(cached.images[0]))).toBe(true)
    await expect(pipe.generate({ ...small, deepCache: { interval: 2, branch: 99 } })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(/deepCache\.branch must be 0 to/) as string,
    })
  })

  test('a custom schedule', async () => {
    const { options } = await pipe.generate({ ...small, steps: undefined, sampler: 'euler', schedule: Float32Array.of(14.6, 4, 1, 0) })
    expect(options.steps).toBe(3)
    expect(options.schedule).toEqual(Float32Array.of(14.6, 4, 1, 0))
  })

  test('images contain their settings', async () => {
    const { images } = await pipe.generate(small)
    const png = await images[0]!.encode('png')
    const read = await RawImage.read(png)
    expect(read.metadata.parameters).toMatch(/^a \(red:1\.3\) lighthouse\nSteps: 4, Sampler: .*Seed: 7, Size: 64x64/)
    expect(bytes(read).equals(bytes(images[0]))).toBe(true)
  })
})

describe('damaged weights', () => {
  /** Puts NaN where a float32 tensor of a safetensors file begins. */
  function damage(file: string, tensor: string) {
    const bytes = readFileSync(file)
    const length = Number(bytes.readBigUInt64LE())
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, { dtype: string; data_offsets: [number, number] }>
    expect(header[tensor]!.dtype).toBe('F32')
    bytes.writeFloatLE(NaN, 8 + length + header[tensor]!.data_offsets[0])
    writeFileSync(file, bytes)
  }

  test.each(['fast', 'exact'] as const)('no black image but an error that names the part, %s', async (precision) => {
    const damaged = goldenModel('sd1')
    try {
      damage(damaged.file, 'model.diffusion_model.out.2.bias')
      await using broken = await DiffusionPipeline.load(damaged.file, { config: damaged.golden.config, device: 'cpu', precision })
      const failure = await broken.generate(small).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(ModelFormatError)
      expect(failure).toMatchObject({
        code: 'ERR_MODEL_FORMAT',
        details: { part: 'unet' },
        message: expect.stringMatching(/not finite.*float32/) as string,
      })
    } finally {
      damaged.remove()
    }
  })
})

describe('image to image', () => {
  test('strength is the fraction of steps that run; 0 steps are rejected', async () => {
    const { images } = await pipe.generate(small)
    const run = async (strength: number) => {
      const steps: number[] = []
      const onProgress = ({ phase, step }: Progress) => void (phase === 'sample' && steps.push(step))
      const painted = await pipe.generate({ ...small, image: images[0]!, prompt: 'a tree', strength, onProgress })
      expect(painted.options).toMatchObject({ strength, width: 64, height: 64 })
      return { last: steps.at(-1), picture: bytes(painted.images[0]) }
    }
    const [little, most, again] = [await run(0.25), await run(0.75), await run(0.25)]
    expect([little.last, most.last]).toEqual([1, 3])
    expect(little.picture.equals(again.picture)).toBe(true)
    expect(little.picture.equals(most.picture)).toBe(false)
    await expect(pipe.generate({ ...small, image: images[0]!, strength: 0 })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(/^strength: 0 of \d+ steps? leaves no step to run; use a higher strength or more steps/),
    })
  })

  test('the size follows the image, rounded down; a given size resizes it', async () => {
    const image = new RawImage({ data: new Uint8Array(150 * 70 * 3).fill(90), width: 150, height: 70, channels: 3 })
    expect((await pipe.generate({ ...small, width: undefined, height: undefined, image, steps: 2 })).images[0]).toMatchObject({
      width: 144,
      height: 64,
    })
    expect((await pipe.generate({ ...small, image, steps: 2 })).images[0]).toMatchObject({ width: 64, height: 64 })
  })
})

describe('progress and previews', () => {
  test('every step is reported in order, with times', async () => {
    const events: Progress[] = []
    await pipe.generate({ ...small, onProgress: (event) => events.push(event) })
    expect(events.at(-1)).toMatchObject({ phase: 'decode' })
    const steps = events.filter(({ phase }) => phase === 'sample')
    expect(steps.at(-1)).toMatchObject({ step: 4, steps: 4, etaMs: 0 })
    const sorted = [...steps].sort((a, b) => a.step - b.step)
    expect(steps).toEqual(sorted)
    for (const { elapsedMs } of events) expect(elapsedMs).toBeGreaterThanOrEqual(0)
  })

  test.each(['linear', 'vae'] as const)('%s previews', async (method) => {
    const seen: [number, number, number][] = []
    await pipe.generate({
      ...small,
      preview: { every: 2, method, onPreview: (image, { step }) => void seen.push([step, image.width, image.height]) },
    })
    const side = method === 'linear' ? 8 : 64
    expect(seen).toEqual([[2, side, side]])
  })
})

describe('aborting', () => {
  test('before the start', async () => {
    const reason = new Error('no')
    await expect(pipe.generate({ ...small, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('at random moments, and the pipeline works afterwards', async () => {
    const began = performance.now()
    const expected = bytes((await pipe.generate(small)).images[0])
    const whole = performance.now() - began
    for (let i = 0; i < 12; i++) {
      const controller = new AbortController()
      const reason = new Error(`stop ${i}`)
      const timer = setTimeout(() => controller.abort(reason), (whole * i) / 12)
      const outcome = await pipe.generate({ ...small, signal: controller.signal }).catch((error: unknown) => error)
      clearTimeout(timer)
      if (outcome instanceof Error) expect(outcome).toBe(reason)
    }
    expect(bytes((await pipe.generate(small)).images[0]).equals(expected)).toBe(true)
  })

  test('while waiting in the queue', async () => {
    const controller = new AbortController()
    const reason = new Error('second thoughts')
    const first = pipe.generate(small)
    const second = pipe.generate({ ...small, signal: controller.signal })
    controller.abort(reason)
    await expect(second).rejects.toBe(reason)
    expect((await first).images).toHaveLength(1)
  })
})

describe('callbacks that throw', () => {
  const oops = new Error('oops')
  test.each<[string, Partial<GenerateOptions>]>([
    [
      'onProgress',
      {
        onProgress: () => {
          throw oops
        },
      },
    ],
    [
      'onPreview',
      {
        preview: {
          onPreview: () => {
            throw oops
          },
        },
      },
    ],
    [
      'an onPreview that rejects',
      {
        preview: {
          onPreview: async () => {
            throw oops
          },
        },
      },
    ],
  ])('%s rejects the call with that error', async (_name, options) => {
    await expect(pipe.generate({ ...small, ...options })).rejects.toBe(oops)
    expect((await pipe.generate({ ...small, steps: 1 })).images).toHaveLength(1)
  })

  test('while loading', async () => {
    await expect(
      DiffusionPipeline.load(model.file, {
        config: model.golden.config,
        onProgress: () => {
          throw oops
        },
      }),
    ).rejects.toBe(oops)
  })
})

describe('sample()', () => {
  test('leaving the loop ends the run', async () => {
    const conditioning = await pipe.encodePrompt('x')
    for await (const step of pipe.sample({ conditioning, width: 64, height: 64, steps: 4, seed: 1 })) {
      expect(await step.preview()).toMatchObject({ width: 8, height: 8 })
      break
    }
    expect((await pipe.generate({ ...small, steps: 1 })).images).toHaveLength(1)
  })

  test('changes to the latents between steps are used by the next step', async () => {
    const conditioning = await pipe.encodePrompt('x')
    const run = async (change: boolean) => {
      const iterator = pipe.sample({ conditioning, width: 64, height: 64, steps: 3, seed: 1 })
      for (;;) {
        const { done, value } = await iterator.next()
        if (done) return value.read()
        if (change && value.index === 0) await value.latents.write((await value.latents.read()).map((v) => v + 1))
      }
    }
    const [plain, changed, again] = [await run(false), await run(true), await run(false)]
    expect(plain).toEqual(again)
    expect(plain).not.toEqual(changed)
  })

  test('an abort between steps', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const iterator = pipe.sample({ conditioning: await pipe.encodePrompt('x'), width: 64, height: 64, steps: 4, signal: controller.signal })
    await iterator.next()
    controller.abort(reason)
    await expect(iterator.next()).rejects.toBe(reason)
  })
})

describe('several at once', () => {
  test('calls finish in the order they were started', async () => {
    const order: number[] = []
    await Promise.all([0, 1, 2, 3].map((i) => pipe.generate({ ...small, steps: 4 - i, seed: i }).then(() => order.push(i))))
    expect(order).toEqual([0, 1, 2, 3])
  })

  test('a call with a long prompt is not overtaken by a later one, unless it fails', async () => {
    const order: string[] = []
    const note = (name: string) => () => order.push(name)
    const control = new AbortController()
    const long = { ...small, prompt: 'a very long prompt about a lighthouse, '.repeat(1600) }
    const calls = [
      pipe.generate(long).then(note('long')),
      pipe.generate({ ...long, signal: control.signal }).catch(note('aborted')),
      pipe.generate(small).then(note('short')),
      ...pipe.generateTogether([long, small]).map((call) => call.then(note('together'))),
      pipe.generate({ ...small, hires: { scale: 2, steps: 1 } }).then(note('twice')),
    ]
    control.abort()
    await Promise.all(calls)
    expect(order[0]).toBe('aborted')
    expect(order.slice(1)).toEqual(['long', 'short', 'together', 'together', 'twice'])
  })

  test('two pipelines running in parallel give the same results as alone', async () => {
    const alone = bytes((await pipe.generate(small)).images[0])
    await using other = await DiffusionPipeline.load(model.file, { config: model.golden.config, device: 'cpu' })
    const both = await Promise.all([pipe.generate(small), other.generate(small)])
    for (const { images } of both) expect(bytes(images[0]).equals(alone)).toBe(true)
  })

  test('the event loop stays free', async () => {
    const turnsMeanwhile = async () => {
      let turns = 0
      let next = setImmediate(function turn() {
        turns++
        next = setImmediate(turn)
      })
      await pipe.generate({ ...small, width: 128, height: 128, steps: 6 })
      clearImmediate(next)
      return turns
    }
    // Were the work done between two turns there would be a few of them, in every run. How long a turn takes: lifecycle-process.
    let most = 0
    for (let tries = 0; tries < 10 && most <= 100; tries++) most = Math.max(most, await turnsMeanwhile())
    expect(most).toBeGreaterThan(100)
  })
})

describe('disposal', () => {
  test('waits for running work; later calls get a clear error', async () => {
    const other = await DiffusionPipeline.load(model.file, { config: model.golden.config, device: 'cpu' })
    const latents = await other.createLatents({ width: 64, height: 64 })
    const running = other.generate(small)
    const disposing = other.dispose()
    await expect(other.generate(small)).rejects.toBeInstanceOf(DisposedError)
    expect((await running).images).toHaveLength(1)
    await disposing
    await other.dispose()
    expect(() => other.memoryUsage()).toThrow(DisposedError)
    await expect(other.tokenize('x')).rejects.toThrow(DisposedError)
    await expect(latents.read()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  })

  test('unload() frees the weights, the next call reads them again', async () => {
    const before = bytes((await pipe.generate(small)).images[0])
    const { total } = pipe.memoryUsage()
    await pipe.unload()
    expect(pipe.memoryUsage().total).toBeLessThan(total / 10)
    expect(bytes((await pipe.generate(small)).images[0]).equals(before)).toBe(true)
  })
})
