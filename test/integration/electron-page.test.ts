/** The page's code of Electron applications in a real browser, where there is one (CHROMIUM names it; else chromium or google-chrome of the PATH). Main process and bridge are stand-ins. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { RawImage } from '../../lib/image/raw-image'

const found = [process.env.CHROMIUM, 'chromium', 'google-chrome'].find((name) => name && spawnSync(name, ['--version']).status === 0)

/** Runs in the page: the main process's side of a port, then what a page would do. Tells the server what came of it. */
const program = `
import { connectDiffusion } from '/renderer.mjs'
const say = (result) => fetch('/said', { method: 'POST', body: JSON.stringify(result) })
addEventListener('error', ({ message }) => say({ failed: message }))
addEventListener('unhandledrejection', ({ reason }) => say({ failed: String(reason) }))
const png = new Uint8Array(await (await fetch('/picture.png')).arrayBuffer())
const asked = []
window.latentDiffusion = {
  async connect(nonce) {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = ({ data }) => {
      asked.push(data)
      if (data.type !== 'generate') return
      const { id } = data
      const tell = (event) => port1.postMessage({ type: 'event', id, event })
      tell({ type: 'started' })
      tell({ type: 'preview', image: { $latent: 'picture', data: Uint8Array.of(255, 0, 0, 0, 0, 255), width: 2, height: 1, channels: 3 }, step: 1, steps: 2, index: 0 })
      setTimeout(() => port1.postMessage({ type: 'result', id, result: { images: [{ png, width: 2, height: 2, metadata: { parameters: 'x' } }], seed: 7n, options: {}, timings: {}, warnings: [] } }), 50)
    }
    port1.postMessage({ type: 'welcome', models: ['main'], status: { state: 'idle' } })
    window.postMessage({ type: 'latent-diffusion:port', key: 'latentDiffusion', nonce }, location.origin, [port2])
  },
}
const pixels = (bitmap) => {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height)
  canvas.getContext('2d').drawImage(bitmap, 0, 0)
  return [...canvas.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height).data]
}
const diffusion = await connectDiffusion()
const canvas = document.createElement('canvas')
Object.assign(canvas, { width: 1, height: 1 })
canvas.getContext('2d').fillStyle = '#00ff00'
canvas.getContext('2d').fillRect(0, 0, 1, 1)
const job = diffusion.generate({ prompt: 'x', image: canvas, mask: new Blob([png]) })
let shown
for await (const event of job) if (event.type === 'preview') shown = pixels(event.bitmap)
const { images, seed } = await job
const { options } = asked[0]
const refused = await diffusion.generate({ image: 5 }).catch((error) => error.message)
diffusion.close()
const closed = await diffusion.generate().catch(({ code }) => code)
await say({ models: diffusion.models, shown, seed: String(seed), type: images[0].blob.type, drawn: pixels(await images[0].bitmap()), image: [...options.image.data], mask: options.mask.length === png.length, seen: asked.some(({ type }) => type === 'seen'), refused, closed })
`

let server: Server
let browser: ChildProcess | undefined
let said: (result: unknown) => void
const result = new Promise((resolve) => (said = resolve))

beforeAll(async () => {
  const picture = await new RawImage({ data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), width: 2, height: 2, channels: 3 }).encode()
  const files: Record<string, [string, string | Uint8Array]> = {
    '/': ['text/html', '<!doctype html><title>page</title><body><script type="module" src="/program.mjs"></script>'],
    '/program.mjs': ['text/javascript', program],
    '/renderer.mjs': ['text/javascript', readFileSync('dist/electron/page/renderer.mjs')],
    '/picture.png': ['image/png', picture],
  }
  server = createServer((request, response) => {
    const { url } = request
    if (url === '/said') void text(request).then((body) => said(JSON.parse(body)))
    const [type, content] = files[url ?? ''] ?? []
    // As strict as an application's policy may be.
    response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain', 'content-security-policy': "default-src 'self'" }).end(content)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  browser?.kill()
  await new Promise((resolve) => server.close(resolve))
})

const where = found ? test : test.skip
where(
  'pictures go in and come out, in Chromium, under a strict policy',
  async () => {
    const { port } = server.address() as AddressInfo
    browser = spawn(found!, ['--headless', '--no-sandbox', '--disable-gpu', `http://127.0.0.1:${port}/`], { stdio: 'ignore' })
    const ended = once(browser, 'exit')
    const came = await Promise.race([result, ended.then(([code]) => ({ failed: `the browser ended with ${code}` }))])
    browser.kill()
    await ended
    expect(came).toEqual({
      models: ['main'],
      shown: [255, 0, 0, 255, 0, 0, 255, 255],
      seed: '7',
      type: 'image/png',
      drawn: [1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255, 10, 11, 12, 255],
      image: [0, 255, 0, 255],
      mask: true,
      seen: true,
      refused: 'image is a Blob, bytes, ImageData, an ImageBitmap, an image or a canvas of the page, not a number',
      closed: 'ERR_DISPOSED',
    })
  },
  150_000,
)
