/**
 * The "parameters" text that web UIs keep with a picture (AUTOMATIC1111 1.10): the prompt, a line "Negative prompt: ...", and one line of "Key: value" pairs.
 * A value with a comma, colon or line break is quoted as in JSON, and so is one that would be read otherwise than it was written: an empty one, and one with a quotation
 * mark in front or white space at its ends. What an extension writes with a value equal to its key stands alone.
 */

import { checkString, invalidRange, invalidType, show } from '../options/validate.js'
import type { InfotextValue } from './words.js'

export type { InfotextValue }

/** A "parameters" text, taken apart. */
export interface Infotext {
  prompt: string
  negativePrompt: string
  /** Values as text, in the order of the file. */
  fields: Record<string, string>
}

/** Far more than a picture carries. */
const maxFields = 1000
const maxFieldLength = 1 << 16
const maxTextLength = 1 << 18

const leadingKeys = [
  'Steps',
  'Sampler',
  'Schedule type',
  'CFG scale',
  'Image CFG scale',
  'Seed',
  'Face restoration',
  'Size',
  'Model hash',
  'Model',
  'VAE hash',
  'VAE',
  'Variation seed',
  'Variation seed strength',
  'Seed resize from',
  'Denoising strength',
  'Conditional mask weight',
  'Clip skip',
  'ENSD',
  'Token merging ratio',
  'Init image hash',
  'RNG',
  'Tiling',
]
const trailingKeys = ['Version', 'User']
const negativeMark = 'Negative prompt:'
/** Fewer pairs than this make no parameter line: it is taken for a line of the prompt. */
const leastPairs = 3

function place(key: string): number {
  const leading = leadingKeys.indexOf(key)
  return leading >= 0 ? leading : leadingKeys.length + 1 + trailingKeys.indexOf(key)
}

function writePair(key: string, value: Exclude<InfotextValue, null | undefined>): string {
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof value))
    throw invalidType(`fields.${key} must be a text, a number or true or false, not ${show(value)}`)
  const text = typeof value === 'boolean' ? (value ? 'True' : 'False') : checkString(String(value), `fields.${key}`, maxFieldLength)
  if (key === text && !leadingKeys.includes(key)) return key
  return `${key}: ${/[,\n:]|^["\s]|\s$|^$/.test(text) ? JSON.stringify(text) : text}`
}

/** Writes the text. Known keys go to the web UI's places, others before `Version` in the order given. */
export function formatInfotext(prompt: string, negativePrompt: string, fields: Readonly<Record<string, InfotextValue>>): string {
  checkString(prompt, 'prompt', maxTextLength)
  checkString(negativePrompt, 'negativePrompt', maxTextLength)
  if (typeof fields !== 'object' || fields === null) throw invalidType(`fields must be an object of values by key, not ${show(fields)}`)
  const entries = Object.entries(fields)
  if (entries.length > maxFields) throw invalidRange(`fields has ${entries.length} entries; at most ${maxFields} are allowed`)
  const pairs = entries
    .sort(([a], [b]) => place(a) - place(b))
    .flatMap(([key, value]) => (value === null || value === undefined ? [] : [writePair(key, value)]))
  const negative = negativePrompt === '' ? '' : `\n${negativeMark} ${negativePrompt}`
  return `${prompt}${negative}\n${pairs.join(', ')}`.trim()
}

const keyCharacter = /[\p{L}\p{N}_ \-/]/u
const keyStart = /[\p{L}\p{N}_]/u

/** The key that ends before the colon at `colon`, not reaching back beyond `from`. */
function keyBefore(line: string, colon: number, from: number): string | undefined {
  let start = colon
  while (start > from && keyCharacter.test(line[start - 1]!)) start--
  while (start < colon && !keyStart.test(line[start]!)) start++
  return colon - start >= 2 ? line.slice(start, colon) : undefined
}

const quoted = /"(?:\\.|[^\\"])+"(?=,|$)/y

/** Value behind a colon and where to go on. */
function readValue(line: string, from: number): { value: string; next: number } {
  let start = from
  while (start < line.length && /\s/.test(line[start]!)) start++
  quoted.lastIndex = start
  const match = quoted.exec(line)
  if (match) return { value: unquote(match[0]), next: quoted.lastIndex + 1 }
  const comma = line.indexOf(',', start)
  const end = comma < 0 ? line.length : comma
  const value = line.slice(start, end)
  return { value: /^".*"$/s.test(value) ? unquote(value) : value, next: end + 1 }
}

function unquote(text: string): string {
  try {
    return JSON.parse(text) as string
  } catch {
    return text
  }
}

function readPairs(line: string): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; ;) {
    const colon = line.indexOf(':', at)
    if (colon < 0) return pairs
    const key = keyBefore(line, colon, at)
    if (key === undefined) {
      at = colon + 1
      continue
    }
    const { value, next } = readValue(line, colon + 1)
    pairs.push([key, value])
    at = next
  }
}

/**
 * Reads the text as the web UI does: what is no parameter line belongs to the prompt.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for what is no text, or one of more than 262144 characters
 */
export function parseInfotext(text: string): Infotext {
  checkString(text, 'text', maxTextLength)
  const lines = text.trim().split('\n')
  const last = readPairs(lines.at(-1)!)
  const pairs = last.length >= leastPairs ? last : []
  if (pairs.length > 0) lines.pop()

  const prompt: string[] = []
  const negative: string[] = []
  let current = prompt
  for (const line of lines.map((untrimmed) => untrimmed.trim())) {
    const starts = line.startsWith(negativeMark)
    if (starts) current = negative
    const part = starts ? line.slice(negativeMark.length).trim() : line
    // Leading empty lines vanish, as the web UI joins to what is there already.
    if (current.length > 0 || part !== '') current.push(part)
  }
  const fields = Object.fromEntries(pairs)
  const hypernet = fields.Hypernet === undefined ? '' : `<hypernet:${fields.Hypernet}:${fields['Hypernet strength'] ?? '1.0'}>`
  return { prompt: prompt.join('\n') + hypernet, negativePrompt: negative.join('\n'), fields }
}
