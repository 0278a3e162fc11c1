/** The errors of this package. Invalid options throw TypeError or RangeError (`code: 'ERR_INVALID_ARG'`); everything else is a DiffusionError. */

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

/** Base class of this package's errors. `code` is stable; `details` has the numbers and names of the message. */
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

/** A file is damaged, truncated, unsafe or not a model (`ERR_MODEL_FORMAT`). */
export class ModelFormatError extends DiffusionError {
  override name = 'ModelFormatError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_MODEL_FORMAT', message, details, options)
  }
}

/** A valid file of an unsupported kind (`ERR_UNSUPPORTED_MODEL`). */
export class UnsupportedModelError extends DiffusionError {
  override name = 'UnsupportedModelError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_UNSUPPORTED_MODEL', message, details, options)
  }
}

/** Options with which an image fits in memory, as planned by the engine ({@link OutOfMemoryError}). */
export interface MemoryPlan {
  /** Pixels. */
  width: number
  height: number
  /** Load option `memory`, or `memory.mode` together with a limit. */
  memory: 'auto' | 'fast' | 'low'
  /** Load option `dtype`; absent: unchanged. */
  dtype?: WeightType
  /** 1 if guidance must be disabled; absent: unchanged. */
  guidanceScale?: number
  /** 1, together with `guidanceScale`, for editing models. */
  imageGuidanceScale?: number
  /** Bytes of the largest stage, including weights. */
  peakBytes: number
}

/**
 * Memory could not be allocated, or a limit would be exceeded (`ERR_OUT_OF_MEMORY`). For loading, `estimateMemory()`, `generate()`, `sample()`, `predict()`,
 * `decode()`, `encodeImage()` and codes, the error lists what fits.
 */
export class OutOfMemoryError extends DiffusionError {
  override name = 'OutOfMemoryError'
  /** Bytes needed, if known. */
  readonly required: number | undefined
  /** Bytes available, or the limit. */
  readonly available: number | undefined
  /** The first of `plans`. */
  readonly nearest: MemoryPlan | undefined
  /**
   * What fits: `memory: 'low'`, which gives the same image; the largest size with the same aspect ratio; a smaller weight type; no guidance; or several of these. Empty
   * if nothing fits or no search was made.
   */
  readonly plans: readonly MemoryPlan[]
  /** If nothing fits: the smallest plan. */
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

/** A missing device, a failed backend, or a processor that is too old for the binary (`ERR_DEVICE`). */
export class DeviceError extends DiffusionError {
  override name = 'DeviceError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_DEVICE', message, details, options)
  }
}

/** An object was used after its `dispose()`, or after that of its pipeline (`ERR_DISPOSED`). */
export class DisposedError extends DiffusionError {
  override name = 'DisposedError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_DISPOSED', message, details, options)
  }
}

/** The native binary is missing or cannot be loaded (`ERR_BINARY_NOT_FOUND`). `details.tried` lists each path and the reason. */
export class BinaryNotFoundError extends DiffusionError {
  override name = 'BinaryNotFoundError'
  constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions) {
    super('ERR_BINARY_NOT_FOUND', message, details, options)
  }
}

/**
 * The engine's process or thread ended during a job (`ERR_ENGINE_EXITED`): native code crashed, it was killed, or memory ran out. `details` has `exitCode`, `signal`
 * and its last output on stderr. See {@link DiffusionHost}.
 */
export class EngineExitedError extends DiffusionError {
  override name = 'EngineExitedError'
  /** Whether the job may succeed on a new engine; false if none can be started. */
  readonly retriable: boolean

  constructor(message: string, details: Readonly<Record<string, unknown>> & { retriable: boolean }, options?: ErrorOptions) {
    super('ERR_ENGINE_EXITED', message, details, options)
    this.retriable = details.retriable
  }
}
