/** Codebook indices of VQ first stages. */
import { findSliced } from '../files/time-slice.js'
import { ownIntegers } from '../options/arrays.js'
import { checkShape, invalidRange, invalidType, isInt32Array, knownKeys, show } from '../options/validate.js'

/** An image as codebook indices: one per latent pixel, row by row. */
export interface Codes {
  data: Int32Array
  /** [n, height, width] */
  shape: readonly [number, number, number]
}

/** Distinguishes codes from latents. */
export function isCodes(value: unknown): value is Codes {
  return typeof value === 'object' && value !== null && 'data' in value && 'shape' in value && isInt32Array(value.data)
}

/** Checks a caller's codes: numbers below the size of the codebook, [n, h, w] or [h, w]. */
export async function checkCodes(value: Codes, codebookSize: number): Promise<Codes> {
  const { data, shape } = knownKeys(value, 'codes', ['data', 'shape'])
  if (!isInt32Array(data)) throw invalidType(`codes.data must be an Int32Array, not ${show(data)}`)
  const given = checkShape(shape, 'codes.shape', data.length)
  const full = given.length === 2 ? [1, ...given] : given
  if (full.length !== 3) throw invalidRange(`codes.shape must be [n, height, width] or [height, width], not [${given.join(', ')}]`)
  const own = await ownIntegers(data, 'codes.data')
  const stranger = await findSliced(own, (code) => code < 0 || code >= codebookSize)
  if (stranger >= 0) throw invalidRange(`codes.data[${stranger}] is ${own[stranger]}; the codebook has entries 0 to ${codebookSize - 1}`)
  return { data: own, shape: full as [number, number, number] }
}
