#!/usr/bin/env node
/**
 * Makes the image of docs/guides/sdxl.md with a small SDXL-shaped model that training/ makes (training/README.md); its weights are not in the repository.
 *
 *     node scripts/sdxl-figures.mjs --from FOLDER
 *
 * FOLDER is one of training.export_sdxl: base.safetensors and tokenizer/.
 */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { DiffusionPipeline } from 'node-latent-diffusion'
import { contactSheet } from '../dist/cli/contact-sheet.js'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const { values } = parseArgs({ options: { from: { type: 'string' }, threads: { type: 'string', default: '1' } } })
if (!values.from) throw new Error('--from FOLDER is missing: the files that training.export_sdxl wrote')

const prompts = ['a green square on the grass', 'a yellow heart over the sea at sunset', 'a large purple ring on a white background']
const originals = [12, 16, 24, 64]
const square = (side) => ({ width: side, height: side })

const source = { model: path.join(values.from, 'base.safetensors'), tokenizer: path.join(values.from, 'tokenizer') }
const pipe = await DiffusionPipeline.load(source, { device: 'cpu', kind: 'text', threads: Number(values.threads) })
const entries = []
for (const prompt of prompts) {
  for (const side of originals) {
    const sizes = { original: square(side), target: square(64) }
    const { images } = await pipe.generate({ prompt, seed: 5, sampler: 'ddim', steps: 20, guidanceScale: 3, sizes })
    entries.push({ image: images[0], label: `${side}x${side}` })
  }
}
await pipe.dispose()

const sheet = await contactSheet(entries, { columns: originals.length, side: 160 })
const out = path.join(root, 'docs', 'images', 'guide-sdxl-sizes.png')
const raw = { width: sheet.width, height: sheet.height, channels: 3 }
const { size } = await sharp(sheet.data, { raw }).png({ palette: true, colours: 160, effort: 10 }).toFile(out)
console.log(`${path.relative(root, out)}: ${sheet.width}x${sheet.height}, ${(size / 1e3).toFixed(0)} kB`)
