/** Which inputs each kind of model takes, and what is said of those that it does not. */
import { conditionerOf } from '../model/spec.js'
import type { ModelKind, PipelineInfo } from '../types.js'

/** Inputs of the condition by kind, without those of a text encoder. */
const ownInputs: Record<ModelKind, readonly string[]> = {
  text: [],
  class: ['classId'],
  unconditional: [],
  layout: ['boxes'],
  semantic: ['semanticMap'],
  superres: ['image'],
  inpaint: ['image', 'mask'],
  rdm: ['prompt', 'neighbours'],
  autoencoder: [],
}

/** Kinds that take a picture for what it shows; for all others a picture is the start of image to image. */
const pictureKinds: readonly ModelKind[] = ['superres', 'inpaint']

export function takesStartPicture({ kind }: Pick<PipelineInfo, 'kind'>): boolean {
  return !pictureKinds.includes(kind) && kind !== 'autoencoder'
}

/** Whether prompts and negative prompts steer the model: all text models, Stable Diffusion inpainting, the SD x4 upscaler. */
export function takesPrompts(info: PipelineInfo): boolean {
  return info.kind !== 'rdm' && conditionerOf(info.spec, 'clip_text', 'bert_text') !== undefined
}

/** Names of the inputs that the model's condition takes: those of encodeCondition(). */
export function conditionKeys(info: PipelineInfo): string[] {
  return [
    ...(takesPrompts(info) ? ['prompt', 'emphasis', ...(conditionerOf(info.spec, 'clip_text') ? ['clipSkip'] : [])] : []),
    ...(info.condition.sizes ? ['sizes'] : []),
    ...ownInputs[info.kind],
    ...(info.kind === 'superres' && info.condition.maxNoiseLevel !== undefined ? ['noiseLevel'] : []),
  ]
}

/** Names of the inputs that generate() takes: those of the condition, the negative prompt, and image to image. */
export function generateInputKeys(info: PipelineInfo): string[] {
  return [
    ...conditionKeys(info),
    ...(takesPrompts(info) ? ['negativePrompt'] : []),
    ...(takesStartPicture(info) ? ['image', 'strength', 'mask'] : []),
  ]
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** What a message says that the model takes. */
export function describeInputs(info: PipelineInfo, startPicture = takesStartPicture(info)): string {
  const spoken = ['prompt', 'negativePrompt', 'classId', 'boxes', 'semanticMap', 'noiseLevel', 'neighbours']
  const keys = startPicture || !takesStartPicture(info) ? generateInputKeys(info) : conditionKeys(info)
  const ofPicture = (key: string) => key === 'image' || key === 'mask'
  const own = keys.filter((key) => (ofPicture(key) ? !takesStartPicture(info) : spoken.includes(key)))
  const start = startPicture ? 'image with strength and mask' : ''
  if (own.length === 0) return start ? `it is conditioned on nothing and takes, for image to image, ${start}` : 'it is conditioned on nothing'
  return `it takes ${list(own)}${start ? ` and, for image to image, ${start}` : ''}`
}

/** What an input is for, where the model does not take it. */
const purposes: Record<string, string> = {
  prompt: 'for models that read text',
  negativePrompt: 'for models that are guided by text',
  emphasis: 'for models that read text',
  clipSkip: 'for models with a CLIP text encoder',
  sizes: 'for SDXL',
  classId: 'for class-conditional models',
  boxes: 'for layout-to-image models',
  semanticMap: 'for semantic synthesis models',
  mask: 'for inpainting and image to image',
  noiseLevel: 'for the SD x4 upscaler',
  neighbours: 'for retrieval-augmented models',
  image: 'for image to image, super-resolution and inpainting',
  strength: 'for image to image',
}

/** Refusals of the inputs that the model does not take, for {@link knownKeys}. */
export function refusedInputs(info: PipelineInfo, startPicture?: boolean): Record<string, string> {
  const takes = describeInputs(info, startPicture)
  const name = info.name || `this ${info.kind} model`
  return Object.fromEntries(Object.entries(purposes).map(([key, purpose]) => [key, `is ${purpose}; ${name} is not one of them: ${takes}`]))
}
