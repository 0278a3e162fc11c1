/** What prompts may name through the server: adapters and textual inversions in the folders of the server, and nothing outside of them. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DiffusionPipeline, RawImage } from '../../lib/index'
import { leaksIn } from '../helpers/leaks'
import { ask as send, startServer, type Ask, type Reply, type Server } from '../helpers/server'

const folder = mkdtempSync(path.join(tmpdir(), 'latent-prompts-'))
const [loras, embeddings] = ['adapters', 'words'].map((name) => path.join(folder, name)) as [string, string]
const night = path.join('models', 'adapters', 'night.safetensors')
mkdirSync(path.join(loras, 'more'), { recursive: true })
mkdirSync(embeddings)
copyFileSync(night, path.join(loras, 'night.safetensors'))
copyFileSync(path.join('models', 'adapters', 'one-step.safetensors'), path.join(loras, 'more', 'one-step.safetensors'))
writeFileSync(path.join(loras, 'notes.txt'), 'no adapter')
copyFileSync(night, path.join(folder, 'outside.safetensors'))

/** A file of float32 tensors. */
function tensorFile(name: string, tensors: Record<string, number[]>): void {
  let end = 0
  const header = Object.entries(tensors).map(([key, shape]) => {
    const start = end
    end += 4 * shape.reduce((product, size) => product * size, 1)
    return [key, { dtype: 'F32', shape, data_offsets: [start, end] }]
  })
  const text = Buffer.from(JSON.stringify(Object.fromEntries(header)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const numbers = Float32Array.from({ length: end / 4 }, (_, i) => Math.sin(i) / 10)
  writeFileSync(path.join(embeddings, name), Buffer.concat([length, text, Buffer.from(numbers.buffer)]))
}
const width = 128 // of the text encoder of the embedded model
tensorFile('glow.safetensors', { emb_params: [2, width] })
tensorFile('several.safetensors', { first: [width], second: [1, width] })
tensorFile('sdxl.safetensors', { clip_l: [3, 768], clip_g: [3, 1280] })
writeFileSync(path.join(embeddings, 'broken.safetensors'), 'nothing')

const model = 'tiny-scenes'
let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({ load: { loraDirectory: loras, embeddingDirectory: embeddings }, maxBatch: 4 })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

async function ask(call: string, request?: Ask): Promise<Reply> {
  const reply = await send(server, call, request)
  expect(leaksIn(reply, [folder, 'outside.safetensors'])).toEqual([])
  return reply
}

const common = { steps: 2, seed: 5 }
const prompt = 'a red circle above a blue square'
const draw = async (text: string) =>
  (await ask('/sdapi/v1/txt2img', { body: { ...common, prompt: text } })).json as { images: [string]; info: string }
const pixels = async (base64: string) => Buffer.from((await RawImage.read(Buffer.from(base64, 'base64'))).data)

test('the lists have the names of files, without their places', async () => {
  expect((await ask('/sdapi/v1/loras')).json).toEqual([
    { name: 'night', alias: 'night', path: 'night.safetensors', metadata: {} },
    { name: 'one-step', alias: 'one-step', path: 'one-step.safetensors', metadata: {} },
  ])
  const word = (shape: number, vectors: number) => ({ step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape, vectors })
  expect((await ask('/sdapi/v1/embeddings')).json).toEqual({
    loaded: { glow: word(width, 2), first: word(width, 1), second: word(width, 1) },
    skipped: { sdxl: word(768, 3) },
  })
  expect((await ask('/sdapi/v1/sd-vae')).json).toEqual([])
  copyFileSync(night, path.join(loras, 'new.safetensors'))
  expect((await ask('/sdapi/v1/refresh-loras', { method: 'POST' })).json).toBeNull()
  expect((await ask('/sdapi/v1/loras')).json.map(({ name }: { name: string }) => name)).toEqual(['new', 'night', 'one-step'])
  rmSync(path.join(loras, 'new.safetensors'))
})

test('every listed adapter works in a prompt, as in the library, through all three APIs', async () => {
  await using pipe = await DiffusionPipeline.load(undefined, { loraDirectory: loras })
  if (pipe.kind !== 'text') throw new Error('the embedded model reads text')
  const plain = await pixels((await draw(prompt)).images[0])
  for (const { name } of (await ask('/sdapi/v1/loras')).json as { name: string }[]) {
    const tagged = `${prompt} <lora:${name}:0.8>`
    const { images } = await pipe.generate({ ...common, prompt: tagged })
    const expected = Buffer.from(images[0]!.data)
    expect(expected.equals(plain)).toBe(false)
    const { images: drawn, info } = await draw(tagged)
    expect((await pixels(drawn[0])).equals(expected)).toBe(true)
    expect(JSON.parse(info).infotexts[0]).toContain(`<lora:${name}:0.8>`)
    const { json } = await ask('/v1/images/generations', { body: { ...common, prompt: tagged } })
    expect((await pixels(json.data[0].b64_json as string)).equals(expected)).toBe(true)
    const { json: job } = await ask('/latent/v1/jobs', { body: { ...common, prompt: tagged } })
    expect((await ask(job.links.events as string)).text).toContain('event: done')
    await ask(job.links.self as string)
  }
})

test('requests that are made together keep their own adapters', async () => {
  const prompts = [prompt, `${prompt} <lora:night:1>`, `${prompt} <lora:night:0.3>`]
  const alone: Buffer[] = []
  for (const each of prompts) alone.push(await pixels((await draw(each)).images[0]))
  const busy = ask('/v1/images/generations', { body: { prompt, steps: 40 } }) // the others wait for it, and then go together
  const together = await Promise.all(prompts.map(async (each) => pixels((await draw(each)).images[0])))
  await busy
  const distance = (a: Buffer, b: Buffer) => Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.length)
  for (const [i, each] of together.entries())
    for (const [j, other] of alone.entries()) {
      if (i === j) expect(distance(each, other)).toBeLessThan(2)
      else expect(distance(each, other)).toBeGreaterThan(3)
    }
})

test('prompts reach no file outside of the folder', async () => {
  const names = [
    '../outside',
    'more/../../outside',
    path.join(folder, 'outside'),
    path.join(folder, 'outside.safetensors'),
    'more/one-step',
    '..',
    '.',
    '',
    '\0',
    'missing',
  ]
  for (const name of names) {
    const tagged = `${prompt} <lora:${name}:1>`
    for (const [call, body] of [
      ['/sdapi/v1/txt2img', { ...common, prompt: tagged }],
      ['/v1/images/generations', { ...common, prompt: tagged }],
    ] as const) {
      const { status, text } = await send(server, call, { body })
      // What the client has sent itself is no secret.
      expect(leaksIn({ text: text.replaceAll(JSON.stringify(name).slice(1, -1), '') }, [folder])).toEqual([])
      if (name === '')
        expect(status).toBe(200) // no tag of an adapter: removed with a warning
      else expect([name, status, text.includes('there is no adapter')]).toEqual([name, 400, true])
    }
  }
  const plain = await pixels((await draw(prompt)).images[0])
  const asOptions = { loras: [path.join(folder, 'outside.safetensors')], loraDirectory: folder }
  expect((await ask('/latent/v1/jobs', { body: { prompt, ...asOptions } })).status).toBe(400)
  const { json } = await ask('/v1/images/generations', { body: { ...common, prompt, ...asOptions, latent: asOptions } })
  expect((await pixels(json.data[0].b64_json as string)).equals(plain)).toBe(true)
})

test('listed textual inversions are words of the model', async () => {
  const { json } = await ask('/latent/v1/tokenize', { body: { model, prompt: 'glow, first, second, sdxl' } })
  const words = (json.chunks as { text: string[] }[]).flatMap(({ text }) => text)
  expect(words.filter((each) => ['glow', 'first', 'second', 'sdxl'].includes(each))).toEqual(['glow', 'glow', 'first', 'second'])
})

test('a model with an autoencoder of its own names its file', async () => {
  const vae = path.join(folder, 'own.vae.safetensors')
  const one = await startServer({ models: { a: { source: { model: path.join('models', 'tiny-scenes.gguf'), vae } } } })
  try {
    expect((await send(one, '/sdapi/v1/sd-vae')).json).toEqual([{ model_name: 'own.vae.safetensors', filename: 'own.vae.safetensors' }])
    expect((await send(one, '/sdapi/v1/options')).json.sd_vae).toBe('own.vae.safetensors')
    expect((await send(one, '/sdapi/v1/loras')).json).toEqual([])
  } finally {
    await one.close()
  }
})
