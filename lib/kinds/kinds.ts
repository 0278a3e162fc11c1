/** The kinds of models: what each makes pictures from, and what a loaded one says of itself. Plain types, no code. */
import type { Device, ModelPart, ModelSpec, SamplerName, ScheduleName } from '../types.js'

/**
 * What a model makes pictures from: `text` prompts (Stable Diffusion, LDM text to image), a `class` (ImageNet), nothing (`unconditional`: faces, churches), boxes
 * (`layout`), a label map (`semantic`), a small picture (`superres`), a picture and a mask (`inpaint`), a picture and an instruction (`edit`), a prompt and its neighbours in a database (`rdm`).
 * `autoencoder` is a first stage alone.
 */
export type ModelKind = 'text' | 'class' | 'unconditional' | 'layout' | 'semantic' | 'superres' | 'inpaint' | 'edit' | 'rdm' | 'autoencoder'

/** What every condition says. */
export interface ConditionBase {
  /** Trained with an unconditional input, so that guidance works. */
  guidance: boolean
  /**
   * The network is told the guidance scale (latent consistency models with a whole U-Net): one evaluation a step does for guidance, and nothing is guided away from, so
   * that negative prompts have no effect.
   */
  guidanceEmbedding?: true
  /** Tokens per window of the encoder: 77 for CLIP, 92 for a layout. Absent where the model reads no tokens. */
  tokens?: number
  /** Numbers of tokens are below this. Present where `tokens` is. */
  vocabulary?: number
  /** Width of the sequence that the network attends to. Absent without cross-attention. */
  dim?: number
  /** SDXL: which numbers `sizes` takes, those of base models or of refiners. Absent elsewhere. */
  sizes?: 'base' | 'refiner'
  /** SDXL base models: an empty negative prompt stands for zeros in place of its tokens. */
  zeroNegative?: true
  /** Where a CLIP image tower is loaded: side of its pictures, width of its embeddings. */
  imageEncoder?: { size: number; dim: number }
}

/** Condition of a class-conditional model. */
export interface ClassCondition extends ConditionBase {
  /** `classId` is below this. */
  classes: number
  /** The null class, which guidance compares with, where the model has one (usually the number after the last class). Not a valid `classId`. */
  nullClass?: number
}

/** Condition of a layout-to-image model. */
export interface LayoutCondition extends ConditionBase {
  /** Numbers of categories are below this. */
  classes: number
  /** Most boxes in a layout. */
  maxObjects: number
}

/** Condition of a semantic synthesis model. */
export interface SemanticCondition extends ConditionBase {
  /** Values of the label map are below this. */
  labels: number
}

/** Condition of a super-resolution model. */
export interface SuperresCondition extends ConditionBase {
  /** How many times wider and higher the picture gets. */
  factor: number
  /** SD x4 upscaler: highest `noiseLevel`, and the one that is used where none is given. */
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
  rdm: ConditionBase
  autoencoder: ConditionBase
}

/** What every loaded model says of itself. */
export interface PipelineInfoBase<K extends ModelKind> {
  /** What the model makes pictures from. Comparing it narrows `info`; comparing `pipe.kind` narrows the pipeline as well. */
  kind: K
  /** What the model is conditioned on. */
  condition: ConditionByKind[K]
  /** Human name of the nearest known model. */
  name: string
  spec: ModelSpec
  /** Number of weights by part. */
  parameters: Partial<Record<ModelPart, number>> & { total: number }
  /** Weight type in memory by part. */
  dtypes: Partial<Record<ModelPart, string>>
  /** Mean bits per weight by part. */
  effectiveBits: Partial<Record<ModelPart, number>>
  /** The refiner that was loaded beside the model; its weights are not among the above. Absent: none. */
  refiner?: Pick<PipelineInfoBase<'text'>, 'name' | 'parameters' | 'dtypes' | 'effectiveBits'>
  /** What `generate()` uses where an option is left out. */
  defaults: GenerateDefaults
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

/** `pipe.info.defaults` */
export interface GenerateDefaults {
  width: number
  height: number
  steps: number
  sampler: SamplerName
  /** Absent: the sampler's own, see `defaultSchedules`. */
  schedule?: ScheduleName
  guidanceScale: number
  /** Models that edit a picture (kind `edit`); absent elsewhere. */
  imageGuidanceScale?: number
  /** Absent: `spec.eta` with the model's own sampler, else the sampler's own. */
  eta?: number
  /** Absent: the model's own. */
  clipSkip?: number
}

/** Models whose classes, categories or labels have names. */
interface Named {
  /** Names by number: what `classId`, the `label` of a box or a value of the label map may be called. Empty where the list is not known; numbers work all the same. */
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
  rdm: PipelineInfoBase<'rdm'>
  autoencoder: PipelineInfoBase<'autoencoder'>
}

/** What a loaded pipeline is: a union over the kinds, told apart by `kind`. */
export type PipelineInfo<K extends ModelKind = ModelKind> = { [P in K]: PipelineInfoByKind[P] }[K]
