/** Options and results of generate(), by kind. Plain types, no code. */
import type { RawImage } from '../image/raw-image.js'
import type {
  AnyInputs,
  ClassInputs,
  DepthInputs,
  DepthMapInput,
  EditInputs,
  Emphasis,
  InpaintInputs,
  LayoutBox,
  LayoutInputs,
  MaskInput,
  RdmInputs,
  SemanticInputs,
  SemanticMapInput,
  SuperresInputs,
  TextInputs,
} from './inputs.js'
import type { ModelKind } from './kinds.js'
import type { Latents } from '../api/latents.js'
import type { Neighbours } from './neighbours.js'
import type { previewMethods, upscalerNames } from '../names.js'
import type { CallOptions, DeepCacheOptions, ImageInput, LoraOptions, LoraReport, ModelPart, Progress, SamplingOptions } from '../types.js'

/** Previews during sampling. */
export interface PreviewOptions {
  /** Steps between previews. Default 1. */
  every?: number
  /**
   * `linear` (default): a small image computed directly from the latents, almost free. `taesd`: full size, with the tiny autoencoder loaded as `previewVae` (or as
   * `vae`). `vae`: full size with the model's decoder, slow.
   */
  method?: (typeof previewMethods)[number]
  /** An error thrown here, or a rejected promise, rejects the call. */
  onPreview: (image: RawImage, at: { step: number; steps: number; index: number }) => unknown
}

/** Options of generate() for every kind of model. */
export interface CommonGenerateOptions extends SamplingOptions, CallOptions {
  /** Images per call; image i has the seed `seed + i`, or `seed` and the variation seed `variationSeed + i`. Default 1. */
  count?: number
  /**
   * How far the start noise is changed towards that of `variationSeed`, from 0 (not at all, the default) to 1 (it is that of the other seed). Spherical
   * interpolation as A1111's `subseed_strength`. Only the start noise is changed: samplers that add noise in every step (euler_a) take this noise from `seed`.
   * With an image and `rng: 'mt19937'`, strength 1 is not the image of the other seed: there, the noise follows the numbers that the encoder draws.
   */
  variationStrength?: number
  /** With `variationStrength`: the other seed, 0 to 2^64 - 1 (A1111's `subseed`). Default: random, as `options.variationSeed` of the result tells. */
  variationSeed?: number | bigint
  /** Start noise of unit variance, instead of noise from the seed. */
  latents?: Latents
  /**
   * A second pass at a larger size, so that large images keep the composition of the model's own size (A1111's "Hires. fix"). `width` and `height` are those of
   * the first pass. Only for models that draw from noise alone, without `image`, `latents`, sigmas and `timesteps` of your own. Default: none.
   */
  hires?: HiresOptions
  /**
   * In pixels, multiples of `info.sizeMultiple`. Default: the model's training size, or the size of the input image (rounded down to a multiple for image to image,
   * exact with a mask).
   */
  width?: number
  height?: number
  onProgress?: (progress: Progress) => unknown
  preview?: PreviewOptions
  /** Adapters for this call, instead of those of {@link DiffusionPipeline.setLoras}; `[]`: none. Adapters named in the prompt are added. */
  loras?: readonly LoraOptions[]
}

/** How the result of the first pass is enlarged: `latent...` in latent space (fast; needs a strength of 0.5 and more), the others as images. */
export type UpscalerName = (typeof upscalerNames)[number]

/** A second pass at a larger size: either `scale`, or `width` and `height`. */
export interface HiresOptions {
  /** Factor of both sides, 1 to 16; they are rounded down to multiples of `info.sizeMultiple`. */
  scale?: number
  /** In pixels, a multiple of `info.sizeMultiple`. */
  width?: number
  height?: number
  /** Steps that the second pass runs, whatever its strength (A1111's Hires steps). Default: `steps`. */
  steps?: number
  /** How much the second pass changes, above 0, up to 1 (A1111's Denoising strength). Default 0.7. */
  strength?: number
  /** Default `latent`, as A1111's "Latent": bilinear. */
  upscaler?: UpscalerName
}

/** {@link HiresOptions} with defaults. */
export type ResolvedHires = HiresOptions & Required<Pick<HiresOptions, 'steps' | 'strength' | 'upscaler'>>

/** Image to image. */
export interface ImageToImageOptions {
  /** Start image. */
  image?: ImageInput
  /** Fraction of the schedule to run, up to 1 (pure noise); it must leave at least one step. Default 0.75. */
  strength?: number
  /**
   * Areas of `image` to repaint: white (lightness 0.5 and above). Has the size of the image. Black areas are returned unchanged, and the result has the size of the
   * image even if that is not a multiple of `info.sizeMultiple`. With another `width` or `height`, image and mask are resized first. Default: the whole image.
   */
  mask?: MaskInput
}

