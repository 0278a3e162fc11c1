/** Every place that takes a model or a file of one takes the name of one on a hub: a hub on loopback tells what was asked for. */
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import * as latent from '../../lib/index'
import { DiffusionError } from '../../lib/errors'
import { cli as runCli } from '../helpers/cli'
import { temporaryFolder } from '../helpers/golden'
import { MockHub } from '../helpers/mock-hub'

const root = path.resolve(__dirname, '..', '..')
const { folder, remove } = temporaryFolder()
const tiny = readFileSync(path.join(root, 'models', 'tiny-scenes.gguf'))
const saved = { ...process.env }
let hub: MockHub
let pipe: latent.DiffusionPipeline

beforeAll(async () => {
  hub = await MockHub.start()
  for (const name of Object.keys(process.env)) if (/^(HF_|HUGGING|LATENT_CACHE|XDG_CACHE|TRANSFORMERS)/.test(name)) delete process.env[name]
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: path.join(folder, 'home'), HF_HUB_CACHE: path.join(folder, 'cache') })
  pipe = await latent.DiffusionPipeline.load()
})
afterAll(async () => {
  await pipe?.dispose()
  await hub?.stop()
  process.env = saved
  remove()
})

/** Ends a call before the engine works, once everything is fetched. */
const small = { prompt: 'a star', width: 64, height: 64, steps: 1 } as const
const out = () => path.join(folder, 'out.gguf')

/** What is done with `hf:o/x/FILE`; a file of rubbish may be refused after it was fetched. */
const places: Record<string, [file: string, use: (name: string) => unknown]> = {
  load: ['model.gguf', async (model) => (await latent.DiffusionPipeline.load(model)).dispose()],
  'load, model': ['model.gguf', async (model) => (await latent.DiffusionPipeline.load({ model })).dispose()],
  'load, unet': ['unet.safetensors', (unet) => latent.DiffusionPipeline.load({ unet })],
  'load, vae': ['vae.safetensors', (vae) => latent.DiffusionPipeline.load({ vae })],
  'load, textEncoder': ['clip.safetensors', (textEncoder) => latent.DiffusionPipeline.load({ model: local, textEncoder })],
  'load, imageEncoder': ['clip.safetensors', (imageEncoder) => latent.DiffusionPipeline.load({ model: local, imageEncoder })],
  'load, previewVae': ['taesd.safetensors', (previewVae) => latent.DiffusionPipeline.load({ model: local, previewVae })],
  'load, refiner': ['refiner.safetensors', (refiner) => latent.DiffusionPipeline.load({ model: local, refiner })],
  'load, tokenizer': ['tokenizer.json', (tokenizer) => latent.DiffusionPipeline.load({ model: local, tokenizer })],
  'load, embeddings': ['word.safetensors', (at) => latent.DiffusionPipeline.load(local, { embeddings: [{ path: at }] })],
  'Autoencoder.load': ['model.gguf', async (model) => (await latent.Autoencoder.load(model)).dispose()],
  'ImageEncoder.load': ['clip.safetensors', (model) => latent.ImageEncoder.load(model)],
  'RetrievalDatabase.load': ['rows.npz', (name) => latent.RetrievalDatabase.load(name)],
  openTensors: ['model.gguf', async (file) => (await latent.openTensors(file)).dispose()],
  inspect: ['model.gguf', (model) => latent.inspect(model)],
  estimateMemory: ['model.gguf', (model) => latent.estimateMemory(model)],
  convert: ['model.gguf', (model) => latent.convert(model, out(), { type: 'q8_0' })],
  'convert, loras': ['adapter.safetensors', (at) => latent.convert(local, out(), { type: 'f16', loras: [{ path: at }] })],
  'generate, loras': ['adapter.safetensors', (at) => pipe.generate({ ...small, loras: [{ path: at }] })],
  setLoras: ['adapter.safetensors', (at) => pipe.setLoras([{ path: at }])],
  'estimateMemory, loras': ['adapter.safetensors', (at) => latent.estimateMemory(local, { loras: [{ path: at }] })],
  createDiffusionHost: [
    'model.gguf',
    async (main) => {
      const host = latent.createDiffusionHost({ isolate: 'none', models: { main } })
      await host.load()
      await host.close()
    },
  ],
  'latent generate': ['model.gguf', (model) => cli('generate', 'a star', '-m', model, '--steps', '1', '-o', path.join(folder, 'out.png'))],
  'latent generate --lora': [
    'adapter.safetensors',
    (at) => cli('generate', 'a star', '--lora', at, '--steps', '1', '-o', path.join(folder, 'out.png')),
  ],
  'latent generate --neighbours': ['rows.npz', (at) => cli('generate', 'a star', '--neighbours', at, '-o', path.join(folder, 'out.png'))],
  'latent inspect': ['model.gguf', (model) => cli('inspect', model)],
  'latent estimate': ['model.gguf', (model) => cli('estimate', model)],
  'latent convert': ['model.gguf', (model) => cli('convert', model, out(), '--type', 'q8_0')],
  'latent bench': ['model.gguf', (model) => cli('bench', model, '--repeats', '1', '--width', '64', '--height', '64')],
}
const local = path.join(root, 'models', 'tiny-scenes.gguf')

