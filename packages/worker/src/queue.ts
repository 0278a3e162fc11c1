/** The submitting side: puts jobs into Redis, follows them, and sees to it that each gets one outcome. */
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { createHash, randomUUID } from 'node:crypto'
import type { HostGenerateOptions } from 'node-latent-diffusion'
import { firstWaiting } from './batch.js'
import { cancelled, decodeError, QueueError } from './errors.js'
import { encodeOptions } from './job-options.js'
import type { ObjectStore } from './objects.js'
import { protocolVersion, type JobData, type JobNews, type JobResult, type Json, type Priority } from './protocol.js'
import { isResult, readNews } from './messages.js'
import { connect, namesOf, Pulse, shownUrl, whenSubscribed, type Names } from './redis.js'
import { readCount, readDuration, readModelName, readQueueName, readRedisUrl, type QueuePlace } from './settings.js'
import { storeOf } from './store.js'

export interface QueueOptions extends QueuePlace {
  /** Milliseconds that outcomes are kept in Redis. Default 24 hours. */
  keepMs?: number
  /** Runs of a job that fails with a retriable error. Default 3. A lost worker does not count. */
  attempts?: number
  /** Milliseconds to wait for Redis when a job is submitted. Default 10,000. */
  timeoutMs?: number
  /** Milliseconds between looks at open jobs, which find outcomes whose news were missed. Default 5000. */
  sweepMs?: number
  /** Receives log lines. Default: none. */
  log?: (line: string) => void
}

/** News of a job; `queued`: that many jobs go first. */
export type QueuedJobNews = JobNews | { type: 'queued'; position: number }

export interface JobSubmission {
  /** 1 to 128 letters, digits, dashes and underscores, not only digits. A second job of the model with the same id is not run; its submitter gets the outcome of the first. Default: random. */
  id?: string
  model: string
  /** Options of `generate()`. Images are bytes of a file or a RawImage; options that name files are refused. */
  options: Omit<HostGenerateOptions, 'model' | 'signal' | 'onProgress'>
  /** `interactive` (default) jobs go before `batch` ones. */
  priority?: Priority
  /** JSON that is kept with the job. */
  note?: Json
  /** Cancels the job. */
  signal?: AbortSignal
  onNews?: (news: QueuedJobNews) => void
}

/** A job in the queue. */
export interface QueuedJob {
  readonly id: string
  readonly model: string
  readonly priority: Priority
  readonly note: Json | undefined
  readonly state: 'queued' | 'running' | 'done'
  /**
   * Rejects with {@link JobFailedError}, with the reason of a cancellation, or with QueueError: `ERR_WORKER_LOST` after too many lost workers, `ERR_CANCELLED` if
   * somebody else cancelled it.
   */
  readonly result: Promise<JobResult>
  /** Cancels the job wherever it is; `result` rejects at once. Other submitters of the same job lose it too. */
  cancel(reason?: unknown): void
}

/** Jobs of one model. */
export interface QueueCounts {
  /** Waiting, pauses before another try included. */
  waiting: number
  running: number
}

/** BullMQ runs jobs without a priority first. */
const priorities: Record<Priority, number> = { interactive: 0, batch: 10 }

/** Value of the mark of a cancelled job that says that its outcome was deleted. */
const forgotten = 'forgotten'

class Watch implements QueuedJob {
  state: 'queued' | 'running' | 'done' = 'queued'
  readonly result: Promise<JobResult>
  /** What its names in Redis end with. */
  readonly name: string
  position = -1
  /** Whether Redis had the job; only then a sweep that does not find it adds it again. */
  placed = false
  #resolve!: (result: JobResult) => void
  #reject!: (reason: unknown) => void

