/** A worker: takes jobs from the queue, one at a time or several that share the U-Net's calls, generates their images on one device, and stores them. */
import { UnrecoverableError, WaitingError, Worker, type Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Server } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { createDiffusionHost, type DiffusionHost, type GenerateResult, type HostedModel, type RawImage } from 'node-latent-diffusion'
import { Batch, takeFollowers } from './batch.js'
import { cancelled, encodeError, isRetriable, QueueError } from './errors.js'
import { decodeOptions, plainOptions, readJob } from './job-options.js'
import { serveHealth, WorkerMetrics, type Outcome } from './metrics.js'
import type { ObjectStore } from './objects.js'
import type { JobData, JobNews, JobResult, ResultImage } from './protocol.js'
import { connect, namesOf, Pulse, shownUrl, whenSubscribed, type Names } from './redis.js'
import { readCount, readDuration, readModelName, readQueueName, readRedisUrl, type QueuePlace } from './settings.js'
import { storeOf } from './store.js'

export interface WorkerOptions extends QueuePlace {
  /** Models by name; the worker takes jobs of these. The names must be those of the servers. Default: the embedded model, named `tiny-scenes`. */
  models?: Readonly<Record<string, string | URL | HostedModel>>
  /** Maximum models in memory. Default 1. */
  maxModels?: number
  /**
   * Maximum images of jobs that are made together, sharing the U-Net's calls: jobs that follow one another in the queue and differ only in prompts, seeds, class and
   * count. Default 1: none are.
   */
  maxBatch?: number
  /** Name in results and news. Default: host name and process id. */
  name?: string
  /** Milliseconds without a sign of life after which a job is given to another worker. Default 30,000. */
  lockMs?: number
  /** How many lost workers a job survives. Default 3. */
  maxLost?: number
  /** Milliseconds for the running job when the worker is closed; then the job goes back to the queue. Default 30,000. */
  graceMs?: number
  /** Milliseconds without use after which objects of a folder are deleted (S3: by a lifecycle rule of the bucket). Default 48 hours; 0: never. */
  keepObjectsMs?: number
  /** Port of `/metrics`, `/healthz` and `/readyz`; 0: any free port. Default: none. */
  metricsPort?: number
  /** Default 127.0.0.1. */
  metricsHost?: string
  /** Receives log lines. Default: none. */
  log?: (line: string) => void
}

/** A running worker. */
export interface RunningWorker extends AsyncDisposable {
  readonly name: string
  /** Address of the metrics, if they are served. */
  readonly metricsUrl: string | undefined
  /** Takes no further job, gives the running one `graceMs` and returns it to the queue after that, and ends the engine. Idempotent. */
  close(): Promise<void>
}

/** Milliseconds between progress events of a job. */
const progressMs = 250

const handBack = Symbol('hand back')
const lockLost = Symbol('lock lost')

/** Milliseconds that the waiting lists of other models have before the model of the last job is served again. */
const othersFirstMs = 25

/** Publishes the news of a job. Those that would come too fast or while Redis is busy or away are dropped. */
class Reporter {
  #last = 0
  #pending = false

  constructor(
    readonly redis: Redis,
    readonly channel: string,
  ) {}

  send(news: JobNews): Promise<unknown> {
    if (this.redis.status !== 'ready') return Promise.resolve() // else they would pile up until it is back
    return this.redis.publish(this.channel, JSON.stringify(news)).catch(() => {})
  }

  progress(news: Extract<JobNews, { type: 'progress' }>): void {
    const now = performance.now()
    const isLast = news.steps > 0 && news.step === news.steps
    if (this.#pending || (!isLast && now - this.#last < progressMs)) return
    this.#last = now
    void this.#one(async () => this.send(news))
  }

  preview(image: RawImage, at: { step: number; steps: number; index: number }): void {
    void this.#one(async () => {
      const png = await image.encode('png', { compressionLevel: 1, metadata: false })
      await this.send({ type: 'preview', png: Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString('base64'), ...at })
    })
  }

  async #one(work: () => Promise<unknown>): Promise<void> {
    if (this.#pending) return
    this.#pending = true
    await work().catch(() => {}) // a lost event is replaced by the next one
    this.#pending = false
  }
}

