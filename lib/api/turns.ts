import { untilAborted } from '../native/job.js'

/** The turn of one call. */
export interface Turn {
  /** Resolves once all earlier calls have passed theirs; rejects with the signal's reason if it aborts. */
  reached: (signal: AbortSignal | undefined) => Promise<void>
  /** Lets later calls go on. May be called before the turn is reached, and more than once. */
  pass: () => void
}

/**
 * The order of calls that have work to do before they are queued. That work is done side by side and lets the event loop run, so without turns a later call could
 * overtake an earlier one.
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  take(): Turn {
    const before = this.#last
    let pass = () => {}
    const passed = new Promise<void>((resolve) => (pass = resolve))
    this.#last = before.then(() => passed)
    return { reached: (signal) => untilAborted(before, signal), pass }
  }
}
