/** Primitives for checking options. Every rejection is a TypeError or RangeError with `code: 'ERR_INVALID_ARG'` that names the option, the given value and what is allowed. */

import { fileURLToPath } from 'node:url'
import { findSliced } from '../files/time-slice.js'
import { nearestName } from './suggest.js'

type Coded<T extends Error> = T & { code: 'ERR_INVALID_ARG' }

/** A value of the wrong type or an unknown name. */
export function invalidType(message: string): Coded<TypeError> {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG' as const })
}

/** A value of the right type outside what is allowed. */
export function invalidRange(message: string): Coded<RangeError> {
  return Object.assign(new RangeError(message), { code: 'ERR_INVALID_ARG' as const })
}

/** A short rendering of a value for messages. */
export function show(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 57)}...'` : `'${value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value !== 'object') return typeof value === 'function' ? 'a function' : String(value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  const name: unknown = (value.constructor as { name?: unknown } | undefined)?.name
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `an instance of ${name}` : 'an object'
}

function hint(given: string, known: readonly string[]): string {
  const near = nearestName(given, known)
  return near ? ` Did you mean '${near}'?` : ` Known names: ${known.join(', ')}.`
}

/** Fails unless `value` is an object with no other keys than `known`; undefined counts as an empty object. */
export function knownKeys(
  value: unknown,
  where: string,
  known: readonly string[],
  refused: Readonly<Record<string, string>> = {},
): Record<string, unknown> {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object' || Array.isArray(value) || ArrayBuffer.isView(value))
    throw invalidType(`${where} takes an options object, not ${show(value)}`)
  const object = value as Record<string, unknown>
  for (const key of Object.keys(object)) {
    if (known.includes(key) || object[key] === undefined) continue
    const refusal = refused[key]
    if (refusal !== undefined) throw invalidType(`${where}: option '${key}' ${refusal}`)
    throw invalidType(`${where}: unknown option '${key}'.${hint(key, known)}`)
  }
  return snapshot(object, known)
}

/** The values of an object, each read once, so that the checked value is the one used even if a getter returns different ones. */
function snapshot(object: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const key of keys) {
    const value = object[key]
    if (value !== undefined) values[key] = value
  }
  return values
}

/** The entries of an array, each read once; the holes of a sparse one are undefined. Fails for more than `max` entries before reading any. */
export function listOf(value: ArrayLike<unknown>, name: string, max: number): unknown[] {
  const { length } = value
  if (length > max) throw invalidRange(`${name} has ${length} entries; at most ${max} are allowed`)
  return Array.from({ length }, (_, i) => value[i])
}

/** Bounds of a number option. */
export interface Bounds {
  min: number
  max: number
}

export function checkNumber(value: unknown, name: string, { min, max }: Bounds): number {
  if (typeof value !== 'number' || Number.isNaN(value)) throw invalidType(`${name} must be a number, not ${show(value)}`)
  if (value < min || value > max) throw invalidRange(`${name} must be between ${min} and ${max}, not ${value}`)
  return value
}

export function checkInteger(value: unknown, name: string, bounds: Bounds): number {
  const number = checkNumber(value, name, bounds)
  if (!Number.isInteger(number)) throw invalidRange(`${name} must be a whole number, not ${number}`)
  return number
}

export function checkString(value: unknown, name: string, maxLength = 1_000_000): string {
  if (typeof value !== 'string') throw invalidType(`${name} must be a string, not ${show(value)}`)
  if (value.length > maxLength) throw invalidRange(`${name} has ${value.length} characters; at most ${maxLength} are allowed`)
  return value
}

export function checkBoolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw invalidType(`${name} must be true or false, not ${show(value)}`)
  return value
}

export function checkFunction<F>(value: unknown, name: string): F {
  if (typeof value !== 'function') throw invalidType(`${name} must be a function, not ${show(value)}`)
  return value as F
}

/** One of `names`; for other words the message suggests the nearest. */
export function checkName<T extends string>(value: unknown, name: string, names: readonly T[]): T {
  if (typeof value !== 'string') throw invalidType(`${name} must be one of ${names.map((n) => `'${n}'`).join(', ')}, not ${show(value)}`)
  if ((names as readonly string[]).includes(value)) return value as T
  throw invalidRange(`${name}: unknown name ${show(value)}.${hint(value, names)}`)
}

const seedLimit = 1n << 64n

/** A seed as bigint, 0 to 2^64-1. */
export function checkSeed(value: unknown, name: string): bigint {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw invalidRange(`${name} must be a whole number (up to 2^53-1; use a bigint for larger ones), not ${value}`)
    value = BigInt(value)
  }
  if (typeof value !== 'bigint') throw invalidType(`${name} must be a number or a bigint, not ${show(value)}`)
  if (value < 0n || value >= seedLimit) throw invalidRange(`${name} must be between 0 and 2^64-1, not ${value}; leave it out for a random seed`)
  return value
}