  constructor(
    readonly id: string,
    readonly model: string,
    /** What was submitted; undefined for a job of somebody else. */
    readonly data: JobData | undefined,
    readonly note: Json | undefined,
    readonly priority: Priority,
    readonly tell: ((news: QueuedJobNews) => void) | undefined,
    readonly cancel: (reason?: unknown) => void,
    readonly ended: () => void,
    names: Names,
  ) {
    this.name = names.job(model, id)
    this.result = new Promise((resolve, reject) => ([this.#resolve, this.#reject] = [resolve, reject]))
    this.result.catch(() => {}) // whoever is interested awaits it
  }

  settle(outcome: { result: JobResult } | { error: unknown }): void {
    if (this.state === 'done') return
    this.state = 'done'
    if ('result' in outcome) this.#resolve(outcome.result)
    else this.#reject(outcome.error)
    this.ended()
  }
}

function readId(id: string): string {
  if (typeof id !== 'string' || !/^[\w-]{1,128}$/.test(id) || /^\d+$/.test(id))
    throw new RangeError('id must be 1 to 128 letters, digits, dashes and underscores, and not only digits')
  return id
}

/** A queue on Redis with one waiting list per model. Jobs are run by workers ({@link createWorker}). */
export class JobQueue implements AsyncDisposable {
  readonly store: ObjectStore
  readonly #names: Names
  readonly #redis: Redis
  readonly #subscriber: Redis
  readonly #pulse: Pulse
  readonly #queues = new Map<string, Queue<JobData, JobResult>>()
  readonly #watches = new Map<string, Set<Watch>>()
  readonly #keepMs: number
  readonly #attempts: number
  readonly #timeoutMs: number
  readonly #log: (line: string) => void
  readonly #timers: NodeJS.Timeout[]
  /** Cancellations on their way. */
  readonly #cancelling = new Set<Promise<void>>()
  #sweeping = false
  #placing = false
  #closed = false

  /** Does not wait for Redis; while it is away, submissions fail after `timeoutMs`, and open jobs wait. */
  constructor(options: QueueOptions) {
    const url = readRedisUrl(options.redis)
    this.store = storeOf(options)
    this.#names = namesOf(readQueueName(options.queue))
    this.#keepMs = readDuration(options.keepMs, 'keepMs', 24 * 3_600_000, [60_000, 30 * 24 * 3_600_000])
    this.#attempts = readCount(options.attempts, 'attempts', 3, [1, 100])
    this.#timeoutMs = readDuration(options.timeoutMs, 'timeoutMs', 10_000)
    const sweepMs = readDuration(options.sweepMs, 'sweepMs', 5000, [10, 600_000])
    if (2 * sweepMs >= this.#keepMs) throw new RangeError('keepMs must be more than twice sweepMs, so that no outcome is missed')
    this.#log = options.log ?? (() => {})
    const failed = (error: Error) => this.#log(`Redis at ${shownUrl(url)}: ${error.message}`)
    this.#redis = connect(url, failed)
    this.#pulse = new Pulse(this.#redis)
    this.#subscriber = connect(url, () => {})
    this.#subscriber.on('message', (channel: string, text: string) => this.#hear(channel, text))
    whenSubscribed(this.#subscriber, () => this.#sweep()) // news may have been missed
    this.#timers = [setInterval(() => void this.#sweep(), sweepMs), setInterval(() => void this.#place(), 1000)]
    for (const timer of this.#timers) timer.unref()
  }

  /** Whether Redis is reachable and answers. */
  get isConnected(): boolean {
    return this.#pulse.isAlive
  }

  /**
   * Puts a job into the queue.
   * @throws TypeError or RangeError for a submission that cannot be sent, QueueError `ERR_QUEUE` if Redis refuses or does not answer in time, `ERR_STORE` if an image
   * cannot be stored. A job that reaches Redis too late is removed unless it has begun; another try with the same id is safe.
   */
  async submit(submission: JobSubmission): Promise<QueuedJob> {
    const { id = randomUUID(), options, priority = 'interactive', note, signal, onNews } = submission
    readId(id)
    if (!Object.hasOwn(priorities, priority)) throw new RangeError(`priority must be interactive or batch, not '${String(priority).slice(0, 100)}'`)
    const model = readModelName(submission.model)
    this.#refuseIfClosed()
    signal?.throwIfAborted()
    const encoded = await encodeOptions(options, this.store, signal)
    signal?.throwIfAborted()
    const data: JobData = { version: protocolVersion, model, options: encoded, ...(note === undefined ? {} : { note }), nonce: randomUUID() }
    const watch = await this.#watch({ id, model, data, note, priority }, onNews)
    try {
      const place = async () => {
        if (submission.id !== undefined) await this.#admitAgain(watch)
        await this.#add(watch, data)
      }
      await this.#inTime(place(), () => this.#takeBack(watch))
      watch.placed = true
    } catch (error) {
      watch.settle({ error })
      throw error
    }
    const leave = () => watch.cancel(signal!.reason)
    if (signal?.aborted) leave()
    signal?.addEventListener('abort', leave, { once: true })
    void watch.result.catch(() => {}).finally(() => signal?.removeEventListener('abort', leave))
    if (submission.id !== undefined) await this.#inTime(this.#check(watch)).catch(() => {}) // it may have an outcome already; else news or the sweep bring it
    return watch
  }

  /**
   * Follows a job that somebody submitted; undefined if there is none, or if `isWanted` returns false for its note.
   * @throws QueueError `ERR_QUEUE` if Redis refuses or does not answer in time
   */
  async attach(
    id: string,
    models: readonly string[],
    onNews?: (news: QueuedJobNews) => void,
    isWanted: (note: Json | undefined) => boolean = () => true,
  ): Promise<QueuedJob | undefined> {
    readId(id)
    this.#refuseIfClosed()
    for (const model of models) {
      const job = await this.#inTime(this.#queue(readModelName(model)).getJob(id))
      if (!job) continue
      const { note } = (job.data ?? {}) as Partial<JobData>
      if (!isWanted(note)) return undefined
      const watch = await this.#watch({ id, model, note, priority: job.opts.priority ? 'batch' : 'interactive' }, onNews)
      watch.placed = true
      await this.#inTime(this.#check(watch)).catch(() => {})
      return watch
    }
    return undefined
  }

  /**
   * Binds an idempotency key to a request for as long as outcomes are kept. Returns the id that was given first, by whatever process.
   * @throws QueueError `ERR_IDEMPOTENCY` if the key belongs to another request, `ERR_QUEUE` if Redis does not answer in time
   */
  async claim(key: string, requestHash: string, id: string): Promise<string> {
    this.#refuseIfClosed()
    const name = this.#names.claim(createHash('sha256').update(key).digest('hex'))
    const before = await this.#inTime(this.#redis.set(name, `${requestHash} ${readId(id)}`, 'PX', this.#keepMs, 'NX', 'GET'))
    if (before === null) return id
    const [hash, known] = before.split(' ')
    if (hash !== requestHash || known === undefined) throw new QueueError('ERR_IDEMPOTENCY', 'The key was used with another request')
    return readId(known)
  }

  /** Puts a waiting job before all others of its model. @throws QueueError `ERR_STATE` if it does not wait any more, `ERR_QUEUE` if Redis does not answer in time */
  async moveToFront(job: Pick<QueuedJob, 'id' | 'model'>): Promise<void> {
    this.#refuseIfClosed()
    const move = async () => {
      const found = await this.#queue(job.model).getJob(job.id)
      const state = await found?.getState()
      if (state !== 'waiting' && state !== 'prioritized')
        throw new QueueError('ERR_STATE', `The job is ${state ?? 'gone'}; only waiting jobs can be moved`)
      await found!.changePriority({ priority: 0, lifo: true })
    }
    await this.#inTime(move())
    void this.#place()
  }

  /** Deletes the outcome of a finished job. @throws QueueError `ERR_QUEUE` if Redis does not answer in time */
  async forget({ id, model }: Pick<QueuedJob, 'id' | 'model'>): Promise<void> {
    this.#refuseIfClosed()
    const remove = async () => {
      const job = await this.#queue(model).getJob(id)
      if (!job?.finishedOn) return
      // First, so that nobody who still follows the job takes it for lost and adds it again.
      await this.#redis.set(this.#names.cancelled(this.#names.job(model, id)), forgotten, 'PX', this.#keepMs, 'NX')
      await job.remove()
    }
    await this.#inTime(remove())
  }

  /** @throws QueueError `ERR_QUEUE` if Redis does not answer in time */
  async counts(model: string): Promise<QueueCounts> {
    this.#refuseIfClosed()
    const counts = await this.#inTime(this.#queue(readModelName(model)).getJobCounts('wait', 'prioritized', 'delayed', 'active'))
    const { wait = 0, prioritized = 0, delayed = 0, active = 0 } = counts
    return { waiting: wait + prioritized + delayed, running: active }
  }

  /** Follows no job any more and ends the connections. Jobs stay in the queue; open `result`s reject. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#pulse.stop()
    const error = new QueueError('ERR_QUEUE', 'The queue was closed; its jobs go on', { retriable: true })
    for (const watches of [...this.#watches.values()]) for (const watch of [...watches]) watch.settle({ error })
    if (this.isConnected) await this.#inTime(Promise.all(this.#cancelling)).catch(() => {})
    await Promise.all([...this.#queues.values()].map((queue) => queue.close().catch(() => {})))
    for (const redis of [this.#subscriber, this.#redis]) {
      // A Redis that is away is not waited for.
      if (redis.status === 'ready') await this.#inTime(redis.quit()).catch(() => {})
      redis.disconnect()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw new QueueError('ERR_QUEUE', 'The queue is closed')
  }

  #queue(model: string): Queue<JobData, JobResult> {
    let queue = this.#queues.get(model)
    if (!queue) {
      queue = new Queue<JobData, JobResult>(model, { connection: this.#redis, prefix: this.#names.prefix, streams: { events: { maxLen: 1000 } } })
      queue.on('error', () => {}) // reported by the connection
      this.#queues.set(model, queue)
    }
    return queue
  }

  /** Waits at most `timeoutMs`; errors of Redis become QueueErrors. `late` is called when the work is done after all. */
  async #inTime<T>(work: Promise<T>, late?: () => void): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        if (late) work.then(late, () => {})
        reject(new QueueError('ERR_QUEUE', `Redis did not answer within ${this.#timeoutMs} ms`, { retriable: true }))
      }, this.#timeoutMs)
    })
    work.catch(() => {})
    try {
      return await Promise.race([work, tooLate])
    } catch (error) {
      if (error instanceof QueueError) throw error
      throw new QueueError('ERR_QUEUE', `Redis refuses: ${(error as Error).message.slice(0, 500)}`, { retriable: true, cause: error })
    } finally {
      clearTimeout(timer)
    }
  }

  async #watch(job: { id: string; model: string; data?: JobData; note: Json | undefined; priority: Priority }, tell?: (news: QueuedJobNews) => void) {
    const { id, model, data, note, priority } = job
    const watch: Watch = new Watch(
      ...([id, model, data, note, priority, tell] as const),
      (reason = cancelled()) => {
        if (watch.state === 'done') return
        watch.settle({ error: reason })
        this.#cancel(watch)
      },
      () => this.#forget(watch),
      this.#names,
    )
    const known = this.#watches.get(watch.name)
    if (known) known.add(watch)
    else {
      this.#watches.set(watch.name, new Set([watch]))
      try {
        await this.#inTime(this.#subscriber.subscribe(this.#names.news(watch.name)))
      } catch (error) {
        this.#forget(watch)
        throw error
      }
    }
    return watch
  }

  #forget(watch: Watch): void {
    const watches = this.#watches.get(watch.name)
    if (!watches?.delete(watch) || watches.size > 0) return
    this.#watches.delete(watch.name)
    if (!this.#closed) this.#subscriber.unsubscribe(this.#names.news(watch.name)).catch(() => {})
  }

  async #add({ id, model, priority }: Watch, data: JobData): Promise<void> {
    const keep = { age: Math.ceil(this.#keepMs / 1000) }
    await this.#queue(model).add('generate', data, {
      jobId: id,
      attempts: this.#attempts,
      backoff: { type: 'exponential', delay: 1000 },
      removeOnComplete: keep,
      removeOnFail: keep,
      ...(priorities[priority] > 0 ? { priority: priorities[priority] } : {}),
    })
  }

