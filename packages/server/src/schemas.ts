/** JSON Schemas of the native API, for checking requests and for the OpenAPI document. The engine checks bounds that depend on the model. */

const text = { type: 'string', maxLength: 32_000 } as const
const name = { type: 'string', minLength: 1, maxLength: 200 } as const
const number = { type: 'number' } as const
const whole = (minimum: number, maximum: number) => ({ type: 'integer', minimum, maximum }) as const
const side = whole(1, 16384)

const picture = {
  oneOf: [
    { type: 'string', description: 'base64 of a PNG, JPEG or WebP file, with or without a data: prefix' },
    {
      type: 'object',
      required: ['job', 'index'],
      additionalProperties: false,
      properties: { job: name, index: whole(0, 255) },
      description: 'an image of a finished job',
    },
  ],
} as const

const seed = {
  oneOf: [whole(0, Number.MAX_SAFE_INTEGER), { type: 'string', pattern: '^\\d{1,20}$' }],
  description: '0 to 2^64-1; default: random',
} as const

const flag = { type: 'boolean' } as const
const box = {
  type: 'object',
  required: ['label', 'x', 'y', 'width', 'height'],
  additionalProperties: false,
  properties: {
    label: { oneOf: [whole(0, 1_000_000), name] },
    ...{ x: number, y: number, width: number, height: number },
    ...{ groupOf: flag, occluded: flag, depiction: flag, inside: flag },
  },
} as const

export const jobRequest = {
  type: 'object',
  additionalProperties: false,
  properties: {
    model: name,
    prompt: text,
    negativePrompt: text,
    seed,
    steps: whole(1, 1000),
    guidanceScale: number,
    imageGuidanceScale: number,
    refinerSwitchAt: { type: 'number', minimum: 0, maximum: 1 },
    guidanceRescale: number,
    guidanceInterval: { type: 'array', items: number, minItems: 2, maxItems: 2 },
    sampler: name,
    schedule: name,
    timesteps: { type: 'array', items: number, minItems: 1, maxItems: 1000 },
    preset: name,
    eta: number,
    rng: { enum: ['philox', 'mt19937'] },
    clipSkip: whole(1, 100),
    emphasis: { enum: ['original', 'no_norm', 'comfy'] },
    width: side,
    height: side,
    count: whole(1, 256),
    variationSeed: seed,
    variationStrength: { type: 'number', minimum: 0, maximum: 1 },
    hires: {
      type: 'object',
      additionalProperties: false,
      properties: {
        scale: { type: 'number', minimum: 1, maximum: 16 },
        ...{ width: side, height: side, steps: whole(1, 1000) },
        strength: { type: 'number', minimum: 0, maximum: 1 },
        upscaler: { enum: ['latent', 'latent_bicubic', 'latent_nearest', 'latent_nearest_exact', 'lanczos', 'bicubic', 'nearest'] },
      },
    },
    image: picture,
    strength: { type: 'number', minimum: 0, maximum: 1 },
    mask: picture,
    classId: { oneOf: [whole(0, 1_000_000), name] },
    boxes: { type: 'array', maxItems: 1000, items: box },
    semanticMap: picture,
    depthMap: picture,
    noiseLevel: whole(0, 100_000),
    preview: {
      oneOf: [
        { type: 'boolean' },
        {
          type: 'object',
          additionalProperties: false,
          properties: { every: whole(1, 1000), method: { enum: ['linear', 'taesd', 'vae'] } },
        },
      ],
    },
    priority: { enum: ['interactive', 'batch'] },
  },
} as const

export const moveRequest = {
  type: 'object',
  required: ['position'],
  additionalProperties: false,
  properties: { position: whole(0, 100_000) },
} as const

export const pullRequest = {
  type: 'object',
  required: ['source'],
  additionalProperties: false,
  properties: { source: { ...name, description: "'hf:owner/name' or 'civitai:VERSION'" }, name },
} as const

export const tokenizeRequest = {
  type: 'object',
  required: ['prompt'],
  additionalProperties: false,
  properties: { model: name, prompt: text },
} as const

export const estimateRequest = {
  type: 'object',
  additionalProperties: false,
  properties: { model: name, width: side, height: side, count: whole(1, 256), guidanceScale: number, imageGuidanceScale: number },
} as const

export const listQuery = {
  type: 'object',
  properties: { status: { enum: ['queued', 'running', 'succeeded', 'failed', 'cancelled'] }, cursor: name },
} as const

export const jobParams = { type: 'object', properties: { id: { type: 'string', maxLength: 64 } } } as const
