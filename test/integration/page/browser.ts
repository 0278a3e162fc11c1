/** The server's page in a real browser, where there is one (CHROMIUM names it; else chromium or google-chrome of the PATH), on a real server with the model of the package. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { RawImage } from '../../../lib/image/raw-image'
import { startServer, type Server, type ServerOptions } from '../../helpers/server'

const found = [process.env.CHROMIUM, 'chromium', 'google-chrome'].find((name) => name && spawnSync(name, ['--version']).status === 0)
const executable = found && spawnSync('sh', ['-c', `command -v "${found}"`], { encoding: 'utf8' }).stdout.trim()

/** The built page. */
export const folder = path.resolve('packages/server/page-dist')
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

export interface InBrowser {
  /** Of the running tests. */
  server: Server
  browser: Browser
  /** Whatever the pages of this file complain of, and what they ask for elsewhere. */
  complaints: string[]
  /** A new page in a context of its own. */
  open(options?: BrowserContextOptions): Promise<Page>
}

/** Tests with a server and a browser; skipped if there is none. The last of them is that no page complained. */
export function inBrowser(title: string, define: (own: InBrowser) => void, options: ServerOptions = {}): void {
  if (!executable) console.warn(`${title}: skipped, there is no Chromium`)
  const own = { complaints: [] as string[] } as InBrowser
  own.open = async (options = {}) => {
    const context = await own.browser.newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: 'reduce', ...options })
    const page = await context.newPage()
    page.setDefaultTimeout(120_000) // tells a hang from a busy machine
    page.on('pageerror', (error) => own.complaints.push(String(error)))
    page.on('console', (message) => message.type() === 'error' && own.complaints.push(message.text()))
    page.on(
      'request',
      (request) => !/^(data|blob):/.test(request.url()) && !request.url().startsWith(own.server.url) && own.complaints.push(request.url()),
    )
    await page.goto(own.server.url)
    await prompt(page).waitFor()
    return page
  }
  ;(executable ? describe : describe.skip)(title, () => {
    beforeAll(async () => {
      own.server = await startServer({ page: folder, ...options })
      own.browser = await chromium.launch({ executablePath: executable!, args: ['--no-sandbox'] })
    })
    afterAll(async () => {
      await own.browser?.close()
      await own.server?.close()
    })
    define(own)
    test('no script errors, no violations of the content security policy, no requests to other origins', () => expect(own.complaints).toEqual([]))
  })
}

export const prompt = (page: Page) => page.getByRole('textbox', { name: 'Prompt', exact: true })
export const number = (page: Page, name: string) => page.getByRole('spinbutton', { name, exact: true })
export const seed = (page: Page) => page.getByRole('textbox', { name: 'Seed', exact: true })
export const thumbs = (page: Page) => page.getByRole('listbox', { name: 'Images' }).getByRole('option')
export const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click()

export async function draw(page: Page, what: { prompt?: string; steps?: number; seed?: string }): Promise<void> {
  const before = await thumbs(page).count()
  if (what.prompt !== undefined) await prompt(page).fill(what.prompt)
  if (what.steps !== undefined) await number(page, 'Steps').fill(String(what.steps))
  if (what.seed !== undefined) await seed(page).fill(what.seed)
  await prompt(page).press('Control+Enter')
  await thumbs(page).nth(before).waitFor()
}

/** The files of the gallery, the newest first, as the browser keeps them. */
export async function gallery(page: Page): Promise<RawImage[]> {
  const files = await page.evaluate(async () => {
    const ask = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result)
        request.onerror = () => reject(new Error(request.error?.message))
      })
    const database = await ask(indexedDB.open('latent', 1))
    const all = await ask<{ file: Blob }[]>(database.transaction('pictures').objectStore('pictures').getAll())
    database.close()
    return Promise.all(all.map(async ({ file }) => [...new Uint8Array(await file.arrayBuffer())]))
  })
  return Promise.all(files.reverse().map((bytes) => RawImage.read(Uint8Array.from(bytes))))
}

/** A file dropped on an element, as from the desktop. */
export async function give(page: Page, kind: 'drop' | 'paste', bytes: Uint8Array, selector = 'main'): Promise<void> {
  await page.evaluate(
    ({ how, data, target }) => {
      const transfer = new DataTransfer()
      transfer.items.add(new File([Uint8Array.from(data)], 'picture.png', { type: 'image/png' }))
      const init = { bubbles: true, cancelable: true }
      const element = document.querySelector(target)!
      element.dispatchEvent(
        how === 'drop'
          ? new DragEvent('drop', { ...init, dataTransfer: transfer })
          : new ClipboardEvent('paste', { ...init, clipboardData: transfer }),
      )
    },
    { how: kind, data: [...bytes], target: selector },
  )
}

export async function findings(page: Page): Promise<string[]> {
  await page.evaluate(axe)
  return page.evaluate(async () => {
    const { violations } = await (
      window as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    ).axe.run()
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
  })
}
