/** Label maps of semantic synthesis: one whole number per pixel. */
import type { SemanticMapInput } from '../inputs.js'
import { checkInteger, invalidRange, invalidType, knownKeys, show } from '../validate.js'
import { imageError, maxImageSide } from './image-error.js'
import { isPng, readPngSamples } from './png.js'
import { RawImage, readPictureBytes, type RawImageInput } from './raw-image.js'
import { inSlices } from './time-slice.js'

/** Labels row by row, of [height, width]. */
export interface Labels {
  data: Int32Array
  width: number
  height: number
}

type Numbers = Uint8Array | Uint16Array | Int32Array

function isNumbers(value: unknown): value is Numbers {
  return ArrayBuffer.isView(value) && /^\[object (Uint8|Uint8Clamped|Uint16|Int32)Array\]$/.test(Object.prototype.toString.call(value))
}

function checkLabelMap(value: object, name: string): { data: Numbers; width: number; height: number } {
  const { data, width, height } = knownKeys(value, name, ['data', 'width', 'height'])
  if (!isNumbers(data)) throw invalidType(`${name}.data must be a Uint8Array, Uint16Array or Int32Array, not ${show(data)}`)
  const side = { min: 1, max: maxImageSide }
  const size = { width: checkInteger(width, `${name}.width`, side), height: checkInteger(height, `${name}.height`, side) }
  if (data.length !== size.width * size.height)
    throw invalidRange(`${name}.data has ${data.length} values; ${size.width}x${size.height} pixels are ${size.width * size.height}`)
  return { data, ...size }
}

async function readNumbers(input: SemanticMapInput, name: string): Promise<{ data: Numbers; width: number; height: number }> {
  if (input instanceof RawImage || (typeof input === 'object' && input !== null && 'channels' in input)) {
    const picture = await RawImage.read(input as RawImageInput)
    if (picture.channels !== 1) throw invalidRange(`${name} has ${picture.channels} channels; a label map has one number per pixel: a grey picture`)
    return picture
  }
  if (typeof input === 'object' && input !== null && 'data' in input) return checkLabelMap(input, name)
  const { bytes, where } = await readPictureBytes(input, name)
  if (!isPng(bytes)) throw imageError(`${where} is not a PNG; label maps are read from grey or palette PNGs, which keep every number`)
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
        throw invalidRange(`${name} has the label ${label} at (${i % width}, ${y}); this model knows the labels 0 to ${labels - 1}`)
      out[i] = label
    }
  })
  return { data: out, width, height }
}
