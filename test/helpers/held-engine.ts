/** Runs that go on only when a test lets them, so that what a test does meanwhile does not depend on the speed of the engine. */
import { setTimeout as wait } from 'node:timers/promises'
import { DiffusionHost, type DiffusionJob, type GenerateResult, type HostGenerateOptions, type JobEvent } from 'node-latent-diffusion'

export interface HeldEngine extends Disposable {
  /** Lets the held runs go on, and those to come. */
  open(): void
}

/** Milliseconds between two events of a held run. */
const repeatMs = 300

/** The gate, or the reason of the signal, whichever comes first. */
function passing(gate: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const left = new Promise<never>((_, reject) => {
    if (signal?.aborted) reject(signal.reason as Error)
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  return Promise.race([gate, left])
}

/**
 * A job that comes no further than the middle of its sampling and a preview, and has no result, before the gate is open. It can be cancelled all along.
 * It tells these two again and again: whoever listens may drop an event, as a worker does that is still sending another one.
 */
class HeldJob implements PromiseLike<GenerateResult>, AsyncIterable<JobEvent> {
  readonly #job: DiffusionJob
  readonly #wantsPreview: boolean
  readonly #gate: Promise<void>
  readonly #result: Promise<GenerateResult>

  constructor(job: DiffusionJob, gate: Promise<void>, { preview, signal }: HostGenerateOptions) {
    this.#job = job
    this.#wantsPreview = Boolean(preview)
    this.#gate = passing(gate, signal)
    this.#result = Promise.all([job, this.#gate]).then(([result]) => result)
    this.#result.catch(() => {})
  }

  then<A = GenerateResult, B = never>(
    onResult?: ((result: GenerateResult) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onResult, onError)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<JobEvent, void, void> {
    let middle: JobEvent | undefined
    let preview: JobEvent | undefined
    let isHeld = true
    for await (const event of this.#job) {
      if (event.type === 'preview') preview = event
      // A fast engine's first event may be its last one.
      const isAfter = event.type === 'progress' && event.phase === 'sample' && event.step > event.steps / 2
      const told = isAfter ? { ...event, step: Math.floor(event.steps / 2) } : event
      if (isAfter) middle = told
      yield told
      if (!isHeld || !middle || (this.#wantsPreview && !preview)) continue
      yield* this.#repeated(middle, preview)
      isHeld = false
    }
    if (isHeld) yield* this.#repeated(middle, preview)
  }

  /** These events in turns, more slowly than a worker sends progress, until the gate is open. */
  async *#repeated(...events: (JobEvent | undefined)[]): AsyncGenerator<JobEvent, void, void> {
    const opened = this.#gate.then(() => true)
    opened.catch(() => {}) // awaited below
    const isOpen = () => Promise.race([opened, wait(repeatMs, false)])
    for (let i = 0; !(await isOpen()); i++) {
      const event = events[i % events.length]
      if (event) yield event
    }
  }
}

/**
 * Holds the engines of this process's hosts: their runs (those that `which` selects, all by default) stop in the middle, and loading models waits.
 * Dispose it to undo that.
 */
export function holdEngine(which: (options: HostGenerateOptions) => boolean = () => true): HeldEngine {
  const host = DiffusionHost.prototype
  const { generate, load } = host // eslint-disable-line @typescript-eslint/unbound-method -- called with their hosts below
  let open!: () => void
  const gate = new Promise<void>((resolve) => (open = resolve))
  host.generate = function (this: DiffusionHost, options: HostGenerateOptions = {}) {
    const job = generate.call(this, options)
    return which(options) ? (new HeldJob(job, gate, options) as unknown as DiffusionJob) : job
  }
  host.load = async function (this: DiffusionHost, name, options) {
    await passing(gate, options?.signal)
    return load.call(this, name, options)
  }
  return {
    open,
    [Symbol.dispose]() {
      Object.assign(host, { generate, load })
      open()
    },
  }
}
