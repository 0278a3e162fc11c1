/** Depth maps: one number per pixel, larger is nearer. */
import type { DepthMapInput } from '../kinds/inputs.js'
import { checkFinite, isBytes, isFloat32Array, isUint16Array } from '../options/validate.js'
import { isPixelNumbers, lightness } from './mask.js'
import { checkPixelNumbers, type PixelNumbers } from './pixel-numbers.js'
import { isPng, readPngSamples } from './png/png.js'
import { RawImage, readEncoded, readPictureBytes } from './raw-image.js'
import { inSlices } from '../files/time-slice.js'

type Numbers = Uint8Array | Uint16Array | Float32Array

const isNumbers = (data: unknown): data is Numbers => isBytes(data) || isUint16Array(data) || isFloat32Array(data)

/** Whether a PNG has one grey sample per pixel: byte 25 is its colour type. */
const isGreyPng = (bytes: Uint8Array) => isPng(bytes) && bytes[25] === 0

async function greyOf(picture: RawImage): Promise<PixelNumbers<Numbers>> {
  return { data: await lightness(picture), width: picture.width, height: picture.height }
}

async function readNumbers(input: DepthMapInput, name: string): Promise<PixelNumbers<Numbers>> {
  if (isPixelNumbers(input)) return checkPixelNumbers(input, name, isNumbers, 'a Uint8Array, Uint16Array or Float32Array')
  if (input instanceof RawImage || (typeof input === 'object' && input !== null && 'channels' in input)) return greyOf(await RawImage.read(input))
  const { bytes, where } = await readPictureBytes(input, name)
  return isGreyPng(bytes) ? readPngSamples(bytes, where) : greyOf(await readEncoded(bytes, where))
}

/** Reads a depth map as floats; their scale does not matter. */
export async function readDepthMap(input: DepthMapInput, name = 'depthMap'): Promise<PixelNumbers<Float32Array>> {
  const { data, width, height } = await readNumbers(input, name)
  const out = new Float32Array(width * height)
  await inSlices(height, (y) => out.set(data.subarray(y * width, (y + 1) * width), y * width))
  return { data: await checkFinite(out, `${name}.data`), width, height }
}
