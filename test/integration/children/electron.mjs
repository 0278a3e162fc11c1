/**
 * An Electron application without Electron: the package's main, preload and page code with stand-ins for what they use of it. The utility process is a child process, ports are
 * those of worker threads, main process and page are this one thread.
 */
import { fork } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import Module, { createRequire } from 'node:module'
import path from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { RawImage } from '../../../dist/esm.mjs'

const require = createRequire(import.meta.url)
const word = process.argv[2]
const say = (value) => console.log(JSON.stringify(value))
const { electronStandIn, standInForPage } = require('./electron-stand-ins.cjs')

// ---- Electron and a page ---------------------------------------------------------------------------------------------

let ready = false
const app = Object.assign(new EventEmitter(), { isReady: () => ready, whenReady: () => nextTurn().then(() => (ready = true)) })
const frame = { url: 'app://bundle/index.html' }
const parentPort = ['-r', fileURLToPath(new URL('parent-port.cjs', import.meta.url))]
const { electron, handlers, engines, toPreload } = electronStandIn({
  app,
  frame,
  fork: (file, args, options) => fork(file, args, { ...options, execArgv: parentPort }),
})
const load = Module._load
Module._load = (name, ...rest) => (name === 'electron' ? electron : load(name, ...rest))
standInForPage('app://bundle')
const { ImageData } = globalThis

// ---- the application -------------------------------------------------------------------------------------------------

const { createDiffusionHost } = require('../../../dist/electron/main.js')
const { exposeDiffusion } = require('../../../dist/electron/preload.js')
const { connectDiffusion } = await import('../../../dist/electron/page/renderer.mjs')

const failure = (promise) =>
  Promise.resolve(promise).then(
    () => undefined,
    (error) => ({ name: error.name, code: error.code, message: error.message, stack: error.stack?.includes('/dist/host/') }),
  )
const small = { prompt: 'a red circle', seed: 1, steps: 3 }
const endless = { prompt: 'a red circle', steps: 100, width: 512, height: 512 }
const atWork = async (job) => {
  for await (const event of job) if (event.type === 'progress' && event.phase === 'sample' && event.step > 0) return
}

const host = createDiffusionHost({
  allowedOrigins: ['app://bundle'],
  limits: { maxPixels: 512 * 512, maxJobs: 3 },
  ...JSON.parse(process.argv[3] ?? '{}'),
})
exposeDiffusion()

