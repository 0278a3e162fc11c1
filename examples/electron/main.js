/** The main process: the engine in a separate process, one window, and the page's three files under app://bundle. */
const { readFile } = require('node:fs/promises')
const path = require('node:path')
const { app, BrowserWindow, protocol } = require('electron')
const { createDiffusionHost } = require('node-latent-diffusion/electron/main')

const origin = 'app://bundle'
const files = { '/': ['index.html', 'text/html'], '/page.js': ['page.js', 'text/javascript'], '/page.css': ['page.css', 'text/css'] }
// No scripts or styles from other origins; images are blob: URLs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob:; connect-src 'self'"

protocol.registerSchemesAsPrivileged([{ scheme: 'app', privileges: { standard: true, secure: true } }])

// Without `models`: the embedded model. With your own model, shipped as an extra resource:
//   models: { main: path.join(process.resourcesPath, 'model.gguf') }
const host = createDiffusionHost({ allowedOrigins: [origin], limits: { maxPixels: 512 * 512, maxSteps: 50, maxJobs: 2 } })
host.on('crash', ({ message }) => console.error(message))

async function serve(request) {
  const { pathname } = new URL(request.url)
  const found = Object.hasOwn(files, pathname) ? files[pathname] : undefined
  if (!found) return new Response('Not found', { status: 404 })
  const [name, type] = found
  return new Response(await readFile(path.join(__dirname, 'out', 'page', name)), {
    headers: { 'content-type': type, 'content-security-policy': policy },
  })
}

function openWindow() {
  const window = new BrowserWindow({ width: 720, height: 800, webPreferences: { preload: path.join(__dirname, 'out', 'preload.js') } })
  window.webContents.setWindowOpenHandler(() => ({ action: 'deny' }))
  window.webContents.on('will-navigate', (event) => event.preventDefault())
  void window.loadURL(`${origin}/`)
}

void app.whenReady().then(() => {
  protocol.handle('app', serve)
  openWindow()
  app.on('activate', () => BrowserWindow.getAllWindows().length === 0 && openWindow())
})
app.on('window-all-closed', () => process.platform === 'darwin' || app.quit())
