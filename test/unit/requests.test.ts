/** What crosses to the engine for each kind of model, and what comes back: on an engine that only listens. */
import { encodeCondition, encodeQuery, loss } from '../../lib/api/encode-condition'
import { generate, type GenerateContext } from '../../lib/api/generate'
import { Turns } from '../../lib/api/turns'
import { RawImage } from '../../lib/image/raw-image'
import { labelsOf } from '../../lib/labels/labels'
import type { NativeInputArrays, NativeJob } from '../../lib/native/contract'
import type { PipelineTokenizer } from '../../lib/text/tokenizer'
import type { AnyGenerateOptions, PipelineInfo } from '../../lib/types'
import { infoOf, rdmTextInfo, textInpaintInfo, upscalerInfo } from '../helpers/infos'
import { pngFile, type PngSpec } from '../helpers/png-file'

interface Call {
  name: string
  request: Record<string, unknown>
  arrays: NativeInputArrays & { latents?: Float32Array }
}

const done = <T>(value: T): NativeJob<T> => ({ promise: Promise.resolve(value), cancel: () => undefined })
const words = (text: string) => ({ chunks: [{ ids: [...text].map((c) => c.charCodeAt(0)), weights: [] }], text })

/** A pipeline whose engine notes its calls. */
function listener(info: PipelineInfo): { context: GenerateContext; calls: Call[] } {
  const calls: Call[] = []
  const note = (name: string, request: string, arrays: Call['arrays']) =>
    calls.push({ name, request: JSON.parse(request) as Call['request'], arrays })
  const encoded = {
    tokens: 2,
    dim: 4,
    truncated: false,
    concatShape: null,
    classLabel: -1,
    vectorDim: 0,
    read: (into: Float32Array) => into.set([1, 2, 3, 4]),
    dispose: () => undefined,
  }
  const native = {
    generate(request: string, arrays: Call['arrays']) {
      note('generate', request, arrays)
      return done({ images: [], summary: JSON.stringify({ adapters: [], eta: 0, timings: {} }) })
    },
    encodeCondition(request: string, arrays: Call['arrays']) {
      note('encodeCondition', request, arrays)
      return done(encoded)
    },
    loss(request: string, _image: Float32Array, arrays: Call['arrays']) {
      note('loss', request, arrays)
      return done({ losses: (JSON.parse(request) as { timesteps: number[] }).timesteps.map((t) => t / 1000) })
    },
  }
  const tokenizer = {
    request: words,
    plain: words,
    pair: (prompt: string, negative: string) => [words(prompt), words(negative)],
  }
  const context = {
    native,
    info,
    tokenizer: async () => tokenizer as unknown as PipelineTokenizer,
    encodeQuery: async () => Float32Array.of(9, 9, 9, 9),
    modelName: 'test',
    loras: [],
    settleLoras: () => Promise.resolve([]),
    lorasChanged: () => false,
    turns: new Turns(),
    tiny: { vae: [], previewVae: [] },
    vocabulary: { tokenizer: async () => tokenizer as unknown as PipelineTokenizer, reports: async () => [] },
    loraDirectory: undefined,
  }
  return { context: context as unknown as GenerateContext, calls }
}

async function requestOf(info: PipelineInfo, options: AnyGenerateOptions): Promise<Call & { options: unknown }> {
  const { context, calls } = listener(info)
  const result = await generate(context, { seed: 1, ...options })
  expect(calls.map(({ name }) => name)).toEqual(['generate'])
  return { ...calls[0]!, options: result.options }
}

const grey = (width: number, height: number, value = 0) =>
  new RawImage({ data: new Uint8Array(width * height).fill(value), width, height, channels: 1 })
const picture = (width: number, height: number) => new RawImage({ data: new Uint8Array(width * height * 3).fill(255), width, height, channels: 3 })

