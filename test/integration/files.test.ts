/** Files from outside: the bare containers, files that change under a loaded model, folders with unusual weights, specifications that make no sense. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import {
  convert,
  DiffusionPipeline,
  DisposedError,
  inspect,
  ModelFormatError,
  openTensors,
  type TensorFile,
  type TensorValues,
} from '../../lib/index'
import { cli } from '../helpers/cli'
import { comfyGguf, type GgufTensor } from '../helpers/gguf'
import { input, maxDifference, safetensorsBytes, temporaryFolder, type Tensor } from '../helpers/golden'
import { goldenModel, row, toConditioning, toLatents, type GoldenModel } from '../helpers/model'

const fixtures = path.resolve('test', 'fixtures', 'files')
const { folder, remove } = temporaryFolder()
const at = (...parts: string[]) => path.join(folder, ...parts)
afterAll(remove)

interface Listed {
  shape: number[]
  dtype: string
  values?: number[]
  first?: number[]
  last?: number[]
}
interface Entry {
  file: string
  must: string
  or_refuse?: boolean
  inner?: string
  tensors?: Record<string, Listed>
}
const { files } = JSON.parse(readFileSync(path.join(fixtures, 'manifest.json'), 'utf8')) as { files: Entry[] }

const wordsOf: Record<string, string> = { float32: 'f32', float16: 'f16', bfloat16: 'bf16', float64: 'f64', uint8: 'u8' }
const typeOf = (dtype: string) => wordsOf[dtype] ?? dtype.replace('int', 'i')
const numbers = (values: TensorValues) => Array.from(values as ArrayLike<number | bigint>, Number)

async function expectListed(opened: TensorFile, tensors: Record<string, Listed>): Promise<void> {
  expect(new Set(opened.names)).toEqual(new Set(Object.keys(tensors)))
  for (const [name, { shape, dtype, values, first, last }] of Object.entries(tensors)) {
    const { type, shape: found, elements } = opened.get(name)!
    expect(found).toEqual(shape)
    if (!['q8_0', 'f8_e4m3', 'f8_e5m2'].includes(type)) expect(type).toBe(typeOf(dtype))
    const read = numbers(await opened.read(name))
    expect(read).toHaveLength(elements)
    if (values) expect(read).toEqual(values)
    if (first) expect(read.slice(0, first.length)).toEqual(first)
    if (last) expect(read.slice(-last.length)).toEqual(last)
  }
}

describe('openTensors', () => {
  const good = files.filter(({ must, tensors, inner, or_refuse }) => must === 'load' && tensors && !inner && !or_refuse)

  test.each(good.map((entry) => [entry.file, entry] as const))('%s', async (file, { tensors }) => {
    const opened = await openTensors(path.join(fixtures, file))
    await expectListed(opened, tensors!)
    opened.dispose()
  })

  test.each(['legacy.ckpt', 'legacy-half.ckpt'])('%s: a storage of an unknown type hides no other', async (file) => {
    const bytes = readFileSync(path.join(fixtures, file))
    const strange = (from: Buffer) => Buffer.from(from.toString('latin1').replaceAll('LongStorage', 'Ab64Storage'), 'latin1')
    writeFileSync(at(file), strange(bytes))
    const [opened, usual] = await Promise.all([openTensors(at(file)), openTensors(path.join(fixtures, file))])
    expect(opened.names).toEqual(usual.names)
    const unknown = opened.names.filter((name) => usual.get(name)!.type === 'i64')
    expect(unknown).toHaveLength(1)
    for (const name of opened.names) {
      if (unknown.includes(name))
        await expect(opened.read(name)).rejects.toMatchObject({
          code: 'ERR_MODEL_FORMAT',
          message: expect.stringContaining('an unknown torch type'),
        })
      else expect(await opened.read(name)).toEqual(await usual.read(name))
    }
    opened.dispose()
    usual.dispose()
    // Cut off, it is still known to be.
    writeFileSync(at(file), strange(bytes.subarray(0, bytes.length - 100)))
    await expect(openTensors(at(file)).then((some) => some.read(opened.names[0]!))).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
  })

  test.each(files.filter(({ must }) => must === 'refuse').map(({ file }) => file))('%s is refused or has nothing to read', async (file) => {
    let error: unknown
    try {
      const opened = await openTensors(path.join(fixtures, file))
      for (const name of opened.names) await opened.read(name)
      opened.dispose()
    } catch (caught) {
      error = caught
    }
    expect((error as { code?: string } | undefined)?.code).toMatch(/^ERR_(MODEL_FORMAT|IO)$/)
  })

  test('arrays contain exactly the stored values', async () => {
    const bytes = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    const big = new BigInt64Array([-(2n ** 62n), 2n ** 53n + 1n])
    const tensors = new Map<string, Tensor>([
      ['big', { dtype: 'I64', shape: [2], bytes: bytes(big) }],
      ['small', { dtype: 'U8', shape: [3], bytes: new Uint8Array([1, 2, 255]) }],
      ['half', { dtype: 'F16', shape: [], bytes: new Uint8Array([0, 0x3c]) }],
      ['double', { dtype: 'F64', shape: [1], bytes: bytes(new Float64Array([Math.PI])) }],
      ['none', { dtype: 'F32', shape: [0, 7], bytes: new Uint8Array() }],
      // More than is read at a time.
      ['long', { dtype: 'F32', shape: [3, 700_001], bytes: bytes(Float32Array.from({ length: 2_100_003 }, (_, i) => i)) }],
    ])
    writeFileSync(at('arrays.safetensors'), safetensorsBytes(tensors))
    const opened = await openTensors(at('arrays.safetensors'))
    expect(await opened.read('big')).toEqual(big)
    expect(await opened.read('big', { as: 'float32' })).toEqual(new Float32Array([-(2 ** 62), 2 ** 53]))
    expect(await opened.read('small')).toEqual(new Uint8Array([1, 2, 255]))
    expect(await opened.read('half')).toEqual(new Float32Array([1]))
    expect(await opened.read('half', { as: 'bytes' })).toEqual(new Uint8Array([0, 0x3c]))
    expect(await opened.read('double')).toEqual(new Float64Array([Math.PI]))
    expect(await opened.read('none')).toEqual(new Float32Array())
    const long = (await opened.read('long')) as Float32Array
    expect(long.every((value, i) => value === Math.fround(i))).toBe(true)
    expect([...opened].map(({ name, elements }) => [name, elements])).toContainEqual(['long', 2_100_003])
    expect(opened.size).toBe(6)
    opened.dispose()
    opened.dispose()
    await expect(opened.read('big')).rejects.toThrow(DisposedError)
    expect(() => opened.metadata).toThrow(DisposedError)
  })

  test('rejects invalid arguments and files', async () => {
    const opened = await openTensors(path.join(fixtures, 'plain.safetensors'))
    await expect(opened.read('absent')).rejects.toThrow(RangeError)
    await expect(opened.read('absent', { as: 'float64' as 'float32' })).rejects.toThrow(RangeError)
    const [name] = opened.names
    await expect(opened.read(name!, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
    opened.dispose()
    await expect(openTensors(undefined as unknown as string)).rejects.toThrow(TypeError)
    await expect(openTensors(at('absent.gguf'))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(openTensors(folder)).rejects.toThrow(ModelFormatError)
    await expect(openTensors(at('absent.gguf'), { variant: '../x' })).rejects.toThrow(RangeError)
  })

  test('latent inspect --tensors', async () => {
    const file = path.join(fixtures, 'small.gguf')
    const { stdout } = await cli(['inspect', file, '--tensors'])
    expect(stdout).toMatch(/q8_0\s+\[/)
    expect(stdout).toMatch(/3 tensors, \d+ bytes/)
    const { tensors } = JSON.parse((await cli(['inspect', file, '--tensors', '--json'])).stdout) as { tensors: { elements: number }[] }
    expect(tensors).toHaveLength(3)
    expect((await cli(['inspect', '--tensors'])).code).toBe(2)
    expect((await cli(['inspect', file, '--tensors', '--ema'])).code).toBe(2)
  })
})

const posix = process.platform === 'win32' ? describe.skip : describe

posix('pipes', () => {
  test.each(['weights.safetensors', 'weights.yaml'])('%s is refused at once', async (name) => {
    execFileSync('mkfifo', [at(name)])
    await expect(openTensors(at(name))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(inspect(at(name))).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(DiffusionPipeline.load(at(name))).rejects.toMatchObject({ code: 'ERR_IO' })
  })

  test('sockets, devices and folders without a model are rejected', async () => {
    const server = createServer().listen(at('weights.ckpt'))
    await once(server, 'listening')
    mkdirSync(at('weights.gguf'))
    try {
      for (const file of [at('weights.ckpt'), '/dev/zero', '/dev/null']) {
        const refused = { code: 'ERR_IO', message: expect.stringContaining(file) }
        await expect(openTensors(file)).rejects.toMatchObject(refused)
        await expect(DiffusionPipeline.load(file)).rejects.toMatchObject(refused)
        await expect(convert(file, at('never.gguf'), { type: 'f16' })).rejects.toMatchObject(refused)
      }
      const empty = { code: 'ERR_MODEL_FORMAT', message: expect.stringContaining('weights.gguf') }
      await expect(openTensors(at('weights.gguf'))).rejects.toMatchObject(empty)
      await expect(DiffusionPipeline.load(at('weights.gguf'))).rejects.toMatchObject(empty)
    } finally {
      server.close()
    }
  })
})

describe('a golden model', () => {
  let model: GoldenModel
  beforeAll(() => {
    model = goldenModel('sd1', 'diffusers')
  })
  afterAll(() => model.remove())
  const options = { device: 'cpu', precision: 'exact' } as const
  const draw = { prompt: 'a cat', steps: 1, width: 64, height: 64, seed: 1 }

  posix('that loses its file', () => {
    test('gives an error, and the process survives', async () => {
      const file = at('shortened.gguf')
      await convert(model.folder, file, { type: 'f32' })
      const { size } = statSync(file)
      const pipe = await DiffusionPipeline.load(file, options)
      await pipe.generate(draw)
      truncateSync(file, Math.floor(size / 2))
      const refused = { code: 'ERR_IO', details: { reason: 'file_changed', expected: size } }
      await expect(pipe.generate(draw)).rejects.toMatchObject(refused)
      await expect(pipe.encodePrompt('a cat')).rejects.toMatchObject(refused)
      await pipe.dispose()
      const opened = await openTensors(path.join(fixtures, 'plain.safetensors'))
      opened.dispose()
    })

    test('keeps working from memory while no weight is read from the file', async () => {
      const file = at('copied.gguf')
      await convert(model.folder, file, { type: 'f16' })
      const pipe = await DiffusionPipeline.load(file, options) // float32 throughout: every weight is converted
      truncateSync(file, 100)
      const { images } = await pipe.generate(draw)
      expect(images).toHaveLength(1)
      await pipe.unload()
      await expect(pipe.generate(draw)).rejects.toMatchObject({ code: 'ERR_IO' })
      await pipe.dispose()
    })

    test('or is overwritten in place with the same size, gives an error', async () => {
      const file = at('overwritten.gguf')
      await convert(model.folder, file, { type: 'f32' })
      const pipe = await DiffusionPipeline.load(file, options)
      await pipe.generate(draw)
      const bytes = readFileSync(file)
      await setTimeout(50) // longer than file systems count time in
      const handle = openSync(file, 'r+')
      writeSync(handle, bytes)
      closeSync(handle)
      await expect(pipe.generate(draw)).rejects.toMatchObject({ code: 'ERR_IO', details: { reason: 'file_changed', expected: bytes.length } })
      await pipe.dispose()
    })

    test('of plain tensors', async () => {
      const file = at('bare.safetensors')
      copyFileSync(path.join(fixtures, 'plain.safetensors'), file)
      const opened = await openTensors(file)
      truncateSync(file, 4096)
      await expect(opened.read(opened.names[0]!)).rejects.toMatchObject({ code: 'ERR_IO', details: { reason: 'file_changed' } })
      opened.dispose()
    })
  })

  test('variants of a diffusers folder', async () => {
    const unet = path.join(model.folder, 'unet')
    const plain = path.join(unet, 'diffusion_pytorch_model.safetensors')
    const named = path.join(unet, 'diffusion_pytorch_model.non_ema.safetensors')
    renameSync(plain, named)
    expect(await inspect(model.folder)).toMatchObject({ kind: 'text' })
    expect(await inspect(model.folder, { variant: 'non_ema' })).toMatchObject({ kind: 'text' })
    await expect(inspect(model.folder, { variant: 'fp8' })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', details: { variants: ['non_ema'] } })
    expect((await cli(['inspect', model.folder, '--variant', 'non_ema'])).stdout).toContain('unet')
    copyFileSync(named, path.join(unet, 'diffusion_pytorch_model.ema.safetensors'))
    await expect(inspect(model.folder)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT', details: { variants: ['ema', 'non_ema'] } })
    rmSync(path.join(unet, 'diffusion_pytorch_model.ema.safetensors'))
    rmSync(named)
    await expect(inspect(model.folder)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT', details: { component: 'unet' } })
  })

  test('an unknown sampler is rejected on loading', async () => {
    const other = goldenModel('sd1')
    const options = { config: other.golden.config, device: 'cpu', spec: { sampler: 'eulr' } } as const
    const refused = { code: 'ERR_MODEL_FORMAT', details: { field: 'sampler', found: 'eulr' } }
    await expect(DiffusionPipeline.load(other.file, options)).rejects.toMatchObject(refused)
    await expect(inspect(other.file, { config: other.golden.config, spec: options.spec })).rejects.toMatchObject(refused)
    other.remove()
  })

  test('an unknown kind is rejected at every place', async () => {
    const other = goldenModel('sd1')
    const options = { config: other.golden.config, device: 'cpu' } as const
    const load = (kind: string) => DiffusionPipeline.load(other.file, { ...options, spec: { kind } as object })
    await expect(load('painting')).rejects.toMatchObject({ name: 'RangeError', code: 'ERR_INVALID_ARG', details: { field: 'kind' } })
    await expect(load('layout')).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
    // The same length, so that the file stays sound.
    mkdirSync(at('kind'))
    const file = at('kind', 'model.gguf')
    await convert(other.file, file, { type: 'f16', config: other.golden.config })
    const bytes = readFileSync(file)
    const kind = bytes.indexOf('"kind":"text"')
    bytes.write('"kind":"tixt"', kind)
    writeFileSync(file, bytes)
    await expect(DiffusionPipeline.load(file)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT', details: { found: 'tixt' } })
    await expect(inspect(file)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
    other.remove()
  })
})

describe('a U-Net of ComfyUI-GGUF', () => {
  const prefix = 'model.diffusion_model.'
  let model: GoldenModel
  let flattened: string[]
  const unet = at('unet.gguf')

  beforeAll(async () => {
    model = goldenModel('sd1')
    const file = await openTensors(model.file)
    const tensors: GgufTensor[] = []
    for (const { name, shape } of file)
      if (name.startsWith(prefix))
        tensors.push({ name: name.slice(prefix.length), shape: [...shape], values: await file.read(name, { as: 'float32' }) })
    file.dispose()
    const written = comfyGguf(tensors)
    flattened = written.flattened
    writeFileSync(unet, written.bytes)
  })
  afterAll(() => model.remove())

  async function predicted(source: string, precision: 'exact' | 'fast', dtype?: 'int8'): Promise<Float32Array> {
    await using pipe = await DiffusionPipeline.load(
      { model: model.file, unet: source },
      { precision, device: 'cpu', config: model.golden.config, ...(dtype ? { dtype: { unet: dtype } } : {}) },
    )
    const eps = await pipe.predict(await toLatents(row(input(model.golden, 'x'), 1)), {
      timestep: 321.75,
      conditioning: await toConditioning(row(input(model.golden, 'context'), 1)),
    })
    return eps.read()
  }

  test('its tensors have their original shapes', async () => {
    const file = await openTensors(unet)
    expect(flattened.length).toBeGreaterThan(100)
    expect(file.get('input_blocks.1.0.in_layers.2.weight')).toMatchObject({ type: 'q6_k', shape: [32, 32, 3, 3] })
    file.dispose()
  })

  test('computes with the stored values', async () => {
    const file = await openTensors(unet)
    const plain = new Map<string, Tensor>()
    for (const { name, shape } of file) {
      const values = await file.read(name, { as: 'float32' })
      plain.set(name, { dtype: 'F32', shape: [...shape], bytes: new Uint8Array(values.buffer) })
    }
    file.dispose()
    writeFileSync(at('plain.safetensors'), safetensorsBytes(plain))
    const wanted = await predicted(at('plain.safetensors'), 'exact')
    expect(maxDifference(await predicted(unet, 'exact'), wanted)).toBe(0)
    // Blocks across rows are quantised anew: 8 bits for 6.
    const largest = Math.max(...Array.from(wanted, Math.abs))
    expect(maxDifference(await predicted(unet, 'fast'), wanted)).toBeLessThan(0.03 * largest)
    expect(maxDifference(await predicted(unet, 'fast', 'int8'), wanted)).toBeLessThan(0.1 * largest)
  })

  test('can be converted', async () => {
    const file = at('whole.gguf')
    await convert({ model: model.file, unet }, file, { type: 'q8_0', config: model.golden.config })
    expect(await inspect(file)).toMatchObject({ kind: 'text' })
  })
})
