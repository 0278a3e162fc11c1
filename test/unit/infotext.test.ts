/** The "parameters" text of web UIs: written, read, and inside PNG files. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { RawImage } from '../../lib/image/raw-image'
import { formatInfotext, parseInfotext, type InfotextValue } from '../../lib/infotext/infotext'
import { writeInfotext } from '../../lib/infotext/fields'
import { samplerWord, scheduleWord } from '../../lib/infotext/words'
import type { AnyResolvedOptions, PipelineInfo } from '../../lib/types'
import { processorTime } from '../helpers/processor-time'
import { held, longestPromised } from '../helpers/thread-time'

const text = readFileSync(path.join('test', 'fixtures', 'procedures', 'infotext.json'), 'utf8')
// JavaScript has one kind of number: those with a fraction of 0 are kept as the reference prints them.
const golden: any = JSON.parse(text.replace(/("\w[\w ]*": )(-?\d+\.0)(?=[,}])/g, '$1"$2"'))

/** The web UI's settings of a golden case as fields, in no particular order. */
function fieldsOf(p: any): Record<string, InfotextValue> {
  const [vae, vaeHash] = p.vae ?? []
  const [resizeWidth, resizeHeight] = p.seed_resize
  return {
    User: p.user,
    Version: p.add_version === false ? null : 'v1.10.1',
    ...p.extra,
    Tiling: p.tiling,
    RNG: p.rng,
    'Init image hash': p.init_hash,
    'Token merging ratio': p.merging,
    ENSD: p.ensd,
    'Clip skip': p.clip_skip,
    'Conditional mask weight': p.inpaint_weight,
    'Seed resize from': resizeWidth > 0 ? `${resizeWidth}x${resizeHeight}` : null,
    'Variation seed strength': p.subseed_strength,
    'Variation seed': p.subseed,
    VAE: vae,
    'VAE hash': vaeHash,
    Model: p.add_model === false ? null : p.model,
    'Model hash': p.add_hash === false ? null : p.model_hash,
    Size: `${p.width}x${p.height}`,
    'Face restoration': p.restore_faces ? 'CodeFormer' : undefined,
    Seed: p.seed,
    'CFG scale': p.cfg_scale,
    'Schedule type': p.scheduler,
    Sampler: p.sampler,
    Steps: p.steps,
  }
}

describe('writing', () => {
  test('16 cases', () => expect(golden.write).toHaveLength(16))
  test.each(golden.write.map((entry: any, i: number) => [i, entry]) as [number, any][])('case %i', (_, { parameters, text }) => {
    expect(formatInfotext(parameters.prompt, parameters.negative, fieldsOf(parameters))).toBe(text)
  })
  test('a value equal to its key is written alone', () => {
    expect(formatInfotext('p', '', { Steps: 1, 'some extension': 'some extension' })).toBe('p\nSteps: 1, some extension')
  })
})

