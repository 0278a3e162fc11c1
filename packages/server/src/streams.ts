/** Server-sent events: limits, and ending them. */
import type { FastifyReply } from 'fastify'
import { busy, cancelled, closing, toAnswer, type Answer } from './errors.js'
import type { Context } from './server.js'

/** Aborted when the client disconnects before it has its answer. */
export function clientSignal({ raw }: FastifyReply): AbortSignal {
  const controller = new AbortController()
  const gone = () => {
    if (!raw.writableFinished) controller.abort(cancelled('The client disconnected'))
  }
  if (raw.destroyed) gone()
  else raw.once('close', gone)
  return controller.signal
}

export interface Message {
  id?: string
  event?: string
  data: unknown
}

/** Sends one event; also returns when the client has disconnected, or is cut off because it has not read for too long. */
async function write(reply: FastifyReply, message: Message, stallMs: number): Promise<void> {
  const { raw, sse } = reply
  if (!sse.isConnected || raw.destroyed) return
  let gone!: () => void
  const closed = new Promise<void>((resolve) => (gone = resolve))
  const stalled = setTimeout(() => raw.destroy(), stallMs)
  raw.once('close', gone)
  try {
    await Promise.race([sse.send(message), closed])
  } finally {
    clearTimeout(stalled)
    raw.off('close', gone)
  }
}

/**
 * Lets `work` send events until it is done or the client disconnects. Its error becomes the last event. It returns true if the client got its last event;
 * otherwise an event about the server's shutdown follows.
 */
export async function openStream(
  { streams, settings, log }: Context,
  reply: FastifyReply,
  work: (send: (message: Message) => Promise<void>, signal: AbortSignal) => Promise<void | boolean>,
  format?: (answer: Answer) => unknown,
): Promise<void> {
  if (streams.isClosing) throw closing()
  if (streams.open.size >= settings.limits.maxStreams) throw busy(`The limit of ${streams.open.size} open streams is reached`, 5)
  const controller = new AbortController()
  const send = (message: Message) => write(reply, message, settings.requestTimeoutMs)
  streams.open.add(controller)
  reply.sse.onClose(() => controller.abort(cancelled('The client disconnected')))
  reply.raw.on('error', () => controller.abort())
  if (reply.raw.destroyed) controller.abort(cancelled('The client disconnected'))
  reply.sse.sendHeaders()
  reply.raw.flushHeaders() // proxies and clients wait for the headers, and heartbeats start with them
  try {
    const told = await work(send, controller.signal)
    if (!told && controller.signal.reason === shutdown) throw closing()
  } catch (error) {
    const answer = toAnswer(error)
    if (answer.log !== undefined) log(`${reply.request.url}: ${answer.log}`)
    const message = format ? { data: format(answer) } : { event: 'error', data: { type: 'error', error: answer.error } }
    await send(message).catch(() => {})
  } finally {
    streams.open.delete(controller)
  }
}

const shutdown = Symbol('shutdown')

export class Streams {
  readonly open = new Set<AbortController>()
  isClosing = false

  /** Ends every stream with an `error` event. */
  close(): void {
    this.isClosing = true
    for (const controller of this.open) controller.abort(shutdown)
  }
}
