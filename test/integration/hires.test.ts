/** Two passes: the size and the steps of the second, its start, progress and previews over both, cancelling in both, settings, and what is refused. */
import { createNoise, DiffusionPipeline, parseInfotext, presets, type GenerateOptions, type Progress, type RawImage } from '../../lib/index'
import { resizeLatents } from '../../lib/image/resize-latents'
import { hooksOfPasses, planPasses } from '../../lib/api/hires'
import { samplerNames, upscalerNames } from '../../lib/names'
import { resolveGenerate } from '../../lib/api/generate-options'
import { ask, startServer, type Server } from '../helpers/server'

let pipe: DiffusionPipeline
let server: Server & { lines: string[] }
beforeAll(async () => {
  pipe = await DiffusionPipeline.load()
  server = await startServer({ limits: { maxPixels: 40_000, maxSteps: 20, maxTotalSteps: 40 } })
})
afterAll(async () => {
  await server?.close()
  await pipe?.dispose()
})

const small: GenerateOptions = { prompt: 'a red circle', steps: 4, seed: 7 }
const bytes = (image: RawImage | undefined) => Buffer.from(image!.data)

test.each(['latent', 'latent_bicubic', 'latent_nearest', 'latent_nearest_exact', 'lanczos', 'bicubic', 'nearest'] as const)(
  '%s: twice the size, the same every time, reproduced by its options',
  async (upscaler) => {
    const { images, options } = await pipe.generate({ ...small, hires: { scale: 2, upscaler, steps: 3, strength: 0.6 }, count: 2 })
    expect(images.map(({ width, height }) => [width, height])).toEqual([
      [128, 128],
      [128, 128],
    ])
    expect(options).toMatchObject({ width: 64, height: 64, steps: 4, hires: { scale: 2, upscaler, steps: 3, strength: 0.6 } })
    expect(options).not.toHaveProperty('extra')
    expect(options).not.toHaveProperty('strength')
    const again = await pipe.generate(options)
    expect(bytes(again.images[1]).equals(bytes(images[1]))).toBe(true)
    const alone = await pipe.generate({ ...(options as GenerateOptions), count: 1, seed: 8 })
    expect(bytes(alone.images[0]).equals(bytes(images[1]))).toBe(true)
  },
)

test('every upscaler gives an image of its own', async () => {
  // At twice the size, nearest and nearest-exact are the same.
  const draw = async (upscaler: (typeof upscalerNames)[number]) =>
    bytes((await pipe.generate({ ...small, hires: { scale: 1.5, upscaler, steps: 3, strength: 0.6 } })).images[0])
  const drawn = []
  for (const upscaler of upscalerNames) drawn.push((await draw(upscaler)).toString('base64'))
  expect([drawn.length, new Set(drawn).size]).toEqual([7, 7])
})

test('with Lanczos it is what the two calls give', async () => {
  const hires = { width: 128, height: 96, steps: 3, strength: 0.6, upscaler: 'lanczos' } as const
  const { images } = await pipe.generate({ ...small, width: 64, height: 48, hires })
  const first = await pipe.generate({ ...small, width: 64, height: 48 })
  const image = await first.images[0]!.resize(128, 96, { filter: 'lanczos' })
  const second = await pipe.generate({ ...small, image, steps: 3, strength: 0.6, extra: { start_rule: 'webui_fixed' } })
  expect(bytes(images[0]).equals(bytes(second.images[0]))).toBe(true)
})

test('a small change keeps the image of the first pass, a large one does not', async () => {
  const first = (await pipe.generate({ ...small, steps: 20 })).images[0]!
  const plain = bytes(await first.resize(128, 128, { filter: 'lanczos' }))
  const distance = async (strength: number) => {
    const { images } = await pipe.generate({ ...small, steps: 20, hires: { scale: 2, strength, steps: 8 } })
    return bytes(images[0]).reduce((sum, value, i) => sum + Math.abs(value - plain[i]!), 0) / plain.length
  }
  const [near, far] = [await distance(0.3), await distance(1)]
  expect(near).toBeLessThan(8) // 5.5
  expect(far).toBeGreaterThan(2 * near) // 17
})

