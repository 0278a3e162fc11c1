/** Adapters through the public API: numbers of the references, prompts that name them, and what becomes of a pipeline that switches them. */
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { convert, DiffusionPipeline, estimateMemory, type LoadOptions } from '../../lib/index'
import { input, loadExpected, maxDifference, safetensorsBytes, type Tensor } from '../helpers/golden'
import { goldenModel, toConditioning, toLatents, type GoldenModel } from '../helpers/model'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const exact: LoadOptions = { precision: 'exact', device: 'cpu' }
const models: GoldenModel[] = []
afterEach(() => models.splice(0).forEach((model) => model.remove()))

function written(name: string, layout?: string): GoldenModel {
  const model = goldenModel(name, layout)
  models.push(model)
  return model
}

const loadSd1 = (options: LoadOptions = exact) => {
  const model = written('sd1')
  return DiffusionPipeline.load(model.file, { ...options, config: model.golden.config })
}

function expectClose({ golden }: GoldenModel, actual: ArrayLike<number>, expected: ArrayLike<number>, name: string): void {
  const difference = maxDifference(actual, expected)
  expect([name, difference <= golden.expected[name]!.atol ? 'within' : difference]).toEqual([name, 'within'])
}

async function predict(pipe: DiffusionPipeline, adapter: GoldenModel, context: { data: Float32Array; shape: number[] }): Promise<Float32Array> {
  const timestep = input(adapter.golden, 't').data[0]!
  const out = await pipe.predict(await toLatents(input(adapter.golden, 'x')), { timestep, conditioning: await toConditioning(context) })
  return await out.read()
}

test('a LoRA for text encoder and U-Net with kohya names', async () => {
  await using pipe = await loadSd1()
  const adapter = written('addon-lora-kohya', 'kohya')
  const expected = loadExpected('addon-lora-kohya')
  const [report] = await pipe.setLoras([{ path: adapter.file, weight: 0.8 }])
  expect(report).toMatchObject({ name: 'lora.safetensors', unmatched: [], skipped: [] })
  expect(report!.matched).toContain('model.diffusion_model.input_blocks.1.1.proj_in')
  const conditioning = await pipe.encodePrompt({ tokenIds: Array.from(input(adapter.golden, 'ids').data) })
  const context = { data: await conditioning.read(), shape: [1, 77, 32] }
  expectClose(adapter, context.data, expected.text_context!.data, 'text_context')
  expectClose(adapter, await predict(pipe, adapter, context), expected.eps!.data, 'eps')
})

// The numbers of a type, once in float32 and once as they lie in the file: what is left is the arithmetic's.
test.each(['f16', 'q8_0', 'q4_0', 'q4_k'] as const)('on weights in %s', async (type) => {
  const adapter = written('addon-lora-kohya', 'kohya')
  const context = loadExpected('addon-lora-kohya').text_context!
  const model = written('sd1')
  const file = path.join(model.folder, 'model.gguf')
  await convert(model.file, file, { type, config: model.golden.config })
  const run = async (options: LoadOptions) => {
    await using pipe = await DiffusionPipeline.load(file, { device: 'cpu', ...options })
    const { parts } = pipe.memoryUsage()
    const bare = await predict(pipe, adapter, context)
    const [report] = await pipe.setLoras([{ path: adapter.file, weight: 0.8 }])
    expect(report!.unmatched).toEqual([])
    // The model's own weights are neither copied nor converted.
    expect(pipe.memoryUsage().parts.unet! - parts.unet!).toBeLessThan(0.3 * parts.unet!)
    return { bare, adapted: await predict(pipe, adapter, context) }
  }
  const exactly = await run({ precision: 'exact' })
  const fast = await run({})
  expect(maxDifference(fast.adapted, exactly.adapted)).toBeLessThan(2 * maxDifference(fast.bare, exactly.bare) + 0.005)
  expect(maxDifference(exactly.adapted, exactly.bare)).toBeGreaterThan(0.1)
})

