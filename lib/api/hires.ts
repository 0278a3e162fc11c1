/** generate() in two passes: at the model's size, then enlarged, as image to image. */
import type { Size } from '../image/framing.js'
import { toPlanar } from '../image/preprocess.js'
import { RawImage } from '../image/raw-image.js'
import { resizeLatents, type LatentFilter } from '../image/resize-latents.js'
import type { NativeGenerateResult, NativePicture } from '../native/contract.js'
import { checkSide } from '../options/common.js'
import { invalidType } from '../options/validate.js'
import type { FloatImage, HiresOptions, PipelineInfo, ResolvedHires, UpscalerName } from '../types.js'
import type { ResolvedGenerate } from './generate-options.js'

const latentFilters: Partial<Record<UpscalerName, LatentFilter>> = {
  latent: 'bilinear',
  latent_bicubic: 'bicubic',
  latent_nearest: 'nearest',
  latent_nearest_exact: 'nearest-exact',
}

/** Other kinds follow the size of an image. */
const kinds: readonly string[] = ['text', 'class', 'unconditional', 'layout', 'rdm']

/** Both passes, before the first one runs. */
export interface Passes {
  first: Size
  second: Size & { steps: number; strength: number; upscaler: UpscalerName }
  /** The option with its defaults. */
  recorded: ResolvedHires
  /** Whether latents are enlarged, not images. */
  inLatents: boolean
}

/** @throws TypeError or RangeError if the passes are impossible */
export function planPasses(
  asked: HiresOptions & Pick<ResolvedHires, 'strength' | 'upscaler'>,
  resolved: ResolvedGenerate,
  info: PipelineInfo,
): Passes {
  if (!kinds.includes(info.kind)) throw invalidType(`hires is for models that draw from noise alone, not for the kind '${info.kind}'`)
  if (resolved.start !== undefined || resolved.latents !== undefined) throw invalidType('hires cannot be combined with image or latents')
  const { values } = resolved.sampling
  if (values.timesteps !== undefined || values.schedule instanceof Float32Array)
    throw invalidType('hires cannot be combined with timesteps or sigmas: these are for one number of steps')
  const multiple = { multiple: info.sizeMultiple }
  const first = {
    width: checkSide(resolved.width ?? info.defaults.width, 'width', multiple),
    height: checkSide(resolved.height ?? info.defaults.height, 'height', multiple),
  }
  const { scale, strength, upscaler, steps = values.steps } = asked
  const rounded = (pixels: number) => Math.floor((pixels * scale!) / info.sizeMultiple) * info.sizeMultiple
  const width = checkSide(
    scale === undefined ? asked.width : rounded(first.width),
    scale === undefined ? 'hires.width' : 'width x hires.scale',
    multiple,
  )
  const height = checkSide(
    scale === undefined ? asked.height : rounded(first.height),
    scale === undefined ? 'hires.height' : 'height x hires.scale',
    multiple,
  )
  return {
    first,
    second: { width, height, steps, strength, upscaler },
    recorded: { ...(scale === undefined ? { width, height } : { scale }), steps, strength, upscaler },
    inLatents: latentFilters[upscaler] !== undefined,
  }
}

/** The latents of the first pass, enlarged. */
export function enlargeLatents(
  { tensor }: NativeGenerateResult,
  { first, second }: Passes,
  downsampling: number,
): { data: Float32Array; shape: number[] } {
  const { shape, data } = tensor!
  const side = ({ width, height }: Size) => ({ width: width / downsampling, height: height / downsampling })
  const to = side(second)
  return { data: resizeLatents(data, side(first), to, latentFilters[second.upscaler]!), shape: [shape[0]!, shape[1]!, to.height, to.width] }
}

/** The images of the first pass, enlarged, as one batch. */
export async function enlargePictures(pictures: readonly NativePicture[], { second }: Passes): Promise<FloatImage> {
  const { width, height } = second
  const filter = second.upscaler as 'lanczos' | 'bicubic' | 'nearest'
  const rows: FloatImage[] = []
  for (const { data, width: w, height: h, channels } of pictures) {
    const image = new RawImage({ data, width: w, height: h, channels: channels as 1 | 3 | 4 })
    rows.push(await toPlanar(await image.resize(width, height, { filter })))
  }
  const all = new Float32Array(rows.reduce((sum, { data }) => sum + data.length, 0))
  let at = 0
  for (const { data } of rows) {
    all.set(data, at)
    at += data.length
  }
  return { data: all, shape: [rows.length, ...rows[0]!.shape.slice(1)] }
}
