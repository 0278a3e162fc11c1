/** The "parameters" text of web UIs: written, read, and inside PNG files. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { RawImage } from '../../lib/image/raw-image'
import { formatInfotext, parseInfotext, type InfotextValue } from '../../lib/infotext/infotext'
import { samplerWord, scheduleWord } from '../../lib/infotext/words'
import { processorTime } from '../helpers/processor-time'

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
  test('a value equal to its key stands alone', () => {
    expect(formatInfotext('p', '', { Steps: 1, 'some extension': 'some extension' })).toBe('p\nSteps: 1, some extension')
  })
})

describe('reading', () => {
  test('38 cases', () => expect(golden.read).toHaveLength(38))
  test.each(golden.read.map((entry: any, i: number) => [i, entry]) as [number, any][])('case %i', (_, { text, prompt, negative, fields }) => {
    expect(parseInfotext(text)).toEqual({ prompt, negativePrompt: negative, fields })
  })
  test('long hostile texts take no longer than their length', () => {
    const time = processorTime(() => {
      for (const unit of ['a', ' ', 'ab: "', 'ab: "\\", ', ':', ',', 'a a ', '"', '\n', 'Negative prompt:\n', 'a: b, '])
        parseInfotext(unit.repeat(1_000_000 / unit.length))
    })
    expect(time).toBeLessThan(5000)
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

test('our samplers and schedules in the web UI’s words', () => {
  expect(['euler_a', 'dpmpp_2m_sde', 'ddim', 'unipc', 'my_own'].map(samplerWord)).toEqual(['Euler a', 'DPM++ 2M SDE', 'DDIM', 'UniPC', 'my_own'])
  expect(['normal', 'karras', 'sgm_uniform', 'ays', 'toString'].map(scheduleWord)).toEqual([
    'Uniform',
    'Karras',
    'SGM Uniform',
    'Align Your Steps',
    'toString',
  ])
})