export function checkSignal(value: unknown, name: string): AbortSignal {
  const signal = value as AbortSignal | null
  // Not instanceof: jest and worker realms have their own AbortSignal.
  if (
    signal === null ||
    typeof signal !== 'object' ||
    typeof signal.aborted !== 'boolean' ||
    !['addEventListener', 'removeEventListener', 'throwIfAborted'].every(
      (name) => typeof (signal as unknown as Record<string, unknown>)[name] === 'function',
    )
  ) {
    throw invalidType(`${name} must be an AbortSignal, not ${show(value)}`)
  }
  return signal
}

/** True for a URL of any realm. */
export function isUrl(value: unknown): value is URL {
  return Object.prototype.toString.call(value) === '[object URL]' && typeof (value as URL).href === 'string'
}

/** The path behind a `file:` URL. */
export function fileUrlToPath(url: string, name: string): string {
  let file: string
  try {
    file = fileURLToPath(url)
  } catch (error) {
    throw invalidRange(`${name}: ${show(url)} is not the URL of a file on this machine: ${(error as Error).message}`)
  }
  return checkPath(file, name)
}

/** A path that can be passed to the system. */
export function checkPath(file: string, name: string): string {
  if (file === '') throw invalidRange(`${name} is an empty string; a path is expected`)
  if (file.includes('\0')) throw invalidRange(`${name} is not a path: it contains a NUL character`)
  return file
}

function isArrayOf(value: unknown, ...names: string[]): boolean {
  return ArrayBuffer.isView(value) && names.includes(Object.prototype.toString.call(value).slice('[object '.length, -1))
}

/** True for a Float32Array of any realm. */
export function isFloat32Array(value: unknown): value is Float32Array {
  return isArrayOf(value, 'Float32Array')
}

/** True for an Int32Array of any realm. */
export function isInt32Array(value: unknown): value is Int32Array {
  return isArrayOf(value, 'Int32Array')
}

/** True for a Uint16Array of any realm. */
export function isUint16Array(value: unknown): value is Uint16Array {
  return isArrayOf(value, 'Uint16Array')
}

/** True for bytes of any realm: a Uint8Array (a Buffer is one) or a Uint8ClampedArray. */
export function isBytes(value: unknown): value is Uint8Array {
  return isArrayOf(value, 'Uint8Array', 'Uint8ClampedArray')
}

/** Fails for NaN and infinities, with the position of the first; does not block the event loop. */
export async function checkFinite(data: Float32Array, name: string): Promise<Float32Array> {
  const at = await findSliced(data, (value) => !Number.isFinite(value))
  if (at >= 0) throw invalidType(`${name}[${at}] is ${data[at]}; all numbers must be finite`)
  return data
}

const maxRank = 32

/** A shape of `rank` positive sizes whose product is `elements`. */
export function checkShape(value: unknown, name: string, elements: number, rank?: number): number[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be an array of sizes, not ${show(value)}`)
  const shape = listOf(value, name, maxRank).map((size, i) => checkInteger(size, `${name}[${i}]`, { min: 1, max: 2 ** 31 - 1 }))
  if (rank !== undefined && shape.length !== rank) throw invalidRange(`${name} must have ${rank} sizes, not ${shape.length}`)
  const product = shape.reduce((a, b) => a * b, 1)
  if (product !== elements) throw invalidRange(`${name} [${shape.join(', ')}] describes ${product} values, but the data has ${elements}`)
  return shape
}

/** Entries of one array in plain data. */
const maxEntries = 100_000

/** A copy of an object as plain JSON data, so that what is passed to the engine is what was checked. */
export function plainObject(value: unknown, name: string): Record<string, unknown> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw invalidType(`${name} must be an object, not ${show(value)}`)
  const bounded = (_: string, one: unknown) => {
    if (Array.isArray(one) && one.length > maxEntries)
      throw invalidRange(`${name} has a list of ${one.length} entries; at most ${maxEntries} are allowed`)
    return one
  }
  try {
    const copy: unknown = JSON.parse(JSON.stringify(value, bounded) ?? 'null')
    if (copy === null || typeof copy !== 'object') throw invalidType(`${name} must be an object of plain data`)
    return copy as Record<string, unknown>
  } catch (error) {
    if (error instanceof TypeError && !('code' in error)) throw invalidType(`${name} must be plain data: ${error.message}`)
    throw error
  }
}
