/** The only access to the binary: loads it once, turns its errors into the public classes, and passes aborts to its jobs. */
import { DeviceError, DiffusionError, DisposedError, ModelFormatError, OutOfMemoryError, UnsupportedModelError } from '../errors.js'
import type { NativeAddon, NativeJob } from './contract.js'
import { loadAddon } from './load.js'

let loaded: NativeAddon | undefined

/** The engine, loaded at its first use. Throws BinaryNotFoundError, or DeviceError on a processor that the binary cannot run on. */
export function addon(): NativeAddon {
  if (loaded === undefined) {
    const site = callSite(addon)
    try {
      loaded = loadAddon()
    } catch (error) {
      throw toPublicError(error, site)
    }
  }
  return loaded
}

const classes: Partial<Record<string, new (message: string, details?: Readonly<Record<string, unknown>>) => DiffusionError>> = {
  ERR_MODEL_FORMAT: ModelFormatError,
  ERR_UNSUPPORTED_MODEL: UnsupportedModelError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_DEVICE: DeviceError,
  ERR_DISPOSED: DisposedError,
}

/** Stack frames of the caller of `below`, for an error from another thread. */
function callSite(below: (...args: never[]) => unknown): string {
  const holder: { stack?: string } = {}
  Error.captureStackTrace(holder, below)
  return holder.stack?.replace(/^[^\n]*\n?/, '') ?? ''
}

function parseDetails(text: unknown): Record<string, unknown> {
  if (typeof text !== 'string') return {}
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : { value }
  } catch {
    return { text }
  }
}

/** Turns an error of the binary into the public class. Other values are returned unchanged. */
export function toPublicError(error: unknown, site?: string): unknown {
  const native = error as { code?: unknown; message?: unknown; name?: unknown; details?: unknown } | null
  if (typeof native !== 'object' || native === null || typeof native.code !== 'string' || !native.code.startsWith('ERR_')) return error
  if (error instanceof DiffusionError || typeof native.details !== 'string') return error
  const { code } = native
  const message = String(native.message)
  const details = parseDetails(native.details)
  let result: Error
  if (code === 'ERR_INVALID_ARG') {
    result = Object.assign(native.name === 'TypeError' ? new TypeError(message) : new RangeError(message), { code, details })
  } else {
    const Class = classes[code]
    result = Class ? new Class(message, details) : new DiffusionError(code, message, details)
  }
  if (site !== undefined) result.stack = `${result.name}: ${message}\n${site}`
  return result
}

/** Calls native code synchronously. */
export function guarded<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw toPublicError(error, callSite(guarded))
  }
}

/**
 * Starts a native job and waits for it. With an already aborted signal, native code is not called; a later abort cancels the job, queued or running. Both
 * reject with `signal.reason`. The signal is released once the job has settled.
 */
export async function run<T>(start: () => NativeJob<T>, signal?: AbortSignal | null): Promise<T> {
  const site = callSite(run)
  signal?.throwIfAborted()
  let abort: (() => void) | undefined
  try {
    const job = start()
    if (signal) {
      abort = () => job.cancel()
      signal.addEventListener('abort', abort, { once: true })
      // start() may have run a callback that aborted.
      if (signal.aborted) job.cancel()
    }
    return await job.promise
  } catch (error) {
    if (signal?.aborted && (error as { code?: unknown } | null)?.code === 'ERR_ABORTED') throw signal.reason
    throw toPublicError(error, site)
  } finally {
    if (abort) signal?.removeEventListener('abort', abort)
  }
}