test('progress and previews count over both passes, and the settings name them', async () => {
  const seen: Progress[] = []
  const previews: [number, number, number][] = []
  const preview = { onPreview: (image: RawImage, { step, steps }: { step: number; steps: number }) => void previews.push([image.width, step, steps]) }
  const { images, timings } = await pipe.generate({ ...small, hires: { scale: 2, steps: 3 }, preview, onProgress: (each) => void seen.push(each) })
  const steps = seen.filter(({ phase }) => phase === 'sample')
  expect(new Set(steps.map((each) => each.steps))).toEqual(new Set([7]))
  expect(steps.map(({ step }) => step)).toEqual([...steps.map(({ step }) => step)].sort((a, b) => a - b))
  expect(steps.at(-1)!.step).toBe(7)
  expect(previews.every(([, step, of]) => step < 7 && of === 7)).toBe(true)
  expect(previews.map(([, step]) => step)).toEqual(expect.arrayContaining([1, 5]))
  expect(timings.sampleMs).toBeGreaterThan(0)
  const { fields } = parseInfotext(images[0]!.metadata.parameters!)
  expect(fields).toMatchObject({
    Steps: '4',
    Size: '64x64',
    'Denoising strength': '0.7',
    'Hires upscale': '2',
    'Hires steps': '3',
    'Hires upscaler': 'Latent',
  })
})

test.each([
  { sampler: 'euler', schedule: 'ddim_uniform', steps: 7 }, // one level more than asked for
  { sampler: 'ddim' },
  { sampler: 'dpm_adaptive' },
] as GenerateOptions[])('steps and phases go forwards, whatever the schedule: %j', async (sampling) => {
  for (const upscaler of ['lanczos', 'latent'] as const) {
    const seen: Progress[] = []
    const { options } = await pipe.generate({
      ...small,
      ...sampling,
      hires: { scale: 2, steps: 5, upscaler },
      onProgress: (each) => void seen.push(each),
    })
    const total = options.steps + 5
    const phases = seen.map(({ phase }) => phase).filter((phase, i, all) => phase !== all[i - 1])
    expect(phases).toEqual(['encode', 'sample', 'decode'])
    const steps = seen.filter(({ phase }) => phase === 'sample')
    expect(steps.map(({ step }) => step)).toEqual(steps.map(({ step }) => step).sort((a, b) => a - b))
    expect([steps.at(-1)!.step, new Set(steps.map((each) => each.steps))]).toEqual([total, new Set([total])])
    const times = seen.map(({ elapsedMs }) => elapsedMs)
    expect(times).toEqual([...times].sort((a, b) => a - b))
  }
})

test('the estimate of the first pass includes the second, by its steps and pixels', () => {
  const seen: Progress[] = []
  const resolved = resolveGenerate({ ...small, hires: { scale: 2, steps: 3 }, onProgress: (each) => void seen.push(each) }, pipe.info)
  const { first, second } = hooksOfPasses(resolved, planPasses(resolved.hires!, resolved, pipe.info))
  const at = (phase: Progress['phase'], step: number, steps: number, etaMs: number | null) => ({ phase, step, steps, etaMs, elapsedMs: 0 })
  first.onProgress!(at('sample', 0, 4, null))
  first.onProgress!(at('sample', 2, 4, 20)) // 10 ms per step, 40 ms at four times the pixels
  first.onProgress!(at('sample', 4, 4, 0))
  first.onProgress!(at('decode', 1, 1, 0))
  second.onProgress!(at('encode', 1, 1, 0))
  second.onProgress!(at('sample', 1, 3, 60))
  expect(seen.map(({ phase, step, steps, etaMs }) => [phase, step, steps, etaMs])).toEqual([
    ['sample', 0, 7, null],
    ['sample', 2, 7, 140],
    ['sample', 4, 7, 120],
    ['sample', 4, 7, 120],
    ['sample', 4, 7, 120],
    ['sample', 5, 7, 60],
  ])
})

test.each(samplerNames)('%s runs both passes, or is refused before the first', async (sampler) => {
  const onProgress = jest.fn()
  const call = pipe.generate({ ...small, sampler, hires: { scale: 1.5, steps: 3 }, onProgress })
  if (sampler === 'ddim_inverse' || sampler === 'dpm_fast') {
    await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(new RegExp(`^hires.*${sampler}`)) })
    expect(onProgress).not.toHaveBeenCalled()
  } else expect((await call).images[0]).toMatchObject({ width: 96, height: 96 })
})

