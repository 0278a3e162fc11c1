#!/usr/bin/env node
/**
 * What fast arithmetic, smaller weights and work left out cost in quality: every variant against float32 throughout (`precision: 'exact'`) on the same checkpoint, stage
 * by stage and end to end. Prints the tables of docs/quality.md.
 *
 *   node test/bench/quality.mjs MODEL [--size 128] [--steps 20] [--prompts FILE] [--samplers ddim,dpmpp_2m] [--variants fast,q8_0] [--no-pictures] [--json FILE]
 *
 * text: relative error of the conditioning. eps: relative error |fast - exact| / |exact| of the U-Net's output at timesteps 900, 500, 100 for the same inputs
 * (the mean over prompts). decode: PSNR of the decoded images for the same latents. images: PSNR and SSIM of whole runs from the same seed, which
 * drift apart with every step, the mean over prompts and samplers; loop: the time of their sampling loops, as a share of that of the variant `fast`.
 *
 * Variants: fast (the file as it is), a type of weights (converted to), TYPE:PATTERN:PATTERN... (only the tensors of these names, the rest in f16), int8 (the file loaded with 8-bit arithmetic), deepcache:INTERVAL[:BRANCH] and
 * interval:FROM:TO (the file as it is, with these options of generate()).
 */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { Conditioning, convert, DiffusionPipeline } from '../../dist/esm.mjs'

const { values: flags, positionals } = parseArgs({
  options: {
    size: { type: 'string', default: '128' },
    steps: { type: 'string', default: '20' },
    prompts: { type: 'string' },
    samplers: { type: 'string', default: 'ddim,dpmpp_2m,euler_a' },
    variants: { type: 'string', default: 'fast,int8,q8_0,q6_k,q5_k,q5_0,q4_k,q4_0,deepcache:2,deepcache:3,interval:0:0.75,interval:0.25:1' },
    'no-pictures': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
  allowPositionals: true,
})
const [model] = positionals
if (!model) {
  console.error('usage: quality.mjs MODEL [--size N] [--steps N] [--prompts FILE] [--samplers LIST] [--variants LIST] [--no-pictures] [--json FILE]')
  process.exit(2)
}
const size = { width: Number(flags.size), height: Number(flags.size) }
const samplers = flags.samplers.split(',')
const prompts = flags.prompts
  ? (await readFile(flags.prompts, 'utf8')).split('\n').filter(Boolean)
  : [
      'a large red circle above a small blue square',
      'a green triangle on a white background',
      'two yellow circles',
      'a purple star left of an orange square',
    ]

// ---- measures --------------------------------------------------------------------------------------------------------

const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length

/** |a - b| / |b| in the Euclidean norm. */
function relative(a, b) {
  let error = 0
  let size = 0
  for (let i = 0; i < a.length; i++) {
    error += (a[i] - b[i]) ** 2
    size += b[i] ** 2
  }
  return Math.sqrt(error / size)
}

/** Of two arrays of the same length whose values span `peak`. Infinity where they are equal. */
function psnr(a, b, peak) {
  let error = 0
  for (let i = 0; i < a.length; i++) error += (a[i] - b[i]) ** 2
  return 10 * Math.log10(peak ** 2 / (error / a.length))
}

const clamped = (floats) => floats.map((x) => Math.min(1, Math.max(-1, x)))

/** Luma of an interleaved 8-bit image. */
function luma({ data, channels, width, height }) {
  const out = new Float64Array(width * height)
  for (let i = 0; i < out.length; i++) {
    out[i] = channels === 1 ? data[i] : 0.299 * data[i * channels] + 0.587 * data[i * channels + 1] + 0.114 * data[i * channels + 2]
  }
  return out
}

/** Mean structural similarity of two images (Wang et al. 2004): luma, windows of 8x8, stride 4. */
function ssim(a, b) {
  const [x, y] = [luma(a), luma(b)]
  const [c1, c2, window] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2, 8]
  const scores = []
  for (let top = 0; top + window <= a.height; top += 4) {
    for (let left = 0; left + window <= a.width; left += 4) {
      let [sx, sy, sxx, syy, sxy] = [0, 0, 0, 0, 0]
      for (let row = top; row < top + window; row++) {
        for (let i = row * a.width + left; i < row * a.width + left + window; i++) {
          sx += x[i]
          sy += y[i]
          sxx += x[i] * x[i]
          syy += y[i] * y[i]
          sxy += x[i] * y[i]
        }
      }
      const n = window * window
      const [mx, my] = [sx / n, sy / n]
      const [vx, vy, cov] = [sxx / n - mx * mx, syy / n - my * my, sxy / n - mx * my]
      scores.push(((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2)))
    }
  }
  return mean(scores)
}

// ---- runs ------------------------------------------------------------------------------------------------------------

