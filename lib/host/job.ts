/** A job of a host: a promise of the result, and a stream of events. */
import type { RawImage } from '../image/raw-image.js'
import type { GenerateResult, Progress } from '../types.js'

/** Events of a {@link DiffusionJob}. */
export type JobEvent =
  /** The job is queued behind `position` jobs. */
  | { type: 'queued'; position: number }
  /** The job is running. */
  | { type: 'started' }
  | ({ type: 'progress' } & Progress)
  | { type: 'preview'; image: RawImage; step: number; steps: number; index: number }

export type JobState = 'queued' | 'running' | 'done' | 'failed'

/** The host's side of a job. */
export interface JobControl {
  resolve(result: GenerateResult): void
  reject(error: unknown): void
  emit(event: JobEvent): void
  started(): void
}

/**
 * A job of {@link DiffusionHost.generate}. `await job` gives the result of {@link DiffusionPipeline.generate}. `for await (const event of job)` gives its events, ends
 * with the job and throws its error. If events are not read in time, only the newest of each type and phase is kept.
 */
export class DiffusionJob implements PromiseLike<GenerateResult>, AsyncIterable<JobEvent> {
  #state: JobState = 'queued'
  readonly #result: Promise<GenerateResult>
  readonly #cancel: (reason: unknown) => void
  readonly #events: JobEvent[] = []
  #failure: { error: unknown } | undefined
  #wake: (() => void) | undefined
  #listened = false

  /** Created by {@link DiffusionHost.generate}. */
  private constructor(begin: (control: JobControl) => (reason: unknown) => void) {
    const { promise, resolve, reject } = settlers<GenerateResult>()
    this.#result = promise
    const settle = (state: JobState, act: () => void) => {
      if (this.#state === 'done' || this.#state === 'failed') return
      this.#state = state
      act()
      this.#wake?.()
    }
    this.#cancel = begin({
      resolve: (result) => settle('done', () => resolve(result)),
      reject: (error) =>
        settle('failed', () => {
          this.#failure = { error }
          reject(error)
        }),
      started: () => {
        if (this.#state === 'queued') this.#state = 'running'
        this.#push({ type: 'started' })
      },
      emit: (event) => this.#push(event),
    })
  }

  /** @internal */
  static make(begin: (control: JobControl) => (reason: unknown) => void): DiffusionJob {
    return new DiffusionJob(begin)
  }

  get state(): JobState {
    return this.#state
  }

  /** Cancels the job, whether queued or within a step; it rejects with `reason` at once. Default: an AbortError. */
  cancel(reason?: unknown): void {
    this.#cancel(reason ?? new DOMException('The job was cancelled', 'AbortError'))
  }

  then<A = GenerateResult, B = never>(
    onResult?: ((result: GenerateResult) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onResult, onError)
  }

  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<GenerateResult | B> {
    return this.#result.catch(onError)
  }

  finally(action?: (() => void) | null): Promise<GenerateResult> {
    return this.#result.finally(action)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<JobEvent, void, void> {
    if (this.#listened) throw new TypeError('The events of a job can be read only once')
    this.#listened = true
    this.#result.catch(() => {}) // thrown below
    for (;;) {
      const event = this.#events.shift()
      if (event) yield event
      else if (this.#failure) throw this.#failure.error
      else if (this.#state === 'done') return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** Without a listener, or with a slow one, the newest event of a kind replaces the previous one. */
  #push(event: JobEvent): void {
    if (this.#state === 'done' || this.#state === 'failed') return
    const kind = kindOf(event)
    const older = this.#events.findIndex((each) => kindOf(each) === kind)
    if (older >= 0) this.#events.splice(older, 1)
    this.#events.push(event)
    this.#wake?.()
  }
}

/** For progress, each phase is a kind. */
function kindOf(event: JobEvent): string {
  return event.type === 'progress' ? event.phase : event.type
}

function settlers<T>() {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]))
  return { promise, resolve, reject }
}
