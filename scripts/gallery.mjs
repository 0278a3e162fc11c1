#!/usr/bin/env node
/**
 * One contact sheet with every system of the paper, generated through the public API, for a visual check that each path runs. First the trained models
 * (models/), whose images are meaningful; then the tiny synthetic ones of the golden cases (test/fixtures/models), whose images are patterns. Input images are
 * shown next to the results.
 *
 *     npm run gallery -- [--output gallery.png] [--seed N] [--precision exact]
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Autoencoder, DiffusionPipeline, RawImage, RetrievalDatabase, writeRetrievalDatabase } from 'node-latent-diffusion'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const require = createRequire(import.meta.url)
const { values } = parseArgs({
  options: {
    output: { type: 'string', short: 'o', default: 'gallery.png' },
    seed: { type: 'string', default: '7' },
    precision: { type: 'string', default: 'fast' },
  },
})
const seed = Number(values.seed)
const side = 64

/** The compiled test helper that writes golden checkpoints. */
function goldenHelper() {
  const out = path.join(root, '.cache', 'gallery')
  const tsc = require.resolve('typescript/bin/tsc')
  const options = ['--ignoreConfig', '--outDir', out, '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck', '--types', 'node', '--noCheck']
  execFileSync(process.execPath, [tsc, ...options, path.join(root, 'test', 'helpers', 'golden.ts')], { stdio: 'inherit' })
  return require(path.join(out, 'golden.js'))
}

const { loadCase, materialise } = goldenHelper()

/** An image of coloured waves. */
function waves(width, height) {
  const data = new Uint8Array(3 * width * height)
  for (let i = 0; i < data.length; i++) {
    const [x, y, c] = [(Math.floor(i / 3) % width) / width, Math.floor(i / 3 / width) / height, i % 3]
    data[i] = 127.5 + 120 * Math.sin(6 * x * (c + 1) + 9 * y + 2 * c)
  }
  return new RawImage({ data, width, height, channels: 3 })
}

/** Rows of pseudo-random numbers in -1..1. */
function numbers(count) {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1)) % 1)
}

