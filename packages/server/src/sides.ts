/** Requests that use the engine beside the queue (loading, unloading, tokens): how many may be open, and what ends them. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { busy, closing } from './errors.js'
import type { Settings } from './settings.js'
import { clientSignal } from './streams.js'

/** In all, and of one client; on loopback all clients have one address. */
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
   * Runs such a request. It is answered, or its signal aborted, at the latest when its client goes or the server is closed.
   * @throws HttpError 429 where too many are open, 503 while the server is closing
   */
  async run<T>({ ip }: FastifyRequest, reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closing) throw closing()
    const own = [...this.#open].filter(({ client }) => client === ip).length
    if (this.#open.size >= most || own >= this.#mostOfClient) throw busy('Too many requests about models are open; ask again when they are done', 5)
    const entry = { client: ip, control: new AbortController() }
    const signal = AbortSignal.any([entry.control.signal, clientSignal(reply)])
    this.#open.add(entry)
    // The place is free when the work has ended, not when its client has gone: not all work can be called off.
    const done = this.#start(signal, work)
    void done.catch(() => undefined).finally(() => this.#open.delete(entry))
    const ended = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }))
    return await Promise.race([done, ended])
  }

  async #start<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    return work(signal)
  }

  /** Tells those that are open to come again. */
  close(): void {
    this.#closing = true
    for (const { control } of this.#open) control.abort(closing())
  }
}
