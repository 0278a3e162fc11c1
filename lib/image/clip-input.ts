/** Preprocessing for the CLIP image encoder of retrieval-augmented models (FrozenClipImageEmbedder of latent-diffusion). */
import { toPlanar, type PlanarImage } from './preprocess.js'
import type { RawImage } from './raw-image.js'
import { inSlices, TimeSlice } from '../files/time-slice.js'

/** Mean and standard deviation of CLIP's training images for red, green and blue, in values 0 to 1. */
const mean = [0.48145466, 0.4578275, 0.40821073]
const deviation = [0.26862954, 0.26130258, 0.27577711]

/** Four neighbours and their weights for every position of the result. */
interface CubicTaps {
  at: Int32Array
  weights: Float64Array
}

/** Keys' cubic convolution with a = -0.75, which is torch's; border pixels are repeated. */
function cubicTaps(inSize: number, outSize: number, alignCorners: boolean): CubicTaps {
  const a = -0.75
  const near = (t: number) => ((a + 2) * t - (a + 3)) * t * t + 1
  const far = (t: number) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
  const at = new Int32Array(4 * outSize)
  const weights = new Float64Array(4 * outSize)
  for (let out = 0; out < outSize; out++) {
    const aligned = outSize > 1 ? (out * (inSize - 1)) / (outSize - 1) : 0
    const position = alignCorners ? aligned : ((out + 0.5) * inSize) / outSize - 0.5
    const first = Math.floor(position)
    const t = position - first
    weights.set([far(t + 1), near(t), near(1 - t), far(2 - t)], 4 * out)
    for (let k = 0; k < 4; k++) at[4 * out + k] = Math.min(inSize - 1, Math.max(0, first - 1 + k))
  }
  return { at, weights }
}

/**
 * torch.nn.functional.interpolate(mode='bicubic'), without antialiasing, of planes [n, height, width]. `alignCorners` aligns the centres of the corner pixels;
 * otherwise their outer edges.
 */
export async function resizeBicubic(
  data: Float32Array,
  [planes, height, width]: readonly [number, number, number],
  [outHeight, outWidth]: readonly [number, number],
  alignCorners: boolean,
): Promise<Float32Array> {
  const columns = cubicTaps(width, outWidth, alignCorners)
  const rows = cubicTaps(height, outHeight, alignCorners)
  const out = new Float32Array(planes * outHeight * outWidth)
  const slice = new TimeSlice()
  for (let target = 0; target < out.length; target += outWidth) {
    const y = (target / outWidth) % outHeight
    const plane = Math.floor(target / (outWidth * outHeight)) * height * width
    for (let x = 0; x < outWidth; x++) {
      let sum = 0
      for (let j = 4 * y; j < 4 * y + 4; j++) {
        const row = plane + rows.at[j]! * width
        let line = 0
        for (let i = 4 * x; i < 4 * x + 4; i++) line += columns.weights[i]! * data[row + columns.at[i]!]!
        sum += rows.weights[j]! * line
      }
      out[target + x] = sum
    }
    if (slice.over) await slice.next()
  }
  return out
}

/**
 * An image for the encoder, [1, 3, size, size]: resized without cropping (bicubic, corners aligned, no antialiasing, ignoring the aspect ratio), then CLIP's
 * mean and deviation. Transparency is dropped.
 */
export async function toClipInput(image: Pick<RawImage, 'data' | 'width' | 'height' | 'channels'>, size = 224): Promise<PlanarImage> {
  const { data, shape } = await toPlanar(image)
  const resized = await resizeBicubic(data, [3, shape[2], shape[3]], [size, size], true)
  await inSlices(3 * size, (row) => {
    const channel = Math.floor(row / size)
    for (let i = row * size; i < (row + 1) * size; i++) resized[i] = ((resized[i]! + 1) / 2 - mean[channel]!) / deviation[channel]!
  })
  return { data: resized, shape: [1, 3, size, size] }
}
