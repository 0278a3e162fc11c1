/** The queue for requests of all APIs: what a queue must do, and who is admitted. {@link LocalQueue} and {@link FleetQueue} are the implementations. */
import { EventEmitter } from 'node:events'
import type { GenerateResult, HostGenerateOptions, JobEvent, RawImage } from 'node-latent-diffusion'
import { busy, closing } from './errors.js'
import type { Priority } from './protocol.js'
import type { Limits } from './settings.js'

/** The requested work. */
export interface Submission {
  /** Default: random. A queue that others share runs an id once. */
  id?: string
  /** The API of the request. */
  api: 'latent' | 'openai' | 'a1111'
  model: string
  options: HostGenerateOptions
  priority?: Priority
  /** The client's address. */
  client: string
  /** A further part of an admitted request. */
  goesOn?: boolean
  /** Aborted when the result is not needed any more. */
  signal?: AbortSignal
  /** JSON that a shared queue keeps, so that other servers can show the request. */
  note?: Record<string, unknown>
  onEvent?(event: JobEvent): void
}

/** A finished image. */
export interface RunImage {
  width: number
  height: number
  metadata: Readonly<Record<string, string>>
  /** The PNG file with its metadata. */
  png(): Promise<Uint8Array>
  raw(): Promise<RawImage>
}

/** A result, made here or elsewhere. */
export interface RunResult extends Pick<GenerateResult, 'seed' | 'warnings'> {
  images: RunImage[]
  /** `sharedBy` is absent in results of older workers. */
  timings: Pick<GenerateResult['timings'], 'loadMs' | 'encodeMs' | 'sampleMs' | 'decodeMs'> & { sharedBy?: number }
  /** With all defaults. */
  options: Readonly<Record<string, unknown>>
  /** Tokens of the prompt, if they were counted where the image was made. */
  promptTokens?: number
}

/** A submission in the queue. */
export interface Run extends Submission {
  state: 'queued' | 'running' | 'done'
  submitted: number
  started?: number
  /** Rejects if the queue could not take it. */
  accepted: Promise<void>
  promise: Promise<RunResult>
  cancel(reason: unknown): void
}

/** A run that another process submitted, or this one before. */
export interface FoundRun {
  run: Run
  model: string
  priority: Priority
  note: Record<string, unknown>
}

export interface QueueEvents {
  /** Events of the queue or of the engine. */
  change: []
  /** A run has ended; `error` if it failed. */
  settled: [run: Run, result: RunResult | undefined, error: unknown]
  progress: [run: Run, event: JobEvent]
}

export abstract class WaitingRoom extends EventEmitter<QueueEvents> {
  readonly #limits: Limits
  #closing = false
  /** Durations of the last runs in milliseconds, for `Retry-After`. */
  readonly #lately: number[] = []

  constructor(limits: Limits) {
    super()
    this.setMaxListeners(0) // unlimited, as many as streams
    this.#limits = limits
  }

  /** Runs of this server that are being made. */
  abstract get running(): readonly Run[]
  /** Runs of this server that wait, in order as far as it is known. */
  abstract get waiting(): readonly Run[]

  /** Waiting runs of all servers. */
  async depth(): Promise<number> {
    return this.waiting.length
  }

  /** Whether jobs can be taken at the moment. */
  get isReachable(): boolean {
    return true
  }

  get isFull(): boolean {
    return !this.#isIdle && this.waiting.length >= this.#limits.maxQueue
  }

  get #isIdle(): boolean {
    return this.running.length === 0 && this.waiting.length === 0
  }

  get isClosing(): boolean {
    return this.#closing
  }

  /** Estimated seconds until there is room in the queue. */
  get retryAfter(): number {
    const mean = this.#lately.reduce((sum, each) => sum + each, 0) / Math.max(1, this.#lately.length)
    return Math.min(120, Math.max(1, Math.ceil(mean / 1000)))
  }

  /** @throws HttpError 429 if too many wait, 503 while the server is closing */
  admit(client: string): void {
    if (this.#closing) throw closing()
    const { maxQueue, maxQueuePerClient } = this.#limits
    if (this.#isIdle) return
    if (this.waiting.length >= maxQueue) throw busy(`The queue is full: ${this.waiting.length} requests are waiting`, this.retryAfter)
    if (this.waiting.filter((each) => each.client === client).length >= maxQueuePerClient)
      throw busy(`The limit of ${maxQueuePerClient} waiting requests per client is reached`, this.retryAfter)
  }

  submit(submission: Submission): Run {
    if (!submission.goesOn) this.admit(submission.client)
    else if (this.#closing) throw closing()
    return this.enqueue(submission)
  }

  /** Moves a waiting run; 0: next. After that no other overtakes it by priority. @throws HttpError 409 if the queue cannot */
  abstract move(run: Run, position: number): Promise<void>

  /** Binds an idempotency key to a request, in all servers of the queue. Returns the id of the first request. @throws HttpError 409 if it was a different one */
  abstract claim(key: string, requestHash: string, id: string): Promise<string>

  /** Finds a run of another server. */
  abstract find(id: string, onEvent: (event: JobEvent) => void): Promise<FoundRun | undefined>

  /** Deletes a finished run from a shared queue. */
  abstract forget(id: string, model: string): Promise<void>

  /** Tokens of a prompt while its run is made; undefined if the result has them. */
  abstract countTokens(model: string, prompt: string): Promise<number> | undefined

  /** Rejects waiting runs and gives running ones this many milliseconds. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    await this.end(graceMs)
  }

  protected abstract enqueue(submission: Submission): Run
  protected abstract end(graceMs: number): Promise<void>

  protected took(ms: number): void {
    this.#lately.push(ms)
    if (this.#lately.length > 8) this.#lately.shift()
  }
}
