/** Errors of the queue, and errors of jobs on their way through Redis. */

/** An error with a stable code. */
export class QueueError extends Error {
  override name = 'QueueError'
  readonly code: QueueErrorCode
  /** Whether the same call may succeed later. */
  readonly retriable: boolean
  /** The HTTP status of an object store that refuses. */
  readonly status?: number

  constructor(
    code: QueueErrorCode,
    message: string,
    { retriable = false, status, ...options }: ErrorOptions & { retriable?: boolean; status?: number } = {},
  ) {
    super(message, options)
    this.code = code
    this.retriable = retriable
    if (status !== undefined) this.status = status
  }
}

/**
 * - `ERR_QUEUE`: Redis does not answer, or what it holds is not a job of this version.
 * - `ERR_STORE`: the object store cannot be read or written.
 * - `ERR_OBJECT_MISSING`: the store does not have this object, or its contents are damaged.
 * - `ERR_CANCELLED`: the job was cancelled.
 * - `ERR_WORKER_LOST`: the workers that ran the job were lost, more often than allowed.
 * - `ERR_IDEMPOTENCY`: the key was used with another request.
 * - `ERR_STATE`: the job is in another state than the call needs.
 */
export type QueueErrorCode = 'ERR_QUEUE' | 'ERR_STORE' | 'ERR_OBJECT_MISSING' | 'ERR_CANCELLED' | 'ERR_WORKER_LOST' | 'ERR_IDEMPOTENCY' | 'ERR_STATE'

/** The error of a job that failed on a worker. It has the code, the message and the details of the error there. */
export class JobFailedError extends Error {
  override name = 'JobFailedError'
  readonly code: string
  readonly retriable: boolean
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, retriable: boolean, details: Readonly<Record<string, unknown>>) {
    super(message)
    this.code = code
    this.retriable = retriable
    this.details = details
  }
}

export function cancelled(message = 'The job was cancelled'): QueueError {
  return new QueueError('ERR_CANCELLED', message)
}

/** Details that are of use only on the worker: paths, and the engine's last output. */
const hidden = ['path', 'stderr', 'cause', 'tried']
const longest = 2000

interface PlainError {
  code: string
  message: string
  retriable: boolean
  details: Record<string, unknown>
}

const fieldsOf = (thrown: unknown) => (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Readonly<Record<string, unknown>>

/** Numbers, texts and lists of them; others are left out. */
function plainDetails(details: unknown): Record<string, unknown> {
  const kept = Object.entries(fieldsOf(details)).filter(([key]) => !hidden.includes(key))
  try {
    const text = JSON.stringify(Object.fromEntries(kept), (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
    return text.length <= 4 * longest ? (JSON.parse(text) as Record<string, unknown>) : {}
  } catch {
    return {} // cyclic
  }
}

/** Whether another try may succeed: the engine was lost, or something outside of the request failed. */
export function isRetriable(thrown: unknown): boolean {
  const { code, retriable } = fieldsOf(thrown)
  return retriable === true || code === 'ERR_BUSY' || code === 'ERR_DISPOSED'
}

/** An error as the text that BullMQ keeps with a failed job. */
export function encodeError(thrown: unknown): string {
  const { code, message, details } = fieldsOf(thrown)
  const plain: PlainError = {
    code: typeof code === 'string' ? code : 'ERR_INTERNAL',
    message: (typeof message === 'string' ? message : String(thrown)).slice(0, longest),
    retriable: isRetriable(thrown),
    details: plainDetails(details),
  }
  return JSON.stringify(plain)
}

/** The error of a failed job: of {@link encodeError}, or a text of BullMQ. */
export function decodeError(text: string): QueueError | JobFailedError {
  let given: Partial<PlainError> = {}
  try {
    given = fieldsOf(JSON.parse(text))
  } catch {
    // said below
  }
  const { code, message, retriable, details } = given
  if (code === 'ERR_CANCELLED') return cancelled(typeof message === 'string' ? message : undefined)
  if (typeof code === 'string' && typeof message === 'string') return new JobFailedError(code, message, retriable === true, fieldsOf(details))
  if (/stalled|started more/.test(text))
    return new QueueError('ERR_WORKER_LOST', 'Every worker that took this job was lost before it had finished', { retriable: false })
  return new QueueError('ERR_QUEUE', `The job failed: ${text.slice(0, longest)}`)
}