/** Everything that is compared, of one variant. `given`: the exact run's conditioning and latents, so that stages do not inherit each other's errors. */
async function observe(source, options, given, sampling = {}) {
  const pipe = await DiffusionPipeline.load(source, { device: 'cpu', ...options })
  const seen = { shapes: [], text: [], eps: [], decoded: [], pictures: [], loopMs: 0 }
  try {
    for (const [i, prompt] of prompts.entries()) {
      const context = await pipe.encodePrompt(prompt)
      seen.shapes.push(context.shape)
      seen.text.push(await context.read())
      const conditioning = given ? await Conditioning.from(given.text[i], given.shapes[i]) : context
      for (const timestep of [900, 500, 100]) {
        const latents = await pipe.createLatents({ ...size, seed: 1000 + i })
        const eps = await pipe.predict(latents, { timestep, conditioning })
        seen.eps.push(await eps.read())
      }
      const latents = await pipe.createLatents({ ...size, seed: 2000 + i })
      seen.decoded.push(clamped(await pipe.decode(latents, { output: 'float' })))
      if (flags['no-pictures']) continue
      for (const sampler of samplers) {
        const { images, timings } = await pipe.generate({ prompt, ...size, ...sampling, steps: Number(flags.steps), sampler, seed: 3000 + i })
        seen.pictures.push(images[0])
        seen.loopMs += timings.sampleMs
      }
    }
    return seen
  } finally {
    await pipe.dispose()
  }
}

function compare(seen, exact) {
  const pairs = (key) => seen[key].map((value, i) => [value, exact[key][i]])
  const row = {
    text: mean(pairs('text').map(([a, b]) => relative(a, b))),
    eps: mean(pairs('eps').map(([a, b]) => relative(a, b))),
    decode: mean(pairs('decoded').map(([a, b]) => psnr(a, b, 2))),
  }
  if (seen.pictures.length > 0) {
    row.psnr = mean(pairs('pictures').map(([a, b]) => Math.min(99, psnr(a.data, b.data, 255))))
    row.ssim = mean(pairs('pictures').map(([a, b]) => ssim(a, b)))
  }
  return row
}

/** What a variant's name means: a file to load, how to load it, how to sample. */
async function prepare(variant, folder) {
  const [name, ...numbers] = variant.split(':')
  const [first, second] = numbers.map(Number)
  if (name === 'fast') return { label: 'as stored', source: model }
  if (name === 'int8') return { label: name, source: model, load: { dtype: { unet: 'int8', vae: 'int8' } } }
  if (name === 'deepcache') {
    const deepCache = { interval: first, ...(second === undefined ? {} : { branch: second }) }
    return { label: `deepCache, every ${first}${second ? `, branch ${second}` : ''}`, source: model, sampling: { deepCache } }
  }
  if (name === 'interval') return { label: `guided ${first} to ${second}`, source: model, sampling: { guidanceInterval: [first, second] } }
  const source = path.join(folder, 'variant.gguf')
  const patterns = variant.split(':').slice(1)
  await convert(model, source, patterns.length > 0 ? { type: 'f16', overrides: patterns.map((pattern) => [pattern, name]) } : { type: name })
  return { label: patterns.length > 0 ? `${name}, a part` : name, source, bytes: (await stat(source)).size }
}

const folder = await mkdtemp(path.join(os.tmpdir(), 'latent-quality-'))
try {
  const exact = await observe(model, { precision: 'exact' })
  const percent = (x) => `${(100 * x).toFixed(3)} %`
  console.log(
    `${path.basename(model)}, ${size.width}x${size.height}, ${prompts.length} prompts, ${flags['no-pictures'] ? 'no runs' : `${samplers.join(', ')}, ${flags.steps} steps`}`,
  )
  console.log('| variant | file | text | eps | decode PSNR | image PSNR | SSIM | loop |\n| --- | --- | --- | --- | --- | --- | --- | --- |')
  const rows = {}
  let loopMs
  for (const variant of flags.variants.split(',')) {
    const { label, source, load, sampling, bytes } = await prepare(variant, folder)
    const seen = await observe(source, load, exact, sampling)
    const row = compare(seen, exact)
    if (variant === 'fast') loopMs = seen.loopMs
    rows[variant] = { ...row, bytes, loop: loopMs && seen.loopMs / loopMs }
    const loop = loopMs ? `${((100 * seen.loopMs) / loopMs).toFixed(0)} %` : ''
    const pictures = row.psnr === undefined ? ['', '', ''] : [`${row.psnr.toFixed(1)} dB`, row.ssim.toFixed(4), loop]
    console.log(
      `| ${[label, bytes ? `${(bytes / 1e6).toFixed(0)} MB` : '', percent(row.text), percent(row.eps), `${row.decode.toFixed(1)} dB`, ...pictures].join(' | ')} |`,
    )
  }
  if (flags.json)
    await writeFile(flags.json, `${JSON.stringify({ model: path.basename(model), size, samplers, steps: Number(flags.steps), rows }, null, 2)}\n`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
