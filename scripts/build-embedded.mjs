#!/usr/bin/env node
/**
 * Writes models/tiny-scenes.gguf, the embedded model, from the export of training/: weights, tokenizer, specification, licence and model card in one file. With
 * --system, one of the paper's other systems trained on the same data, models/systems/NAME.gguf.
 *
 *     node scripts/build-embedded.mjs --from DIR [--system NAME] [--type q8_0] [--out FILE]
 *
 * DIR holds tiny-scenes.safetensors (Stable Diffusion 1.x names), tokenizer/ (vocab.json, merges.txt) and card.json (scale factor and sampling defaults), or
 * NAME.safetensors, NAME.yaml and NAME.json (the rest of its specification), with tokenizer/ where it takes prompts; or it is a diffusers folder. From --pictures (training/ground_truth) the factors of linear
 * previews are fitted: the 4 latent channels of an image to its colours, averaged to the size of the latents, by least squares.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { convert, DiffusionPipeline, RawImage } from 'node-latent-diffusion'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')

/** Facts that are not in the weights (training/models): all heads are 32 channels wide. */
const architecture = {
  unet: { numHeads: 4 },
  conditioners: [{ clip: { numAttentionHeads: 4, hiddenAct: 'quick_gelu' } }],
}

/** The conditioning of the other systems, for their descriptions. */
const told = {
  unconditional: 'nothing',
  class: 'the colour and shape of one object',
  layout: 'boxes with the colours and shapes of objects',
  semantic: 'a map of labels: walls, skies, grounds, coloured objects',
  superres: 'the image at a quarter of its size',
  inpaint: 'the masked image',
}

/** Systems that also take a prompt. */
const prompted = new Set(['superres', 'inpaint'])

const description =
  'A small text-to-image latent diffusion model of the architecture of Stable Diffusion 1.x, trained from scratch on drawn scenes of 64x64 pixels: ' +
  'one or two of nine shapes in ten colours and three sizes, their relation, plain and painted backgrounds. See models/README.md.'

const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    type: { type: 'string', default: 'q8_0' },
    system: { type: 'string' },
    override: { type: 'string' },
    pictures: { type: 'string', default: path.join(root, 'training', 'ground_truth') },
    out: { type: 'string' },
  },
})

/** The text model: its files, and the card's facts as ModelSpec fields. */
function readExport(folder) {
  const model = { name: 'Tiny Scenes', description, out: path.join(root, 'models', 'tiny-scenes.gguf') }
  if (existsSync(path.join(folder, 'model_index.json'))) return { ...model, source: folder, load: {}, spec: {}, metadata: {} }
  const card = JSON.parse(readFileSync(path.join(folder, 'card.json'), 'utf8'))
  return {
    ...model,
    source: { model: path.join(folder, 'tiny-scenes.safetensors'), tokenizer: path.join(folder, 'tokenizer') },
    load: {},
    spec: {
      ...architecture,
      scaleFactor: card.scale_factor,
      imageSize: card.size,
      sampler: card.sampler ?? 'ddim',
      steps: card.steps ?? 25,
      guidanceScale: card.guidance ?? 5,
    },
    metadata: { 'training.card': JSON.stringify(card) },
  }
}

/** One of the other systems. */
function readSystem(folder, system) {
  const file = (extension) => path.join(folder, `${system}.${extension}`)
  return {
    name: `Tiny Scenes (${system})`,
    description: `A small latent diffusion model of the ${system} kind, trained on drawn scenes of 64x64 pixels; it is conditioned on ${told[system]}. See models/README.md.`,
    out: path.join(root, 'models', 'systems', `${system}.gguf`),
    source: prompted.has(system) ? { model: file('safetensors'), tokenizer: path.join(folder, 'tokenizer') } : file('safetensors'),
    load: { config: file('yaml') },
    spec: JSON.parse(readFileSync(file('json'), 'utf8')),
    metadata: {},
  }
}

/** Mean colours of the area of each latent pixel: [h, w] rows of [red, green, blue], -1 to 1. */
function averaged({ data, width, height, channels }, factor) {
  const rows = []
  for (let y = 0; y < height / factor; y++) {
    for (let x = 0; x < width / factor; x++) {
      const sum = [0, 0, 0]
      for (let v = 0; v < factor; v++)
        for (let u = 0; u < factor; u++) for (let c = 0; c < 3; c++) sum[c] += data[((y * factor + v) * width + x * factor + u) * channels + c]
      rows.push(sum.map((s) => s / (factor * factor) / 127.5 - 1))
    }
  }
  return rows
}

