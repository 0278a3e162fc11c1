import { resolveGenerate } from '../../lib/api/generate-options'
import { resolveLoad } from '../../lib/options/load'
import type { GenerateOptions, PipelineInfo } from '../../lib/types'
import { nearestName } from '../../lib/options/suggest'

const info = {
  kind: 'text',
  name: 'Stable Diffusion 1.x',
  condition: { guidance: true, tokens: 77, dim: 768 },
  spec: { conditioners: [{ kind: 'clip_text' }] },
  defaults: { width: 512, height: 512, steps: 50, sampler: 'ddim', schedule: '', guidanceScale: 7.5, eta: 0, clipSkip: 0 },
  samplers: ['ddim', 'euler', 'euler_a', 'dpmpp_2m'],
  schedules: ['normal', 'karras', 'sgm_uniform'],
  downsampling: 8,
  sizeMultiple: 64,
  latentChannels: 4,
} as unknown as PipelineInfo

const generate = (options: unknown) => resolveGenerate(options as GenerateOptions, info)
const load = (options: unknown) => resolveLoad(options, 'load()')

function rejection(action: () => unknown): Error & { code: string } {
  try {
    action()
  } catch (error) {
    return error as Error & { code: string }
  }
  throw new Error('was accepted')
}

describe('generate options', () => {
  test('defaults come from the model', () => {
    const { sampling, count, inputs, negativePrompt, width } = generate({})
    expect(sampling.request).toMatchObject({ sampler: 'ddim', steps: 50, guidanceScale: 7.5, eta: 0, rng: 'philox' })
    expect(sampling.request).not.toHaveProperty('strength')
    expect({ count, negativePrompt, width }).toEqual({ count: 1, negativePrompt: '', width: undefined })
    expect(inputs).toEqual({ prompt: { text: '', emphasis: 'original', clipSkip: undefined } })
  })

  test('without a model default, schedule and eta are left to the sampler', () => {
    const defaults = { width: 512, height: 512, steps: 50, sampler: 'ddim', guidanceScale: 7.5 }
    const { request } = resolveGenerate({}, { ...info, defaults }).sampling
    for (const left of ['schedule', 'eta']) expect(request).not.toHaveProperty(left)
  })

  test('a random seed has 32 bits and differs from call to call', () => {
    const seeds = new Set(Array.from({ length: 8 }, () => generate({}).sampling.values.seed))
    expect(seeds.size).toBeGreaterThan(6)
    for (const seed of seeds) expect(seed >= 0n && seed < 1n << 32n).toBe(true)
  })

  test.each([
    [42, 42n],
    [0, 0n],
    [2n ** 64n - 1n, 2n ** 64n - 1n],
    [Number.MAX_SAFE_INTEGER, BigInt(Number.MAX_SAFE_INTEGER)],
  ])('seed %p', (seed, expected) => {
    const { sampling } = generate({ seed })
    expect(sampling.values.seed).toBe(expected)
    expect(sampling.request.seed).toBe(String(expected))
  })

  test.each([
    [{ seed: -1 }, RangeError, /random/],
    [{ seed: 1.5 }, RangeError, /whole/],
    [{ seed: 2n ** 64n }, RangeError, /2\^64-1/],
    [{ seed: '42' }, TypeError, /number or a bigint/],
    [{ steps: 0 }, RangeError, /between 1 and/],
    [{ schedule: [14, 7, 0] }, TypeError, /a name or a Float32Array of sigmas, not an array of 3/],
    [{ sampler: 'DPM++ 2M' }, RangeError, /Did you mean 'dpmpp_2m'/],
    [new Float32Array(4), TypeError, /an options object, not an instance of Float32Array/],
    [{ steps: 2.5 }, RangeError, /whole number/],
    [{ steps: NaN }, TypeError, /number/],
    [{ steps: '20' }, TypeError, /'20'/],
    [{ width: 500 }, RangeError, /448 or 512|448 and 512/],
    [{ height: 1e9 }, RangeError, /between/],
    [{ count: 0 }, RangeError, /between 1/],
    [{ prompt: 7 }, TypeError, /string/],
    [{ guidanceScale: -1 }, RangeError, /between 0/],
    [{ guidanceScale: Infinity }, RangeError, /between 0/],
    [{ guidanceInterval: 0.5 }, TypeError, /two fractions/],
    [{ guidanceInterval: [0, 0.5, 1] }, TypeError, /two fractions/],
    [{ guidanceInterval: [0, 2] }, RangeError, /guidanceInterval\[1\]/],
    [{ guidanceInterval: [0.6, 0.2] }, RangeError, /end before it starts/],
    [{ deepCache: 3 }, TypeError, /deepCache/],
    [{ deepCache: {} }, TypeError, /deepCache\.interval/],
    [{ deepCache: { interval: 1 } }, RangeError, /deepCache\.interval/],
    [{ deepCache: { interval: 3, branch: -1 } }, RangeError, /deepCache\.branch/],
    [{ deepCache: { interval: 3, depth: 1 } }, TypeError, /depth/],
    [{ eta: 2 }, RangeError, /between 0 and 1/],
    [{ sampler: 'dpmpp2m' }, RangeError, /Did you mean 'dpmpp_2m'/],
    [{ sampler: 'Euler a' }, RangeError, /Did you mean 'euler_a'/],
    [{ sampler: 'Euler Ancestral' }, RangeError, /Did you mean 'euler_a'/],
    [{ schedule: 'caras' }, RangeError, /Did you mean 'karras'/],
    [{ schedule: 'custom' }, RangeError, /for a custom schedule pass a Float32Array/],
    [{ rng: 'cuda' }, RangeError, /philox/],
    [{ strength: 0.5 }, TypeError, /needs image/],
    [{ image: 'x.png', strength: 1.5 }, RangeError, /strength/],
    [{ clipSkip: 0 }, RangeError, /clipSkip/],
    [{ signal: {} }, TypeError, /AbortSignal/],
    [{ onProgress: 1 }, TypeError, /function/],
    [{ preview: {} }, TypeError, /onPreview is missing/],
    [{ preview: { onPreview() {}, method: 'latent' } }, RangeError, /linear, taesd, vae/],
    [{ preview: { onPreview() {}, evry: 2 } }, TypeError, /Did you mean 'every'/],
    [{ extra: { s_churn: {} } }, TypeError, /extra\.s_churn/],
    ['a cat', TypeError, /options object/],
    [null, TypeError, /options object/],
  ])('%p is refused', (options, type, message) => {
    const error = rejection(() => generate(options))
    expect(error).toBeInstanceOf(type)
    expect(error.code).toBe('ERR_INVALID_ARG')
    expect(error.message).toMatch(message)
  })

  test.each([
    ['negative_prompt', 'negativePrompt'],
    ['num_inference_steps', 'steps'],
    ['cfg_scale', 'guidanceScale'],
    ['guidance_scale', 'guidanceScale'],
    ['promt', 'prompt'],
    ['abortSignal', 'signal'],
  ])('unknown option %s suggests %s', (given, wanted) => {
    const error = rejection(() => generate({ [given]: 1 }))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toContain(`Did you mean '${wanted}'`)
  })

  test.each(['classId', 'boxes', 'semanticMap', 'noiseLevel'])('%s names what this model takes', (option) => {
    const error = rejection(() => generate({ [option]: 1 }))
    expect(error).toMatchObject({ code: 'ERR_INVALID_ARG' })
    expect(error.message).toMatch(/Stable Diffusion 1\.x.*takes prompt/)
  })

  test('undefined is treated as omitted', () => {
    expect(generate({ steps: undefined, classId: undefined, sampler: undefined }).sampling.request.steps).toBe(50)
  })

  test('the final 0 of a custom schedule may be omitted', () => {
    expect(generate({ schedule: Float32Array.of(14.5, 5, 1) }).sampling.request).toMatchObject({ steps: 3, sigmas: [14.5, 5, 1] })
  })

  test('a custom schedule sets the number of steps', () => {
    const sigmas = Float32Array.of(14.5, 5, 1, 0)
    const { sampling } = generate({ schedule: sigmas })
    expect(sampling.request).toMatchObject({ steps: 3, sigmas: [14.5, 5, 1, 0] })
    expect(sampling.request).not.toHaveProperty('schedule')
    expect(sampling.values.schedule).toEqual(sigmas)
    expect(sampling.values.schedule).not.toBe(sigmas)
  })

  test.each([
    [Float32Array.of(), /at least one/],
    [Float32Array.of(0), /at least one/],
    [Float32Array.of(1, 2, 0), /must descend/],
    [Float32Array.of(1, NaN, 0), /finite/],
    [Float32Array.of(1, -1), /not negative/],
  ])('schedule %p is refused', (schedule, message) => {
    expect(rejection(() => generate({ schedule })).message).toMatch(message)
  })

  test('steps that contradict a custom schedule are rejected', () => {
    expect(rejection(() => generate({ schedule: Float32Array.of(3, 1, 0), steps: 20 })).message).toMatch(/2 steps/)
  })
})

