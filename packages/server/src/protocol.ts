/**
 * Types of requests and answers of the native job API, `/latent/v1`. Only types, without imports, so that pages and other clients can use the file.
 *
 * | call                                     | takes                       | answers                                                                     |
 * | ---------------------------------------- | --------------------------- | --------------------------------------------------------------------------- |
 * | GET /latent/v1/server                    |                             | ServerInfo                                                                  |
 * | GET /latent/v1/events                    |                             | server-sent events: `status` with ServerStatus, at once and at every change |
 * | POST /latent/v1/jobs                     | JobRequest                  | 202 Job                                                                     |
 * | GET /latent/v1/jobs?status=&cursor=      |                             | JobList, the newest first                                                   |
 * | GET /latent/v1/jobs/{id}                 |                             | Job                                                                         |
 * | PATCH /latent/v1/jobs/{id}               | { position }                | Job, moved to that place of the queue (0: next)                             |
 * | DELETE /latent/v1/jobs/{id}              |                             | Job, cancelled; 204 if it was finished, and is forgotten                 |
 * | GET /latent/v1/jobs/{id}/events          | Last-Event-ID               | server-sent events, JobEvents                                               |
 * | GET /latent/v1/jobs/{id}/images/{n}.png  |                             | PNG                                                                         |
 * | GET /latent/v1/models                    |                             | { models: Model[] }                                                         |
 * | GET /latent/v1/models/{name}             |                             | ModelDetails                                                                |
 * | POST /latent/v1/models/{name}/load       |                             | ModelDetails, loaded                                                        |
 * | POST /latent/v1/models/{name}/unload     |                             | 204                                                                         |
 * | POST /latent/v1/models/pull              | PullRequest                 | server-sent events, PullEvents                                              |
 * | DELETE /latent/v1/models/{name}          |                             | 204; pulled ones alone, with the files that their pull brought             |
 * | POST /latent/v1/tokenize                 | TokenizeRequest             | TokenizeResult                                                              |
 * | POST /latent/v1/estimate                 | EstimateRequest             | EstimateResult                                                              |
 *
 * Whatever fails answers ErrorBody.
 */

/** A second pass; see `generate()`. */
export interface HiresOptions {
  scale?: number
  width?: number
  height?: number
  /** Default: those of the first pass. */
  steps?: number
  /** Default 0.7. */
  strength?: number
  upscaler?: 'latent' | 'latent_bicubic' | 'latent_nearest' | 'latent_nearest_exact' | 'lanczos' | 'bicubic' | 'nearest'
}

/** An image in a request: base64 of a file (PNG, JPEG, WebP), with or without `data:...;base64,` before it; or the image of a finished job. */
export type Picture = string | { job: string; index: number }

/**
 * Options of `generate()`. With multipart/form-data, the field `request` holds this as JSON, and files named `image`, `mask`, `semanticMap` and `depthMap` take
 * the place of its images.
 */
export interface JobRequest {
  /** Default: the server's first. */
  model?: string
  prompt?: string
  negativePrompt?: string
  /** 0 to 2^64-1; as a string above 2^53. Default: random. */
  seed?: number | string
  steps?: number
  guidanceScale?: number
  /** Of models that edit an image. */
  imageGuidanceScale?: number
  /** Of models with a refiner. */
  refinerSwitchAt?: number
  guidanceRescale?: number
  guidanceInterval?: [number, number]
  sampler?: string
  schedule?: string
  timesteps?: number[]
  preset?: string
  eta?: number
  rng?: 'philox' | 'mt19937'
  clipSkip?: number
  emphasis?: 'original' | 'no_norm' | 'comfy'
  width?: number
  height?: number
  /** Images, with seeds `seed`, `seed + 1` ..., or with one seed and variation seeds `variationSeed`, `variationSeed + 1` ... */
  count?: number
  /** As `seed`; with `variationStrength`. Default: random. */
  variationSeed?: number | string
  /** How far the start noise is changed towards that of the variation seed, 0 (default) to 1. */
  variationStrength?: number
  /** A second pass at a larger size: either `scale`, or `width` and `height`. */
  hires?: HiresOptions
  image?: Picture
  strength?: number
  /** White areas are repainted. */
  mask?: Picture
  classId?: number | string
  boxes?: { label: number | string; x: number; y: number; width: number; height: number }[]
  semanticMap?: Picture
  /** Grey, white is near. */
  depthMap?: Picture
  noiseLevel?: number
  /** Previews as `preview` events, every this many steps; false (default): none. */
  preview?: boolean | { every?: number; method?: 'linear' | 'taesd' | 'vae' }
  /** `interactive` (default) precedes `batch`. Can also be set with the header `x-latent-priority`. */
  priority?: Priority
}

export type Priority = 'interactive' | 'batch'

export type JobStatus = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled'

export interface JobProgress {
  phase: 'download' | 'load' | 'encode' | 'sample' | 'decode' | 'convert'
  /** Finished units of this phase (bytes, steps, tiles). */
  step: number
  /** Total units, 0 if unknown. */
  steps: number
  /** Milliseconds since the job began to run. */
  elapsedMs: number
  /** Milliseconds to the end of this phase, null if unknown. */
  etaMs: number | null
}

export interface JobImage {
  /** Path on this server. */
  url: string
  sha256: string
  width: number
  height: number
  /** As a string: seeds have 64 bits. */
  seed: string
  /** Only of variations. */
  variationSeed?: string
  /** Texts of the PNG; `parameters` contains the settings in A1111's format. */
  metadata: Record<string, string>
}

