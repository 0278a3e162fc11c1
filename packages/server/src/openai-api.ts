/** The OpenAI images API, `/v1`: generations, edits, variations, models. */
import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RawImage, type HostGenerateOptions, type ImageFormat, type ImageSize, type JobEvent } from 'node-latent-diffusion'
import { invalid, notFound, type Answer } from './errors.js'
import { readParts } from './forms.js'
import { checkPicture } from './pictures.js'
import type { RunImage, RunResult } from './queue.js'
import { transparency } from './regions.js'
import { checkLimits, seedsOf, sizeOf, stepsOf, takesStrength } from './requests.js'
import type { Context } from './server.js'
import { clientSignal, openStream } from './streams.js'

/** An error in OpenAI's format. */
export function openaiError({ status, error, param }: Answer): {
  error: { message: string; type: string; param: string | null; code: string | null }
} {
  const types: Record<number, string> = { 401: 'authentication_error', 403: 'permission_error', 429: 'rate_limit_error' }
  const codes: Record<number, string> = { 401: 'invalid_api_key', 429: 'rate_limit_exceeded' }
  const code = status === 404 && param === 'model' ? 'model_not_found' : (codes[status] ?? error.code)
  return {
    error: { message: error.message, type: types[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error'), param: param ?? null, code },
  }
}

type Fields = Record<string, unknown>

const filesPath = '/v1/images/files'

const names = /^(dall-e|gpt-image|chatgpt-image)/
const qualities: Record<string, number | undefined> = { low: 8, medium: 16, standard: 16, high: 25, hd: 25, xhigh: 40, max: 40, auto: undefined }
const formats = ['png', 'jpeg', 'webp'] as const satisfies ImageFormat[]

function text(fields: Fields, key: string): string | undefined {
  const value = fields[key]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw invalid(`${key} must be a string`, key)
  return value
}

/** A number; sent as text in forms. */
function number(fields: Fields, key: string, min: number, max: number, whole = true): number | undefined {
  const value = fields[key]
  if (value === undefined || value === null || value === '') return undefined
  const read = typeof value === 'string' ? Number(value) : value
  if (typeof read !== 'number' || !Number.isFinite(read) || read < min || read > max || (whole && !Number.isInteger(read)))
    throw invalid(`${key} must be ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`, key)
  return read
}

function flag(fields: Fields, key: string): boolean {
  const value = fields[key]
  if (value === undefined || value === null || value === false || value === 'false' || value === '') return false
  if (value === true || value === 'true') return true
  throw invalid(`${key} must be true or false`, key)
}

function choice<T extends string>(fields: Fields, key: string, known: readonly T[], usual: T): T {
  const value = text(fields, key) ?? usual
  if (!known.includes(value as T)) throw invalid(`${key} must be one of ${known.join(', ')}`, key)
  return value as T
}

/** A parsed request. */
interface Asked {
  model: string
  options: HostGenerateOptions
  /** Default strength for models with image to image. */
  strength?: number
  size: string
  quality: string
  format: ImageFormat
  compression: number
  /** Return URLs instead of data; streams always contain data. */
  asUrl: boolean
  stream: boolean
  partials: number
  background: string
}

function readSeed(fields: Fields, key: string): bigint | undefined {
  const value = fields[key]
  if (value === undefined || value === null || value === '') return undefined
  if ((typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) || (typeof value === 'string' && /^\d{1,20}$/.test(value)))
    return BigInt(value)
  throw invalid(`${key} must be a whole number from 0 on`, key)
}

function readSize(size: string): { width?: number; height?: number } {
  if (size === 'auto') return {}
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(size) ?? []
  if (width === undefined) throw invalid("size must be 'auto' or WIDTHxHEIGHT, as 512x512", 'size')
  return { width: Number(width), height: Number(height) }
}

function ownOptions(fields: Fields): HostGenerateOptions {
  const own = {
    steps: number(fields, 'steps', 1, 1000),
    negativePrompt: text(fields, 'negative_prompt'),
    guidanceScale: number(fields, 'guidance_scale', 0, 1000, false),
    sampler: text(fields, 'sampler'),
    schedule: text(fields, 'schedule'),
    strength: number(fields, 'strength', 0, 1, false),
    clipSkip: number(fields, 'clip_skip', 1, 100),
    seed: readSeed(fields, 'seed'),
    variationSeed: readSeed(fields, 'variation_seed'),
    variationStrength: number(fields, 'variation_strength', 0, 1, false),
  }
  return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined))
}

