/** Converts txt2img and img2img requests of AUTOMATIC1111's API to options of the engine. Missing fields use the model's defaults; unknown ones are ignored. */
import { type RawImage, type HostGenerateOptions, type PipelineInfo, type UpscalerName } from 'node-latent-diffusion'
import { readSampler, schedulerNamed } from './a1111-words.js'
import { HttpError } from './errors.js'
import { readPicture } from './pictures.js'
import { blur, crop, fitFill, invert, maskedBox, putBack, touched, toGrey, type Box } from './regions.js'
import { checkLimits, takesStrength } from './requests.js'
import type { Limits } from './settings.js'

export type Body = Readonly<Record<string, unknown>>

export const unprocessable = (message: string) => new HttpError(422, 'ERR_INVALID_ARG', message)
export const missing = (message: string) => new HttpError(404, 'ERR_NOT_FOUND', message)

const isAbsent = (value: unknown) => value === undefined || value === null || value === ''

/** Clients may send numbers as text. */
export function readNumber(body: Body, key: string, min: number, max: number): number | undefined {
  const value = body[key]
  if (isAbsent(value)) return undefined
  const read = typeof value === 'string' ? Number(value) : value
  if (typeof read !== 'number' || !(read >= min && read <= max)) throw unprocessable(`${key} must be a number from ${min} to ${max}`)
  return read
}

const readWhole = (body: Body, key: string, min: number, max: number) => {
  const read = readNumber(body, key, min, max)
  return read === undefined ? undefined : Math.trunc(read)
}

export function readText(body: Body, key: string): string | undefined {
  const value = body[key]
  if (isAbsent(value)) return undefined
  if (typeof value !== 'string') throw unprocessable(`${key} must be a string`)
  return value
}

const isOn = (body: Body, key: string) => body[key] === true || body[key] === 1 || body[key] === 'true'

/** Rejects unsupported features that would change the image instead of silently ignoring them. */
function refuseUnsupported(body: Body): void {
  for (const key of ['restore_faces', 'tiling']) if (isOn(body, key)) throw unprocessable(`${key} is not supported by this server`)
  if ((readText(body, 'refiner_checkpoint') ?? 'None') !== 'None')
    throw unprocessable('refiner_checkpoint: the refiner is set when a model is loaded, not by requests')
  const script = readText(body, 'script_name')
  if (script !== undefined) throw unprocessable(`Script '${script.slice(0, 100)}' not found`)
  const always = body.alwayson_scripts
  for (const [name, script] of Object.entries(typeof always === 'object' && always !== null ? always : {})) {
    const { args } = (script ?? {}) as { args?: unknown }
    // Clients send the names of unused scripts without arguments.
    if (!Array.isArray(args) || args.length > 0) throw unprocessable(`always on script ${name.slice(0, 100)} not found`)
  }
}

function readSeed(body: Body, key: 'seed' | 'subseed'): bigint | undefined {
  const seed = body[key]
  if (isAbsent(seed) || seed === -1 || seed === '-1') return undefined
  const text = typeof seed === 'number' || typeof seed === 'string' ? String(seed) : ''
  if (!/^\d{1,20}$/.test(text)) throw unprocessable(`${key} must be a whole number, or -1 for a random one`)
  return BigInt(text)
}

/** Its variations. Without a strength, its subseed means nothing. */
function readVariation(body: Body): Pick<HostGenerateOptions, 'variationSeed' | 'variationStrength'> {
  const strength = readNumber(body, 'subseed_strength', -1, 1) ?? 0
  const seed = readSeed(body, 'subseed')
  return strength > 0 ? { variationStrength: strength, ...(seed === undefined ? {} : { variationSeed: seed }) } : {}
}

/** Its names of upscalers. None resizes with Lanczos, as there; enlarging is the same with antialiasing. */
const upscalers: Readonly<Record<string, UpscalerName>> = {
  Latent: 'latent',
  'Latent (antialiased)': 'latent',
  'Latent (bicubic)': 'latent_bicubic',
  'Latent (nearest)': 'latent_nearest',
  'Latent (nearest-exact)': 'latent_nearest_exact',
  None: 'lanczos',
  Lanczos: 'lanczos',
  Nearest: 'nearest',
}
export const latentUpscalers = Object.keys(upscalers).filter((name) => name.startsWith('Latent'))

