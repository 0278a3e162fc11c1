/** Servers for tests, on the built library and the sources of the package, and clients of them. */
import { request } from 'node:http'
import type { JobEvent } from '../../packages/server/src/protocol'
import { createServer, type Server, type ServerOptions } from '../../packages/server/src/index'

export { type Server, type ServerOptions }

/** A server on a free port; its log goes to `lines`. */
export async function startServer(options: ServerOptions = {}): Promise<Server & { lines: string[] }> {
  const lines: string[] = []
  const server = await createServer({ port: 0, page: false, log: (line) => void lines.push(line), ...options })
  return Object.assign(server, { lines })
}

export interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  json: any
}

export interface Ask {
  method?: string
  headers?: Record<string, string>
  body?: unknown
  signal?: AbortSignal | undefined
}

/** Sends one request with exactly these headers: fetch() would set `Host` and `Origin` by itself. A body that is no text is sent as JSON. */
export function ask(server: Pick<Server, 'port'>, path: string, { method, headers = {}, body, signal }: Ask = {}): Promise<Reply> {
  const isJson = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)
  const bytes = isJson ? JSON.stringify(body) : body
  const own = {
    ...(isJson ? { 'content-type': 'application/json' } : {}),
    ...(bytes === undefined ? {} : { 'content-length': String(Buffer.byteLength(bytes)) }),
  }
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: server.port,
        path,
        method: method ?? (body === undefined ? 'GET' : 'POST'),
        headers: { ...own, ...headers },
        agent: false,
        signal,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8')
          const isJsonReply = /json/.test(String(response.headers['content-type']))
          resolve({ status: response.statusCode!, headers: response.headers, text, json: isJsonReply && text !== '' ? JSON.parse(text) : undefined })
        })
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}

/** A form (multipart/form-data) with these fields and files, for `ask()`. */
export function formOf(parts: Readonly<Record<string, string | { bytes: Buffer; type: string }>>): Ask {
  const boundary = 'boundary-of-a-form'
  const lines = Object.entries(parts).flatMap(([name, part]) => [
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"`,
    typeof part === 'string' ? `\r\n\r\n${part}` : `; filename="${name}"\r\nContent-Type: ${part.type}\r\n\r\n`,
    ...(typeof part === 'string' ? [] : [part.bytes]),
    '\r\n',
  ])
  const body = Buffer.concat([...lines, `--${boundary}--\r\n`].map((each) => Buffer.from(each as string)))
  return { body, headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } }
}

export interface ServerSentEvent<T> {
  id: string | undefined
  event: string | undefined
  data: T
}

/** The events of a stream that has ended. */
export function readEvents<T = JobEvent>(text: string): ServerSentEvent<T>[] {
  return text
    .split('\n\n')
    .filter((block) => /^data:/m.test(block))
    .map((block) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
      return { id: field('id'), event: field('event'), data: JSON.parse(field('data')!) as T }
    })
}