describe('images', () => {
  const settings = { prompt: 'a red square', width: 64, height: 64, steps: 2, seed: 1 }
  const pixels = async (pipe: DiffusionPipeline, options: object = {}) =>
    Buffer.from((await pipe.generate({ ...settings, ...options })).images[0]!.data)

  test('weights of 0, unset and per call', async () => {
    await using pipe = await loadSd1({ device: 'cpu' })
    const { file } = written('addon-lora-kohya', 'kohya')
    const bare = await pixels(pipe)
    await pipe.setLoras([{ path: file, weight: 0 }])
    expect(await pixels(pipe)).toEqual(bare)
    await pipe.setLoras([{ path: file }])
    const all = await pixels(pipe)
    expect(all).not.toEqual(bare)
    expect(await pixels(pipe, { loras: [] })).toEqual(bare)
    expect(await pixels(pipe)).toEqual(all)
    const text = await pixels(pipe, { loras: [{ path: file, weight: 0, textWeight: 1 }] })
    const unet = await pixels(pipe, { loras: [{ path: file, weight: 1, textWeight: 0 }] })
    expect(new Set([bare, all, text, unet].map((one) => one.toString('hex'))).size).toBe(4)
    await pipe.setLoras([])
    expect(await pixels(pipe)).toEqual(bare)
    expect(await pixels(pipe, { loras: [{ path: file }] })).toEqual(all)
    expect(await pixels(pipe)).toEqual(bare)
  })

  test('an image requested before they are set does not use them', async () => {
    await using pipe = await loadSd1({ device: 'cpu' })
    const { file } = written('addon-lora-kohya', 'kohya')
    const first = pixels(pipe) // its tokenizer is still to be read
    await Promise.all([first, pipe.setLoras([{ path: file }])])
    const all = await pixels(pipe)
    expect(await first).not.toEqual(all)
    expect(await first).toEqual(await pixels(pipe, { loras: [] }))
  })

  test('an image requested after they are set uses and names them, awaited or not', async () => {
    await using pipe = await loadSd1({ device: 'cpu' })
    const { file } = written('addon-lora-kohya', 'kohya')
    const set = [pipe.setLoras([{ path: `${file}.none` }]), pipe.setLoras([{ path: file, weight: 0.5 }])]
    const first = pipe.generate({ ...settings, prompt: 'a red square' })
    const later = pipe.setLoras([{ path: file, weight: 0.9 }])
    const second = pipe.generate({ ...settings, prompt: 'a red square' })
    expect((await Promise.allSettled(set)).map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
    await later
    for (const [result, weight] of [
      [await first, 0.5],
      [await second, 0.9],
    ] as const) {
      expect(result.options.loras).toEqual([{ path: file, weight, textWeight: weight }])
      expect(result.loras).toHaveLength(1)
      const again = await pipe.generate({ ...settings, prompt: 'a red square', loras: [{ path: file, weight }] })
      expect(Buffer.from(result.images[0]!.data)).toEqual(Buffer.from(again.images[0]!.data))
    }
  })

  test('aborting while they wait affects only that call', async () => {
    await using pipe = await loadSd1({ device: 'cpu' })
    const { file } = written('addon-lora-kohya', 'kohya')
    const running = pipe.generate({ ...settings, prompt: 'a red square', steps: 20 })
    const ended: string[] = []
    const note = (name: string) => () => ended.push(name)
    const first = pipe.setLoras([{ path: file, weight: 0.5 }]).finally(note('first'))
    const control = new AbortController()
    const second = pipe.setLoras([{ path: file, weight: 0.9 }], { signal: control.signal }).finally(note('second'))
    control.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    const result = await pipe.generate({ ...settings, prompt: 'a red square' })
    await Promise.all([running, first])
    expect(ended).toEqual(['second', 'first'])
    expect(result.options.loras).toEqual([{ path: file, weight: 0.5, textWeight: 0.5 }])
  })

  test('reports are not kept', async () => {
    await using pipe = await loadSd1({ device: 'cpu' })
    const { file } = written('addon-lora-kohya', 'kohya')
    const rounds = async (count: number) => {
      for (let i = 0; i < count; i++) await pipe.setLoras(i % 2 ? [{ path: file, weight: 0.5 }] : [])
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
      collectGarbage()
      return process.memoryUsage().heapUsed
    }
    const before = await rounds(20)
    // The 100 reports of 210 layers would take 2 MB.
    expect((await rounds(200)) - before).toBeLessThan(1e6)
  })

  test('the prompt can name them', async () => {
    const { file, folder } = written('addon-lora-kohya', 'kohya')
    mkdirSync(path.join(folder, 'styles'))
    copyFileSync(file, path.join(folder, 'styles', 'my style.safetensors'))
    const model = written('sd1')
    const load = (options: LoadOptions) => DiffusionPipeline.load(model.file, { device: 'cpu', config: model.golden.config, ...options })
    await using pipe = await load({ loraDirectory: folder })
    const named = await pipe.generate({ ...settings, prompt: 'a red square <lora:my style:0.5:0.9>' })
    const given = await pipe.generate({ ...settings, loras: [{ path: file, weight: 0.9, textWeight: 0.5 }] })
    expect(Buffer.from(named.images[0]!.data)).toEqual(Buffer.from(given.images[0]!.data))
    expect(named.warnings).toEqual([])
    expect(named.loras).toMatchObject([{ name: 'my style.safetensors', unmatched: [] }])
    expect(named.options).toMatchObject({ prompt: 'a red square', loras: [{ weight: 0.9, textWeight: 0.5 }] })
    const again = await pipe.generate(named.options)
    expect(Buffer.from(again.images[0]!.data)).toEqual(Buffer.from(named.images[0]!.data))
    await expect(pipe.generate({ ...settings, prompt: '<lora:my stile:1>' })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG',
      message: expect.stringContaining("Did you mean 'my style'?") as string,
    })
    await using without = await load({})
    const ignored = await without.generate({ ...settings, prompt: 'a red square <lora:my style:0.5>' })
    expect(ignored.warnings).toMatchObject([{ code: 'WARN_ADAPTER_IGNORED' }])
    expect(ignored.loras).toEqual([])
  })
})

