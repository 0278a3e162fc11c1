/** CLIP's text embeddings and similarities through the public API, against transformers' CLIPModel and openai/CLIP. */
import { cosineSimilarity, DiffusionPipeline, RawImage } from '../../lib/index'
import { ClipTokenizer } from '../../lib/text/clip-tokenizer'
import { loadCase, loadExpected } from '../helpers/golden'
import { goldenModel, row, type GoldenModel } from '../helpers/model'

const exact = { device: 'cpu', precision: 'exact' } as const
const golden = loadCase('clip-openai')
const expected = loadExpected('clip-openai')
const windows = [0, 1].map((i) => (golden.inputs.ids!.value as number[] | number[][]).flat().slice(i * 77, (i + 1) * 77))

function difference(a: Float32Array, b: Float32Array): number {
  expect(a).toHaveLength(b.length)
  return a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0)
}

describe('a CLIP model on its own', () => {
  let clip: GoldenModel
  let pipe: DiffusionPipeline
  beforeAll(async () => {
    clip = goldenModel('clip-openai', 'hf')
    pipe = await DiffusionPipeline.load(clip.folder, exact)
  })
  afterAll(async () => {
    await pipe?.dispose()
    clip.remove()
  })

  test('embeds token ids as transformers does', async () => {
    for (const [i, tokenIds] of windows.entries()) {
      const embedding = await pipe.embedText({ tokenIds })
      expect(difference(embedding, row(expected.text_embeds!, i).data)).toBeLessThanOrEqual(golden.expected.text_embeds!.atol)
    }
  })

  test('embeds a prompt without emphasis, truncated to one window', async () => {
    const tokenizer = await ClipTokenizer.standard()
    const text = 'a cat (sleeping:1.5)'
    const tokenIds = [tokenizer.bosTokenId, ...(await tokenizer.encode(text)), tokenizer.eosTokenId]
    expect(difference(await pipe.embedText(text), await pipe.embedText({ tokenIds }))).toBeLessThan(1e-5)
    const words = Array.from({ length: 100 }, (_, i) => (i % 2 ? 'cat' : 'dog'))
    expect(await pipe.embedText(words.join(' '))).toEqual(await pipe.embedText(words.slice(0, 75).join(' ')))
  })

  test('embeds texts and images in one space', async () => {
    const picture = new RawImage({ data: Uint8Array.from({ length: 28 * 28 * 3 }, (_, i) => (i * 7) % 256), width: 28, height: 28, channels: 3 })
    const [text, image] = [await pipe.embedText('a cat'), await pipe.embedImage(picture)]
    expect(text).toHaveLength(image.length)
    expect(Math.abs(cosineSimilarity(text, image))).toBeLessThan(1)
  })

  test('rejects invalid prompts, aborted signals and several windows', async () => {
    const refused = { code: 'ERR_INVALID_ARG' }
    for (const prompt of [5, null, [], { ids: [] }, { tokenIds: [] }, { tokenIds: [...windows[0]!, ...windows[1]!] }, { tokenIds: [1, 2, 3] }])
      await expect(pipe.embedText(prompt as unknown as string)).rejects.toMatchObject(refused)
    await expect(pipe.embedText('a cat', { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
  })
})

test('similarities of texts and images', () => {
  const { text_embeds, image_embeds, similarity } = expected
  const cosines = [0, 1].flatMap((i) => [0, 1].map((j) => cosineSimilarity(row(text_embeds!, i).data, row(image_embeds!, j).data)))
  expect(difference(Float32Array.from(cosines), similarity!.data)).toBeLessThanOrEqual(golden.expected.similarity!.atol)
  const one = Float32Array.of(1, 2)
  expect(cosineSimilarity(one, Float32Array.of(-2, -4))).toBe(-1)
  for (const other of [Float32Array.of(1), Float32Array.of(0, 0), Float32Array.of(1, NaN), [1, 2], undefined])
    expect(() => cosineSimilarity(one, other as Float32Array)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' }))
})

test.each(['sdxl-base', 'sd1'])('%s: what its text encoder can do', async (name) => {
  const model = goldenModel(name, 'diffusers')
  try {
    await using pipe = await DiffusionPipeline.load(model.folder, exact)
    if (name === 'sd1') {
      await expect(pipe.embedText('a cat')).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_MODEL',
        message: expect.stringMatching(/text_projection/),
      })
    } else {
      // What SDXL pools is the embedding of its second text encoder.
      using encoded = await pipe.encodePrompt('a cat')
      const embedding = await pipe.embedText('a cat')
      expect(difference(embedding, (await encoded.readVector()).subarray(0, embedding.length))).toBeLessThan(1e-5)
    }
  } finally {
    model.remove()
  }
})
