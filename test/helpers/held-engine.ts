/** Runs that go on only when a test lets them, so that what a test does meanwhile does not depend on the speed of the engine. */
import { DiffusionHost, type DiffusionJob, type GenerateResult, type HostGenerateOptions, type JobEvent } from 'node-latent-diffusion'

export interface HeldEngine extends Disposable {
  /** Lets the held runs go on, and those to come. */
  open(): void
}

/** The gate, or the reason of the signal, whichever comes first. */
function passing(gate: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  const left = new Promise<never>((_, reject) => {
    if (signal?.aborted) reject(signal.reason as Error)
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  return Promise.race([gate, left])
}

/** A job that tells nothing after the middle of its sampling and a preview, and has no result, before the gate is open. It can be cancelled all along. */
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
    let isPreviewed = !this.#wantsPreview
    let isLate = false
    for await (const event of this.#job) {
      isPreviewed ||= event.type === 'preview'
      // A fast engine's first event may be its last one.
      const isAfter = event.type === 'progress' && event.phase === 'sample' && event.step > event.steps / 2
      isLate ||= isAfter
      yield isAfter ? { ...event, step: Math.floor(event.steps / 2) } : event
      if (isLate && isPreviewed) await this.#gate
    }
    await this.#gate
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
