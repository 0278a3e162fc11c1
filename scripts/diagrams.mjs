#!/usr/bin/env node
/**
 * Draws the diagrams and charts of docs/images, from the numbers that the pages record. A test compares the files with what this draws.
 *
 *     node scripts/diagrams.mjs [NAME ...]        default: all of them
 */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import figures from './diagrams/figures.cjs'

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'docs', 'images')
for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(figures)) {
  if (!figures[name]) throw new Error(`unknown figure ${name}; known are ${Object.keys(figures).join(', ')}`)
  const text = String(figures[name]())
  writeFileSync(path.join(folder, name), text)
  console.log(`docs/images/${name}: ${(text.length / 1e3).toFixed(1)} kB`)
}
