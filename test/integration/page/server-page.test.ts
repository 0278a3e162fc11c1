/** The server's page in a real browser. */
import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import path from 'node:path'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { RawImage } from '../../../lib/image/raw-image'
import { holdEngine } from '../../helpers/held-engine'
import { draw, findings, folder, gallery, give, inBrowser, number, press, prompt, seed, thumbs } from './browser'

test('one page, one script and one style sheet within 60 kB gzipped, nothing inline, nothing from other origins', () => {
  const files = readdirSync(folder)
  expect(files.map((name) => path.extname(name)).sort()).toEqual(['.css', '.html', '.js', '.svg'])
  const size = files.reduce((sum, name) => sum + gzipSync(readFileSync(path.join(folder, name))).length, 0)
  expect(size).toBeLessThanOrEqual(60_000)
  // What the documentation says: rounded up to the next ten.
  const told = Number(/less than (\d+) kB compressed/.exec(readFileSync('docs/page.md', 'utf8'))![1])
  expect(told).toBe(Math.ceil(size / 10_000) * 10)
  const html = readFileSync(path.join(folder, 'index.html'), 'utf8')
  expect(html).not.toMatch(/<style|\son\w+=|style=|<script(?![^>]*\ssrc="\.\/)/)
  expect(html.match(/(src|href)="(?!\.\/)/)).toBeNull()
})

/** That the page says so, which it does for some seconds only: to be awaited from before its cause. */
const says = (page: Page, what: string | RegExp) => page.getByRole('status').getByText(what).waitFor()

inBrowser('the page in Chromium', (own) => {
  test('from a prompt to an image in the gallery: tokens, memory, preview, progress', async () => {
    const page = await own.open()
    expect(await findings(page)).toEqual([])
    await prompt(page).fill('a red circle above a blue square')
    await page.getByText('7 / 75 tokens').waitFor()
    await page.getByText(/About [\d.]+ MB for this image, [\d.]+ [MG]B free/).waitFor()
    await number(page, 'Steps').fill('60')
    using held = holdEngine()
    await prompt(page).press('Control+Enter')
    await page.getByRole('img', { name: /^Preview/ }).waitFor()
    await page.getByText(/^Step \d+ of 60$/).waitFor()
    await page.getByText(/^[\d.]+ (s|min) left$/).waitFor()
    expect(await findings(page)).toEqual([])
    const ready = says(page, /^Image ready, seed \d+/)
    held.open()
    await Promise.all([ready, thumbs(page).waitFor()])
    const used = await seed(page).inputValue()
    const [picture] = await gallery(page)
    expect(picture!.metadata?.parameters).toContain(
      `a red circle above a blue square\nSteps: 60, Sampler: DDIM, Schedule type: leading, CFG scale: 4, Seed: ${used}, Size: 64x64`,
    )

    // Text from outside is text.
    const evil = '<img src=x onerror="document.title=1"> (circle:1.2)'
    await draw(page, { prompt: evil, steps: 2 })
    await page.getByText(evil, { exact: true }).first().waitFor()
    expect(await page.locator('img[src=x]').count()).toBe(0)

    await page.reload()
    await thumbs(page).nth(1).waitFor()
    expect(await prompt(page).inputValue()).toBe(evil)
    await page.context().close()
  })

  test('seeds: random, fixed, taken from an image; all settings of an image', async () => {
    const page = await own.open()
    await draw(page, { prompt: 'a blue circle', steps: 2 })
    const first = await seed(page).inputValue()
    await draw(page, {})
    expect(await seed(page).inputValue()).not.toBe(first)
    await thumbs(page).nth(1).click()
    await press(page, 'Use seed')
    expect(await seed(page).inputValue()).toBe(first)
    expect(await page.getByRole('button', { name: 'Keep this seed' }).getAttribute('aria-pressed')).toBe('true')
    await draw(page, {})
    await prompt(page).fill('another')
    await number(page, 'Steps').fill('9')
    await press(page, 'Use all')
    expect([await prompt(page).inputValue(), await number(page, 'Steps').inputValue()]).toEqual(['a blue circle', '2'])
    const [third, second, original] = await gallery(page)
    expect(Buffer.from(third!.data)).toEqual(Buffer.from(original!.data))
    expect(Buffer.from(second!.data)).not.toEqual(Buffer.from(original!.data))
    await press(page, 'New random seed')
    expect(await seed(page).inputValue()).not.toBe(first)

    // Keys of the gallery, and of earlier prompts.
    await page.locator('h1').click()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('ArrowRight')
    expect(await thumbs(page).nth(2).getAttribute('aria-selected')).toBe('true')
    await thumbs(page).nth(2).press('Delete')
    expect(await thumbs(page).count()).toBe(2)
    await prompt(page).fill('unsent')
    await prompt(page).press('Alt+ArrowUp')
    expect(await prompt(page).inputValue()).toBe('a blue circle')
    await prompt(page).press('Alt+ArrowDown')
    expect(await prompt(page).inputValue()).toBe('unsent')
    await prompt(page).press('Control+ArrowUp')
    expect(await prompt(page).inputValue()).toBe('(unsent:1.1)')

    // Two images on one another.
    await press(page, 'Compare with another image')
    const divider = page.getByRole('slider', { name: 'How much of the first image is shown' })
    await divider.fill('25')
    expect(await page.locator('.after').evaluate((element) => getComputedStyle(element).clipPath)).toContain('25%')
    expect(await findings(page)).toEqual([])
    await press(page, 'Done')
    await page.context().close()
  })

  test('the queue: order, removal, cancelling by key, reloading the page', async () => {
    const page = await own.open()
    using held = holdEngine()
    for (const [word, steps] of Object.entries({ first: 150, second: 50, third: 50, fourth: 50 })) {
      await number(page, 'Steps').fill(String(steps))
      await prompt(page).fill(word)
      await prompt(page).press('Control+Enter')
      await page.getByRole('button', { name: /^(Add to queue)/ }).waitFor()
    }
    const waiting = page.getByRole('region', { name: 'Queue' }).getByRole('listitem')
    await page.getByText('Waiting, 3 before it').waitFor()
    expect(await findings(page)).toEqual([])
    await press(page, 'Earlier: fourth')
    await waiting.nth(2).getByText('fourth').waitFor()
    await Promise.all([says(page, 'Cancelled'), press(page, 'Remove from the queue: second')])
    await waiting.nth(1).getByText('fourth').waitFor()
    await page.keyboard.press('Escape') // the first one, which runs
    await page.getByText('first', { exact: true }).waitFor({ state: 'detached' })
    await waiting.getByText('third').waitFor()
    await press(page, 'Remove from the queue: third')
    await waiting.getByText('third').waitFor({ state: 'detached' })
    held.open()
    await page.getByRole('region', { name: 'Queue' }).waitFor({ state: 'detached' })
    await page.reload()
    await prompt(page).waitFor()
    await thumbs(page).waitFor()
    const pictures = await gallery(page)
    expect(pictures.map(({ metadata }) => metadata?.parameters?.split('\n')[0])).toEqual(['fourth'])
    await page.context().close()
  })

  test('a second pass at a larger size, and its settings from the image', async () => {
    const page = await own.open()
    await page.getByText('Advanced').click()
    await number(page, 'Hires scale').fill('1.5')
    await number(page, 'Hires strength').fill('0.5')
    await page.getByLabel('Hires upscaler').selectOption('lanczos')
    expect(await findings(page)).toEqual([])
    await draw(page, { prompt: 'a green triangle', steps: 4, seed: '7' })
    const [large] = await gallery(page)
    expect([large!.width, large!.height]).toEqual([96, 96])
    expect(large!.metadata?.parameters).toContain('Denoising strength: 0.5, Hires upscale: 1.5, Hires steps: 4, Hires upscaler: Lanczos')
    for (const name of ['Hires strength', 'Hires scale']) await number(page, name).fill('1')
    const file = await large!.encode()
    await Promise.all([says(page, 'Settings of the image applied'), give(page, 'drop', file)])
    expect([await number(page, 'Hires scale').inputValue(), await number(page, 'Hires strength').inputValue()]).toEqual(['1.5', '0.5'])
    await page.context().close()
  })

  test('given images: settings fill the fields, start images, a painted mask', async () => {
    const page = await own.open()
    const parameters =
      'a yellow star\nNegative prompt: blue\nSteps: 3, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 18446744073709551615, Size: 96x64, Version: v1.10.1'
    const grey = new RawImage({ data: new Uint8Array(64 * 64 * 3).fill(128), width: 64, height: 64, channels: 3 })
    const told = await new RawImage({ data: grey.data, width: 64, height: 64, channels: 3, metadata: { parameters } }).encode()
    await Promise.all([says(page, 'Settings of the image applied'), give(page, 'drop', told)])
    expect(await prompt(page).inputValue()).toBe('a yellow star')
    expect(await page.getByRole('textbox', { name: 'Negative prompt' }).inputValue()).toBe('blue')
    expect(await seed(page).inputValue()).toBe('18446744073709551615')
    expect(await number(page, 'Width').inputValue()).toBe('96')
    expect(await page.getByLabel('Sampler').inputValue()).toBe('dpmpp_2m')
    await draw(page, {})
    expect((await gallery(page))[0]!.metadata?.parameters).toContain(
      'Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5.5, Seed: 18446744073709551615, Size: 96x64',
    )

    // Without settings, an image is one to start from.
    await give(page, 'paste', await grey.encode())
    await page.getByRole('img', { name: 'Start image' }).waitFor()
    expect(await number(page, 'Width').inputValue()).toBe('64')
    await press(page, 'Paint a mask')
    const canvas = page.getByRole('img', { name: 'Mask' })
    const painted = () =>
      canvas.evaluate((element: HTMLCanvasElement) => {
        const { data } = element.getContext('2d')!.getImageData(0, 0, element.width, element.height)
        return data.filter((_, i) => i % 4 === 3).reduce((sum, alpha) => sum + (alpha >= 128 ? 1 : 0), 0)
      })
    /** What is painted once the page has nothing left to paint. */
    const settled = async () => {
      for (let before = -1; ; await page.waitForTimeout(100)) {
        const now = await painted()
        if (now === before) return now
        before = now
      }
    }
    /** The page paints in its next frames. */
    const becomes = async (expected: number) => {
      while ((await painted()) !== expected) await page.waitForTimeout(50)
    }
    const stroke = async (y: number, button: 'left' | 'right' = 'left') => {
      const { x, y: top, width, height } = (await canvas.boundingBox())!
      await page.mouse.move(x + width * 0.2, top + height * y)
      await page.mouse.down({ button })
      await page.mouse.move(x + width * 0.8, top + height * y, { steps: 5 })
      await page.mouse.up({ button })
    }
    await canvas.hover()
    const brush = Number(await number(page, 'Brush').inputValue())
    await page.mouse.wheel(0, -100)
    await page.waitForFunction((old) => Number((document.querySelector('dialog input[type=number]') as HTMLInputElement).value) > old, brush)
    await becomes(0)
    await stroke(0.3)
    const one = await settled()
    expect(one).toBeGreaterThan(100)
    await stroke(0.7)
    expect(await settled()).toBeGreaterThan(one)
    await stroke(0.7, 'right')
    await becomes(one)
    await page.keyboard.press('Control+z')
    await page.keyboard.press('Control+z')
    await becomes(one)
    await page.keyboard.press('Control+z')
    await becomes(0)
    await page.keyboard.press('Control+Shift+z')
    await becomes(one)
    await press(page, 'Invert (I)')
    await becomes(64 * 64 - one)
    await press(page, 'Clear')

    // Without a pointer, and through a file and back.
    await page.getByText('Rectangle by numbers').click()
    for (const [name, value] of Object.entries({ Left: 8, Top: 8 })) await number(page, name).first().fill(String(value))
    await page.getByRole('spinbutton', { name: 'Width' }).last().fill('24')
    await page.getByRole('spinbutton', { name: 'Height' }).last().fill('48')
    await press(page, 'Paint')
    await becomes(24 * 48)
    const [download] = await Promise.all([page.waitForEvent('download'), press(page, 'Save')])
    const file = await download.path()
    const mask = await RawImage.read(file)
    expect([...mask.data].filter((value, i) => i % mask.channels === 0 && value === 255).length).toBe(24 * 48)
    await press(page, 'Clear')
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), press(page, 'Load')])
    await Promise.all([
      page.getByRole('dialog').getByText('Mask loaded').waitFor(),
      chooser.setFiles({ name: 'mask.png', mimeType: 'image/png', buffer: readFileSync(file) }),
    ])
    await becomes(24 * 48)
    await number(page, 'Feather').fill('6')
    expect(await findings(page)).toEqual([])
    await press(page, 'Done')

    // The mask outlives the prompt; what it leaves alone is what was given, and its edge is soft.
    await prompt(page).fill('a red circle')
    await page.getByText('64 × 64 pixels, with a mask').waitFor()
    await draw(page, { steps: 4, seed: '5' })
    const [result] = await gallery(page)
    const far = (x: number, y: number) => x < 2 || x > 37 || y < 2 || y > 61
    const at = (x: number, y: number) => [...result!.data.subarray((y * 64 + x) * result!.channels, (y * 64 + x) * result!.channels + 3)]
    let changed = 0
    for (let y = 0; y < 64; y++)
      for (let x = 0; x < 64; x++) {
        if (far(x, y)) expect(at(x, y)).toEqual([128, 128, 128])
        else if (at(x, y).some((value) => value !== 128)) changed++
      }
    expect(changed).toBeGreaterThan(24 * 48)
    expect(result!.metadata?.parameters).toMatch(/Denoising strength: 0\.75, Mask blur: 6, Version: /)
    // The request of an image is its own: with files here, without for the one before.
    for (const expected of [true, false]) {
      await thumbs(page)
        .nth(expected ? 0 : 1)
        .click()
      await press(page, 'Copy as curl, JavaScript or command')
      const text = await page.getByLabel('Request', { exact: true }).innerText()
      expect([text.includes('-F image=@picture.png'), text.includes('-F mask=@mask.png'), text.includes('"strength"')]).toEqual(
        Array(3).fill(expected),
      )
      await page.keyboard.press('Escape')
    }
    await page.context().close()
  })

  test('models that edit an image: image guidance, no mask, no size; the truncated part of a prompt is marked', async () => {
    const context = await own.browser.newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: 'reduce' })
    const page = await context.newPage()
    page.setDefaultTimeout(120_000)
    await page.route('**/latent/v1/models/tiny-scenes', async (route) => {
      const json = await (await route.fetch()).json()
      await route.fulfill({ json: { ...json, kind: 'edit', defaults: { ...json.defaults, imageGuidanceScale: 1.5 } } })
    })
    await page.route('**/latent/v1/tokenize', (route) =>
      route.fulfill({ json: { tokens: 5, window: 3, windows: 1, truncated: true, chunks: [{ text: ['make', 'it', 'red'], weights: [1, 1, 1] }] } }),
    )
    await page.goto(own.server.url)
    await prompt(page).fill('make it red and round')
    await page.getByText('5 of 3 tokens: the end does not fit').waitFor()
    expect(await page.locator('.marks mark').innerText()).toBe(' and round')

    await page.getByText('This model needs an image: add one below').waitFor()
    expect(await number(page, 'Width').count()).toBe(0)
    const grey = new RawImage({ data: new Uint8Array(64 * 64 * 3).fill(128), width: 64, height: 64, channels: 3 })
    await give(page, 'paste', await grey.encode())
    await page.getByRole('img', { name: 'Start image' }).waitFor()
    expect(await page.getByRole('button', { name: 'Paint a mask' }).count()).toBe(0)
    expect(await number(page, 'Strength').count()).toBe(0)
    await number(page, 'Image guidance').fill('2')
    expect(await findings(page)).toEqual([])
    const sent = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/latent/v1/jobs'))
    await prompt(page).press('Control+Enter')
    const body = (await sent).postDataBuffer()!.toString('latin1')
    const asked = JSON.parse(/name="request"\r\n\r\n(.*)\r\n/.exec(body)![1]!)
    expect(asked).toMatchObject({ prompt: 'make it red and round', imageGuidanceScale: 2 })
    expect(Object.keys(asked)).not.toEqual(expect.arrayContaining(['strength']))
    expect(Object.keys(asked)).not.toEqual(expect.arrayContaining(['width']))
    await context.close()
  })

  test('models that draw by a depth map: the image is the map, without strength or mask', async () => {
    const context = await own.browser.newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: 'reduce' })
    const page = await context.newPage()
    page.setDefaultTimeout(120_000)
    await page.route('**/latent/v1/models/tiny-scenes', async (route) => {
      const json = await (await route.fetch()).json()
      await route.fulfill({ json: { ...json, kind: 'depth' } })
    })
    await page.goto(own.server.url)
    await prompt(page).fill('a cabin')
    await page.getByText('This model needs a depth map: add one below').waitFor()
    const grey = new RawImage({ data: new Uint8Array(96 * 64 * 3).fill(128), width: 96, height: 64, channels: 3 })
    await give(page, 'paste', await grey.encode())
    await page.getByRole('img', { name: 'Depth map' }).waitFor()
    expect(await number(page, 'Width').inputValue()).toBe('96')
    expect(await page.getByRole('button', { name: 'Paint a mask' }).count()).toBe(0)
    expect(await number(page, 'Strength').count()).toBe(0)
    expect(await findings(page)).toEqual([])
    const sent = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/latent/v1/jobs'))
    await prompt(page).press('Control+Enter')
    const body = (await sent).postDataBuffer()!.toString('latin1')
    expect(body).toMatch(/name="depthMap"; filename="depthMap.png"/)
    expect(body).not.toMatch(/name="image"/)
    expect(JSON.parse(/name="request"\r\n\r\n(.*)\r\n/.exec(body)![1]!)).not.toHaveProperty('strength')
    await context.close()
  })

  test('errors of the server are shown as text, and invalid requests are not sent', async () => {
    const page = await own.open()
    await number(page, 'Width').fill('65')
    await page.getByText('Width and height must be multiples of 4').waitFor()
    await press(page, 'Swap width and height')
    await number(page, 'Height').fill('64')
    await page.route('**/latent/v1/jobs', (route) =>
      route.fulfill({ status: 429, json: { error: { code: 'ERR_BUSY', message: 'Full <b>up</b>', retriable: true } } }),
    )
    await prompt(page).press('Control+Enter')
    await page.getByRole('alert').getByText('Full <b>up</b>').waitFor()
    while (own.complaints.length === 0) await page.waitForTimeout(50)
    expect(own.complaints.splice(0)).toEqual([expect.stringContaining('429')]) // Chromium's own remark
    await press(page, 'Dismiss this message')
    await page.context().close()
  })

  test.each([
    ['dark and in high contrast', { colorScheme: 'dark' }],
    ['on a phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
  ] as [string, BrowserContextOptions][])('accessible %s', async (_, options) => {
    const page = await own.open(options)
    if (options.isMobile) await page.getByText('Start image, size and sampling').click()
    await draw(page, { prompt: 'a green triangle', steps: 2 })
    expect(await findings(page)).toEqual([])
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true)
    await press(page, 'Repaint')
    await page.getByRole('img', { name: 'Mask' }).waitFor()
    expect(await findings(page)).toEqual([])
    await page.keyboard.press('Escape')
    if (!options.isMobile) {
      await page.locator('h1').click()
      await page.keyboard.press('?')
      await page.getByRole('dialog', { name: 'Keys' }).waitFor()
      expect(await findings(page)).toEqual([])
      await page.keyboard.press('Escape')
      await page.getByLabel('Colours').selectOption('contrast')
      expect(await findings(page)).toEqual([])
    }
    await page.context().close()
  })
})
