/** Calls of this server's job API. */
import type {
  ApiError,
  ErrorBody,
  EstimateRequest,
  EstimateResult,
  Job,
  Model,
  ModelDetails,
  ServerInfo,
  TokenizeResult,
} from '../../../src/protocol.js'
import type { JobOptions } from './job-options.js'

export type { JobOptions }
export type * from '../../../src/protocol.js'

/** An error of the server, or no answer (`ERR_OFFLINE`). */
export class ServerError extends Error implements ApiError {
  readonly code: string
  readonly retriable: boolean
  readonly status: number
  constructor({ code, message, retriable }: ApiError, status: number) {
    super(message)
    this.code = code
    this.retriable = retriable
    this.status = status
  }
}

const tokenKey = 'latent-token'

/** The URL may contain the token after the `#`, which browsers do not send to servers. */
function takeToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get('token')
  if (given !== null) {
    sessionStorage.setItem(tokenKey, given)
    history.replaceState(null, '', location.pathname + location.search)
  }
  return sessionStorage.getItem(tokenKey) ?? ''
}

let token = takeToken()

/** Whether requests carry a token. */
export const hasToken = () => token !== ''

export function setToken(given: string): void {
  token = given
  sessionStorage.setItem(tokenKey, given)
}

/** The page is at the root of the API, also behind a proxy's path. */
const base = new URL('.', document.baseURI)
export const addressOf = (path: string) => new URL(path.replace(/^\//, ''), base).href

async function errorOf(response: Response): Promise<ServerError> {
  const body = (await response.json().catch(() => undefined)) as Partial<ErrorBody> | undefined
  const { code = `HTTP_${response.status}`, message = '', retriable = response.status >= 500 } = body?.error ?? {}
  return new ServerError({ code: String(code), message: String(message) || `The server answered ${response.status}`, retriable }, response.status)
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  if (token !== '') headers.set('authorization', `Bearer ${token}`)
  let response: Response
  try {
    response = await fetch(addressOf(path), { ...init, headers })
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new ServerError({ code: 'ERR_OFFLINE', message: 'The server does not answer', retriable: true }, 0)
  }
  if (!response.ok) throw await errorOf(response)
  return response
}

async function ask<T>(path: string, body?: unknown, init: RequestInit = {}): Promise<T> {
  const sent = body === undefined ? init : { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' }, ...init }
  return (await (await request(path, sent)).json()) as T
}

const root = '/latent/v1'
const job = (id: string) => `${root}/jobs/${encodeURIComponent(id)}`

export const api = {
  server: () => ask<ServerInfo>(`${root}/server`),
  models: async () => (await ask<{ models: Model[] }>(`${root}/models`)).models,
  model: (name: string) => ask<ModelDetails>(`${root}/models/${encodeURIComponent(name)}`),
  tokenize: (model: string, prompt: string, signal: AbortSignal) => ask<TokenizeResult>(`${root}/tokenize`, { model, prompt }, { signal }),
  estimate: (what: EstimateRequest, signal: AbortSignal) => ask<EstimateResult>(`${root}/estimate`, what, { signal }),
  job: (id: string) => ask<Job>(job(id)),
  move: (id: string, position: number) =>
    ask<Job>(job(id), undefined, { method: 'PATCH', body: JSON.stringify({ position }), headers: { 'content-type': 'application/json' } }),
  remove: async (id: string) => void (await request(job(id), { method: 'DELETE' })),
  eventsOf: (id: string) => `${job(id)}/events`,
  statusEvents: `${root}/events`,
  picture: async (url: string) => (await request(url)).blob(),
  /** `key`: identifies a repeated request whose answer was lost. `files`: PNG by the name of its option. */
  submit(options: JobOptions, key: string, files: Partial<Record<'image' | 'mask' | 'depthMap', Blob>>): Promise<Job> {
    const headers = { 'idempotency-key': key }
    const given = Object.entries(files).filter(([, file]) => file !== undefined)
    if (given.length === 0) return ask(`${root}/jobs`, options, { headers: { ...headers, 'content-type': 'application/json' } })
    const form = new FormData()
    form.set('request', JSON.stringify(options))
    for (const [name, file] of given) form.set(name, file, `${name}.png`)
    return ask(`${root}/jobs`, undefined, { method: 'POST', body: form, headers })
  },
}