/** Two models in one run. */
export interface RefinerOptions {
  /**
   * Only if a refiner is loaded ({@link ModelFiles.refiner}): fraction of the training time, from the noise end, after which it takes over, from 0 (from the first
   * step) to 1 (never). Both models share one list of steps, and the latents pass from one to the other unchanged. Default 0.8.
   */
  refinerSwitchAt?: number
}

/** Guidance away from a second prompt. */
export interface NegativePromptOptions {
  /** What the image should not show. Default: the empty prompt. */
  negativePrompt?: string
}

/** generate() of a text model. */
export interface TextGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, TextInputs, NegativePromptOptions, RefinerOptions {}

/** generate() of a class-conditional model. */
export interface ClassGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, ClassInputs {}

/** generate() of an unconditional model. */
export interface UnconditionalGenerateOptions extends CommonGenerateOptions, ImageToImageOptions {}

/** generate() of a layout-to-image model. */
export interface LayoutGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, LayoutInputs {}

/** generate() of a semantic synthesis model. The label map sets the size. */
export interface SemanticGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, SemanticInputs {}

/** generate() of a super-resolution model. The image sets the size. Prompt options only for models that read text (the SD x4 upscaler). */
export interface SuperresGenerateOptions extends CommonGenerateOptions, SuperresInputs, NegativePromptOptions {}

/** upscale(): like generate(), without the image. */
export type UpscaleOptions = Omit<SuperresGenerateOptions, 'image'>

/** generate() of an inpainting model. The image sets the size. Prompt options only for models that read text (Stable Diffusion inpainting). */
export interface InpaintGenerateOptions extends CommonGenerateOptions, InpaintInputs, NegativePromptOptions {}

/** generate() of an editing model. The image sets the size; {@link SamplingOptions.imageGuidanceScale} sets how closely the result follows it. */
export interface EditGenerateOptions extends CommonGenerateOptions, EditInputs, NegativePromptOptions {}

/** generate() of a depth model. Without `width` and `height`, the image has the size of the start image or else of the depth map, rounded down to a multiple. */
export interface DepthGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, DepthInputs, NegativePromptOptions {}

/** generate() of a retrieval-augmented model. */
export interface RdmGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, RdmInputs {}

/** The options of every kind. */
export interface GenerateOptionsByKind {
  text: TextGenerateOptions
  class: ClassGenerateOptions
  unconditional: UnconditionalGenerateOptions
  layout: LayoutGenerateOptions
  semantic: SemanticGenerateOptions
  superres: SuperresGenerateOptions
  inpaint: InpaintGenerateOptions
  edit: EditGenerateOptions
  depth: DepthGenerateOptions
  rdm: RdmGenerateOptions
  autoencoder: never
}

/** Options for a model whose kind the compiler does not know. At run time, only the options of its kind are accepted. */
export interface AnyGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, NegativePromptOptions, RefinerOptions, AnyInputs {}

/** Options of {@link DiffusionPipeline.generate} for one kind; without a kind, {@link AnyGenerateOptions}. */
export type GenerateOptions<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyGenerateOptions : GenerateOptionsByKind[K]

/** Sampling options that always have a value once a call has finished. */
type AlwaysSettled = 'steps' | 'guidanceScale' | 'guidanceRescale' | 'sampler' | 'rng'

/**
 * Resolved sampling options of every finished generate() call. `schedule` is absent if the sampler has only one or `timesteps` replace it; `eta` is absent if
 * the sampler's default was used or it has none; `guidanceScale` is 1 if the model was trained without an unconditional input.
 */
export interface ResolvedCommon extends Omit<SamplingOptions, AlwaysSettled | 'seed' | 'deepCache'>, Required<Pick<SamplingOptions, AlwaysSettled>> {
  width: number
  height: number
  count: number
  seed: bigint
  /** Both absent without variations. */
  variationSeed?: bigint
  variationStrength?: number
  /** Absent without a second pass; `width`, `height` and `steps` are those of the first. */
  hires?: ResolvedHires
  /** Absent: off. */
  deepCache?: Required<DeepCacheOptions>
  latents?: Latents
  /** Absent if there were none. Includes adapters named in the prompt, which are removed from it. */
  loras?: readonly LoraOptions[]
}

/** Image to image: absent unless an image was given. */
export interface ResolvedImageToImage {
  image?: ImageInput
  strength?: number
  mask?: MaskInput
}

/** Prompts with their defaults filled in. */
export interface ResolvedPrompts {
  prompt: string
  /** Absent if the network takes the guidance scale as an input and reads no negative prompt. */
  negativePrompt?: string
  emphasis: Emphasis
  /** Absent if the model's default was used. */
  clipSkip?: number
}