describe('requests', () => {
  test('text: both prompts', async () => {
    const { request } = await requestOf(infoOf('text'), { prompt: 'a', negativePrompt: 'b' })
    expect(request).toMatchObject({ prompt: words('a'), negative: words('b'), width: 256, height: 256, count: 1, seed: '1' })
  })

  test('text: an empty negative prompt is marked, and inputs of a refiner', async () => {
    const plain = await requestOf(infoOf('text'), { prompt: 'a' })
    expect(plain.request).toMatchObject({ negative: words(''), emptyNegative: true })
    expect(plain.request).not.toHaveProperty('refinerSwitchAt')
    const info = infoOf('text', { refiner: { name: 'SDXL refiner' }, condition: { sizes: 'base' } })
    expect((await requestOf(info, { prompt: 'a', negativePrompt: 'b' })).request).not.toHaveProperty('emptyNegative')
    const sizes = { target: { width: 8, height: 16 }, aestheticScore: 7 }
    const { request, options } = await requestOf(info, { prompt: 'a', refinerSwitchAt: 0.6, sizes })
    expect(request).toMatchObject({ refinerSwitchAt: 0.6, sizes: { target: [16, 8], aestheticScore: 7 } })
    expect(options).toMatchObject({ refinerSwitchAt: 0.6, sizes })
    expect((await requestOf(info, { prompt: 'a' })).options).toMatchObject({ refinerSwitchAt: 0.8 })
  })

  test('text: sides of the size conditioning are positive, what is cropped off is not negative', async () => {
    const info = infoOf('text', { condition: { sizes: 'base' } })
    const refusal = (sizes: unknown) => requestOf(info, { prompt: 'a', sizes } as never)
    for (const name of ['original', 'target']) {
      for (const side of ['width', 'height']) {
        for (const value of [0, -1, 0.5, 2 ** 20 + 1, NaN, Infinity]) {
          const wrong = refusal({ [name]: { width: 8, height: 8, [side]: value } })
          await expect(wrong).rejects.toThrow(
            expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringContaining(`${name}.${side}`) }),
          )
        }
      }
    }
    for (const side of ['top', 'left'])
      await expect(refusal({ crop: { top: 0, left: 0, [side]: -1 } })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    const least = { original: { width: 1, height: 1 }, target: { width: 1, height: 1 }, crop: { top: 0, left: 0 } }
    expect((await requestOf(info, { prompt: 'a', sizes: least })).request).toMatchObject({
      sizes: { original: [1, 1], target: [1, 1], crop: [0, 0] },
    })
  })

  test('class: one window with the class number, no negative', async () => {
    const { request, options } = await requestOf(infoOf('class'), { classId: 'tench', width: 64, height: 32 })
    expect(request.prompt).toEqual({ chunks: [{ ids: [0], weights: [1] }], emphasis: 'original', clipSkip: 0, truncated: false })
    expect(request).not.toHaveProperty('negative')
    expect(request).toMatchObject({ width: 64, height: 32, guidanceScale: 3 })
    expect(options).toMatchObject({ classId: 0, guidanceScale: 3 })
  })

  test('unconditional: nothing', async () => {
    const { request, arrays } = await requestOf(infoOf('unconditional'), {})
    expect(request).not.toHaveProperty('prompt')
    expect(arrays).toEqual({})
    expect(request.guidanceScale).toBe(1)
  })

  test('layout: 92 tokens', async () => {
    const { request } = await requestOf(infoOf('layout'), { boxes: [{ label: 'cat', x: 0, y: 0, width: 1, height: 1, groupOf: true }] })
    const [{ ids }] = (request.prompt as { chunks: [{ ids: number[] }] }).chunks
    const cat = labelsOf('layout', 340)!.names.indexOf('Cat')
    expect(cat).toBeGreaterThan(0)
    expect(ids).toHaveLength(92)
    expect(ids.slice(0, 4)).toEqual([340 + cat, 0, 8099, 8191])
    expect(ids.slice(-2)).toEqual([0, 8099])
  })

  test('semantic: labels, and the size of the map', async () => {
    const data = Uint16Array.from({ length: 32 * 16 }, (_, i) => i % 182)
    const { request, arrays, options } = await requestOf(infoOf('semantic'), { semanticMap: { data, width: 32, height: 16 } })
    expect(request).toMatchObject({ labelsShape: [16, 32], width: 32, height: 16 })
    expect(arrays.labels).toEqual(Int32Array.from(data))
    expect(options).toMatchObject({ width: 32, height: 16, semanticMap: { data } })
  })

  test('semantic: a start image takes the size of the map', async () => {
    const { request, arrays } = await requestOf(infoOf('semantic'), { semanticMap: grey(32, 16), image: picture(50, 50), strength: 0.5 })
    expect(request).toMatchObject({ imageShape: [1, 3, 16, 32], labelsShape: [16, 32], strength: 0.5 })
    expect(arrays.image).toHaveLength(3 * 16 * 32)
  })

  test('depth: the map unchanged, its size rounded to multiples unless a start image or the call sets another', async () => {
    const info = infoOf('depth')
    const numbers = { data: Float32Array.from({ length: 35 * 50 }, (_, i) => i / 7), width: 35, height: 50 }
    const { request, arrays, options } = await requestOf(info, { prompt: 'a', depthMap: numbers })
    expect(request).toMatchObject({ depthShape: [1, 1, 50, 35], width: 32, height: 48 })
    expect(arrays.depth).toEqual(numbers.data)
    expect(arrays.depth).not.toBe(numbers.data)
    expect(options).toMatchObject({ width: 32, height: 48, depthMap: numbers })
    expect((await requestOf(info, { prompt: 'a', depthMap: numbers, width: 64, height: 16 })).request).toMatchObject({ width: 64, height: 16 })
    expect(request).not.toHaveProperty('depthArea')
    // A masked image keeps its size and is padded; the map covers the image, not the padding.
    const masked = await requestOf(info, { prompt: 'a', depthMap: numbers, image: picture(40, 20), mask: picture(40, 20), strength: 0.5 })
    expect(masked.request).toMatchObject({ depthShape: [1, 1, 50, 35], width: 48, height: 32, depthArea: [40, 20] })
    const started = await requestOf(info, { prompt: 'a', depthMap: numbers, image: picture(40, 20), strength: 0.5 })
    expect(started.request).toMatchObject({ depthShape: [1, 1, 50, 35], imageShape: [1, 3, 16, 32], width: 32, height: 16, strength: 0.5 })
  })

  test('depth: images by lightness, grey files with full bit depth', async () => {
    const mapOf = async (depthMap: AnyGenerateOptions['depthMap']) => [
      ...(await requestOf(infoOf('depth', { sizeMultiple: 1 }), { prompt: 'a', depthMap: depthMap! })).arrays.depth!,
    ]
    expect(await mapOf({ data: Uint16Array.of(1, 65535), width: 2, height: 1 })).toEqual([1, 65535])
    expect(await mapOf(grey(2, 1, 9))).toEqual([9, 9])
    expect(await mapOf(new RawImage({ data: Uint8Array.of(255, 0, 0, 0, 255, 0), width: 2, height: 1, channels: 3 }))).toEqual([76, 150])
    const file = (colourType: number, bitDepth: number, samples: number[], palette?: number[]) =>
      pngFile({ width: 2, height: 1, colourType, bitDepth, sample: (x) => samples[x]!, ...(palette ? { palette } : {}) })
    expect(await mapOf(file(0, 16, [258, 65535]))).toEqual([258, 65535])
    // Palettes are colours here, not labels.
    expect(await mapOf(file(3, 8, [1, 0], [0, 0, 0, 255, 255, 255]))).toEqual([255, 0])
  })

  test('superres: four times the size', async () => {
    const { request, arrays, options } = await requestOf(infoOf('superres'), { image: picture(20, 9) })
    expect(request).toMatchObject({ imageShape: [1, 3, 9, 20], width: 80, height: 36 })
    expect(request).not.toHaveProperty('strength')
    expect(request).not.toHaveProperty('noiseLevel')
    expect(arrays.image!.every((value) => value === 1)).toBe(true)
    expect(options).toMatchObject({ width: 80, height: 36 })
    expect(options).not.toHaveProperty('strength')
  })

  test('x4 upscaler: noise level and prompts', async () => {
    const { request } = await requestOf(upscalerInfo, { image: picture(16, 16), prompt: 'a', noiseLevel: 3 })
    expect(request).toMatchObject({ noiseLevel: 3, prompt: words('a'), negative: words('') })
  })

  test('inpaint: the mask as zeros and ones', async () => {
    const mask = { data: Float32Array.from({ length: 15 }, (_, i) => i / 14), width: 5, height: 3 }
    const { request, arrays } = await requestOf(infoOf('inpaint'), { image: picture(5, 3), mask })
    expect(request).toMatchObject({ imageShape: [1, 3, 3, 5], maskShape: [1, 1, 3, 5], width: 5, height: 3 })
    expect([...arrays.mask!]).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])
  })

  test('image to image: the mask has the size of the generated image', async () => {
    const mask = { data: Uint8Array.from({ length: 32 * 16 }, (_, i) => (i % 32 < 16 ? 255 : 0)), width: 32, height: 16 }
    const same = await requestOf(infoOf('text'), { prompt: 'a', image: picture(32, 16), mask, strength: 1 })
    expect(same.request).toMatchObject({ imageShape: [1, 3, 16, 32], maskShape: [1, 1, 16, 32], strength: 1 })
    expect(same.arrays.mask).toEqual(Float32Array.from(mask.data, (byte) => byte / 255))
    expect(same.options).toMatchObject({ mask })
    const larger = await requestOf(infoOf('text'), { prompt: 'a', image: picture(32, 16), mask, width: 64, height: 32 })
    expect(larger.request).toMatchObject({ imageShape: [1, 3, 32, 64], maskShape: [1, 1, 32, 64] })
    expect(larger.arrays.mask).toEqual(Float32Array.from({ length: 64 * 32 }, (_, i) => (i % 64 < 32 ? 1 : 0)))
  })

  test('image to image with a mask: an image whose size is not a multiple is padded, and the result has its size', async () => {
    const data = Uint8Array.from({ length: 33 * 30 }, (_, i) => (i % 33) * 7)
    const image = new RawImage({ data, width: 33, height: 30, channels: 1 })
    const mask = grey(33, 30, 255)
    const { request, arrays, options } = await requestOf(infoOf('text'), { prompt: 'a', image, mask })
    expect(request).toMatchObject({ imageShape: [1, 3, 32, 48], maskShape: [1, 1, 32, 48], width: 48, height: 32 })
    expect(options).toMatchObject({ width: 33, height: 30 })
    const at = (x: number, y: number) => arrays.image![y * 48 + x]
    expect([at(0, 0), at(32, 29), at(47, 29), at(47, 31), at(5, 31)]).toEqual([0, 224, 224, 224, 35].map((byte) => Math.fround((byte / 255) * 2 - 1)))
    expect([...arrays.mask!]).toEqual(Array.from({ length: 48 * 32 }, (_, i) => (i % 48 < 33 && i < 48 * 30 ? 1 : 0)))
    const named = await requestOf(infoOf('text'), { prompt: 'a', image, mask, width: 33 })
    expect(named.request).toEqual(request)
    const other = await requestOf(infoOf('text'), { prompt: 'a', image, mask, width: 64 })
    expect(other.request).toMatchObject({ imageShape: [1, 3, 16, 64], maskShape: [1, 1, 16, 64] })
    const plain = await requestOf(infoOf('text'), { prompt: 'a', image })
    expect(plain.request).toMatchObject({ imageShape: [1, 3, 16, 32] })
  })

  test('rdm: embeddings, row by row', async () => {
    const neighbours = [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8)]
    const { request, arrays } = await requestOf(rdmTextInfo, { prompt: 'a', neighbours })
    expect(request).toMatchObject({ prompt: words('a'), embeddingsShape: [2, 4] })
    expect(request).not.toHaveProperty('negative')
    expect([...arrays.embeddings!]).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  test('rdm: given search results, and a search by the prompt', async () => {
    const found = [{ index: 3, score: 0.5, embedding: Float32Array.of(1, 2, 3, 4) }]
    expect([...(await requestOf(infoOf('rdm'), { neighbours: found })).arrays.embeddings!]).toEqual([1, 2, 3, 4])
    const search = jest.fn(async (query: Float32Array, k: number) => [{ embedding: query.map((x) => x + k) }])
    const { arrays, options } = await requestOf(rdmTextInfo, { prompt: 'a', neighbours: { database: { dim: 4, search } } })
    expect(search).toHaveBeenCalledWith(Float32Array.of(9, 9, 9, 9), 10, undefined)
    expect([...arrays.embeddings!]).toEqual([19, 19, 19, 19])
    expect(options).toMatchObject({ neighbours: { k: 10 } })
  })

  test('rdm: the signal aborts the search and the encoding of its prompt', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const { context, calls } = listener(rdmTextInfo)
    const encodeQuery = jest.fn(async () => Float32Array.of(1, 2, 3, 4))
    const search = jest.fn(async (query: Float32Array) => {
      controller.abort(reason)
      return [{ embedding: query }]
    })
    const inputs = { prompt: 'a', neighbours: { database: { dim: 4, search } } }
    const { signal } = controller
    await expect(generate({ ...context, encodeQuery }, { ...inputs, signal })).rejects.toBe(reason)
    expect(encodeQuery).toHaveBeenCalledWith('a', signal)
    expect(search).toHaveBeenCalledWith(Float32Array.of(1, 2, 3, 4), 10, { signal })
    const again = new AbortController()
    const abort = { dim: 4, search: async (query: Float32Array) => (again.abort(reason), [{ embedding: query }]) }
    await expect(encodeCondition(context, { ...inputs, neighbours: { database: abort } }, { signal: again.signal })).rejects.toBe(reason)
    expect(calls).toEqual([])
  })

  test('rdm: embedding a prompt can be aborted', async () => {
    const cancel = jest.fn()
    const native = { encodeCondition: () => ({ promise: new Promise(() => undefined), cancel }) }
    const { tokenizer } = listener(rdmTextInfo).context
    const controller = new AbortController()
    const query = encodeQuery({ native: native as never, tokenizer }, 'a', controller.signal)
    await new Promise((resolve) => setImmediate(resolve)) // the prompt is tokenized first
    controller.abort(new Error('enough'))
    void query.catch(() => undefined)
    expect(cancel).toHaveBeenCalled()
    await expect(encodeQuery({ native: native as never, tokenizer }, 'a', AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  })

  test('the resolved options reproduce the request', async () => {
    for (const [info, options] of [
      [infoOf('text'), { prompt: 'a', image: picture(32, 32), strength: 0.3 }],
      [infoOf('class'), { classId: 2, guidanceScale: 1.5 }],
      [infoOf('unconditional'), { eta: 1 }],
      [infoOf('unconditional'), { timesteps: [99, 3], dialect: 'diffusers', extra: { sigmas: [1, 2], order: 3 } }],
      [infoOf('layout'), { boxes: [{ label: 'Dog', x: 0, y: 0, width: 1, height: 1 }] }],
      [infoOf('semantic'), { semanticMap: grey(16, 16, 7) }],
      [upscalerInfo, { image: picture(16, 16), noiseLevel: 2 }],
      [textInpaintInfo, { image: picture(16, 16), mask: grey(16, 16, 255), prompt: 'b' }],
      [infoOf('rdm'), { neighbours: [new Float32Array(4).fill(1)] }],
    ] as [PipelineInfo, AnyGenerateOptions][]) {
      const first = await requestOf(info, options)
      const again = await requestOf(info, first.options as AnyGenerateOptions)
      // The schedule is named now, where it was left to the sampler.
      const { schedule, ...request } = again.request
      expect(schedule).toBe('timesteps' in options ? undefined : 'normal')
      expect({ ...again, request }).toEqual({ ...first, request: expect.objectContaining(request) })
    }
  })
})

