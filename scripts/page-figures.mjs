#!/usr/bin/env node
/**
 * Takes the screenshots of docs/page.md, docs/images/page*.webp: the built page of a server with the embedded model, in Chromium (CHROMIUM names it, else chromium of the PATH).
 *
 *     node scripts/page-figures.mjs [NAME ...]        default: all of them
 */
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import sharp from 'sharp'
import { createServer } from '../packages/server/dist/index.js'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const desktop = { viewport: { width: 1280, height: 1000 }, reducedMotion: 'reduce' }
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true, reducedMotion: 'reduce' }

const field = (page, name) => page.getByRole('spinbutton', { name, exact: true })
const thumbs = (page) => page.getByRole('listbox', { name: 'Images' }).getByRole('option')
const ask = async (page, prompt, seed) => {
  await page.getByRole('textbox', { name: 'Prompt', exact: true }).fill(prompt)
  await page.getByRole('textbox', { name: 'Seed', exact: true }).fill(String(seed))
  await page.getByRole('textbox', { name: 'Prompt', exact: true }).press('Control+Enter')
}
const draw = async (page, prompt, seed) => {
  const before = await thumbs(page).count()
  await ask(page, prompt, seed)
  await thumbs(page).nth(before).waitFor()
}
/** Without messages and without the focus of a field. */
const rest = async (page) => {
  await page.locator(':focus').evaluateAll(([element]) => element?.blur())
  await page.mouse.move(5, 400)
  const message = page.getByRole('button', { name: 'Dismiss', exact: true })
  if (await message.count()) await message.last().click()
  await page.waitForTimeout(500)
}

const scenes = [
  ['a red circle above a blue square', 3],
  ['a blue circle over the sea at sunset', 5],
  ['a green triangle above a red square at sunset', 4],
]

const figures = {
  async page(page) {
    await page.setViewportSize({ width: 1400, height: 1352 }) // with all fields
    for (const [prompt, seed] of scenes) await draw(page, prompt, seed)
    await page.getByText('Advanced').click()
    await field(page, 'Hires scale').fill('1.5')
    await field(page, 'Hires strength').fill('0.5')
    await field(page, 'Variation strength').fill('0.2')
    await page.getByRole('textbox', { name: 'Variation seed', exact: true }).fill('1')
    await draw(page, 'a purple heart on a beach', 3)
    await page.locator('.form-fields').evaluate((element) => element.scrollTo(0, 0))
    await rest(page)
  },

  async 'page-dark'(page) {
    for (const [prompt, seed] of scenes.slice(1)) await draw(page, prompt, seed)
    await field(page, 'Steps').fill('150')
    await ask(page, 'a red circle above a blue square', 3)
    await field(page, 'Steps').fill('25')
    for (const [prompt, seed] of [
      ['a yellow star on a green square', 1],
      ['a pink heart in the night sky', 2],
    ])
      await ask(page, prompt, seed)
    await rest(page)
    await page
      .getByText(/^Step (9\d|1\d\d) of 150$/)
      .first()
      .waitFor()
  },

  async 'page-mask'(page) {
    await draw(page, 'a red circle above a blue square', 3)
    await page.getByRole('button', { name: 'Repaint' }).click()
    const box = await page.getByRole('img', { name: 'Mask' }).boundingBox()
    const at = (x, y) => [box.x + box.width * x, box.y + box.height * y]
    await page.mouse.move(...at(0.36, 0.62))
    await page.mouse.down()
    for (const [x, y] of [
      [0.62, 0.63],
      [0.36, 0.7],
      [0.62, 0.75],
      [0.38, 0.82],
    ])
      await page.mouse.move(...at(x, y), { steps: 8 })
    await page.mouse.up()
    await field(page, 'Feather').fill('6')
    await field(page, 'Zoom').fill('140')
    await page.getByRole('group', { name: 'Image and mask' }).focus()
    for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowDown')
    await rest(page)
    await page.mouse.move(960, 640)
  },

  async 'page-phone'(page) {
    const more = page.getByText('Start image, size and sampling')
    await more.click()
    await draw(page, 'a blue circle on a yellow square', 2)
    await more.click()
    await rest(page)
    await page.locator('html').evaluate((element) => element.scrollTo(0, 0))
  },
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(figures)
const executablePath = process.env.CHROMIUM ?? execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
const server = await createServer({ port: 0 })
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  for (const name of wanted) {
    if (!figures[name]) throw new Error(`unknown figure ${name}; known are ${Object.keys(figures).join(', ')}`)
    const options = name === 'page-phone' ? phone : { ...desktop, colorScheme: name === 'page-dark' ? 'dark' : 'light' }
    const context = await browser.newContext(options)
    const page = await context.newPage()
    await page.goto(server.url)
    await page.getByRole('textbox', { name: 'Prompt', exact: true }).waitFor()
    await figures[name](page)
    const file = path.join(root, 'docs', 'images', `${name}.webp`)
    const { width, height, size } = await sharp(await page.screenshot())
      .webp({ quality: 86, effort: 6 })
      .toFile(file)
    console.log(`${path.relative(root, file)}: ${width}x${height}, ${(size / 1e3).toFixed(0)} kB`)
    await context.close()
  }
} finally {
  await browser.close()
  await server.close()
}
