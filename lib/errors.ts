/** The errors that this package throws. What an option may not be is said with TypeError and RangeError (`code: 'ERR_INVALID_ARG'`); everything else is a DiffusionError. */

import type { WeightType } from './types.js'

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
  | 'ERR_DOWNLOAD'
  | 'ERR_ENGINE_EXITED'
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

/** Options that a picture would fit in memory with, as planned by the engine ({@link OutOfMemoryError}). */
export interface MemoryPlan {
  /** Pixels. */
  width: number
  height: number
  /** `memory`, or `memory.mode` beside a bound, when the model is loaded. */
  memory: 'auto' | 'fast' | 'low'
  /** `dtype` when the model is loaded; absent: as it was. */
  dtype?: WeightType
  /** 1, where guidance would have to go; absent: as it was. */
  guidanceScale?: number
  /** 1, with `guidanceScale`, where the model edits a picture. */
  imageGuidanceScale?: number
  /** Bytes of the highest stage, weights included. */
  peakBytes: number
}

/**
 * Memory that could not be had, or would not fit the bound the caller set (`ERR_OUT_OF_MEMORY`). Where loading, `estimateMemory()`, `generate()`,
 * `sample()`, `predict()`, `decode()`, `encodeImage()` or codes are refused, it names what fits: a single call needs its own stage only.
 */
export class OutOfMemoryError extends DiffusionError {
  override name = 'OutOfMemoryError'
  /** Bytes that what was refused needs, where known. */
  readonly required: number | undefined
  /** Bytes that there are, or that the bound allows. */
  readonly available: number | undefined
  /** The first of `plans`. */
  readonly nearest: MemoryPlan | undefined
  /**
   * What fits: `memory: 'low'`, which makes the same picture; the largest size of the same shape; a smaller weight type; no guidance; several of them where one is
   * not enough. Empty where nothing fits, or nothing was looked for.
   */
  readonly plans: readonly MemoryPlan[]
  /** Where nothing fits: what takes the fewest bytes. */
  readonly least: MemoryPlan | undefined

  constructor(message: string, details: Readonly<Record<string, unknown>> = {}, options?: ErrorOptions) {
    super('ERR_OUT_OF_MEMORY', message, details, options)
    const bytes = (value: unknown) => (typeof value === 'number' ? value : undefined)
    this.required = bytes(details.required)
    this.available = bytes(details.available)
    this.nearest = details.nearest as MemoryPlan | undefined
    this.plans = (details.plans ?? []) as readonly MemoryPlan[]
    this.least = details.least as MemoryPlan | undefined
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

/**
 * The engine's process or thread ended while it had a job (`ERR_ENGINE_EXITED`): a crash of native code, a kill, too little memory. `details` has `exitCode`, `signal`
 * and the end of what it wrote to stderr. See {@link DiffusionHost}.
 */
export class EngineExitedError extends DiffusionError {
  override name = 'EngineExitedError'
  /** True where the same job may succeed on the engine that is started next; false where none can be started. */
  readonly retriable: boolean

  constructor(message: string, details: Readonly<Record<string, unknown>> & { retriable: boolean }, options?: ErrorOptions) {
    super('ERR_ENGINE_EXITED', message, details, options)
    this.retriable = details.retriable
  }
}