class FleetWorker implements RunningWorker {
  readonly name: string
  metricsUrl: string | undefined
  readonly #store: ObjectStore
  readonly #names: Names
  readonly #redis: Redis
  readonly #subscriber: Redis
  readonly #pulse: Pulse
  readonly #host: DiffusionHost
  readonly #workers: Worker<JobData, JobResult>[]
  readonly #metrics: WorkerMetrics
  readonly #graceMs: number
  readonly #maxBatch: number
  readonly #maxLost: number
  readonly #log: (line: string) => void
  /** The model whose job has the device. */
  #serving: string | undefined
  /** Jobs that this worker holds, by model and id. */
  readonly #held = new Map<string, AbortController>()
  /** Jobs that are made together, by model and id. */
  readonly #batches = new Map<string, Batch>()
  /** Whether the jobs that it holds, and those that begin, go back to the queue. */
  #isHandingBack = false
  #pruning: NodeJS.Timeout | undefined
  #health: Server | undefined
  #closing: Promise<void> | undefined

  constructor(options: WorkerOptions) {
    const url = readRedisUrl(options.redis)
    const models = options.models ?? { 'tiny-scenes': {} }
    const served = Object.keys(models).map(readModelName)
    if (served.length === 0) throw new RangeError('models must have at least one model')
    const lockDuration = readDuration(options.lockMs, 'lockMs', 30_000, [500, 3_600_000])
    this.#maxLost = readCount(options.maxLost, 'maxLost', 3, [0, 1000])
    const keepObjectsMs = readDuration(options.keepObjectsMs, 'keepObjectsMs', 48 * 3_600_000, [0, 2 ** 31 - 1])
    this.#graceMs = readDuration(options.graceMs, 'graceMs', 30_000, [0, 3_600_000])
    this.#names = namesOf(readQueueName(options.queue))
    this.#store = storeOf(options)
    this.#log = options.log ?? (() => {})
    this.name = options.name ?? `${hostname()}:${process.pid}`
    this.#maxBatch = readCount(options.maxBatch, 'maxBatch', 1, [1, 64])
    this.#host = createDiffusionHost({ models, maxModels: readCount(options.maxModels, 'maxModels', 1, [1, 1000]), maxBatch: this.#maxBatch })
    this.#metrics = new WorkerMetrics(() => this.#held.size > 0)
    this.#host.on('loaded', (_, ms) => this.#metrics.loaded(ms))
    this.#redis = connect(url, (error) => this.#log(`Redis at ${shownUrl(url)}: ${error.message}`))
    this.#pulse = new Pulse(this.#redis)
    this.#subscriber = connect(url, () => {})
    this.#subscriber.on('message', (_: string, job: string) => this.#held.get(job)?.abort(cancelled()))
    whenSubscribed(this.#subscriber, () => this.#lookForCancelled()) // while it was away, nobody could tell
    this.#subscriber.subscribe(this.#names.cancel).catch(() => {}) // repeated by the connection whenever it is back
    this.#workers = served.map((model) => {
      const worker: Worker<JobData, JobResult> = new Worker<JobData, JobResult>(model, async (job, token) => this.#process(job, token!), {
        connection: this.#redis,
        prefix: this.#names.prefix,
        name: this.name,
        concurrency: 1,
        autorun: false,
        lockDuration,
        stalledInterval: lockDuration,
        maxStalledCount: this.#maxLost,
        runRetryDelay: 500,
      })
      let reported = ''
      worker.on('ready', () => (reported = ''))
      worker.on('error', ({ message }) => {
        // The connection has reported it, or another worker has the job.
        const isKnown = /ECONNREFUSED|ECONNRESET|Connection is closed|Missing lock|Lock mismatch|is not in the active state|could not renew lock/i
        if (isKnown.test(message) || message === reported) return
        this.#log((reported = message)) // once, though BullMQ tries again and again
      })
      worker.on('lockRenewalFailed', (ids) => {
        for (const id of ids) this.#held.get(this.#names.job(model, id))?.abort(lockLost)
      })
      worker.on('stalled', (id) => {
        this.#log(`job ${id} is run again, because its worker was lost`)
        void this.#tellChanged(model, id)
      })
      worker.on('completed', ({ id }) => void this.#tellChanged(model, id!))
      worker.on('failed', (job) => job && void this.#tellChanged(model, job.id!))
      return worker
    })
    this.#pruneDaily(keepObjectsMs)
  }

