#!/usr/bin/env node
/**
 * Evaluates the embedded model (or another of its kind): generates the held-out captions of training/held_out.json, one seed each, without selection, and
 * judges the images' pixels with scripts/judge.
 *
 *     npm run eval:embedded -- [--model FILE] [--precision exact] [--dtype q8_0] [--limit N] [--json FILE]
 *     npm run eval:embedded -- --pictures DIR              judges DIR/NNN.png instead of generating: the judge's own error on true images
 *     npm run eval:embedded -- --pictures DIR --reconstruct    the same after encoding and decoding: the cost of the first stage
 *
 * An image of one object is correct if it contains exactly one object of that colour and shape; an image of two objects if it contains both in the caption's
 * relation.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { DiffusionPipeline, RawImage } from 'node-latent-diffusion'
import { judge } from './judge/judge.cjs'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')

/** Seed of caption 0; caption i has this plus i. */
const firstSeed = 5000

const { values } = parseArgs({
  options: {
    model: { type: 'string', short: 'm' },
    precision: { type: 'string' },
    dtype: { type: 'string' },
    steps: { type: 'string' },
    sampler: { type: 'string' },
    'guidance-scale': { type: 'string' },
    seed: { type: 'string' },
    'held-out': { type: 'string', default: path.join(root, 'training', 'held_out.json') },
    pictures: { type: 'string' },
    reconstruct: { type: 'boolean', default: false },
    limit: { type: 'string' },
    threads: { type: 'string' },
    save: { type: 'string' },
    json: { type: 'string' },
    failures: { type: 'boolean', default: false },
  },
})

const number = (text) => (text === undefined ? undefined : Number(text))
const given = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

async function* drawn(pipe, prompts) {
  const options = given({ steps: number(values.steps), sampler: values.sampler, guidanceScale: number(values['guidance-scale']) })
  for (const entry of prompts) {
    const seed = (number(values.seed) ?? firstSeed) + entry.id
    const { images } = await pipe.generate({ prompt: entry.prompt, seed, ...options })
    yield [entry, images[0]]
  }
}

async function* read(prompts, folder, pipe) {
  for (const entry of prompts) {
    const file = path.join(folder, `${String(entry.id).padStart(3, '0')}.png`)
    if (!existsSync(file)) continue
    const image = await RawImage.read(file)
    if (!pipe) {
      yield [entry, image]
      continue
    }
    const latents = await pipe.encodeImage(image, { mode: 'mean' })
    const [again] = await pipe.decode(latents)
    latents.dispose()
    yield [entry, again]
  }
}

const share = (list) => ({
  right: list.filter(Boolean).length,
  of: list.length,
  share: list.length > 0 ? list.filter(Boolean).length / list.length : null,
})

function summarise(results) {
  const one = results.filter(({ kind }) => kind === 'one')
  const two = results.filter(({ kind }) => kind === 'two')
  const relations = [...new Set(two.map(({ relation }) => relation))].sort()
  return {
    'one object: colour': share(one.map(({ verdict }) => verdict.colours[0])),
    'one object: colour and shape': share(one.map(({ verdict }) => verdict.objects)),
    'one object: its position, if named': share(one.flatMap(({ verdict }) => (verdict.position === undefined ? [] : [verdict.position]))),
    'two objects: both colours': share(two.map(({ verdict }) => verdict.colours.every(Boolean))),
    'two objects: both colours and shapes': share(two.map(({ verdict }) => verdict.objects)),
    'two objects: both and their relation': share(two.map(({ verdict }) => verdict.relation)),
    ...Object.fromEntries(
      relations.map((name) => [`  ${name}`, share(two.filter(({ relation }) => relation === name).map(({ verdict }) => verdict.relation))]),
    ),
  }
}

const wrong = ({ verdict }) => !verdict.objects || verdict.relation === false || verdict.position === false
const sight = ({ colour, shape, x, y }) => `${colour} ${shape} at ${x.toFixed(2)},${y.toFixed(2)}`

async function main() {
  const { prompts } = JSON.parse(readFileSync(values['held-out'], 'utf8'))
  const chosen = prompts.slice(0, number(values.limit) ?? prompts.length)
  const needsModel = !values.pictures || values.reconstruct
  const pipe = needsModel
    ? await DiffusionPipeline.load(values.model, given({ precision: values.precision, dtype: values.dtype, threads: number(values.threads) }))
    : undefined
  const began = performance.now()
  const pictures = values.pictures ? read(chosen, values.pictures, values.reconstruct ? pipe : undefined) : drawn(pipe, chosen)
  if (values.save) mkdirSync(values.save, { recursive: true })
  const results = []
  for await (const [entry, image] of pictures) {
    results.push({ ...entry, verdict: judge(image, entry) })
    if (values.save) await image.save(path.join(values.save, `${String(entry.id).padStart(3, '0')}.png`))
  }
  if (results.length === 0) throw new Error(`there are no images to judge in ${values.pictures}`)
  const summary = summarise(results)
  for (const [name, { right, of, share: part }] of Object.entries(summary))
    if (of > 0) console.log(`${name.padEnd(40)} ${(100 * part).toFixed(1).padStart(5)} %  (${right} of ${of})`)
  console.log(`${results.length} images in ${((performance.now() - began) / 1000).toFixed(0)} s`)
  if (values.failures)
    for (const result of results.filter(wrong))
      console.log(`${result.id}: ${result.prompt}\n    saw ${result.verdict.seen.map(sight).join(', ') || 'nothing'}`)
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ summary, wrong: results.filter(wrong).map(({ id }) => id) }, null, 2)}\n`)
}

await main()
