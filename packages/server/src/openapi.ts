/**
 * Requests and answers of OpenAI's and AUTOMATIC1111's APIs in the OpenAPI document. Those calls read their fields one by one, as leniently as the originals do, so
 * these schemas describe them and check nothing; the native API is checked against its own (schemas.ts).
 */
import type { FastifySchema } from 'fastify'

type Properties = Readonly<Record<string, object>>

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const whole = (minimum: number, maximum: number) => ({ type: 'integer', minimum, maximum }) as const
const number = (minimum: number, maximum: number) => ({ type: 'number', minimum, maximum }) as const
const named = (...names: string[]) => ({ type: 'string', enum: names }) as const
const said = <T extends object>(schema: T, description: string) => ({ ...schema, description })
const object = (properties: Properties, required: readonly string[] = []) => ({
  type: 'object',
  ...(required.length > 0 ? { required } : {}),
  properties,
})
const listOf = (items: object) => ({ type: 'array', items }) as const

const anySeed = { oneOf: [whole(0, Number.MAX_SAFE_INTEGER), { type: 'string', pattern: '^\\d{1,20}$' }] } as const
const picture = said(text, 'base64 of a PNG, JPEG or WebP file, with or without a data: prefix')
const file = { type: 'string', format: 'binary' } as const

const openaiFields: Properties = {
  model: said(text, "a model of this server; OpenAI's names mean the default model"),
  n: whole(1, 10),
  size: said(text, "'auto' or WIDTHxHEIGHT, as 512x512"),
  quality: said(named('auto', 'low', 'medium', 'high', 'standard', 'hd', 'xhigh', 'max'), 'the number of steps'),
  background: named('auto', 'opaque'),
  response_format: named('b64_json', 'url'),
  output_format: named('png', 'jpeg', 'webp'),
  output_compression: whole(0, 100),
  stream: flag,
  partial_images: whole(0, 3),
  negative_prompt: text,
  steps: whole(1, 1000),
  guidance_scale: number(0, 1000),
  sampler: text,
  schedule: text,
  clip_skip: whole(1, 100),
  seed: anySeed,
  variation_seed: anySeed,
  variation_strength: number(0, 1),
}
const strength = said(number(0, 1), 'how much the image changes')
const latent = said({ type: 'object' }, 'the fields of this server that OpenAI does not have, in one; JSON in forms')

const openaiAnswer = object({
  created: { type: 'integer' },
  data: listOf(object({ b64_json: text, url: text })),
  ...{ size: text, quality: text, background: text, output_format: text },
  usage: object({
    ...{ input_tokens: { type: 'integer' }, output_tokens: { type: 'integer' }, total_tokens: { type: 'integer' } },
    input_tokens_details: object({ image_tokens: { type: 'integer' }, text_tokens: { type: 'integer' } }),
  }),
  latent: object({
    ...{ seeds: listOf(text), variationSeeds: listOf(text), options: { type: 'object' }, timings: { type: 'object' } },
    warnings: listOf(object({ code: text, message: text })),
  }),
})

const signedSeed = { oneOf: [{ type: 'integer', minimum: -1 }, { type: 'string' }], description: '-1: random' } as const
const settings = object({ sd_model_checkpoint: text, CLIP_stop_at_last_layers: whole(1, 100) })
const a1111Fields: Properties = {
  ...{ prompt: text, negative_prompt: text },
  ...{ seed: signedSeed, subseed: signedSeed, subseed_strength: number(-1, 1) },
  ...{ steps: whole(1, 1000), cfg_scale: number(0, 1000), eta: number(0, 1) },
  ...{ width: whole(1, 16384), height: whole(1, 16384), batch_size: whole(1, 256), n_iter: whole(1, 256) },
  ...{ sampler_name: text, scheduler: text, denoising_strength: number(0, 1) },
  override_settings: settings,
  ...{ send_images: flag, force_task_id: said(text, 'an id for /internal/progress') },
}
const hires: Properties = {
  ...{ enable_hr: flag, hr_scale: number(1, 16), hr_upscaler: text, hr_second_pass_steps: whole(0, 1000) },
  ...{ hr_resize_x: whole(0, 16384), hr_resize_y: whole(0, 16384) },
}
const inpainting: Properties = {
  ...{ init_images: listOf(picture), resize_mode: whole(0, 2), mask: picture, mask_blur: number(0, 256), inpainting_mask_invert: whole(0, 1) },
  ...{ inpaint_full_res: flag, inpaint_full_res_padding: whole(0, 1024), include_init_images: flag },
  image_cfg_scale: said(number(0, 1000), 'editing models'),
}
const a1111Answer = object({ images: listOf(picture), parameters: { type: 'object' }, info: said(text, 'JSON') })

interface Described {
  body?: object
  answer?: object
}

/** By method and address, as routes have it. */
const calls: Readonly<Record<string, Described>> = {
  'POST /v1/images/generations': { body: object({ prompt: text, ...openaiFields, latent }, ['prompt']), answer: openaiAnswer },
  'POST /v1/images/edits': {
    body: object({ image: file, mask: file, prompt: text, input_fidelity: named('low', 'high'), strength, ...openaiFields, latent }, [
      'image',
      'prompt',
    ]),
    answer: openaiAnswer,
  },
  'POST /v1/images/variations': { body: object({ image: file, strength, ...openaiFields, latent }, ['image']), answer: openaiAnswer },
  'GET /v1/models': {
    answer: object({ object: text, data: listOf(object({ id: text, object: text, created: { type: 'integer' }, owned_by: text })) }),
  },
  'GET /v1/models/:model': { answer: object({ id: text, object: text, created: { type: 'integer' }, owned_by: text }) },
  'POST /sdapi/v1/txt2img': { body: object({ ...a1111Fields, ...hires }), answer: a1111Answer },
  'POST /sdapi/v1/img2img': { body: object({ ...a1111Fields, ...inpainting }, ['init_images']), answer: a1111Answer },
  'POST /sdapi/v1/png-info': {
    body: object({ image: picture }, ['image']),
    answer: object({ info: text, items: { type: 'object' }, parameters: { type: 'object' } }),
  },
  'POST /sdapi/v1/extra-single-image': {
    body: object(
      {
        ...{ image: picture, upscaler_1: named('None', 'Lanczos', 'Nearest'), resize_mode: whole(0, 1), upscaling_resize: number(0.05, 8) },
        ...{ upscaling_resize_w: whole(1, 16384), upscaling_resize_h: whole(1, 16384) },
      },
      ['image'],
    ),
    answer: object({ html_info: text, image: picture }),
  },
  'POST /sdapi/v1/options': { body: settings },
  'POST /internal/progress': {
    body: object({ id_task: text, id_live_preview: { type: 'integer' }, live_preview: flag }),
    answer: object({
      ...{ active: flag, queued: flag, completed: flag, textinfo: { type: 'string', nullable: true } },
      ...{ progress: { type: 'number', nullable: true }, eta: { type: 'number', nullable: true } },
      ...{ live_preview: { type: 'string', nullable: true }, id_live_preview: { type: 'integer' } },
    }),
  },
}

/** Completes the schema of a route for the document. */
export function describeCall<T extends FastifySchema>(schema: T, method: string, url: string): T {
  const { body, answer } = calls[`${method} ${url}`] ?? {}
  return {
    ...schema,
    ...(body === undefined ? {} : { body }),
    ...(answer === undefined ? {} : { response: { 200: { description: 'Done', ...answer } } }),
  }
}