/** Solves A x = b for symmetric positive definite A (Gauss-Jordan with pivots); b has several right-hand sides as columns. */
function solve(A, b) {
  const n = A.length
  const rows = A.map((row, i) => [...row, ...b[i]])
  for (let i = 0; i < n; i++) {
    const pivot = rows.slice(i).reduce((best, row, k) => (Math.abs(row[i]) > Math.abs(rows[best][i]) ? i + k : best), i)
    ;[rows[i], rows[pivot]] = [rows[pivot], rows[i]]
    for (let k = 0; k < n; k++) {
      if (k === i) continue
      const share = rows[k][i] / rows[i][i]
      for (let j = i; j < rows[k].length; j++) rows[k][j] -= share * rows[i][j]
    }
  }
  return rows.map((row, i) => row.slice(n).map((value) => value / row[i]))
}

/** [channels + 1, 3] factors from latents to colours, and the share of the colours' variance that they explain. */
async function fitPreview(pipe, files) {
  const size = pipe.info.latentChannels + 1
  const A = Array.from({ length: size }, () => new Float64Array(size))
  const b = Array.from({ length: size }, () => new Float64Array(3))
  const samples = []
  for (const file of files) {
    const image = await RawImage.read(file)
    const latents = await pipe.encodeImage(image, { mode: 'mean' })
    const z = await latents.read()
    const [, channels, h, w] = latents.shape
    latents.dispose()
    for (const [i, rgb] of averaged(image, pipe.info.downsampling).entries()) {
      const x = [...Array.from({ length: channels }, (_, c) => z[c * h * w + i]), 1]
      samples.push([x, rgb])
      for (let r = 0; r < size; r++) {
        for (let c = 0; c < size; c++) A[r][c] += x[r] * x[c]
        for (let c = 0; c < 3; c++) b[r][c] += x[r] * rgb[c]
      }
    }
  }
  const factors = solve(A, b)
  const mean = [0, 1, 2].map((c) => samples.reduce((sum, [, rgb]) => sum + rgb[c], 0) / samples.length)
  let [left, all] = [0, 0]
  for (const [x, rgb] of samples) {
    for (let c = 0; c < 3; c++) {
      left += (rgb[c] - x.reduce((sum, value, r) => sum + value * factors[r][c], 0)) ** 2
      all += (rgb[c] - mean[c]) ** 2
    }
  }
  return { factors: factors.flat().map((value) => Number(value.toFixed(5))), explained: 1 - left / all }
}

async function main() {
  if (!values.from)
    throw new Error('usage: build-embedded.mjs --from DIR [--system NAME] [--type q8_0] [--override PATTERN=TYPE,...] [--pictures DIR] [--out FILE]')
  const { name, source, load, spec, ...model } = values.system ? readSystem(values.from, values.system) : readExport(values.from)
  const out = values.out ?? model.out
  const pictures = readdirSync(values.pictures)
    .filter((file) => file.endsWith('.png'))
    .sort()
    .map((file) => path.join(values.pictures, file))
  const named = { name, ...spec }
  const pipe = await DiffusionPipeline.load(source, { precision: 'exact', ...load, spec: named })
  const { factors, explained } = await fitPreview(pipe, pictures).finally(() => pipe.dispose())
  console.log(`preview factors from ${pictures.length} images: ${(100 * explained).toFixed(1)} % of the variance`)
  mkdirSync(path.dirname(out), { recursive: true })
  const report = await convert(source, out, {
    type: values.type,
    ...(values.override ? { overrides: values.override.split(',').map((pair) => pair.split('=')) } : {}),
    ...load,
    spec: { ...named, previewFactors: factors },
    metadata: {
      'general.name': name,
      'general.description': model.description,
      'general.license': 'MIT',
      'general.author': 'node-latent-diffusion',
      ...model.metadata,
    },
  })
  console.log(`${path.relative(process.cwd(), out)}: ${report.tensors} tensors, ${(statSync(out).size / 1e6).toFixed(2)} MB, ${values.type}`)
}

await main().catch((error) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
