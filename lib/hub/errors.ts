/** What can go wrong between a model's name and its files. */
import { DiffusionError } from '../errors.js'

/** Why a download failed, for programs: {@link DownloadError.reason}. */
export type DownloadReason =
  /** Files are missing and downloads are switched off. */
  | 'offline'
  /** No such repository, revision, version or file, or a private one. */
  | 'not_found'
  /** A token is missing, wrong or without the right to read. */
  | 'unauthorized'
  /** The licence has to be accepted, or access to be bought, on the model's page. */
  | 'gated'
  | 'rate_limited'
  | 'network'
  /** No answer, or a body that stopped. */
  | 'timeout'
  /** An answer that is not what the hub's interface promises: sizes that differ, web pages, redirects in circles, unsafe names. */
  | 'bad_answer'
  /** Bytes that have not the hash that the hub publishes. */
  | 'integrity'
  | 'disk_space'
  /** Nothing, or more than one thing, that the loader could read. */
  | 'choice'
  /** A pickle file where none was asked for. */
  | 'pickle'

export interface DownloadDetails {
  /** The model as it was named, e.g. `hf:owner/name`. */
  source?: string
  /** Path of the file inside the repository. */
  file?: string
  /** HTTP status. */
  status?: number
  /** Without query, which may hold signatures. */
  url?: string
  /** Seconds after which the server wants to be asked again. */
  retryAfter?: number
  [detail: string]: unknown
}

/** A model that could not be fetched, or files of it that are not what they should be (`ERR_DOWNLOAD`). */
export class DownloadError extends DiffusionError {
  override name = 'DownloadError'
  readonly reason: DownloadReason
  /** True where the same call may succeed later: what has arrived is kept. */
  readonly retriable: boolean
  declare readonly details: Readonly<DownloadDetails>

  constructor(reason: DownloadReason, message: string, details: DownloadDetails = {}, options: ErrorOptions & { retriable?: boolean } = {}) {
    super('ERR_DOWNLOAD', message, { reason, ...details }, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.retriable = options.retriable ?? ['rate_limited', 'network', 'timeout'].includes(reason)
  }
}

/** Adds the model and the file to an error from the transport, which knows neither. */
export function about(error: unknown, details: DownloadDetails): unknown {
  if (!(error instanceof DownloadError)) return error
  const { source, file } = { ...details, ...error.details }
  const where = [source, file].filter(Boolean).join(' ')
  const message = where === '' || error.details.source !== undefined ? error.message : `${where}: ${error.message}`
  return new DownloadError(error.reason, message, { ...details, ...error.details }, { cause: error.cause, retriable: error.retriable })
}

/** A file system error as ours: a full disk is told apart. */
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
