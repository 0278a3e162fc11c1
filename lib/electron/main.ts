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
import { checkString, invalidRange, invalidType, knownKeys, listOf } from '../options/validate.js'
import type { EngineMessage } from '../rpc/protocol.js'
import { encodeError, type WireError } from '../rpc/wire-error.js'
import { encode } from '../rpc/wire.js'
import type { Electron, MessagePortMain, WebFrameMain } from './electron.js'
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

/** What pages may ask for. */
export interface PageLimits {
  /** Pixels of a picture, and of those that a page gives, times `count`. Default 1,048,576 (1024x1024). */
  maxPixels?: number
  /** Default 100. */
  maxSteps?: number
  /** Jobs of one page that wait or run. Default 8. */
  maxJobs?: number
  /** Whether pages may name files of the computer as pictures. Default false. */
  files?: boolean
}

/** Options of {@link createDiffusionHost} in Electron. */
export interface ElectronHostOptions extends Omit<HostOptions, 'isolate' | 'execArgv'> {
  /** `utilityProcess` (default): a crash of native code ends that process alone. `none`: in the main process. */
  isolate?: 'utilityProcess' | 'none'
  /**
   * Pages that may connect, by the origin of the frame's document: `app://bundle`, `https://example.org`, `file://` for files of the application. Default: none; the main
   * process itself always may.
   */
  allowedOrigins?: readonly string[]
  /** What pages may ask for. */
  limits?: PageLimits
}

/** Previews that may be on their way to a page. */
const previewCredit = 2

/** `app://bundle` of `app://bundle/index.html`. URL.origin is `null` for schemes that browsers do not know. */
function originOf(url: string): string {
  try {
    const { protocol, host } = new URL(url)
    return `${protocol}//${host}`
  } catch {
    return ''
  }
}

const program = path.join(__dirname, '..', 'host', 'engine-main.js')

/** An engine in a utility process. */
const startUtilityProcess =
  ({ utilityProcess }: Electron): StartEngine =>
  (listener: EngineListener) => {
    const child = utilityProcess.fork(program, [], { serviceName: 'latent-diffusion', stdio: ['ignore', 'ignore', 'pipe'] })
    let stderr = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-4096)))
    child.on('message', (message) => listener.onMessage(message as EngineMessage))
    child.once('exit', (exitCode) => listener.onExit({ exitCode, stderr }))
    return {
      send: (message) => child.postMessage(message),
      hold: () => {}, // Electron's main process runs until the application quits
      kill: () => void child.kill(),
    }
  }

/** The jobs of one page. */
class PageConnection {
  readonly #jobs = new Map<number, { job: DiffusionJob | undefined; cancelled: boolean; unseen: number }>()
  readonly #host: ElectronDiffusionHost
  readonly #port: MessagePortMain
  readonly #limits: Required<PageLimits>
  readonly #onStatus = () => this.#send({ type: 'status', status: this.#host.status })
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
    host.on('status', this.#onStatus)
    port.start()
    this.#send({ type: 'welcome', models: host.models().map(({ name }) => name), status: host.status })
  }

  /** Cancels what the page has asked for. */
  close(): void {
    if (this.#closed) return
    this.#send({ type: 'closed' })
    this.#closed = true
    this.#host.off('status', this.#onStatus)
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
        throw new DiffusionError('ERR_BUSY', `A page may have ${this.#limits.maxJobs} jobs at a time in this application`, { retriable: true })
      const model = (given as { model?: unknown } | null)?.model
      const info = await this.#host.infoOf(model)
      const options = await readPageOptions(given, this.#limits, info.defaults)
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

/** An error without its stack, which names files of the application that pages need not know. */
function forPage(error: unknown): WireError {
  const { name, message, code, details } = encodeError(error)
  return { name, message, ...(code === undefined ? {} : { code }), ...(details ? { details } : {}) }
}

async function pageResult({ images, options, ...rest }: GenerateResult): Promise<PageResult> {
  const files: PageResult['images'] = []
  for (const image of images) files.push({ png: await image.encode(), width: image.width, height: image.height, metadata: { ...image.metadata } })
  const plain = Object.entries(options).filter(([, value]) => typeof value !== 'object' || !('width' in (value as object)))
  return { ...rest, images: files, options: encode(Object.fromEntries(plain), 'options') as Record<string, unknown> }
}

/** A {@link DiffusionHost} that pages of an Electron application can use. */
export class ElectronDiffusionHost extends DiffusionHost {
  readonly #electron: Electron
  readonly #origins: ReadonlySet<string>
  readonly #limits: Required<PageLimits>
  readonly #pages = new Set<PageConnection>()
  readonly #infos = new Map<string, Promise<PipelineInfo>>()

  /** @internal */
  constructor(options: ElectronHostOptions | undefined, electron: Electron) {
    const o = knownKeys(options, 'createDiffusionHost()', Object.keys(options ?? {})) as ElectronHostOptions
    const { isolate = 'utilityProcess', allowedOrigins, limits, ...rest } = o
    if (isolate !== 'utilityProcess' && isolate !== 'none') throw invalidRange(`isolate must be 'utilityProcess' or 'none', not ${String(isolate)}`)
    if (allowedOrigins !== undefined && !Array.isArray(allowedOrigins)) throw invalidType('allowedOrigins must be a list of origins')
    super({ ...rest, isolate: 'none' }, isolate === 'none' ? undefined : startUtilityProcess(electron))
    this.#electron = electron
    this.#limits = resolveLimits(limits)
    this.#origins = new Set(listOf(allowedOrigins ?? [], 'allowedOrigins', 1000).map((origin, i) => checkString(origin, `allowedOrigins[${i}]`)))
    electron.ipcMain.handle(connectChannel, ({ senderFrame }, nonce) => this.#connect(senderFrame, nonce))
    electron.app.once('will-quit', () => void this.close())
  }

  /** A model's description; the first to ask loads it. */
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
    this.#electron.ipcMain.removeHandler(connectChannel)
    for (const page of this.#pages) page.close()
    await super.close()
  }

  #connect(frame: WebFrameMain | null, nonce: unknown): void {
    const origin = frame ? originOf(frame.url) : ''
    if (!frame || !this.#origins.has(origin))
      throw new Error(`The origin ${origin || 'of this frame'} may not use the engine: add it to allowedOrigins of createDiffusionHost()`)
    const { port1, port2 } = new this.#electron.MessageChannelMain()
    const page: PageConnection = new PageConnection(this, port1, this.#limits, () => this.#pages.delete(page))
    this.#pages.add(page)
    frame.postMessage(portChannel, String(nonce), [port2])
  }
}

/** In other programs `electron` is missing, or (installed to develop with) the path of its binary. */
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
 * Makes the application's engine, once, in the main process: in a utility process, with a queue, and open to the pages of `allowedOrigins` ({@link DiffusionHost}).
 *
 * @example
 * const host = createDiffusionHost({ models: { main: path.join(process.resourcesPath, 'model.gguf') }, allowedOrigins: ['app://bundle'] })
 */
export function createDiffusionHost(options?: ElectronHostOptions): ElectronDiffusionHost {
  return new ElectronDiffusionHost(options, theElectron())
}