export interface JobResult {
  images: JobImage[]
  /** Options with all defaults, without images. */
  options: Record<string, unknown>
  /** `sharedBy`: requests that were made together; `sampleMs` is the time of all of them. */
  timings: { loadMs: number; encodeMs: number; sampleMs: number; decodeMs: number; sharedBy?: number }
  warnings: { code: string; message: string }[]
}

export interface Job {
  id: string
  status: JobStatus
  /** The request, without the bytes of images. */
  request: Record<string, unknown>
  model: string
  priority: Priority
  /** Number of jobs before this one; present while it waits. */
  position?: number
  /** ISO 8601. */
  created: string
  started?: string
  finished?: string
  progress?: JobProgress
  result?: JobResult
  error?: ApiError
  links: { self: string; events: string }
}

export interface JobList {
  jobs: Job[]
  /** Pass as `?cursor=` for the next page. Absent on the last one. */
  next?: string
}

/**
 * Events of a job; the field `event` of the stream is `type`, and every event has an id. A stream reopened with `Last-Event-ID` continues after it, without
 * superseded events (older previews, progress and positions). The stream ends after `done` or `error`; a comment is sent every 15 seconds.
 */
export type JobEvent =
  | { type: 'queued'; position: number }
  | { type: 'started' }
  | ({ type: 'progress' } & JobProgress)
  /** `url`: a data: URL of a PNG, smaller than the image with `linear`. */
  | { type: 'preview'; index: number; step: number; steps: number; width: number; height: number; url: string }
  | ({ type: 'image'; index: number } & JobImage)
  | { type: 'done'; job: Job }
  /** `status`: `failed`, or `cancelled` with code ERR_CANCELLED. */
  | { type: 'error'; status: JobStatus; error: ApiError }

export interface ApiError {
  /** Stable, for programs: ERR_INVALID_ARG, ERR_BUSY, ERR_NOT_FOUND, ERR_OUT_OF_MEMORY ... */
  code: string
  /** For people. */
  message: string
  /** Whether the same request may succeed later. */
  retriable: boolean
  /** Numbers and names in the message; for ERR_OUT_OF_MEMORY the plans that fit (`plans`). */
  details?: Record<string, unknown>
}

export interface ErrorBody {
  error: ApiError
}

export interface Model {
  name: string
  /** In memory. */
  loaded: boolean
  /** Size of the file, if it is a local file. */
  bytes?: number
  /** Downloaded by `pull`; can be deleted. */
  pulled: boolean
}

/** Description of a model, from its files' headers. */
export interface ModelDetails extends Model {
  kind: string
  /** Name of the closest known model. */
  title: string
  defaults: {
    width: number
    height: number
    steps: number
    sampler: string
    schedule?: string
    guidanceScale: number
    /** Of models that edit an image. */
    imageGuidanceScale?: number
    eta?: number
    clipSkip?: number
  }
  samplers: string[]
  schedules: string[]
  defaultSchedules: Record<string, string>
  /** Display names of samplers and schedules. */
  labels: Record<string, string>
  /** Widths and heights must be multiples of this. */
  sizeMultiple: number
  /** Pixels per latent pixel. */
  downsampling: number
  /** Guidance, tokens per window (`tokens`), number of classes, factor of super-resolution ... */
  condition: Record<string, unknown>
  /** Names of classes or labels, if the model has them. */
  classes?: string[]
  parameters: number
  device: string
}

export interface ServerInfo {
  version: string
  /** The default model. */
  defaultModel: string
  limits: { maxPixels: number; maxSteps: number; maxCount: number; maxQueue: number; maxBodyBytes: number; maxFileBytes: number }
  /** Whether models can be downloaded with `pull`. */
  canPull: boolean
  status: ServerStatus
}

export interface ServerStatus {
  engine: 'idle' | 'starting' | 'ready' | 'closed'
  running: boolean
  queued: number
  /** Ids of the jobs of this API, the running one first, then the waiting ones in order. */
  jobs: string[]
  /** Models in memory. */
  loaded: string[]
  /** Engine restarts after crashes. */
  restarts: number
}

export interface PullRequest {
  /** `hf:owner/name[/file][@revision]` or `civitai:VERSION`. */
  source: string
  /** The name to serve the model under. Default: the last part of the source. */
  name?: string
}

export type PullEvent =
  { type: 'progress'; file: string; bytes: number; totalBytes: number } | { type: 'done'; model: Model } | { type: 'error'; error: ApiError }

export interface TokenizeRequest {
  model?: string
  prompt: string
}

export interface TokenizeResult {
  /** Tokens of the prompt, without start, end and padding. */
  tokens: number
  /** Tokens that fit into one window of the encoder. */
  window: number
  windows: number
  /** Whether part of the prompt did not fit. */
  truncated: boolean
  /** Windows of the prompt: its tokens as spelled in the vocabulary, without start, end and padding. */
  chunks: { text: string[]; weights: number[] }[]
}

export interface EstimateRequest {
  model?: string
  width?: number
  height?: number
  count?: number
  guidanceScale?: number
  /** Of models that edit an image. */
  imageGuidanceScale?: number
}

export interface EstimateResult {
  width: number
  height: number
  /** The largest stage, in bytes, including weights. */
  peakBytes: number
  /** The same with little memory (`memory: 'low'`). */
  lowPeakBytes: number
  /** Memory of the engine's process itself. */
  processBytes: number
  /** Free memory of the computer. */
  freeBytes: number
}