function readModel(fields: Fields, { models }: Context): string {
  const asked = text(fields, 'model')
  const name = asked === undefined || asked === '' ? undefined : asked
  return models.resolve(name !== undefined && names.test(name) && !models.names().includes(name) ? undefined : name)
}

/** Our own options in one field, sent as JSON in forms. */
function readLatent(given: unknown): Fields {
  if (given === undefined || given === null || given === '') return {}
  try {
    const read: unknown = typeof given === 'string' ? JSON.parse(given) : given
    if (typeof read === 'object' && read !== null && !Array.isArray(read)) return read as Fields
  } catch {
    // said below
  }
  throw invalid('latent must be an object of options', 'latent')
}

function readFields(given: Fields, context: Context): Asked {
  const fields = { ...given, ...readLatent(given.latent) }
  const quality = text(fields, 'quality') ?? 'auto'
  if (!Object.hasOwn(qualities, quality)) throw invalid(`quality must be one of ${Object.keys(qualities).join(', ')}`, 'quality')
  const background = choice(fields, 'background', ['auto', 'opaque', 'transparent'], 'auto')
  if (background === 'transparent')
    throw Object.assign(invalid('Transparent backgrounds are not supported', 'background'), { code: 'ERR_UNSUPPORTED_VALUE' })
  const asUrl = choice(fields, 'response_format', ['b64_json', 'url'], 'b64_json') === 'url'
  const size = text(fields, 'size') ?? 'auto'
  const steps = qualities[quality]
  const options = { ...(steps === undefined ? {} : { steps }), ...readSize(size), ...ownOptions(fields), count: number(fields, 'n', 1, 10) ?? 1 }
  return {
    model: readModel(fields, context),
    options,
    ...{ size, quality, background: background === 'auto' ? 'opaque' : background },
    format: choice(fields, 'output_format', formats, 'png'),
    compression: number(fields, 'output_compression', 0, 100) ?? 100,
    asUrl,
    stream: flag(fields, 'stream'),
    partials: number(fields, 'partial_images', 0, 3) ?? 0,
  }
}

function needPrompt(fields: Fields): string {
  const prompt = text(fields, 'prompt')
  if (prompt === undefined) throw invalid('prompt is missing', 'prompt')
  if (prompt.length > 32_000) throw invalid('prompt has more than 32000 characters', 'prompt')
  return prompt
}

/** In OpenAI's masks the area to repaint is transparent; in ours it is white. */
async function readMask(bytes: Uint8Array): Promise<RawImage> {
  const mask = await RawImage.read(bytes)
  if (mask.channels !== 4) throw invalid('mask has no transparent area; the transparent area is repainted', 'mask')
  return transparency(mask)
}

interface Form {
  fields: Fields
  images: Uint8Array[]
  mask?: Uint8Array
}

async function readForm(request: FastifyRequest, { settings }: Context): Promise<Form> {
  if (!request.isMultipart()) throw invalid('This call takes multipart/form-data')
  const form: Form = { fields: {}, images: [] }
  for await (const part of readParts(request, settings.limits)) {
    if (part.type === 'field') form.fields[part.name] = part.value
    else {
      const bytes = await checkPicture(new Uint8Array(part.bytes), part.name, settings.limits)
      if (part.name === 'mask') form.mask = bytes
      else if (/^image(\[\d*\])?$/.test(part.name)) form.images.push(bytes)
      else throw invalid(`There is no file '${part.name.slice(0, 100)}'`)
    }
  }
  if (form.images.length === 0) throw invalid('image is missing', 'image')
  if (form.images.length > 1) throw invalid(`${form.images.length} images were given; these models take one`, 'image')
  return form
}

