/** Jobs of the native API, with their events and images, which are kept for later requests. */
import { createHash, randomUUID } from 'node:crypto'
import type { JobEvent as EngineEvent } from 'node-latent-diffusion'
import { cancelled, HttpError, notFound, toAnswer } from './errors.js'
import type { Job, JobEvent, JobImage, JobProgress, JobResult, JobStatus, Priority } from './protocol.js'
import type { Run, RunResult } from './queue.js'
import { seedsOf } from './requests.js'
import type { Limits } from './settings.js'

interface Stored {
  id: number
  event: JobEvent
}

/** Events of which only the newest is replayed. */
function supersedes(event: JobEvent, other: JobEvent): boolean {
  if (event.type === 'queued' || event.type === 'started') return other.type === 'queued'
  if (event.type === 'progress') return other.type === 'progress' && other.phase === event.phase
  if (event.type === 'done' || event.type === 'error') return other.type === 'preview'
  if (event.type === 'preview') return other.type === 'preview' && other.index === event.index
  return event.type === 'image' && other.type === 'preview' && other.index === event.index
}

const iso = () => new Date().toISOString()

/** Resolved options as JSON, without images and paths. */
function plainOptions(options: Record<string, unknown>): Record<string, unknown> {
  const kept = Object.entries(options).filter(
    ([key]) => !['image', 'mask', 'semanticMap', 'depthMap', 'loras', 'latents', 'neighbours'].includes(key),
  )
  return Object.fromEntries(kept.map(([key, value]) => [key, typeof value === 'bigint' ? String(value) : value]))
}

export class JobRecord {
  readonly pictures: { png: Uint8Array; sha256: string }[] = []
  /** Present while it waits or runs: has the input images and receives the results. */
  run: Run | undefined
  /** Settled with the job's last event. */
  over: Promise<void> = Promise.resolve()
  #status: JobStatus = 'queued'
  #position = 0
  #started: string | undefined
  #finished: string | undefined
  #progress: JobProgress | undefined
  #result: JobResult | undefined
  #error: Job['error']
  #events: Stored[] = []
  #lastEvent = 0
  readonly #listeners = new Set<() => void>()
  readonly #requestBytes: number
  /** The final step of a job: encodes its images. */
  #telling: Promise<unknown> = Promise.resolve()

  constructor(
    readonly request: Record<string, unknown>,
    readonly model: string,
    readonly priority: Priority,
    readonly id: string = randomUUID(),
    readonly created = iso(),
  ) {
    this.#requestBytes = JSON.stringify(request).length
  }

  get isOver(): boolean {
    return this.#finished !== undefined
  }

  get status(): JobStatus {
    return this.#status
  }

  /** Bytes of a kept job: its images, its request, and previews not yet replaced by images. */
  get bytes(): number {
    const previews = this.#events.reduce((sum, { event }) => sum + (event.type === 'preview' ? event.url.length : 0), 0)
    return this.pictures.reduce((sum, { png }) => sum + png.length, 0) + this.#requestBytes + previews
  }

