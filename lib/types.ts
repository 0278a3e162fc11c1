/** The vocabulary of the public API: plain types, no code. */
import type { Conditioning } from './conditioning.js'
import type { RawImage } from './image/raw-image.js'
import type { Latents } from './latents.js'

/** Where the networks run: a backend's name, optionally with the number of one of its devices (`cuda:1`). `auto` takes the best one present. */
export type DeviceSpec = 'auto' | 'cpu' | 'cuda' | 'metal' | 'vulkan' | `cuda:${number}` | `metal:${number}` | `vulkan:${number}`

/** How weights are held in memory or written to a file. The `q*` types are ggml's block formats. */
export type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k' | 'q5_k' | 'q5_0' | 'q4_k' | 'q4_0'

/** Part of a model that `dtype`, `memory.keep` and reports speak of. */
export type ModelPart = 'unet' | 'textEncoder' | 'vae'

/** Solvers by name. `pipe.info.samplers` lists those that the loaded engine has. */
export type SamplerName =
  | 'ddim'
  | 'ddpm'
  | 'plms'
  | 'euler'
  | 'euler_a'
  | 'heun'
  | 'lms'
  | 'dpm2'
  | 'dpm2_a'
  | 'dpmpp_2s_a'
  | 'dpmpp_sde'
  | 'dpmpp_2m'
  | 'dpmpp_2m_sde'
  | 'dpmpp_3m_sde'
  | 'unipc'
  | 'deis'
  | 'lcm'
  | 'tcd'
  | (string & {})

/** Noise schedules (the placing of the steps) by name. `pipe.info.schedules` lists those that the loaded engine has. */
export type ScheduleName =
  | 'normal'
  | 'karras'
  | 'exponential'
  | 'polyexponential'
  | 'sgm_uniform'
  | 'simple'
  | 'ddim_uniform'
  | 'beta'
  | 'ays'
  | 'kl_optimal'
  | 'leading'
  | 'trailing'
  | 'linspace'
  | (string & {})

/** Generator of the start noise: `philox` gives the numbers of torch on CUDA (A1111's default), `mt19937` those of torch on the CPU (diffusers, ComfyUI). */
export type RngName = 'philox' | 'mt19937'

/** What the network was trained to predict. */
export type Prediction = 'eps' | 'v' | 'sample'

/** A model given as several files. Each is a path; `model` may hold everything that the others do not replace. */
export interface ModelFiles {
  /** Checkpoint file or diffusers folder. */
  model?: string | URL
  /** U-Net weights (file or folder) that replace those of `model`. */
  unet?: string | URL
  /** Text encoder weights (file or folder). */
  textEncoder?: string | URL
  /** First stage weights (file or folder). */
  vae?: string | URL
  /** Folder with tokenizer.json, vocab.json and merges.txt (CLIP) or vocab.txt (BERT); or the tokenizer.json or vocab.txt itself. */
  tokenizer?: string | URL
}

/**
 * Where a model comes from: a single file (.safetensors, .gguf, .ckpt, .pt, .pth, .bin), a diffusers folder, a `file:` URL, several parts, or `hf:owner/name[@revision]`
 * for a repository that is already in the local Hugging Face cache (nothing is downloaded).
 */
export type ModelSource = string | URL | ModelFiles

/** Training noise schedule of a model. */
export interface NoiseScheduleSpec {
  /** `scaled_linear`, `linear` or `squaredcos_cap_v2`. */
  betaSchedule: string
  betaStart: number
  betaEnd: number
  /** Training timesteps. */
  timesteps: number
  zeroTerminalSnr: boolean
  /** Explicit table, in place of the named form. */
  betas?: number[]
}

/** Everything that a model's weights do not say about themselves. Every field can be overridden with `LoadOptions.spec`. */
export interface ModelSpec {
  /** `text`, `autoencoder`, `class`, `unconditional` ... : what the model makes pictures from. */
  kind: string
  /** Human name of the nearest known model. */
  name: string
  /** `sd1`, `sd2`, `ldm`, `autoencoder` ... */
  family: string
  /** Layout of the file the weights came from. */
  layout: string
  conditioningKey: string
  prediction: Prediction
  schedule: NoiseScheduleSpec
  /** Latents are first stage codes times this. */
  scaleFactor: number
  /** Training size in pixels. */
  imageSize: number
  useEma: boolean
  unet: Record<string, unknown> | null
  firstStage: Record<string, unknown> | null
  conditioners: Record<string, unknown>[]
  sampler: string
  steps: number
  guidanceScale: number
  eta: number
}

