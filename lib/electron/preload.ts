/** The preload script's part: gives the page a way to ask for a port to the engine. It needs nothing but `electron`, so that a sandboxed preload script can be bundled with it. */

/** What this script uses of Electron and of the page. */
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
 * Lets the page connect to the application's engine: `connectDiffusion()` of `node-latent-diffusion/electron/renderer` finds the way by the same key. The page gets one
 * function, which asks the main process for a port; that checks the page's origin.
 */
export function exposeDiffusion({ key = 'latentDiffusion' }: ExposeOptions = {}): void {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- what Electron gives to sandboxed scripts
  const { contextBridge, ipcRenderer } = require('electron') as PreloadElectron
  const { window: page } = globalThis as unknown as { window: PageWindow }
  // The port goes to the page itself: what it carries does not cross the bridge, which would copy it once more.
  ipcRenderer.on('latent-diffusion:port', ({ ports }, nonce) => {
    const { origin } = page.location
    page.postMessage({ type: 'latent-diffusion:port', key, nonce }, origin === 'null' || origin.startsWith('file:') ? '*' : origin, [ports[0]])
  })
  contextBridge.exposeInMainWorld(key, {
    connect: (nonce: string) => ipcRenderer.invoke('latent-diffusion:connect', String(nonce)),
  })
}
