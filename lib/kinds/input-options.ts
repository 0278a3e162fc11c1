/** The inputs of generate(), encodeCondition() and loss(): one row per input, with the models that take it. */
import { UnsupportedModelError } from '../errors.js'
import { emphasisWord } from '../infotext/words.js'
import { checkModelLabel } from '../labels/model-labels.js'
import { flagNames, layoutTokens, type LayoutObject } from '../model/layout-tokens.js'
import { conditionerOf, layoutEncoding } from '../model/spec.js'
import { integer, number, option, omit, readNested, type Fail, type Option, type Options } from '../options/option.js'
import { strength } from '../options/sampling.js'
import type { ImageToImageOptions, ModelKind, NegativePromptOptions, PipelineInfo, RefinerOptions } from '../types.js'
import { checkInteger, checkName, checkString, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'
import type { AnyInputs, Emphasis, LayoutBox, SizeConditioning } from './inputs.js'
import { checkNeighbours, type Neighbours } from './neighbours.js'

/** The models that take an input. */
interface Audience {
  /** Purpose of the input, for messages: `is for ...`. */
  readonly purpose: string
  /** Whether it is part of the conditioning. */
  takenBy(info: PipelineInfo): boolean
  /** Included in messages that list a model's inputs. */
  readonly listed?: true
  /** Describes a missing required input; undefined for optional ones. */
  missing?(info: PipelineInfo): string | undefined
}

const isKind =
  (...kinds: ModelKind[]) =>
  ({ kind }: PipelineInfo) =>
    kinds.includes(kind)

/** Kinds that are conditioned on an image; for all others an image is the start of image to image. */
const takesPicture = isKind('superres', 'inpaint', 'edit')

export function takesStartPicture(info: PipelineInfo): boolean {
  return !takesPicture(info) && info.kind !== 'autoencoder'
}

/** Whether the model takes prompts and negative prompts: all text models, and those of Stable Diffusion that also take an image, a mask or a depth map. */
export function takesPrompts(info: PipelineInfo): boolean {
  return info.kind !== 'rdm' && conditionerOf(info.spec, 'clip_text', 'bert_text') !== undefined
}

function hasClip(info: PipelineInfo): boolean {
  return conditionerOf(info.spec, 'clip_text') !== undefined
}

// ---- checks ----------------------------------------------------------------------------------------------------------

const emphases = ['original', 'no_norm', 'comfy'] as const

function checkPrompt(value: unknown, name: string, info: PipelineInfo): string {
  const text = checkString(value, name)
  if (info.kind === 'rdm' && !hasClip(info))
    throw new UnsupportedModelError(
      `${name} needs CLIP's text encoder, which retrieval-augmented models do not include: load with { model, textEncoder }, where textEncoder is a CLIP ViT-L/14 with its text projection`,
    )
  return text
}

/** Only guidance uses the null class. */
function checkClass(value: unknown, name: string, { spec, condition: { classes, nullClass } }: PipelineInfo<'class'>): number {
  const classId = checkModelLabel(value, name, spec, 'class', classes)
  if (classId === nullClass)
    throw invalidRange(`${name}: ${classId} is the null class, which guidance uses internally; use one from 0 to ${classes - 1}`)
  return classId
}

/** Boxes with numbers instead of names. */
export function layoutObjects(boxes: readonly LayoutBox[], { spec, condition }: PipelineInfo<'layout'>): LayoutObject[] {
  return boxes.map(({ label, ...rest }, i) => ({ ...rest, classId: checkModelLabel(label, `boxes[${i}].label`, spec, 'layout', condition.classes) }))
}

function checkBoxes(value: unknown, name: string, info: PipelineInfo<'layout'>): readonly LayoutBox[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be an array of { label, x, y, width, height }, not ${show(value)}`)
  const { maxObjects } = info.condition
  if (value.length < 1 || value.length > maxObjects) throw invalidRange(`${name} must have 1 to ${maxObjects} entries, not ${value.length}`)
  const boxes = listOf(value, name, maxObjects).map((box, i): LayoutBox => {
    if (box === null || typeof box !== 'object' || Array.isArray(box))
      throw invalidType(`${name}[${i}] must be an object { label, x, y, width, height }, not ${show(box)}`)
    return { ...knownKeys(box, `${name}[${i}]`, ['label', 'x', 'y', 'width', 'height', ...flagNames]) } as unknown as LayoutBox
  })
  layoutTokens(layoutObjects(boxes, info), layoutEncoding(info)) // checks the rest
  return boxes
}

function readJson(text: string, fail: Fail): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    return fail(` is not JSON: ${(error as Error).message}`)
  }
}

const inJson = 'part of --sizes'

/** An object of two numbers of pixels from `min` on, both required. */
function pixelPair<const A extends string, const B extends string>(first: A, second: B, min: number) {
  const pixels = { min, max: 2 ** 20, flag: inJson }
  const side = {
    ...number({ ...pixels, required: true }),
    check(value: unknown, name: string): number {
      if (value === undefined) throw invalidType(`${name} is missing: a number of pixels`)
      return number(pixels).check(value, name)
    },
  }
  return option(
    (value, name) => readNested({ [first]: side, [second]: side } as Record<A | B, typeof side>, value, name, undefined) as Record<A | B, number>,
    {
      flag: inJson,
    },
  )
}

const score = number({ min: 0, max: 100, flag: inJson })

const sizeOptions = {
  original: pixelPair('width', 'height', 1),
  crop: pixelPair('top', 'left', 0),
  target: pixelPair('width', 'height', 1),
  aestheticScore: score,
  negativeAestheticScore: score,
} satisfies Options<SizeConditioning>

function checkSizes(value: unknown, name: string, { condition, refiner }: PipelineInfo): SizeConditioning {
  if (refiner) return readNested(sizeOptions, value, name, undefined)
  const isRefiner = condition.sizes === 'refiner'
  const rows: Partial<typeof sizeOptions> = isRefiner ? omit(sizeOptions, 'target') : omit(sizeOptions, 'aestheticScore', 'negativeAestheticScore')
  const given = knownKeys(value, name, Object.keys(rows), {
    target: 'is for base models; this refiner reads aesthetic scores instead',
    aestheticScore: 'is for refiners; this base model reads a target size instead',
    negativeAestheticScore: 'is for refiners; this base model reads a target size instead',
  })
  return readNested(rows as typeof sizeOptions, given, name, undefined)
}

function checkNoiseLevel(value: unknown, name: string, { condition }: PipelineInfo<'superres'>): number {
  return checkInteger(value, name, { min: 0, max: condition.maxNoiseLevel ?? 0 })
}

// ---- for images' settings ------------------------------------------------------------------------------------------

function withName(label: number | string, info: PipelineInfo): string {
  const names: readonly string[] = 'classes' in info ? info.classes : []
  const name = typeof label === 'number' ? names[label] : label
  return name === undefined ? String(label) : typeof label === 'number' ? `${label} (${name})` : name
}

function spellBox({ label, x, y, width, height }: LayoutBox, info: PipelineInfo): string {
  return `${withName(label, info)} at ${[x, y, width, height].join(' ')}`
}

function neighbourCount(neighbours: Neighbours): number {
  return 'database' in neighbours ? (neighbours.k ?? 10) : neighbours.length
}

// ---- the table -------------------------------------------------------------------------------------------------------

const readText = { purpose: 'for models that read text', takenBy: takesPrompts }

/** A row of an input. */
export type Input<T> = Option<T, never> & Audience

export const inputOptions = {
  prompt: {
    ...option(checkPrompt, {
      fallback: (info: PipelineInfo) => (info.kind === 'rdm' ? undefined : ''),
      flag: { short: 'p', help: 'same as PROMPT; (word:1.2), [word] and BREAK as in A1111' },
    }),
    purpose: 'for models that read text',
    takenBy: (info: PipelineInfo) => info.kind === 'rdm' || takesPrompts(info),
    listed: true,
  },
  emphasis: {
    ...option((value, name): Emphasis => checkName(value, name, emphases), {
      fallback: (): Emphasis => 'original',
      flag: { value: 'NAME', help: 'how prompt weights are applied: original (default), no_norm or comfy' },
      toInfotext: (name: Emphasis) => ({ Emphasis: name === 'original' ? undefined : emphasisWord(name) }),
    }),
    ...readText,
  },
  clipSkip: {
    ...integer({
      min: 1,
      max: 100,
      flag: { help: 'text encoder layer to use: 1 is the last, 2 the second to last' },
      toInfotext: (layers: number) => ({ 'Clip skip': layers > 1 ? layers : undefined }),
    }),
    purpose: 'for models with a CLIP text encoder',
    takenBy: (info: PipelineInfo) => takesPrompts(info) && hasClip(info),
  },
  sizes: {
    ...option(checkSizes, {
      flag: { value: 'JSON', help: 'SDXL: size conditioning as JSON, e.g. \'{"original":{"width":2048,"height":2048}}\'', read: readJson },
    }),
    purpose: 'for SDXL',
    takenBy: ({ condition }: PipelineInfo) => condition.sizes !== undefined,
  },
  classId: {
    ...option(checkClass, {
      flag: {
        name: 'class',
        value: 'N|NAME',
        help: 'class of a class-conditional model',
        read: (text: string) => (/^\d+$/.test(text) ? Number(text) : text),
      },
      toInfotext: (label: number | string, _: unknown, info: PipelineInfo) => ({ Class: withName(label, info) }),
    }),
    purpose: 'for class-conditional models',
    takenBy: isKind('class'),
    listed: true,
    missing: ({ condition }: PipelineInfo<'class'>) => `the number or name of a class; this model has ${condition.classes}`,
  },
  boxes: {
    ...option(checkBoxes, {
      flag: { value: 'FILE', help: 'layout: JSON list of { "label", "x", "y", "width", "height" }, in fractions of the image' },
      toInfotext: (boxes: readonly LayoutBox[], _: unknown, info: PipelineInfo) => ({ Boxes: boxes.map((box) => spellBox(box, info)).join('; ') }),
    }),
    purpose: 'for layout-to-image models',
    takenBy: isKind('layout'),
    listed: true,
    missing: () => 'objects as { label, x, y, width, height }, in fractions of the image',
  },
  semanticMap: {
    ...option((value) => value as NonNullable<AnyInputs['semanticMap']>, {
      flag: { value: 'FILE', help: 'semantic synthesis: greyscale or palette PNG with one label per pixel' },
    }),
    purpose: 'for semantic synthesis models',
    takenBy: isKind('semantic'),
    listed: true,
    missing: () => 'a label for every pixel',
  },
  image: {
    ...option((value) => value as NonNullable<AnyInputs['image']>, {
      flag: { short: 'i', value: 'FILE', help: 'start image, or the image to inpaint, edit or upscale' },
    }),
    purpose: 'for image to image, super-resolution, inpainting and editing',
    takenBy: takesPicture,
    listed: true,
    missing: ({ kind }: PipelineInfo) =>
      (({ superres: 'the small image', edit: 'the image to edit' }) as Partial<Record<ModelKind, string>>)[kind] ?? 'the image to inpaint',
  },
  mask: {
    ...option((value) => value as NonNullable<AnyInputs['mask']>, {
      flag: { value: 'FILE', help: 'inpainting and image to image: repaint the white areas' },
    }),
    purpose: 'for inpainting and image to image',
    takenBy: isKind('inpaint'),
    listed: true,
    missing: () => 'an image whose white areas are repainted',
  },
  depthMap: {
    ...option((value) => value as NonNullable<AnyInputs['depthMap']>, {
      flag: { value: 'FILE', help: 'depth models: greyscale image of the depth, white is near' },
    }),
    purpose: 'for models that draw by a depth map',
    takenBy: isKind('depth'),
    listed: true,
    missing: () => 'the depth of every pixel; MiDaS and similar tools estimate it from an image',
  },
  noiseLevel: {
    ...option(checkNoiseLevel, {
      fallback: ({ condition }: PipelineInfo<'superres'>) => condition.noiseLevel ?? 20,
      flag: { help: 'SD x4 upscaler: noise added to the small image; default 20' },
      infotext: 'Noise level',
    }),
    type: 'number',
    purpose: 'for the SD x4 upscaler',
    takenBy: (info: PipelineInfo) => info.kind === 'superres' && info.condition.maxNoiseLevel !== undefined,
    listed: true,
  },
  neighbours: {
    ...option(checkNeighbours, {
      flag: { value: 'FILE', help: 'retrieval-augmented models: database (.npz, .safetensors, a folder or hf:owner/name) to search with the prompt' },
      toInfotext: (neighbours: Neighbours) => ({ Neighbours: neighbourCount(neighbours) }),
    }),
    purpose: 'for retrieval-augmented models',
    takenBy: isKind('rdm'),
    listed: true,
  },
} as const satisfies { [K in keyof AnyInputs]-?: Input<NonNullable<AnyInputs[K]>> }

/** Image to image. `image` and `mask` are also in the table above, because some kinds are conditioned on them. */
export const startOptions = {
  image: { ...inputOptions.image, takenBy: takesStartPicture },
  strength: { ...strength, purpose: 'for image to image', takenBy: takesStartPicture },
  mask: { ...inputOptions.mask, takenBy: takesStartPicture },
} satisfies { [K in keyof ImageToImageOptions]-?: Input<NonNullable<ImageToImageOptions[K]>> }

/** Two models in one run. */
export const refinerOptions = {
  refinerSwitchAt: {
    ...number({
      min: 0,
      max: 1,
      fallback: ({ refiner }: PipelineInfo) => (refiner ? 0.8 : undefined),
      flag: { help: 'fraction of the training time before the refiner takes over, 0 to 1; default 0.8' },
      toInfotext: (share: number) => ({ 'Refiner switch at': share < 1 ? share : undefined }),
    }),
    purpose: 'for models that were loaded with a refiner',
    takenBy: ({ refiner }: PipelineInfo) => refiner !== undefined,
  },
} as const satisfies { [K in keyof RefinerOptions]-?: Input<number> }

export const negativeOptions = {
  negativePrompt: {
    ...option((value, name): string => checkString(value, name), {
      fallback: (info: PipelineInfo) => (takesPrompts(info) && !info.condition.guidanceEmbedding ? '' : undefined),
      flag: { short: 'n', help: 'what the image should not show' },
    }),
    purpose: 'for models that are guided by text',
    takenBy: takesPrompts,
    listed: true,
  },
} as const satisfies { [K in keyof NegativePromptOptions]-?: Input<string> }
