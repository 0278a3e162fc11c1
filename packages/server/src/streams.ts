/** Server-sent events: how many may be open, and what ends them. */
import type { FastifyReply } from 'fastify'
import { busy, closing, toAnswer } from './errors.js'
import type { Context } from './server.js'

export interface Message {
  id?: string
  event: string
  data: unknown
}

/** Lets `work` send events until it is done or the client has gone. What it throws is the last event. */
export async function openStream(
  { streams, settings, log }: Context,
  reply: FastifyReply,
  work: (send: (message: Message) => Promise<void>, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  if (streams.isClosing) throw closing()
  if (streams.open.size >= settings.limits.maxStreams) throw busy(`${streams.open.size} streams are open, which is all that this server allows`, 5)
  const controller = new AbortController()
  const send = async (message: Message) => {
    if (!reply.sse.isConnected) return
    await reply.sse.send(message)
  }
  streams.open.add(controller)
  reply.sse.onClose(() => controller.abort())
  reply.raw.on('error', () => controller.abort())
  try {
    await work(send, controller.signal)
    if (controller.signal.reason === shutdown) throw closing()
  } catch (error) {
    const answer = toAnswer(error)
    if (answer.unexpected) log(`${reply.request.url}: ${String((error as Error).stack ?? error)}`)
    await send({ event: 'error', data: { type: 'error', error: answer.error } }).catch(() => {})
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
