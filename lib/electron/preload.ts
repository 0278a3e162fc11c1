/** For the preload script: lets the page request a port to the engine. It needs only `electron`, so it can be bundled into a sandboxed preload script. */

/** The parts of Electron and of the page that this script uses. */
interface PreloadElectron {
  contextBridge: { exposeInMainWorld(key: string, api: object): void }
  ipcRenderer: {
    invoke(channel: string, ...args: unknown[]): Promise<unknown>
    on(channel: string, listener: (event: { ports: unknown[] }, nonce: unknown) => void): unknown
  }
}
interface PageWindow {
  location: { origin: string }
  postMessage(message: unknown, targetOrigin: string, transfer: unknown[]): void
}

/** Options of {@link exposeDiffusion}. */
export interface ExposeOptions {
  /** Name in the page's `window`. Default `latentDiffusion`. */
  key?: string
}

/**
 * Lets the page connect to the application's engine with `connectDiffusion()` of `node-latent-diffusion/electron/renderer` and the same key. The page gets one
 * function, which requests a port from the main process, which checks the page's origin.
 */
export function exposeDiffusion({ key = 'latentDiffusion' }: ExposeOptions = {}): void {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- what Electron gives to sandboxed scripts
  const { contextBridge, ipcRenderer } = require('electron') as PreloadElectron
  const { window: page } = globalThis as unknown as { window: PageWindow }
  // The port is passed to the page directly, because the bridge would copy all data once more.
  ipcRenderer.on('latent-diffusion:port', ({ ports }, nonce) => {
    const { origin } = page.location
    page.postMessage({ type: 'latent-diffusion:port', key, nonce }, origin === 'null' || origin.startsWith('file:') ? '*' : origin, [ports[0]])
  })
  contextBridge.exposeInMainWorld(key, {
    connect: (nonce: string) => ipcRenderer.invoke('latent-diffusion:connect', String(nonce)),
  })
}
