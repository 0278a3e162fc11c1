/** Turns checked inputs into the engine's request: reads images, tokenises prompts, searches databases. */
import { readLabelMap } from '../image/label-map.js'
import { readDepthMap } from '../image/depth-map.js'
import { sizeInMultiples } from '../image/preprocess.js'
import { maskWarning, readMaskOf } from '../image/mask.js'
import type { GenerateWarning } from './generate-types.js'
import { layoutObjects } from './input-options.js'
import type { ResolvedInputs } from './input-rules.js'
import type { DepthMapInput, MaskInput, SemanticMapInput, SizeConditioning } from './inputs.js'
import { layoutTokens } from '../model/layout-tokens.js'
import type { NativeInputArrays, NativeInputs, NativePromptTokens } from '../native/contract.js'
import { embeddingsOf, type QueryEncoder } from './neighbours.js'
import { layoutEncoding, unetDownsampling } from '../model/spec.js'
import { imageTensor } from '../image/tensors.js'
import type { PipelineTokenizer } from '../text/tokenizer.js'
import type { ImageInput, PipelineInfo } from '../types.js'
import { invalidRange } from '../options/validate.js'

/** Height before width, top before left. */
function nativeSizes({ original, crop, target, ...scores }: SizeConditioning): NonNullable<NativeInputs['sizes']> {
  return {
    ...scores,
    ...(original ? { original: [original.height, original.width] } : {}),
    ...(crop ? { crop: [crop.top, crop.left] } : {}),
    ...(target ? { target: [target.height, target.width] } : {}),
  }
}

/** The parts of a pipeline that gathering needs. */
export interface InputContext {
  info: PipelineInfo
  tokenizer: () => Promise<PipelineTokenizer>
  /** Embeds a prompt of a retrieval-augmented model, for the search in a database. */
  encodeQuery: QueryEncoder
}

/** The engine's request, with the images read. */
export interface GatheredInputs {
  inputs: NativeInputs
  arrays: NativeInputArrays
  /** Size of the final image in pixels, if the inputs determine it. */
  size?: { width: number; height: number }
  /** Its default size. */
  usualSize?: { width: number; height: number }
  warnings?: GenerateWarning[]
}

/** Integer tokens without a tokenizer. */
function tokens(ids: number[]): NativePromptTokens {
  return { chunks: [{ ids, weights: ids.map(() => 1) }], emphasis: 'original', clipSkip: 0, truncated: false }
}

async function gatherLabels(input: SemanticMapInput, { condition, sizeMultiple }: PipelineInfo<'semantic'>): Promise<GatheredInputs> {
  const { data, width, height } = await readLabelMap(input, condition.labels)
  if (width % sizeMultiple !== 0 || height % sizeMultiple !== 0) {
    throw invalidRange(
      `semanticMap is ${width}x${height}; sides must be multiples of ${sizeMultiple} for this model, and label maps are not resized: crop or pad it`,
    )
  }
  return { inputs: { labelsShape: [height, width] }, arrays: { labels: data }, size: { width, height } }
}

async function gatherSmallPicture(image: ImageInput, noiseLevel: number | undefined, info: PipelineInfo<'superres'>): Promise<GatheredInputs> {
  const { data, shape } = await imageTensor(image, 'image')
  const [height, width] = [shape[2]!, shape[3]!]
  const { factor } = info.condition
  // One latent pixel per pixel; smaller images cannot be halved at every level.
  const least = unetDownsampling(info)
  if (width < least || height < least)
    throw invalidRange(`image is ${width}x${height}, too small for one tile of this model: sides must have at least ${least} pixels`)
  return {
    inputs: { imageShape: [...shape], ...(noiseLevel === undefined ? {} : { noiseLevel }) },
    arrays: { image: data },
    size: { width: width * factor, height: height * factor },
  }
}

const warningsOf = (warning: GenerateWarning | undefined) => (warning ? [warning] : [])

async function gatherMasked(image: ImageInput, mask: MaskInput): Promise<GatheredInputs> {
  const { data, shape } = await imageTensor(image, 'image')
  const [height, width] = [shape[2]!, shape[3]!]
  const hole = await readMaskOf({ width, height }, mask)
  return {
    inputs: { imageShape: [...shape], maskShape: [1, 1, height, width] },
    arrays: { image: data, mask: hole.data },
    size: { width, height },
    warnings: warningsOf(maskWarning(hole)),
  }
}

async function gatherPicture(image: ImageInput): Promise<GatheredInputs> {
  const { data, shape } = await imageTensor(image, 'image')
  return { inputs: { imageShape: [...shape] }, arrays: { image: data }, size: { width: shape[3]!, height: shape[2]! } }
}

async function gatherDepth(depthMap: DepthMapInput, { sizeMultiple }: PipelineInfo): Promise<GatheredInputs> {
  const { data, width, height } = await readDepthMap(depthMap)
  return { inputs: { depthShape: [1, 1, height, width] }, arrays: { depth: data }, usualSize: sizeInMultiples({ width, height }, sizeMultiple) }
}

async function gatherEmbeddings(inputs: ResolvedInputs, { info, encodeQuery }: InputContext, signal?: AbortSignal): Promise<GatheredInputs> {
  if (!inputs.neighbours) return { inputs: {}, arrays: {} }
  const dim = info.condition.dim!
  const embeddings = await embeddingsOf(inputs.neighbours, dim, () => encodeQuery(inputs.prompt!.text, signal), signal)
  return { inputs: { embeddingsShape: [embeddings.length / dim, dim] }, arrays: { embeddings } }
}

async function gatherOwn(inputs: ResolvedInputs, context: InputContext, signal?: AbortSignal): Promise<GatheredInputs> {
  const { info } = context
  switch (info.kind) {
    case 'class':
      return { inputs: { prompt: tokens([inputs.classId!]) }, arrays: {} }
    case 'layout':
      return { inputs: { prompt: tokens(layoutTokens(layoutObjects(inputs.boxes!, info), layoutEncoding(info))) }, arrays: {} }
    case 'semantic':
      return gatherLabels(inputs.semanticMap!, info)
    case 'superres':
      return gatherSmallPicture(inputs.image!, inputs.noiseLevel, info)
    case 'inpaint':
      return gatherMasked(inputs.image!, inputs.mask!)
    case 'edit':
      return gatherPicture(inputs.image!)
    case 'depth':
      return gatherDepth(inputs.depthMap!, info)
    case 'rdm':
      return gatherEmbeddings(inputs, context, signal)
    case 'text':
    case 'unconditional':
    case 'autoencoder':
      return { inputs: {}, arrays: {} }
  }
}

/** Reads the images of checked inputs, searches their database, and builds the engine's request; prompts are tokenised unless `prompt` is given. */
export async function gatherInputs(
  inputs: ResolvedInputs,
  context: InputContext,
  signal?: AbortSignal,
  prompt?: NativePromptTokens,
): Promise<GatheredInputs> {
  const gathered = await gatherOwn(inputs, context, signal)
  const own = inputs.sizes ? { ...gathered, inputs: { ...gathered.inputs, sizes: nativeSizes(inputs.sizes) } } : gathered
  if (!inputs.prompt) return own
  const { text, emphasis, clipSkip } = inputs.prompt
  const settings = { emphasis, clipSkip: clipSkip ?? 0 }
  if (prompt) return { ...own, inputs: { ...own.inputs, prompt } }
  const tokenizer = await context.tokenizer()
  const tokenized = await (context.info.kind === 'rdm' ? tokenizer.plain(text) : tokenizer.request(text, settings))
  return { ...own, inputs: { ...own.inputs, prompt: tokenized } }
}