/** A partial ModelSpec, nested objects included. */
export type ModelSpecOverrides = {
  [K in keyof ModelSpec]?: ModelSpec[K] extends unknown[]
    ? ModelSpec[K]
    : NonNullable<ModelSpec[K]> extends object
      ? Partial<NonNullable<ModelSpec[K]>>
      : ModelSpec[K]
}

/** A device that networks can run on. */
export interface Device {
  /** What `device:` takes: `cpu`, `cuda:0` ... */
  id: string
  /** Backend: `cpu`, `cuda`, `metal`, `vulkan`. */
  type: string
  /** Human name, e.g. the CPU's brand. */
  name: string
  /** Bytes; 0 when the backend does not say. */
  memoryTotal: number
  memoryFree: number
  [detail: string]: unknown
}

/** Progress of a long call. */
export interface Progress {
  phase: 'load' | 'encode' | 'sample' | 'decode' | 'convert'
  /** Finished units of this phase (bytes, steps, tiles). */
  step: number
  /** Units in all, 0 when unknown. */
  steps: number
  /** Milliseconds since the call began. */
  elapsedMs: number
  /** Estimated milliseconds to the end of this phase, `null` while unknown. */
  etaMs: number | null
}

/** Options that every long call takes. */
export interface CallOptions {
  /** Aborts the call while it is queued, between steps or inside one; the call rejects with `signal.reason`. */
  signal?: AbortSignal
}

/** Options of {@link DiffusionPipeline.load}. */
export interface LoadOptions extends CallOptions {
  /** Default `auto`. */
  device?: DeviceSpec
  /** Weight type in memory, for all parts or by part. Default: as stored. */
  dtype?: WeightType | Partial<Record<ModelPart, WeightType>>
  /** `exact` computes in float32 throughout; `fast` (default) uses 16-bit or int8 arithmetic where the machine has it. */
  precision?: 'exact' | 'fast'
  /** How much memory may be used. Default `auto`. */
  memory?: 'auto' | 'fast' | 'low' | MemoryOptions
  /** Threads of the CPU. Default: the physical cores. */
  threads?: number
  /** Read the EMA weights of a training checkpoint. Default: as the model's configuration says. */
  ema?: boolean
  /** Called while weights are read. An error thrown here rejects the call. */
  onProgress?: (progress: Progress) => unknown
  /** The reference's own configuration: path of a CompVis/Stability .yaml, or its parsed object. Default: the .yaml beside the checkpoint, if there is one. */
  config?: string | URL | object
  /** Single fields over what configuration and detection gave. */
  spec?: ModelSpecOverrides
}

/** The long form of {@link LoadOptions.memory}. */
export interface MemoryOptions {
  mode?: 'auto' | 'fast' | 'low'
  /** Upper bound in bytes for weights and working memory. */
  maxBytes?: number
  /** Decode in overlapping tiles: always, never, or (default) when the memory plan says so. */
  vaeTiling?: boolean | { /** Side of a tile in latent pixels. */ tileSize?: number }
}

/** What a loaded pipeline is. */
export interface PipelineInfo {
  /** What the model makes pictures from: `text` for Stable Diffusion. */
  kind: string
  /** Human name of the nearest known model. */
  name: string
  spec: ModelSpec
  /** Number of weights by part. */
  parameters: Partial<Record<ModelPart, number>> & { total: number }
  /** Weight type in memory by part. */
  dtypes: Partial<Record<ModelPart, string>>
  /** Mean bits per weight by part. */
  effectiveBits: Partial<Record<ModelPart, number>>
  /** What `generate()` uses where an option is left out. */
  defaults: {
    width: number
    height: number
    steps: number
    sampler: SamplerName
    /** Absent: the sampler's own, see `defaultSchedules`. */
    schedule?: ScheduleName
    guidanceScale: number
    /** Absent: the sampler's own. */
    eta?: number
    /** Absent: the model's own. */
    clipSkip?: number
  }
  samplers: SamplerName[]
  schedules: ScheduleName[]
  /** The schedule of each sampler where none is named. */
  defaultSchedules: Record<SamplerName, ScheduleName>
  /** Human names of samplers and schedules: `dpmpp_2m` is `DPM++ 2M`. */
  labels: Record<string, string>
  /** Pixels per latent pixel. */
  downsampling: number
  /** Widths and heights must be multiples of this many pixels. */
  sizeMultiple: number
  latentChannels: number
  precision: 'exact' | 'fast'
  device: Device
}

