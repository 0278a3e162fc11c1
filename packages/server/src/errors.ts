/** What goes wrong, as HTTP says it. A fault that the same request would meet again is never a 5xx: clients try those again by themselves. */
import path from 'node:path'
import type { ApiError } from './protocol.js'

/** An error with a status of its own. */
export class HttpError extends Error {
  readonly statusCode: number
  readonly code: string
  readonly retryAfter: number | undefined
  /** The field of the request that is wrong. */
  readonly param: string | undefined

  constructor(statusCode: number, code: string, message: string, { retryAfter, param }: { retryAfter?: number; param?: string } = {}) {
    super(message)
    this.statusCode = statusCode
    this.code = code
    this.retryAfter = retryAfter
    this.param = param
  }
}

export function invalid(message: string, param?: string): HttpError {
  return new HttpError(400, 'ERR_INVALID_ARG', message, param === undefined ? {} : { param })
}

export function notFound(message: string, param?: string): HttpError {
  return new HttpError(404, 'ERR_NOT_FOUND', message, param === undefined ? {} : { param })
}

export function busy(message: string, retryAfter: number): HttpError {
  return new HttpError(429, 'ERR_BUSY', message, { retryAfter })
}

export function closing(): HttpError {
  return new HttpError(503, 'ERR_CLOSING', 'The server is shutting down', { retryAfter: 30 })
}

/** The reason of a job that was ended by request. */
export function cancelled(message = 'The job was cancelled'): HttpError {
  return new HttpError(409, 'ERR_CANCELLED', message)
}

const statuses: Readonly<Record<string, number>> = {
  ERR_INVALID_ARG: 400,
  ERR_IMAGE_FORMAT: 400,
  ERR_UNSUPPORTED_IMAGE: 400,
  ERR_UNSUPPORTED_MODEL: 400,
  ERR_MODEL_FORMAT: 422,
  ERR_OUT_OF_MEMORY: 422,
  ERR_IO: 422,
  ERR_DOWNLOAD: 422,
  ERR_DEVICE: 422,
  ERR_BINARY_NOT_FOUND: 422,
  ERR_BUSY: 429,
  ERR_DISPOSED: 503,
}

/** An error as an answer. */
export interface Answer {
  status: number
  error: ApiError
  /** Seconds. */
  retryAfter?: number
  param?: string
  /** For the log of the server, where clients are not told everything. */
  log?: string
}

/** Fastify's own errors of requests that it does not take. */
const fastifyCodes: Readonly<Record<number, string>> = {
  400: 'ERR_INVALID_ARG',
  404: 'ERR_NOT_FOUND',
  405: 'ERR_METHOD',
  406: 'ERR_ACCEPT',
  413: 'ERR_TOO_LARGE',
  414: 'ERR_TOO_LARGE',
  415: 'ERR_MEDIA_TYPE',
}

/** Details that name files of this computer, or hold what the engine printed, stay here. */
const hidden = ['path', 'stderr', 'cause', 'tried']

/** The last part of a path of any system. */
const baseOf = (file: string) => path.posix.basename(file.replaceAll('\\', '/'))

const quoted = /(["'`])((?:[A-Za-z]:)?[\\/][^"'`\n]*|[^"'`\n:]*[\\/][^"'`\n]*\.\w{1,12})\1/g
const bare = /(?<![\w.:/\\])(?:file:\/\/)?(?:[A-Za-z]:)?(?:[\\/]+[^\s"'`<>|:;,()\\/]+)+[\\/]?/g

/** Of a message: the patterns below take long for texts that are made for it. */
const longestMessage = 2000

/** A message of the library, in which files are named without the folders of this computer. */
export function withoutFolders(message: string, details?: unknown): string {
  const { path: own } = (typeof details === 'object' && details !== null ? details : {}) as { path?: unknown }
  // Told first: without quotes around it, a path with a space in it looks like two.
  const named = typeof own === 'string' && own !== '' ? message.replaceAll(own, baseOf(own)) : message
  return named
    .slice(0, longestMessage)
    .replace(quoted, (_, mark: string, file: string) => mark + baseOf(file) + mark)
    .replace(bare, (file) => baseOf(file))
}

function plainDetails(details: unknown): Record<string, unknown> | undefined {
  if (typeof details !== 'object' || details === null) return undefined
  const kept = Object.entries(details)
    .filter(([key]) => !hidden.includes(key))
    .map(([key, value]): [string, unknown] => [key, typeof value === 'string' ? withoutFolders(value, details) : value])
  return kept.length > 0 ? Object.fromEntries(kept) : undefined
}

function isAbort(name: unknown): boolean {
  return name === 'AbortError' || name === 'TimeoutError'
}

export function toAnswer(thrown: unknown): Answer {
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Readonly<Record<string, unknown>>
  const { name, code, statusCode, message, details, retryAfter, param } = error
  const known = typeof code === 'string' && Object.hasOwn(statuses, code) ? statuses[code] : undefined
  const own = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 600 ? statusCode : undefined
  const status = own ?? known ?? (isAbort(name) ? 409 : 500)
  const unexpected = status === 500
  const ownCode = typeof code === 'string' && code.startsWith('ERR_') ? code : undefined
  const plain = plainDetails(details)
  const whole = typeof message === 'string' && message !== '' ? message : String(thrown)
  // What this server and fastify say themselves names no files.
  const said = own === undefined ? withoutFolders(whole, details) : whole
  const log = unexpected ? String(error.stack ?? thrown) : said === whole ? undefined : whole
  return {
    status,
    ...(log === undefined ? {} : { log }),
    error: {
      code: ownCode ?? (isAbort(name) ? 'ERR_CANCELLED' : (fastifyCodes[status] ?? (status < 500 ? 'ERR_REQUEST' : 'ERR_INTERNAL'))),
      // What nobody foresaw may hold anything; an engine's last words are for the log.
      message: unexpected && code !== 'ERR_ENGINE_EXITED' ? 'Internal error; see the server log' : said.split('\n', 1)[0]!,
      retriable: status === 429 || status === 503 || (error.retriable ?? (details as { retriable?: unknown } | undefined)?.retriable) === true,
      ...(plain ? { details: plain } : {}),
    },
    ...(status === 429 || status === 503 ? { retryAfter: typeof retryAfter === 'number' ? retryAfter : 5 } : {}),
    ...(typeof param === 'string' ? { param } : {}),
  }
}
