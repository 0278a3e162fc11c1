/** Errors of finding and downloading models. */
import { DiffusionError } from '../errors.js'

/** The reason of a failed download: {@link DownloadError.reason}. */
export type DownloadReason =
  /** Files are missing and downloads are disabled. */
  | 'offline'
  /** The repository, revision, version or file does not exist or is private. */
  | 'not_found'
  /** The token is missing, wrong or may not read the model. */
  | 'unauthorized'
  /** You have to accept the licence or buy access on the model's page. */
  | 'gated'
  | 'rate_limited'
  | 'network'
  /** The server did not answer, or the transfer stopped. */
  | 'timeout'
  /** An unexpected answer: wrong sizes, a web page, a redirect loop, unsafe names. */
  | 'bad_answer'
  /** A file does not match the hash that the hub publishes. */
  | 'integrity'
  | 'disk_space'
  /** The source has no supported model file, or several. */
  | 'choice'
  /** The file is a pickle and `allowPickle` is not set. */
  | 'pickle'

export interface DownloadDetails {
  /** The model source, such as `hf:owner/name`. */
  source?: string
  /** Path of the file inside the repository. */
  file?: string
  /** HTTP status. */
  status?: number
  /** Without the query, which may contain signatures. */
  url?: string
  /** Seconds to wait before trying again, if the server sent them. */
  retryAfter?: number
  [detail: string]: unknown
}

/** A model could not be downloaded, or its files are damaged (`ERR_DOWNLOAD`). */
export class DownloadError extends DiffusionError {
  override name = 'DownloadError'
  readonly reason: DownloadReason
  /** Whether the same call may succeed later. Downloaded data is kept. */
  readonly retriable: boolean
  declare readonly details: Readonly<DownloadDetails>

  constructor(reason: DownloadReason, message: string, details: DownloadDetails = {}, options: ErrorOptions & { retriable?: boolean } = {}) {
    super('ERR_DOWNLOAD', message, { reason, ...details }, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.retriable = options.retriable ?? ['rate_limited', 'network', 'timeout'].includes(reason)
  }
}

/** Adds the model and the file to an error of the transport, which does not know them. */
export function about(error: unknown, details: DownloadDetails): unknown {
  if (!(error instanceof DownloadError)) return error
  const { source, file } = { ...details, ...error.details }
  const where = [source, file].filter(Boolean).join(' ')
  const message = where === '' || error.details.source !== undefined ? error.message : `${where}: ${error.message}`
  return new DownloadError(error.reason, message, { ...details, ...error.details }, { cause: error.cause, retriable: error.retriable })
}

/** Converts a file system error; a full disk gets its own message. */
export function fileError(cause: unknown, path: string): unknown {
  const { code, message, syscall } = cause as NodeJS.ErrnoException
  if (syscall === undefined) return cause
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new DownloadError(
      'disk_space',
      `The disk is full: ${path} cannot be written. Free some space and try again; downloaded data is kept`,
      { path },
      { cause },
    )
  return new DiffusionError('ERR_IO', `${path} cannot be written: ${message}`, { path }, { cause })
}
