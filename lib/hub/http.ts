/** HTTP requests with redirects, tokens and timeouts. */
import { DownloadError } from './errors.js'
import type { Site } from './settings.js'

/** Settings shared by all requests of a download. */
export interface Transport {
  site: Site
  fetch: typeof globalThis.fetch
  /** Milliseconds without an answer or a byte. */
  timeout: number
  signal: AbortSignal | undefined
}

/** An answer whose body has not been read. */
export interface Answer {
  status: number
  headers: Headers
  /** The final URL, after redirects. */
  url: URL
  /** Chunks of the body; fails if it is cut off or stalls. */
  body(): AsyncGenerator<Uint8Array, void>
  /** Closes the connection. */
  cancel(): void
}

const maxRedirects = 10
/** Bytes that must arrive within the timeout, so that a trickle does not count. */
const leastBytes = 1024

/** A URL for messages, without the query, which may contain signatures. */
export function shown(url: URL): string {
  return `${url.origin}${url.pathname}`
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)
}

/** The token is sent only to the site itself, never to redirect targets, and not unencrypted over a network. */
function tokenFor(url: URL, { endpoint, token }: Site): string | undefined {
  return url.origin === endpoint.origin && (url.protocol === 'https:' || isLoopback(url)) ? token : undefined
}

/** The target of a redirect. */
function nextUrl(from: URL, location: string | null): URL {
  const bad = (why: string) => new DownloadError('bad_answer', `${shown(from)} redirects ${why}`, { url: shown(from) })
  if (!location) throw bad('without a target')
  let to: URL
  try {
    to = new URL(location, from)
  } catch {
    throw bad('to an invalid address')
  }
  if (!/^https?:$/.test(to.protocol)) throw bad(`to a ${to.protocol} address; only http and https are followed`)
  if (from.protocol === 'https:' && to.protocol !== 'https:') throw bad(`to ${shown(to)}, which is not encrypted`)
  if (to.username || to.password) throw bad('to an address that contains a password')
  return to
}

const certificate = /CERT|SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|ERR_TLS|ERR_SSL/

/** Converts an error of fetch. */
function networkError(cause: unknown, url: URL): DownloadError {
  const inner = (cause as { cause?: { code?: string; message?: string } }).cause
  const code = inner?.code ?? (cause as { code?: string }).code ?? ''
  const why = code || inner?.message || (cause as Error).message
  const details = { url: shown(url), ...(code ? { cause: code } : {}) }
  if (certificate.test(code)) {
    const message = `The certificate of ${url.host} is not trusted (${why}). Behind a proxy that inspects HTTPS, set NODE_EXTRA_CA_CERTS to its certificate`
    return new DownloadError('network', message, details, { cause, retriable: false })
  }
  return new DownloadError('network', `${url.host} cannot be reached or closed the connection (${why})`, details, { cause })
}

/** An abort controller driven by `signal` and a timer. The timer is paused while nothing waits for the network; `stop()` releases both. */
class Watch {
  readonly controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  readonly #ms: number
  readonly #message: string
  #left: number
  #since = 0
  #timer: NodeJS.Timeout | undefined
  readonly #follow = () => this.controller.abort(this.#outer!.reason)

  constructor(outer: AbortSignal | undefined, ms: number, url: URL) {
    this.#outer = outer
    this.#ms = this.#left = ms
    this.#message = `${url.host} sent nothing for ${ms >= 1000 ? `${Math.round(ms / 1000)} s` : `${ms} ms`}`
    if (outer?.aborted) this.#follow()
    outer?.addEventListener('abort', this.#follow, { once: true })
    this.resume()
  }

  resume(): void {
    this.#since = performance.now()
    this.#timer = setTimeout(() => this.controller.abort(new DownloadError('timeout', this.#message)), this.#left)
  }

  /** Called for received bytes; `enough` of them restart the timer. */
  pause(enough: boolean): void {
    clearTimeout(this.#timer)
    this.#left = enough ? this.#ms : Math.max(1, this.#left - (performance.now() - this.#since))
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#outer?.removeEventListener('abort', this.#follow)
  }

  /** The error to report: the reason for a timeout if there was one. */
  reason(error: unknown, url: URL): unknown {
    this.#outer?.throwIfAborted()
    const { signal } = this.controller
    if (signal.aborted) return signal.reason
    return error instanceof DownloadError ? error : networkError(error, url)
  }
}

/** One request in a chain of redirects. */
async function hop(url: URL, headers: Record<string, string>, transport: Transport): Promise<Answer> {
  const watch = new Watch(transport.signal, transport.timeout, url)
  const token = tokenFor(url, transport.site)
  let response: Response
  try {
    response = await transport.fetch(url, {
      // Compressed bodies have a different length from the file, and no ranges.
      headers: {
        'user-agent': 'node-latent-diffusion',
        'accept-encoding': 'identity',
        ...headers,
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      redirect: 'manual',
      signal: watch.controller.signal,
    })
  } catch (error) {
    watch.stop()
    throw watch.reason(error, url)
  }
  const cancel = () => {
    watch.stop()
    // An unread body keeps its connection; a finished one frees it for the next request.
    response.body?.cancel().catch(() => undefined)
  }
  async function* body(): AsyncGenerator<Uint8Array, void> {
    if (!response.body) return watch.stop()
    let bytes = 0
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        bytes += chunk.length
        const enough = bytes >= leastBytes
        if (enough) bytes = 0
        watch.pause(enough)
        yield chunk
        transport.signal?.throwIfAborted()
        watch.resume()
      }
    } catch (error) {
      throw watch.reason(error, url)
    } finally {
      cancel()
    }
  }
  return { status: response.status, headers: response.headers, url, body, cancel }
}

/** Requests `url` and follows redirects. The caller checks the status. */
export async function request(url: URL, headers: Record<string, string>, transport: Transport): Promise<Answer> {
  const seen = new Set<string>()
  for (let at = url, hops = 0; ; hops++) {
    if (seen.has(at.href) || hops > maxRedirects)
      throw new DownloadError('bad_answer', `${shown(url)} redirects ${hops > maxRedirects ? `more than ${maxRedirects} times` : 'in a loop'}`, {
        url: shown(url),
      })
    seen.add(at.href)
    const answer = await hop(at, headers, transport)
    if (![301, 302, 303, 307, 308].includes(answer.status)) return answer
    answer.cancel()
    at = nextUrl(at, answer.headers.get('location'))
  }
}

/** The whole body, at most `limit` bytes. */
export async function readText(answer: Answer, limit: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of answer.body()) {
    bytes += chunk.length
    if (bytes > limit)
      throw new DownloadError('bad_answer', `${shown(answer.url)} sent more than ${limit} bytes instead of a short answer`, {
        url: shown(answer.url),
      })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
