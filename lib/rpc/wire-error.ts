/** Errors between an engine and its host; they arrive as instances of their class. */
import {
  BinaryNotFoundError,
  DeviceError,
  DiffusionError,
  DisposedError,
  ModelFormatError,
  OutOfMemoryError,
  UnsupportedModelError,
} from '../errors.js'
import { DownloadError, type DownloadReason } from '../hub/errors.js'

/** An error as plain data. */
export interface WireError {
  name: string
  message: string
  code?: string
  details?: Record<string, unknown>
  /** Stack frames of the engine's side. */
  stack?: string
}

const maxText = 100_000

function cloneable(details: unknown): Record<string, unknown> | undefined {
  try {
    return structuredClone(details) as Record<string, unknown> | undefined
  } catch {
    return undefined
  }
}

/** An error, or any other thrown value, as plain data. */
export function encodeError(error: unknown): WireError {
  // Checks fields, because an error of another realm (node:vm) is not an instance of this realm's Error.
  const { name, message, code, details, stack } = (typeof error === 'object' && error !== null ? error : {}) as Readonly<Record<string, unknown>>
  if (typeof name !== 'string' || typeof message !== 'string') return { name: 'Error', message: String(error).slice(0, maxText) }
  const plain = cloneable(details)
  return {
    name,
    message: message.slice(0, maxText),
    ...(typeof code === 'string' ? { code } : {}),
    ...(plain ? { details: plain } : {}),
    ...(typeof stack === 'string' ? { stack: stack.slice(0, maxText) } : {}),
  }
}

type Details = Readonly<Record<string, unknown>>

const classes: Readonly<Record<string, new (message: string, details?: Details) => DiffusionError>> = {
  ERR_MODEL_FORMAT: ModelFormatError,
  ERR_UNSUPPORTED_MODEL: UnsupportedModelError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_DEVICE: DeviceError,
  ERR_DISPOSED: DisposedError,
  ERR_BINARY_NOT_FOUND: BinaryNotFoundError,
}

function rebuild({ name, message, code, details = {} }: WireError): Error {
  const builtIn = name === 'TypeError' ? TypeError : name === 'RangeError' ? RangeError : undefined
  if (builtIn) return code === undefined ? new builtIn(message) : Object.assign(new builtIn(message), { code, details })
  if (code === 'ERR_DOWNLOAD') {
    const { reason, ...rest } = details
    return new DownloadError(reason as DownloadReason, message, rest)
  }
  if (code !== undefined && Object.hasOwn(classes, code)) return new classes[code]!(message, details)
  if (name === 'DiffusionError') return new DiffusionError(code ?? 'ERR_INTERNAL', message, details)
  return Object.assign(new Error(message), name === 'Error' ? {} : { name }, code === undefined ? {} : { code })
}

/** Restores an error from plain data. Its stack shows where it happened in the engine. */
export function decodeError(wire: WireError): Error {
  const error = rebuild(wire)
  if (wire.stack !== undefined) error.stack = wire.stack
  return error
}