const disc = (x, y) => (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.08
const map = (width, height, value) => ({
  data: Uint8Array.from({ length: width * height }, (_, i) => value((i % width) / width, Math.floor(i / width) / height)),
  width,
  height,
})

/** A retrieval database of 500 rows on disk, searched with one of them. */
async function neighbours(folder, dim) {
  const file = path.join(folder, 'database.safetensors')
  const embeddings = numbers(500 * dim)
  await writeRetrievalDatabase(file, { embeddings, shape: [500, dim] })
  return { database: await RetrievalDatabase.load(file), query: embeddings.slice(0, dim), k: 5 }
}

const truth = (name) => path.join(root, 'training', 'ground_truth', name)

/** For each system: its golden case or trained model, the label, and its inputs. */
const systems = [
  ['tiny-scenes.gguf', 'a red circle left of a blue square', () => ({ prompt: 'a red circle left of a blue square' })],
  ['systems/class.gguf', 'class: yellow star', () => ({ classId: 'yellow star' })],
  ['systems/semantic.gguf', 'semantic map: a triangle and a cross', () => ({ semanticMap: truth('labels/003.png') })],
  [
    'systems/superres.gguf',
    'super-resolution x4',
    async () => ({
      image: await (await RawImage.read(truth('001.png'))).resize(side / 4, side / 4, { filter: 'box' }),
      prompt: 'a purple ring in a large red diamond on a black background',
    }),
  ],
  ['ldm-uncond', 'unconditional (faces, bedrooms)'],
  ['ldm-churches', 'unconditional (churches)'],
  ['ldm-cin256', 'class: golden retriever', () => ({ classId: 207 })],
  ['ldm-cin256-v2', 'class with guidance: volcano', () => ({ classId: 'volcano' })],
  ['ldm-text2img256', 'text (text2img256)', () => ({ prompt: 'a cat sitting on a black chair' })],
  ['ldm-txt2img', 'text (LAION, 1.4B)', () => ({ prompt: 'a virus monster is playing guitar, oil on canvas' })],
  [
    'ldm-layout2img',
    'layout: a dog left of a tree',
    () => ({
      boxes: [
        { label: 'Dog', x: 0.05, y: 0.5, width: 0.4, height: 0.45 },
        { label: 'Tree', x: 0.5, y: 0.1, width: 0.45, height: 0.85 },
      ],
    }),
  ],
  ['ldm-semantic', 'semantic map: rock in the sea', () => ({ semanticMap: map(side, side, (x, y) => (disc(x, y) ? 149 : 154)) })],
  ['ldm-sr', 'super-resolution x4', () => ({ image: waves(side / 4, side / 4) })],
  ['sd-x4-upscaler', 'SD x4 upscaler', () => ({ image: waves(side / 4, side / 4), prompt: 'waves' })],
  ['ldm-inpaint-big', 'inpainting', () => ({ image: waves(side, side), mask: map(side, side, (x, y) => (disc(x, y) ? 255 : 0)) })],
  ['sd1-inpaint', 'SD inpainting', () => ({ image: waves(side, side), mask: map(side, side, (x, y) => (disc(x, y) ? 255 : 0)), prompt: 'a disc' })],
  ['ldm-rdm', 'retrieval: 5 neighbours', async (pipe, folder) => ({ neighbours: await neighbours(folder, pipe.info.condition.dim) })],
  ['sd1', 'Stable Diffusion 1.x', () => ({ prompt: 'a photo of an astronaut riding a horse' })],
  ['sd2-v', 'Stable Diffusion 2.x', () => ({ prompt: 'a photo of an astronaut riding a horse' })],
]

const stages = ['stage-kl-f4', 'stage-kl-f8', 'stage-kl-f16', 'stage-kl-f32', 'stage-vq-f4', 'stage-vq-f4-noattn', 'stage-vq-f8', 'stage-vq-f16']

const isTrained = (name) => name.endsWith('.gguf')

/** Loads a trained model, or writes a golden checkpoint, loads it, and cleans up. */
async function withModel(type, name, use) {
  if (isTrained(name)) {
    const model = await type.load(path.join(root, 'models', name), { precision: values.precision })
    return use(model).finally(() => model.dispose())
  }
  const golden = loadCase(name)
  const folder = mkdtempSync(path.join(tmpdir(), 'latent-gallery-'))
  try {
    materialise(golden, 'compvis', folder, { as: 'safetensors' })
    const model = await type.load(path.join(folder, 'model.safetensors'), { config: golden.config, precision: values.precision })
    try {
      return await use(model, folder)
    } finally {
      await model.dispose()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Kinds with a size option; the others take the size from their input. */
const sized = new Set(['unconditional', 'class', 'text', 'layout', 'rdm'])

function drawSystem([name, label, inputsOf = () => ({})]) {
  return withModel(DiffusionPipeline, name, async (pipe, folder) => {
    const inputs = await inputsOf(pipe, folder)
    const pixels = side * (pipe.info.downsampling / 4)
    const size = sized.has(pipe.kind) ? { width: pixels, height: pixels } : {}
    const steps = isTrained(name) ? {} : { steps: 10 }
    const { images, options } = await pipe.generate({ ...inputs, ...size, ...steps, seed })
    console.log(`${name}: ${pipe.kind}, ${images[0].width}x${images[0].height}, ${options.steps} steps of ${options.sampler}`)
    const given = inputs.image ? [{ image: inputs.image, label: `given: ${label}` }] : []
    return [...given, { image: images[0], label }]
  })
}

function drawStage(name) {
  return withModel(Autoencoder, name, async (first) => {
    const codes = await first.encode(waves(side, side), { output: first.info.regularization === 'vq' ? 'codes' : 'mean' })
    const [image] = await first.decode(codes)
    console.log(`${name}: ${first.info.regularization}, latents [${codes.shape.join(', ')}]`)
    return [{ image, label: `first stage ${name.slice('stage-'.length)}` }]
  })
}

const tiles = []
for (const system of systems) tiles.push(...(await drawSystem(system)))
for (const stage of stages) tiles.push(...(await drawStage(stage)))

const { contactSheet } = require(path.join(root, 'dist', 'cli', 'contact-sheet.js'))
const footer = ['First the trained models. The others have random weights and make patterns, not images. Each tile is one path through the engine.']
await (await contactSheet(tiles, { columns: 6, side: 192, footer })).save(values.output)
console.log(`${values.output}: ${tiles.length} tiles`)