const fileOf = async (image: RawImage, format: ImageFormat, quality: number) =>
  Buffer.from(await image.encode(format, format === 'png' ? {} : { quality: Math.max(1, quality) }))

/** A finished image in another format, or its PNG file as it is. */
const finished = async (image: RunImage, format: ImageFormat, quality: number) =>
  format === 'png' ? Buffer.from(await image.png()) : fileOf(await image.raw(), format, quality)

const base64 = async (image: RawImage, format: ImageFormat, quality: number) => (await fileOf(image, format, quality)).toString('base64')

async function usageOf(counting: number | Promise<number> | undefined) {
  const count = await Promise.resolve(counting ?? 0).catch(() => 0)
  return { input_tokens: count, output_tokens: 0, total_tokens: count, input_tokens_details: { image_tokens: 0, text_tokens: count } }
}

function plain(options: Readonly<Record<string, unknown>>): Fields {
  const kept = Object.entries(options).filter(([key]) => !['image', 'mask', 'loras', 'latents'].includes(key))
  return Object.fromEntries(kept.map(([key, value]) => [key, typeof value === 'bigint' ? String(value) : value]))
}

/** A small preview, scaled to the size of the image. */
async function partialOf({ image }: Extract<JobEvent, { type: 'preview' }>, { format, compression }: Asked, { width, height }: ImageSize) {
  return base64(await image.resize(width, height, { filter: 'bicubic' }), format, compression)
}

/** Generates the images of a request and answers it, as a whole or as a stream. */
async function answer(context: Context, request: FastifyRequest, reply: FastifyReply, asked: Asked, event: string): Promise<unknown> {
  const { models, room, settings, urls } = context
  const { model, options, size, quality, background, format, compression, partials } = asked
  const info = await models.info(model)
  if (asked.strength !== undefined && takesStrength(info)) options.strength ??= asked.strength
  await checkLimits(options, info, settings.limits)
  if (format === 'webp' && Math.max(options.width ?? 0, options.height ?? 0) > 16383) throw invalid('WebP has at most 16383 pixels a side', 'size')
  if (format !== 'png') await base64(new RawImage({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 }), format, 90) // fails early if sharp is missing
  room.admit(request.ip)
  const shared = { size, quality, background, output_format: format }
  const created = Math.floor(Date.now() / 1000)
  let counting: Promise<number> | undefined
  const submit = (signal: AbortSignal, onEvent?: (event: JobEvent) => void) =>
    room.submit({
      ...{ api: 'openai', model, options, client: request.ip, signal },
      onEvent: (each) => {
        if (each.type === 'progress' && each.phase === 'sample') counting ??= options.prompt ? room.countTokens(model, options.prompt) : undefined
        onEvent?.(each)
      },
    }).promise
  const used = ({ promptTokens }: RunResult) => usageOf(promptTokens ?? counting)
  if (!asked.stream) {
    const result = await submit(clientSignal(reply))
    const { images, timings, options: resolved, warnings } = result
    const data = []
    for (const image of images) {
      const file = await finished(image, format, compression)
      if (asked.asUrl) data.push({ url: `${request.protocol}://${request.headers.host!}${filesPath}/${urls.add(file, format)}` })
      else data.push({ b64_json: file.toString('base64') })
    }
    const seeds = images.map((_, i) => seedsOf(result, i))
    const varied = seeds.flatMap(({ variationSeed }) => (variationSeed === undefined ? [] : [String(variationSeed)]))
    return {
      created,
      data,
      ...shared,
      usage: await used(result),
      latent: {
        seeds: seeds.map(({ seed }) => String(seed)),
        ...(varied.length > 0 ? { variationSeeds: varied } : {}), // they tell the images apart: all have the same first seed
        ...{ options: plain(resolved), timings, warnings },
      },
    }
  }
  await openStream(
    context,
    reply,
    async (send, signal) => {
      const steps = stepsOf(options, info)
      const sizeOfPartials = partials > 0 ? await sizeOf(options, info) : info.defaults
      let sent = 0
      let telling = Promise.resolve()
      if (partials > 0) options.preview = { every: Math.max(1, Math.floor(steps / (partials + 1))) }
      const result = await submit(signal, (each) => {
        if (each.type !== 'preview' || each.index !== 0 || sent >= partials) return
        const index = sent++
        telling = telling.then(async () => {
          const type = `${event}.partial_image`
          const b64 = await partialOf(each, asked, sizeOfPartials)
          await send({ event: type, data: { type, b64_json: b64, created_at: created, ...shared, partial_image_index: index } })
        })
        telling = telling.catch(() => {}) // a failed preview is ignored
      })
      await telling
      const total = await used(result)
      const type = `${event}.completed`
      for (const image of result.images)
        await send({
          event: type,
          data: { type, b64_json: (await finished(image, format, compression)).toString('base64'), created_at: created, ...shared, usage: total },
        })
    },
    openaiError,
  )
  return undefined // a returned reply would be awaited as a promise of its end, which comes later
}

