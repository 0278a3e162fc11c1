#!/usr/bin/env node
/**
 * Evaluates the small models of models/systems, one per system of the paper: generates images with fixed seeds, without selection, and judges their pixels.
 *
 *     node scripts/eval-systems.mjs [NAME ...] [--models DIR] [--steps N] [--sheets DIR] [--overview FILE.png] [--json FILE]
 *
 * --sheets writes the first images of each system, --overview the first row of all of them (docs/images/systems.png). Inputs come from training/ground_truth
 * (24 rendered images with captions and label maps) or from a fixed sequence of numbers.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { DiffusionPipeline, RawImage } from 'node-latent-diffusion'
import { contactSheet } from '../dist/cli/contact-sheet.js'
import { describe, judge } from './judge/judge.cjs'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const truths = path.join(root, 'training', 'ground_truth')
const side = 64
const tiles = 24
const columns = 8

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: 'string', default: path.join(root, 'models', 'systems') },
    steps: { type: 'string' },
    'guidance-scale': { type: 'string' },
    sheets: { type: 'string' },
    overview: { type: 'string' },
    json: { type: 'string' },
  },
})

/** Numbers in 0..1 that are the same everywhere (a linear congruential generator). */
function numbers(seed) {
  let state = BigInt(seed)
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
    return Number(state >> 11n) / 2 ** 53
  }
}

const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length
const percent = (list) => `${(100 * mean(list.map(Number))).toFixed(1)} % of ${list.length}`
const objectOf = (name) => {
  const [color, shape] = name.split(' ')
  return { color, shape }
}

async function readTruths() {
  const { prompts } = JSON.parse(readFileSync(path.join(root, 'training', 'held_out.json'), 'utf8'))
  return Promise.all(
    prompts.slice(0, tiles).map(async (expectation, i) => {
      const name = `${String(i).padStart(3, '0')}.png`
      return { ...expectation, image: await RawImage.read(path.join(truths, name)), labels: path.join(truths, 'labels', name) }
    }),
  )
}

/** Mean squared error over the selected pixels. */
function squaredError(a, b, counts = () => true) {
  let [sum, n] = [0, 0]
  for (let i = 0; i < side * side; i++) {
    if (!counts(i)) continue
    for (let c = 0; c < 3; c++) sum += (a.data[3 * i + c] - b.data[3 * i + c]) ** 2
    n += 3
  }
  return sum / n
}

const decibels = (error) => 10 * Math.log10(255 ** 2 / Math.max(error, 1e-9))
const psnr = (...pictures) => decibels(squaredError(...pictures))

/** An image encoded and decoded by the first stage: no system can be closer to the original. */
async function reconstruct(pipe, image) {
  const latents = await pipe.encodeImage(image, { mode: 'mean' })
  const [again] = await pipe.decode(latents)
  latents.dispose()
  return again
}

/** A hole filled with the smoothest continuation of its border (Laplace's equation, by relaxation). */
function smoothFill({ data }, mask) {
  const filled = Float64Array.from(data)
  const hole = [...mask.keys()].filter((i) => mask[i])
  for (const i of hole) filled.fill(127.5, 3 * i, 3 * i + 3)
  for (let round = 0; round < 600; round++) {
    for (const i of hole) {
      const [x, y] = [i % side, Math.floor(i / side)]
      const around = [x > 0 && i - 1, x < side - 1 && i + 1, y > 0 && i - side, y < side - 1 && i + side].filter((j) => j !== false)
      for (let c = 0; c < 3; c++) filled[3 * i + c] = mean(around.map((j) => filled[3 * j + c]))
    }
  }
  return new RawImage({ data: Uint8Array.from(filled, Math.round), width: side, height: side, channels: 3 })
}

/** One to three separate boxes with classes of the model. */
function randomLayout(next, names) {
  const boxes = []
  const wanted = 1 + Math.floor(3 * next())
  for (let tries = 0; tries < 60 && boxes.length < wanted; tries++) {
    const size = 0.26 + (wanted > 2 ? 0.14 : 0.26) * next()
    const box = { label: names[Math.floor(names.length * next())], x: (1 - size) * next(), y: (1 - size) * next(), width: size, height: size }
    const apart = (o) => o.x + o.width < box.x || box.x + size < o.x || o.y + o.height < box.y || box.y + size < o.y
    if (boxes.every(apart) && boxes.every(({ label }) => label.split(' ')[0] !== box.label.split(' ')[0])) boxes.push(box)
  }
  return boxes
}

function overlap({ x, y, width, height }, { x0, y0, x1, y1 }) {
  const across = Math.min(x + width, x1) - Math.max(x, x0)
  const down = Math.min(y + height, y1) - Math.max(y, y0)
  const both = Math.max(0, across) * Math.max(0, down)
  return both / (width * height + (x1 - x0) * (y1 - y0) - both)
}

