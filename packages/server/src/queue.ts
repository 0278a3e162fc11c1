/** The queue for requests of all APIs: one at a time goes to the engine, `interactive` before `batch`. */
import { EventEmitter } from 'node:events'
import type { DiffusionHost, GenerateResult, HostGenerateOptions, JobEvent } from 'node-latent-diffusion'
import { busy, closing } from './errors.js'
import type { Priority } from './protocol.js'
import type { Limits } from './settings.js'

/** The requested work. */
export interface Submission {
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
  onEvent?(event: JobEvent): void
}

/** A submission in the queue. */
export interface Run extends Submission {
  state: 'queued' | 'running' | 'done'
  submitted: number
  started?: number
  promise: Promise<GenerateResult>
  cancel(reason: unknown): void
}

export interface QueueEvents {
  /** Events of the queue or of the engine. */
  change: []
  /** A run has ended; `error` if it failed. */
  settled: [run: Run, result: GenerateResult | undefined, error: unknown]
  progress: [run: Run, event: JobEvent]
}

export class WaitingRoom extends EventEmitter<QueueEvents> {
  readonly #host: DiffusionHost
  readonly #limits: Limits
  #waiting: Run[] = []
  #running: Run | undefined
  #closing = false
  /** Durations of the last runs in milliseconds, for `Retry-After`. */
  readonly #lately: number[] = []

  constructor(host: DiffusionHost, limits: Limits) {
    super()
    this.setMaxListeners(0) // unlimited, as many as streams
    this.#host = host
    host.on('status', () => this.emit('change'))
    this.#limits = limits
  }

  get running(): Run | undefined {
    return this.#running
  }

  get waiting(): readonly Run[] {
    return this.#waiting
  }

  get isFull(): boolean {
    return this.#running !== undefined && this.#waiting.length >= this.#limits.maxQueue
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
    if (this.#running === undefined) return
    if (this.#waiting.length >= maxQueue) throw busy(`The queue is full: ${this.#waiting.length} requests are waiting`, this.retryAfter)
    if (this.#waiting.filter((each) => each.client === client).length >= maxQueuePerClient)
      throw busy(`The limit of ${maxQueuePerClient} waiting requests per client is reached`, this.retryAfter)
  }

  submit(submission: Submission): Run {
    if (!submission.goesOn) this.admit(submission.client)
    else if (this.#closing) throw closing()
    let resolve!: (result: GenerateResult) => void
    let reject!: (error: unknown) => void
    const promise = new Promise<GenerateResult>((yes, no) => ([resolve, reject] = [yes, no]))
    promise.catch(() => {}) // reported by its API
    const controller = new AbortController()
    const leave = () => run.cancel(submission.signal!.reason)
    const settle = (result: GenerateResult | undefined, error?: unknown) => {
      if (run.state === 'done') return
      run.state = 'done'
      submission.signal?.removeEventListener('abort', leave)
      if (result) resolve(result)
      else reject(error)
      this.emit('settled', run, result, error)
    }
    const run: Run & { begin(): Promise<void> } = {
      ...submission,
      priority: submission.priority ?? 'interactive',
      state: 'queued',
      submitted: performance.now(),
      promise,
      cancel: (reason) => {
        if (run.state === 'queued') {
          this.#waiting = this.#waiting.filter((each) => each !== run)
          settle(undefined, reason)
          this.#tellPositions()
        } else controller.abort(reason)
      },
      begin: async () => {
        try {
          settle(await this.#generate(run, controller.signal))
        } catch (error) {
          settle(undefined, error)
        }
      },
    }
    if (submission.signal?.aborted) settle(undefined, submission.signal.reason)
    else {
      submission.signal?.addEventListener('abort', leave, { once: true })
      this.#enqueue(run)
    }
    return run
  }

  /** Moves a waiting run; 0: next. After that no other overtakes it by priority. */
  move(run: Run, position: number): void {
    const others = this.#waiting.filter((each) => each !== run)
    if (others.length === this.#waiting.length) return
    run.priority = 'interactive'
    others.splice(Math.min(position, others.length), 0, run)
    this.#waiting = others
    this.#tellPositions()
  }

  /** Rejects waiting runs and gives the running one this many milliseconds. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    for (const run of [...this.#waiting]) run.cancel(closing())
    const running = this.#running
    if (!running) return
    const late = setTimeout(() => running.cancel(closing()), graceMs)
    await running.promise.catch(() => {})
    clearTimeout(late)
  }

  #enqueue(run: Run): void {
    const { length } = this.#waiting
    const place = run.priority === 'batch' ? length : 1 + this.#waiting.map(({ priority }) => priority !== 'batch').lastIndexOf(true)
    this.#waiting.splice(place, 0, run)
    this.#next()
    this.#tellPositions()
  }

  #next(): void {
    if (this.#running) return
    const run = this.#waiting.shift() as (Run & { begin(): Promise<void> }) | undefined
    this.#running = run
    if (!run) return
    run.state = 'running'
    run.started = performance.now()
    void run.begin().then(() => {
      this.#lately.push(performance.now() - run.started!)
      if (this.#lately.length > 8) this.#lately.shift()
      this.#running = undefined
      this.#next()
      this.#tellPositions()
    })
  }

  #tellPositions(): void {
    const before = this.#running ? 1 : 0
    for (const [i, run] of this.#waiting.entries()) run.onEvent?.({ type: 'queued', position: i + before })
    this.emit('change')
  }

  async #generate(run: Run, signal: AbortSignal): Promise<GenerateResult> {
    run.onEvent?.({ type: 'started' })
    const job = this.#host.generate({ ...run.options, model: run.model, signal })
    for await (const event of job) {
      if (event.type === 'queued' || event.type === 'started') continue // events of the host, which has one job at a time
      run.onEvent?.(event)
      this.emit('progress', run, event)
    }
    return job
  }
}
