/**
 * Arrays on their way into the engine and out of it. Jobs work on arrays that nobody else has, so that a caller who changes or transfers his own meanwhile does no harm;
 * long ones are copied in slices of time.
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

/** Zeros. */
export function newFloats(length: number, where: string): Float32Array {
  return allocate(where, 4 * length, () => new Float32Array(length))
}

async function copied<A extends Float32Array | Int32Array>(array: A, copy: A, name: string): Promise<A> {
  const { length } = array
  await copySliced(array, copy)
  if (array.length !== length) throw invalidType(`${name} was transferred or resized while it was being read`)
  return copy
}

/** The caller's numbers, copied before the engine works on them. */
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

/** Puts a result into the caller's array. */
export async function giveInto(into: Float32Array, values: Float32Array, name: string): Promise<Float32Array> {
  if (into.length === values.length) await copySliced(values, into)
  if (into.length !== values.length) throw invalidType(`${name} was transferred or resized during the call`)
  return into
}
