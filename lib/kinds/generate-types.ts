/** Options and results of generate(), by kind. Plain types, no code. */
import type { RawImage } from '../image/raw-image.js'
import type {
  AnyInputs,
  ClassInputs,
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
import type { CallOptions, DeepCacheOptions, ImageInput, LoraOptions, LoraReport, ModelPart, Progress, SamplingOptions } from '../types.js'

/** Live pictures during sampling. */
export interface PreviewOptions {
  /** One preview every so many steps. Default 1. */
  every?: number
  /**
   * `linear` (default): a small picture straight from the latents, nearly free. `taesd`: full size through the tiny autoencoder that was loaded as `previewVae` (or as `vae`). `vae`: the
   * real decoder, slow.
   */
  method?: 'linear' | 'taesd' | 'vae'
  /** An error thrown here, or a rejected promise, rejects the call. */
  onPreview: (image: RawImage, at: { step: number; steps: number; index: number }) => unknown
}

/** What generate() takes for every kind of model. */
export interface CommonGenerateOptions extends SamplingOptions, CallOptions {
  /** Pictures per call; picture i has the seed `seed + i`. Default 1. */
  count?: number
  /** Start noise of unit variance in place of the seed's. */
  latents?: Latents
  /**
   * Pixels, multiples of `info.sizeMultiple`; beyond the training size too. Default: the model's, or the size of the picture given: rounded down to such
   * multiples for image to image, as it is with a mask.
   */
  width?: number
  height?: number
  onProgress?: (progress: Progress) => unknown
  preview?: PreviewOptions
  /** Adapters of this call, in place of those of {@link DiffusionPipeline.setLoras}; `[]`: none. Those that the prompt names come on top. */
  loras?: readonly LoraOptions[]
}

/** Image to image. */
export interface ImageToImageOptions {
  /** Start picture. */
  image?: ImageInput
  /** Share of the schedule that is run, up to 1 (only the noise counts); at least one step must be left of it. Default 0.75. */
  strength?: number
  /**
   * Areas of `image` to repaint: white, from half lightness (0.5) on. As large as the picture. Black areas are returned unchanged, and the result has the size of the
   * picture, even where that is not a multiple of what the model needs. With another `width` or `height`, picture and mask are resized first. Default: the whole picture.
   */
  mask?: MaskInput
}

/** Two models in one run. */
export interface RefinerOptions {
  /**
   * Only where a refiner was loaded ({@link ModelFiles.refiner}): share of the training time, from the noise end, after which it takes over, 0 (from the first step) to 1
   * (never). Both models share one list of steps, and the latents go from one to the other as they are. Default 0.8.
   */
  refinerSwitchAt?: number
}

/** Guidance by a second prompt. */
export interface NegativePromptOptions {
  /** What should not be in the picture. Default: the empty prompt. */
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

/** generate() of a super-resolution model. The picture sets the size. Prompt options only where the model reads text (the SD x4 upscaler). */
export interface SuperresGenerateOptions extends CommonGenerateOptions, SuperresInputs, NegativePromptOptions {}

/** upscale(): as generate(), without the picture. */
export type UpscaleOptions = Omit<SuperresGenerateOptions, 'image'>

/** generate() of an inpainting model. The picture sets the size. Prompt options only where the model reads text (Stable Diffusion inpainting). */
export interface InpaintGenerateOptions extends CommonGenerateOptions, InpaintInputs, NegativePromptOptions {}

/** generate() of a model that edits a picture. The picture sets the size; {@link SamplingOptions.imageGuidanceScale} says how close the result stays to it. */
export interface EditGenerateOptions extends CommonGenerateOptions, EditInputs, NegativePromptOptions {}

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
  rdm: RdmGenerateOptions
  autoencoder: never
}

/** Options for a model whose kind is not known to the compiler. At run time only those of its kind are taken, and unknown names are rejected. */
export interface AnyGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, NegativePromptOptions, RefinerOptions, AnyInputs {}

/** Options of {@link DiffusionPipeline.generate} for one kind; without a kind, {@link AnyGenerateOptions}. */
export type GenerateOptions<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyGenerateOptions : GenerateOptionsByKind[K]

/** Sampling options that always have a value once a call has finished. */
type AlwaysSettled = 'steps' | 'guidanceScale' | 'guidanceRescale' | 'sampler' | 'rng'

/**
 * What every finished generate() call says of its options: the sampling options, where they were given or the model has a value for them. `schedule` is absent where the
 * sampler has but one, or `timesteps` take its place; `eta` where the sampler's own was used, or it knows none; `guidanceScale` is 1 where the model was trained without an
 * unconditional input.
 */
export interface ResolvedCommon extends Omit<SamplingOptions, AlwaysSettled | 'seed' | 'deepCache'>, Required<Pick<SamplingOptions, AlwaysSettled>> {
  width: number
  height: number
  count: number
  seed: bigint
  /** Absent: off. */
  deepCache?: Required<DeepCacheOptions>
  latents?: Latents
  /** Absent where there were none. Those that the prompt names are among them, and no longer in the prompt. */
  loras?: readonly LoraOptions[]
}

/** Image to image: absent unless a picture was given. */
export interface ResolvedImageToImage {
  image?: ImageInput
  strength?: number
  mask?: MaskInput
}

/** Prompts with their defaults filled in. */
export interface ResolvedPrompts {
  prompt: string
  /** Absent where the network is told the guidance scale, and reads no negative prompt. */
  negativePrompt?: string
  emphasis: Emphasis
  /** Absent where the model's own was used. */
  clipSkip?: number
}

/** `refinerSwitchAt` is absent without a refiner. */
export interface TextResolvedOptions extends ResolvedCommon, ResolvedImageToImage, ResolvedPrompts, RefinerOptions {}

export interface ClassResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  /** The number, also where a name was given. */
  classId: number
}