  /** A job whose outcome was deleted may be submitted again; its mark would end it. */
  async #admitAgain(job: Watch): Promise<void> {
    const name = this.#names.cancelled(job.name)
    if ((await this.#redis.get(name)) === forgotten) await this.#redis.del(name)
  }

  /** Removes a job that reached Redis after its submission had failed. One that has begun goes on: another try with its id gets the outcome. */
  #takeBack({ id, model, data, name }: Watch): void {
    const work = async () => {
      if (this.#closed || this.#watches.has(name)) return
      const job = await this.#queue(model).getJob(id)
      // Somebody else's job with the same id stays.
      if (!job || job.finishedOn || job.data.nonce !== data?.nonce || this.#watches.has(name)) return
      await job.remove().catch(() => {}) // fails for a running one
    }
    work().catch(() => {}) // Redis went away again
  }

  /** Marks it, so that no worker takes it up; tells the worker that runs it; and removes it if it waits. */
  #cancel({ id, model, name }: Watch): void {
    const work = async () => {
      await this.#redis.set(this.#names.cancelled(name), '1', 'PX', this.#keepMs)
      await this.#redis.publish(this.#names.cancel, name)
      const job = await this.#queue(model).getJob(id)
      await job?.remove().catch(() => {}) // fails for a running one, which its worker ends
      await this.#redis.publish(this.#names.news(name), JSON.stringify({ type: 'changed' } satisfies JobNews))
    }
    const cancelling = work()
      .catch((error: unknown) => {
        if (!this.#closed) this.#log(`job ${id} could not be cancelled: ${(error as Error).message}`)
      })
      .finally(() => this.#cancelling.delete(cancelling))
    this.#cancelling.add(cancelling)
  }

  #hear(channel: string, text: string): void {
    const name = channel.slice(this.#names.news('').length)
    const watches = [...(this.#watches.get(name) ?? [])].filter(({ state }) => state !== 'done')
    if (watches.length === 0) return
    const news = readNews(text)
    if (!news) return
    for (const watch of watches) {
      if (news.type === 'changed') void this.#check(watch).catch(() => {})
      else {
        watch.state = 'running'
        this.#tell(watch, news)
      }
    }
  }

  /** A listener's error is the caller's, and ends nothing here. */
  #tell(watch: Watch, news: QueuedJobNews): void {
    try {
      watch.tell?.(news)
    } catch (error) {
      this.#log(`onNews of job ${watch.id} threw: ${(error as Error | undefined)?.message ?? String(error)}`)
    }
  }

  /** Looks the job up; settles it if it has an outcome, and adds it again if Redis has lost it. */
  async #check(watch: Watch): Promise<void> {
    const job = await this.#queue(watch.model).getJob(watch.id)
    if (!this.#isOpen(watch)) return
    if (job?.finishedOn) {
      // The reason of a failed try stays with a job whose next one succeeded.
      if (isResult(job.returnvalue)) watch.settle({ result: job.returnvalue })
      else if (job.failedReason) watch.settle({ error: decodeError(job.failedReason) })
      else watch.settle({ error: new QueueError('ERR_QUEUE', 'The job has a result that this version does not understand') })
    } else if (!job) {
      if (await this.#redis.exists(this.#names.cancelled(watch.name))) watch.settle({ error: cancelled() })
      else if (!watch.data)
        watch.settle({ error: new QueueError('ERR_QUEUE', 'The job is gone: its outcome was not kept for longer, or Redis has lost it') })
      else if (watch.placed && this.#isOpen(watch)) {
        this.#log(`job ${watch.id} is gone from Redis and is added again`)
        await this.#add(watch, watch.data)
      }
    }
  }

  #isOpen(watch: Watch): boolean {
    return watch.state !== 'done' && !this.#closed
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping || this.#closed || !this.isConnected) return
    this.#sweeping = true
    try {
      for (const watches of [...this.#watches.values()]) for (const watch of [...watches]) await this.#check(watch)
    } catch {
      // Redis went away; the next sweep follows
    } finally {
      this.#sweeping = false
    }
  }

  /** Tells waiting jobs their place. Places beyond the first thousand are not looked up. */
  async #place(): Promise<void> {
    const waiting = [...this.#watches.values()].flatMap((each) => [...each]).filter(({ state, tell }) => state === 'queued' && tell)
    if (waiting.length === 0 || this.#placing || this.#closed || !this.isConnected) return
    this.#placing = true
    try {
      for (const model of new Set(waiting.map((watch) => watch.model))) {
        const order = await firstWaiting(this.#redis, this.#queue(model), 1000)
        const places = new Map(order.map((id, place) => [id, place]))
        for (const watch of waiting) {
          const position = watch.model === model ? places.get(watch.id) : undefined
          if (position === undefined || position === watch.position || watch.state !== 'queued') continue
          watch.position = position
          this.#tell(watch, { type: 'queued', position })
        }
      }
    } catch {
      // Redis went away
    } finally {
      this.#placing = false
    }
  }
}