/** A rectangle or an ellipse, 1 inside. */
function randomHole(next) {
  const [x, y, w, h, round] = [0.25 + 0.5 * next(), 0.25 + 0.5 * next(), 0.14 + 0.14 * next(), 0.14 + 0.14 * next(), next() < 0.4]
  return Uint8Array.from({ length: side * side }, (_, i) => {
    const [u, v] = [(((i % side) + 0.5) / side - x) / w, ((Math.floor(i / side) + 0.5) / side - y) / h]
    return Number(round ? u * u + v * v < 1 : Math.max(Math.abs(u), Math.abs(v)) < 1)
  })
}

/** Mean colours under each label, without pixels next to another label. */
function colourOfLabels({ data }, labels) {
  const sums = new Map()
  for (let i = side; i < labels.length - side; i++) {
    if ([1, -1, side, -side].some((step) => labels[i + step] !== labels[i])) continue
    const sum = sums.get(labels[i]) ?? [0, 0, 0, 0]
    for (let c = 0; c < 3; c++) sum[c] += data[3 * i + c]
    sum[3]++
    sums.set(labels[i], sum)
  }
  return new Map([...sums].filter(([, [, , , n]]) => n >= 12).map(([label, [r, g, b, n]]) => [label, [r / n, g / n, b / n]]))
}

const distance = (a, b) => Math.hypot(...a.map((value, c) => value - b[c])) / Math.sqrt(3)

/** For each system: images for its sheet, and figures. `draw` generates one image. */
const systems = {
  async class(pipe, draw) {
    const names = pipe.info.classes
    const verdicts = []
    const sheet = []
    for (let i = 0; i < names.length; i++) {
      const classId = (i * 37) % names.length // colours and shapes by turns
      const image = await draw({ classId, seed: 100 + classId })
      const verdict = judge(image, { objects: [objectOf(names[classId])] })
      verdicts.push([verdict.colours[0], verdict.objects])
      sheet.push({ image, label: names[classId] })
    }
    return { sheet, figures: { colour: percent(verdicts.map(([colour]) => colour)), 'colour and shape': percent(verdicts.map(([, both]) => both)) } }
  },

  async unconditional(pipe, draw) {
    const sheet = []
    for (let seed = 0; seed < 96; seed++) sheet.push({ image: await draw({ seed }), label: `seed ${seed}` })
    const seen = sheet.map(({ image }) => describe(image))
    const clear = (all) => percent(all.flat().map(({ shapes }) => shapes.length === 1))
    return {
      sheet,
      figures: {
        'one to four objects seen': percent(seen.map(({ length }) => length >= 1 && length <= 4)),
        'objects of the same shape with and without their outline': clear(seen),
        'the same of the true images': clear((await readTruths()).map(({ image }) => describe(image))),
      },
    }
  },

  async layout(pipe, draw) {
    const next = numbers(11)
    const sheet = []
    const [found, placed, overlaps] = [[], [], []]
    for (let i = 0; i < 60; i++) {
      const boxes = randomLayout(next, pipe.info.classes)
      const image = await draw({ boxes, seed: 300 + i })
      const seen = describe(image)
      for (const box of boxes) {
        const { color, shape } = objectOf(box.label)
        const of = seen.filter(({ colour }) => colour === color).sort((a, b) => overlap(box, b.extent.box) - overlap(box, a.extent.box))[0]
        const share = of ? overlap(box, of.extent.box) : 0
        overlaps.push(share)
        placed.push(share > 0.5)
        found.push(share > 0.5 && of.shapes.includes(shape))
      }
      sheet.push({ image: outlined(image, boxes), label: boxes.map(({ label }) => label).join(', ') })
    }
    return {
      sheet,
      figures: {
        'boxes with an object of their colour (IoU above 0.5)': percent(placed),
        'and of their shape': percent(found),
        'mean IoU': mean(overlaps).toFixed(3),
      },
    }
  },

  async semantic(pipe, draw) {
    const sheet = []
    const [regions, shapes] = [[], []]
    for (const [i, truth] of (await readTruths()).entries()) {
      const image = await draw({ semanticMap: truth.labels, seed: 400 + i })
      const { data: labels } = await RawImage.read(truth.labels)
      const grey = labels.length === side * side ? labels : labels.filter((_, j) => j % 3 === 0)
      const [wanted, made] = [colourOfLabels(truth.image, grey), colourOfLabels(image, grey)]
      for (const [label, colour] of wanted) regions.push(distance(colour, made.get(label)) < 24)
      shapes.push(judge(image, truth).objects)
      sheet.push({ image: truth.image, label: 'truth' }, { image, label: truth.prompt })
    }
    return {
      sheet,
      figures: { 'regions in the colour of their label': percent(regions), 'images with all objects in colour and shape': percent(shapes) },
    }
  },

  async superres(pipe, draw) {
    const sheet = []
    const [rows, shapes] = [[], []]
    for (const [i, truth] of (await readTruths()).entries()) {
      const small = await truth.image.resize(side / 4, side / 4, { filter: 'box' })
      const bicubic = await small.resize(side, side, { filter: 'bicubic' })
      const image = await draw({ image: small, prompt: truth.prompt, seed: 500 + i })
      const silent = await draw({ image: small, seed: 500 + i })
      rows.push([image, silent, bicubic, await reconstruct(pipe, truth.image)].map((picture) => psnr(picture, truth.image)))
      shapes.push([image, silent].map((picture) => judge(picture, truth).objects))
      sheet.push({ image: bicubic, label: '16x16, bicubic' }, { image, label: truth.prompt })
    }
    const column = (k) => `${mean(rows.map((row) => row[k])).toFixed(2)} dB`
    return {
      sheet,
      figures: {
        'PSNR with the caption as prompt': column(0),
        'PSNR without a prompt': column(1),
        'PSNR of bicubic': column(2),
        'PSNR of only the first stage': column(3),
        'all objects in colour and shape, with the caption': percent(shapes.map(([said]) => said)),
        'all objects in colour and shape, without': percent(shapes.map(([, silent]) => silent)),
      },
    }
  },

  async inpaint(pipe, draw) {
    const next = numbers(13)
    const sheet = []
    const rows = []
    for (const [i, { image: truth }] of (await readTruths()).entries()) {
      const mask = randomHole(next)
      const image = await draw({ image: truth, mask: { data: mask.map((v) => 255 * v), width: side, height: side }, seed: 600 + i })
      const inside = (j) => mask[j] === 1
      const fill = smoothFill(truth, mask)
      rows.push([psnr(image, truth, inside), psnr(fill, truth, inside), squaredError(image, truth, (j) => !inside(j))])
      sheet.push({ image: holed(truth, mask), label: 'given' }, { image, label: 'filled, no prompt' })
    }
    // Nearly the whole image is repainted, with its caption.
    const named = []
    for (const [i, truth] of (await readTruths()).filter(({ kind }) => kind === 'one').entries()) {
      const mask = Uint8Array.from({ length: side * side }, (_, j) =>
        Math.max(Math.abs((j % side) - 31.5), Math.abs(Math.floor(j / side) - 31.5)) < 27 ? 255 : 0,
      )
      const image = await draw({ image: truth.image, mask: { data: mask, width: side, height: side }, prompt: truth.prompt, seed: 700 + i })
      named.push(judge(image, truth).objects)
      sheet.push({ image, label: `with prompt: ${truth.prompt}` })
    }
    const column = (k) => `${mean(rows.map((row) => row[k])).toFixed(2)} dB`
    return {
      sheet,
      figures: {
        'objects of captions, in colour and shape': percent(named),
        'PSNR in the hole': column(0),
        'PSNR of a smooth fill': column(1),
        'closer than a smooth fill': percent(rows.map(([a, b]) => a > b)),
        'images unchanged outside the hole': percent(rows.map(([, , outside]) => outside === 0)),
      },
    }
  },
}

