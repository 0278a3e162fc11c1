/** The engine in an Electron application: in a utility process, served to the pages of allowed origins. */
import path from 'node:path'
import {
  DiffusionError,
  DiffusionHost,
  type DiffusionJob,
  type GenerateResult,
  type HostOptions,
  type JobEvent,
  type PipelineInfo,
} from '../index.js'
import type { EngineListener, StartEngine } from '../host/port.js'
import { once, tailOf } from '../host/start.js'
import { checkName, checkString, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'
import { previewCredit, type EngineMessage } from '../rpc/protocol.js'
import { encodeError, type WireError } from '../rpc/wire-error.js'
import { decode, encode } from '../rpc/wire.js'
import type { Electron, MessagePortMain, PowerMonitor, UtilityProcess, WebFrameMain } from './electron.js'
import {
  connectChannel,
  portChannel,
  type MainMessage,
  type PageEvent,
  type PageMessage,
  type PagePicture,
  type PageResult,
} from './page-protocol.js'
import { readPageOptions, resolveLimits } from './page-options.js'

/** Limits for pages. */
export interface PageLimits {
  /** Pixels of an image, and of those that a page gives, times `count`. Default 1,048,576 (1024x1024). */
  maxPixels?: number
  /** Default 100. */
  maxSteps?: number
  /** Waiting and running jobs per page. Default 8. */
  maxJobs?: number
  /** Whether pages may pass paths of image files. Default false. */
  files?: boolean
}

/** Options of {@link createDiffusionHost} in Electron. */
export interface ElectronHostOptions extends Omit<HostOptions, 'isolate' | 'execArgv'> {
  /** `utilityProcess` (default): a crash of native code ends only that process. `none`: in the main process. */
  isolate?: 'utilityProcess' | 'none'
  /**
   * Pages that may connect, by the origin of the frame's document: `app://bundle`, `https://example.org`, `file://` for files of the application. Default:
   * none; the main process always has access.
   */
  allowedOrigins?: readonly string[]
  /** Limits for pages. */
  limits?: PageLimits
  /** When waiting jobs do not start, by Electron's `powerMonitor`. */
  power?: PowerOptions
}

/** Reasons to let waiting jobs wait. A running job always ends; the system itself stops it while it sleeps. */
export interface PowerOptions {
  /** On battery power. Default `ignore`. */
  onBattery?: 'pause' | 'ignore'
  /** Between the announcement that the system will sleep and its waking. Default `pause`. */
  onSuspend?: 'pause' | 'ignore'
}

/** `app://bundle` of `app://bundle/index.html`. URL.origin is `null` for schemes unknown to browsers. */
function originOf(url: string): string {
  try {
    const { protocol, host } = new URL(url)
    return `${protocol}//${host}`
  } catch {
    return ''
  }
}

function checkOrigin(value: unknown, name: string): string {
  const origin = checkString(value, name)
  if (originOf(origin) !== origin) throw invalidRange(`${name}: ${show(origin)} is not an origin; write it as ${originOf(origin) || 'app://bundle'}`)
  return origin
}

const program = path.join(__dirname, '..', 'host', 'engine-main.js')

/** An engine in a utility process, started when the application is ready. */
const startUtilityProcess =
  ({ app, utilityProcess }: Electron): StartEngine =>
  (listener: EngineListener) => {
    let child: UtilityProcess | undefined
    let cancelled = false
    const ended = once(listener)
    const cancel = () => {
      cancelled = true
      ended({ exitCode: 0 })
    }
    const begin = () => {
      if (cancelled) return
      child = utilityProcess.fork(program, [], { serviceName: 'latent-diffusion', stdio: ['ignore', 'ignore', 'pipe'] })
      let cause: Error | undefined
      const stderr = tailOf(child.stderr)
      child.on('error', (type, location) => (cause = new Error(`${type} at ${location}`)))
      child.on('message', (message) => listener.onMessage(message as EngineMessage))
      child.once('exit', (exitCode) => ended({ exitCode, stderr: stderr(), ...(cause ? { cause } : {}) }))
    }
    if (app.isReady()) begin()
    else
      app
        .whenReady()
        .then(begin)
        .catch((error: unknown) => ended({ cause: error }))
    return {
      send: (message) => (child ? child.postMessage(message) : cancel()), // only `close` can come before the start
      hold: () => {}, // Electron's main process runs until the application quits
      kill: () => (child ? void child.kill() : cancel()),
    }
  }

/** The jobs of one page. */
class PageConnection {
  readonly #jobs = new Map<number, { job: DiffusionJob | undefined; cancelled: boolean; unseen: number }>()
  readonly #host: ElectronDiffusionHost
  readonly #port: MessagePortMain
  readonly #limits: Required<PageLimits>
  #closed = false

  constructor(host: ElectronDiffusionHost, port: MessagePortMain, limits: Required<PageLimits>, closed: () => void) {
    this.#host = host
    this.#port = port
    this.#limits = limits
    port.on('message', ({ data }) => this.#receive(data))
    port.once('close', () => {
      this.close()
      closed()
    })
    port.start()
    this.#send({ type: 'welcome', models: host.models().map(({ name }) => name), status: host.status })
  }

  tellStatus(): void {
    this.#send({ type: 'status', status: this.#host.status })
  }

  /** Cancels the page's jobs. */
  close(): void {
    if (this.#closed) return
    this.#send({ type: 'closed' })
    this.#closed = true
    for (const entry of this.#jobs.values()) {
      entry.cancelled = true
      entry.job?.cancel()
    }
    this.#port.close()
  }

  #send(message: MainMessage): void {
    if (!this.#closed) this.#port.postMessage(message)
  }

  #receive(data: unknown): void {
    const message = data as PageMessage | null
    const id = message?.id
    if (typeof id !== 'number' || !Number.isSafeInteger(id)) return
    const entry = this.#jobs.get(id)
    if (message!.type === 'generate') {
      if (!entry) void this.#generate(id, message!.options)
    } else if (!entry) return
    else if (message!.type === 'seen') entry.unseen = Math.max(0, entry.unseen - 1)
    else if (message!.type === 'cancel') {
      entry.cancelled = true
      entry.job?.cancel()
    }
  }

  async #generate(id: number, given: unknown): Promise<void> {
    const entry = { job: undefined as DiffusionJob | undefined, cancelled: false, unseen: 0 }
    this.#jobs.set(id, entry)
    try {
      if (this.#jobs.size > this.#limits.maxJobs)
        throw new DiffusionError('ERR_BUSY', `This application allows ${this.#limits.maxJobs} jobs per page at a time`, { retriable: true })
      const decoded = decode(given)
      const info = await this.#host.infoOf((decoded as { model?: unknown } | null | undefined)?.model)
      const options = await readPageOptions(decoded, this.#limits, info)
      if (entry.cancelled) return
      entry.job = this.#host.generate(options)
      for await (const event of entry.job) this.#tell(id, entry, event)
      this.#send({ type: 'result', id, result: await pageResult(await entry.job) })
    } catch (error) {
      this.#send({ type: 'error', id, error: forPage(error) })
    } finally {
      this.#jobs.delete(id)
    }
  }

  #tell(id: number, entry: { unseen: number }, event: JobEvent): void {
    if (event.type !== 'preview') return this.#send({ type: 'event', id, event })
    if (entry.unseen >= previewCredit) return
    entry.unseen++
    const shown: PageEvent = { ...event, image: encode(event.image, 'preview') as PagePicture }
    this.#send({ type: 'event', id, event: shown })
  }
}

/** An error without its stack and without details that contain local paths. */
function forPage(error: unknown): WireError {
  const { name, message, code, details } = encodeError(error)
  const kept = Object.entries(details ?? {}).filter(([key]) => !['path', 'stderr', 'cause'].includes(key))
  const words = code === 'ERR_ENGINE_EXITED' ? message.split('\n', 1)[0]! : message
  return { name, message: words, ...(code === undefined ? {} : { code }), details: Object.fromEntries(kept) }
}

async function pageResult({ images, options, ...rest }: GenerateResult): Promise<PageResult> {
  const files: PageResult['images'] = []
  for (const image of images) files.push({ png: await image.encode(), width: image.width, height: image.height, metadata: { ...image.metadata } })
  // Without the page's images and the paths of adapters.
  const plain = Object.entries(options).filter(([key]) => !['image', 'mask', 'semanticMap', 'depthMap', 'loras'].includes(key))
  const loras = rest.loras.map((report) => ({ ...report, path: report.name }))
  return { ...rest, loras, images: files, options: encode(Object.fromEntries(plain), 'options') as Record<string, unknown> }
}

/** A {@link DiffusionHost} that pages of an Electron application can use. */
export class ElectronDiffusionHost extends DiffusionHost {
  readonly #electron: Electron
  readonly #origins: ReadonlySet<string>
  readonly #limits: Required<PageLimits>
  /** By frame: a new connection of a frame replaces the earlier one. */
  readonly #pages = new Map<number, PageConnection>()
  #served = true
  readonly #infos = new Map<string, Promise<PipelineInfo>>()
  /** Why waiting jobs do not start. */
  readonly #pauses = new Set<'application' | 'battery' | 'suspend'>()
  readonly #powerListeners: [event: Parameters<PowerMonitor['on']>[0], listener: () => void][] = []

  /** @internal */
  constructor(options: ElectronHostOptions | undefined, electron: Electron) {
    const o = knownKeys(options, 'createDiffusionHost()', Object.keys(options ?? {})) as ElectronHostOptions
    const { isolate = 'utilityProcess', allowedOrigins, limits, power, ...rest } = o
    const { onBattery = 'ignore', onSuspend = 'pause' } = knownKeys(power, 'power', ['onBattery', 'onSuspend'])
    const reactions = ['pause', 'ignore'] as const
    const watched = {
      battery: checkName(onBattery, 'power.onBattery', reactions) === 'pause',
      suspend: checkName(onSuspend, 'power.onSuspend', reactions) === 'pause',
    }
    if (isolate !== 'utilityProcess' && isolate !== 'none') throw invalidRange(`isolate must be 'utilityProcess' or 'none', not ${String(isolate)}`)
    if (allowedOrigins !== undefined && !Array.isArray(allowedOrigins)) throw invalidType('allowedOrigins must be a list of origins')
    super({ ...rest, isolate: 'none' }, isolate === 'none' ? undefined : startUtilityProcess(electron))
    this.#electron = electron
    this.#limits = resolveLimits(limits)
    this.#origins = new Set(listOf(allowedOrigins ?? [], 'allowedOrigins', 1000).map((origin, i) => checkOrigin(origin, `allowedOrigins[${i}]`)))
    this.on('status', () => {
      for (const page of this.#pages.values()) page.tellStatus()
    })
    electron.ipcMain.handle(connectChannel, ({ senderFrame }, nonce) => this.#connect(senderFrame, nonce))
    electron.app.once('will-quit', () => void this.close())
    if (electron.app.isReady()) this.#watchPower(watched)
    else void electron.app.whenReady().then(() => this.#watchPower(watched))
  }

  override pause(): void {
    this.#pauses.add('application')
    super.pause()
  }

  /** Lets waiting jobs start again, unless they wait because of `power`. Idempotent. */
  override resume(): void {
    this.#clearPause('application')
  }

  #clearPause(reason: 'application' | 'battery' | 'suspend'): void {
    this.#pauses.delete(reason)
    if (this.#pauses.size === 0) super.resume()
  }

  #watchPower({ battery, suspend }: { battery: boolean; suspend: boolean }): void {
    const { powerMonitor } = this.#electron
    const listen = (event: Parameters<PowerMonitor['on']>[0], listener: () => void) => {
      this.#powerListeners.push([event, listener])
      powerMonitor.on(event, listener)
    }
    const pauseFor = (reason: 'battery' | 'suspend') => {
      this.#pauses.add(reason)
      super.pause()
    }
    if (!this.#served) return
    if (suspend) {
      listen('suspend', () => pauseFor('suspend'))
      listen('resume', () => this.#clearPause('suspend'))
    }
    if (battery) {
      listen('on-battery', () => pauseFor('battery'))
      listen('on-ac', () => this.#clearPause('battery'))
      if (powerMonitor.onBatteryPower) pauseFor('battery')
    }
  }

  /** A model's description; the first request loads it. */
  infoOf(model: unknown): Promise<PipelineInfo> {
    const name = model === undefined ? this.models()[0]!.name : checkString(model, 'model', 64)
    let info = this.#infos.get(name)
    if (!info) {
      info = this.load(name)
      this.#infos.set(name, info)
      info.catch(() => this.#infos.delete(name))
    }
    return info
  }

  override async close(): Promise<void> {
    if (this.#served) this.#electron.ipcMain.removeHandler(connectChannel)
    this.#served = false // a later host may serve pages again
    for (const [event, listener] of this.#powerListeners.splice(0)) this.#electron.powerMonitor.removeListener(event, listener)
    for (const page of this.#pages.values()) page.close()
    await super.close()
  }

  #connect(frame: WebFrameMain | null, nonce: unknown): void {
    const origin = frame ? originOf(frame.url) : ''
    if (!frame || !this.#origins.has(origin))
      throw new Error(`The origin ${origin || 'of this frame'} may not use the engine: add it to allowedOrigins of createDiffusionHost()`)
    const { port1, port2 } = new this.#electron.MessageChannelMain()
    const { frameTreeNodeId: id } = frame
    this.#pages.get(id)?.close()
    const page: PageConnection = new PageConnection(this, port1, this.#limits, () => {
      if (this.#pages.get(id) === page) this.#pages.delete(id)
    })
    this.#pages.set(id, page)
    try {
      frame.postMessage(portChannel, String(nonce), [port2])
    } catch (error) {
      page.close() // the frame has gone
      this.#pages.delete(id)
      throw error
    }
  }
}

/** In other programs `electron` is missing or (as a development dependency) exports the path of its binary. */
function theElectron(): Electron {
  let electron: unknown
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- there in Electron alone
    electron = require('electron')
  } catch {
    electron = undefined
  }
  if (typeof electron === 'object' && electron !== null && 'utilityProcess' in electron) return electron as Electron
  throw new DiffusionError(
    'ERR_NOT_ELECTRON',
    "node-latent-diffusion/electron/main is for Electron's main process; elsewhere use createDiffusionHost() of node-latent-diffusion",
  )
}

/**
 * Creates the application's engine, once, in the main process: in a utility process, with a queue, available to the pages of `allowedOrigins`:
 * a {@link DiffusionHost}.
 *
 * @example
 * const host = createDiffusionHost({ models: { main: path.join(process.resourcesPath, 'model.gguf') }, allowedOrigins: ['app://bundle'] })
 */
export function createDiffusionHost(options?: ElectronHostOptions): ElectronDiffusionHost {
  return new ElectronDiffusionHost(options, theElectron())
}