  async start({ metricsPort, metricsHost = '127.0.0.1' }: WorkerOptions): Promise<void> {
    // A worker that cannot store anything must not take jobs.
    await this.#store.put(new Uint8Array(0))
    // Nor one without its models. Only headers are read.
    for (const { name } of this.#host.models()) {
      await this.#host.describe(name).catch((error: unknown) => {
        throw Object.assign(error as Error, { message: `The model '${name}': ${(error as Error).message}` })
      })
    }
    if (metricsPort !== undefined) await this.#serveMetrics(metricsPort, metricsHost)
    for (const worker of this.#workers) worker.run().catch((error: unknown) => this.#log((error as Error).message))
  }

  async #serveMetrics(metricsPort: number, metricsHost: string): Promise<void> {
    const isReady = () => this.#closing === undefined && this.#pulse.isAlive
    const { server, url } = await serveHealth(this.#metrics, isReady, metricsHost, readCount(metricsPort, 'metricsPort', 0, [0, 65535]))
    this.#health = server
    this.metricsUrl = url
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    clearInterval(this.#pruning)
    this.#pulse.stop()
    const late = setTimeout(() => {
      this.#isHandingBack = true
      for (const control of this.#held.values()) control.abort(handBack)
    }, this.#graceMs)
    // A Redis that is away cannot be told anything: the job is given to another worker when its lock has run out.
    const force = this.#redis.status !== 'ready'
    let tooLate: NodeJS.Timeout | undefined
    const limit = new Promise((resolve) => (tooLate = setTimeout(resolve, this.#graceMs + 5000)))
    await Promise.race([limit, Promise.allSettled(this.#workers.map((worker) => worker.close(force)))])
    clearTimeout(late)
    clearTimeout(tooLate)
    await this.#host.close()
    for (const redis of [this.#subscriber, this.#redis]) {
      // One that hangs is not waited for.
      if (redis.status === 'ready') await Promise.race([redis.quit().catch(() => {}), wait(2000, undefined, { ref: false })])
      redis.disconnect()
    }
    this.#health?.close()
  }

  async #tellChanged(model: string, id: string): Promise<void> {
    await new Reporter(this.#redis, this.#names.news(this.#names.job(model, id))).send({ type: 'changed' })
  }

  #nameOf({ queueName, id }: Job<JobData, JobResult>): string {
    return this.#names.job(queueName, id!)
  }

  async #lookForCancelled(): Promise<void> {
    for (const [job, control] of this.#held) {
      const isCancelled = await this.#redis.exists(this.#names.cancelled(job)).catch(() => 0)
      if (isCancelled) control.abort(cancelled())
    }
  }

  #pruneDaily(unusedMs: number): void {
    const prune = () => {
      this.#store.prune?.(unusedMs).catch((error: unknown) => this.#log(`old objects could not be deleted: ${(error as Error).message}`))
    }
    if (unusedMs === 0 || !this.#store.prune) return
    this.#pruning = setInterval(prune, 3_600_000)
    this.#pruning.unref()
    prune()
  }

  /** Runs a job that was taken from the queue, alone or with those that follow it. */
  async #process(job: Job<JobData, JobResult>, token: string): Promise<JobResult> {
    const batch = this.#batches.get(this.#nameOf(job))
    if (batch) return this.#serve(job, token, batch)
    const model = job.queueName
    if (!this.#begin(model)) {
      // Another model's job came first. In the queue an idle worker can take this one.
      await job.moveToWait(token)
      throw new WaitingError('The device is busy')
    }
    this.#hold(job) // others are looked for first
    try {
      if (await this.#serveTogether(job, token)) throw new WaitingError('It has its outcome')
      return await this.#serve(job, token)
    } finally {
      this.#end(model)
    }
  }

  /**
   * Runs a job with those that follow it, each as BullMQ runs a job: with its own lock, outcome and further tries. Returns when all have ended; false if none can join
   * it.
   */
  async #serveTogether(first: Job<JobData, JobResult>, token: string): Promise<boolean> {
    if (this.#maxBatch === 1 || this.#closing) return false
    const worker = this.#workers.find(({ name }) => name === first.queueName)!
    const batch = new Batch()
    const add = (job: Job<JobData, JobResult>, its: string) => {
      const name = this.#nameOf(job)
      this.#batches.set(name, batch)
      this.#hold(job)
      const process = async () => {
        await worker.processJob(job, its, () => false).catch((error: unknown) => this.#log((error as Error).message))
        this.#batches.delete(name)
        this.#held.delete(name) // if BullMQ has refused to run it
      }
      batch.add(name, process)
    }
    const take = (job: Job<JobData, JobResult>, its: string) => {
      if (batch.size === 0) add(first, token)
      add(job, its)
    }
    await takeFollowers(worker, { redis: this.#redis, first, maxImages: this.#maxBatch, maxLost: this.#maxLost }, take).catch((error: unknown) =>
      this.#log(`no more jobs could be taken: ${(error as Error).message}`),
    )
    await batch.close()
    return batch.size > 0
  }

  /** From now on a job can be stopped. */
  #hold(job: Job<JobData, JobResult>): AbortController {
    const name = this.#nameOf(job)
    const control = this.#held.get(name) ?? new AbortController()
    if (this.#isHandingBack) control.abort(handBack)
    this.#held.set(name, control)
    return control
  }

  /** Runs a job. What it throws decides what becomes of the job. */
  async #serve(job: Job<JobData, JobResult>, token: string, batch?: Batch): Promise<JobResult> {
    const id = job.id!
    const name = this.#nameOf(job)
    const { signal } = this.#hold(job)
    const end = (outcome: Outcome) => this.#metrics.left(job.queueName, outcome)
    try {
      signal.throwIfAborted()
      if (await this.#redis.exists(this.#names.cancelled(name))) throw cancelled()
      const result = await this.#run(job, signal, batch)
      end('succeeded')
      return result
    } catch (thrown) {
      const error: unknown = signal.aborted ? signal.reason : thrown
      if (error === handBack) {
        end('returned')
        await batch?.leaveLast(name) // each goes to the head of the queue
        await job.moveToWait(token)
        throw new WaitingError('The worker shuts down')
      }
      if (error === lockLost) {
        end('lost')
        throw new Error('Missing lock: another worker has the job', { cause: thrown }) // BullMQ refuses whatever this worker says about the job
      }
      const isCancelled = error instanceof QueueError && error.code === 'ERR_CANCELLED'
      const again = !isCancelled && isRetriable(error)
      const goesOn = again && job.attemptsMade + 1 < (job.opts.attempts ?? 1)
      end(isCancelled ? 'cancelled' : goesOn ? 'retried' : 'failed')
      if (!isCancelled) this.#log(`job ${id}: ${(error as Error | undefined)?.message ?? String(error)}`)
      const text = encodeError(error)
      throw again ? new Error(text, { cause: thrown }) : new UnrecoverableError(text)
    } finally {
      this.#held.delete(name)
    }
  }

  /** Gives the device to a model's job; false if another's has it. Meanwhile no job of other models is taken. */
  #begin(model: string): boolean {
    if (this.#serving !== undefined && this.#serving !== model) return false
    this.#serving = model
    for (const worker of this.#workers) if (worker.name !== model) this.#pause(worker)
    return true
  }

  /** Serves all models again, the others first, so that a long list of one does not shut them out. */
  #end(model: string): void {
    this.#serving = undefined
    if (this.#workers.length === 1 || this.#closing) return
    for (const worker of this.#workers) {
      if (worker.name === model) this.#pause(worker)
      else this.#resume(worker)
    }
    const own = this.#workers.find(({ name }) => name === model)!
    setTimeout(() => {
      if (!this.#closing && (this.#serving === undefined || this.#serving === model)) this.#resume(own)
    }, othersFirstMs)
  }

  #pause(worker: Worker<JobData, JobResult>): void {
    worker.pause(true).catch((error: unknown) => this.#log((error as Error).message))
  }

  #resume(worker: Worker<JobData, JobResult>): void {
    void worker.resume() // reports errors as events
  }

  async #run(job: Job<JobData, JobResult>, signal: AbortSignal, batch: Batch | undefined): Promise<JobResult> {
    const began = performance.now()
    const data = readJob(job.data)
    if (data.model !== job.queueName)
      throw new QueueError('ERR_QUEUE', `The job is for the model '${data.model.slice(0, 100)}', but waited for '${job.queueName}'`)
    signal.throwIfAborted()
    const reporter = new Reporter(this.#redis, this.#names.news(this.#nameOf(job)))
    void reporter.send({ type: 'started', worker: this.name })
    const options = await decodeOptions(data, this.#store, signal)
    const start = () => this.#host.generate({ ...options, model: data.model, signal })
    const running = batch ? (await batch.start(this.#nameOf(job), start)).value : start()
    for await (const event of running) {
      if (event.type === 'progress') reporter.progress(event)
      else if (event.type === 'preview') reporter.preview(event.image, event)
    }
    const result = await running
    const [images, promptTokens] = await Promise.all([this.#keep(result, signal), this.#tokens(result, data.model)])
    signal.throwIfAborted()
    this.#metrics.made(data.model, result, performance.now() - began)
    const { seed, timings, warnings, options: resolved } = result
    const { loadMs, encodeMs, sampleMs, decodeMs, sharedBy } = timings
    return {
      images,
      seed: String(seed),
      options: plainOptions(resolved),
      timings: { loadMs, encodeMs, sampleMs, decodeMs, sharedBy },
      warnings: warnings.map(({ code, message }) => ({ code, message })),
      promptTokens,
      worker: this.name,
    }
  }

  /** Stores the images of a result. */
  #keep({ images }: GenerateResult, signal: AbortSignal): Promise<ResultImage[]> {
    return Promise.all(
      images.map(async (image) => {
        const png = await image.encode()
        const { width, height, metadata } = image
        return { key: await this.#store.put(png, signal), bytes: png.byteLength, width, height, metadata: { ...metadata } }
      }),
    )
  }

  /** Counted here, where the model is loaded. */
  async #tokens({ options }: GenerateResult, model: string): Promise<number> {
    const { prompt } = options as { prompt?: unknown }
    if (typeof prompt !== 'string' || prompt === '') return 0
    const { chunks } = await this.#host.tokenize(prompt, { model }).catch(() => ({ chunks: [] })) // a model without text
    return chunks.reduce((sum, { ids }) => sum + ids.length, 0)
  }
}

/**
 * Starts a worker. It waits for Redis if that is not reachable.
 * @throws TypeError or RangeError for invalid options, QueueError `ERR_STORE` if the store cannot be written, the system's error if the port of the metrics is in use
 */
export async function createWorker(options: WorkerOptions): Promise<RunningWorker> {
  const worker = new FleetWorker(options)
  try {
    await worker.start(options)
  } catch (error) {
    await worker.close()
    throw error
  }
  return worker
}
