/** The queue of a host: waiting tasks, the engine's current task, and the engine, which is started when needed and restarted after a crash. */
import { DisposedError, EngineExitedError } from '../errors.js'
import type { EngineMessage, GenerateMessage, HostMessage } from '../rpc/protocol.js'
import { protocolVersion } from '../rpc/protocol.js'
import { decodeError } from '../rpc/wire-error.js'
import type { Wire } from '../rpc/wire.js'
import type { Progress } from '../types.js'
import type { EngineExit, EngineHandle, StartEngine } from './port.js'

/** A request to the engine, with its callbacks. */
export interface Task {
  /** The model to load for it. */
  model: string
  /** Queries a loaded model: nothing is loaded or unloaded for it. */
  passive?: boolean
  /** Needs a loaded model but does not wait in the queue: the engine answers it during other work. */
  aside?: boolean
  /** Tasks with equal texts may be sent together. */
  joins?: string
  /** Images, as far as it is known. */
  images?: number
  message(id: number): HostMessage
  started?(): void
  waits?(position: number): void
  progress?(progress: Progress): void
  preview?(message: Extract<EngineMessage, { type: 'preview' }>): void
  resolve(value: Wire): void
  reject(error: unknown): void
}

export type EngineState = 'idle' | 'starting' | 'ready' | 'closed'

export interface QueueSettings {
  start: StartEngine
  onCrash: 'restart' | 'reject'
  maxModels: number
  /** Maximum images of tasks that are sent together; 1: none are. */
  maxBatch: number
  /** Idle time in milliseconds after which the engine ends; 0: never. */
  idleMs: number
  changed(): void
  crashed(error: EngineExitedError): void
  loaded(model: string, ms: number): void
}

/** A started engine. */
interface Engine {
  handle: EngineHandle
  ready: boolean
  pid: number | undefined
  /** Loaded models, the most recently used last. */
  models: Set<string>
  exited: Promise<void>
  /** A close request has been sent. */
  ending: boolean
}

/** Maximum number of consecutive failed starts. */
const maxFailedStarts = 3

/** Time for an engine to end by itself. */
const closingMs = 2000

function describe({ exitCode, signal, cause, stderr }: EngineExit): string {
  const how = signal ? `was ended by ${signal}` : cause instanceof Error ? `failed: ${cause.message}` : `ended with the code ${exitCode ?? 'unknown'}`
  const said = stderr?.trim().split('\n').slice(-5).join('\n')
  return said ? `${how}. Its last output:\n${said}` : how
}

function exitDetails({ exitCode, signal, cause, stderr }: EngineExit, retriable: boolean) {
  const causes = cause instanceof Error ? { cause: cause.message } : {}
  return { retriable, exitCode: exitCode ?? null, signal: signal ?? null, ...causes, ...(stderr ? { stderr } : {}) }
}

export class EngineQueue {
  readonly #settings: QueueSettings
  readonly #waiting: Task[] = []
  /** The engine's tasks besides the current one, by id. */
  readonly #asides = new Map<number, Task>()
  /** The tasks that the engine works on: one, or several that run together. */
  #current: { tasks: Map<number, Task>; model: string; passive: boolean; sent: boolean } | undefined
  #engine: Engine | undefined
  #failedStarts = 0
  #lastId = 0
  #idle: NodeJS.Timeout | undefined
  #closed = false
  #paused = false
  /** Number of restarted engines. */
  restarts = 0

  constructor(settings: QueueSettings) {
    this.#settings = settings
  }

  get length(): number {
    return this.#waiting.length
  }

  get running(): boolean {
    return this.#current !== undefined
  }

  get paused(): boolean {
    return this.#paused
  }

