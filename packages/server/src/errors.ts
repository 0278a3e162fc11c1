/** HTTP errors. An error that the same request would meet again is never a 5xx, because clients retry those automatically. */
import type { FastifySchemaValidationError } from 'fastify'
import path from 'node:path'
import type { ApiError } from './protocol.js'

/** An error with an HTTP status. */
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

/** The error of a job that was cancelled by request. */
export function cancelled(message = 'The job was cancelled'): HttpError {
  return new HttpError(409, 'ERR_CANCELLED', message)
}

/** The first error of a JSON Schema, with the field or the allowed values that ajv's own message leaves out. */
export function schemaError([error]: readonly Pick<FastifySchemaValidationError, 'instancePath' | 'message' | 'params'>[], part: string): Error {
  const { instancePath = '', message = 'is invalid', params = {} } = error ?? {}
  const place = instancePath.slice(1, 200).replaceAll('/', '.')
  const { additionalProperty: unknown, allowedValues: allowed } = params
  if (typeof unknown === 'string')
    return new Error(`There is no option ${JSON.stringify(unknown.slice(0, 100))}${place === '' ? '' : ` in ${place}`}`)
  const subject = place === '' ? part : place
  return new Error(`${subject} ${Array.isArray(allowed) ? `must be one of ${allowed.join(', ')}` : message}`)
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
  // Of a queue on Redis.
  ERR_QUEUE: 503,
  ERR_STORE: 503,
  ERR_OBJECT_MISSING: 422,
  ERR_WORKER_LOST: 422,
  ERR_CANCELLED: 409,
  ERR_IDEMPOTENCY: 409,
  ERR_STATE: 409,
}

/** An error response. */
export interface Answer {
  status: number
  error: ApiError
  /** Seconds. */
  retryAfter?: number
  param?: string
  /** For the server's log, if the client does not get all details. */
  log?: string
}

/** Fastify's errors for rejected requests. */
const fastifyCodes: Readonly<Record<number, string>> = {
  400: 'ERR_INVALID_ARG',
  404: 'ERR_NOT_FOUND',
  405: 'ERR_METHOD',
  406: 'ERR_ACCEPT',
  413: 'ERR_TOO_LARGE',
  414: 'ERR_TOO_LARGE',
  415: 'ERR_MEDIA_TYPE',
}

/** Details with local paths or the engine's output are not sent to clients. */
const hidden = ['path', 'stderr', 'cause', 'tried']

/** The last component of a path of any system. */
const baseOf = (file: string) => path.posix.basename(file.replaceAll('\\', '/'))

const quoted = /(["'`])((?:[A-Za-z]:)?[\\/][^"'`\n]*|[^"'`\n:]*[\\/][^"'`\n]*\.\w{1,12})\1/g
const bare = /(?<![\w.:/\\])(?:file:\/\/)?(?:[A-Za-z]:)?(?:[\\/]+[^\s"'`<>|:;,()\\/]+)+[\\/]?/g

/** Maximum length of a message, because the patterns below can be slow for crafted texts. */
const longestMessage = 2000

/** A message of the library, with local paths reduced to file names. */
export function withoutFolders(message: string, details?: unknown): string {
  const { path: own } = (typeof details === 'object' && details !== null ? details : {}) as { path?: unknown }
  // Replaced first, because an unquoted path with a space looks like two.
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
  // Messages of this server and of fastify contain no paths.
  const said = own === undefined ? withoutFolders(whole, details) : whole
  const log = unexpected ? String(error.stack ?? thrown) : said === whole ? undefined : whole
  return {
    status,
    ...(log === undefined ? {} : { log }),
    error: {
      code: ownCode ?? (isAbort(name) ? 'ERR_CANCELLED' : (fastifyCodes[status] ?? (status < 500 ? 'ERR_REQUEST' : 'ERR_INTERNAL'))),
      // Unexpected errors may contain anything; an engine's last output is for the log.
      message: unexpected && code !== 'ERR_ENGINE_EXITED' ? 'Internal error; see the server log' : said.split('\n', 1)[0]!,
      retriable: status === 429 || status === 503 || (error.retriable ?? (details as { retriable?: unknown } | undefined)?.retriable) === true,
      ...(plain ? { details: plain } : {}),
    },
    ...(status === 429 || status === 503 ? { retryAfter: typeof retryAfter === 'number' ? retryAfter : 5 } : {}),
    ...(typeof param === 'string' ? { param } : {}),
  }
}
