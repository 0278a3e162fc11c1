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

/** By the name of the figure: the page, and the files of its first program with their captions. */
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
  'few-steps': ['few-steps', [2, 4, 8, 25].map((steps) => [`steps-${steps}.png`, `${steps} steps`])],
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(figures)
for (const name of wanted) {
  if (!figures[name]) throw new Error(`unknown figure ${name}; known are ${Object.keys(figures).join(', ')}`)
  const [page, files] = figures[name]
  const folder = snippets.prepareProject(mkdtempSync(path.join(os.tmpdir(), 'latent-figures-')))
  try {
    const program = snippets.snippetsOf(`docs/guides/${page}.md`).find(({ isProgram }) => isProgram)
    snippets.runProgram(program, folder)
    const entries = await Promise.all(files.map(async ([file, label]) => ({ image: await RawImage.read(path.join(folder, file)), label })))
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
