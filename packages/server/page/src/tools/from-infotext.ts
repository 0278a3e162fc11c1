/** Reads the page's fields from the text that web UIs and this library write into images. */
import { readInfotext } from '../../../../../lib/infotext/read.js'
import { samplerWord, scheduleWord, upscalers } from '../../../../../lib/infotext/words.js'
import type { Settings } from '../state/settings-type.js'

/** The fields in the text; others are absent. */
export type Found = Partial<Settings>

/** Names that the model has. */
export interface Names {
  samplers: readonly string[]
  schedules: readonly string[]
}

const plain = (text: string) =>
  text
    .toLowerCase()
    .replace(/[\s_]+/g, ' ')
    .trim()

/** Web UIs before 1.9 wrote sampler and schedule together: "DPM++ 2M Karras". */
function samplerOf(word: string, { samplers, schedules }: Names): Pick<Found, 'sampler' | 'schedule'> {
  const named = (text: string) => samplers.find((name) => plain(name) === text || plain(samplerWord(name)) === text)
  const whole = plain(word)
  const sampler = named(whole)
  if (sampler) return { sampler }
  for (const schedule of schedules) {
    const ending = ` ${plain(scheduleWord(schedule))}`
    const front = whole.endsWith(ending) ? named(whole.slice(0, -ending.length)) : undefined
    if (front) return { sampler: front, schedule }
  }
  return {}
}

function scheduleOf(word: string, { schedules }: Names): string | undefined {
  const wanted = plain(word)
  return schedules.find((name) => plain(name) === wanted || plain(scheduleWord(name)) === wanted)
}

/** The number in a text, if it is valid and in range. */
function number(text: string | undefined, min: number, max: number): number | undefined {
  const value = text === undefined || text.trim() === '' ? NaN : Number(text)
  return value >= min && value <= max ? value : undefined
}

const digits = (text = '') => (/^\d{1,20}$/.test(text) ? text : undefined)

const isHires = (fields: Record<string, string>) => fields['Hires upscale'] !== undefined || fields['Hires resize'] !== undefined

/** The second pass; none if the text has none, whatever was set before. */
function hiresOf(fields: Record<string, string>): Found {
  const hiresScale = number(fields['Hires upscale'], 1, 16) ?? 1
  if (hiresScale === 1) return { hiresScale }
  const named = upscalers.find(([name, words]) => [name, words].includes(fields['Hires upscaler'] ?? ''))
  const hiresStrength = number(fields['Denoising strength'], 0.01, 1)
  return { hiresScale, hiresUpscaler: named?.[0] ?? 'latent', ...(hiresStrength === undefined ? {} : { hiresStrength }) }
}

/** @returns undefined if the text has no settings */
export function fromInfotext(text: string, names: Names): Found | undefined {
  const { prompt, negativePrompt, fields } = readInfotext(text)
  const size = /^(\d{1,5})\s*x\s*(\d{1,5})$/i.exec(fields.Size ?? '')
  const steps = number(fields.Steps, 1, 1000)
  if (!size && steps === undefined && fields.Seed === undefined) return undefined
  const found: Found = {
    prompt,
    negativePrompt,
    width: size ? Number(size[1]) : undefined,
    height: size ? Number(size[2]) : undefined,
    steps: steps === undefined ? undefined : Math.round(steps),
    guidanceScale: number(fields['CFG scale'], 0, 100),
    imageGuidanceScale: number(fields['Image CFG scale'], 0, 100),
    strength: isHires(fields) ? undefined : number(fields['Denoising strength'], 0, 1),
    clipSkip: number(fields['Clip skip'], 1, 12),
    seed: digits(fields.Seed),
    // Absent: none, whatever was set before.
    variationSeed: digits(fields['Variation seed']) ?? '',
    variationStrength: number(fields['Variation seed strength'], 0, 1) ?? 0,
    ...hiresOf(fields),
    ...(fields.Sampler === undefined ? {} : samplerOf(fields.Sampler, names)),
  }
  const schedule = fields['Schedule type'] === undefined ? undefined : scheduleOf(fields['Schedule type'], names)
  if (schedule) found.schedule = schedule
  else if (found.sampler && !found.schedule) found.schedule = ''
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}
