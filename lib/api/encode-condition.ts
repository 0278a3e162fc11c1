/** encodeCondition() and loss(): encodes a model's inputs for the caller, and measures the training objective. */
import { gatherInputs, type GatheredInputs, type InputContext } from '../kinds/gather.js'
import { wrapConditioning, type Conditioning } from './conditioning.js'
import { inputKeys, refusedInputs, resolveInputs, takesPrompts, type ResolvedInputs } from '../kinds/input-rules.js'
import { runJob } from '../native/job.js'
import type { NativePipeline } from '../native/contract.js'
import { checkSide, notNative, shared } from '../options/common.js'
import { boolean, integer, nativeFields, option, pick, readOptions, type Options } from '../options/option.js'
import { imageTensor } from '../image/tensors.js'
import type { EncodeConditionOptions, ImageInput, LossOptions, LossResult, PipelineInfo } from '../types.js'
import { checkInteger, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'

/** The parts of a pipeline that these calls need. */
export interface EncodeContext extends InputContext {
  native: NativePipeline
}

function checkInputs(inputs: unknown, info: PipelineInfo, where: string): ResolvedInputs {
  return resolveInputs(knownKeys(inputs, where, inputKeys(info), refusedInputs(info, false)), info)
}

/** The unconditional inputs for guidance. If they are zeros, the engine makes them. */
function unconditionalInputs(inputs: ResolvedInputs, info: PipelineInfo): ResolvedInputs {
  if (!info.condition.guidance) throw invalidRange('unconditional: this model was trained without an unconditional input')
  if (takesPrompts(info) && inputs.prompt) return { ...inputs, prompt: { ...inputs.prompt, text: '' } }
  if (info.kind === 'class' && info.condition.nullClass !== undefined) return { ...inputs, classId: info.condition.nullClass }
  return inputs
}

async function gatherWindows(inputs: ResolvedInputs, context: EncodeContext, least: number, signal?: AbortSignal): Promise<GatheredInputs> {
  if (!inputs.prompt || least === 1) return gatherInputs(inputs, context, signal)
  const { text, emphasis, clipSkip } = inputs.prompt
  const tokenizer = await context.tokenizer()
  return gatherInputs(inputs, context, signal, await tokenizer.request(text, { emphasis, clipSkip: clipSkip ?? 0 }, least))
}

const inPrograms = 'stages are for programs'

/** Options shared with encodePrompt(). */
export const minChunks = integer({ min: 1, max: 1000, fallback: () => 1, toNative: notNative, flag: inPrograms })

/** A side of the image that is meant, where the inputs leave it open. */
const side = option(
  (value, name, { kind, sizeMultiple }: PipelineInfo): number => {
    if (kind !== 'depth') throw invalidType(`encodeCondition(): option '${name}' is for depth models; the inputs of this model do not depend on it`)
    return checkSide(value, name, { multiple: sizeMultiple })
  },
  { toNative: notNative, flag: inPrograms },
)

const encodeOptions = {
  unconditional: boolean({ toNative: (on: boolean) => (on ? { unconditional: on } : {}), flag: inPrograms }),
  minChunks,
  width: side,
  height: side,
  ...pick(shared, 'seed', 'rng', 'signal'),
} satisfies Options<EncodeConditionOptions, PipelineInfo>

/** Runs the conditioners of any kind of model. */
export async function encodeCondition(context: EncodeContext, inputs: unknown, options: EncodeConditionOptions | undefined): Promise<Conditioning> {
  const { info, native } = context
  const where = 'encodeCondition()'
  const given = checkInputs(inputs, info, where)
  const values = readOptions(encodeOptions, options, where, info)
  const { unconditional, signal } = values
  signal?.throwIfAborted()
  const gathered = await gatherWindows(unconditional ? unconditionalInputs(given, info) : given, context, values.minChunks, signal)
  const { arrays, usualSize } = gathered
  const size = usualSize && { width: values.width ?? usualSize.width, height: values.height ?? usualSize.height }
  const request = JSON.stringify({ ...gathered.inputs, ...size, ...nativeFields(encodeOptions, values) })
  return wrapConditioning(await runJob((callbacks) => native.encodeCondition(request, arrays, callbacks), { signal }))
}

/** Ten timesteps, the centres of ten equal parts of the schedule. */
function evenTimesteps(count: number): number[] {
  return Array.from({ length: 10 }, (_, i) => Math.floor(((i + 0.5) * count) / 10))
}

function checkTimesteps(value: unknown, name: string, { spec }: PipelineInfo): number[] {
  const { timesteps } = spec.schedule
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) throw invalidType(`${name} must be an array of numbers, not ${show(value)}`)
  const list = listOf(value as unknown as ArrayLike<unknown>, name, 1000).map((t, i) =>
    checkInteger(t, `${name}[${i}]`, { min: 0, max: timesteps - 1 }),
  )
  if (list.length < 1) throw invalidRange(`${name} must have 1 to 1000 numbers, not 0`)
  return list
}

const lossOptions = {
  timesteps: option(checkTimesteps, { fallback: ({ spec }: PipelineInfo) => evenTimesteps(spec.schedule.timesteps), flag: inPrograms }),
  ...pick(shared, 'seed', 'rng', 'onProgress', 'signal'),
} satisfies Options<LossOptions, PipelineInfo>

/** The denoising loss of one image at some timesteps. */
export async function loss(context: EncodeContext, image: ImageInput, inputs: unknown, options: LossOptions | undefined): Promise<LossResult> {
  const { info, native } = context
  const given = checkInputs(inputs, info, 'loss()')
  const values = readOptions(lossOptions, options, 'loss()', info)
  const { timesteps, seed, onProgress, signal } = values
  signal?.throwIfAborted()
  const { data, shape } = await imageTensor(image, 'image')
  const [height, width] = [shape[2]!, shape[3]!]
  if (width % info.sizeMultiple !== 0 || height % info.sizeMultiple !== 0)
    throw invalidRange(`image is ${width}x${height}; sides must be multiples of ${info.sizeMultiple} for this model`)
  const { inputs: own, arrays, size } = await gatherInputs(given, context, signal)
  if (size && (size.width !== width || size.height !== height))
    throw invalidRange(`image is ${width}x${height}, but the inputs are for ${size.width}x${size.height}`)
  const noise = nativeFields(pick(lossOptions, 'seed', 'rng'), values)
  const request = JSON.stringify({ timesteps, ...noise, imageShape: shape, inputs: { ...own, ...noise } })
  const { losses } = await runJob((callbacks) => native.loss(request, data, arrays, callbacks), { signal, onProgress })
  return { timesteps, losses: Float32Array.from(losses), mean: losses.reduce((a, b) => a + b, 0) / losses.length, seed }
}

/** The embedding of a prompt, for the search in a retrieval database: the first token of a retrieval-augmented model's condition. */
export async function encodeQuery(
  { native, tokenizer }: Pick<EncodeContext, 'native' | 'tokenizer'>,
  prompt: string,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const request = { prompt: await (await tokenizer()).plain(prompt) }
  const encoded = await runJob((callbacks) => native.encodeCondition(JSON.stringify(request), {}, callbacks), { signal })
  try {
    const embedding = new Float32Array(encoded.tokens * encoded.dim)
    await runJob(() => encoded.read(embedding))
    return embedding.slice(0, encoded.dim)
  } finally {
    encoded.dispose()
  }
}