  /** While paused, only passive tasks start. */
  set paused(paused: boolean) {
    if (paused === this.#paused) return
    this.#paused = paused
    this.#pump()
  }

  get state(): EngineState {
    if (this.#closed) return 'closed'
    return !this.#engine || this.#engine.ending ? 'idle' : this.#engine.ready ? 'ready' : 'starting'
  }

  get pid(): number | undefined {
    return this.#engine?.pid
  }

  isLoaded(model: string): boolean {
    return this.#engine?.models.has(model) === true
  }

  add(task: Task): void {
    if (task.aside && this.#current?.sent && this.isLoaded(task.model)) {
      const id = ++this.#lastId
      this.#asides.set(id, task)
      return this.#engine!.handle.send(task.message(id))
    }
    this.#waiting.push(task)
    task.waits?.(this.#waiting.length - 1 + this.#ahead)
    if (task.joins === undefined || this.#settings.maxBatch === 1) this.#pump()
    else queueMicrotask(() => this.#pump()) // those that are added in the same turn may join it
  }

  /** Removes a task from the queue, or cancels it in the engine. Its caller has already rejected it. */
  cancel(task: Task): void {
    const place = this.#waiting.indexOf(task)
    if (place >= 0) {
      this.#waiting.splice(place, 1)
      this.#positions()
      this.#settings.changed()
      return
    }
    const id = [...(this.#current?.tasks ?? [])].find(([, each]) => each === task)?.[0]
    if (id !== undefined) {
      if (this.#current!.sent) this.#engine?.handle.send({ type: 'cancel', id })
      else this.#current!.tasks.delete(id)
    } else for (const [id, aside] of this.#asides) if (aside === task) this.#engine?.handle.send({ type: 'cancel', id })
  }

  /** Rejects all tasks and ends the engine. */
  async close(): Promise<void> {
    this.#closed = true
    const closed = new DisposedError('The host was closed')
    this.#rejectCurrent(closed)
    this.#rejectWaiting(closed)
    this.#rejectAsides(closed)
    await this.#end()
    this.#settings.changed()
  }

  /** Tasks before all that wait. */
  get #ahead(): number {
    return this.#current?.tasks.size ?? 0
  }

  #rejectCurrent(error: unknown): void {
    const tasks = [...(this.#current?.tasks.values() ?? [])]
    this.#current = undefined
    for (const task of tasks) task.reject(error)
  }

  #rejectWaiting(error: unknown): void {
    for (const task of this.#waiting.splice(0)) task.reject(error)
  }

  #rejectAsides(error: unknown): void {
    for (const task of this.#asides.values()) task.reject(error)
    this.#asides.clear()
  }

  #positions(): void {
    for (const [i, task] of this.#waiting.entries()) task.waits?.(i + this.#ahead)
  }

  #pump(): void {
    clearTimeout(this.#idle)
    if (this.#closed) return
    if (!this.#current) {
      const next = this.#paused ? this.#waiting.findIndex(({ passive }) => passive) : 0
      const [task] = next < 0 ? [] : this.#waiting.splice(next, 1)
      if (task) {
        this.#current = { tasks: new Map([[++this.#lastId, task]]), model: task.model, passive: task.passive === true, sent: false }
        this.#positions()
      }
    }
    if (this.#current) this.#send()
    else this.#rest()
    this.#settings.changed()
  }

  /** Sends the current task to the engine, once it is ready. */
  #send(): void {
    const engine = (this.#engine ??= this.#start())
    engine.handle.hold(true)
    const current = this.#current!
    if (!engine.ready || engine.ending || current.sent) return
    const { tasks, model, passive } = current
    if (tasks.size === 0) return this.#finish() // cancelled meanwhile
    if (!passive) this.#makeRoom(engine, model)
    current.sent = true
    this.#join(tasks)
    const messages = [...tasks].map(([id, task]) => {
      task.started?.()
      return task.message(id)
    })
    engine.handle.send(this.#isTogether(tasks) ? { type: 'together', requests: messages as GenerateMessage[] } : messages[0]!)
  }

  /** Adds the tasks that follow and may run together with these. */
  #join(tasks: Map<number, Task>): void {
    const [first] = tasks.values()
    if (first?.joins === undefined || this.#paused) return
    let images = first.images ?? 1
    for (let next = this.#waiting[0]; next?.joins === first.joins; next = this.#waiting[0]) {
      images += next.images ?? 1
      if (images > this.#settings.maxBatch) break
      tasks.set(++this.#lastId, this.#waiting.shift()!)
    }
    if (tasks.size > 1) this.#positions()
  }

  /** Several tasks, or one with several images but not more than the limit. */
  #isTogether(tasks: ReadonlyMap<number, Task>): boolean {
    const [{ joins, images = 1 }] = tasks.values() as unknown as [Task]
    return tasks.size > 1 || (joins !== undefined && images > 1 && images <= this.#settings.maxBatch)
  }

  /** Unloads the least recently used models. */
  #makeRoom(engine: Engine, model: string): void {
    const { models, handle } = engine
    models.delete(model)
    for (const other of models) {
      if (models.size < this.#settings.maxModels) break
      handle.send({ type: 'unload', id: ++this.#lastId, model: other })
      models.delete(other)
    }
    models.add(model)
  }

  #finish(): void {
    this.#current = undefined
    this.#pump()
  }

  #rest(): void {
    const engine = this.#engine
    if (!engine || engine.ending || this.#asides.size > 0) return
    engine.handle.hold(false)
    const { idleMs } = this.#settings
    if (idleMs > 0) this.#idle = setTimeout(() => void this.#end(), idleMs).unref()
  }

  #start(): Engine {
    let exited!: () => void
    const engine: Engine = {
      handle: undefined as never,
      ready: false,
      pid: undefined,
      models: new Set(),
      exited: new Promise((resolve) => (exited = resolve)),
      ending: false,
    }
    const onExit = (exit: EngineExit) => {
      exited()
      this.#lost(engine, exit)
    }
    try {
      engine.handle = this.#settings.start({ onMessage: (message) => this.#receive(engine, message), onExit })
    } catch (cause) {
      engine.handle = { send: () => {}, hold: () => {}, kill: () => {} }
      setImmediate(onExit, { cause })
    }
    return engine
  }

  #receive(engine: Engine, message: EngineMessage): void {
    if (engine !== this.#engine) return
    if (message.type === 'hello') {
      if (message.protocol !== protocolVersion) {
        this.#rejectAll(
          new EngineExitedError(
            `The engine speaks protocol ${message.protocol}, this host ${protocolVersion}: two versions of the package are installed`,
            { retriable: false },
          ),
        )
        return engine.handle.kill()
      }
      engine.ready = true
      engine.pid = message.pid
      return this.#pump()
    }
    if (message.type === 'loaded') return this.#settings.loaded(message.model, message.ms)
    const current = this.#current
    if (message.type === 'preview') engine.handle.send({ type: 'seen', id: message.id })
    const aside = this.#asides.get(message.id)
    if (aside) return this.#settleAside(engine, aside, message)
    const task = current?.tasks.get(message.id)
    if (!current || !task) return // the model has been unloaded
    if (message.type === 'progress') task.progress?.(message.progress)
    else if (message.type === 'preview') task.preview?.(message)
    else {
      this.#failedStarts = 0
      // If the current task fails, tasks beside it load their model themselves.
      for (const model of engine.models) if (!message.models.includes(model) && !this.#hasAside(model)) engine.models.delete(model)
      current.tasks.delete(message.id)
      if (message.type === 'result') task.resolve(message.value)
      else task.reject(decodeError(message.error))
      if (current.tasks.size === 0) this.#finish()
      else this.#positions()
    }
  }

  #settleAside(engine: Engine, task: Task, message: EngineMessage & { id: number }): void {
    if (message.type !== 'result' && message.type !== 'error') return
    this.#asides.delete(message.id)
    const { model } = task
    const isWanted = this.#hasAside(model) || (this.#current?.sent && this.#current.model === model)
    if (!isWanted && !message.models.includes(model)) engine.models.delete(model)
    if (message.type === 'result') task.resolve(message.value)
    else task.reject(decodeError(message.error))
    if (!this.#current) this.#rest()
    this.#settings.changed()
  }

  #hasAside(model: string): boolean {
    return [...this.#asides.values()].some((task) => task.model === model)
  }

  /** Handles the end of an engine: as requested, during its start, or during work. */
  #lost(engine: Engine, exit: EngineExit): void {
    if (engine !== this.#engine) return
    this.#engine = undefined
    const how = describe(exit)
    this.#rejectAsides(new EngineExitedError(`The engine ${how}`, exitDetails(exit, true)))
    if (engine.ending || this.#closed) return this.#pump()
    if (!engine.ready) {
      if (++this.#failedStarts < maxFailedStarts) return this.#pump()
      this.#failedStarts = 0
      this.#rejectAll(new EngineExitedError(`The engine cannot be started: it ${how}`, exitDetails(exit, false)))
      return
    }
    const error = new EngineExitedError(`The engine ${how}`, exitDetails(exit, true))
    if (this.#settings.onCrash === 'reject') this.#rejectAll(error)
    else this.#goOn(error)
    // Done last, so that the queue is consistent whatever listeners do.
    this.#settings.crashed(error)
  }

  /** Rejects the task that was lost with its engine, and starts a new engine for the rest. */
  #goOn(error: EngineExitedError): void {
    const current = this.#current
    if (current?.sent) this.#rejectCurrent(error)
    else this.#waiting.unshift(...(current?.tasks.values() ?? []))
    this.#current = undefined
    if (current ?? this.#waiting.length > 0) this.restarts++
    this.#pump()
  }

  #rejectAll(error: unknown): void {
    this.#rejectCurrent(error)
    this.#rejectWaiting(error)
    this.#pump()
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle)
    const engine = this.#engine
    if (!engine) return
    if (!engine.ending) {
      engine.ending = true
      engine.handle.send({ type: 'close' })
    }
    const late = setTimeout(() => engine.handle.kill(), closingMs)
    engine.handle.hold(true)
    await engine.exited
    clearTimeout(late)
  }
}