/** Header-level description of a model, from {@link inspect}. */
export interface ModelInfo {
  /** Where it was read from. */
  source: string
  spec: ModelSpec
  [detail: string]: unknown
}

/** Bytes held by a pipeline, and the process's peak. */
export interface MemoryUsage {
  parts: Partial<Record<ModelPart, number>>
  /** Graphs, latents and scratch. */
  compute: number
  total: number
  /** Highest resident size of the whole process so far. */
  processPeak: number
}

/** A picture without loss: planar float32, [n, channels, height, width], -1 to 1. */
export interface FloatImage {
  data: Float32Array
  shape: readonly number[]
}

/** What every image option takes: a picture, a path or URL, the bytes of a PNG (JPEG and WebP with the optional peer `sharp`), or exact floats. */
export type ImageInput = RawImage | string | URL | Uint8Array | FloatImage

/** Options of the sampling loop. */
export interface SamplingOptions {
  /** Network steps, 1 to 1000. Default: the model's. */
  steps?: number
  /** Classifier-free guidance. 1 means no guidance (and half the work). Default: the model's, 7.5 for Stable Diffusion. */
  guidanceScale?: number
  /** Rescales the guided prediction towards the standard deviation of the conditional one, 0 (off, default) to 1. */
  guidanceRescale?: number
  /** 0 to 2^64-1. Default: a random 32-bit number, reported in the result. */
  seed?: number | bigint
  /** Layers of the text encoder to skip, A1111's counting: 1 uses the last layer, 2 the last but one. Default: the model's own. */
  clipSkip?: number
  sampler?: SamplerName
  /** Name, or the sigmas themselves: descending, the final 0 included or not. */
  schedule?: ScheduleName | Float32Array
  /** Share of fresh noise per step for the solvers that know it (DDIM: 0 deterministic, 1 as DDPM). Default: the model's or the solver's own. */
  eta?: number
  rng?: RngName
  /** Parameters of single solvers, passed through by name (`s_churn`, `order` ...). */
  extra?: Record<string, number | string | boolean>
}

/** Live pictures during sampling. */
export interface PreviewOptions {
  /** One preview every so many steps. Default 1. */
  every?: number
  /** `linear` (default): a small picture straight from the latents, nearly free. `vae`: the real decoder, slow. */
  method?: 'linear' | 'vae'
  /** An error thrown here, or a promise that rejects, rejects the call. */
  onPreview: (image: RawImage, at: { step: number; steps: number; index: number }) => unknown
}

/** Options of {@link DiffusionPipeline.generate}. Unknown names are rejected. */
export interface GenerateOptions extends SamplingOptions, CallOptions {
  /** What to draw, in A1111's syntax: `(word:1.2)`, `[word]`, `BREAK`; any length. */
  prompt?: string
  /** What to keep out. Default: the empty prompt. */
  negativePrompt?: string
  /** Pixels, multiples of `info.sizeMultiple`. Default: the model's, or the size of `image`. */
  width?: number
  height?: number
  /** Pictures per call; picture i has the seed `seed + i`. Default 1. */
  count?: number
  /** Start picture (image to image). */
  image?: ImageInput
  /** Image to image: share of the schedule that is run, up to 1 (only the noise counts); at least one step must be left of it. Default 0.75. */
  strength?: number
  /** Start noise of unit variance in place of the seed's. */
  latents?: Latents
  /** How emphasis acts on the embedding. Default `original`: as A1111, keeping the mean. */
  emphasis?: 'original' | 'no_norm' | 'comfy'
  onProgress?: (progress: Progress) => unknown
  preview?: PreviewOptions
}

