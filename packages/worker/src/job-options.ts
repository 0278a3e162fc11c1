/** Options of `generate()` on their way through Redis: plain values as JSON, images as objects of the store. */
import { RawImage, type HostGenerateOptions } from 'node-latent-diffusion'
import { randomInt } from 'node:crypto'
import { QueueError } from './errors.js'
import type { ObjectStore } from './objects.js'
import { protocolVersion, type JobData, type Json } from './protocol.js'

/** Options that are JSON. Options that name files, such as `loras`, are left out: a job must not open files of a worker. */
const plain = [
  ...['prompt', 'negativePrompt', 'steps', 'guidanceScale', 'imageGuidanceScale', 'guidanceRescale', 'guidanceInterval', 'sampler', 'schedule'],
  ...['timesteps', 'preset', 'eta', 'rng', 'clipSkip', 'emphasis', 'width', 'height', 'count', 'strength', 'classId', 'boxes', 'noiseLevel', 'sizes'],
  ...['refinerSwitchAt', 'deepCache', 'variationStrength', 'hires'],
] as const
const images = ['image', 'mask', 'semanticMap', 'depthMap'] as const
const seeds = ['seed', 'variationSeed']
const previewKeys = ['every', 'method']

type ImageOption = (typeof images)[number]

/** Characters of the options of a job. */
const longest = 1_000_000

/** Values that JSON keeps. */
function isJson(value: unknown, depth = 0): value is Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || depth > 8) return false
  const isPlain = Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value) as null)
  return isPlain && Object.values(value).every((each) => each === undefined || isJson(each, depth + 1))
}

async function fileOf(value: unknown, key: string): Promise<Uint8Array> {
  if (value instanceof Uint8Array) return value
  if (value instanceof RawImage) return value.encode('png', { metadata: false })
  throw new TypeError(`${key} must be the bytes of an image file or a RawImage, not ${typeof value}`)
}

function readSeed(seed: number | bigint | undefined, name = 'seed'): string {
  if (seed === undefined) return String(randomInt(2 ** 32)) // now, so that a second run of the job gives the same image
  if (typeof seed === 'bigint' ? seed >= 0n && seed < 2n ** 64n : Number.isSafeInteger(seed) && seed >= 0) return String(seed)
  throw new RangeError(`${name} must be a whole number from 0 to 2^64-1, not ${String(seed)}`)
}

/**
 * The options of a job for Redis; their images are put into the store.
 * @throws TypeError for options that cannot be sent
 */
export async function encodeOptions(
  options: Omit<HostGenerateOptions, 'model' | 'signal' | 'onProgress'>,
  store: ObjectStore,
  signal?: AbortSignal,
): Promise<Record<string, Json>> {
  const { variationSeed, variationStrength } = options
  const isVaried = variationSeed !== undefined || (typeof variationStrength === 'number' && variationStrength > 0)
  const encoded: Record<string, Json> = {
    seed: readSeed(options.seed),
    ...(isVaried ? { variationSeed: readSeed(variationSeed, 'variationSeed') } : {}),
  }
  for (const [key, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined || seeds.includes(key)) continue
    if ((images as readonly string[]).includes(key)) encoded[key] = { object: await store.put(await fileOf(value, key), signal) }
    else if (!(plain as readonly string[]).includes(key) && key !== 'preview') throw new TypeError(`option '${key}' cannot be sent to a worker`)
    else if (!isJson(value)) throw new TypeError(`option '${key}' must consist of numbers, texts, lists and plain objects`)
    else encoded[key] = value
  }
  if (JSON.stringify(encoded).length > longest) throw new RangeError(`The options of the job are longer than ${longest} characters`)
  return encoded
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Checks a job from Redis. The values of options are checked by the library.
 * @throws QueueError `ERR_QUEUE`
 */
export function readJob(data: unknown): JobData {
  if (!isObject(data)) throw new QueueError('ERR_QUEUE', 'The job has no data')
  if (data.version !== protocolVersion)
    throw new QueueError(
      'ERR_QUEUE',
      `The job has version ${String(data.version).slice(0, 20)}, this worker knows ${protocolVersion}: use the same version everywhere`,
    )
  const { options } = data
  if (!isObject(options) || !isJson(options)) throw new QueueError('ERR_QUEUE', 'The options of the job are not an object')
  for (const key of seeds) {
    const seed = options[key]
    const isAllowed = typeof seed === 'string' ? /^\d{1,20}$/.test(seed) : seed === undefined && key !== 'seed'
    if (!isAllowed) throw new QueueError('ERR_QUEUE', `The ${key} of the job is not a decimal text`)
  }
  for (const [key, value] of Object.entries(options) as [string, unknown][]) {
    if ((images as readonly string[]).includes(key)) {
      if (!isObject(value) || typeof value.object !== 'string')
        throw new QueueError('ERR_QUEUE', `The option '${key}' of the job is not an object of the store`)
    } else if (key === 'preview') {
      if (!isObject(value) || Object.keys(value).some((each) => !previewKeys.includes(each)))
        throw new QueueError('ERR_QUEUE', "The option 'preview' of the job is not valid")
    } else if (!seeds.includes(key) && !(plain as readonly string[]).includes(key))
      throw new QueueError('ERR_QUEUE', `The job has an option '${key.slice(0, 100)}', which jobs cannot have`)
  }
  if (typeof data.model !== 'string') throw new QueueError('ERR_QUEUE', 'The job names no model')
  return {
    version: protocolVersion,
    model: data.model,
    options: options as Record<string, Json>,
    ...('note' in data ? { note: data.note as Json } : {}),
  }
}

/** The options of a checked job for `generate()`, with its images from the store. */
export async function decodeOptions({ options }: JobData, store: ObjectStore, signal?: AbortSignal): Promise<HostGenerateOptions> {
  const decoded: Record<string, unknown> = { ...options }
  for (const key of seeds) if (options[key] !== undefined) decoded[key] = BigInt(options[key] as string)
  const fetches = images
    .filter((key) => options[key] !== undefined)
    .map(async (key): Promise<[ImageOption, Uint8Array]> => [key, await store.get((options[key] as { object: string }).object, signal)])
  return { ...decoded, ...Object.fromEntries(await Promise.all(fetches)) }
}

/** Resolved options as JSON, without images and whatever else is not JSON. */
export function plainOptions(options: object): Record<string, Json> {
  const kept = Object.entries(options).filter(
    ([key]) => !(images as readonly string[]).includes(key) && !['loras', 'latents', 'neighbours'].includes(key),
  )
  const texts = kept.map(([key, value]): [string, unknown] => [key, typeof value === 'bigint' ? String(value) : value])
  return Object.fromEntries(texts.filter((entry): entry is [string, Json] => isJson(entry[1])))
}