test('errors leave the adapters unchanged', async () => {
  await using pipe = await loadSd1()
  const adapter = written('addon-lora-kohya', 'kohya')
  const context = loadExpected('addon-lora-kohya').text_context!
  await pipe.setLoras([{ path: adapter.file, weight: 0.8 }])
  const before = await predict(pipe, adapter, context)
  const sdxl = written('addon-lora-sdxl-names', 'diffusers-blocks').file
  await expect(pipe.setLoras([{ path: sdxl }])).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_MODEL' })
  await expect(pipe.setLoras([{ path: `${sdxl}.none` }])).rejects.toMatchObject({ code: 'ERR_IO' })
  await expect(pipe.setLoras([{ path: written('sd1').file }])).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_MODEL' })
  await expect(pipe.setLoras([{ path: sdxl, weight: NaN }])).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  await expect(pipe.setLoras([{ file: sdxl } as never])).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  await expect(pipe.setLoras('style' as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  expect(await predict(pipe, adapter, context)).toEqual(before)
})

test('the estimate includes their memory', async () => {
  const { file, golden } = written('sd1')
  const options = { ...exact, config: golden.config, width: 64, height: 64 }
  const bare = await estimateMemory(file, options)
  const lora = written('addon-lora-kohya', 'kohya').file
  const more = await estimateMemory(file, { ...options, loras: [{ path: lora }] })
  expect(more.weights.unet!.bytes).toBeGreaterThan(bare.weights.unet!.bytes)
  expect(more.peakBytes).toBeGreaterThan(bare.peakBytes)
})

test.each([
  ['addon-dora', 'kohya', 0.6, 'eps_0.6'],
  ['addon-boft', 'kohya', 0.6, 'eps_0.6'],
  ['addon-glora', 'kohya', 0.8, 'eps_0.8'],
])('%s', async (name, layout, weight, expected) => {
  await using pipe = await loadSd1()
  const adapter = written(name, layout)
  await pipe.setLoras([{ path: adapter.file, weight }])
  expectClose(adapter, await predict(pipe, adapter, input(adapter.golden, 'context')), loadExpected(name)[expected]!.data, expected)
})

describe('convert() writes them into the weights', () => {
  test.each(['addon-lora-kohya', 'addon-lora-locon'])('%s', async (name) => {
    const adapter = written(name, 'kohya')
    const expected = loadExpected(name)
    const model = written('sd1')
    const file = path.join(model.folder, 'merged.gguf')
    const report = await convert(model.file, file, { type: 'f32', config: model.golden.config, loras: [{ path: adapter.file, weight: 0.8 }] })
    expect(report.loras).toMatchObject([{ unmatched: [], skipped: [] }])
    await using pipe = await DiffusionPipeline.load(file, exact)
    const conditioning = await pipe.encodePrompt({ tokenIds: Array.from(input(adapter.golden, 'ids').data) })
    const context = { data: await conditioning.read(), shape: [1, 77, 32] }
    expectClose(adapter, context.data, expected.text_context!.data, 'text_context')
    expectClose(adapter, await predict(pipe, adapter, context), expected.eps!.data, 'eps')
  })

  test('converting with an adapter of another model leaves no file', async () => {
    const model = written('sd1')
    const file = path.join(model.folder, 'merged.gguf')
    const loras = [{ path: written('addon-lora-sdxl-names', 'diffusers-blocks').file }]
    await expect(convert(model.file, file, { type: 'f16', config: model.golden.config, loras })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_MODEL',
    })
    expect(readdirSync(model.folder)).not.toContain('merged.gguf')
  })
})

describe('textual inversion', () => {
  const load = async (options: LoadOptions) => loadSd1({ ...exact, ...options })

  // The prompt that the ids of the case are made of, with the word where the vectors stand.
  test.each([
    ['a1111-pt', 'one', 'context_one'],
    ['diffusers-bin', '<one>', 'context_one'],
    ['diffusers-bin', 'learned_embeds', 'context_one'],
    ['a1111-safetensors', 'Three', 'context_three'],
    ['diffusers', 'embedding:<three>', 'context_three'],
  ])('%s by the word %s', async (layout, word, name) => {
    const inversion = written('addon-textual-inversion', layout)
    const [file] = readdirSync(inversion.folder)
    await using pipe = await load({ embeddings: [path.join(inversion.folder, file!)] })
    const { chunks } = await pipe.tokenize(`a photo of ${word} in the cat`)
    const ids = Array.from(input(inversion.golden, name === 'context_one' ? 'ids_one' : 'ids_three').data)
    expect(chunks[0]!.ids.map((id) => Math.max(id, -1))).toEqual(ids)
    const conditioning = await pipe.encodePrompt(`a photo of ${word} in the cat`)
    expectClose(inversion, await conditioning.read(), loadExpected('addon-textual-inversion')[name]!.data, name)
  })

  test('bundled with a LoRA: the file gives the words and the layers', async () => {
    const bundle = written('addon-lora-bundle', 'kohya')
    const expected = loadExpected('addon-lora-bundle')
    await using pipe = await load({ embeddings: [bundle.file] })
    const prompt = 'a photo of zorb in the cat'
    const { chunks } = await pipe.tokenize(prompt)
    expect(chunks[0]!.ids.map((id) => Math.max(id, -1))).toEqual(Array.from(input(bundle.golden, 'ids').data))
    expect((await pipe.tokenize('lora')).chunks[0]!.ids.every((id) => id >= 0)).toBe(true) // the file's name is no word
    const conditioning = await pipe.encodePrompt(prompt)
    const context = { data: await conditioning.read(), shape: [1, 77, 32] }
    expectClose(bundle, context.data, expected.context!.data, 'context')
    const [report] = await pipe.setLoras([{ path: bundle.file, weight: 0.8 }])
    expect(report).toMatchObject({ unmatched: [], skipped: [], embeddings: ['zorb'] })
    expectClose(bundle, await predict(pipe, bundle, context), expected.eps!.data, 'eps')
  })

  test('bundled with a LoRA that is set: the word is there meanwhile', async () => {
    const bundle = written('addon-lora-bundle', 'kohya')
    const other = written('addon-lora-kohya', 'kohya')
    const expected = loadExpected('addon-lora-bundle')
    await using pipe = await load({})
    const prompt = 'a photo of zorb in the cat'
    const ids = async () => (await pipe.tokenize(prompt)).chunks[0]!.ids.map((id) => Math.max(id, -1))
    const without = await ids()
    expect(without.every((id) => id >= 0)).toBe(true)
    const [report] = await pipe.setLoras([{ path: bundle.file, weight: 0.8 }])
    expect(report).toMatchObject({ unmatched: [], skipped: [], embeddings: ['zorb'] })
    expect(await ids()).toEqual(Array.from(input(bundle.golden, 'ids').data))
    const conditioning = await pipe.encodeCondition({ prompt })
    expectClose(bundle, await conditioning.read(), expected.context!.data, 'context')
    // Others do not have it, and neither has the pipeline after a file that is refused, or without adapters.
    const both = await pipe.setLoras([{ path: other.file }, { path: bundle.file }])
    expect(both.map(({ embeddings }) => embeddings)).toEqual([[], ['zorb']])
    expect(await ids()).toContain(-1)
    await expect(pipe.setLoras([{ path: written('addon-textual-inversion', 'a1111-safetensors').folder }])).rejects.toThrow()
    expect(await ids()).toContain(-1)
    expect((await pipe.setLoras([{ path: other.file }]))[0]!.embeddings).toEqual([])
    expect(await ids()).toEqual(without)
    await pipe.setLoras([])
    expect(await ids()).toEqual(without)
  })

  test('bundled with the LoRAs of one call: loras, and those that the prompt names', async () => {
    const bundle = written('addon-lora-bundle', 'kohya')
    const settings = { prompt: 'a photo of zorb', negativePrompt: 'a cat', steps: 2, width: 64, height: 64, seed: 4 }
    const loras = [{ path: bundle.file, weight: 0.8 }]
    const pixels = ({ images }: { images: { data: Uint8Array }[] }) => images[0]!.data
    await using known = await load({ embeddings: [bundle.file] })
    const reference = pixels(await known.generate({ ...settings, loras }))
    await using pipe = await load({ loraDirectory: bundle.folder })
    const bare = pixels(await pipe.generate(settings))
    const listed = await pipe.generate({ ...settings, loras })
    expect(pixels(listed)).toEqual(reference)
    expect(listed.loras).toMatchObject([{ skipped: [], embeddings: ['zorb'] }])
    expect(listed.warnings).toEqual([])
    const named = await pipe.generate({ ...settings, prompt: 'a photo of zorb <lora:lora:0.8>' })
    expect(pixels(named)).toEqual(reference)
    expect(pixels(await pipe.generate(settings))).toEqual(bare)
    // In the negative prompt too, and not without the word.
    const swapped = { ...settings, prompt: 'a cat', negativePrompt: 'zorb', loras }
    expect(pixels(await pipe.generate(swapped))).toEqual(pixels(await known.generate(swapped)))
    expect(pixels(await pipe.generate({ ...swapped, negativePrompt: 'zor' }))).not.toEqual(pixels(await pipe.generate(swapped)))
    // A call keeps the words that were set when it was made.
    await pipe.setLoras(loras)
    const early = pipe.generate(settings)
    await pipe.setLoras([])
    expect(pixels(await early)).toEqual(reference)
    expect(pixels(await pipe.generate(settings))).toEqual(bare)
  })

  test('bundled for another text encoder: left out and reported; damaged: refused, and the words before stay', async () => {
    const bundle = written('addon-lora-bundle', 'kohya')
    const layer = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q'
    const numbers = (shape: number[], fill = 0.1): Tensor => ({
      dtype: 'F32',
      shape,
      bytes: new Uint8Array(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill).buffer),
    })
    const file = (name: string, tensors: Record<string, Tensor>) => {
      const pair = { [`${layer}.lora_down.weight`]: numbers([4, 32]), [`${layer}.lora_up.weight`]: numbers([32, 4]) }
      writeFileSync(path.join(bundle.folder, name), safetensorsBytes(new Map(Object.entries({ ...pair, ...tensors }))))
      return { path: path.join(bundle.folder, name) }
    }
    await using pipe = await load({})
    const [own, wide, long] = ['fits', 'wide', 'long'].map((word) => `bundle_emb.${word}.string_to_param.*`) as [string, string, string]
    const mixed = file('mixed.safetensors', { [own]: numbers([2, 32]), [wide]: numbers([1, 48]), [long]: numbers([76, 32]) })
    const [report] = await pipe.setLoras([mixed])
    expect(report).toMatchObject({ unmatched: [], embeddings: ['fits'] })
    expect(report!.skipped.sort()).toEqual([long, wide])
    const damaged = file('damaged.safetensors', { [own]: numbers([2, 32], NaN) })
    await expect(pipe.setLoras([damaged])).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
    expect((await pipe.tokenize('fits')).chunks[0]!.ids.filter((id) => id < 0)).toEqual([-1, -2])
    await expect(pipe.generate({ prompt: 'fits', loras: [damaged], steps: 1 })).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
  })

  test('a word of the load options counts before that of an adapter', async () => {
    const bundle = written('addon-lora-bundle', 'kohya')
    const inversion = written('addon-textual-inversion', 'a1111-pt')
    await using pipe = await load({ embeddings: [{ path: path.join(inversion.folder, 'one.pt'), name: 'zorb' }] })
    const before = await (await pipe.encodePrompt('zorb')).read()
    await pipe.setLoras([{ path: bundle.file, weight: 0 }])
    expect(await (await pipe.encodePrompt('zorb')).read()).toEqual(before)
  })

  test('folders, names and weights', async () => {
    const inversion = written('addon-textual-inversion', 'a1111-safetensors')
    const other = written('addon-textual-inversion', 'a1111-pt')
    copyFileSync(path.join(other.folder, 'one.pt'), path.join(inversion.folder, 'one.pt'))
    await using pipe = await load({
      embeddings: [{ path: path.join(inversion.folder, 'three.safetensors'), name: 'my cat' }],
      embeddingDirectory: inversion.folder,
    })
    const { chunks } = await pipe.tokenize('(my cat:1.5), three, one, ones')
    expect(chunks[0]!.text.filter((text) => ['my cat', 'three', 'one'].includes(text))).toEqual([
      ...Array.from({ length: 3 }, () => 'my cat'),
      ...Array.from({ length: 3 }, () => 'three'),
      'one',
    ])
    expect(chunks[0]!.weights.slice(1, 4)).toEqual([1.5, 1.5, 1.5])
    // A word that does not fit into its window moves to the next one as a whole.
    const { chunks: two } = await pipe.tokenize(`${'word '.repeat(74)} three`)
    expect(two.map(({ ids }) => ids.filter((id) => id < 0).length)).toEqual([0, 3])
    const weighted = await pipe.encodePrompt('(three:1.5)')
    const plain = await pipe.encodePrompt('three')
    expect(await weighted.read()).not.toEqual(await plain.read())
  })

  test('refusals', async () => {
    const inversion = written('addon-textual-inversion', 'a1111-pt')
    const file = path.join(inversion.folder, 'one.pt')
    const sdxl = written('sdxl-base')
    await expect(DiffusionPipeline.load(sdxl.file, { ...exact, config: sdxl.golden.config, embeddings: [file] })).rejects.toMatchObject({
      code: 'ERR_MODEL_FORMAT',
      message: expect.stringContaining('the text encoders of this model read 32 and 40 numbers each') as string,
    })
    await expect(load({ embeddings: [written('addon-lora-kohya', 'kohya').file] })).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
    await expect(load({ embeddings: [`${file}.none`] })).rejects.toMatchObject({ code: 'ERR_IO' })
    await expect(load({ embeddings: 'one' as never })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
    await expect(load({ embeddings: [{ path: file, name: '' }] })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })
})
