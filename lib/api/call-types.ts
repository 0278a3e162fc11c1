/** What the calls of a pipeline take and give, one by one: encoding, sampling, decoding. */
import type { Conditioning } from './conditioning.js'
import type { RawImage } from '../image/raw-image.js'
import type { Emphasis } from '../kinds/inputs.js'
import type { Latents } from './latents.js'
import type { CallOptions, Progress, RngName, SamplerName, ScheduleName } from '../types.js'

/** DeepCache ("DeepCache: Accelerating Diffusion Models for Free", arXiv 2312.00858): deep features of one evaluation serve the next ones too. Pictures change. */
export interface DeepCacheOptions {
  /** The whole network runs at every `interval`-th evaluation, 2 to 1000; in between only its outer blocks. */
  interval: number
  /** Which skip connection the short evaluations go through: 0, the outermost and cheapest (default), inwards up to the number of levels times (blocks per level + 1) less 2. */
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
   * Settings of a few-step model, by its family: sampler, schedule or timesteps, steps, guidance and eta as its authors use them (docs/kinds.md has the table). Each of these options that
   * is given as well counts before the preset's. Default: none.
   */
  preset?: PresetName
  /** Network steps, 1 to 1000. Default: the model's. */
  steps?: number
  /** Classifier-free guidance. 1 means no guidance (and half the work). Default: the model's, 7.5 for Stable Diffusion. */
  guidanceScale?: number
  /**
   * Models that edit a picture (kind `edit`): how close the result stays to it, as `guidanceScale` is for the prompt (diffusers' `image_guidance_scale`, A1111's Image CFG scale). Three
   * evaluations a step; two where it is 1 or equal to `guidanceScale`. Default: the model's, 1.5.
   */
  imageGuidanceScale?: number
  /** Rescales the guided prediction towards the standard deviation of the conditional one, 0 (off, default) to 1. */
  guidanceRescale?: number
  /**
   * Part of the steps that is guided, as fractions of the run: from the first, before the second (Kynkäänniemi et al., arXiv 2404.07724). Outside of it the prompt alone counts,
   * at half the work. Default [0, 1].
   */
  guidanceInterval?: readonly [number, number]
  /** Reuse of deep features between evaluations: faster, with other pictures (docs/quality.md says by how much). Default: off. */
  deepCache?: DeepCacheOptions
  /** 0 to 2^64-1. Default: a random 32-bit number, reported in the result. */
  seed?: number | bigint
  sampler?: SamplerName
  /** Name, or the sigmas themselves: descending, the final 0 included or not. */
  schedule?: ScheduleName | Float32Array
  /** The timesteps of the steps in place of a schedule, descending, 0 to 999 for most models: few-step models name theirs (DMD2: [999, 749, 499, 249]). */
  timesteps?: readonly number[]
  /** Which reference implementation to follow where they differ: see {@link DialectName}. Default: chosen from sampler and schedule. */
  dialect?: DialectName
  /** Share of fresh noise per step for the solvers that know it (DDIM: 0 deterministic, 1 as DDPM). Default: the model's or the solver's own. */
  eta?: number
  rng?: RngName
  /** Parameters of single solvers, passed through by name (`s_churn`, `order`, `disable_corrector` ...). */
  extra?: Record<string, number | string | boolean | readonly number[]>
}

/** Sampling options of a model, which a solver on its own does not take. */
export type EvaluationOption = 'preset' | 'guidanceScale' | 'imageGuidanceScale' | 'guidanceRescale' | 'guidanceInterval' | 'deepCache'

/** Options of {@link DiffusionPipeline.encodePrompt}. */
export interface EncodePromptOptions extends CallOptions {
  clipSkip?: number
  emphasis?: Emphasis
  /** Pad with empty chunks to at least this many, so that two prompts get the same length. */
  minChunks?: number
}

/** Options of {@link DiffusionPipeline.encodeCondition}. */
export interface EncodeConditionOptions extends CallOptions {
  /** What guidance compares with, in place of the inputs: the empty prompt, the null class, zeros in place of embeddings; pictures stay. Default false. */
  unconditional?: boolean
  /** Prompts: pad with empty chunks to at least this many, so that two prompts get the same length. */
  minChunks?: number
  /** SD x4 upscaler: seed of the noise that the small picture gets. Default: random. */
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
   * `sample` (default) draws from the posterior, `mean` takes its mean; both times the scale factor, and the same for VQ first stages. Raw: `moments` (KL), mean and
   * log-variance channels; `prequant` (VQ), before quantisation.
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
  /** What guidance compares with: the negative or empty prompt, the null class ...; needed where the guidance scale is not 1. Its tokens alone count. */
  unconditional?: Conditioning
  /**
   * Unit-variance start noise, or with `denoisingStart` the state that the earlier part ended with; it is not changed. Default: noise from `seed`, `width`, `height` and
   * `batch`.
   */
  latents?: Latents
  /**
   * Part of the training time that is run, 0 to 1 from the noise end; default 0 and 1. Two models share one schedule that way: the first runs with `denoisingEnd: 0.8`, the
   * second goes on from its latents with `denoisingStart: 0.8` and the same `steps`, `sampler` and `schedule`. No noise is added in between.
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
  /** Timestep at which the network was asked. */
  timestep: number
  /** The live state: reading shows it, writing changes what the next step starts from. After the last step it holds the result. */
  latents: Latents
  /** A picture of the present state of `row`: small and straight from the latents (`linear`), through the tiny autoencoder that was loaded as `previewVae` (`taesd`), or through the first stage (`vae`). */
  preview(method?: 'linear' | 'taesd' | 'vae', row?: number): Promise<RawImage>
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
  /** Models that edit a picture. Default 1. */
  imageGuidanceScale?: number
  /** Extra input channels, in place of those of `conditioning`. */
  concat?: Latents
}

/** Options of {@link DiffusionPipeline.decode}. */
export interface DecodeOptions extends CallOptions {
  /** `image` (default): 8-bit pictures. `float`: planar [n, channels, height, width], not clamped. */
  output?: 'image' | 'float'
  /** VQ first stages: latents become their nearest codes first, as the reference decodes. Default true. */
  quantize?: boolean
}