/** The second pass ("Hires. fix"). One side alone keeps the aspect ratio; both must have that of the first pass, because nothing is cropped. */
export function readHires(body: Body, info: PipelineInfo): Pick<HostGenerateOptions, 'hires'> {
  if (!isOn(body, 'enable_hr')) return {}
  for (const key of ['hr_checkpoint_name', 'hr_sampler_name', 'hr_scheduler', 'hr_prompt', 'hr_negative_prompt']) {
    const value = readText(body, key)
    if (value !== undefined && !/^Use same/.test(value)) throw unprocessable(`${key}: the second pass uses the settings of the first`)
  }
  const name = readText(body, 'hr_upscaler') ?? 'Latent'
  if (!Object.hasOwn(upscalers, name))
    throw unprocessable(`hr_upscaler: there is no '${name.slice(0, 100)}'; use ${Object.keys(upscalers).join(', ')}`)
  const strength = readNumber(body, 'denoising_strength', 0, 1) ?? 0.75
  if (strength === 0) throw unprocessable('denoising_strength must be above 0 with enable_hr')
  const steps = readWhole(body, 'hr_second_pass_steps', 0, 1000) ?? 0
  const [x, y] = [readWhole(body, 'hr_resize_x', 0, 16384) ?? 0, readWhole(body, 'hr_resize_y', 0, 16384) ?? 0]
  const rest = { strength, upscaler: upscalers[name]!, ...(steps > 0 ? { steps } : {}) }
  if (x === 0 && y === 0) return { hires: { scale: readNumber(body, 'hr_scale', 1, 16) ?? 2, ...rest } }
  const { width = info.defaults.width, height = info.defaults.height } = {
    width: readWhole(body, 'width', 1, 16384),
    height: readWhole(body, 'height', 1, 16384),
  }
  const multiple = info.sizeMultiple
  const rounded = (pixels: number) => Math.max(multiple, Math.floor(pixels / multiple) * multiple)
  const size = { width: rounded(x || (y * width) / height), height: rounded(y || (x * height) / width) }
  if (Math.abs(size.width * height - size.height * width) > multiple * Math.max(width, height))
    throw unprocessable(`hr_resize_x and hr_resize_y: ${size.width}x${size.height} has not the aspect ratio of ${width}x${height}`)
  return { hires: { ...size, ...rest } }
}

function readSampling(body: Body, info: PipelineInfo): Pick<HostGenerateOptions, 'sampler' | 'schedule'> {
  const given = readText(body, 'sampler_name') ?? readText(body, 'sampler_index')
  const found = given === undefined ? {} : readSampler(given, info)
  if (!found) throw missing('Sampler not found')
  const scheduler = readText(body, 'scheduler')
  if (scheduler === undefined) return found
  const schedule = schedulerNamed(scheduler, info)
  if (schedule === undefined) throw missing('Scheduler not found')
  return schedule === null ? found : { ...found, schedule }
}

export interface Asked {
  options: HostGenerateOptions
  /** Number of consecutive runs of `batch_size` images. */
  rounds: number
  /** Post-processing of each image. */
  finish(image: RawImage): Promise<RawImage>
}

export function readCommon(body: Body, info: PipelineInfo, limits: Limits): Asked {
  refuseUnsupported(body)
  const rounds = readWhole(body, 'n_iter', 1, limits.maxCount) ?? 1
  const given = {
    seed: readSeed(body, 'seed'),
    ...readVariation(body),
    steps: readWhole(body, 'steps', 1, 1000),
    guidanceScale: readNumber(body, 'cfg_scale', 0, 1000),
    width: readWhole(body, 'width', 1, 16384),
    height: readWhole(body, 'height', 1, 16384),
    count: readWhole(body, 'batch_size', 1, limits.maxCount) ?? 1,
    eta: readNumber(body, 'eta', 0, 1),
    ...(info.kind === 'edit' ? { imageGuidanceScale: readNumber(body, 'image_cfg_scale', 0, 1000) } : {}),
  }
  const texts = { prompt: readText(body, 'prompt'), negativePrompt: readText(body, 'negative_prompt') }
  const options = Object.fromEntries(Object.entries({ ...given, ...texts }).filter(([, value]) => value !== undefined)) as HostGenerateOptions
  return { options: { ...options, ...readSampling(body, info) }, rounds, finish: async (image) => image }
}