test('the timesteps of a preset and of a model are for the first pass', async () => {
  const hires = { scale: 1.5, strength: 0.5 }
  const { prompt, seed } = small
  const { images, options } = await pipe.generate({ prompt, seed, preset: 'dmd2', hires })
  expect(options).toMatchObject({ preset: 'dmd2', timesteps: presets.dmd2.timesteps, hires: { scale: 1.5, steps: 4 } })
  expect(bytes((await pipe.generate(options)).images[0]).equals(bytes(images[0]))).toBe(true)
  await expect(pipe.generate({ prompt, seed, preset: 'dmd2', hires: { ...hires, strength: 0.01 } })).rejects.toThrow(
    /second pass \(the timesteps of the preset 'dmd2' are for the first\) is impossible/,
  )
  await using own = await DiffusionPipeline.load(undefined, { spec: { samplingTimesteps: [999, 499] } })
  const drawn = await own.generate({ prompt, seed, steps: 2, hires })
  expect(drawn.options.timesteps).toEqual([999, 499])
  expect(bytes((await own.generate(drawn.options)).images[0]).equals(bytes(drawn.images[0]))).toBe(true)
})

test('setLoras() during the first pass is for later calls', async () => {
  const options: GenerateOptions = { ...small, hires: { scale: 1.5, steps: 3, upscaler: 'lanczos' } }
  const night = [{ path: 'models/adapters/night.safetensors' }]
  const plain = await pipe.generate(options)
  let set: Promise<unknown> | undefined
  const onProgress = ({ phase, step }: Progress) => {
    if (phase === 'sample' && step >= 1) set ??= pipe.setLoras(night)
  }
  const meanwhile = await pipe.generate({ ...options, onProgress })
  await set
  const later = await pipe.generate(options)
  await pipe.setLoras([])
  expect(bytes(meanwhile.images[0]).equals(bytes(plain.images[0]))).toBe(true)
  expect(meanwhile.options.loras).toBeUndefined()
  expect(bytes(later.images[0]).equals(bytes(plain.images[0]))).toBe(false)
})

test('options are read once, inherited ones too', async () => {
  const reads: Record<string, number> = {}
  const counted = <T extends object>(values: T, name: string): T =>
    Object.create(
      Object.create(
        null,
        Object.fromEntries(
          Object.entries(values).map(([key, value]) => [
            key,
            {
              enumerable: true,
              get() {
                reads[name + key] = (reads[name + key] ?? 0) + 1
                return reads[name + key] === 1 ? value : undefined
              },
            },
          ]),
        ),
      ) as object,
    ) as T
  const hires = { scale: 1.5, steps: 3, strength: 0.6 }
  const preview = { every: 1, onPreview: () => undefined }
  const { images } = await pipe.generate(counted({ ...small, hires: counted(hires, 'hires.'), preview: counted(preview, 'preview.') }, ''))
  expect(bytes(images[0]).equals(bytes((await pipe.generate({ ...small, hires })).images[0]))).toBe(true)
  expect(Object.entries(reads).filter(([, times]) => times !== 1)).toEqual([])
  expect(reads).toMatchObject({ prompt: 1, hires: 1, 'hires.scale': 1, 'preview.onPreview': 1 })
})

test('a decoder alone takes upscalers of latents only', () => {
  const { spec } = pipe.info
  const info = { ...pipe.info, spec: { ...spec, firstStage: { ...spec.firstStage!, encoder: false } } }
  const plan = (upscaler: 'lanczos' | 'latent') => {
    const resolved = resolveGenerate({ ...small, hires: { scale: 2, upscaler } }, info)
    return planPasses(resolved.hires!, resolved, info)
  }
  expect(() => plan('lanczos')).toThrow(/no encoder.*use latent/)
  expect(plan('latent').inLatents).toBe(true)
})

test.each([1, 6])('cancelling at step %d ends the call', async (at) => {
  const control = new AbortController()
  const onProgress = ({ phase, step }: Progress) => phase === 'sample' && step >= at && control.abort(new Error('enough'))
  await expect(pipe.generate({ ...small, hires: { scale: 2, steps: 600 }, signal: control.signal, onProgress })).rejects.toThrow('enough')
})