/** The web UI's own rules for reading the last line: its two patterns, and what it does with a match. */
function webUiFields(text: string): Record<string, string> {
  const line = text.trim().split('\n').at(-1)!
  const pairs = [...line.matchAll(/\s*([\p{L}\p{N}_][\p{L}\p{N}_ \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/gu)]
  if (pairs.length < 3) return {}
  const fields: Record<string, string> = {}
  for (const [, key, value] of pairs as unknown as [string, string, string][]) {
    if (value === '') continue // an error there, which leaves the pair out
    const unquoted = value.startsWith('"') && value.endsWith('"') ? (JSON.parse(value) as string) : value
    const size = /^(\d+)x(\d+)$/.exec(unquoted)
    if (size) Object.assign(fields, { [`${key}-1`]: size[1], [`${key}-2`]: size[2] })
    else fields[key] = unquoted
  }
  return fields
}

describe('every field can be read back by the rules of the web UI', () => {
  const info = (kind = 'text') => ({ kind, classes: [] }) as unknown as PipelineInfo
  const options = {
    prompt: 'a cat, <lora:x:1>: (b:1.2)',
    negativePrompt: 'dog',
    steps: 20,
    sampler: 'dpmpp_2m_sde',
    schedule: 'karras',
    guidanceScale: 7.5,
    seed: 18446744073709551615n,
    width: 512,
    height: 768,
    strength: 0.75,
    clipSkip: 2,
    rng: 'mt19937',
    eta: 0,
    emphasis: 'no_norm',
    guidanceRescale: 0.7,
    guidanceInterval: [0.1, 0.9],
    deepCache: { interval: 3, branch: 0 },
  } as unknown as AnyResolvedOptions
  const common = {
    Steps: '20',
    Sampler: 'DPM++ 2M SDE',
    'Schedule type': 'Karras',
    'CFG scale': '7.5',
    Seed: '18446744073709551615',
    'Size-1': '512',
    'Size-2': '768',
    'Denoising strength': '0.75',
    'Clip skip': '2',
    RNG: 'CPU',
    Eta: '0',
    Emphasis: 'No norm',
    'CFG Rescale phi': '0.7',
    'Guidance interval': '0.1 0.9',
    DeepCache: '3 0',
    Version: 'node-latent-diffusion 1.2.3',
  }

  test.each(['sd-v1-5', 'a, b: c', '"quoted"', '"', ' spaces ', 'back\\slash', 'line\nbreak', 'Model', 'x"y', '日本 🙂', '""', 'a:', ','])(
    'of a model called %j',
    (model) => {
      const text = writeInfotext(options, { model }, info(), '1.2.3')
      expect(webUiFields(text)).toEqual({ ...common, Model: model })
      expect(parseInfotext(text)).toMatchObject({
        prompt: options.prompt,
        negativePrompt: 'dog',
        fields: { Model: model, Emphasis: 'No norm', Eta: '0' },
      })
    },
  )

  test.each([
    [0.8, { Refiner: 'sd_xl_refiner_1.0', 'Refiner switch at': '0.8' }],
    [0, { Refiner: 'sd_xl_refiner_1.0', 'Refiner switch at': '0' }],
    [1, {}],
    [undefined, {}],
  ])('a refiner that takes over at %s', (refinerSwitchAt, expected) => {
    const names = { model: 'm', refiner: 'sd_xl_refiner_1.0' }
    const text = writeInfotext({ ...options, ...(refinerSwitchAt === undefined ? {} : { refinerSwitchAt }) }, names, info(), '1')
    const ofRefiner = (fields: Record<string, unknown>) => Object.fromEntries(Object.entries(fields).filter(([key]) => key.startsWith('Refiner')))
    expect(ofRefiner(webUiFields(text))).toEqual(expected)
    expect(ofRefiner(parseInfotext(text).fields)).toEqual(expected)
  })

  test('fields of other kinds', () => {
    const text = writeInfotext(
      { ...options, classId: 3, noiseLevel: 20, boxes: [{ label: 1, x: 0, y: 0.5, width: 1, height: 0.5 }] },
      { model: 'm' },
      info('layout'),
      '1',
    )
    expect(webUiFields(text)).toMatchObject({ 'Model kind': 'layout', Class: '3', 'Noise level': '20', Boxes: '1 at 0 0.5 1 0.5' })
  })

  test.each<[string, number | undefined, Record<string, string>]>([
    ['ddim', 0, {}],
    ['ddim', 0.5, { 'Eta DDIM': '0.5' }],
    ['plms', 1, { 'Eta DDIM': '1' }],
    ['euler_a', 1, {}],
    ['euler_a', 0, { Eta: '0' }],
    ['dpmpp_sde', 0.3, { Eta: '0.3' }],
    ['euler', 0, {}],
    ['tcd', 0.3, { Eta: '0.3' }],
    ['euler', undefined, {}],
  ])('eta of %s at %s: as its default there is', (sampler, eta, expected) => {
    const fields = webUiFields(writeInfotext({ ...options, sampler, eta }, { model: 'm' }, info(), '1'))
    expect(Object.fromEntries(Object.entries(fields).filter(([key]) => key.startsWith('Eta')))).toEqual(expected)
  })

  test.each([
    ['original', undefined],
    ['no_norm', 'No norm'],
    ['comfy', 'comfy'],
    [undefined, undefined],
  ])('emphasis %s', (emphasis, word) => {
    expect(webUiFields(writeInfotext({ ...options, emphasis } as AnyResolvedOptions, { model: 'm' }, info(), '1')).Emphasis).toBe(word)
  })
})

describe('reading', () => {
  test('38 cases', () => expect(golden.read).toHaveLength(38))
  test.each(golden.read.map((entry: any, i: number) => [i, entry]) as [number, any][])('case %i', (_, { text, prompt, negative, fields }) => {
    expect(parseInfotext(text)).toEqual({ prompt, negativePrompt: negative, fields })
  })
  test('long hostile texts take linear time', async () => {
    const time = await processorTime(() => {
      for (const unit of ['a', ' ', 'ab: "', 'ab: "\\", ', ':', ',', 'a a ', '"', '\n', 'Negative prompt:\n', 'a: b, '])
        parseInfotext(unit.repeat(250_000 / unit.length))
    })
    expect(time).toBeLessThan(5000)
  })
  const distinctKeys = Array.from({ length: 37_000 }, (_, i) => `k${i}:,`)
    .join('')
    .slice(0, 1 << 18)
  test.each<[string, string]>([
    ['letters', `${'a'.repeat((1 << 18) - 1)}:`],
    ['letters of another script', `${'猫'.repeat((1 << 18) - 1)}:`],
    ['lines', `x${'\n'.repeat((1 << 18) - 2)}x`],
    ['lines with white space', ' a\n'.repeat(87_380)],
    ['a field that comes again', 'ab:,'.repeat(1 << 16)],
    ['quoted fields', 'ab:"x",'.repeat(37_000)],
    ['other fields', distinctKeys],
    ['white space', `ab:${' '.repeat((1 << 18) - 4)}x`],
  ])('a quarter of a million characters hold the event loop for 20 ms at most: %s', async (_, text) => {
    expect(await held(() => parseInfotext(text))).toBeLessThan(longestPromised)
  })
  test('a line with more than 1000 fields belongs to the prompt', () => {
    const line = (count: number) => Array.from({ length: count }, (_, i) => `key ${i}: ${i}`).join(', ')
    expect(Object.keys(parseInfotext(`p\n${line(1000)}`).fields)).toHaveLength(1000)
    expect(parseInfotext(`p\n${line(1001)}`)).toEqual({ prompt: `p\n${line(1001)}`, negativePrompt: '', fields: {} })
  })
  test('a key named __proto__ is a field like any other', () => {
    const { fields } = parseInfotext('p\nSteps: 1, __proto__: 2, Seed: 3')
    expect(Object.keys(fields)).toEqual(['Steps', '__proto__', 'Seed'])
  })
})

describe('in PNG files', () => {
  const pngs: { text: string; chunk: string; png_base64: string }[] = golden.png

  test.each(pngs.map((entry, i): [number, (typeof pngs)[0]] => [i, entry]))('case %i is read', async (_, { text, png_base64 }) => {
    const image = await RawImage.read(Buffer.from(png_base64, 'base64'))
    expect(image.metadata).toEqual({ parameters: text })
    expect([image.width, image.height, image.channels]).toEqual([4, 4, 3])
  })

  test.each(pngs.map((entry, i): [number, (typeof pngs)[0]] => [i, entry]))(
    'case %i is written as the reference writes it',
    async (_, { text, chunk, png_base64 }) => {
      const reference = Buffer.from(png_base64, 'base64')
      const image = new RawImage({ data: new Uint8Array(48), width: 4, height: 4, channels: 3, metadata: { parameters: text } })
      const bytes = Buffer.from(await image.encode('png'))
      const length = bytes.readUInt32BE(33)
      expect(bytes.toString('latin1', 37, 41)).toBe(chunk)
      // Header and text chunk, check sum included, are the same bytes.
      expect(bytes.subarray(0, 45 + length).equals(reference.subarray(0, 45 + length))).toBe(true)
      expect((await RawImage.read(bytes)).metadata).toEqual({ parameters: text })
    },
  )
})

test('names of samplers and schedules in the web UI', () => {
  expect(['euler_a', 'dpmpp_2m_sde', 'ddim', 'unipc', 'my_own'].map(samplerWord)).toEqual(['Euler a', 'DPM++ 2M SDE', 'DDIM', 'UniPC', 'my_own'])
  expect(['normal', 'karras', 'sgm_uniform', 'ays', 'toString'].map(scheduleWord)).toEqual([
    'Uniform',
    'Karras',
    'SGM Uniform',
    'Align Your Steps',
    'toString',
  ])
})
