/** Options and results of the single calls of a pipeline: encoding, sampling, decoding. */
import type { Conditioning } from './conditioning.js'
import type { RawImage } from '../image/raw-image.js'
import type { Emphasis } from '../kinds/inputs.js'
import type { Latents } from './latents.js'
import type { previewMethods } from '../names.js'
import type { CallOptions, Progress, RngName, SamplerName, ScheduleName } from '../types.js'

/** DeepCache ("DeepCache: Accelerating Diffusion Models for Free", arXiv 2312.00858): reuses deep features for the next evaluations. Changes the image. */
export interface DeepCacheOptions {
  /** Run the whole network at every `interval`-th evaluation (2 to 1000), and only its outer blocks in between. */
  interval: number
  /** Skip connection at which the short evaluations stop: from 0, the outermost and cheapest (default), to levels times (blocks per level + 1) minus 2. */
  branch?: number
}

/**
 * The reference implementation that a sampler follows: `k` k-diffusion and the web UIs, `comfy` ComfyUI, `diffusers`, `compvis` the latent diffusion repository, `sgm` generative-models. Not every
 * sampler has every one.
 */
export type DialectName = 'k' | 'comfy' | 'diffusers' | 'compvis' | 'sgm'

/**
 * Few-step models with settings of their own: SD- and SDXL-Turbo; SDXL-Lightning by its steps (`lightning-1` gives the clean latents: load it with `spec: { prediction: 'sample' }`);
 * Hyper-SD's LoRAs, its unified LoRA and its one-step SDXL U-Net; LCM, TCD and PCM LoRAs; DMD2 with four steps and one; SDXS.
 */
export type PresetName =
  | 'turbo'
  | 'lightning-1'
  | 'lightning-2'
  | 'lightning-4'
  | 'lightning-8'
  | 'hyper-sd'
  | 'hyper-sd-unified'
  | 'hyper-sdxl-1'
  | 'lcm'
  | 'tcd'
  | 'dmd2'
  | 'dmd2-1'
  | 'pcm'
  | 'sdxs'

/** Options of the sampling loop. */
export interface SamplingOptions {
  /**
   * Settings of a few-step model, by its family: sampler, schedule or timesteps, steps, guidance and eta as its authors use them (docs/kinds.md has the table). Options
   * passed explicitly take precedence. Default: none.
   */
  preset?: PresetName
  /** Number of sampling steps, 1 to 1000. Default: the model's. */
  steps?: number
  /** Classifier-free guidance. 1 disables it, which halves the work. Default: the model's, 7.5 for Stable Diffusion. */
  guidanceScale?: number
  /**
   * Editing models (kind `edit`): how closely the result follows the image, as `guidanceScale` does for the prompt (diffusers' `image_guidance_scale`, A1111's Image CFG scale). Three
   * evaluations per step; two if it is 1 or equals `guidanceScale`. Default: the model's, 1.5.
   */
  imageGuidanceScale?: number
  /** Rescales the guided prediction towards the standard deviation of the conditional one, 0 (off, default) to 1. */
  guidanceRescale?: number
  /**
   * The part of the run to guide, in fractions [from, to) (Kynkäänniemi et al., arXiv 2404.07724). The other steps evaluate only the prompt, at half the work. Default
   * [0, 1].
   */
  guidanceInterval?: readonly [number, number]
  /** Reuses deep features between evaluations: faster, but changes the image (see docs/quality.md). Default: off. */
  deepCache?: DeepCacheOptions
  /** 0 to 2^64-1. Default: a random 32-bit number, reported in the result. */
  seed?: number | bigint
  sampler?: SamplerName
  /** A name, or descending sigmas, with or without the final 0. */
  schedule?: ScheduleName | Float32Array
  /** Explicit timesteps instead of a schedule, descending, 0 to 999 for most models. Some few-step models need them (DMD2: [999, 749, 499, 249]). */
  timesteps?: readonly number[]
  /** The reference implementation to follow if they differ, see {@link DialectName}. Default: depends on sampler and schedule. */
  dialect?: DialectName
  /** Amount of new noise per step, for solvers that support it (DDIM: 0 deterministic, 1 as DDPM). Default: the model's or the solver's. */
  eta?: number
  rng?: RngName
  /** Parameters of single solvers, passed through by name (`s_churn`, `order`, `disable_corrector` ...). */
  extra?: Record<string, number | string | boolean | readonly number[]>
}

/** Sampling options that need a model, and that a separate solver therefore does not take. */
export type EvaluationOption = 'preset' | 'guidanceScale' | 'imageGuidanceScale' | 'guidanceRescale' | 'guidanceInterval' | 'deepCache'