const scenarios = {
  async power() {
    const { powerMonitor } = electron
    await host.generate(small) // the application is ready
    const seen = []
    const after = (action) => {
      action()
      seen.push(host.status.paused)
    }
    after(() => powerMonitor.emit('suspend'))
    const job = host.generate(small)
    await host.describe()
    const waited = host.status.queued
    after(() => powerMonitor.emit('on-battery'))
    after(() => powerMonitor.emit('resume'))
    after(() => powerMonitor.emit('on-ac'))
    const { images } = await job
    after(() => host.pause())
    after(() => powerMonitor.emit('on-ac'))
    after(() => host.resume())
    const listeners = ['suspend', 'resume', 'on-battery', 'on-ac'].map((event) => powerMonitor.listenerCount(event))
    await host.close()
    say({ seen, waited, images: images.length, listeners, left: powerMonitor.eventNames().length })
  },
  async pictures() {
    const page = await connectDiffusion()
    const job = page.generate({ ...small, preview: {} })
    const events = []
    for await (const event of job) {
      events.push(event.type === 'progress' ? event.phase : event.type)
      event.bitmap?.close()
    }
    const { images, options, seed } = await job
    const direct = await host.generate(small)
    const picture = await RawImage.read(new Uint8Array(await images[0].blob.arrayBuffer()))
    const bitmap = await images[0].bitmap()
    const fromFile = await page.generate({ ...small, strength: 0.5, image: images[0].blob })
    const fromPixels = await page.generate({ ...small, strength: 0.5, image: new ImageData(new Uint8ClampedArray(64 * 64 * 4).fill(200), 64, 64) })
    say({
      events: [...new Set(events)],
      same: Buffer.compare(picture.data, direct.images[0].data) === 0 && picture.metadata.parameters === direct.images[0].metadata.parameters,
      type: images[0].blob.type,
      size: [bitmap.width ?? 64, images[0].width, images[0].height],
      seed: String(seed),
      steps: options.steps,
      fromFile: fromFile.options.strength,
      echoed: 'image' in fromFile.options,
      fromPixels: fromPixels.images.length,
      models: page.models,
    })
  },
  async refusals() {
    const page = await connectDiffusion()
    const tries = {
      steps: { ...small, steps: 101 },
      listed: { ...small, steps: undefined, timesteps: Array.from({ length: 200 }, (_, i) => 999 - i) },
      width: { ...small, width: 1024, height: 512 },
      count: { ...small, count: 65 },
      text: { ...small, image: '/etc/hostname' },
      preset: { ...small, preset: 'lcm', steps: undefined, extra: { nothing: 1 } },
      function: { ...small, preview: { onPreview() {} } },
      loras: { ...small, loras: [{ path: '/etc/hostname' }] },
      model: { ...small, model: '../other' },
      bytes: { ...small, image: new Uint8Array(10) },
      large: { ...small, image: new ImageData(new Uint8ClampedArray(1024 * 512 * 4), 1024, 512) },
      sampler: { ...small, sampler: 'nope' },
    }
    const said = {}
    for (const [name, options] of Object.entries(tries)) said[name] = await failure(page.generate(options))
    const jobs = Array.from({ length: 5 }, () => page.generate(small))
    const outcomes = await Promise.all(jobs.map(failure))
    say({ ...said, busy: outcomes.filter((outcome) => outcome?.code === 'ERR_BUSY').length })
  },
  async origins() {
    frame.url = 'https://example.org/app://bundle'
    say({ refused: await failure(connectDiffusion()), missing: await failure(connectDiffusion({ key: 'other' })) })
  },
  async lost() {
    const page = await connectDiffusion()
    const running = page.generate(endless)
    const waiting = page.generate(small)
    await atWork(running)
    engines.at(-1).kill('SIGKILL')
    say({ running: await failure(running), waiting: (await waiting).images.length, restarts: host.status.restarts, engines: engines.length })
  },
  async leaving() {
    const page = await connectDiffusion()
    const jobs = [page.generate(endless), page.generate(endless)]
    await atWork(jobs[0])
    const control = new AbortController()
    const aborted = failure(page.generate({ ...small, signal: control.signal }))
    control.abort(new Error('no longer'))
    page.close()
    const outcomes = await Promise.all(jobs.map(failure))
    while (host.status.running || host.status.queued > 0) await new Promise((resolve) => host.once('status', resolve))
    say({ aborted: await aborted, outcomes: outcomes.map(({ code }) => code), after: (await failure(page.generate(small))).code })
  },
  async quitting() {
    const page = await connectDiffusion()
    const job = page.generate(endless)
    await atWork(job)
    app.emit('will-quit')
    say({ job: (await failure(job)).code, state: host.status.state, handlers: handlers.size })
  },
  /** Messages that no page of ours sends. */
  async bombs() {
    const page = await connectDiffusion()
    const folder = process.env.LATENT_TEST_FOLDER
    const refusals = {}
    for (const name of readdirSync(folder).sort()) {
      const image = new Uint8Array(readFileSync(path.join(folder, name)))
      const { code, message } = (await failure(page.generate({ ...small, strength: 0.5, image }))) ?? {}
      refusals[name] = [code, message]
    }
    const { images } = await page.generate(small)
    say({ refusals, alive: images.length, restarts: host.status.restarts })
  },
  async hostile() {
    let port
    toPreload.once('latent-diffusion:port', ({ ports }) => (port = ports[0]))
    await electron.ipcRenderer.invoke('latent-diffusion:connect', 'x')
    const answers = []
    port.on('message', (message) => answers.push(message))
    for (const message of [
      null,
      5,
      'text',
      [],
      {},
      { type: 'generate' },
      { type: 'generate', id: 'x' },
      { type: 'seen', id: 1 },
      { type: 'nothing', id: 2 },
    ])
      port.postMessage(message)
    for (const [id, options] of [
      null,
      5,
      [],
      { $latent: 'picture' },
      { extra: { $latent: 'object' } },
      { prompt: { $latent: 'same' } },
      { ...small, image: { data: new Float32Array(3), shape: [1, 3, 4096, 4096] } },
      { ...small, image: { data: new Uint8Array(3), width: 2048, height: 2048, channels: 3 } },
      { ...small, extra: new Array(2 ** 32 - 1) },
      { ...small, image: '/etc/hostname' },
      { ...small, mask: 'file:///etc/hostname' },
      { image: { $latent: 'picture', data: new Uint8Array(2), width: 9, height: 9, channels: 3 } },
    ].entries())
      port.postMessage({ type: 'generate', id, options })
    while (answers.filter(({ type }) => type === 'error' || type === 'result').length < 12)
      await new Promise((resolve) => port.once('message', resolve))
    const { images } = await host.generate(small)
    say({ codes: answers.filter(({ type }) => type === 'error').map(({ error }) => [error.name, error.code, error.message]), alive: images.length })
    port.close()
  },
}
await scenarios[word]()
await host.close()
