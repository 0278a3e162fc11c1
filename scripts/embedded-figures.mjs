#!/usr/bin/env node
/**
 * Draws the images of README.md and docs/embedded-model.md with the embedded model: docs/images/demo.png and docs/images/embedded-*.png.
 *
 *     node scripts/embedded-figures.mjs [NAME ...]        default: all of them
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { DiffusionPipeline, RawImage } from 'node-latent-diffusion'
import { contactSheet } from '../dist/cli/contact-sheet.js'
import { main as latent } from '../dist/cli/main.js'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const folder = path.join(root, 'docs', 'images')

/** Writes a sheet with a palette: a third of the bytes, without a visible difference. */
async function write(name, image) {
  const file = path.join(folder, `${name}.png`)
  const raw = { width: image.width, height: image.height, channels: 3 }
  const { size } = await sharp(image.data, { raw }).png({ palette: true, colours: 160, effort: 10 }).toFile(file)
  console.log(`${path.relative(root, file)}: ${image.width}x${image.height}, ${(size / 1e3).toFixed(0)} kB`)
}

const sheet = (entries, columns = entries.length, side = 160) => contactSheet(entries, { columns, side })

async function draw(pipe, options) {
  const { images } = await pipe.generate({ seed: 7, ...options })
  return images[0]
}

/** A white rectangle, in fractions of the image, on black. */
function rectangle(x0, y0, x1, y1, size = 64) {
  const data = new Uint8Array(size * size * 3)
  for (let y = Math.round(y0 * size); y < y1 * size; y++)
    for (let x = Math.round(x0 * size); x < x1 * size; x++) data.fill(255, (y * size + x) * 3, (y * size + x) * 3 + 3)
  return new RawImage({ data, width: size, height: size, channels: 3 })
}

const figures = {
  async demo() {
    const file = path.join(folder, 'demo.png')
    const io = { stdout: process.stdout, stderr: process.stderr, signal: new AbortController().signal }
    if ((await latent(['demo', '--quiet', '-o', file], io)) !== 0) throw new Error('latent demo failed')
    await write('demo', await RawImage.read(file))
  },

  async 'embedded-image-to-image'(pipe) {
    const image = await draw(pipe, { prompt: 'a red circle on a blue background' })
    const entries = [{ image, label: 'the start image' }]
    for (const strength of [0.2, 0.5, 0.7, 0.9])
      entries.push({ image: await draw(pipe, { prompt: 'a yellow star in the night sky', image, strength }), label: `strength ${strength}` })
    await write('embedded-image-to-image', await sheet(entries))
  },

  async 'embedded-mask'(pipe) {
    const image = await draw(pipe, { prompt: 'a red circle over the sea at sunset' })
    const mask = rectangle(0, 0, 1, 0.66)
    const entries = [
      { image, label: 'the image' },
      { image: mask, label: 'the mask' },
    ]
    for (const prompt of ['a yellow star over the sea at sunset', 'a green heart over the sea at sunset', 'a white moon over the sea at sunset'])
      entries.push({ image: await draw(pipe, { prompt, image, mask, strength: 1 }), label: prompt })
    await write('embedded-mask', await sheet(entries))
  },

  async 'embedded-sizes'(pipe) {
    const entries = []
    for (const [width, height] of [
      [64, 64],
      [96, 96],
      [128, 128],
    ])
      entries.push({ image: await draw(pipe, { prompt: 'yellow stars in the night sky', width, height }), label: `${width}x${height}` })
    await write('embedded-sizes', await sheet(entries, 3, 192))
  },

  async 'embedded-previews'(pipe) {
    const entries = []
    const preview = { every: 5, onPreview: (image, { step }) => void entries.push({ image, label: `after step ${step}` }) }
    entries.push({ image: await draw(pipe, { prompt: 'a pink heart over the sea at sunset', preview }), label: 'the image' })
    await write('embedded-previews', await sheet(entries))
  },

  async 'embedded-prompts'(pipe) {
    const entries = []
    const prompt = 'a circle on a white background'
    for (const negativePrompt of ['', 'a red circle', 'a brown circle', 'a large circle'])
      entries.push({ image: await draw(pipe, { prompt, negativePrompt }), label: negativePrompt ? `negative: ${negativePrompt}` : prompt })
    await write('embedded-prompts', await sheet(entries))
  },

  async 'embedded-weights'(pipe) {
    const entries = []
    for (const prompt of ['a red circle and (a blue square:W)', 'two blue stars and (a green ring:W)', 'a red circle and a (blue:W) square'])
      for (const weight of ['0.5', '1', '1.2', '1.5']) {
        const weighed = prompt.replace('W', weight)
        entries.push({ image: await draw(pipe, { prompt: weighed }), label: weighed })
      }
    await write('embedded-weights', await sheet(entries, 4))
  },

  async 'embedded-adapters'(pipe) {
    const file = (name) => ({ loras: [{ path: path.join(root, 'models', 'adapters', `${name}.safetensors`) }] })
    const single = { sampler: 'lcm', timesteps: [800], guidanceScale: 1 }
    const prompts = [
      'a red circle on a yellow background',
      'a blue square on the grass by day',
      'a green star above a white ring',
      'a pink heart over the sea at sunset',
      'an orange triangle on the snow by day',
      'two yellow stars on a purple background',
    ]
    const entries = []
    for (const [label, options] of [
      ['', {}],
      ['night', file('night')],
      ['the student, 1 step', { ...single, ...file('one-step') }],
      ['no adapter, 1 step', { steps: 1 }],
    ])
      for (const [i, prompt] of prompts.entries())
        entries.push({ image: await draw(pipe, { prompt, seed: i + 1, ...options }), label: label || prompt })
    await write('embedded-adapters', await sheet(entries, prompts.length))
  },

  async 'embedded-guidance'(pipe) {
    const entries = []
    for (const guidanceScale of [1, 2, 5, 9])
      entries.push({
        image: await draw(pipe, { prompt: 'an orange triangle on the grass', guidanceScale }),
        label: `guidance scale ${guidanceScale}`,
      })
    await write('embedded-guidance', await sheet(entries))
  },
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(figures)
const unknown = wanted.find((name) => !figures[name])
if (unknown !== undefined) throw new Error(`unknown figure ${unknown}; known are ${Object.keys(figures).join(', ')}`)
mkdirSync(folder, { recursive: true })
const pipe = await DiffusionPipeline.load(undefined, { kind: 'text' })
for (const name of wanted) await figures[name](pipe)
await pipe.dispose()
