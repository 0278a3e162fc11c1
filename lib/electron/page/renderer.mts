/**
 * The page's side of an engine in an Electron application. Browser code: one module without dependencies, for any bundler or a plain `<script type="module">`.
 */
import type { GenerateWarning, HostGenerateOptions, HostStatus, LoraReport, ModelPart, Progress, Timings } from '../../index.js'
import type { MainMessage, PageEvent, PageMessage, PagePicture } from '../page-protocol.js'

/** A start image: a file, or image data of the page. */
export type PageImageInput = Blob | Uint8Array | ImageData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas

/** Options of {@link Diffusion.generate}: those of `DiffusionHost.generate()`, with images as a page can provide them. */
export interface PageGenerateOptions extends Omit<HostGenerateOptions, 'image' | 'mask' | 'loras' | 'onProgress' | 'preview'> {
  image?: PageImageInput
  mask?: PageImageInput
  preview?: { /** One preview every so many steps. Default 1. */ every?: number; method?: 'linear' | 'vae' }
}

/** A finished image. */
export interface DiffusionImage {
  /** A PNG file with the settings inside, as A1111 writes them. */
  readonly blob: Blob
  readonly width: number
  readonly height: number
  readonly metadata: Readonly<Record<string, string>>
  /** To draw on a canvas. The caller closes it. */
  bitmap(): Promise<ImageBitmap>
}

/** Result of {@link Diffusion.generate}. */
export interface PageGenerateResult {
  images: DiffusionImage[]
  seed: bigint
  /** With all defaults, without the input images. */
  options: Record<string, unknown>
  timings: Timings
  float32Parts: ModelPart[]
  loras: LoraReport[]
  warnings: GenerateWarning[]
}

/** Events of a job. */
export type PageJobEvent =
  | { type: 'queued'; position: number }
  | { type: 'started' }
  | ({ type: 'progress' } & Progress)
  /** The caller closes the bitmap. */
  | { type: 'preview'; bitmap: ImageBitmap; step: number; steps: number; index: number }

/** An error of the engine; `code` is that of the package's error classes. */
export class DiffusionError extends Error {
  override name = 'DiffusionError'
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.code = code
    this.details = details
  }
}

/** Options of {@link connectDiffusion}. */
export interface ConnectOptions {
  /** The key of `exposeDiffusion()`. Default `latentDiffusion`. */
  key?: string
  /** Milliseconds to wait for the main process. Default 10000. */
  timeoutMs?: number
}

/** A call of {@link Diffusion.generate}: a promise of its result, and a stream of events. Either may be ignored. */
export class PageJob implements PromiseLike<PageGenerateResult>, AsyncIterable<PageJobEvent> {
  readonly #result: Promise<PageGenerateResult>
  readonly #cancel: (reason: unknown) => void
  readonly #events: PageJobEvent[] = []
  #over: { error?: unknown } | undefined
  #wake: (() => void) | undefined