export interface UnconditionalResolvedOptions extends ResolvedCommon, ResolvedImageToImage {}

export interface LayoutResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  boxes: readonly LayoutBox[]
}

export interface SemanticResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
  semanticMap: SemanticMapInput
}

/** Prompts only where the model reads text. */
export interface SuperresResolvedOptions extends ResolvedCommon, Partial<ResolvedPrompts> {
  image: ImageInput
  noiseLevel?: number
}

/** Prompts only where the model reads text. */
export interface InpaintResolvedOptions extends ResolvedCommon, Partial<ResolvedPrompts> {
  image: ImageInput
  mask: MaskInput
}

export interface EditResolvedOptions extends ResolvedCommon, ResolvedPrompts {
  image: ImageInput
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
  rdm: RdmResolvedOptions
  autoencoder: never
}

/** Resolved options of a model whose kind is not known to the compiler. */
export interface AnyResolvedOptions extends ResolvedCommon, ResolvedImageToImage, Partial<ResolvedPrompts>, RefinerOptions {
  classId?: number
  boxes?: readonly LayoutBox[]
  semanticMap?: SemanticMapInput
  mask?: MaskInput
  noiseLevel?: number
  neighbours?: Neighbours
}

/** The options of a finished {@link DiffusionPipeline.generate} call with every default filled in. Passing them again repeats the call. */
export type ResolvedOptions<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyResolvedOptions : ResolvedOptionsByKind[K]

/** Milliseconds spent in each phase. */
export interface Timings {
  loadMs: number
  encodeMs: number
  sampleMs: number
  decodeMs: number
}

/** Something that was done but may not be what you meant. `code` is stable and meant for programs, `message` for people. */
export interface GenerateWarning {
  /**
   * `WARN_MASK_EMPTY`: the mask selects nothing. `WARN_MASK_FULL`: it selects everything. `WARN_ADAPTER_IGNORED`: a prompt names an adapter (`<lora:name:1>`) that was not
   * applied. `WARN_ADAPTER_PARTIAL`: a part of an adapter's file belongs to no layer of this model, or has a form that is not applied.
   * `WARN_NEGATIVE_IGNORED`: a negative prompt for a network that is told the guidance scale, which compares with nothing.
   */
  code: 'WARN_MASK_EMPTY' | 'WARN_MASK_FULL' | 'WARN_ADAPTER_IGNORED' | 'WARN_ADAPTER_PARTIAL' | 'WARN_NEGATIVE_IGNORED' | (string & {})
  message: string
}

/** Result of {@link DiffusionPipeline.generate}. */
export interface GenerateResult<O = AnyResolvedOptions> {
  /** `save()` writes the settings into the PNG as A1111 does. */
  images: RawImage[]
  /** Seed of the first picture. */
  seed: bigint
  /** Passing them again repeats the call. */
  options: O
  timings: Timings
  /**
   * Parts that were computed in float32 because fast arithmetic gave numbers that are not finite; usually none. Such a part stays in float32 for as
   * long as the model is loaded. Where float32 does not help either, the call is rejected with {@link ModelFormatError}, which names the part.
   */
  float32Parts: ModelPart[]
  /** The adapters that the pictures were made with. */
  loras: LoraReport[]
  /** What was done but may not be what you meant; usually none. */
  warnings: GenerateWarning[]
}
