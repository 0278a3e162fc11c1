/** A host runs the engine in a separate process, queues jobs, and survives crashes of the engine. */
import { EventEmitter } from 'node:events'
import type { EstimateRequest, MemoryEstimate } from '../api/inspect.js'
import type { DiffusionPipeline } from '../api/pipeline.js'
import { DiffusionError, DisposedError, type EngineExitedError } from '../errors.js'
import type { RawImage } from '../image/raw-image.js'
import {
  checkFunction,
  checkInteger,
  checkName,
  checkSignal,
  checkString,
  invalidRange,
  invalidType,
  knownKeys,
  listOf,
  show,
} from '../options/validate.js'
import type { WireModel } from '../rpc/protocol.js'
import { decode, encode } from '../rpc/wire.js'
import type { AnyGenerateOptions, CallOptions, GenerateResult, MemoryUsage, PipelineInfo, PreviewOptions, Progress } from '../types.js'
import { batchKey } from './batch-key.js'
import { DiffusionJob, type JobControl } from './job.js'
import { readModel, readModels, type HostedModel } from './models.js'
import type { StartEngine } from './port.js'
import { EngineQueue, type EngineState, type Task } from './queue.js'
import { startHere, startProcess, startThread } from './start.js'

/** Options of {@link createDiffusionHost}. */
export interface HostOptions {
  /**
   * Where the engine runs. `process` (default): a child process, so a crash of native code ends only that process. `thread`: a worker thread; a crash ends the whole
   * program. `none`: the calling thread.
   */
  isolate?: 'process' | 'thread' | 'none'
  /** Models by name; the first is the default. Default: the embedded model, named `default`. */
  models?: Readonly<Record<string, string | URL | HostedModel>>
  /** Maximum models in memory; the least recently used one is unloaded first. Default 1. */
  maxModels?: number
  /**
   * Maximum images of jobs that run together, sharing the U-Net's calls. Such jobs follow one another in the queue and differ only in prompts, seed, class and count. More
   * throughput for small images; the first of them waits longer. Default 1: none.
   */
  maxBatch?: number
  /** Maximum queued jobs; further ones are refused (`ERR_BUSY`). Default 100. */
  maxQueue?: number
  /** Idle time in milliseconds after which the engine exits and frees its memory; the next job starts a new one. 0 (default): never. */
  idleMs?: number
  /** After a crash, run the queued jobs on a new engine (`restart`, default) or reject them too (`reject`). */
  onCrash?: 'restart' | 'reject'
  /** Node.js flags for the child process. Default: those of this process, except a debugger's. */
  execArgv?: readonly string[]
}

/** Options of {@link DiffusionHost.generate}: those of {@link DiffusionPipeline.generate} except `latents`, which cannot be sent to another process. */
export interface HostGenerateOptions extends Omit<AnyGenerateOptions, 'latents' | 'preview'> {
  /** Name of a model. Default: the first. */
  model?: string
  /** Previews are events of the job; `onPreview` is called too, if set. */
  preview?: Omit<PreviewOptions, 'onPreview'> & Partial<Pick<PreviewOptions, 'onPreview'>>
}

/** Options of {@link DiffusionHost.load}. */
export interface HostLoadOptions extends CallOptions {
  onProgress?: (progress: Progress) => unknown
}

/** Status of a host. */
export interface HostStatus {
  /** `idle`: no engine is running; the next job starts one. */
  state: EngineState
  /** Of the engine. */
  pid: number | undefined
  /** A job is running. */
  running: boolean
  /** Jobs that wait. */
  queued: number
  /** No waiting job starts, by {@link DiffusionHost.pause}. */
  paused: boolean
  /** Engine restarts after crashes. */
  restarts: number
}

/** Events of a {@link DiffusionHost}. */
export interface HostEvents {
  /** The engine crashed during a job. The job rejects with the same error. */
  crash: [error: EngineExitedError]
  /** The engine has loaded a model, for a job or {@link DiffusionHost.load}, in `ms` milliseconds; a download is included. */
  loaded: [model: string, ms: number]
  status: [status: HostStatus]
}

const events = ['crash', 'loaded', 'status'] as const satisfies (keyof HostEvents)[]
const hostKeys = ['isolate', 'models', 'maxModels', 'maxBatch', 'maxQueue', 'idleMs', 'onCrash', 'execArgv'] as const