describe('load options', () => {
  test('defaults', () => {
    expect(load(undefined).request).toEqual({ device: 'auto', threads: 0, precision: 'fast', dtype: {}, memory: { mode: 'auto' } })
  })

  test('all options', () => {
    const { request } = load({
      device: 'cuda:1',
      dtype: { unet: 'q8_0', vae: 'f16' },
      precision: 'exact',
      memory: { mode: 'low', maxBytes: 1e9, vaeTiling: { tileSize: 64 } },
      threads: 4,
      ema: true,
    })
    expect(request).toEqual({
      device: 'cuda:1',
      threads: 4,
      precision: 'exact',
      dtype: { unet: 'q8_0', vae: 'f16' },
      memory: { mode: 'low', maxBytes: 1e9, vaeTiling: true, vaeTileSize: 64 },
      ema: true,
    })
  })

  test('int8 and exact exclude each other', () => {
    for (const dtype of ['int8', { vae: 'int8' }])
      expect(rejection(() => load({ precision: 'exact', dtype }))).toMatchObject({
        code: 'ERR_INVALID_ARG',
        message: expect.stringMatching(/remove one of them/),
      })
    expect(load({ precision: 'fast', dtype: 'int8' }).request.dtype).toEqual({ unet: 'int8' })
  })

  test('int8 applies to the U-Net, and to the first stage only by name', () => {
    expect(load({ dtype: 'int8' }).request.dtype).toEqual({ unet: 'int8' })
    expect(load({ dtype: { unet: 'int8', vae: 'int8', textEncoder: 'f16' } }).request.dtype).toEqual({
      unet: 'int8',
      vae: 'int8',
      textEncoder: 'f16',
    })
  })

  test.each([
    [{ device: 'gpu' }, /cuda/],
    [{ device: 'cuda:x' }, /cuda/],
    [{ dtype: 'i8' }, /q8_0/],
    [{ dtype: { textEncoder: 'int8' } }, /q8_0/],
    [{ dtype: { clip: 'f16' } }, /unet/],
    [{ precision: 'half' }, /exact/],
    [{ memory: 'tiny' }, /auto/],
    [{ memory: { maxBytes: 0 } }, /between 1/],
    [{ threads: 0 }, /between 1/],
    [{ ema: 1 }, /true or false/],
    [{ spec: [] }, /spec/],
    [{ quantization: 'q8' }, /Did you mean 'dtype'/],
  ])('%p is refused', (options, message) => {
    const error = rejection(() => load(options))
    expect(error.code).toBe('ERR_INVALID_ARG')
    expect(error.message).toMatch(message)
  })
})

test('unrelated names get no suggestion', () => {
  expect(nearestName('zzzzzzzz', ['steps', 'prompt'])).toBeUndefined()
  expect(nearestName('step', ['steps', 'strength'])).toBe('steps')
})
