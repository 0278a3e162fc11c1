/** The queue of a server without an engine: a queue on Redis, whose jobs workers on other machines run. */
import type * as fleet from '@node-latent-diffusion/worker'
import { RawImage, type JobEvent } from 'node-latent-diffusion'
import { closing, HttpError, invalid } from './errors.js'
import { readPatiently } from './patience.js'
import { WaitingRoom, type FoundRun, type Run, type RunResult, type Submission } from './queue.js'
import type { Limits, QueueSettings } from './settings.js'

type OwnRun = Run & { onEvent(event: JobEvent): void }

/** Opens the queue. @throws Error if the package of the queue is not installed */
export function openFleet(settings: QueueSettings, version: string, log: (line: string) => void): fleet.JobQueue {
  const name = '@node-latent-diffusion/worker'
  let found: typeof fleet
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- optional, and needed at once
    found = require('@node-latent-diffusion/worker') as typeof fleet
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
    throw new Error(`The queue is in a separate package: npm install ${name}@${version}`, { cause: error })
  }
  return new found.JobQueue({ ...(settings as fleet.QueueOptions), log })
}

/** Options that cannot be sent. Errors of the system have a code. */
function isFaultOfRequest(error: unknown): error is TypeError | RangeError {
  return (error instanceof TypeError || error instanceof RangeError) && !('code' in error)
}

export class FleetQueue extends WaitingRoom {
  readonly #queue: fleet.JobQueue
  readonly #models: () => readonly string[]
  readonly #runs = new Set<OwnRun>()

  constructor(queue: fleet.JobQueue, models: () => readonly string[], limits: Limits) {
    super(limits)
    this.#queue = queue
    this.#models = models
  }

  get running(): readonly Run[] {
    return this.#own('running')
  }

  get waiting(): readonly Run[] {
    return this.#own('queued')
  }

  /** Without the runs of other servers that this one only shows. */
  #own(wanted: Run['state']): Run[] {
    return [...this.#runs].filter(({ state, client }) => state === wanted && client !== '')
  }

  override get isReachable(): boolean {
    return this.#queue.isConnected
  }

