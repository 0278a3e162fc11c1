/** Requests that use the engine outside the queue (loading, unloading, tokens): limits and cancellation. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { busy, closing } from './errors.js'
import type { Settings } from './settings.js'
import { clientSignal } from './streams.js'

/** In total and per client; on loopback all clients have the same address. */
const most = 8
const mostOfClient = 4

export class Sides {
  readonly #open = new Set<{ client: string; control: AbortController }>()
  readonly #mostOfClient: number
  #closing = false

  constructor({ loopback }: Pick<Settings, 'loopback'>) {
    this.#mostOfClient = loopback ? most : mostOfClient
  }

  /**
   * Runs such a request. Its signal is aborted when its client disconnects or the server is closed.
   * @throws HttpError 429 if too many are open, 503 while the server is closing
   */
  async run<T>({ ip }: FastifyRequest, reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closing) throw closing()
    const own = [...this.#open].filter(({ client }) => client === ip).length
    if (this.#open.size >= most || own >= this.#mostOfClient) throw busy('Too many requests about models are open; ask again when they are done', 5)
    const entry = { client: ip, control: new AbortController() }
    const signal = AbortSignal.any([entry.control.signal, clientSignal(reply)])
    this.#open.add(entry)
    // The slot is freed when the work has ended, not when the client disconnects, because not all work can be cancelled.
    const done = this.#start(signal, work)
    void done.catch(() => undefined).finally(() => this.#open.delete(entry))
    const ended = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }))
    return await Promise.race([done, ended])
  }

  async #start<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    return work(signal)
  }

  /** Rejects the open requests as retriable. */
  close(): void {
    this.#closing = true
    for (const { control } of this.#open) control.abort(closing())
  }
}