/** The options of a finished {@link DiffusionPipeline.generate} call with every default filled in. Passing them again repeats the call. */
export interface ResolvedOptions {
  prompt: string
  negativePrompt: string
  width: number
  height: number
  count: number
  steps: number
  guidanceScale: number
  guidanceRescale: number
  seed: bigint
  /** Absent where the model's own was used. */
  clipSkip?: number
  sampler: SamplerName
  /** Absent where the sampler has but one. */
  schedule?: ScheduleName | Float32Array
  /** Absent where the sampler's own was used, or it knows none. */
  eta?: number
  rng: RngName
  emphasis: 'original' | 'no_norm' | 'comfy'
  /** Only with `image`. */
  strength?: number
  image?: ImageInput
  latents?: Latents
  extra?: Record<string, number | string | boolean>
}

/** Milliseconds spent in each phase. */
export interface Timings {
  loadMs: number
  encodeMs: number
  sampleMs: number
  decodeMs: number
}

/** Result of {@link DiffusionPipeline.generate}. */
export interface GenerateResult {
  /** `save()` writes the settings into the PNG as A1111 does. */
  images: RawImage[]
  /** Seed of the first picture. */
  seed: bigint
  options: ResolvedOptions
  timings: Timings
}

/** Options of {@link DiffusionPipeline.encodePrompt}. */
export interface EncodePromptOptions extends CallOptions {
  clipSkip?: number
  emphasis?: 'original' | 'no_norm' | 'comfy'
  /** Pad with empty chunks to at least this many, so that two prompts get the same length. */
  minChunks?: number
}

/** A prompt given as token ids: windows of the encoder's length (77), start and end tokens included. A multiple of 77 ids makes several windows. */
export interface TokenIds {
  tokenIds: readonly number[]
}

/** Options of {@link DiffusionPipeline.encodeImage}. */
export interface EncodeImageOptions extends CallOptions {
  /** `sample` (default) draws from the posterior, `mean` takes its mean; both times the scale factor. `moments`: mean and log-variance channels, raw. */
  mode?: 'sample' | 'mean' | 'moments'
  seed?: number | bigint
  rng?: RngName
}

/** Options of {@link DiffusionPipeline.createLatents}. */
export interface CreateLatentsOptions {
  /** Pixels. Default: the model's. */
  width?: number
  height?: number
  /** Row i has the seed `seed + i`. Default: random. */
  seed?: number | bigint
  /** Rows. Default 1. */
  batch?: number
  rng?: RngName
}

/** Options of {@link DiffusionPipeline.sample}. */
export interface SampleOptions extends Omit<SamplingOptions, 'clipSkip'>, CallOptions {
  /** From {@link DiffusionPipeline.encodePrompt}. */
  conditioning?: Conditioning
  /** Conditioning of the negative or empty prompt; needed where the guidance scale is not 1. */
  unconditional?: Conditioning
  /** Unit-variance start noise; it is not changed. Default: noise from `seed`, `width`, `height` and `batch`. */
  latents?: Latents
  width?: number
  height?: number
  batch?: number
  /** Clean latents from {@link DiffusionPipeline.encodeImage}: image to image. */
  image?: Latents
  /** As in {@link GenerateOptions}, with `image` only. */
  strength?: number
  onProgress?: (progress: Progress) => unknown
}

/** One finished step of {@link DiffusionPipeline.sample}. */
export interface SampleStep {
  /** From 0. */
  index: number
  steps: number
  /** Noise level after the step. */
  sigma: number
  /** Timestep at which the network was asked. */
  timestep: number
  /** The live state: reading shows it, writing changes what the next step starts from. After the last step it holds the result. */
  latents: Latents
  /** A picture of the present state, one per row with `vae`, of `row` with `linear`. */
  preview(method?: 'linear' | 'vae', row?: number): Promise<RawImage>
}

/** Options of {@link DiffusionPipeline.predict}. */
export interface PredictOptions extends CallOptions {
  /** One for all rows or one per row; fractions allowed. */
  timestep: number | readonly number[]
  conditioning?: Conditioning
  /** With a guidance scale other than 1: the guided combination is returned. */
  unconditional?: Conditioning
  /** Default 1. */
  guidanceScale?: number
  /** Extra input channels of hybrid models. */
  concat?: Latents
}

/** Options of {@link DiffusionPipeline.decode}. */
export interface DecodeOptions extends CallOptions {
  /** `image` (default): 8-bit pictures. `float`: planar [n, channels, height, width], not clamped. */
  output?: 'image' | 'float'
}

/** Progress and decisions of the engine, for {@link setLogger}. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type Logger = (level: LogLevel, message: string) => void