/** `refinerSwitchAt` is absent without a refiner. */
export interface TextResolvedOptions extends ResolvedCommon, ResolvedImageToImage, ResolvedPrompts, RefinerOptions {}

export interface ClassResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  /** The class number, even if a name was given. */
  classId: number
}

export interface UnconditionalResolvedOptions extends ResolvedCommon, ResolvedImageToImage {}

export interface LayoutResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  boxes: readonly LayoutBox[]
}

export interface SemanticResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  semanticMap: SemanticMapInput
}

/** Prompts only for models that read text. */
export interface SuperresResolvedOptions extends ResolvedCommon, Partial<ResolvedPrompts> {
  image: ImageInput
  noiseLevel?: number
}

/** Prompts only for models that read text. */
export interface InpaintResolvedOptions extends ResolvedCommon, Partial<ResolvedPrompts> {
  image: ImageInput
  mask: MaskInput
}

export interface EditResolvedOptions extends ResolvedCommon, ResolvedPrompts {
  image: ImageInput
}

export interface DepthResolvedOptions extends ResolvedCommon, ResolvedImageToImage, ResolvedPrompts {
  depthMap: DepthMapInput
}

export interface RdmResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  prompt?: string
  neighbours?: Neighbours
}

/** Resolved options of every kind. */
export interface ResolvedOptionsByKind {
  text: TextResolvedOptions
  class: ClassResolvedOptions
  unconditional: UnconditionalResolvedOptions
  layout: LayoutResolvedOptions
  semantic: SemanticResolvedOptions
  superres: SuperresResolvedOptions
  inpaint: InpaintResolvedOptions
  edit: EditResolvedOptions
  depth: DepthResolvedOptions
  rdm: RdmResolvedOptions
  autoencoder: never
}

/** Resolved options of a model whose kind the compiler does not know. */
export interface AnyResolvedOptions extends ResolvedCommon, ResolvedImageToImage, Partial<ResolvedPrompts>, RefinerOptions {
  classId?: number
  boxes?: readonly LayoutBox[]
  semanticMap?: SemanticMapInput
  mask?: MaskInput
  depthMap?: DepthMapInput
  noiseLevel?: number
  neighbours?: Neighbours
}

/** The options of a finished {@link DiffusionPipeline.generate} call with every default filled in. Passing them again repeats the call. */
export type ResolvedOptions<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyResolvedOptions : ResolvedOptionsByKind[K]

/**
 * Milliseconds spent in each phase. Calls that run together ({@link HostOptions.maxBatch}) share the time of sampling, and of loading weights in it: these are the
 * same for all of them, not a part for each, which {@link ownTimings} gives.
 */
export interface Timings {
  loadMs: number
  encodeMs: number
  sampleMs: number
  decodeMs: number
  /** The number of calls that ran together, this one included; 1: it ran alone. */
  sharedBy: number
}

/** A warning about something that you may not have intended. `code` is stable. */
export interface GenerateWarning {
  /**
   * `WARN_MASK_EMPTY`: the mask selects nothing. `WARN_MASK_FULL`: it selects everything. `WARN_ADAPTER_IGNORED`: an adapter in a prompt (`<lora:name:1>`) was not
   * applied. `WARN_ADAPTER_PARTIAL`: parts of an adapter file do not match a layer of this model or have an unsupported type. `WARN_NEGATIVE_IGNORED`: the negative
   * prompt has no effect, because `guidanceScale` is 1, or an input of the network. `WARN_VAE_FAMILY`: by its name, the tiny autoencoder is for the latents of
   * another family (TAESD with SDXL, TAESDXL with Stable Diffusion 1.x or 2.x).
   */
  code:
    | 'WARN_MASK_EMPTY'
    | 'WARN_MASK_FULL'
    | 'WARN_ADAPTER_IGNORED'
    | 'WARN_ADAPTER_PARTIAL'
    | 'WARN_NEGATIVE_IGNORED'
    | 'WARN_VAE_FAMILY'
    | (string & {})
  message: string
}

/** Result of {@link DiffusionPipeline.generate}. */
export interface GenerateResult<O = AnyResolvedOptions> {
  /** `save()` writes the settings into the PNG, as A1111 does. */
  images: RawImage[]
  /** Seed of the first image. */
  seed: bigint
  /** Passing them again repeats the call. */
  options: O
  timings: Timings
  /**
   * Parts computed in float32 because fast arithmetic gave NaN or infinity; usually none. They stay in float32 while the model is loaded. If float32 does not help, the
   * call rejects with a {@link ModelFormatError} that names the part.
   */
  float32Parts: ModelPart[]
  /** The adapters used. */
  loras: LoraReport[]
  /** Warnings; usually none. */
  warnings: GenerateWarning[]
}
