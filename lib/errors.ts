/** The errors that this package throws. What an option may not be is said with TypeError and RangeError (`code: 'ERR_INVALID_ARG'`); everything else is a DiffusionError. */

/** Codes of {@link DiffusionError}. */
export type DiffusionErrorCode =
  | 'ERR_MODEL_FORMAT'
  | 'ERR_UNSUPPORTED_MODEL'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DEVICE'
  | 'ERR_IO'
  | 'ERR_ABORTED'
  | 'ERR_DISPOSED'
  | 'ERR_BUSY'
  | 'ERR_BINARY_NOT_FOUND'
  | 'ERR_INTERNAL'
  | (string & {})

/** Base class of this package's errors. `code` is stable and meant for programs, `message` for people, `details` holds the numbers and names behind the message. */
export class DiffusionError extends Error {
  override name = 'DiffusionError'
  readonly code: DiffusionErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: DiffusionErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.details = details
  }
}

/** A file that is broken, truncated, unsafe or not a model (`ERR_MODEL_FORMAT`). */
export class ModelFormatError extends DiffusionError {
  override name = 'ModelFormatError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_MODEL_FORMAT', message, details, options)
  }
}

/** A sound file of a kind that this engine does not run (`ERR_UNSUPPORTED_MODEL`). */
export class UnsupportedModelError extends DiffusionError {
  override name = 'UnsupportedModelError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_UNSUPPORTED_MODEL', message, details, options)
  }
}

/** Memory that could not be had, or would not fit the bound the caller set (`ERR_OUT_OF_MEMORY`). */
export class OutOfMemoryError extends DiffusionError {
  override name = 'OutOfMemoryError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_OUT_OF_MEMORY', message, details, options)
  }
}

/** A missing device, a failed backend, or a processor below what the binary needs (`ERR_DEVICE`). */
export class DeviceError extends DiffusionError {
  override name = 'DeviceError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_DEVICE', message, details, options)
  }
}

/** Use of an object after its `dispose()`, or after that of the pipeline it came from (`ERR_DISPOSED`). */
export class DisposedError extends DiffusionError {
  override name = 'DisposedError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_DISPOSED', message, details, options)
  }
}

/** The native binary is missing or cannot be loaded here (`ERR_BINARY_NOT_FOUND`). `details.tried` lists the paths and what was wrong with each. */
export class BinaryNotFoundError extends DiffusionError {
  override name = 'BinaryNotFoundError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_BINARY_NOT_FOUND', message, details, options)
  }
}