export function openaiApi(context: Context) {
  return async (app: FastifyInstance): Promise<void> => {
    const { maxFileBytes } = context.settings.limits
    await app.register(multipart, { limits: { fileSize: maxFileBytes, files: 16, fields: 40, fieldSize: 200_000, parts: 60, headerPairs: 100 } })
    const tags = ['openai']

    app.post<{ Body: Fields }>(
      '/images/generations',
      { sse: 'manual', schema: { tags, summary: 'Generate images from a prompt' } },
      async (request, reply) => {
        const fields = request.body
        if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw invalid('The body must be a JSON object')
        const asked = readFields(fields, context)
        asked.options.prompt = needPrompt(fields)
        return answer(context, request, reply, asked, 'image_generation')
      },
    )

    app.post(
      '/images/edits',
      { sse: 'manual', schema: { tags, summary: 'Edit an image with a prompt, optionally with a mask', consumes: ['multipart/form-data'] } },
      async (request, reply) => {
        const { fields, images, mask } = await readForm(request, context)
        const asked = readFields(fields, context)
        const fidelity = choice(fields, 'input_fidelity', ['high', 'low'], 'low')
        asked.strength = fidelity === 'high' ? 0.5 : 0.8
        asked.options = { ...asked.options, prompt: needPrompt(fields), image: images[0]! }
        if (mask) asked.options.mask = await readMask(mask)
        return answer(context, request, reply, asked, 'image_edit')
      },
    )

    app.post(
      '/images/variations',
      { sse: 'manual', schema: { tags, summary: 'Variations of an image', consumes: ['multipart/form-data'] } },
      async (request, reply) => {
        const { fields, images } = await readForm(request, context)
        const asked = readFields(fields, context)
        asked.strength = 0.7
        asked.options = { ...asked.options, image: images[0]! }
        return answer(context, request, reply, { ...asked, stream: false }, 'image_variation')
      },
    )

    app.get<{ Params: { name: string } }>(
      '/images/files/:name',
      { schema: { tags, summary: 'An image by its address' } },
      async ({ params }, reply) => {
        const { bytes, type } = context.urls.get(params.name)
        return reply.type(type).header('cache-control', 'private, max-age=3600, immutable').send(bytes)
      },
    )

    const created = Math.floor(Date.now() / 1000)
    const modelOf = (id: string) => ({ id, object: 'model', created, owned_by: 'local' })
    app.get('/models', { schema: { tags, summary: 'The models' } }, async () => {
      await context.models.refresh()
      return { object: 'list', data: context.models.names().map(modelOf) }
    })
    app.get<{ Params: { model: string } }>('/models/:model', { schema: { tags, summary: 'A model' } }, async ({ params }) => {
      if (!context.models.names().includes(params.model)) throw notFound(`There is no model '${params.model}'`, 'model')
      return modelOf(params.model)
    })
  }
}
