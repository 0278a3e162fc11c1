#!/usr/bin/env node
/**
 * Makes the images of docs/guides: runs the programs on those pages and puts the files they save into docs/images/guide-*.png.
 *
 *     node scripts/guide-figures.mjs [NAME ...]        default: all of them
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { RawImage } from 'node-latent-diffusion'
import { contactSheet } from '../dist/cli/contact-sheet.js'
import snippets from './docs/snippets.cjs'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const range = (name, count, label) => Array.from({ length: count }, (_, i) => [`${name}-${i}.png`, label(i)])

/** By the name of the figure: the page, the files of its first program with their captions, and the side of the white square on which they are shown, if any. */
const figures = {
  'text-to-image': ['text-to-image', range('star', 4, (i) => `seed ${7 + i}`)],
  class: ['class', range('class', 3, (i) => `seed ${1 + i}`)],
  layout: ['layout', range('layout', 3, (i) => `seed ${1 + i}`)],
  semantic: ['semantic-map', [['map.png', 'the map'], ...range('semantic', 3, (i) => `seed ${1 + i}`)]],
  'super-resolution': [
    'super-resolution',
    [
      ['small.png', '16x16'],
      ['bicubic.png', 'bicubic, 64x64'],
      ['large.png', 'the model, 64x64'],
    ],
  ],
  'two-passes': [
    'sizes',
    [
      ['small.png', '64x64'],
      ['direct.png', '128x128'],
      ['refined.png', '128x128 in two passes'],
    ],
  ],
  unconditional: ['unconditional', range('any', 4, (i) => `seed ${2 + i}`)],
  outpainting: [
    'outpainting',
    [
      ['heart.png', '64x64'],
      ['wide.png', '112x64'],
    ],
    112,
  ],
  variations: ['variations', [0, 0.1, 0.2, 0.4, 0.7, 1].map((strength) => [`variation-${strength}.png`, `strength ${strength}`])],
  embeddings: ['embeddings', ['red', '0.25', '0.5', '0.75', 'yellow'].map((label, i) => [`between-${i / 4}.png`, label])],
  prediction: [
    'prediction',
    [
      ['read-as-eps.png', 'eps, as trained'],
      ['read-as-v.png', 'read as v'],
      ['read-as-sample.png', 'read as sample'],
    ],
  ],
  'few-steps': ['few-steps', [2, 4, 8, 25].map((steps) => [`steps-${steps}.png`, `${steps} steps`])],
}

/** In the middle of a white square. */
function onSquare({ data, width, height, channels }, side) {
  const [left, top] = [(side - width) >> 1, (side - height) >> 1]
  const out = new Uint8Array(side * side * channels).fill(255)
  for (let y = 0; y < height; y++) out.set(data.subarray(y * width * channels, (y + 1) * width * channels), ((top + y) * side + left) * channels)
  return new RawImage({ data: out, width: side, height: side, channels })
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(figures)
for (const name of wanted) {
  if (!figures[name]) throw new Error(`unknown figure ${name}; known are ${Object.keys(figures).join(', ')}`)
  const [page, files, square] = figures[name]
  const folder = snippets.prepareProject(mkdtempSync(path.join(os.tmpdir(), 'latent-figures-')))
  try {
    const program = snippets.snippetsOf(`docs/guides/${page}.md`).find(({ isProgram }) => isProgram)
    snippets.runProgram(program, folder)
    const entries = await Promise.all(
      files.map(async ([file, label]) => {
        const image = await RawImage.read(path.join(folder, file))
        return { image: square ? onSquare(image, square) : image, label }
      }),
    )
    const sheet = await contactSheet(entries, { columns: entries.length, side: 160 })
    const out = path.join(root, 'docs', 'images', `guide-${name}.png`)
    mkdirSync(path.dirname(out), { recursive: true })
    const raw = { width: sheet.width, height: sheet.height, channels: 3 }
    const { size } = await sharp(sheet.data, { raw }).png({ palette: true, colours: 160, effort: 10 }).toFile(out)
    console.log(`${path.relative(root, out)}: ${sheet.width}x${sheet.height}, ${(size / 1e3).toFixed(0)} kB`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