/** An image with thin frames around the requested boxes. */
function outlined(image, boxes) {
  const data = Uint8Array.from(image.data)
  for (const { x, y, width, height } of boxes) {
    const [x0, y0, x1, y1] = [x, y, x + width, y + height].map((v) => Math.min(side - 1, Math.round(v * side)))
    for (let v = y0; v <= y1; v++)
      for (let u = x0; u <= x1; u++)
        if ((u === x0 || u === x1 || v === y0 || v === y1) && (u + v) % 2 === 0)
          data.fill(u % 4 < 2 ? 255 : 0, (v * side + u) * 3, (v * side + u) * 3 + 3)
  }
  return new RawImage({ data, width: side, height: side, channels: 3 })
}

function holed(image, mask) {
  const data = Uint8Array.from(image.data, (value, i) => (mask[Math.floor(i / 3)] ? 128 : value))
  return new RawImage({ data, width: side, height: side, channels: 3 })
}

const all = {}
const rows = []
for (const name of positionals.length > 0 ? positionals : Object.keys(systems)) {
  const model = path.join(values.models, `${name}.gguf`)
  if (!existsSync(model)) continue
  const pipe = await DiffusionPipeline.load(model, { kind: name })
  const fixed = {
    ...(values.steps ? { steps: Number(values.steps) } : {}),
    ...(values['guidance-scale'] ? { guidanceScale: Number(values['guidance-scale']) } : {}),
  }
  const began = performance.now()
  const draw = async (options) => (await pipe.generate({ ...options, ...fixed })).images[0]
  const { sheet, figures } = await systems[name](pipe, draw).finally(() => pipe.dispose())
  all[name] = figures
  console.log(`${name} (${((performance.now() - began) / 1000).toFixed(0)} s)`)
  for (const [what, value] of Object.entries(figures)) console.log(`    ${what}: ${value}`)
  rows.push(...sheet.slice(0, columns).map(({ image, label }, i) => ({ image, label: i === 0 ? `${name}: ${label}` : label })))
  if (values.sheets) {
    mkdirSync(values.sheets, { recursive: true })
    await (await contactSheet(sheet.slice(0, 2 * tiles), { columns, side: 128 })).save(path.join(values.sheets, `${name}.png`))
  }
}
if (values.overview) {
  const { data, width, height } = await contactSheet(rows, { columns, side: 112 })
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png({ palette: true, colours: 160, effort: 10 })
    .toFile(values.overview)
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(all, null, 2)}\n`)
