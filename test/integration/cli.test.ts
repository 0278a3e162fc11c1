/** The command line on a real file: the synthetic model of the reference case, its configuration as a .yaml beside it. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { renderRuns, runAll } from '../../lib/cli/bench-kernels'
import { DiffusionPipeline, getDevices, RawImage, type Kernels } from '../../lib/index'
import { cli } from '../helpers/cli'
import { goldenModel, type GoldenModel } from '../helpers/model'

let model: GoldenModel
const at = (name: string) => path.join(model.folder, name)

beforeAll(() => {
  model = goldenModel('sd1')
  // JSON is YAML.
  writeFileSync(at('model.yaml'), JSON.stringify(model.golden.config))
})
afterAll(() => model.remove())

const small = ['--width', '64', '--height', '64', '--steps', '2', '--seed', '7', '--device', 'cpu']

test('generate writes an image that contains its settings', async () => {
  const { code, stdout, stderr } = await cli(['generate', '-m', model.file, '-p', 'a lighthouse', '-n', 'fog', '-o', at('out.png'), ...small])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/out\.png: 64x64, seed 7\n2 steps of \w+ in [\d.]+ s\n/)
  const image = await RawImage.read(at('out.png'))
  expect(image).toMatchObject({ width: 64, height: 64 })
  expect(image.metadata.parameters).toMatch(/^a lighthouse\nNegative prompt: fog\nSteps: 2, .*Seed: 7, Size: 64x64, Model: model/)
})

test('--seed -1 picks a random seed and prints it', async () => {
  const argv = [
    'generate',
    '-m',
    model.file,
    '-p',
    'x',
    '-o',
    at('random.png'),
    '--seed',
    '-1',
    '--json',
    ...small.filter((word) => word !== '--seed' && word !== '7'),
  ]
  const seeds: string[] = []
  for (let i = 0; i < 2; i++) {
    const { code, stdout, stderr } = await cli(argv)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    seeds.push(/Seed: (\d+)/.exec((await RawImage.read(at('random.png'))).metadata.parameters!)![1]!)
    expect(stdout).toContain(seeds[i])
  }
  expect(seeds[0]).not.toBe(seeds[1])
})

test('a text model needs a prompt and rejects inputs of other kinds: exit code 2', async () => {
  const missing = await cli(['generate', '-m', model.file, '-o', at('never.png')])
  expect(missing).toMatchObject({ code: 2, stdout: '' })
  expect(missing.stderr).toMatch(/no prompt given/)
  const other = await cli(['generate', '-m', model.file, '-p', 'x', '--class', '3', '-o', at('never.png')])
  expect(other.code).toBe(2)
  expect(other.stderr).toMatch(/option 'classId' is for class-conditional models; .* it takes prompt/)
  const small = await cli(['upscale', '-m', model.file, at('out.png'), '-o', at('never.png')])
  expect(small).toMatchObject({ code: 1, stdout: '' })
  expect(small.stderr).toMatch(/is a model of kind 'text', not 'superres' \(ERR_UNSUPPORTED_MODEL\)/)
  expect(existsSync(at('never.png'))).toBe(false)
})

test('generate --count --json --preview', async () => {
  const argv = ['generate', '-m', model.file, '-p', 'x', '-o', at('many.png'), '--count', '2', '--json', '--preview', at('preview.png'), ...small]
  const { code, stdout } = await cli(argv)
  expect(code).toBe(0)
  const report = JSON.parse(stdout)
  expect(report.images.map(({ path: file, seed }: { path: string; seed: number }) => [path.basename(file), seed])).toEqual([
    ['many-1.png', 7],
    ['many-2.png', 8],
  ])
  expect(report.options).toMatchObject({ prompt: 'x', steps: 2, seed: 7, width: 64 })
  expect(report.timings.sampleMs).toBeGreaterThan(0)
  expect(report.float32Parts).toEqual([])
  expect(existsSync(at('many-2.png'))).toBe(true)
})

test('convert, then generate from the converted file', async () => {
  const converted = await cli(['convert', model.file, at('small.gguf'), '-t', 'q8_0'])
  expect(converted).toMatchObject({ code: 0, stderr: '' })
  expect(converted.stdout).toMatch(/small\.gguf: \d+ tensors, [\d.]+ MB/)
  const { code } = await cli(['generate', '-m', at('small.gguf'), '-p', 'x', '-o', at('small.png'), ...small])
  expect(code).toBe(0)
  expect(existsSync(at('small.png'))).toBe(true)
  expect(readdirSync(model.folder).filter((name) => /\.(tmp|part)/.test(name))).toEqual([])
})

test('inspect', async () => {
  const text = await cli(['inspect', model.file])
  expect(text.code).toBe(0)
  expect(text.stdout).toMatch(/Stable Diffusion 1[\s\S]*unet[\s\S]*vae/)
  const json = JSON.parse((await cli(['inspect', model.file, '--json'])).stdout)
  expect(json).toMatchObject({
    spec: { kind: 'text', scaleFactor: 0.18215, prediction: 'eps' },
    parts: { unet: { dtypes: { f32: expect.any(Number) } } },
  })
})

test('estimate', async () => {
  const { code, stdout } = await cli(['estimate', model.file, '--width', '128', '--height', '64', '--json'])
  expect(code).toBe(0)
  const estimate = JSON.parse(stdout)
  expect(estimate).toMatchObject({ width: 128, height: 64 })
  for (const stage of ['textEncoder', 'unet', 'decode']) expect(estimate[stage].flops).toBeGreaterThan(1e6)
  expect(estimate.peakBytes).toBeGreaterThan(estimate.lowPeakBytes)
})

test('previews by a method of choice, and their estimate', async () => {
  const tiny = goldenModel('addon-taesd', 'diffusers')
  try {
    const previewOf = async (...flags: string[]) => {
      const argv = ['generate', '-m', model.file, '-p', 'x', '-o', at('seen.png'), '--preview', at('preview.png'), ...flags, ...small]
      expect(await cli(argv)).toMatchObject({ code: 0, stderr: '' })
      return RawImage.read(at('preview.png'))
    }
    const [linear, vae, taesd] = [
      await previewOf(),
      await previewOf('--preview-method', 'vae'),
      await previewOf('--preview-method', 'taesd', '--preview-vae', tiny.folder),
    ]
    expect([linear, vae, taesd].map(({ width, height }) => [width, height])).toEqual([[8, 8], [64, 64], [64, 64]]) // prettier-ignore
    // Each is what the API shows of the last step by that method; the two decoders differ.
    expect(taesd.data).not.toEqual(vae.data)
    await using pipe = await DiffusionPipeline.load({ model: model.file, previewVae: tiny.folder }, { device: 'cpu', config: model.golden.config })
    const shown = { linear: linear.data, vae: vae.data, taesd: taesd.data }
    for (const method of ['linear', 'vae', 'taesd'] as const) {
      let last: RawImage | undefined
      await pipe.generate({ prompt: 'x', width: 64, height: 64, steps: 2, seed: 7, preview: { method, onPreview: (image) => (last = image) } })
      expect([method, last!.data]).toEqual([method, shown[method]])
    }
    const estimate = ['estimate', model.file, '--width', '64', '--height', '64', '--preview-vae', tiny.folder]
    expect((await cli(estimate)).stdout).not.toMatch(/peak, preview/)
    expect((await cli([...estimate, '--preview-method', 'taesd'])).stdout).toMatch(/peak, preview +\d+ MB/)
    expect(await cli([...estimate, '--preview-method', 'best'])).toMatchObject({ code: 2, stderr: expect.stringMatching(/linear, taesd/) })
  } finally {
    tiny.remove()
  }
})

test('devices', async () => {
  const { code, stdout } = await cli(['devices', '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ id: 'cpu', type: 'cpu' }))
})

test('bench', async () => {
  const began = Date.now()
  const { code, stdout } = await cli(['bench', model.file, '--width', '64', '--height', '64', '--repeats', '1', '--json'])
  expect(code).toBe(0)
  const report = JSON.parse(stdout)
  expect(report.stages.map(({ stage }: { stage: string }) => stage)).toEqual([
    'load',
    'first prompt',
    'text encoder',
    'first step',
    'step',
    'decode',
    'encode',
  ])
  expect(report).toMatchObject({ kind: 'text', naming: 'compvis', dtypes: { unet: 'f32' }, precision: 'fast', width: 64, height: 64 })
  expect(report.threads).toBeGreaterThan(0)
  expect(Date.parse(report.date)).toBeGreaterThanOrEqual(began)
  expect(Date.parse(report.date)).toBeLessThanOrEqual(Date.now())
  expect(report.peak.length).toBeGreaterThan(0)
  expect(report.peakRssBytes).toBeGreaterThan(1e7)
  for (const { gflops } of report.peak) expect(gflops).toBeGreaterThan(0)
  expect(report.bandwidth.slice(0, 3).map(({ bytes }: { bytes: number }) => bytes)).toEqual([2 ** 14, 2 ** 19, 2 ** 22])
  expect(report.bandwidth[3].bytes).toBeGreaterThanOrEqual(2 ** 24)
  for (const { gigabytesPerSecond } of report.bandwidth) expect(gigabytesPerSecond).toBeGreaterThan(0)
  // What the engine chose, and shares of the peak of just those instructions.
  const { kernels } = (await getDevices()).find(({ id }) => id === 'cpu')!
  const { available, ...chosen } = kernels!
  expect(report.kernels).toEqual(chosen)
  expect(available.float.at(-1)!.name).toBe(chosen.fast)
  const step = report.stages.find(({ stage }: { stage: string }) => stage === 'step')
  expect(report.peak).toContainEqual(expect.objectContaining({ format: step.peakFormat, instructions: chosen.fast }))
})

test('bench with an adapter and a decoder alone', async () => {
  const lora = goldenModel('addon-lora-kohya', 'kohya')
  const tiny = goldenModel('addon-taesd', 'pth')
  try {
    rmSync(path.join(tiny.folder, 'taesd_encoder.pth'))
    const size = ['--width', '64', '--height', '64', '--repeats', '1']
    const argv = ['bench', model.file, ...size, '--lora', lora.file, '--vae', path.join(tiny.folder, 'taesd_decoder.pth')]
    const { code, stdout, stderr } = await cli([...argv, '--profile', '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const report = JSON.parse(stdout)
    const stages: Record<string, number> = Object.fromEntries(report.stages.map(({ stage, ms }: { stage: string; ms: number }) => [stage, ms]))
    expect(Object.keys(stages)).toEqual(['load', 'first prompt', 'text encoder', 'first step', 'step', 'step with LoRA', 'decode'])
    expect(report.loras).toMatchObject({ files: [path.basename(lora.file)], ofStep: expect.any(Number) })
    expect(report.loras.ofStep).toBeGreaterThan(0)
    expect(report.loras.layers).toBeGreaterThan(10)
    // One step without the adapter and one with it, whose products are larger.
    const work = (name: string) => report.operations[name].reduce((sum: number, { gflop }: { gflop: number }) => sum + gflop, 0)
    expect(work('stepWithLora')).toBeGreaterThan(1.01 * work('step'))
    expect((await cli(argv)).stdout).toMatch(/^ {2}a step with .* \(\d+ layers\) takes \d+\.\d{3} of a step without$/m)
  } finally {
    lora.remove()
    tiny.remove()
  }
})

test('bench runs other kernels in a separate process', async () => {
  const argv = ['bench', model.file, '--width', '64', '--height', '64', '--repeats', '1', '--kernels']
  const { code, stdout, stderr } = await cli([...argv, 'portable', '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout).kernels).toEqual({ operations: 'fused', float32: 'portable', fast: 'portable', int8: 'portable', rows: 'portable' })
  const unknown = await cli([...argv, 'avx513'])
  expect(unknown).toMatchObject({ code: 2, stdout: '' })
  expect(unknown.stderr).toMatch(/--kernels: this processor has no set 'avx513'; it has portable, .*ggml/)
})

test('bench --all: a row and a report for every run', async () => {
  // As on a processor that has nothing but the portable set: one run, with the operations of ggml.
  const kernels = { available: { float: [{ name: 'portable', format: 'f32' }], int8: ['portable'] } } as unknown as Kernels
  const io = { stdout: process.stdout, stderr: process.stderr, signal: new AbortController().signal }
  const runs = await runAll(kernels, { width: 64, height: 64, repeats: 1, threads: 1 }, model.file, io) // ggml's threads spin: slow on a busy machine
  expect(runs).toMatchObject([{ set: 'ggml', report: { kernels: { operations: 'portable' } } }])
  expect(renderRuns(runs)).toMatch(/^set +step .*\nggml +[\d.e-]+ s +\d+% f32 .* MB$/m)
  const failed = runAll(kernels, { width: 64, height: 64 }, at('nothing.safetensors'), io)
  await expect(failed).rejects.toMatchObject({ message: expect.stringContaining('nothing.safetensors'), code: expect.stringMatching(/^ERR_/) })
})

test('forcing unknown kernels by an environment variable gives a typed error at their first use', () => {
  const script = `const { DiffusionPipeline, getDevices, measurePeak } = require('./dist')
    const calls = { load: () => DiffusionPipeline.load(process.argv[1]), getDevices, measurePeak: () => measurePeak({ seconds: 0.01 }) }
    ;(async () => {
      for (const [name, call] of Object.entries(calls)) await call().then(() => console.log(name, 'ran'), (e) => console.log(name, e.code, e.message))
    })()`
  const messages = (env: Record<string, string>) =>
    execFileSync(process.execPath, ['-e', script, model.file], { env: { ...process.env, ...env }, encoding: 'utf8' })
      .trim()
      .split('\n')
  const kernels = messages({ LATENT_KERNELS: 'avx513' })
  for (const [i, name] of ['load', 'getDevices', 'measurePeak'].entries())
    expect(kernels[i]).toMatch(new RegExp(`^${name} ERR_INVALID_ARG .*LATENT_KERNELS is "avx513", which is unknown\\. Possible values: portable, `))
  const operations = messages({ LATENT_OPS: 'portabel' })
  for (const i of [0, 1])
    expect(operations[i]).toMatch(/ERR_INVALID_ARG .*LATENT_OPS is "portabel", which is unknown\. Possible values: fused, portable/)
  expect(operations[2]).toBe('measurePeak ran') // the peak has nothing to do with them
})

test('an interrupt exits with 130 and writes no image', async () => {
  const controller = new AbortController()
  const long = ['--width', '256', '--height', '256', '--steps', '1000', '--device', 'cpu']
  const running = cli(['generate', '-m', model.file, '-p', 'x', '-o', at('never.png'), ...long], controller.signal)
  setTimeout(() => controller.abort(new Error('interrupted')), 200)
  const { code, stderr } = await running
  expect({ code, stderr }).toEqual({ code: 130, stderr: 'latent: interrupted\n' })
  expect(existsSync(at('never.png'))).toBe(false)
})

test('a file that is not a model: exit code 1, an error code and the file in the message', async () => {
  writeFileSync(at('broken.safetensors'), 'not a model')
  const { code, stderr, stdout } = await cli(['generate', '-m', at('broken.safetensors'), '-p', 'x'])
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).toMatch(/broken\.safetensors.*\(ERR_MODEL_FORMAT\)/)
})

test('a memory limit that is too small: the error lists flags that fit', async () => {
  const argv = ['estimate', '-m', model.file, '--width', '320', '--height', '192']
  const { floorBytes } = JSON.parse((await cli([...argv, '--json'])).stdout) as { floorBytes: number }
  const { code, stderr } = await cli([...argv, '--max-bytes', String(Math.round(0.97 * floorBytes))])
  expect(code).toBe(1)
  expect(stderr).toMatch(/^latent: .* needs [\d.]+ MiB .*What fits: .* \(ERR_OUT_OF_MEMORY\)\ntry: --width \d+ --height \d+( --\S+ \S+)*\n$/)
  // Of those, the ones that the command has: the demo has no sizes.
  const limited = (bytes: number) => cli(['demo', '--threads', '2', '--max-bytes', String(bytes), '-o', at('bounded.png')])
  const needed = Number(/needs ([\d.]+) MiB/.exec((await limited(11e6)).stderr)![1]) // differs between instruction sets
  const demo = await limited(Math.round(0.98 * needed * 2 ** 20))
  expect(demo.code).toBe(1)
  expect(demo.stderr).toMatch(/\ntry: --(memory|dtype) \S+( --(memory|dtype) \S+)*\n$/)
})