  override async depth(): Promise<number> {
    if (!this.isReachable) return this.waiting.length // metrics must not wait for Redis
    const counts = await Promise.all(this.#models().map((model) => this.#queue.counts(model)))
    return counts.reduce((sum, { waiting }) => sum + waiting, 0)
  }

  async move(run: Run, position: number): Promise<void> {
    if (position !== 0) throw new HttpError(409, 'ERR_STATE', 'In a shared queue jobs can only be moved to the front (position 0)')
    await this.#queue.moveToFront({ id: run.id!, model: run.model })
  }

  async claim(key: string, requestHash: string, id: string): Promise<string> {
    return this.#queue.claim(key, requestHash, id)
  }

  async find(id: string, onEvent: (event: JobEvent) => void): Promise<FoundRun | undefined> {
    const run = this.#track({ id, api: 'latent', model: '', options: {}, client: '', onEvent })
    const isJob = (note: unknown) => (note as Record<string, unknown> | null | undefined)?.api === 'latent'
    const job = await this.#queue.attach(id, this.#models(), (news) => this.#hear(run, news), isJob)
    if (!job) return undefined
    const note = job.note as Record<string, unknown>
    const { model, priority } = job
    run.model = model
    this.#follow(run, job)
    return { run, model, priority, note }
  }

  async forget(id: string, model: string): Promise<void> {
    await this.#queue.forget({ id, model })
  }

  countTokens(): undefined {
    return undefined
  }

  protected enqueue(submission: Submission): Run {
    const { id, model, options, priority = 'interactive', api, note } = submission
    const run = this.#track({ ...submission, priority })
    const control = new AbortController()
    const signal = submission.signal ? AbortSignal.any([submission.signal, control.signal]) : control.signal
    run.cancel = (reason) => control.abort(reason)
    const job = this.#queue
      .submit({
        ...(id === undefined ? {} : { id }),
        ...{ model, options, priority, signal, note: { ...note, api } },
        onNews: (news) => this.#hear(run, news),
      })
      .catch((error: unknown) => {
        throw isFaultOfRequest(error) ? invalid(error.message) : error
      })
    run.accepted = job.then(() => {})
    run.accepted.catch(() => {})
    this.#follow(run, job)
    this.emit('change')
    return run
  }

  /** Jobs of the job API go on without this server. Of the other APIs nobody could fetch the results. */
  protected async end(graceMs: number): Promise<void> {
    const isKept = ({ api }: Run) => api === 'latent'
    for (const run of [...this.#runs]) if (!isKept(run) && run.state === 'queued') run.cancel(closing())
    const rest = [...this.#runs].filter((run) => !isKept(run))
    const late = setTimeout(() => {
      for (const run of rest) run.cancel(closing())
    }, graceMs)
    await Promise.allSettled(rest.map(({ promise }) => promise))
    clearTimeout(late)
    await this.#queue.close()
  }

  #track(submission: Submission & { id?: string }): OwnRun {
    const never = new Promise<never>(() => {})
    const onEvent = (event: JobEvent) => submission.onEvent?.(event)
    return { ...submission, onEvent, state: 'queued', submitted: performance.now(), accepted: never, promise: never, cancel: () => {} }
  }

  /** Settles a run with its job. */
  #follow(run: OwnRun, given: fleet.QueuedJob | Promise<fleet.QueuedJob>): void {
    this.#runs.add(run)
    const work = async () => {
      const job = await given
      run.id = job.id
      if (!(given instanceof Promise)) run.cancel = (reason) => job.cancel(reason)
      return this.#resultOf(await job.result)
    }
    const over = (result: RunResult | undefined, error?: unknown) => {
      if (run.started !== undefined) this.took(performance.now() - run.started)
      run.state = 'done'
      this.#runs.delete(run)
      this.emit('settled', run, result, error)
      this.emit('change')
    }
    run.promise = work().then(
      (result) => {
        over(result)
        return result
      },
      (error: unknown) => {
        // Of a queue that was closed, not of a job.
        const told = this.isClosing && (error as { code?: unknown }).code === 'ERR_QUEUE' ? closing() : error
        over(undefined, told)
        throw told
      },
    )
    run.promise.catch(() => {}) // reported by its API
  }

  #hear(run: OwnRun, news: fleet.QueuedJobNews): void {
    if (run.state === 'done') return
    if (news.type === 'changed') return
    if (news.type === 'queued') run.onEvent(news)
    else if (news.type === 'preview') void this.#preview(run, news)
    else {
      if (run.state === 'queued') {
        run.state = 'running'
        run.started ??= performance.now()
        run.onEvent({ type: 'started' })
        this.emit('change')
      }
      if (news.type !== 'progress') return
      run.onEvent(news)
      this.emit('progress', run, news)
    }
  }

  async #preview(run: OwnRun, { png, ...at }: Extract<fleet.QueuedJobNews, { type: 'preview' }>): Promise<void> {
    const image = await RawImage.read(new Uint8Array(Buffer.from(png, 'base64'))).catch(() => undefined) // a lost preview is replaced by the next one
    if (image && run.state !== 'done') run.onEvent({ ...at, image })
  }

  #resultOf({ images, seed, options, timings, warnings, promptTokens }: fleet.JobResult): RunResult {
    return {
      images: images.map(({ key, width, height, metadata }) => {
        const png = () =>
          readPatiently(
            (signal) => this.#queue.store.get(key, signal),
            () => this.isClosing,
          )
        return { width, height, metadata, png, raw: async () => RawImage.read(await png()) }
      }),
      seed: BigInt(seed),
      options,
      timings,
      warnings,
      promptTokens,
    }
  }
}