describe('images of the wrong size', () => {
  test.each<[PipelineInfo, AnyGenerateOptions, RegExp]>([
    [infoOf('semantic'), { semanticMap: grey(17, 16) }, /semanticMap is 17x16; sides must be multiples of 16 .* not resized/],
    [infoOf('semantic'), { semanticMap: grey(16, 16, 182) }, /label 182 at \(0, 0\); .* 0 to 181/],
    [infoOf('semantic'), { semanticMap: { data: Int32Array.of(0, -1), width: 2, height: 1 } }, /label -1 at \(1, 0\)/],
    [infoOf('semantic'), { semanticMap: { data: new Uint8Array(3), width: 2, height: 1 } }, /3 values; 2x1 pixels are 2/],
    [infoOf('semantic'), { semanticMap: { data: new Float32Array(2), width: 2, height: 1 } as never }, /Uint8Array, Uint16Array or Int32Array/],
    [infoOf('semantic'), { semanticMap: picture(16, 16) }, /3 channels; a label map must be greyscale/],
    [infoOf('semantic'), { semanticMap: grey(16, 16), width: 32 }, /follow the label map .* 16x16, not 32x16/],
    [infoOf('superres'), { image: picture(16, 7) }, /image is 16x7, too small for one tile .* at least 8/],
    [infoOf('superres'), { image: { data: new Float32Array(3 * 64).fill(NaN, 7), shape: [3, 8, 8] } }, /image\.data\[7\] is NaN; .* finite/],
    [infoOf('text'), { image: { data: new Float32Array(3 * 256).fill(-Infinity), shape: [3, 16, 16] } }, /image\.data\[0\] is -Infinity/],
    [infoOf('superres'), { image: picture(16, 16), width: 32 }, /follow the image .* 64x64, not 32x64/],
    [infoOf('inpaint'), { image: picture(16, 16), mask: grey(16, 15) }, /mask is 16x15, but image is 16x16; they must have the same size/],
    [infoOf('text'), { image: picture(16, 16), mask: grey(16, 15) }, /mask is 16x15, but image is 16x16; they must have the same size/],
    [infoOf('text'), { image: picture(33, 30), mask: grey(33, 30), width: 34 }, /width must be a multiple of 16 for this model, not 34/],
    [infoOf('text'), { mask: grey(16, 16) }, /mask needs image: the image to inpaint/],
    [
      infoOf('inpaint'),
      { image: picture(2, 1), mask: { data: Float32Array.of(0, 1.5), width: 2, height: 1 } },
      /1\.5 at \(1, 0\) is not between 0 and 1/,
    ],
    [infoOf('inpaint'), { image: picture(2, 1), mask: { data: new Uint8Array(3), width: 2, height: 1 } }, /3 values/],
    [infoOf('inpaint'), { image: picture(2, 1), mask: { data: [0, 1], width: 2, height: 1 } as never }, /Uint8Array or a Float32Array/],
  ])('%#', async (info, options, message) => {
    await expect(requestOf(info, options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })
})

describe('masks', () => {
  const maskOf = async (mask: unknown, width: number, height: number) => [
    ...(await requestOf(infoOf('inpaint'), { image: picture(width, height), mask: mask as never })).arrays.mask!,
  ]

  test('images are thresholded by lightness at 128; transparency is ignored', async () => {
    expect(await maskOf(new RawImage({ data: Uint8Array.of(127, 128, 255, 0), width: 4, height: 1, channels: 1 }), 4, 1)).toEqual([0, 1, 1, 0])
    const rgba = Uint8Array.of(255, 255, 255, 0, 0, 0, 0, 255, 0, 219, 0, 9, 0, 217, 0, 9)
    expect(await maskOf(new RawImage({ data: rgba, width: 4, height: 1, channels: 4 }), 4, 1)).toEqual([1, 0, 1, 0])
  })

  test('bytes are fractions of 255, or of 1 if all are 0 or 1', async () => {
    expect(await maskOf({ data: Uint8Array.of(0, 127, 128, 255), width: 4, height: 1 }, 4, 1)).toEqual([0, 0, 1, 1])
    expect(await maskOf({ data: Uint8Array.of(0, 1, 1, 0), width: 4, height: 1 }, 4, 1)).toEqual([0, 1, 1, 0])
  })
})

describe('label maps as PNG', () => {
  const mapOf = async (bytes: Uint8Array) => [...(await requestOf(infoOf('semantic', { sizeMultiple: 1 }), { semanticMap: bytes })).arrays.labels!]
  const png = (bitDepth: number, colourType: number, samples: number[], more: Partial<PngSpec> = {}) =>
    pngFile({ width: 4, height: 1, bitDepth, colourType, sample: (x) => samples[x]!, ...more })
  const palette = [9, 9, 9, 9, 9, 9, 1, 2, 3, 255, 0, 0]

  test.each([1, 2, 4, 8, 16])('%d-bit grey gives its values, interlaced or not', async (bitDepth) => {
    const samples = [0, 1, 181 % 2 ** bitDepth, (2 ** bitDepth - 1) % 182]
    expect(await mapOf(png(bitDepth, 0, samples))).toEqual(samples)
    expect(await mapOf(png(bitDepth, 0, samples, { interlaced: true, transparency: [0, 1] }))).toEqual(samples)
  })

  test('palettes give their indices, independent of the colours', async () => {
    expect(await mapOf(png(8, 3, [0, 1, 2, 3], { palette }))).toEqual([0, 1, 2, 3])
    expect(await mapOf(png(2, 3, [3, 2, 1, 0], { palette, transparency: [0, 0] }))).toEqual([3, 2, 1, 0])
  })

  test('colour images and files other than PNG are rejected', async () => {
    await expect(mapOf(png(8, 2, [0, 0, 0, 0]))).rejects.toMatchObject({
      code: 'ERR_IMAGE_FORMAT',
      message: expect.stringMatching(/several numbers per pixel/),
    })
    await expect(mapOf(Uint8Array.of(0xff, 0xd8, 0xff, 0))).rejects.toMatchObject({
      code: 'ERR_IMAGE_FORMAT',
      message: expect.stringMatching(/not a PNG/),
    })
  })
})

describe('encodeCondition', () => {
  const encode = async (info: PipelineInfo, inputs: object, options?: object) => {
    const { context, calls } = listener(info)
    const result = await encodeCondition(context, inputs, options)
    return { ...calls[0]!, result }
  }

  test('the inputs of the kind', async () => {
    expect((await encode(infoOf('text'), { prompt: 'a' })).request).toMatchObject({ prompt: words('a') })
    expect((await encode(upscalerInfo, { image: picture(16, 16) }, { seed: 5, rng: 'mt19937' })).request).toMatchObject({
      imageShape: [1, 3, 16, 16],
      noiseLevel: 20,
      seed: '5',
      rng: 'mt19937',
    })
  })

  test('unconditional: the empty prompt, the null class', async () => {
    expect((await encode(infoOf('text'), { prompt: 'a' }, { unconditional: true })).request).toMatchObject({ prompt: words('') })
    expect((await encode(infoOf('class'), { classId: 1 }, { unconditional: true })).request).toMatchObject({ prompt: { chunks: [{ ids: [3] }] } })
    const kept = await encode(textInpaintInfo, { image: picture(4, 4), mask: grey(4, 4), prompt: 'a' }, { unconditional: true })
    expect(kept.request).toMatchObject({ prompt: words(''), imageShape: [1, 3, 4, 4] })
  })

  test('depth: the size of the intended image', async () => {
    const depthMap = { data: new Float32Array(35 * 50), width: 35, height: 50 }
    expect((await encode(infoOf('depth'), { depthMap })).request).toMatchObject({ depthShape: [1, 1, 50, 35], width: 32, height: 48 })
    expect((await encode(infoOf('depth'), { depthMap }, { width: 64 })).request).toMatchObject({ width: 64, height: 48 })
  })

  test.each<[PipelineInfo, object, object, RegExp]>([
    [infoOf('depth'), { depthMap: grey(16, 16) }, { height: 20 }, /height must be a multiple of 16/],
    [infoOf('text'), { prompt: 'a' }, { width: 64 }, /option 'width' is for depth models/],
    [infoOf('layout'), { boxes: [{ label: 1, x: 0, y: 0, width: 1, height: 1 }] }, { unconditional: true }, /without an unconditional input/],
    [infoOf('class'), { classId: 1 }, { unconditional: 1 }, /true or false/],
    [infoOf('text'), { prompt: 'a', image: 'x.png' }, {}, /option 'image' is for image to image/],
    [infoOf('text'), { prompt: 'a', steps: 3 }, {}, /unknown option 'steps'/],
    [infoOf('class'), { boxes: [] }, {}, /it takes classId$/],
    [infoOf('text'), { prompt: 'a' }, { minChunks: 0 }, /minChunks/],
  ])('%#', async (info, inputs, options, message) => {
    await expect(encode(info, inputs, options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) })
  })
})

describe('loss', () => {
  test('timesteps are spread evenly if not given', async () => {
    const { context, calls } = listener(infoOf('class'))
    const result = await loss(context, picture(16, 16), { classId: 1 }, { seed: 3 })
    expect(result).toMatchObject({ timesteps: [50, 150, 250, 350, 450, 550, 650, 750, 850, 950], seed: 3n })
    expect(result.losses).toBeInstanceOf(Float32Array)
    expect(result.mean).toBeCloseTo(0.5)
    expect(calls[0]!.request).toMatchObject({ imageShape: [1, 3, 16, 16], seed: '3', inputs: { prompt: { chunks: [{ ids: [1] }] }, seed: '3' } })
  })

  test.each<[PipelineInfo, object, object, RegExp]>([
    [infoOf('class'), { classId: 1 }, { timesteps: [1000] }, /timesteps\[0\] must be between 0 and 999/],
    [infoOf('class'), { classId: 1 }, { timesteps: [] }, /1 to 1000 numbers/],
    [infoOf('class'), { classId: 1 }, { timesteps: 5 }, /array of numbers/],
    [infoOf('class'), {}, {}, /classId is missing/],
    [infoOf('superres'), { image: picture(8, 8) }, {}, /image is 16x16, but the inputs are for 32x32/],
    [infoOf('class', { sizeMultiple: 32 }), { classId: 1 }, {}, /multiples of 32/],
  ])('%#', async (info, inputs, options, message) => {
    await expect(loss(listener(info).context, picture(16, 16), inputs, options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringMatching(message),
    })
  })
})
