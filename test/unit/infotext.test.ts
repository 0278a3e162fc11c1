/** The "parameters" text of web UIs: written, read, and inside PNG files. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { RawImage } from '../../lib/image/raw-image'
import { formatInfotext, parseInfotext, type InfotextValue } from '../../lib/infotext'
import { readInfotext, writeInfotext } from '../../lib/infotext-fields'

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
    const started = performance.now()
    for (const unit of ['a', ' ', 'ab: "', 'ab: "\\", ', ':', ',', 'a a ', '"', '\n', 'Negative prompt:\n', 'a: b, '])
      parseInfotext(unit.repeat(1_000_000 / unit.length))
    expect(performance.now() - started).toBeLessThan(5000)
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

describe('our options in the web UI’s words', () => {
  const options = {
    prompt: 'a (cat:1.2), sitting',
    negativePrompt: 'blurry',
    steps: 25,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    guidanceScale: 7.5,
    guidanceRescale: 0,
    seed: 18446744073709551615n,
    width: 640,
    height: 384,
    rng: 'philox',
    emphasis: 'original',
  } as const
  const version = (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version

  test('written', () => {
    expect(writeInfotext(options, 'sd-v1-5')).toBe(
      'a (cat:1.2), sitting\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 18446744073709551615, ' +
        `Size: 640x384, Model: sd-v1-5, RNG: NV, Version: node-latent-diffusion ${version}`,
    )
  })

  test('and read back', () => {
    const { guidanceRescale, emphasis, ...kept } = options
    expect([guidanceRescale, emphasis]).toEqual([0, 'original'])
    expect(readInfotext(writeInfotext(options, 'm')).options).toEqual(kept)
    const more = {
      ...options,
      sampler: 'ddim',
      schedule: Float32Array.of(14.5, 1, 0),
      eta: 0.5,
      clipSkip: 2,
      strength: 0.6,
      guidanceRescale: 0.7,
      rng: 'mt19937',
      emphasis: 'no_norm',
    } as const
    expect(readInfotext(writeInfotext(more, 'm, with: marks')).options).toEqual(more)
    expect(readInfotext(writeInfotext(more, 'm, with: marks')).fields.Model).toBe('m, with: marks')
  })

  test.each([
    ['DPM++ 2M Karras', { sampler: 'dpmpp_2m', schedule: 'karras' }],
    ['Euler a', { sampler: 'euler_a' }],
    ['DPM++ 2M SDE Exponential', { sampler: 'dpmpp_2m_sde', schedule: 'exponential' }],
    ['Unheard Of', {}],
  ])('a picture of a web UI with the sampler %s', (label, expected) => {
    const { options } = readInfotext(`p\nSteps: 20, Sampler: ${label}, CFG scale: 7, Seed: 5, Size: 512x, Clip skip: two`)
    expect(options).toEqual({ prompt: 'p', negativePrompt: '', steps: 20, guidanceScale: 7, seed: 5n, rng: 'philox', ...expected })
  })
})