/** Options of {@link DiffusionPipeline.encodePrompt}. */
export interface EncodePromptOptions extends CallOptions {
  clipSkip?: number
  emphasis?: Emphasis
  /** Pad with empty chunks to at least this many, to give two prompts the same length. */
  minChunks?: number
}

/** Options of {@link DiffusionPipeline.encodeCondition}. */
export interface EncodeConditionOptions extends CallOptions {
  /** Encode the unconditional input instead: the empty prompt, the null class, zeros for embeddings; images stay. Default false. */
  unconditional?: boolean
  /** Prompts: pad with empty chunks to at least this many, to give two prompts the same length. */
  minChunks?: number
  /** Depth models: size in pixels of the image that the conditioning is for. Default: that of the depth map, rounded down to multiples of `info.sizeMultiple`. */
  width?: number
  height?: number
  /** SD x4 upscaler: seed of the noise added to the small image. Default: random. */
  seed?: number | bigint
  rng?: RngName
}

/** Options of {@link DiffusionPipeline.loss}. */
export interface LossOptions extends CallOptions {
  /** Timesteps to measure at, 0 to `spec.schedule.timesteps - 1`. Default: ten, spread evenly. */
  timesteps?: readonly number[]
  /** Seed of the noise (and of the posterior sample of a KL first stage). Default: random. */
  seed?: number | bigint
  rng?: RngName
  onProgress?: (progress: Progress) => unknown
}

/** Result of {@link DiffusionPipeline.loss}. */
export interface LossResult {
  timesteps: number[]
  /** Mean squared error of the network's prediction at each timestep. */
  losses: Float32Array
  mean: number
  seed: bigint
}

/** A prompt given as token ids: windows of the encoder's length (77), start and end tokens included. A multiple of 77 ids makes several windows. */
export interface TokenIds {
  tokenIds: readonly number[]
}

/** Options of {@link DiffusionPipeline.encodeImage}. */
export interface EncodeImageOptions extends CallOptions {
  /**
   * `sample` (default) draws from the posterior, `mean` is its mean; both are multiplied by the scale factor, and are the same for VQ first stages. Not scaled:
   * `moments` (KL), mean and log-variance channels; `prequant` (VQ), before quantisation.
   */
  mode?: 'sample' | 'mean' | 'moments' | 'prequant'
  seed?: number | bigint
  rng?: RngName
}

/** Options of {@link DiffusionPipeline.createLatents}. */
export interface CreateLatentsOptions extends CallOptions {
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
export interface SampleOptions extends SamplingOptions, CallOptions {
  /** From {@link DiffusionPipeline.encodeCondition} or {@link DiffusionPipeline.encodePrompt}. */
  conditioning?: Conditioning
  /** The unconditional counterpart: the negative or empty prompt, the null class ... Required if the guidance scale is not 1. Only its tokens are used. */
  unconditional?: Conditioning
  /**
   * Unit-variance start noise, or with `denoisingStart` the result of the earlier part; not modified. Default: noise from `seed`, `width`, `height` and
   * `batch`.
   */
  latents?: Latents
  /**
   * The part of the training time to run, 0 to 1 from the noise end; default 0 and 1. This lets two models share one schedule: the first runs with `denoisingEnd: 0.8`,
   * the second continues from its latents with `denoisingStart: 0.8` and the same `steps`, `sampler` and `schedule`. No noise is added in between.
   */
  denoisingStart?: number
  denoisingEnd?: number
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
  /** Timestep at which the network was evaluated. */
  timestep: number
  /** The live state: writing to it changes the input of the next step. After the last step it is the result. */
  latents: Latents
  /** A preview of `row`: small and directly from the latents (`linear`), with the tiny autoencoder loaded as `previewVae` (`taesd`), or with the first stage (`vae`). */
  preview(method?: (typeof previewMethods)[number], row?: number): Promise<RawImage>
}

/** Options of {@link DiffusionPipeline.predict}. */
export interface PredictOptions extends CallOptions {
  /** One for all rows, or one per row. Fractions are allowed. For models with `spec.schedule.edm`, ln(sigma) / 4. */
  timestep: number | readonly number[]
  conditioning?: Conditioning
  /** Needed for a guidance scale other than 1; the guided prediction is returned. */
  unconditional?: Conditioning
  /** Default 1. */
  guidanceScale?: number
  /** Editing models. Default 1. */
  imageGuidanceScale?: number
  /** Extra input channels, instead of those of `conditioning`. */
  concat?: Latents
}

/** Options of {@link DiffusionPipeline.decode}. */
export interface DecodeOptions extends CallOptions {
  /** `image` (default): 8-bit images. `float`: unclamped planar floats [n, channels, height, width]. */
  output?: 'image' | 'float'
  /** VQ first stages: quantise latents to the nearest codes before decoding, as the reference does. Default true. */
  quantize?: boolean
}
