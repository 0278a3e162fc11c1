/** What the server's page computes without a browser: prompt weights, texts of images, marks, requests as text, masks. */
import { deflateSync } from 'node:zlib'
import { RawImage } from '../../lib/image/raw-image'
import { upscalers } from '../../lib/infotext/words'
import { samplerNames, scheduleNames, upscalerNames } from '../../lib/names'
import { asCommand, asCurl, asJavaScript } from '../../packages/server/page/src/tools/copy-as'
import { fromInfotext } from '../../packages/server/page/src/tools/from-infotext'
import { readPngText, withPngText } from '../../packages/server/page/src/tools/png'
import { changeWeight } from '../../packages/server/page/src/tools/prompt-weight'
import { endOfTokens } from '../../packages/server/page/src/tools/token-marks'
import { feathered, reach } from '../../packages/server/page/src/mask/blur'
import { add, canRedo, canUndo, empty, redo, undo, visible } from '../../packages/server/page/src/mask/history'
import { crc32 } from '../helpers/crc32'

const names = { samplers: samplerNames, schedules: scheduleNames }

describe('prompt weights by keyboard', () => {
  const weigh = (marked: string, by: number) => {
    const start = marked.indexOf('|')
    const end = marked.lastIndexOf('|') - (start === marked.lastIndexOf('|') ? 0 : 1)
    return changeWeight(marked.replaceAll('|', ''), start, end, by)
  }
  test.each([
    ['a re|d circle', 0.1, 'a (red:1.1) circle'],
    ['a |red circle|', 0.1, 'a (red circle:1.1)'],
    ['a |red |circle', -0.1, 'a (red:0.9) circle'],
    ['a (re|d:1.1) circle', 0.1, 'a (red:1.2) circle'],
    ['a (re|d:1.1) circle', -0.1, 'a red circle'],
    ['((re|d:1.1) circle:1.3)', 0.1, '((red:1.2) circle:1.3)'],
    ['((red:1.1) ci|rcle:1.3)', 0.1, '((red:1.1) circle:1.4)'],
    ['a (re|d) circle', 0.1, 'a ((red:1.1)) circle'],
    ['(red:2.0|)', 0.1, '(red:2)'],
  ])('%s by %d', (marked, by, expected) => expect(weigh(marked, by)?.text).toBe(expected))

  test('the words stay selected, so that the key can be repeated', () => {
    let edited = { text: 'a red circle', start: 3, end: 3 }
    for (let i = 0; i < 5; i++) edited = changeWeight(edited.text, edited.start, edited.end, 0.1)!
    expect(edited.text).toBe('a (red:1.5) circle')
    for (let i = 0; i < 5; i++) edited = changeWeight(edited.text, edited.start, edited.end, -0.1)!
    expect(edited).toEqual({ text: 'a red circle', start: 2, end: 5 })
  })

  test('without words to weight', () => expect(changeWeight('a , b', 2, 2, 0.1)).toBeUndefined())
})

describe('texts in PNG files', () => {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
    const out = Buffer.alloc(body.length + 8)
    out.writeUInt32BE(data.length)
    body.copy(out, 4)
    out.writeUInt32BE(crc32(body), body.length + 4)
    return out
  }
  const png = (...chunks: Uint8Array[]) =>
    Uint8Array.from(Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', Buffer.alloc(13)), ...chunks]))
  const text = 'prompt\nSteps: 20, Größe 日本'
  const zero = Buffer.alloc(1)

  test.each([
    ['tEXt', chunk('tEXt', Buffer.concat([Buffer.from('parameters\0'), Buffer.from('plain é', 'latin1')])), 'plain é'],
    ['zTXt', chunk('zTXt', Buffer.concat([Buffer.from('parameters\0\0'), deflateSync('packed')])), 'packed'],
    ['iTXt', chunk('iTXt', Buffer.from(`parameters\0\0\0\0\0${text}`)), text],
    ['packed iTXt', chunk('iTXt', Buffer.concat([Buffer.from('parameters\0\x01\0en\0x\0'), deflateSync(text)])), text],
  ])('%s', async (_, part, expected) => expect(await readPngText(png(chunk('tEXt', Buffer.from('other\0no')), part), 'parameters')).toBe(expected))

  test('reads what this library and the page write', async () => {
    const image = new RawImage({ data: new Uint8Array(12), width: 2, height: 2, channels: 3 })
    const file = Uint8Array.from(await image.encode())
    const written = withPngText(file, 'parameters', text)
    expect(await readPngText(written, 'parameters')).toBe(text)
    // Its check sums are right: the library's own reader is strict.
    expect((await RawImage.read(written)).metadata?.parameters).toBe(text)
  })

  test('hostile files', async () => {
    const bomb = chunk('zTXt', Buffer.concat([Buffer.from('parameters\0\0'), deflateSync(Buffer.alloc(1 << 24))]))
    await expect(readPngText(png(bomb), 'parameters')).rejects.toThrow('too long')
    await expect(readPngText(Uint8Array.of(1, 2, 3), 'parameters')).rejects.toThrow('not a PNG')
    await expect(readPngText(png(chunk('zTXt', Buffer.from('parameters\0\0broken'))), 'parameters')).rejects.toThrow()
    for (const bytes of [zero, Buffer.from('parameters\0\0'), Buffer.from('no end')])
      for (const type of ['tEXt', 'iTXt']) await expect(readPngText(png(chunk(type, bytes)), 'absent')).resolves.toBeUndefined()
    const long = png(chunk('tEXt', Buffer.from('parameters\0x')))
    long[8 + 25 + 3] = 255 // a chunk that ends behind the file
    expect(await readPngText(long, 'parameters')).toBeUndefined()
  })
})