async function cli(...argv: string[]): Promise<void> {
  const { code, stderr } = await runCli(argv)
  if (code !== 0) throw new DiffusionError('ERR_MODEL_FORMAT', stderr)
}

test.each(Object.entries(places))(
  '%s',
  async (title, [file, use]) => {
    const repo = `o/${title.replace(/\W+/g, '-')}`
    hub.commit(repo, { [file]: file === 'model.gguf' ? tiny : Buffer.from('rubbish of a file') })
    hub.requests.length = 0
    const failure = await Promise.resolve()
      .then(() => use(`hf:${repo}/${file}`))
      .then(
        () => undefined,
        (error: unknown) => error,
      )
    expect(hub.requests.filter(({ kind, file: asked }) => kind === 'resolve' && asked === file)).toHaveLength(1)
    if (file === 'model.gguf') expect(failure).toBeUndefined()
    else expect(String(failure)).not.toMatch(/does not exist|cannot be read: ENOENT|ERR_DOWNLOAD/)
  },
  60_000,
)

describe('a database on a hub', () => {
  const rows = path.join(folder, 'rows.safetensors')
  beforeAll(() => latent.writeRetrievalDatabase(rows, { embeddings: Float32Array.of(1, 0, 0, 1), shape: [2, 2] }))

  test('a folder of the repository: only its files, afterwards also offline; a lost file is downloaded again', async () => {
    const bytes = readFileSync(rows)
    hub.commit('o/rows', {
      'db/a.safetensors': bytes,
      'db/b.safetensors': bytes,
      'db/notes.txt': 'x',
      'db/old/c.safetensors': bytes,
      'README.md': 'x',
    })
    hub.requests.length = 0
    expect((await latent.RetrievalDatabase.load('hf:o/rows/db')).size).toBe(4)
    const asked = hub.requests.filter(({ kind }) => kind === 'resolve').map(({ file }) => file)
    expect(asked).toEqual(['db/a.safetensors'])
    hub.requests.length = 0
    expect((await latent.RetrievalDatabase.load('hf:o/rows/db', { hub: { localFilesOnly: true } })).size).toBe(4)
    expect(hub.requests).toHaveLength(0)
    const [model] = (await latent.listModels()).filter(({ source }) => source === 'hf:o/rows')
    await rm(path.join(model!.revisions[0]!.path, 'db', 'b.safetensors'))
    await expect(latent.RetrievalDatabase.load('hf:o/rows/db', { hub: { localFilesOnly: true } })).rejects.toMatchObject({ reason: 'offline' })
    expect((await latent.RetrievalDatabase.load('hf:o/rows/db')).size).toBe(4)
  })

  test('a repository without a database gives an error; it can be aborted', async () => {
    hub.commit('o/none', { 'README.md': 'x' })
    await expect(latent.RetrievalDatabase.load('hf:o/none')).rejects.toMatchObject({
      reason: 'choice',
      message: expect.stringMatching(/\.npz/) as string,
    })
    const signal = AbortSignal.abort(new Error('no longer'))
    await expect(latent.RetrievalDatabase.load('hf:o/none', { signal })).rejects.toThrow('no longer')
    await expect(latent.RetrievalDatabase.load(rows, { hub: { endpoint: 'ftp://x' } })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG' })
  })
})
