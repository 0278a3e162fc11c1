#!/usr/bin/env node
/**
 * Makes the images of docs/guides/sdxl.md and the last one of docs/guides/few-steps.md with small SDXL-shaped models that training/ makes (training/README.md);
 * their weights are not in the repository. Prints the numbers that the guides tell.
 *
 *     node scripts/sdxl-figures.mjs --from FOLDER [--only sizes,refiner,few-steps,distilled] [--count 24]
 *
 * FOLDER is one of training.export_sdxl: base, refiner, turbo, koala and tiny.safetensors, and tokenizer/. --count: held-out captions of one object for the
 * numbers, 24 in the guides; 0 for images alone.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { DiffusionPipeline } from 'node-latent-diffusion'
import { contactSheet } from '../dist/cli/contact-sheet.js'
import { judge } from './judge/judge.cjs'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    only: { type: 'string' },
    count: { type: 'string', default: '24' },
    threads: { type: 'string', default: '1' },
  },
})
if (!values.from) throw new Error('--from FOLDER is missing: the files that training.export_sdxl wrote')

const prompts = ['a green square on the grass', 'a yellow heart over the sea at sunset', 'a large purple ring on a white background']
const heldOut = JSON.parse(readFileSync(path.join(root, 'training', 'held_out.json'), 'utf8')).prompts.filter(({ kind }) => kind === 'one')
const captions = heldOut.slice(0, Number(values.count))
const usual = { sampler: 'ddim', steps: 20, guidanceScale: 3 }
/** Options of the few-step student (training/distill_sdxl.py). */
const few = (...timesteps) => ({ sampler: 'lcm', timesteps, steps: timesteps.length, guidanceScale: 1 })
const square = (side) => ({ width: side, height: side })
const sized = (side) => ({ sizes: { original: square(side), target: square(64) } })

async function withModel(name, work, refiner) {
  const file = (part) => path.join(values.from, `${part}.safetensors`)
  const source = { model: file(name), tokenizer: path.join(values.from, 'tokenizer'), ...(refiner ? { refiner: file(refiner) } : {}) }
  const pipe = await DiffusionPipeline.load(source, { device: 'cpu', kind: 'text', threads: Number(values.threads) })
  try {
    return await work(pipe)
  } finally {
    await pipe.dispose()
  }
}

async function draw(pipe, prompt, seed, options) {
  const { images } = await pipe.generate({ prompt, seed, ...usual, ...options })
  return images[0]
}

/** Draws every prompt in every way; -> one row for each prompt. */
async function rows(pipe, ways, { seed = 5 } = {}) {
  const result = prompts.map(() => [])
  for (const [i, prompt] of prompts.entries())
    for (const [label, options] of ways) result[i].push({ image: await draw(pipe, prompt, seed, options), label })
  return result
}

/** Mean difference between a pixel and its four neighbours' mean, 0 to 255: how sharp an image is. */
function sharpness({ data, width, height }) {
  let sum = 0
  const at = (x, y, c) => data[(y * width + x) * 3 + c]
  for (let y = 1; y < height - 1; y++)
    for (let x = 1; x < width - 1; x++)
      for (let c = 0; c < 3; c++) sum += Math.abs(4 * at(x, y, c) - at(x - 1, y, c) - at(x + 1, y, c) - at(x, y - 1, c) - at(x, y + 1, c))
  return sum / ((width - 2) * (height - 2) * 3)
}

/** Root mean square of the difference between two images, 0 to 255. */
function distance(a, b) {
  const sum = a.data.reduce((total, value, i) => total + (value - b.data[i]) ** 2, 0)
  return Math.sqrt(sum / a.data.length)
}

