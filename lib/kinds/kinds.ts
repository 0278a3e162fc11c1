/** The kinds of models, and the description of a loaded model. Plain types, no code. */
import type { Device, ModelPart, ModelSpec, SamplerName, ScheduleName } from '../types.js'

/**
 * What a model generates images from: `text` prompts (Stable Diffusion, LDM text to image), a `class` (ImageNet), nothing (`unconditional`: faces, churches), boxes
 * (`layout`), a label map (`semantic`), a small image (`superres`), an image and a mask (`inpaint`), an image and an instruction (`edit`), a prompt and
 * a depth map (`depth`), a prompt and its neighbours in a database (`rdm`).
 * `autoencoder` is a separate first stage.
 */
export type ModelKind = 'text' | 'class' | 'unconditional' | 'layout' | 'semantic' | 'superres' | 'inpaint' | 'edit' | 'depth' | 'rdm' | 'autoencoder'

/** Conditioning of every kind. */
export interface ConditionBase {
  /** Whether the model was trained with an unconditional input, so that it can be guided. */
  guidance: boolean
  /**
   * The guidance scale is an input of the network (latent consistency models with a complete U-Net): guidance takes one evaluation per step, and negative prompts have
   * no effect.
   */
  guidanceEmbedding?: true
  /** Tokens per window of the encoder: 77 for CLIP, 92 for layouts. Absent for models without tokens. */
  tokens?: number
  /** Vocabulary size. Present with `tokens`. */
  vocabulary?: number
  /** Width of the cross-attention context. Absent without cross-attention. */
  dim?: number
  /** SDXL only: the fields of `sizes`, of base models or of refiners. */
  sizes?: 'base' | 'refiner'
  /** SDXL base models: an empty negative prompt is encoded as zeros. */
  zeroNegative?: true
  /** The loaded CLIP image tower, if any: side of its images, width of its embeddings. */
  imageEncoder?: { size: number; dim: number }
}

/** Conditioning of a class-conditional model. */
export interface ClassCondition extends ConditionBase {
  /** Number of classes; `classId` is below this. */
  classes: number
  /** The unconditional class, if the model has one (usually the number after the last class). Not a valid `classId`. */
  nullClass?: number
}

/** Conditioning of a layout-to-image model. */
export interface LayoutCondition extends ConditionBase {
  /** Number of categories. */
  classes: number
  /** Maximum boxes in a layout. */
  maxObjects: number
}

/** Conditioning of a semantic synthesis model. */
export interface SemanticCondition extends ConditionBase {
  /** Number of labels; values of the label map are below this. */
  labels: number
}

/** Condition of a super-resolution model. */
export interface SuperresCondition extends ConditionBase {
  /** How many times wider and higher the image gets. */
  factor: number
  /** SD x4 upscaler: highest `noiseLevel`, and the default. */
  maxNoiseLevel?: number
  noiseLevel?: number
}

/** `pipe.info.condition` by kind. */
export interface ConditionByKind {
  text: ConditionBase
  class: ClassCondition
  unconditional: ConditionBase
  layout: LayoutCondition
  semantic: SemanticCondition
  superres: SuperresCondition
  inpaint: ConditionBase
  edit: ConditionBase
  depth: ConditionBase
  rdm: ConditionBase
  autoencoder: ConditionBase
}

/** Description of every loaded model. */
export interface PipelineInfoBase<K extends ModelKind> {
  /** The kind of the model. Comparing it narrows `info`; comparing `pipe.kind` narrows the pipeline. */
  kind: K
  /** The conditioning of the model. */
  condition: ConditionByKind[K]
  /** Name of the closest known model. */
  name: string
  spec: ModelSpec
  /** Number of weights by part. */
  parameters: Partial<Record<ModelPart, number>> & { total: number }
  /** Weight type in memory by part. */
  dtypes: Partial<Record<ModelPart, string>>
  /** Mean bits per weight by part. */
  effectiveBits: Partial<Record<ModelPart, number>>
  /** The loaded refiner, if any. Its weights are not included above. */
  refiner?: Pick<PipelineInfoBase<'text'>, 'name' | 'parameters' | 'dtypes' | 'effectiveBits'>
  /** Defaults of `generate()`. */
  defaults: GenerateDefaults
  samplers: SamplerName[]
  schedules: ScheduleName[]
  /** Default schedule of each sampler. */
  defaultSchedules: Record<SamplerName, ScheduleName>
  /** Display names of samplers and schedules: `dpmpp_2m` is `DPM++ 2M`. */
  labels: Record<string, string>
  /** Pixels per latent pixel. */
  downsampling: number
  /** Widths and heights must be multiples of this many pixels. */
  sizeMultiple: number
  latentChannels: number
  precision: 'exact' | 'fast'
  device: Device
}

/** `pipe.info.defaults` */
export interface GenerateDefaults {
  width: number
  height: number
  steps: number
  sampler: SamplerName
  /** Absent: the sampler's default, see `defaultSchedules`. */
  schedule?: ScheduleName
  /** Few-step models that need them: timesteps instead of a schedule, as many as `steps`. */
  timesteps?: number[]
  guidanceScale: number
  /** Editing models (kind `edit`) only. */
  imageGuidanceScale?: number
  /** Absent: `spec.eta` with the model's default sampler, else the sampler's default. */
  eta?: number
  /** Absent: the model's own. */
  clipSkip?: number
}

/** Models whose classes, categories or labels have names. */
interface Named {
  /** Names by number, for `classId`, the `label` of a box or a value of the label map. Empty if unknown; numbers always work. */
  classes: readonly string[]
}

/** {@link PipelineInfo} of one kind. */
export interface PipelineInfoByKind {
  text: PipelineInfoBase<'text'>
  class: PipelineInfoBase<'class'> & Named
  unconditional: PipelineInfoBase<'unconditional'>
  layout: PipelineInfoBase<'layout'> & Named
  semantic: PipelineInfoBase<'semantic'> & Named
  superres: PipelineInfoBase<'superres'>
  inpaint: PipelineInfoBase<'inpaint'>
  edit: PipelineInfoBase<'edit'>
  depth: PipelineInfoBase<'depth'>
  rdm: PipelineInfoBase<'rdm'>
  autoencoder: PipelineInfoBase<'autoencoder'>
}

/** Description of a loaded pipeline: a union over the kinds, discriminated by `kind`. */
export type PipelineInfo<K extends ModelKind = ModelKind> = { [P in K]: PipelineInfoByKind[P] }[K]