/** Crops to the requested aspect ratio. */
function fitCrop(picture: RawImage, width: number, height: number): RawImage {
  const scale = Math.max(width / picture.width, height / picture.height)
  const box = { width: Math.min(picture.width, Math.round(width / scale)), height: Math.min(picture.height, Math.round(height / scale)) }
  return crop(picture, { ...box, x: Math.floor((picture.width - box.width) / 2), y: Math.floor((picture.height - box.height) / 2) })
}

/** A mask with soft edges: the share of new content per pixel (`soft`), and the area to generate for it (`hole`). */
interface Masks {
  soft: RawImage
  hole: RawImage
}

/** Only the masked area, at the requested size. */
async function onlyMasked(asked: Asked, picture: RawImage, { soft, hole }: Masks, box: Box): Promise<Asked> {
  const { width = picture.width, height = picture.height } = asked.options
  return {
    ...asked,
    options: {
      ...asked.options,
      image: await crop(picture, box).resize(width, height),
      mask: await crop(hole, box).resize(width, height, { filter: 'nearest' }),
    },
    finish: async (image) => putBack(picture, await image.resize(box.width, box.height), box, soft),
  }
}

/** The whole image, with the masked area generated. */
function wholePicture(asked: Asked, picture: RawImage, { soft, hole }: Masks): Asked {
  const options = { ...asked.options, image: picture, mask: hole }
  if (soft === hole) return { ...asked, options } // the engine returns black areas unchanged
  const finish = async (image: RawImage) => {
    const { width, height } = image
    return putBack(await picture.resize(width, height), image, { x: 0, y: 0, width, height }, await soft.resize(width, height))
  }
  return { ...asked, options, finish }
}

export async function readImg2img(body: Body, info: PipelineInfo, limits: Limits): Promise<Asked> {
  const asked = readCommon(body, info, limits)
  const [first] = Array.isArray(body.init_images) ? (body.init_images as unknown[]) : []
  if (typeof first !== 'string') throw missing('Init image not found')
  const mode = readWhole(body, 'resize_mode', 0, 3) ?? 0
  if (mode === 3) throw unprocessable('resize_mode 3 (latent upscale) is not supported by this server; 0, 1 and 2 are')
  if (takesStrength(info)) asked.options.strength = readNumber(body, 'denoising_strength', 0, 1) ?? 0.75
  const given = await readPicture(first, 'init_images', limits)
  const { width = given.width, height = given.height } = asked.options
  await checkLimits({ ...asked.options, width, height, count: (asked.options.count ?? 1) * asked.rounds }, info, limits) // checked before resizing
  const shape = async (image: RawImage) => (mode === 1 ? fitCrop(image, width, height) : mode === 2 ? fitFill(image, width, height) : image)
  const maskText = readText(body, 'mask')
  if (maskText === undefined) return { ...asked, options: { ...asked.options, image: await shape(given) } }
  const grey = await toGrey(await readPicture(maskText, 'mask', limits))
  const sized =
    grey.width === given.width && grey.height === given.height ? grey : await grey.resize(given.width, given.height, { filter: 'nearest' })
  const mask = isOn(body, 'inpainting_mask_invert') ? await invert(sized) : sized
  const softness = readNumber(body, 'mask_blur', 0, 256) ?? 4
  const padding = readWhole(body, 'inpaint_full_res_padding', 0, 1024) ?? 0
  const full = body.inpaint_full_res === undefined || body.inpaint_full_res === null || isOn(body, 'inpaint_full_res')
  const soft = softness > 0 ? await blur(mask, softness) : mask
  const masks = { soft, hole: soft === mask ? mask : await touched(mask, soft) }
  const box = full ? await maskedBox(masks.hole, padding, width, height) : undefined
  if (box) return onlyMasked(asked, given, masks, box)
  const shaped = await shape(soft)
  return wholePicture(asked, await shape(given), { soft: shaped, hole: masks.hole === soft ? shaped : await shape(masks.hole) })
}
