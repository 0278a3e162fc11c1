/** Label maps of semantic synthesis: one integer per pixel. */
import type { SemanticMapInput } from '../kinds/inputs.js'
import { invalidRange, isBytes, isInt32Array, isUint16Array } from '../options/validate.js'
import { imageError } from './image-error.js'
import { checkPixelNumbers, type PixelNumbers } from './pixel-numbers.js'
import { isPng, readPngSamples } from './png/png.js'
import { RawImage, readPictureBytes, type RawImageInput } from './raw-image.js'
import { inSlices } from '../files/time-slice.js'

/** Labels row by row, of [height, width]. */
export type Labels = PixelNumbers<Int32Array>

type Numbers = Uint8Array | Uint16Array | Int32Array

const isNumbers = (data: unknown): data is Numbers => isBytes(data) || isUint16Array(data) || isInt32Array(data)

async function readNumbers(input: SemanticMapInput, name: string): Promise<PixelNumbers<Numbers>> {
  if (input instanceof RawImage || (typeof input === 'object' && input !== null && 'channels' in input)) {
    const picture = await RawImage.read(input as RawImageInput)
    if (picture.channels !== 1)
      throw invalidRange(`${name} has ${picture.channels} channels; a label map must be greyscale, with one number per pixel`)
    return picture
  }
  if (typeof input === 'object' && input !== null && 'data' in input)
    return checkPixelNumbers(input, name, isNumbers, 'a Uint8Array, Uint16Array or Int32Array')
  const { bytes, where } = await readPictureBytes(input, name)
  if (!isPng(bytes)) throw imageError(`${where} is not a PNG; a label map must be a greyscale or palette PNG, which stores exact numbers`)
  return readPngSamples(bytes, where)
}

/** Reads a label map and checks that every number is below `labels`. */
export async function readLabelMap(input: SemanticMapInput, labels: number, name = 'semanticMap'): Promise<Labels> {
  const { data, width, height } = await readNumbers(input, name)
  const out = new Int32Array(width * height)
  await inSlices(height, (y) => {
    for (let i = y * width; i < (y + 1) * width; i++) {
      const label = data[i]!
      if (label < 0 || label >= labels)
        throw invalidRange(`${name} has the label ${label} at (${i % width}, ${y}); this model has the labels 0 to ${labels - 1}`)
      out[i] = label
    }
  })
  return { data: out, width, height }
}
