/** What models of each kind are conditioned on: the inputs of encodeCondition() and loss(), which generate() takes among its options. Plain types, no code. */
import type { RawImage } from '../image/raw-image.js'
import type { ModelKind } from './kinds.js'
import type { Neighbours } from './neighbours.js'
import type { ImageInput } from '../types.js'

/** How prompt weights are applied to the embedding: as A1111, keeping the mean (`original`) or not (`no_norm`), or as ComfyUI (`comfy`). */
export type Emphasis = 'original' | 'no_norm' | 'comfy'

/**
 * SDXL's size conditioning, in pixels: sides from 1, margins from 0, up to 1048576. The model was trained on scaled and cropped images of many sizes, and was given those sizes and crops; these values select which
 * of them the result resembles.
 */
export interface SizeConditioning {
  /** Size of the training image before scaling and cropping; small sizes give coarse images. Default: `target`. */
  original?: { width: number; height: number }
  /** What was cropped off; other values than the default give cropped subjects. Default: nothing. */
  crop?: { top: number; left: number }
  /** Base models: size after cropping. Default: the size of the image that is drawn. A base model with a refiner takes its scores, too. */
  target?: { width: number; height: number }
  /** Refiners: aesthetic score of the image (default 6) and of what guidance compares with (default 2.5), 0 to 100. */
  aestheticScore?: number
  negativeAestheticScore?: number
}

/** Inputs of text models. */
export interface TextInputs {
  /** What to draw, in A1111's syntax: `(word:1.2)`, `[word]`, `BREAK`; any length. Default: the empty prompt. */
  prompt?: string
  /** Default `original`. */
  emphasis?: Emphasis
  /** Layers of a CLIP text encoder to skip, A1111's counting: 1 uses the last layer, 2 the last but one. Default: the model's own. */
  clipSkip?: number
  /** SDXL only, see `info.condition.sizes`. */
  sizes?: SizeConditioning
}

/** Inputs of class-conditional models. */
export interface ClassInputs {
  /** Class number, from 0, or one of its names in `info.classes`. */
  classId: number | string
}

/** One object of a layout. */
export interface LayoutBox {
  /** Category: its number, from 0, or its name. */
  label: number | string
  /** Upper left corner and size, in fractions of the image (0 to 1). */
  x: number
  y: number
  width: number
  height: number
  /** The box contains a group of objects. This and the following are attributes of Open Images annotations; default false. */
  groupOf?: boolean
  /** The object is occluded. */
  occluded?: boolean
  /** A drawing or model of the object. */
  depiction?: boolean
  /** The image was taken from inside the object. */
  inside?: boolean
}

/** Inputs of layout-to-image models. */
export interface LayoutInputs {
  /** 1 to `info.condition.maxObjects` (30) objects. */
  boxes: readonly LayoutBox[]
}

/** A label per pixel, row by row. */
export interface LabelMap {
  data: Uint8Array | Uint16Array | Int32Array
  width: number
  height: number
}

/** A label map: numbers, a greyscale or palette PNG (path, URL or bytes; its grey values or palette indices are the labels) or a greyscale image. */
export type SemanticMapInput = LabelMap | RawImage | string | URL | Uint8Array

/** Inputs of semantic synthesis models. */
export interface SemanticInputs {
  /** A label below `info.condition.labels` for every pixel. Sets the size of the image; sides must be multiples of `info.sizeMultiple`. Never resized. */
  semanticMap: SemanticMapInput
}

/** Inputs of super-resolution models. */
export interface SuperresInputs extends TextInputs {
  /** The small image, of any size. */
  image: ImageInput
  /** SD x4 upscaler: how much noise the small image gets, 0 to `info.condition.maxNoiseLevel`. Default 20. More noise leaves more to the model. */
  noiseLevel?: number
}

/** One number per pixel, row by row: 0 keeps, 1 repaints (floats), or 0 and 255 (bytes). */
export interface MaskData {
  data: Uint8Array | Uint8ClampedArray | Float32Array
  width: number
  height: number
}

/** A mask: numbers, or an image whose lightness is used (transparency is ignored). */
export type MaskInput = MaskData | RawImage | string | URL | Uint8Array

/** Inputs of inpainting models. */
export interface InpaintInputs extends TextInputs {
  /** The image, of any size. */
  image: ImageInput
  /** Areas to repaint: white (lightness 0.5 and above). Has the size of the image. Black areas are returned unchanged. */
  mask: MaskInput
}

/** Inputs of editing models (InstructPix2Pix). */
export interface EditInputs extends TextInputs {
  /** The image to edit, of any size. The prompt describes the change: `turn the sky into a sunset`. */
  image: ImageInput
}

/** One number per pixel, row by row; larger is nearer, as MiDaS has it. Only differences count: each map is scaled to its own range. */
export interface DepthMap {
  data: Uint8Array | Uint16Array | Float32Array
  width: number
  height: number
}

/** A depth map: numbers, or a greyscale image whose white is nearest. Greyscale PNGs are read with all of their 8 or 16 bits. */
export type DepthMapInput = DepthMap | RawImage | string | URL | Uint8Array

/** Inputs of depth models (Stable Diffusion 2 depth). */
export interface DepthInputs extends TextInputs {
  /** Relative depth of the scene, of any size; it is resized to the latents. The library does not estimate depth: use MiDaS or a similar tool. */
  depthMap: DepthMapInput
}

/** Inputs of retrieval-augmented models: a prompt, neighbours, or both. */
export interface RdmInputs {
  /** Encoded with the CLIP text encoder passed as `textEncoder` of the model source. */
  prompt?: string
  /** CLIP embeddings of similar images, or a database to search with the prompt. */
  neighbours?: Neighbours
}

/** Inputs of unconditional models. */
export type NoInputs = Record<never, never>

/** The inputs of every kind. */
export interface InputsByKind {
  text: TextInputs
  class: ClassInputs
  unconditional: NoInputs
  layout: LayoutInputs
  semantic: SemanticInputs
  superres: SuperresInputs
  inpaint: InpaintInputs
  edit: EditInputs
  depth: DepthInputs
  rdm: RdmInputs
  autoencoder: never
}

/** Inputs of a model whose kind the compiler does not know. At run time, only the inputs of its kind are accepted. */
export interface AnyInputs
  extends
    TextInputs,
    Partial<ClassInputs>,
    Partial<LayoutInputs>,
    Partial<SemanticInputs>,
    Partial<SuperresInputs>,
    Partial<InpaintInputs>,
    Partial<EditInputs>,
    Partial<DepthInputs>,
    Partial<RdmInputs> {}

/** Inputs of one kind; without a kind, {@link AnyInputs}. */
export type Inputs<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyInputs : InputsByKind[K]
