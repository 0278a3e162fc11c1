/**
 * Runs examples/electron without Electron: asar-node reads an archive as Electron's fs does; the rest of Electron and of the page is stood in for. The utility process is a child
 * process. Prints what the page showed.
 *
 *   node electron-app.cjs ASAR_NODE ARCHIVE      packed
 *   node electron-app.cjs - FOLDER               not packed
 */
const { fork } = require('node:child_process')
const { EventEmitter } = require('node:events')
const Module = require('node:module')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const { electronStandIn, standInForPage } = require('../integration/children/electron-stand-ins.cjs')
const { Blob, Event, EventTarget, URL } = globalThis

const [, , asarNode, archive, program] = process.argv
if (asarNode !== '-') require(asarNode).register()
const { readFileSync } = require('node:fs') // as replaced above

function runEngine() {
  require('../integration/children/parent-port.cjs')
  require(program)
}

const [schemes, windows] = [new Map(), []]
const app = Object.assign(new EventEmitter(), { isReady: () => true, whenReady: async () => {}, quit: () => app.emit('will-quit') })

class BrowserWindow {
  webContents = Object.assign(new EventEmitter(), { setWindowOpenHandler() {} })
  constructor({ webPreferences }) {
    windows.push(webPreferences)
  }
  async loadURL() {}
  static getAllWindows = () => windows
}

const { electron, engines } = electronStandIn({
  app,
  frame: { url: 'app://bundle/' },
  fork: (file, _args, options) => fork(__filename, [asarNode, archive, file], options),
})
Object.assign(electron, { BrowserWindow, protocol: { registerSchemesAsPrivileged() {}, handle: (scheme, serve) => schemes.set(scheme, serve) } })

/** What the page and its code use of a browser. */
function standInForBrowser(saved) {
  standInForPage('app://bundle')
  URL.createObjectURL = (blob) => (saved.push(blob), 'blob:1')
  URL.revokeObjectURL = () => {}
  const elements = {}
  const element = (more) => Object.assign(new EventTarget(), { getContext: () => ({ drawImage() {} }) }, more)
  const known = { prompt: element({ value: 'a red circle on a blue background' }), steps: element({ valueAsNumber: 4 }) }
  globalThis.document = { getElementById: (id) => (elements[id] ??= known[id] ?? element()) }
  return elements
}

/** The bundle imports and exports nothing, so it can be the body of a function: modules are not read while asar-node replaces fs. */
async function runPage(source, elements) {
  await new (async () => {}).constructor(source)()
  elements.form.dispatchEvent(new Event('submit', { cancelable: true }))
  while (elements.draw.disabled) await delay(20)
}

/** Node.js resolves `exports` without the functions that asar-node replaces; Electron's own reading covers it. */
function subpath(name) {
  const [, library, entry] = /^(node-latent-diffusion)\/(.+)$/.exec(name) ?? []
  if (!library) return name
  const folder = path.join(archive, 'node_modules', library)
  return path.join(folder, JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')).exports[`./${entry}`].default)
}

async function runApplication() {
  const load = Module._load
  Module._load = (name, ...rest) => (name === 'electron' ? electron : load(subpath(name), ...rest))
  require(path.join(archive, 'main.js'))
  while (!schemes.has('app')) await delay(5)
  const [statuses, saved] = [{}, []]
  let policies = 0
  for (const file of ['/', '/page.css', '/page.js', '/main.js', '/../main.js']) {
    const response = await schemes.get('app')({ url: `app://bundle${file}` })
    statuses[file] = response.status
    policies += response.headers.get('content-security-policy')?.startsWith("default-src 'none'") ? 1 : 0
  }
  const elements = standInForBrowser(saved)
  const [{ preload, nodeIntegration = false, sandbox = true }] = windows
  require(preload)
  await runPage(readFileSync(path.join(archive, 'out', 'page', 'page.js'), 'utf8'), elements)
  const [blob] = saved
  const signature = blob instanceof Blob ? Buffer.from(await blob.arrayBuffer()).toString('hex', 0, 4) : undefined
  const ended = engines.map((engine) => new Promise((resolve) => engine.once('exit', () => resolve('closed'))))
  app.quit()
  const [quit] = await Promise.all(ended)
  console.log(
    JSON.stringify({
      statuses,
      policies,
      sandboxed: sandbox && !nodeIntegration,
      status: elements.status.textContent,
      picture: blob?.type,
      signature,
      engines: engines.length,
      quit,
    }),
  )
}

if (program) runEngine()
else
  runApplication().catch((error) => {
    console.error(error)
    process.exit(1)
  })
