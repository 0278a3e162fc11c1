/** The requests that the page copies: each of them makes the image that it was copied from. */
import { execFile, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Page } from 'playwright-core'
import { RawImage } from '../../../lib/image/raw-image'
import type { Job } from '../../../packages/server/src/protocol'
import { holdEngine } from '../../helpers/held-engine'
import { ask } from '../../helpers/server'
import { draw, findings, gallery, give, inBrowser, number, press, prompt, seed, thumbs } from './browser'

const root = path.resolve(__dirname, '..', '..', '..')
const place = mkdtempSync(path.join(tmpdir(), 'latent-copied-'))
const execute = promisify(execFile)
const inPlace = (name: string) => path.join(place, name)

beforeAll(() => {
  mkdirSync(inPlace('node_modules'))
  symlinkSync(root, path.join(place, 'node_modules', 'node-latent-diffusion'), 'junction')
  // Commands of the texts, with the programs of this repository.
  mkdirSync(inPlace('bin'))
  const program = (name: string, text: string) => writeFileSync(path.join(place, 'bin', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  program('latent', `exec "${process.execPath}" "${path.join(root, 'dist', 'cli', 'main.js')}" "$@"`)
  program('curl', `exec "${process.execPath}" -e 'console.log(JSON.stringify(process.argv.slice(1)))' -- "$@"`)
  // Where a model is, is the reader's part.
  mkdirSync(path.join(place, 'path', 'to'), { recursive: true })
  cpSync(path.join(root, 'models', 'systems', 'class.gguf'), path.join(place, 'path', 'to', 'class.gguf'))
})
afterAll(() => rmSync(place, { recursive: true, force: true }))

/** Not synchronously, because the server is in this process. */
async function run(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout, stderr } = await execute(command, args, { cwd: place, env: { ...process.env, ...env }, timeout: 120_000 })
  expect(stderr).toBe('')
  return stdout
}
const shell = (text: string) => run('sh', ['-c', text], { PATH: `${inPlace('bin')}:${process.env.PATH}` })

const forms = { curl: 'curl', js: 'JavaScript', cli: 'Command line' } as const

/** What the page copies for its image. */
async function copied(page: Page): Promise<Record<keyof typeof forms, string>> {
  await press(page, 'Copy as curl, JavaScript or command')
  const texts: Record<string, string> = {}
  for (const [name, title] of Object.entries(forms)) {
    await press(page, title)
    await page.evaluate(() => navigator.clipboard.writeText(''))
    // The page says so for some seconds only, and may still say it of the form before.
    const said = page
      .getByRole('dialog')
      .getByText(/^Copied/)
      .waitFor()
    await Promise.all([said, press(page, 'Copy')])
    do texts[name] = await page.evaluate(() => navigator.clipboard.readText())
    while (texts[name] === '')
    expect(await page.getByLabel('Request', { exact: true }).innerText()).toBe(texts[name])
  }
  expect(await findings(page)).toEqual([])
  await page.keyboard.press('Escape')
  return texts
}

interface Sent {
  request: Record<string, unknown>
  /** By their names in the form. */
  files: Record<string, Buffer>
}

/** If there is one, it must understand the words as this file does. */
const hasCurl = spawnSync('curl', ['--version']).status === 0

const pixels = (image: RawImage) => Buffer.from(image.data).toString('base64')
const file = async (name: string) => pixels(await RawImage.read(inPlace(name)))

inBrowser(
  'requests for elsewhere',
  (own) => {
    async function open(): Promise<Page> {
      const page = await own.open()
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
      return page
    }

    /** The request for a job that the page sends meanwhile, without the previews. Chromium does not tell the bytes of larger files. */
    async function sentBy(page: Page, action: () => Promise<void>): Promise<Sent> {
      await page.evaluate(() => {
        const own = window as { sent?: unknown }
        const send = window.fetch.bind(window)
        window.fetch = (url, init) => {
          if (init?.method === 'POST' && (url as string).endsWith('/latent/v1/jobs')) own.sent = init.body
          return send(url, init)
        }
      })
      await action()
      const { request, ...files } = await page.evaluate(async () => {
        const { sent } = window as { sent?: string | FormData }
        if (!(sent instanceof FormData)) return { request: sent! }
        const entries = [...sent].map(async ([name, value]) => [
          name,
          typeof value === 'string' ? value : [...new Uint8Array(await value.arrayBuffer())],
        ])
        return Object.fromEntries(await Promise.all(entries)) as { request: string; [file: string]: number[] | string }
      })
      const { preview, ...options } = JSON.parse(request) as Record<string, unknown>
      expect(preview).toEqual({ every: 1 })
      return { request: options, files: Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes as number[])])) }
    }

    /** The request that the words of a curl command send, to this server; makes its image. */
    async function follow(text: string): Promise<{ request: Record<string, unknown>; image: string }> {
      const [url, ...words] = JSON.parse(await shell(text)) as string[]
      expect(url).toBe(`${own.server.url}/latent/v1/jobs`)
      const form = new FormData()
      const headers: Record<string, string> = {}
      let body: string | FormData = form
      for (let i = 0; i < words.length; i += 2) {
        const [flag, value] = [words[i], words[i + 1]!]
        const [, name, rest] = /^([\w-]+)[=:] ?([^]*)$/.exec(value) ?? []
        if (flag === '-H') headers[name!] = rest!
        else if (flag === '-d') body = value
        else if (flag === '--form-string') form.set(name!, rest!)
        else if (flag === '-F' && /^@[\w.]+$/.test(rest!))
          form.set(name!, new Blob([Uint8Array.from(readFileSync(inPlace(rest!.slice(1))))]), rest!.slice(1))
        else throw new Error(`curl ${flag} ${value}`)
      }
      const answer = await fetch(url!, { method: 'POST', headers, body })
      const text2 = await answer.text()
      expect([answer.status, text2]).toEqual([202, expect.anything()])
      let job = JSON.parse(text2) as Job
      while (job.status === 'queued' || job.status === 'running') {
        await new Promise((resolve) => setTimeout(resolve, 50))
        job = (await ask(own.server, `/latent/v1/jobs/${job.id}`)).json
      }
      const [image] = job.result!.images
      const png = await (await fetch(new URL(image!.url, own.server.url))).arrayBuffer()
      const request = JSON.parse(body === form ? (form.get('request') as string) : (body as string)) as Record<string, unknown>
      if (hasCurl) expect((JSON.parse(await run('sh', ['-c', text.replace(/^curl/, 'curl -sS')])) as Job).request).toMatchObject(request)
      return { request, image: pixels(await RawImage.read(new Uint8Array(png))) }
    }

    /** All three make the image of the page again. */
    async function expectSame(texts: Awaited<ReturnType<typeof copied>>, expected: RawImage, request: Record<string, unknown>) {
      const followed = await follow(texts.curl)
      expect(followed.request).toEqual(request)
      expect(followed.image).toBe(pixels(expected))
      writeFileSync(inPlace('program.mjs'), texts.js)
      await run(process.execPath, ['program.mjs'])
      expect(await file('out.png')).toBe(pixels(expected))
      rmSync(inPlace('out.png'))
      await shell(`${texts.cli} -q`)
      expect(await file('out.png')).toBe(pixels(expected))
      rmSync(inPlace('out.png'))
    }

    test('text with every sign, one image of several, variations, a second pass', async () => {
      const page = await open()
      await page.getByRole('textbox', { name: 'Negative prompt' }).fill('--blue')
      await page.getByLabel('Sampler').selectOption('dpmpp_2m')
      await page.getByLabel('Schedule').selectOption('karras')
      await number(page, 'Images').fill('2')
      await page.getByText('Advanced').click()
      await number(page, 'Variation strength').fill('0.3')
      await number(page, 'Hires scale').fill('1.5')
      const words = `--it's a "red" circle; $HOME \`x\` \\' \\"\n-é 日本 %s !x`
      const { request } = await sentBy(page, () => draw(page, { prompt: words, steps: 3, seed: '18446744073709551610' }))
      await thumbs(page).nth(1).waitFor()
      expect(request).toMatchObject({ prompt: words, negativePrompt: '--blue', seed: '18446744073709551610', count: 2 })

      // Of each image alone, whatever the fields say by now.
      await prompt(page).fill('something else')
      await number(page, 'Variation strength').fill('0')
      for (const index of [0, 1]) {
        await thumbs(page).nth(index).click()
        const image = (await gallery(page))[index]!
        const variation = /Variation seed: (\d+)/.exec(image.metadata.parameters!)![1]!
        await expectSame(await copied(page), image, {
          ...request,
          count: 1,
          variationSeed: Number.isSafeInteger(Number(variation)) ? Number(variation) : variation,
        })
      }
      await page.context().close()
    })

    test('an image and a mask, as files', async () => {
      const page = await open()
      const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7) % 251)
      await give(page, 'paste', await new RawImage({ data, width: 64, height: 64, channels: 3 }).encode())
      await press(page, 'Paint a mask')
      await page.getByText('Rectangle by numbers').click()
      await press(page, 'Paint')
      await press(page, 'Done')
      const { request, files } = await sentBy(page, () => draw(page, { prompt: 'a star; a sun, "both"', steps: 4, seed: '5' }))
      writeFileSync(inPlace('picture.png'), files.image!)
      writeFileSync(inPlace('mask.png'), files.mask!)
      await expectSame(await copied(page), (await gallery(page))[0]!, request)
      expect(await file('picture.png')).toBe(pixels(await RawImage.read(Uint8Array.from(files.image!)))) // as before
      await page.context().close()
    })

    test('an image that was finished after the page was loaded again', async () => {
      const page = await open()
      const held = holdEngine()
      const { request } = await sentBy(page, async () => {
        await prompt(page).fill('a heart; (pink:1.2)')
        await number(page, 'Steps').fill('20')
        await prompt(page).press('Control+Enter')
        await page.getByText('Step 10 of 20').waitFor()
      })
      await page.reload()
      await page.getByText('Step 10 of 20').waitFor()
      held.open()
      held[Symbol.dispose]()
      await thumbs(page).waitFor()
      await expectSame(await copied(page), (await gallery(page))[0]!, request)
      await page.context().close()
    })

    test('an image of another model than the chosen one', async () => {
      const page = await open()
      await page.getByLabel('Model').selectOption('class.gguf')
      await page.getByLabel('Class').fill('yellow star')
      await number(page, 'Steps').fill('3')
      await seed(page).fill('8')
      const { request } = await sentBy(page, () => page.getByRole('button', { name: /^Generate/ }).click())
      await thumbs(page).waitFor()
      expect(request).toMatchObject({ model: 'class.gguf', classId: 'yellow star' })
      await page.getByLabel('Model').selectOption('tiny-scenes')
      await prompt(page).waitFor()
      await expectSame(await copied(page), (await gallery(page))[0]!, request)

      // After a reload as well.
      await page.reload()
      await thumbs(page).waitFor()
      expect(JSON.parse(/-d '(.*)'$/.exec((await copied(page)).curl)![1]!)).toEqual(request)
      await page.context().close()
    })
  },
  { models: { 'tiny-scenes': path.join(root, 'models', 'tiny-scenes.gguf'), 'class.gguf': path.join(root, 'models', 'systems', 'class.gguf') } },
)