/** The held-out captions in every way: how many objects are right, how sharp the images are and how far from the images of `reference`. */
async function measure(pipe, ways, reference) {
  if (captions.length === 0) return []
  const drawn = []
  for (const [label, options] of ways) {
    const images = []
    for (const [i, { prompt }] of captions.entries()) images.push(await draw(pipe, prompt, 1000 + i, options))
    const right = images.filter((image, i) => judge(image, captions[i]).objects).length
    const far = reference && images.reduce((sum, image, i) => sum + distance(image, reference[i]), 0) / images.length
    const sharp = images.reduce((sum, image) => sum + sharpness(image), 0) / images.length
    console.log(
      `${label.padEnd(28)} right ${right} of ${images.length}, sharpness ${sharp.toFixed(2)}${reference ? `, distance ${far.toFixed(1)}` : ''}`,
    )
    drawn.push(images)
  }
  return drawn
}

async function write(name, lines) {
  const sheet = await contactSheet(lines.flat(), { columns: lines[0].length, side: lines[0].length > 5 ? 120 : 160 })
  const out = path.join(root, 'docs', 'images', `${name}.png`)
  const raw = { width: sheet.width, height: sheet.height, channels: 3 }
  const { size } = await sharp(sheet.data, { raw }).png({ palette: true, colours: 160, effort: 10 }).toFile(out)
  console.log(`${path.relative(root, out)}: ${sheet.width}x${sheet.height}, ${(size / 1e3).toFixed(0)} kB`)
}

/** Sets of ways side by side, row by row. */
const beside = (...parts) => prompts.map((_, i) => parts.flatMap((part) => part[i]))

const figures = {
  async sizes() {
    const ways = [12, 16, 24, 64].map((side) => [`${side}x${side}`, sized(side)])
    await withModel('base', async (pipe) => {
      await write('guide-sdxl-sizes', await rows(pipe, ways))
      await measure(pipe, ways)
    })
  },

  async refiner() {
    const from = (side, switchAt, aestheticScore) => ({ refinerSwitchAt: switchAt, sizes: { ...sized(side).sizes, aestheticScore } })
    const ways = [
      ['base, 64x64', from(64, 1)],
      ['base, 12x12', from(12, 1)],
      ['12x12, refiner, score 6.5', from(12, 0.7, 6.5)],
      ['12x12, refiner, score 3', from(12, 0.7, 3)],
    ]
    const work = async (pipe) => {
      await write('guide-sdxl-refiner', await rows(pipe, ways))
      await measure(pipe, ways)
    }
    await withModel('base', work, 'refiner')
  },

  async 'few-steps'() {
    const [base, reference] = await withModel('base', async (pipe) => {
      const short = [
        ['base, 1-step', few(800)],
        ['base, 4-step', { steps: 4 }],
      ]
      const whole = ['base, 20-step', {}]
      const [images] = await measure(pipe, [whole])
      await measure(pipe, short, images)
      return [await rows(pipe, [...short, whole]), images]
    })
    const ways = [
      ['student, 1-step', few(800)],
      ['student, 2-step', few(800, 400)],
      ['student, 4-step', few(800, 600, 400, 200)],
    ]
    await withModel('turbo', async (pipe) => {
      const student = await rows(pipe, ways)
      await write(
        'guide-few-steps-sdxl',
        beside(
          base.map((row) => row.slice(0, 2)),
          student,
          base.map((row) => row.slice(2)),
        ),
      )
      await measure(pipe, ways, reference)
    })
  },

  async distilled() {
    const parts = []
    let reference
    for (const [name, label] of [
      ['base', 'base'],
      ['koala', 'no middle'],
      ['tiny', 'no middle, two levels'],
    ]) {
      await withModel(name, async (pipe) => {
        console.log(`${name}: ${(pipe.info.parameters.unet / 1e6).toFixed(2)} M parameters in the U-Net`)
        parts.push(await rows(pipe, [[label, {}]]))
        const [images] = await measure(pipe, [[label, {}]], reference)
        reference ??= images
      })
    }
    await write('guide-sdxl-distilled', beside(...parts))
  },
}

for (const name of values.only?.split(',') ?? Object.keys(figures)) await figures[name]()
