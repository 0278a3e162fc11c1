/** The page's code of Electron applications in a real browser, where there is one (CHROMIUM names it; else chromium or google-chrome of the PATH). Main process and bridge are stand-ins. */
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { RawImage } from '../../lib/image/raw-image'

const found = [process.env.CHROMIUM, 'chromium', 'google-chrome'].find((name) => name && spawnSync(name, ['--version']).status === 0)

/** Runs in the page: the main process's side of a port, then what a page would do. */
const program = `
import { connectDiffusion } from '/renderer.mjs'
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
const said = { models: diffusion.models, shown, seed: String(seed), type: images[0].blob.type, drawn: pixels(await images[0].bitmap()), image: [...options.image.data], mask: options.mask.length === png.length, seen: asked.some(({ type }) => type === 'seen'), refused, closed }
document.title = 'done'
document.body.textContent = JSON.stringify(said)
`

let server: Server
beforeAll(async () => {
  const picture = await new RawImage({ data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), width: 2, height: 2, channels: 3 }).encode()
  const files: Record<string, [string, string | Uint8Array]> = {
    '/': ['text/html', '<!doctype html><title>page</title><body><script type="module" src="/program.mjs"></script>'],
    '/program.mjs': ['text/javascript', program],
    '/renderer.mjs': ['text/javascript', readFileSync('dist/electron/page/renderer.mjs')],
    '/picture.png': ['image/png', picture],
  }
  server = createServer(({ url }, response) => {
    const [type, content] = files[url ?? ''] ?? []
    // As strict as an application's policy may be.
    response.writeHead(type ? 200 : 404, { 'content-type': type ?? 'text/plain', 'content-security-policy': "default-src 'self'" }).end(content)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(() => new Promise((resolve) => server.close(resolve)))

const where = found ? test : test.skip
where(
  'pictures go in and come out, in Chromium, under a strict policy',
  async () => {
    const { port } = server.address() as AddressInfo
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=20000', '--dump-dom', `http://127.0.0.1:${port}/`]
    const { stdout } = await promisify(execFile)(found!, flags, { timeout: 120_000 })
    const text = /<body>(.*)<\/body>/s.exec(stdout)?.[1] ?? stdout
    expect(JSON.parse(text)).toEqual({
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
