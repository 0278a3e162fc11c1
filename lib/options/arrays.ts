/**
 * Passing arrays to and from the engine. Jobs use private copies, so that callers may change or transfer their arrays meanwhile; long arrays are copied in time
 * slices.
 */
import { OutOfMemoryError } from '../errors.js'
import { copySliced } from '../files/time-slice.js'
import { invalidType } from './validate.js'

function allocate<A>(where: string, bytes: number, make: () => A): A {
  try {
    return make()
  } catch (cause) {
    throw new OutOfMemoryError(`${where}: not enough memory for ${bytes} bytes`, { required: bytes }, { cause })
  }
}

/** An array of zeros. */
export function newFloats(length: number, where: string): Float32Array {
  return allocate(where, 4 * length, () => new Float32Array(length))
}

async function copied<A extends Float32Array | Int32Array>(array: A, copy: A, name: string): Promise<A> {
  const { length } = array
  await copySliced(array, copy)
  if (array.length !== length) throw invalidType(`${name} was transferred or resized while it was being read`)
  return copy
}

/** Copies the caller's numbers before the engine uses them. */
export async function ownFloats(array: Float32Array, name: string): Promise<Float32Array> {
  return copied(array, newFloats(array.length, name), name)
}

export async function ownIntegers(array: Int32Array, name: string): Promise<Int32Array> {
  return copied(
    array,
    allocate(name, 4 * array.length, () => new Int32Array(array.length)),
    name,
  )
}

/** Copies a result into the caller's array. */
export async function giveInto(into: Float32Array, values: Float32Array, name: string): Promise<Float32Array> {
  if (into.length === values.length) await copySliced(values, into)
  if (into.length !== values.length) throw invalidType(`${name} was transferred or resized during the call`)
  return into
}
