/** encodeCondition() and loss(): what a model is conditioned on, in the caller's hands, and the training objective as a measurement. */
import { gatherCondition, resolveInputs, type ConditionContext, type GatheredCondition, type ResolvedInputs } from '../kinds/conditions.js'
import { wrapConditioning, type Conditioning } from './conditioning.js'
import { conditionKeys, refusedInputs, takesPrompts } from '../kinds/input-rules.js'
import { runJob } from '../native/job.js'
import type { NativePipeline } from '../native/contract.js'
import { callKeys, optionalProgress, optionalSignal, resolveRng, resolveSeed } from '../options/options.js'
import { imageTensor } from '../image/tensors.js'
import type { EncodeConditionOptions, ImageInput, LossOptions, LossResult, PipelineInfo } from '../types.js'
import { checkBoolean, checkInteger, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'

/** What these calls need of a pipeline. */
export interface EncodeContext extends ConditionContext {
  native: NativePipeline
}

function checkInputs(inputs: unknown, info: PipelineInfo, where: string): ResolvedInputs {
  return resolveInputs(knownKeys(inputs, where, conditionKeys(info), refusedInputs(info, false)), info)
}

/** The inputs that stand for "no condition": what guidance compares with. Where zeros do, the engine makes them. */
function unconditionalInputs(inputs: ResolvedInputs, info: PipelineInfo): ResolvedInputs {
  if (!info.condition.guidance) throw invalidRange('unconditional: this model was trained without an unconditional input')
  if (takesPrompts(info) && inputs.prompt) return { ...inputs, prompt: { ...inputs.prompt, text: '' } }
  if (info.kind === 'class' && info.condition.nullClass !== undefined) return { ...inputs, classId: info.condition.nullClass }
  return inputs
}

async function gatherWindows(inputs: ResolvedInputs, context: EncodeContext, minChunks: number, signal?: AbortSignal): Promise<GatheredCondition> {
  if (!inputs.prompt || minChunks === 1) return gatherCondition(inputs, context, signal)
  const { text, emphasis, clipSkip } = inputs.prompt
  return gatherCondition(inputs, context, signal, context.tokenizer().request(text, { emphasis, clipSkip: clipSkip ?? 0 }, minChunks))
}

/** Runs the conditioners of any kind of model. */
export async function encodeCondition(context: EncodeContext, inputs: unknown, options: EncodeConditionOptions | undefined): Promise<Conditioning> {
  const { info, native } = context
  const where = 'encodeCondition()'
  const given = checkInputs(inputs, info, where)
  const o = knownKeys(options, where, ['unconditional', 'minChunks', 'seed', 'rng', ...callKeys])
  const unconditional = o.unconditional !== undefined && checkBoolean(o.unconditional, 'unconditional')
  const minChunks = o.minChunks === undefined ? 1 : checkInteger(o.minChunks, 'minChunks', { min: 1, max: 1000 })
  const noise = { seed: String(resolveSeed(o.seed)), rng: resolveRng(o.rng) }
  const signal = optionalSignal(o)
  signal?.throwIfAborted()
  const { condition, arrays } = await gatherWindows(unconditional ? unconditionalInputs(given, info) : given, context, minChunks, signal)
  const request = JSON.stringify({ ...condition, ...noise, ...(unconditional ? { unconditional } : {}) })
  return wrapConditioning(await runJob((callbacks) => native.encodeCondition(request, arrays, callbacks), { signal }))
}

/** Ten timesteps, in the middle of ten equal parts of the schedule. */
function evenTimesteps(count: number): number[] {
  return Array.from({ length: 10 }, (_, i) => Math.floor(((i + 0.5) * count) / 10))
}

function resolveTimesteps(value: unknown, { spec }: PipelineInfo): number[] {
  const { timesteps } = spec.schedule
  if (value === undefined) return evenTimesteps(timesteps)
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) throw invalidType(`timesteps must be an array of numbers, not ${show(value)}`)
  const list = listOf(value as unknown as ArrayLike<unknown>, 'timesteps', 1000).map((t, i) =>
    checkInteger(t, `timesteps[${i}]`, { min: 0, max: timesteps - 1 }),
  )
  if (list.length < 1) throw invalidRange('timesteps must be 1 to 1000 numbers, not none')
  return list
}

/** The denoising loss of one picture at some timesteps. */
export async function loss(context: EncodeContext, image: ImageInput, inputs: unknown, options: LossOptions | undefined): Promise<LossResult> {
  const { info, native } = context
  const given = checkInputs(inputs, info, 'loss()')
  const o = knownKeys(options, 'loss()', ['timesteps', 'seed', 'rng', 'onProgress', ...callKeys])
  const timesteps = resolveTimesteps(o.timesteps, info)
  const seed = resolveSeed(o.seed)
  const rng = resolveRng(o.rng)
  const hooks = { signal: optionalSignal(o), onProgress: optionalProgress(o) }
  hooks.signal?.throwIfAborted()
  const { data, shape } = await imageTensor(image, 'image')
  const [height, width] = [shape[2]!, shape[3]!]
  if (width % info.sizeMultiple !== 0 || height % info.sizeMultiple !== 0)
    throw invalidRange(`image is ${width}x${height}; sides must be multiples of ${info.sizeMultiple} for this model`)
  const { condition, arrays, size } = await gatherCondition(given, context, hooks.signal)
  if (size && (size.width !== width || size.height !== height))
    throw invalidRange(`image is ${width}x${height}, but what it is conditioned on makes ${size.width}x${size.height}`)
  const noise = { seed: String(seed), rng }
  const request = JSON.stringify({ timesteps, ...noise, imageShape: shape, condition: { ...condition, ...noise } })
  const { losses } = await runJob((callbacks) => native.loss(request, data, arrays, callbacks), hooks)
  return { timesteps, losses: Float32Array.from(losses), mean: losses.reduce((a, b) => a + b, 0) / losses.length, seed }
}

/** The embedding of a prompt, for the search in a retrieval database: the first token of a retrieval-augmented model's condition. */
export async function encodeQuery(
  { native, tokenizer }: Pick<EncodeContext, 'native' | 'tokenizer'>,
  prompt: string,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const request = { prompt: tokenizer().plain(prompt) }
  const encoded = await runJob((callbacks) => native.encodeCondition(JSON.stringify(request), {}, callbacks), { signal })
  try {
    const embedding = new Float32Array(encoded.tokens * encoded.dim)
    encoded.read(embedding)
    return embedding.slice(0, encoded.dim)
  } finally {
    encoded.dispose()
  }
}