function startOf(isolate: NonNullable<HostOptions['isolate']>, execArgv: unknown) {
  if (execArgv !== undefined && isolate !== 'process') throw invalidType("execArgv is for isolate: 'process'")
  if (isolate === 'thread') return startThread
  if (isolate === 'none') return startHere
  return startProcess(
    execArgv === undefined
      ? undefined
      : listOf(execArgv as ArrayLike<unknown>, 'execArgv', 100).map((flag, i) => checkString(flag, `execArgv[${i}]`)),
  )
}

const modelNumbers = new WeakMap<WireModel, number>()
let lastModel = 0

function joinOf(model: WireModel, options: HostGenerateOptions): Pick<Task, 'joins' | 'images'> {
  const key = batchKey(options)
  if (key === undefined) return {}
  const number = modelNumbers.get(model) ?? ++lastModel // a model may be replaced by one of its name
  modelNumbers.set(model, number)
  return { images: options.count ?? 1, joins: `${number} ${key}` }
}

function readSignal(options: unknown): AbortSignal | undefined {
  const { signal } = knownKeys(options, 'options', ['signal'])
  return signal === undefined ? undefined : checkSignal(signal, 'signal')
}

/** Calls a callback of the caller; its error ends the job. */
function tell<A extends unknown[]>(callback: ((...args: A) => unknown) | undefined, fail: (error: unknown) => void, ...args: A): void {
  try {
    const result = callback?.(...args)
    if (result instanceof Promise) result.catch(fail)
  } catch (error) {
    fail(error)
  }
}

/**
 * An engine in its own process, with a queue. Created by {@link createDiffusionHost}.
 *
 * Jobs run one after another, in the order of their creation. If native code crashes, or the system kills the process because memory is short, the running job rejects
 * with {@link EngineExitedError}, and a new engine runs the queued jobs. The engine starts with the first job, keeps the program running while it has work, and exits
 * with the program.
 */
export class DiffusionHost implements AsyncDisposable {
  readonly #events = new EventEmitter<HostEvents>()
  readonly #models: Map<string, WireModel>
  readonly #maxQueue: number
  readonly #queue: EngineQueue
  #closed = false
  #statusDue = false