  /** @internal */
  constructor(cancel: (reason: unknown) => void, take: (job: JobHandle) => void) {
    this.#cancel = cancel
    this.#result = new Promise((resolve, reject) => {
      const end = (over: { error?: unknown }) => {
        if (this.#over) return false
        this.#over = over
        this.#wake?.()
        return true
      }
      take({
        resolve: (result) => void (end({}) && resolve(result)),
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the reason of an abort may be anything
        reject: (error) => void (end({ error }) && reject(error)),
        emit: (event) => this.#push(event),
      })
    })
  }

  /** Cancels the job, waiting or running; it rejects with `reason` immediately. */
  cancel(reason: unknown = new DOMException('The job was cancelled', 'AbortError')): void {
    this.#cancel(reason)
  }

  then<A = PageGenerateResult, B = never>(
    onResult?: ((result: PageGenerateResult) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onResult, onError)
  }

  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<PageGenerateResult | B> {
    return this.#result.catch(onError)
  }

  finally(action?: (() => void) | null): Promise<PageGenerateResult> {
    return this.#result.finally(action)
  }

  /** The events until the end; throws the job's error. If events are not read in time, only the newest of each type and phase is kept. */
  async *[Symbol.asyncIterator](): AsyncGenerator<PageJobEvent, void, void> {
    this.#result.catch(() => {}) // thrown below
    for (;;) {
      const event = this.#events.shift()
      if (event) yield event
      else if (this.#over) {
        if ('error' in this.#over) throw this.#over.error
        return
      } else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  #push(event: PageJobEvent): void {
    const kind = kindOf(event)
    const older = this.#events.findIndex((each) => kindOf(each) === kind)
    const [replaced] = older < 0 ? [] : this.#events.splice(older, 1)
    if (replaced?.type === 'preview') replaced.bitmap.close()
    if (this.#over) return event.type === 'preview' ? event.bitmap.close() : undefined
    this.#events.push(event)
    this.#wake?.()
  }
}

function kindOf(event: PageJobEvent): string {
  return event.type === 'progress' ? event.phase : event.type
}

interface JobHandle {
  resolve(result: PageGenerateResult): void
  reject(error: unknown): void
  emit(event: PageJobEvent): void
}

/** The application's engine, for a page. Created by {@link connectDiffusion}. */
export class Diffusion {
  readonly #port: MessagePort
  readonly #jobs = new Map<number, JobHandle>()
  readonly #listeners = new Set<(status: HostStatus) => void>()
  #lastId = 0
  #closed = false
  #status: HostStatus
  /** Names of the models that jobs may use; the first is the default. */
  readonly models: readonly string[]

  /** @internal */
  constructor(port: MessagePort, { models, status }: Extract<MainMessage, { type: 'welcome' }>) {
    this.#port = port
    this.models = models
    this.#status = status
    port.onmessage = ({ data }: MessageEvent<MainMessage>) => void this.#receive(data)
    port.addEventListener('close', () => this.close())
  }

  /** Status of the engine. */
  get status(): HostStatus {
    return this.#status
  }

  on(_event: 'status', listener: (status: HostStatus) => void): this {
    this.#listeners.add(listener)
    return this
  }

  off(_event: 'status', listener: (status: HostStatus) => void): this {
    this.#listeners.delete(listener)
    return this
  }

  /** Queues a job that generates images. The main process checks the options and its limits. */
  generate(options: PageGenerateOptions = {}): PageJob {
    const { signal, ...rest } = options
    const id = ++this.#lastId
    let handle!: JobHandle
    const cancel = (reason: unknown) => {
      if (!this.#jobs.delete(id)) return
      this.#send({ type: 'cancel', id })
      handle.reject(reason)
    }
    const job = new PageJob(cancel, (each) => (handle = each))
    const abort = () => cancel(signal!.reason)
    const settled = () => signal?.removeEventListener('abort', abort)
    job.then(settled, settled)
    if (this.#closed) handle.reject(new DiffusionError('ERR_DISPOSED', 'The connection was closed'))
    else if (signal?.aborted) handle.reject(signal.reason)
    else {
      this.#jobs.set(id, handle)
      signal?.addEventListener('abort', abort, { once: true })
      encodeOptions(rest)
        .then((encoded) => {
          if (this.#jobs.has(id)) this.#send({ type: 'generate', id, options: encoded })
        })
        .catch((error: unknown) => this.#settle(id)?.reject(error)) // functions among the options cannot be sent
    }
    return job
  }

  /** Cancels the page's jobs and ends the connection. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#port.close()
    const closed = new DiffusionError('ERR_DISPOSED', 'The connection was closed')
    for (const handle of this.#jobs.values()) handle.reject(closed)
    this.#jobs.clear()
  }

  #send(message: PageMessage): void {
    if (!this.#closed) this.#port.postMessage(message)
  }

  async #receive(message: MainMessage): Promise<void> {
    if (message.type === 'status') {
      this.#status = message.status
      for (const listener of this.#listeners) listener(message.status)
    } else if (message.type === 'event') await this.#event(message.id, message.event)
    else if (message.type === 'result') {
      const { images, ...rest } = message.result
      const pictures = images.map(({ png, ...about }) => pictureOf(new Blob([png as BlobPart], { type: 'image/png' }), about))
      this.#settle(message.id)?.resolve({ ...rest, images: pictures })
    } else if (message.type === 'closed') this.close()
    else if (message.type === 'error') this.#settle(message.id)?.reject(rebuilt(message.error))
  }

  #settle(id: number): JobHandle | undefined {
    const handle = this.#jobs.get(id)
    this.#jobs.delete(id)
    return handle
  }

  async #event(id: number, event: PageEvent): Promise<void> {
    if (event.type !== 'preview') return this.#jobs.get(id)?.emit(event)
    const { image, ...about } = event
    const bitmap = await createImageBitmap(imageData(image))
    this.#send({ type: 'seen', id })
    const handle = this.#jobs.get(id)
    if (handle) handle.emit({ ...about, bitmap })
    else bitmap.close()
  }
}

function pictureOf(blob: Blob, { width, height, metadata }: { width: number; height: number; metadata: Record<string, string> }): DiffusionImage {
  return { blob, width, height, metadata, bitmap: () => createImageBitmap(blob) }
}

function imageData({ data, width, height, channels }: PagePicture): ImageData {
  const pixels = new Uint8ClampedArray(width * height * 4)
  const isGrey = channels < 3
  for (let from = 0, to = 0; to < pixels.length; from += channels, to += 4) {
    pixels[to] = data[from]!
    pixels[to + 1] = data[isGrey ? from : from + 1]!
    pixels[to + 2] = data[isGrey ? from : from + 2]!
    pixels[to + 3] = channels === 4 ? data[from + 3]! : 255
  }
  return new ImageData(pixels, width, height)
}

function rebuilt({ name, message, code, details }: Extract<MainMessage, { type: 'error' }>['error']): Error {
  if (name === 'AbortError') return new DOMException(message, name)
  const builtIn = name === 'TypeError' ? TypeError : name === 'RangeError' ? RangeError : undefined
  return builtIn ? Object.assign(new builtIn(message), { code, details }) : new DiffusionError(code ?? 'ERR_INTERNAL', message, details)
}

async function encodeOptions(options: Omit<PageGenerateOptions, 'signal'>): Promise<Record<string, unknown>> {
  const { image, mask, ...rest } = options
  return {
    ...rest,
    ...(image === undefined ? {} : { image: await encodeImage(image, 'image') }),
    ...(mask === undefined ? {} : { mask: await encodeImage(mask, 'mask') }),
  }
}

/** The bytes of a file, or the pixels of image data. */
async function encodeImage(image: PageImageInput, name: string): Promise<Uint8Array | PagePicture> {
  if (typeof image !== 'object')
    throw new TypeError(`${name} is a Blob, bytes, ImageData, an ImageBitmap, an image or a canvas of the page, not a ${typeof image}`)
  if (image instanceof Uint8Array) return image
  if (image instanceof Blob) return new Uint8Array(await image.arrayBuffer())
  const { data, width, height } = image instanceof ImageData ? image : drawn(image)
  return { $latent: 'picture', data: new Uint8Array(data), width, height, channels: 4, metadata: {} }
}

function drawn(image: Exclude<PageImageInput, Blob | Uint8Array | ImageData>): ImageData {
  const [width, height] = 'naturalWidth' in image ? [image.naturalWidth, image.naturalHeight] : [image.width, image.height]
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d')!
  context.drawImage(image, 0, 0)
  return context.getImageData(0, 0, width, height)
}

/**
 * Connects the page to the application's engine, provided by `createDiffusionHost()` in the main process and `exposeDiffusion()` in the preload script.
 * @throws DiffusionError `ERR_CONNECT` if the preload script has not run, the origin is not allowed, or there is no answer in time
 */
export async function connectDiffusion({ key = 'latentDiffusion', timeoutMs = 10_000 }: ConnectOptions = {}): Promise<Diffusion> {
  const bridge = (window as unknown as Record<string, { connect(nonce: string): Promise<unknown> } | undefined>)[key]
  if (!bridge) throw new DiffusionError('ERR_CONNECT', `window.${key} is missing: call exposeDiffusion({ key: '${key}' }) in the preload script`)
  const nonce = crypto.randomUUID()
  const timeout = AbortSignal.timeout(timeoutMs)
  return new Promise<Diffusion>((resolve, reject) => {
    const refuse = (error: Error) => {
      window.removeEventListener('message', arrive)
      reject(error)
    }
    const arrive = ({ source, data, ports }: MessageEvent) => {
      const message = data as { type?: unknown; nonce?: unknown } | null
      const [port] = ports
      if (source !== window || message?.type !== 'latent-diffusion:port' || message.nonce !== nonce || !port) return
      window.removeEventListener('message', arrive)
      port.onmessage = ({ data: first }: MessageEvent<MainMessage>) => {
        if (first.type === 'welcome') resolve(new Diffusion(port, first))
      }
    }
    window.addEventListener('message', arrive)
    timeout.addEventListener('abort', () => refuse(new DiffusionError('ERR_CONNECT', `The main process did not answer within ${timeoutMs} ms`)))
    bridge.connect(nonce).catch((error: unknown) => refuse(new DiffusionError('ERR_CONNECT', error instanceof Error ? error.message : String(error))))
  })
}
