/**
 * The "parameters" text that web UIs store in an image (AUTOMATIC1111 1.10): the prompt, a line "Negative prompt: ...", and one line of "Key: value" pairs. A
 * value with a comma, colon or line break is quoted as in JSON, and so are values that would not survive reading: empty ones, and those with a leading
 * quotation mark or white space at the ends. If an extension's value equals its key, the key is written alone.
 */

import { checkString, invalidRange, invalidType, show } from '../options/validate.js'
import { negativeMark, readInfotext, type Infotext } from './read.js'
import type { InfotextValue } from './words.js'

export type { Infotext, InfotextValue }

/** Far more than any image has. */
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

function place(key: string): number {
  const leading = leadingKeys.indexOf(key)
  return leading >= 0 ? leading : leadingKeys.length + 1 + trailingKeys.indexOf(key)
}

function writePair(key: string, value: Exclude<InfotextValue, null | undefined>): string {
  if (!['string', 'number', 'bigint', 'boolean'].includes(typeof value))
    throw invalidType(`fields.${key} must be a string, a number or a boolean, not ${show(value)}`)
  const text = typeof value === 'boolean' ? (value ? 'True' : 'False') : checkString(String(value), `fields.${key}`, maxFieldLength)
  if (key === text && !leadingKeys.includes(key)) return key
  return `${key}: ${/[,\n:]|^["\s]|\s$|^$/.test(text) ? JSON.stringify(text) : text}`
}

/** Writes the text. Known keys are in the web UI's order, others before `Version` in the given order. */
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

/**
 * Reads the text as the web UI does: lines without parameters belong to the prompt. A line of fewer than 3 or more than 1000 fields is not a parameter line.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` if the text is not a string or has more than 262144 characters
 */
export function parseInfotext(text: string): Infotext {
  checkString(text, 'text', maxTextLength)
  return readInfotext(text)
}
