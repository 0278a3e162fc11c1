/** Reads objects that exist from a store that may not answer for a moment. */
import { setTimeout as wait } from 'node:timers/promises'
import { HttpError } from './errors.js'

/** Shorter than the time that proxies and clients give a request. */
const usualMs = 15_000

/** Answers that stay the same, however often they are asked for: a missing object, and a store that is set up wrongly. */
const isFinal = ({ code, status }: { code?: unknown; status?: unknown }) =>
  code === 'ERR_OBJECT_MISSING' || (typeof status === 'number' && status >= 300 && status < 500 && status !== 408 && status !== 429)

/**
 * Tries again while the store does not answer, for `deadlineMs` in all. Then the signal ends the try that is still under way.
 * @throws HttpError 503 if the time is over before the store has answered once, else the error of the store
 */
export async function readPatiently<T>(read: (signal: AbortSignal) => Promise<T>, isClosing: () => boolean, deadlineMs = usualMs): Promise<T> {
  const control = new AbortController()
  let failure: unknown = new HttpError(503, 'ERR_STORE', `The object store has not answered for ${deadlineMs / 1000} s`, { retryAfter: 5 })
  const end = performance.now() + deadlineMs
  const late = wait(deadlineMs, undefined, { signal: control.signal }).then(() => Promise.reject(failure as Error))
  late.catch(() => {})
  try {
    for (let pause = 250; ; pause *= 2) {
      try {
        return await Promise.race([read(control.signal), late])
      } catch (error) {
        failure = error
        if (isClosing() || isFinal(error as object) || performance.now() + pause >= end) throw error
        await wait(pause)
      }
    }
  } finally {
    control.abort()
  }
}