describe('settings from an infotext', () => {
  test("from AUTOMATIC1111's web UI", () => {
    const found = fromInfotext(
      'a (cat:1.2), <b>bold</b>\nsecond line\nNegative prompt: dog\nSteps: 30, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 6.5, Seed: 18446744073709551615, Size: 512x768, Model hash: 1234567890, Denoising strength: 0.4, Clip skip: 2, Version: v1.10.1',
      names,
    )
    expect(found).toEqual({
      prompt: 'a (cat:1.2), <b>bold</b>\nsecond line',
      negativePrompt: 'dog',
      steps: 30,
      sampler: 'dpmpp_2m_sde',
      schedule: 'karras',
      guidanceScale: 6.5,
      seed: '18446744073709551615',
      width: 512,
      height: 768,
      strength: 0.4,
      clipSkip: 2,
      variationSeed: '', // none, whatever was set before
      variationStrength: 0,
      hiresScale: 1,
    })
  })
  test('sampler and schedule in one name, as before 1.9', () => {
    expect(fromInfotext('x\nSteps: 3, Sampler: DPM++ 2M Karras, Seed: 1', names)).toMatchObject({ sampler: 'dpmpp_2m', schedule: 'karras' })
    expect(fromInfotext('x\nSteps: 3, Sampler: Euler a, Seed: 1', names)).toMatchObject({ sampler: 'euler_a', schedule: '' })
  })
  test('variations', () => {
    const text = 'x\nSteps: 3, Seed: 1, Variation seed: 18446744073709551615, Variation seed strength: 0.25'
    expect(fromInfotext(text, names)).toMatchObject({ seed: '1', variationSeed: '18446744073709551615', variationStrength: 0.25 })
    const wrong = fromInfotext('x\nSteps: 3, Seed: 1, Variation seed: -1, Variation seed strength: 7', names)
    expect(wrong).toMatchObject({ variationSeed: '', variationStrength: 0 })
  })
  test('a second pass', () => {
    const text = 'x\nSteps: 3, Seed: 1, Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 3, Hires upscaler: Lanczos'
    const found = fromInfotext(text, names)
    expect(found).toMatchObject({ hiresScale: 1.5, hiresStrength: 0.4, hiresUpscaler: 'lanczos' })
    expect(found).not.toHaveProperty('strength')
    const unknown = fromInfotext('x\nSteps: 3, Seed: 1, Hires upscale: 2, Hires upscaler: R-ESRGAN 4x+', names)
    expect(unknown).toMatchObject({ hiresScale: 2, hiresUpscaler: 'latent' })
    for (const [name, words] of upscalers)
      expect(fromInfotext(`x\nSteps: 3, Seed: 1, Hires upscale: 2, Hires upscaler: ${words}`, names)?.hiresUpscaler).toBe(name)
    expect(upscalers.map(([name]) => name)).toEqual(upscalerNames)
  })
  test('every name of this library', () => {
    for (const name of samplerNames) expect(fromInfotext(`x\nSteps: 3, Sampler: ${name}, Seed: 1`, names)?.sampler).toBe(name)
  })
  test('out-of-range numbers and unknown names are ignored', () => {
    expect(fromInfotext('x\nSteps: -3, Sampler: Magic, CFG scale: 1e9, Seed: -1, Size: huge', names)).toEqual({
      prompt: 'x',
      negativePrompt: '',
      variationSeed: '',
      variationStrength: 0,
      hiresScale: 1,
    })
    expect(fromInfotext('only a prompt', names)).toBeUndefined()
  })
})

test('the truncated part of a prompt', () => {
  const prompt = 'a (red:1.2) circle above, blue things'
  expect(endOfTokens(prompt, ['a</w>', 'red</w>', 'circle</w>', 'above</w>', ',</w>'])).toBe(prompt.indexOf(' blue'))
  expect(endOfTokens(prompt, ['a', 'red', 'cir', '##cle'])).toBe(prompt.indexOf(' above'))
  expect(endOfTokens(prompt, ['ðŁ</w>', 'a</w>'])).toBe(1)
})

