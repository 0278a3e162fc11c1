/** Server-sent events through fetch, which can send a token, unlike EventSource. */
import { request, ServerError } from './client.js'

interface Sent {
  id?: string
  data: string
}

/** Parses a stream of events line by line. */
async function* read(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Sent> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      text += value.replaceAll('\r\n', '\n')
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const event = parse(text.slice(0, end))
        text = text.slice(end + 2)
        if (event) yield event
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

function parse(block: string): Sent | undefined {
  const data: string[] = []
  let id: string | undefined
  for (const line of block.split('\n')) {
    const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? []
    if (field === 'data') data.push(value!)
    if (field === 'id') id = value
  }
  return data.length > 0 ? { id, data: data.join('\n') } : undefined
}

const pause = (ms: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
  })

export interface FollowOptions<T> {
  signal: AbortSignal
  /** Returns true if this is the last event. */
  onEvent: (event: T) => boolean | void
  /** Called when the stream is open, or broken and being reopened. */
  onConnection?: (open: boolean) => void
}

/**
 * Reads the events of a stream until the last one, reopening it after the last event if it breaks. Rejects on permanent errors.
 */
export async function follow<T>(path: string, { signal, onEvent, onConnection }: FollowOptions<T>): Promise<void> {
  let last: string | undefined
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const response = await request(path, {
        signal,
        headers: { accept: 'text/event-stream', ...(last === undefined ? {} : { 'last-event-id': last }) },
      })
      onConnection?.(true)
      for await (const { id, data } of read(response.body!)) {
        failures = 0
        last = id ?? last
        if (onEvent(JSON.parse(data) as T)) return
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof ServerError && error.status >= 400 && error.status < 500 && error.status !== 429) throw error
    }
    onConnection?.(false)
    await pause(Math.min(10_000, 250 * 2 ** Math.min(failures, 6)), signal)
  }
}
