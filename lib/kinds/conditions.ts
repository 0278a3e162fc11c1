/** The inputs of a model's condition: checked and completed, then gathered into the engine's request. */
import { UnsupportedModelError } from '../errors.js'
import { readLabelMap } from '../image/label-map.js'
import { maskWarning, readMaskOf } from '../image/mask.js'
import type { GenerateWarning } from './generate-types.js'
import type { Emphasis, LayoutBox, MaskInput, SemanticMapInput, SizeConditioning } from './inputs.js'
import { takesPrompts } from './input-rules.js'
import { flagNames, layoutTokens, type LayoutObject } from '../model/layout-tokens.js'
import { checkModelLabel } from '../labels/model-labels.js'
import type { NativeCondition, NativeConditionArrays, NativePromptTokens } from '../native/contract.js'
import { embeddingsOf, resolveNeighbours, type QueryEncoder, type ResolvedNeighbours } from './neighbours.js'
import { conditionerOf, describeParts, layoutEncoding, unetDownsampling } from '../model/spec.js'
import { imageTensor } from '../image/tensors.js'
import type { PipelineTokenizer } from '../text/tokenizer.js'
import type { ImageInput, PipelineInfo } from '../types.js'
import { checkInteger, checkName, checkNumber, checkString, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'

const emphases = ['original', 'no_norm', 'comfy'] as const

export function resolveEmphasis(value: unknown): Emphasis {
  return value === undefined ? 'original' : checkName(value, 'emphasis', emphases)
}

export function resolveClipSkip(value: unknown): number | undefined {
  return value === undefined ? undefined : checkInteger(value, 'clipSkip', { min: 1, max: 100 })
}

// ---- checking --------------------------------------------------------------------------------------------------------

/** A prompt with its settings. */
export interface ResolvedPrompt {
  text: string
  emphasis: Emphasis
  clipSkip: number | undefined
}

/** Checked inputs: only those that the model takes. */
export interface ResolvedInputs {
  prompt?: ResolvedPrompt
  /** SDXL. */
  sizes?: SizeConditioning
  classId?: number
  boxes?: readonly LayoutBox[]
  semanticMap?: SemanticMapInput
  /** Of super-resolution and inpainting; the start of image to image is not part of the condition. */
  image?: ImageInput
  mask?: MaskInput
  noiseLevel?: number
  neighbours?: ResolvedNeighbours
}

function required(o: Record<string, unknown>, name: string, what: string): unknown {
  if (o[name] === undefined) throw invalidType(`${name} is missing: ${what}`)
  return o[name]
}

function resolvePrompt(o: Record<string, unknown>): ResolvedPrompt {
  return {
    text: o.prompt === undefined ? '' : checkString(o.prompt, 'prompt'),
    emphasis: resolveEmphasis(o.emphasis),
    clipSkip: resolveClipSkip(o.clipSkip),
  }
}

/** The class that stands for none is not one to draw: guidance asks for it by itself. */
function checkClass(value: unknown, { spec, condition: { classes, nullClass } }: PipelineInfo<'class'>): number {
  const classId = checkModelLabel(value, 'classId', spec, 'class', classes)
  if (classId === nullClass) throw invalidRange(`classId: ${classId} is the class that stands for none; give another, from 0 to ${classes - 1}`)
  return classId
}

/** Boxes with numbers in place of names. */
function layoutObjects(boxes: readonly LayoutBox[], { spec, condition }: PipelineInfo<'layout'>): LayoutObject[] {
  return boxes.map(({ label, ...rest }, i) => ({ ...rest, classId: checkModelLabel(label, `boxes[${i}].label`, spec, 'layout', condition.classes) }))
}

function resolveBoxes(value: unknown, info: PipelineInfo<'layout'>): readonly LayoutBox[] {
  if (!Array.isArray(value)) throw invalidType(`boxes must be an array of { label, x, y, width, height }, not ${show(value)}`)
  const { maxObjects } = info.condition
  if (value.length < 1 || value.length > maxObjects) throw invalidRange(`boxes must have 1 to ${maxObjects} entries, not ${value.length}`)
  const boxes = listOf(value, 'boxes', maxObjects).map((box, i): LayoutBox => {
    if (box === null || typeof box !== 'object' || Array.isArray(box))
      throw invalidType(`boxes[${i}] must be an object { label, x, y, width, height }, not ${show(box)}`)
    return { ...knownKeys(box, `boxes[${i}]`, ['label', 'x', 'y', 'width', 'height', ...flagNames]) } as unknown as LayoutBox
  })
  layoutTokens(layoutObjects(boxes, info), layoutEncoding(info)) // checks the rest
  return boxes
}

function resolveNoiseLevel(value: unknown, { condition }: PipelineInfo<'superres'>): number | undefined {
  if (condition.maxNoiseLevel === undefined) return undefined
  return value === undefined ? (condition.noiseLevel ?? 20) : checkInteger(value, 'noiseLevel', { min: 0, max: condition.maxNoiseLevel })
}

function resolveRdm(o: Record<string, unknown>, info: PipelineInfo<'rdm'>): ResolvedInputs {
  if (o.prompt === undefined && o.neighbours === undefined)
    throw invalidType('prompt and neighbours are missing: this model draws from one of them or both')
  const prompt = o.prompt === undefined ? undefined : { text: checkString(o.prompt, 'prompt'), emphasis: 'original' as const, clipSkip: undefined }
  if (prompt && !conditionerOf(info.spec, 'clip_text')) throw noTextEncoder('prompt')
  const neighbours = o.neighbours === undefined ? undefined : resolveNeighbours(o.neighbours, info.condition.dim!, prompt !== undefined)
  return { ...(prompt ? { prompt } : {}), ...(neighbours ? { neighbours } : {}) }
}

function noTextEncoder(name: string): UnsupportedModelError {
  return new UnsupportedModelError(
    `${name} needs CLIP's text encoder, which retrieval-augmented models do not carry: load with { model, textEncoder }, the latter a CLIP ViT-L/14 with its text projection`,
  )
}

function checkPair<A extends string, B extends string>(value: unknown, name: string, keys: readonly [A, B]): Record<A | B, number> {
  const o = knownKeys(value, name, keys)
  const side = (key: string) => checkNumber(required(o, key, 'a number of pixels'), `${name}.${key}`, { min: 0, max: 2 ** 20 })
  return Object.fromEntries(keys.map((key) => [key, side(key)])) as Record<A | B, number>
}

function resolveSizes(value: unknown, { condition }: PipelineInfo): SizeConditioning {
  const own = condition.sizes === 'refiner' ? (['aestheticScore', 'negativeAestheticScore'] as const) : (['target'] as const)
  const o = knownKeys(value, 'sizes', ['original', 'crop', ...own], {
    target: 'is for base models; this refiner reads aesthetic scores instead',
    aestheticScore: 'is for refiners; this base model reads a target size instead',
    negativeAestheticScore: 'is for refiners; this base model reads a target size instead',
  })
  const score = (name: string) => (o[name] === undefined ? {} : { [name]: checkNumber(o[name], `sizes.${name}`, { min: 0, max: 100 }) })
  return {
    ...(o.original === undefined ? {} : { original: checkPair(o.original, 'sizes.original', ['width', 'height']) }),
    ...(o.crop === undefined ? {} : { crop: checkPair(o.crop, 'sizes.crop', ['top', 'left']) }),
    ...(o.target === undefined ? {} : { target: checkPair(o.target, 'sizes.target', ['width', 'height']) }),
    ...score('aestheticScore'),
    ...score('negativeAestheticScore'),
  }
}

/** Height before width, top before left. */
function nativeSizes({ original, crop, target, ...scores }: SizeConditioning): NonNullable<NativeCondition['sizes']> {
  return {
    ...scores,
    ...(original ? { original: [original.height, original.width] } : {}),
    ...(crop ? { crop: [crop.top, crop.left] } : {}),
    ...(target ? { target: [target.height, target.width] } : {}),
  }
}

/** Checks the inputs of the condition among `o`, whose names are known. Pictures are read later. */
export function resolveInputs(o: Record<string, unknown>, info: PipelineInfo): ResolvedInputs {
  const own = resolveOwnInputs(o, info)
  return o.sizes === undefined ? own : { ...own, sizes: resolveSizes(o.sizes, info) }
}

function resolveOwnInputs(o: Record<string, unknown>, info: PipelineInfo): ResolvedInputs {
  const prompt = takesPrompts(info) ? { prompt: resolvePrompt(o) } : {}
  switch (info.kind) {
    case 'text':
    case 'unconditional':
      return prompt
    case 'class': {
      const classId = required(o, 'classId', `the number or name of a class; this model knows ${info.condition.classes}`)
      return { classId: checkClass(classId, info) }
    }
    case 'layout':
      return { boxes: resolveBoxes(required(o, 'boxes', 'objects as { label, x, y, width, height }, in fractions of the picture'), info) }
    case 'semantic':
      return { semanticMap: required(o, 'semanticMap', 'a label for every pixel') as SemanticMapInput }
    case 'superres': {
      const noiseLevel = resolveNoiseLevel(o.noiseLevel, info)
      const image = required(o, 'image', 'the small picture') as ImageInput
      return { ...prompt, image, ...(noiseLevel === undefined ? {} : { noiseLevel }) }
    }
    case 'inpaint': {
      const image = required(o, 'image', 'the picture to repaint a part of') as ImageInput
      return { ...prompt, image, mask: required(o, 'mask', 'what to repaint: white') as MaskInput }
    }
    case 'rdm':
      return resolveRdm(o, info)
    case 'autoencoder':
      throw new UnsupportedModelError(`Nothing is conditioned here: ${describeParts(info)}`)
  }
}

// ---- gathering -------------------------------------------------------------------------------------------------------

/** What gathering needs of a pipeline. */
export interface ConditionContext {
  info: PipelineInfo
  tokenizer: () => PipelineTokenizer
  /** Embeds a prompt of a retrieval-augmented model, for the search in a database. */
  encodeQuery: QueryEncoder
}

/** The engine's request for a condition, with the pictures read. */
export interface GatheredCondition {
  condition: NativeCondition
  arrays: NativeConditionArrays
  /** Size of the finished picture in pixels, where the inputs set it. */
  size?: { width: number; height: number }
  warnings?: GenerateWarning[]
}

/** Integer tokens that no tokenizer made. */
function tokens(ids: number[]): NativePromptTokens {
  return { chunks: [{ ids, weights: ids.map(() => 1) }], emphasis: 'original', clipSkip: 0, truncated: false }
}

async function gatherLabels(input: SemanticMapInput, { condition, sizeMultiple }: PipelineInfo<'semantic'>): Promise<GatheredCondition> {
  const { data, width, height } = await readLabelMap(input, condition.labels)
  if (width % sizeMultiple !== 0 || height % sizeMultiple !== 0) {
    throw invalidRange(
      `semanticMap is ${width}x${height}; sides must be multiples of ${sizeMultiple} for this model, and label maps are not resized: cut it or pad it`,
    )
  }
  return { condition: { labelsShape: [height, width] }, arrays: { labels: data }, size: { width, height } }
}

async function gatherSmallPicture(image: ImageInput, noiseLevel: number | undefined, info: PipelineInfo<'superres'>): Promise<GatheredCondition> {
  const { data, shape } = await imageTensor(image, 'image')
  const [height, width] = [shape[2]!, shape[3]!]
  const { factor } = info.condition
  // One latent pixel per pixel: below this the network has nothing to halve on every level.
  const least = unetDownsampling(info)
  if (width < least || height < least)
    throw invalidRange(`image is ${width}x${height}, too small for one tile of this model: sides must have at least ${least} pixels`)
  return {
    condition: { imageShape: [...shape], ...(noiseLevel === undefined ? {} : { noiseLevel }) },
    arrays: { image: data },
    size: { width: width * factor, height: height * factor },
  }
}

const warningsOf = (warning: GenerateWarning | undefined) => (warning ? [warning] : [])

async function gatherMasked(image: ImageInput, mask: MaskInput): Promise<GatheredCondition> {
  const { data, shape } = await imageTensor(image, 'image')
  const [height, width] = [shape[2]!, shape[3]!]
  const hole = await readMaskOf({ width, height }, mask)
  return {
    condition: { imageShape: [...shape], maskShape: [1, 1, height, width] },
    arrays: { image: data, mask: hole.data },
    size: { width, height },
    warnings: warningsOf(maskWarning(hole)),
  }
}

async function gatherEmbeddings(inputs: ResolvedInputs, { info, encodeQuery }: ConditionContext, signal?: AbortSignal): Promise<GatheredCondition> {
  if (!inputs.neighbours) return { condition: {}, arrays: {} }
  const dim = info.condition.dim!
  const embeddings = await embeddingsOf(inputs.neighbours, dim, () => encodeQuery(inputs.prompt!.text, signal), signal)
  return { condition: { embeddingsShape: [embeddings.length / dim, dim] }, arrays: { embeddings } }
}

async function gatherOwn(inputs: ResolvedInputs, context: ConditionContext, signal?: AbortSignal): Promise<GatheredCondition> {
  const { info } = context
  switch (info.kind) {
    case 'class':
      return { condition: { prompt: tokens([inputs.classId!]) }, arrays: {} }
    case 'layout':
      return { condition: { prompt: tokens(layoutTokens(layoutObjects(inputs.boxes!, info), layoutEncoding(info))) }, arrays: {} }
    case 'semantic':
      return gatherLabels(inputs.semanticMap!, info)
    case 'superres':
      return gatherSmallPicture(inputs.image!, inputs.noiseLevel, info)
    case 'inpaint':
      return gatherMasked(inputs.image!, inputs.mask!)
    case 'rdm':
      return gatherEmbeddings(inputs, context, signal)
    case 'text':
    case 'unconditional':
    case 'autoencoder':
      return { condition: {}, arrays: {} }
  }
}

/** Reads the pictures of checked inputs, searches their database, and makes the engine's request of them; prompts are tokenized unless `prompt` is given. */
export async function gatherCondition(
  inputs: ResolvedInputs,
  context: ConditionContext,
  signal?: AbortSignal,
  prompt?: NativePromptTokens,
): Promise<GatheredCondition> {
  const gathered = await gatherOwn(inputs, context, signal)
  const own = inputs.sizes ? { ...gathered, condition: { ...gathered.condition, sizes: nativeSizes(inputs.sizes) } } : gathered
  if (!inputs.prompt) return own
  const { text, emphasis, clipSkip } = inputs.prompt
  const settings = { emphasis, clipSkip: clipSkip ?? 0 }
  const tokenized = prompt ?? (context.info.kind === 'rdm' ? context.tokenizer().plain(text) : context.tokenizer().request(text, settings))
  return { ...own, condition: { ...own.condition, prompt: tokenized } }
}
