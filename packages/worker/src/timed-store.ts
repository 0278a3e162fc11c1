/** A store whose reads and writes end in time. */
import { QueueError } from './errors.js'
import type { ObjectStore } from './objects.js'

/**
 * Bounds each read and write of a store, so that one that hangs (a share that is away, a connection that is lost without a word) holds no job. A call returns when its
 * time is over or its signal is aborted, also if the store heeds no signal.
 */
export class TimedStore implements ObjectStore {
  readonly #store: ObjectStore
  readonly #limitMs: number
  readonly prune?: (unusedMs: number) => Promise<number>

  constructor(store: ObjectStore, limitMs: number) {
    this.#store = store
    this.#limitMs = limitMs
    if (store.prune) this.prune = (unusedMs) => store.prune!(unusedMs)
  }

  put(bytes: Uint8Array, signal?: AbortSignal): Promise<string> {
    return this.#inTime('written', (each) => this.#store.put(bytes, each), signal)
  }

  get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#inTime('read', (each) => this.#store.get(key, each), signal)
  }

  async #inTime<T>(doing: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const late = new AbortController()
    const stop = signal ? AbortSignal.any([late.signal, signal]) : late.signal
    stop.throwIfAborted()
    const message = `The object store was not ${doing} within ${this.#limitMs / 1000} s`
    const timer = setTimeout(() => late.abort(new QueueError('ERR_STORE', message, { retriable: true })), this.#limitMs)
    const stopped = new Promise<never>((_, reject) => stop.addEventListener('abort', () => reject(stop.reason as Error), { once: true }))
    try {
      return await Promise.race([work(stop), stopped])
    } finally {
      clearTimeout(timer)
    }
  }
}