describe('requests as code', () => {
  const options = { model: 'default', prompt: 'it\'s a "cat"\n$HOME `x`', negativePrompt: 'dog', width: 64, height: 64, seed: '18446744073709551615' }
  const none = { image: false, mask: false }
  test('curl', () => {
    const text = asCurl('http://127.0.0.1:7861', options, none)
    expect(text).toContain("'\\''s a") // the only way out of single quotes
    const body = /-d '([\s\S]*)'$/.exec(text)![1]!.replaceAll("'\\''", "'")
    expect(JSON.parse(body)).toEqual(options)
    for (const attached of [none, { image: true, mask: false }])
      expect(asCurl('http://h', options, attached, true)).toContain(
        'curl http://h/latent/v1/jobs \\\n  -H "authorization: Bearer $LATENT_TOKEN" \\\n  -',
      )
    expect(asCurl('http://h', options, none)).not.toContain('authorization')
    expect(asCurl('http://h', options, { image: true, mask: true })).toContain('-F image=@picture.png \\\n  -F mask=@mask.png')
  })
  test('JavaScript', () => {
    const text = asJavaScript({ ...options, model: undefined }, { image: true, mask: false })
    expect(text).toContain('seed: 18446744073709551615n')
    expect(text).toContain("image: 'picture.png'")
    const literal = /prompt: ('.*'),/.exec(text)![1]!
    // eslint-disable-next-line @typescript-eslint/no-implied-eval
    expect(new Function(`return ${literal}`)()).toBe(options.prompt)
  })
  test('command line', () => {
    expect(asCommand({ prompt: 'a cat', steps: 4, seed: 7, guidanceScale: 3.5 }, none)).toBe(
      "latent generate 'a cat' --steps 4 --seed 7 --guidance-scale 3.5",
    )
    expect(asCommand({ prompt: '-a', negativePrompt: '--b c' }, none)).toBe("latent generate --prompt=-a --negative-prompt='--b c'")
    expect(asCommand({ prompt: 'a cat', imageGuidanceScale: 2 }, { image: true, mask: false })).toBe(
      "latent generate 'a cat' --image-guidance-scale 2 --image picture.png",
    )
    const varied = { prompt: 'a cat', seed: 7, variationSeed: '18446744073709551615', variationStrength: 0.5 }
    expect(asCommand(varied, none)).toBe("latent generate 'a cat' --seed 7 --variation-seed 18446744073709551615 --variation-strength 0.5")
    expect(asJavaScript(varied, none)).toContain('  seed: 7,\n  variationSeed: 18446744073709551615n,\n')
    const depth = { image: false, mask: false, depthMap: true }
    const hires = { scale: 2, strength: 0.5, upscaler: 'latent_bicubic' } as const
    expect(asCommand({ seed: 7, hires }, none)).toBe('latent generate --seed 7 --hires-scale 2 --hires-strength 0.5 --hires-upscaler latent_bicubic')
    expect(asJavaScript({ hires }, none)).toContain('  hires: {"scale":2,"strength":0.5,"upscaler":"latent_bicubic"},\n')
    expect(asCommand({ prompt: 'a cat' }, depth)).toBe("latent generate 'a cat' --depth-map depth.png")
    expect(asCurl('http://h', {}, depth)).toContain('-F depthMap=@depth.png')
    expect(asJavaScript({}, depth)).toContain("depthMap: 'depth.png'")
    expect(asCommand({ model: 'sd15' }, { image: true, mask: true })).toBe('latent generate --model path/to/sd15 --image picture.png --mask mask.png')
  })
})

describe('masks', () => {
  test('undo and redo', () => {
    let history = add(add(empty, { type: 'invert' }), { type: 'clear' })
    expect(visible(history)).toEqual([{ type: 'clear' }])
    history = undo(history)
    expect([visible(history), canUndo(history), canRedo(history)]).toEqual([[{ type: 'invert' }], true, true])
    history = add(undo(history), { type: 'clear' })
    expect([history.changes.length, canRedo(history)]).toEqual([1, false])
    expect(undo(undo(history)).length).toBe(0)
    expect(redo(redo(undo(history))).length).toBe(1)
  })
  test('a feathered edge keeps the middle and falls off evenly', () => {
    const [width, height] = [60, 40]
    const mask = Uint8ClampedArray.from({ length: width * height }, (_, i) => (i % width < 30 ? 255 : 0))
    const soft = feathered(mask, width, height, 9)
    const row = [...soft.subarray(20 * width, 21 * width)]
    expect(row[5]).toBe(255)
    expect(row[55]).toBe(0)
    expect(Math.abs(row[29]! + row[30]! - 255)).toBeLessThanOrEqual(1)
    expect(row).toEqual([...row].sort((a, b) => b - a))
    expect([...soft.subarray(0, width)]).toEqual(row) // nothing depends on the height: edges repeat
    const all = reach(soft, 9)
    expect([...all].every((value, i) => value === 255 || soft[i]! < 4)).toBe(true)
    expect(feathered(mask, width, height, 0)).toBe(mask)
  })
})
