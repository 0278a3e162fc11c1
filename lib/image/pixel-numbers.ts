/** Numbers given by the caller, one per pixel: masks, label maps, depth maps. */
import { checkInteger, invalidRange, invalidType, knownKeys, show } from '../options/validate.js'
import { maxImageSide } from './image-error.js'

/** One number per pixel, row by row. */
export interface PixelNumbers<D extends ArrayLike<number>> {
  data: D
  width: number
  height: number
}

/** Checks type, size and length. `expected`: the array types accepted by `isData`, for messages. */
export function checkPixelNumbers<D extends ArrayLike<number>>(
  value: object,
  name: string,
  isData: (data: unknown) => data is D,
  expected: string,
): PixelNumbers<D> {
  const { data, width, height } = knownKeys(value, name, ['data', 'width', 'height'])
  if (!isData(data)) throw invalidType(`${name}.data must be ${expected}, not ${show(data)}`)
  const side = { min: 1, max: maxImageSide }
  const size = { width: checkInteger(width, `${name}.width`, side), height: checkInteger(height, `${name}.height`, side) }
  if (data.length !== size.width * size.height)
    throw invalidRange(`${name}.data has ${data.length} values; ${size.width}x${size.height} pixels are ${size.width * size.height}`)
  return { data, ...size }
}
