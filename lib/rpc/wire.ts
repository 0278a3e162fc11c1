/** Values between a host and its engine: those that structured cloning preserves, and images, which it would turn into plain objects. */
import { RawImage } from '../image/raw-image.js'
import { invalidRange, invalidType, isUrl, listOf, show } from '../options/validate.js'

/** An encoded value. */
export type Wire = unknown

/** Marks encoded objects. */
const tag = '$latent'

const maxDepth = 16

/** Maximum entries of a list that is not a typed array. */
const maxEntries = 100_000

/** A value that is not sent because the other side has it: an input among the resolved options. */
const same = { [tag]: 'same' }

function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value)
  // An object of another realm (node:vm, jest) has a different Object.prototype, whose own prototype is null.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Cloning would send the whole buffer of a view, even a pooled one. */
function ownBytes(view: NodeJS.TypedArray, copy: boolean): NodeJS.TypedArray {
  // An array with a transferred buffer is empty and can be neither cloned nor copied.
  if (view.length === 0) return new (view.constructor as new () => NodeJS.TypedArray)()
  const isWhole = view.byteLength === view.buffer.byteLength && !Buffer.isBuffer(view)
  if (isWhole && !copy) return view
  return Buffer.isBuffer(view) ? new Uint8Array(view) : view.slice()
}

/** Options of `encode()`. */
interface Encoding {
  /** Copy all arrays, because the caller may change them before they are sent. */
  copy?: boolean
}

/**
 * Encodes a value; `name` is for messages.
 * @throws TypeError for functions, native handles and other objects that cannot leave their process
 */
export function encode(value: unknown, name: string, { copy = false }: Encoding = {}, depth = 0): Wire {
  const inner = (each: unknown, key: string) => encode(each, `${name}${key}`, { copy }, depth + 1)
  if (typeof value === 'function' || typeof value === 'symbol')
    throw invalidType(`${name} is a ${typeof value}, which cannot be sent to an engine in another process`)
  if (typeof value !== 'object' || value === null) return value
  if (depth > maxDepth) throw invalidRange(`${name} is nested more than ${maxDepth} deep`)
  if (value instanceof RawImage) {
    const { data, width, height, channels, metadata } = value
    return { [tag]: 'picture', data: ownBytes(data, copy), width, height, channels, metadata: { ...metadata } }
  }
  if (isUrl(value)) return value.href
  if (Array.isArray(value)) return listOf(value, name, maxEntries).map((each, i) => inner(each, `[${i}]`))
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return ownBytes(value as NodeJS.TypedArray, copy)
  if (!isPlain(value)) throw invalidType(`${name} is ${show(value)}, which cannot be sent to an engine in another process`)
  const entries = Object.entries(value).map(([key, each]) => [key, inner(each, `.${key}`)])
  const object = Object.fromEntries(entries) as Record<string, unknown>
  return tag in object ? { [tag]: 'object', entries } : object
}

/** `encode()` for the fields of an object; those identical to objects in `known` are not sent. */
export function encodeBeside(value: object, known: Readonly<Record<string, unknown>>, name: string): Wire {
  const fields = Object.entries(value as Record<string, unknown>)
  return Object.fromEntries(
    fields.map(([key, each]) => [key, typeof each === 'object' && each !== null && each === known[key] ? same : encode(each, `${name}.${key}`)]),
  )
}

function entriesOf(object: Record<string, unknown>): [string, unknown][] {
  if (object[tag] !== 'object') return Object.entries(object)
  const { entries } = object
  const isPair = (each: unknown) => Array.isArray(each) && each.length === 2 && typeof each[0] === 'string'
  const list = Array.isArray(entries) ? listOf(entries, 'a message', maxEntries) : undefined
  if (!list?.every(isPair)) throw invalidType('a message has an object without its entries')
  return list as [string, unknown][]
}

/** Maximum number of values in a message: cloning preserves references, so a small message can contain very many. */
const maxValues = 1_000_000

/**
 * The inverse of `encode()`. Fields that were not sent are taken from `known`.
 * @throws TypeError or RangeError for anything that `encode()` does not produce: messages of pages are untrusted
 */
export function decode(wire: Wire, known: Readonly<Record<string, unknown>> = {}): unknown {
  let left = maxValues
  const inner = (value: Wire, depth: number): unknown => {
    if (--left < 0) throw invalidRange(`a message has more than ${maxValues} values`)
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    if (depth > maxDepth + 2) throw invalidRange(`a message is nested more than ${maxDepth} deep`)
    if (Array.isArray(value)) return listOf(value, 'a message', maxEntries).map((each) => inner(each, depth + 1))
    const object = value as Record<string, unknown>
    if (object[tag] === 'picture') return new RawImage(object as unknown as RawImage)
    const fields = entriesOf(object).map(([key, each]) => {
      const isSame = depth === 0 && typeof each === 'object' && (each as Record<string, unknown> | null)?.[tag] === 'same'
      return [key, isSame ? known[key] : inner(each, depth + 1)]
    })
    return Object.fromEntries(fields)
  }
  return inner(wire, 0)
}

/** The buffers of the images in an encoded value, for a port that can transfer them. */
export function pictureBuffers(wire: Wire, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (typeof wire !== 'object' || wire === null || ArrayBuffer.isView(wire)) return found
  const object = wire as Record<string, unknown>
  if (object[tag] === 'picture') found.add((object.data as Uint8Array<ArrayBuffer>).buffer)
  else for (const each of Object.values(object)) pictureBuffers(each, found)
  return found
}