  /** @internal */
  constructor(options?: HostOptions, start?: StartEngine) {
    const o = knownKeys(options, 'createDiffusionHost()', hostKeys)
    this.#models = readModels(o.models)
    const isolate = o.isolate === undefined ? 'process' : checkName(o.isolate, 'isolate', ['process', 'thread', 'none'] as const)
    this.#maxQueue = o.maxQueue === undefined ? 100 : checkInteger(o.maxQueue, 'maxQueue', { min: 0, max: 1_000_000 })
    this.#queue = new EngineQueue({
      start: start ?? startOf(isolate, o.execArgv),
      onCrash: o.onCrash === undefined ? 'restart' : checkName(o.onCrash, 'onCrash', ['restart', 'reject'] as const),
      maxModels: o.maxModels === undefined ? 1 : checkInteger(o.maxModels, 'maxModels', { min: 1, max: 1000 }),
      maxBatch: o.maxBatch === undefined ? 1 : checkInteger(o.maxBatch, 'maxBatch', { min: 1, max: 64 }),
      idleMs: o.idleMs === undefined ? 0 : checkInteger(o.idleMs, 'idleMs', { min: 0, max: 2 ** 31 - 1 }),
      changed: () => this.#announce(),
      crashed: (error) => void this.#events.emit('crash', error),
      loaded: (model, ms) => void this.#events.emit('loaded', model, ms),
    })
  }

  on<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this {
    this.#events.on(checkName(event, 'event', events), checkFunction<never>(listener, 'listener'))
    return this
  }

  once<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this {
    this.#events.once(checkName(event, 'event', events), checkFunction<never>(listener, 'listener'))
    return this
  }

  off<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this {
    this.#events.off(checkName(event, 'event', events), checkFunction<never>(listener, 'listener'))
    return this
  }

  get status(): HostStatus {
    const { state, pid, running, length, paused, restarts } = this.#queue
    return { state, pid, running, queued: length, paused, restarts }
  }

  /**
   * Lets no waiting job start until {@link resume}; a running one ends as usual. Queries of the host (`describe()`, `estimate()`, `unload()`) still work. Jobs that
   * wait for `resume()` do not keep the program running. Idempotent.
   */
  pause(): void {
    this.#queue.paused = true
  }

  /** Lets waiting jobs start again. Idempotent. */
  resume(): void {
    this.#queue.paused = false
  }

  /** The models by name, and whether they are loaded. */
  models(): { name: string; loaded: boolean }[] {
    return [...this.#models.keys()].map((name) => ({ name, loaded: this.#queue.isLoaded(name) }))
  }

  /** Adds a model, or replaces the one with that name. Existing jobs keep their model. */
  async addModel(name: string, model: string | URL | HostedModel): Promise<void> {
    const read = readModel(name, model, 'model')
    if (this.#models.has(name)) await this.unload(name)
    this.#models.set(name, read)
  }

  /** Unloads and removes a model. The last one cannot be removed. */
  async removeModel(name: string): Promise<void> {
    const model = this.#model(checkString(name, 'name', 64))
    if (this.#models.size === 1) throw invalidRange(`${show(name)} is the only model of this host`)
    await this.unload(name)
    if (this.#models.get(name) === model) this.#models.delete(name)
  }

  /**
   * Queues a job that generates images, as {@link DiffusionPipeline.generate} does.
   * @throws TypeError if an option cannot be sent to another process, RangeError for an unknown model, DiffusionError `ERR_BUSY` if `maxQueue` jobs wait,
   * DisposedError after `close()`. Invalid options found by the engine reject the job
   */
  generate(options?: HostGenerateOptions): DiffusionJob {
    const {
      model: name,
      signal,
      onProgress,
      preview,
      ...rest
    } = { ...(knownKeys(options, 'generate()', Object.keys(options ?? {})) as HostGenerateOptions) }
    const model = this.#model(name)
    if ((rest as AnyGenerateOptions).latents !== undefined)
      throw invalidType("generate(): option 'latents' cannot be sent to another process: pass a seed")
    const { onPreview, ...previewOptions } = preview ?? {}
    if (signal !== undefined) checkSignal(signal, 'signal')
    if (onProgress !== undefined) checkFunction(onProgress, 'onProgress')
    if (onPreview !== undefined) checkFunction(onPreview, 'preview.onPreview')
    // Copied now, because the caller may change its arrays while the job waits.
    const wire = encode(rest, 'options', { copy: true })
    const wirePreview = preview === undefined ? undefined : encode(previewOptions, 'preview')
    this.#admit()
    return DiffusionJob.make((control: JobControl) => {
      const fail = (error: unknown) => run.cancel(error)
      const run = this.#run(
        {
          model: model.name,
          ...joinOf(model, rest),
          message: (id) => ({ type: 'generate', id, model, options: wire, preview: wirePreview }),
          started: () => control.started(),
          waits: (position) => control.emit({ type: 'queued', position }),
          progress: (progress) => {
            control.emit({ type: 'progress', ...progress })
            tell(onProgress, fail, progress)
          },
          preview: ({ image: picture, step, steps, index }) => {
            const image = decode(picture) as RawImage
            control.emit({ type: 'preview', image, step, steps, index })
            tell(onPreview, fail, image, { step, steps, index })
          },
          resolve: (value) => {
            const result = decode(value) as GenerateResult & { options: unknown }
            const { options: resolved } = value as { options: unknown }
            control.resolve({ ...result, options: decode(resolved, { ...rest }) as GenerateResult['options'] })
          },
          reject: (error) => control.reject(error),
        },
        signal,
      )
      return (reason) => run.cancel(reason)
    })
  }

  /** Loads a model before its first job. @returns its description, as `pipeline.info` */
  load(name?: string, options?: HostLoadOptions): Promise<PipelineInfo> {
    const model = this.#model(name)
    const { signal, onProgress } = knownKeys(options, 'load()', ['signal', 'onProgress']) as HostLoadOptions
    if (signal !== undefined) checkSignal(signal, 'signal')
    if (onProgress !== undefined) checkFunction(onProgress, 'onProgress')
    return this.#ask<PipelineInfo>({ model: model.name, message: (id) => ({ type: 'load', id, model }) }, signal, onProgress)
  }

  /** The description of a model from the headers of its files, without loading weights. */
  describe(name?: string, options?: CallOptions): Promise<PipelineInfo> {
    const model = this.#model(name)
    return this.#ask<PipelineInfo>({ model: model.name, passive: true, message: (id) => ({ type: 'describe', id, model }) }, readSignal(options))
  }

  /** {@link estimateMemory} for a model of this host, without loading weights. */
  estimate(
    name?: string,
    request?: Pick<EstimateRequest, 'width' | 'height' | 'guidanceScale' | 'imageGuidanceScale' | 'count' | 'deepCache' | 'signal'>,
  ): Promise<MemoryEstimate> {
    const model = this.#model(name)
    const { signal, ...rest } = knownKeys(request, 'estimate()', [
      'width',
      'height',
      'guidanceScale',
      'imageGuidanceScale',
      'count',
      'deepCache',
      'signal',
    ])
    const wire = encode(rest, 'estimate()')
    return this.#ask<MemoryEstimate>(
      { model: model.name, passive: true, message: (id) => ({ type: 'estimate', id, model, request: wire }) },
      readSignal({ signal }),
    )
  }

  /** Tokenises a prompt with the model's tokenizer. Loads the model; if it is loaded, the call does not wait for jobs. */
  tokenize(prompt: string, options?: CallOptions & { model?: string }): ReturnType<DiffusionPipeline['tokenize']> {
    const { model: name, signal } = knownKeys(options, 'tokenize()', ['model', 'signal'])
    const model = this.#model(name)
    const text = checkString(prompt, 'prompt')
    return this.#ask<Awaited<ReturnType<DiffusionPipeline['tokenize']>>>(
      { model: model.name, aside: true, message: (id) => ({ type: 'tokenize', id, model, prompt: text }) },
      readSignal({ signal }),
    )
  }

  /** Unloads a model; its next job loads it again. */
  async unload(name?: string): Promise<void> {
    const { name: model } = this.#model(name)
    if (this.#queue.isLoaded(model)) await this.#ask({ model, passive: true, message: (id) => ({ type: 'unload', id, model }) })
  }

  /** Memory of a model in the engine's process; undefined if it is not loaded. */
  async memoryUsage(name?: string): Promise<MemoryUsage | undefined> {
    const { name: model } = this.#model(name)
    if (!this.#queue.isLoaded(model)) return undefined
    return this.#ask<MemoryUsage | undefined>({ model, passive: true, message: (id) => ({ type: 'memory', id, model }) })
  }

  /** Rejects queued and running jobs with DisposedError, and ends the engine, after at most two seconds. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#queue.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #model(name: unknown): WireModel {
    if (this.#closed) throw new DisposedError('The host was closed')
    const all = [...this.#models.keys()]
    const known = name === undefined ? all[0]! : checkName(name, 'model', all)
    return this.#models.get(known)!
  }

  #admit(): void {
    const { length, running, paused } = this.#queue
    // A job that can start immediately does not count.
    if (length >= this.#maxQueue && (running || paused || length > 0))
      throw new DiffusionError('ERR_BUSY', `The queue is full: ${length} jobs are waiting (maxQueue ${this.#maxQueue}); try again later`, {
        queued: length,
        retriable: true,
      })
  }

  /** Queues a task; an abort rejects it immediately and is sent to the engine. */
  #run(task: Task, signal: AbortSignal | undefined): { cancel(reason: unknown): void } {
    let over = false
    const abort = () => cancel(signal!.reason)
    const settle = <A extends unknown[]>(action: (...args: A) => void) => {
      return (...args: A) => {
        if (over) return
        over = true
        signal?.removeEventListener('abort', abort)
        action(...args)
      }
    }
    const watched: Task = {
      ...task,
      progress: (progress) => void (over || task.progress?.(progress)),
      preview: (message) => void (over || task.preview?.(message)),
      resolve: settle((value) => {
        try {
          task.resolve(value)
        } catch (error) {
          task.reject(error)
        }
      }),
      reject: settle((error) => task.reject(error)),
    }
    const cancel = (reason: unknown) => {
      if (over) return
      watched.reject(reason)
      this.#queue.cancel(watched)
    }
    if (signal?.aborted) watched.reject(signal.reason)
    else {
      signal?.addEventListener('abort', abort, { once: true })
      this.#queue.add(watched)
    }
    return { cancel }
  }

  #ask<T>(
    task: Pick<Task, 'model' | 'passive' | 'aside' | 'message'>,
    signal?: AbortSignal,
    onProgress?: (progress: Progress) => unknown,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = this.#run(
        {
          ...task,
          resolve: (value) => resolve(decode(value) as T),
          reject,
          progress: (progress) => tell(onProgress, (error) => run.cancel(error), progress),
        },
        signal,
      )
    })
  }

  /** At most once per turn of the event loop. */
  #announce(): void {
    if (this.#statusDue) return
    this.#statusDue = true
    queueMicrotask(() => {
      this.#statusDue = false
      this.#events.emit('status', this.status)
    })
  }
}

/**
 * Creates a host: an engine in its own process (or thread) with a queue, which survives crashes of native code. The engine starts with the first job.
 *
 * @example
 * await using host = createDiffusionHost({ models: { main: 'model.gguf' } })
 * const { images } = await host.generate({ prompt: 'a lighthouse' })
 */
export function createDiffusionHost(options?: HostOptions): DiffusionHost {
  return new DiffusionHost(options)
}
