/** The queue of a server with its own engine: one run at a time, or several that may share the U-Net's calls; `interactive` before `batch`. */
import { batchKey, type DiffusionHost, type GenerateResult } from 'node-latent-diffusion'
import { closing } from './errors.js'
import { WaitingRoom, type Run, type RunResult, type Submission } from './queue.js'
import type { Limits } from './settings.js'

type OwnRun = Run & { begin(): Promise<void> }

function resultOf({ images, options, seed, timings, warnings }: GenerateResult): RunResult {
  return {
    images: images.map((image) => {
      const { width, height, metadata } = image
      return { width, height, metadata, png: () => image.encode(), raw: async () => image }
    }),
    options: { ...options },
    ...{ seed, timings, warnings },
  }
}

/** Runs with equal texts may be made together. */
function togetherKey({ model, options }: Submission): string | undefined {
  const key = batchKey(options)
  return key === undefined ? undefined : `${model} ${key}`
}

const imagesOf = ({ options }: Submission) => (typeof options.count === 'number' ? options.count : 1)

export class LocalQueue extends WaitingRoom {
  readonly #host: DiffusionHost
  #waiting: OwnRun[] = []
  #running: OwnRun[] = []
  readonly #maxBatch: number

  constructor(host: DiffusionHost, limits: Limits, maxBatch: number) {
    super(limits)
    this.#host = host
    this.#maxBatch = maxBatch
    host.on('status', () => this.emit('change'))
  }

  get running(): readonly Run[] {
    return this.#running
  }

  get waiting(): readonly Run[] {
    return this.#waiting
  }

  async move(run: Run, position: number): Promise<void> {
    const moved = this.#waiting.find((each) => each === run)
    if (!moved) return
    const others = this.#waiting.filter((each) => each !== run)
    moved.priority = 'interactive'
    others.splice(Math.min(position, others.length), 0, moved)
    this.#waiting = others
    this.#tellPositions()
  }

  /** Counted while the model is loaded: afterwards this would wait for the next request. */
  async countTokens(model: string, prompt: string): Promise<number> {
    const { chunks } = await this.#host.tokenize(prompt, { model })
    return chunks.reduce((sum, { ids }) => sum + ids.length, 0)
  }

  async claim(_key: string, _requestHash: string, id: string): Promise<string> {
    return id
  }

  async find(): Promise<undefined> {
    return undefined
  }

  async forget(): Promise<void> {}

  protected enqueue(submission: Submission): Run {
    let resolve!: (result: RunResult) => void
    let reject!: (error: unknown) => void
    const promise = new Promise<RunResult>((yes, no) => ([resolve, reject] = [yes, no]))
    promise.catch(() => {}) // reported by its API
    const controller = new AbortController()
    const leave = () => run.cancel(submission.signal!.reason)
    const settle = (result: RunResult | undefined, error?: unknown) => {
      if (run.state === 'done') return
      run.state = 'done'
      submission.signal?.removeEventListener('abort', leave)
      if (result) resolve(result)
      else reject(error)
      this.emit('settled', run, result, error)
    }
    const run: OwnRun = {
      ...submission,
      priority: submission.priority ?? 'interactive',
      state: 'queued',
      submitted: performance.now(),
      accepted: Promise.resolve(),
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
          settle(resultOf(await this.#generate(run, controller.signal)))
        } catch (error) {
          settle(undefined, error)
        }
      },
    }
    if (submission.signal?.aborted) settle(undefined, submission.signal.reason)
    else {
      submission.signal?.addEventListener('abort', leave, { once: true })
      this.#place(run)
    }
    return run
  }

  protected async end(graceMs: number): Promise<void> {
    for (const run of [...this.#waiting]) run.cancel(closing())
    const running = this.#running
    const late = setTimeout(() => {
      for (const run of running) run.cancel(closing())
    }, graceMs)
    await Promise.allSettled(running.map(({ promise }) => promise))
    clearTimeout(late)
  }

  #place(run: OwnRun): void {
    const { length } = this.#waiting
    const place = run.priority === 'batch' ? length : 1 + this.#waiting.map(({ priority }) => priority !== 'batch').lastIndexOf(true)
    this.#waiting.splice(place, 0, run)
    this.#next()
    this.#tellPositions()
  }

  #next(): void {
    if (this.#running.length > 0) return
    const runs = this.#takeTogether()
    this.#running = runs
    for (const run of runs) {
      run.state = 'running'
      run.started = performance.now()
      void run.begin().then(() => {
        this.took((performance.now() - run.started!) / runs.length)
        this.#running = this.#running.filter((each) => each !== run)
        this.#next()
        this.#tellPositions()
      })
    }
  }

  /** The first of the waiting runs, and those that may be made with it. A `batch` run passes no waiting `interactive` one. */
  #takeTogether(): OwnRun[] {
    const first = this.#waiting.shift()
    if (!first) return []
    const key = togetherKey(first)
    const taken = [first]
    let images = imagesOf(first)
    let isPassing = false
    for (const run of key === undefined || this.#maxBatch === 1 ? [] : [...this.#waiting]) {
      if (run.priority === 'batch' && isPassing) continue
      if (images + imagesOf(run) > this.#maxBatch || togetherKey(run) !== key) {
        isPassing ||= run.priority !== 'batch'
        continue
      }
      images += imagesOf(run)
      taken.push(run)
    }
    this.#waiting = this.#waiting.filter((each) => !taken.includes(each))
    return taken
  }

  #tellPositions(): void {
    const before = this.#running.length
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
