/** Runs native jobs: aborts, progress with times, and callbacks whose errors reject the call. */
import { run } from './call.js'
import type { NativeCallbacks, NativeJob, NativePhase } from './contract.js'
import type { Progress } from '../types.js'

/** Callbacks during a call. */
export interface JobHooks {
  signal?: AbortSignal | undefined
  onProgress?: ((progress: Progress) => unknown) | undefined
  onPreview?: NativeCallbacks['onPreview']
}

/** Adds times to the engine's progress events. */
export function progressReporter(onProgress: (progress: Progress) => unknown): (phase: NativePhase, step: number, steps: number) => unknown {
  const began = performance.now()
  let phaseNow: NativePhase | undefined
  let phaseBegan = began
  let lastEvent = began
  return (phase, step, steps) => {
    const now = performance.now()
    if (phase !== phaseNow) {
      // The first event of a phase comes after its first unit of work, so the phase began at the previous event.
      phaseBegan = lastEvent
      phaseNow = phase
    }
    lastEvent = now
    const etaMs = step > 0 && steps >= step ? ((now - phaseBegan) / step) * (steps - step) : null
    return onProgress({ phase, step, steps, elapsedMs: now - began, etaMs })
  }
}

/**
 * Starts a job and waits for it. An error thrown by a callback (or its rejected promise) cancels the job and rejects the call with that error. `discard` frees
 * a result that arrives after the call failed.
 */
export async function runJob<T>(
  start: (callbacks: NativeCallbacks) => NativeJob<T>,
  hooks: JobHooks = {},
  discard?: (result: T) => void,
): Promise<T> {
  let failure: { error: unknown } | undefined
  let job: NativeJob<T> | undefined
  const fail = (error: unknown) => {
    failure ??= { error }
    job?.cancel()
  }
  const guard =
    <A extends unknown[]>(callback: (...args: A) => unknown) =>
    (...args: A): void => {
      if (failure) return
      try {
        const result = callback(...args)
        if (result instanceof Promise) result.catch(fail)
      } catch (error) {
        fail(error)
      }
    }
  const callbacks: NativeCallbacks = {}
  if (hooks.onProgress) callbacks.onProgress = guard(progressReporter(hooks.onProgress))
  if (hooks.onPreview) callbacks.onPreview = guard(hooks.onPreview)
  let result: T
  try {
    result = await run(() => (job = start(callbacks)), hooks.signal)
  } catch (error) {
    throw failure ? failure.error : error
  }
  if (failure) {
    discard?.(result)
    throw failure.error
  }
  return result
}

/** Calls that have begun but not settled, including those that are still reading an image. */
export class InFlight {
  readonly #calls = new Set<Promise<unknown>>()

  track<T>(call: Promise<T>): Promise<T> {
    this.#calls.add(call)
    const done = () => this.#calls.delete(call)
    call.then(done, done)
    return call
  }

  /** Resolves when all of them have settled. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#calls)
  }
}

/** Waits for `work`, or until the signal aborts; then rejects with its reason while the work continues. */
export async function untilAborted(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) {
    await work
    return
  }
  signal.throwIfAborted()
  let abort = () => {}
  const aborted = new Promise<void>((resolve) => (abort = resolve))
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([work, aborted])
    signal.throwIfAborted()
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