  toJson(): Job {
    const self = `/latent/v1/jobs/${this.id}`
    const optional = { started: this.#started, finished: this.#finished, progress: this.#progress, result: this.#result, error: this.#error }
    return {
      ...{ id: this.id, status: this.#status, request: this.request, model: this.model, priority: this.priority },
      ...(this.#status === 'queued' ? { position: this.#position } : {}),
      created: this.created,
      ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
      links: { self, events: `${self}/events` },
    }
  }

  /** An event of the engine. */
  take(event: EngineEvent): void {
    switch (event.type) {
      case 'queued':
        this.#position = event.position
        return this.#push(event)
      case 'started':
        this.#status = 'running'
        this.#started = iso()
        return this.#push(event)
      case 'progress': {
        const { phase, step, steps, elapsedMs, etaMs } = event
        this.#progress = { phase, step, steps, elapsedMs, etaMs }
        return this.#push(event)
      }
      case 'preview': {
        const { image, index, step, steps } = event
        const { width, height } = image
        this.#telling = this.#telling.then(async () => {
          if (this.isOver) return
          // A failed preview is ignored.
          const png = await image.encode('png', { compressionLevel: 1, metadata: false }).catch(() => undefined)
          if (!png || this.isOver) return
          this.#push({ type: 'preview', index, step, steps, width, height, url: `data:image/png;base64,${Buffer.from(png).toString('base64')}` })
        })
      }
    }
  }

  /** Follows its run to the end. `log` gets what clients do not. */
  track(run: Run, log: (line: string) => void): Promise<void> {
    this.run = run
    this.over = run.promise
      .then((result) => this.finish(result))
      .catch((error: unknown) => {
        const answer = toAnswer(error)
        if (answer.log !== undefined) log(`job ${this.id}: ${answer.log}`)
        this.fail(error)
      })
      .finally(() => (this.run = undefined))
    return this.over
  }

  async finish(result: RunResult): Promise<void> {
    await this.#telling
    if (this.isOver) return
    const images: JobImage[] = []
    for (const [index, image] of result.images.entries()) {
      const png = await image.png()
      if (this.isOver) return // cancelled meanwhile
      const sha256 = createHash('sha256').update(png).digest('hex')
      this.pictures.push({ png, sha256 })
      const { seed, variationSeed } = seedsOf(result, index)
      const seeds = { seed: String(seed), ...(variationSeed === undefined ? {} : { variationSeed: String(variationSeed) }) }
      const { width, height, metadata } = image
      images.push({ url: `/latent/v1/jobs/${this.id}/images/${index}.png`, sha256, width, height, ...seeds, metadata: { ...metadata } })
      this.#push({ type: 'image', index, ...images[index]! })
    }
    const { timings, warnings, options } = result
    this.#result = { images, options: plainOptions({ ...options }), timings, warnings }
    this.#status = 'succeeded'
    this.#finished = iso()
    this.#push({ type: 'done', job: this.toJson() })
  }

  fail(error: unknown): void {
    if (this.isOver) return
    const answer = toAnswer(error)
    this.pictures.length = 0
    this.#error = answer.error
    this.#status = answer.error.code === 'ERR_CANCELLED' ? 'cancelled' : 'failed'
    this.#finished = iso()
    this.#push({ type: 'error', status: this.#status, error: answer.error })
  }

  /** Events after the one with this id, including future ones, until the job has ended. */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<Stored, void, void> {
    let last = after
    for (;;) {
      const next = this.#events.find(({ id }) => id > last)
      if (next) {
        last = next.id
        yield next
      } else if (this.isOver || signal.aborted) return
      else await this.#change(signal)
    }
  }

  /** Whether there is or may be an event after this one. */
  goesOn(after: number): boolean {
    return !this.isOver || this.#lastEvent > after
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#listeners.delete(wake)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      this.#listeners.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }

  #push(event: JobEvent): void {
    if (this.#events.at(-1)?.event.type === 'error') return
    this.#events = this.#events.filter((stored) => !supersedes(event, stored.event))
    this.#events.push({ id: ++this.#lastEvent, event })
    for (const wake of [...this.#listeners]) wake()
  }
}

/** The newest jobs, within the limits. */
export class JobStore {
  readonly #jobs = new Map<string, JobRecord>()
  readonly #keys = new Map<string, { hash: string; job: JobRecord }>()
  readonly #limits: Limits

  constructor(limits: Limits) {
    this.#limits = limits
  }

  add(job: JobRecord, key?: { name: string; hash: string }): void {
    this.#jobs.set(job.id, job)
    if (key) this.#keys.set(key.name, { hash: key.hash, job })
  }

  has(id: string): boolean {
    return this.#jobs.has(id)
  }

  /** Whether a job was created with this key, by any request. */
  hasKey(name: string): boolean {
    return this.#keys.has(name)
  }

  /** The job created with this key. @throws HttpError 409 if it was a different request */
  byKey(key: { name: string; hash: string }): JobRecord | undefined {
    const known = this.#keys.get(key.name)
    if (known && known.hash !== key.hash)
      throw new HttpError(409, 'ERR_IDEMPOTENCY', 'This Idempotency-Key was used with another request; use a new key for each request')
    return known?.job
  }

  get(id: string): JobRecord {
    const job = this.#jobs.get(id)
    if (!job) throw notFound(`There is no job ${id.slice(0, 64)}; finished jobs are deleted after some time`)
    return job
  }

  /** Newest first. */
  list(status: JobStatus | undefined, cursor: string | undefined, size = 50): { jobs: JobRecord[]; next?: string } {
    const all = [...this.#jobs.values()].reverse().filter((job) => status === undefined || job.status === status)
    const from = cursor === undefined ? 0 : all.findIndex(({ id }) => id === cursor) + 1
    if (cursor !== undefined && from === 0) return { jobs: [] }
    const jobs = all.slice(from, from + size)
    return from + size < all.length ? { jobs, next: jobs.at(-1)!.id } : { jobs }
  }

  /** Waits until every job has sent its last event. */
  async settled(): Promise<void> {
    await Promise.all([...this.#jobs.values()].map(({ over }) => over))
  }

  /** Cancels a job, or deletes a finished one. */
  remove(job: JobRecord): 'cancelled' | 'forgotten' {
    if (!job.isOver) {
      job.run?.cancel(cancelled())
      job.fail(cancelled())
      return 'cancelled'
    }
    this.#forget(job)
    return 'forgotten'
  }

  /** Deletes the oldest finished jobs beyond the limits. */
  trim(): void {
    const over = [...this.#jobs.values()].filter((job) => job.isOver)
    let bytes = over.reduce((sum, job) => sum + job.bytes, 0)
    let count = over.length
    for (const job of over) {
      if (count <= this.#limits.maxKeptJobs && bytes <= this.#limits.maxKeptBytes) break
      this.#forget(job)
      bytes -= job.bytes
      count--
    }
  }

  /** Drops a job that the queue did not take. */
  drop(job: JobRecord): void {
    this.#forget(job)
  }

  #forget(job: JobRecord): void {
    this.#jobs.delete(job.id)
    for (const [name, entry] of this.#keys) if (entry.job === job) this.#keys.delete(name)
  }
}