test('values that make no sense are refused before the first pass', async () => {
  const image = (await pipe.generate({ ...small, steps: 1 })).images[0]!
  const onProgress = jest.fn()
  for (const more of [
    { hires: {} },
    { hires: { width: 128 } },
    { hires: { scale: 2, width: 128, height: 128 } },
    { hires: { scale: 0.5 } },
    { hires: { scale: 1000 } },
    { hires: { scale: NaN } },
    { hires: { width: 129, height: 128 } },
    { hires: { width: 32, height: 32 } },
    { hires: { width: 128, height: 32 } },
    { hires: { scale: 2, steps: 20, strength: 0.001 } },
    { hires: { scale: 2, steps: 1000, strength: 0.5 }, sampler: 'ddim' },
    { hires: { scale: 2, steps: 20, strength: 0.1 }, sampler: 'lcm' },
    { hires: { scale: 2, strength: 0 } },
    { hires: { scale: 2, strength: 2 } },
    { hires: { scale: 2, steps: 0 } },
    { hires: { scale: 2, upscaler: 'ESRGAN' } },
    { hires: { scale: 2, more: 1 } },
    { hires: 2 },
    { hires: null },
    { hires: { scale: 2 }, image },
    { hires: { scale: 2 }, latents: await pipe.createLatents({ seed: 1 }) },
    { hires: { scale: 2 }, steps: undefined, timesteps: [900, 500] },
  ] as object[])
    await expect(pipe.generate({ ...small, ...more, onProgress })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  expect(onProgress).not.toHaveBeenCalled()
})

test('latents are enlarged as torch does it', async () => {
  const size = (width: number, height: number) => ({ width, height })
  // torch.nn.functional.interpolate of [[1, 2], [3, 5]] to 4x4 and of [1, 2, 4, 8] to 6.
  expect([...resizeLatents(Float32Array.of(1, 2, 3, 5), size(2, 2), size(4, 4), 'bilinear')].slice(0, 8)).toEqual([
    1, 1.25, 1.75, 2, 1.5, 1.8125, 2.4375, 2.75,
  ])
  expect([...resizeLatents(Float32Array.of(1, 2, 3, 5), size(2, 2), size(3, 3), 'nearest')]).toEqual([1, 1, 2, 1, 1, 2, 3, 3, 5])
  expect([...resizeLatents(Float32Array.of(1, 2, 3, 5), size(2, 2), size(3, 3), 'nearest-exact')]).toEqual([1, 2, 2, 3, 5, 5, 3, 5, 5])
  // A step, enlarged twice: the weights of a = -0.75 at a quarter and at three quarters.
  const step = resizeLatents(Float32Array.of(0, 0, 1, 1), size(4, 1), size(8, 1), 'bicubic')
  expect([...step].map((each) => Number(each.toFixed(6)))).toEqual([0, -0.035156, -0.105469, 0.226563, 0.773438, 1.105469, 1.035156, 1])
  const noise = await createNoise({ shape: [4, 8, 8], seed: 1 })
  for (const filter of ['bilinear', 'bicubic', 'nearest', 'nearest-exact'] as const) {
    expect(resizeLatents(noise, size(8, 8), size(8, 8), filter)).toEqual(noise)
    const flat = resizeLatents(new Float32Array(64).fill(3), size(8, 8), size(20, 12), filter)
    expect([flat.length, Math.max(...flat.map((value) => Math.abs(value - 3)))]).toEqual([240, expect.closeTo(0, 5)])
  }
})

test("the web UI's API", async () => {
  const draw = (more: object) => ask(server, '/sdapi/v1/txt2img', { body: { prompt: 'a red circle', steps: 4, seed: 7, enable_hr: true, ...more } })
  const made = await draw({ hr_scale: 2, hr_second_pass_steps: 3, hr_upscaler: 'Latent', denoising_strength: 0.6 })
  const info = JSON.parse(made.json.info as string)
  expect(info).toMatchObject({ width: 128, height: 128, steps: 4, denoising_strength: 0.6 })
  expect(info.infotexts[0]).toContain('Denoising strength: 0.6, Hires upscale: 2, Hires steps: 3, Hires upscaler: Latent')
  const sized = await draw({ hr_resize_x: 96, hr_upscaler: 'Lanczos' })
  expect(JSON.parse(sized.json.info as string)).toMatchObject({ width: 96, height: 96, denoising_strength: 0.75 })
  for (const [more, status] of [
    [{ hr_scale: 4 }, 400], // pixels of the second pass
    [{ steps: 15 }, 400], // steps of both passes
    [{ hr_upscaler: 'ESRGAN_4x' }, 422],
    [{ hr_prompt: 'another' }, 422],
    [{ hr_resize_x: 128, hr_resize_y: 64 }, 422],
    [{ denoising_strength: 0 }, 422],
  ] as const)
    expect([more, (await draw(more)).status]).toEqual([more, status])
  const refused = await ask(server, '/latent/v1/jobs', { body: { prompt: 'x', steps: 4, hires: { scale: 4 } } })
  expect([refused.status, refused.json.error.message]).toEqual([400, expect.stringContaining('256x256')])
  const modes = (await ask(server, '/sdapi/v1/latent-upscale-modes')).json
  expect(modes).toEqual(expect.arrayContaining([{ name: 'Latent' }, { name: 'Latent (nearest-exact)' }]))
})
