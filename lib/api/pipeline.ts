import type { Autoencoder } from './autoencoder.js'
import { checkLatentOutput, decodeLatents, firstStageOf, resolveDecode } from './autoencoder.js'
import { wrapConditioning, type Conditioning } from './conditioning.js'
import { encodeCondition, encodeQuery, loss, minChunks } from './encode-condition.js'
import { checkKind, LoadedModel } from '../model/engine.js'
import { UnsupportedModelError } from '../errors.js'
import { generate, generateTogether, type GenerateContext } from './generate.js'
import { embedImage } from './image-encoder.js'
import type { RawImage } from '../image/raw-image.js'
import { readInfo } from './info.js'
import { inputOptions } from '../kinds/input-options.js'
import { describeInputs, refusedInputs } from '../kinds/input-rules.js'
import { runJob, untilAborted } from '../native/job.js'
import { wrapLatents, type Latents } from './latents.js'
import { guarded } from '../native/call.js'
import { loadEmbeddings } from './embeddings.js'
import { Turns } from './turns.js'
import { Vocabulary } from './vocabulary.js'
import { tinyWarnings } from './tiny-autoencoders.js'
import { findLoras, resolveLoraDirectory } from './loras.js'
import type { NativeAdapter, NativePipeline } from '../native/contract.js'
import { readCall, shared } from '../options/common.js'
import { modelKinds, resolveLoad } from '../options/load.js'
import { checkLoras, type CheckedLora } from '../options/loras.js'
import { checkOptions, nativeFields, omit, option, pick, readOptions, type Options } from '../options/option.js'
import { conditionerOf, describeParts } from '../model/spec.js'
import { embedText } from './text-embedding.js'
import { createLatents, predict, resolveSample, sampleSteps } from './sampling.js'
import { imageTensor } from '../image/tensors.js'
import { PipelineTokenizer, type Tokenized } from '../text/tokenizer.js'
import type {
  CallOptions,
  CreateLatentsOptions,
  DecodeOptions,
  Device,
  EncodeConditionOptions,
  EncodeImageOptions,
  EncodePromptOptions,
  GenerateOptions,
  GenerateResult,
  ImageInput,
  Inputs,
  LoadOptions,
  LoraOptions,
  LoraReport,
  LossOptions,
  LossResult,
  MemoryUsage,
  OperationTime,
  ModelKind,
  ModelSource,
  PipelineInfo,
  PredictOptions,
  ResolvedOptions,
  SampleOptions,
  SampleStep,
  SuperresResolvedOptions,
  TokenIds,
  UpscaleOptions,
} from '../types.js'
import { checkFunction, checkName, checkString, invalidType, knownKeys, show } from '../options/validate.js'

const encodeImageOptions = {
  mode: option(checkLatentOutput, { fallback: () => 'sample' as const, flag: 'stages are for programs' }),
  ...pick(shared, 'seed', 'rng', 'signal'),
} satisfies Options<EncodeImageOptions, PipelineInfo>

const encodePromptOptions = {
  ...pick(inputOptions, 'clipSkip', 'emphasis'),
  minChunks,
  signal: shared.signal,
} satisfies Options<EncodePromptOptions>

async function encodeImage(native: NativePipeline, info: PipelineInfo, image: ImageInput, options: EncodeImageOptions | undefined): Promise<Latents> {
  const values = readOptions(encodeImageOptions, options, 'encodeImage()', info)
  const { signal } = values
  const request = nativeFields(encodeImageOptions, values)
  const { data, shape } = await imageTensor(image, 'image')
  return wrapLatents(await runJob((callbacks) => native.encodeImage(JSON.stringify({ ...request, shape }), data, callbacks), { signal }))
}

function checkPrompt(prompt: unknown): void {
  if (typeof prompt !== 'string' && (typeof prompt !== 'object' || prompt === null || Array.isArray(prompt)))
    throw invalidType(`prompt must be a string or { tokenIds }, not ${show(prompt)}`)
}

/** Arguments of a method; optional if all options are optional. */
type OptionArguments<O> = Record<never, never> extends O ? [options?: O] : [options: O]

/** The kind of a pipeline type. */
type KindOf<T extends { readonly kind: ModelKind }> = T['kind']

/**
 * A loaded model. Created by {@link DiffusionPipeline.load}, freed by `dispose()` or `await using`.
 *
 * Calls on one device run one after another; any number may wait. The `generate()` calls of a pipeline are queued in the
 * order in which they were made, with two exceptions: a call with an image, a map, neighbours or the option `loras` is
 * queued once these are read, and the second pass of `hires` when the first has ended. Other calls are queued once their
 * inputs are read. Every long call takes an AbortSignal, which works while the call waits, between steps and within a
 * step; the call then rejects with `signal.reason`, and the pipeline stays usable. An error thrown by a callback rejects
 * the call with that error. After `dispose()` every call fails with `ERR_DISPOSED`. Returned arrays belong to the caller.
 */
class PipelineOf<K extends ModelKind> implements AsyncDisposable {
  readonly #model: LoadedModel
  readonly #vocabulary: Vocabulary
  #firstStage: Autoencoder | undefined
  #loras: readonly NativeAdapter[] = []
  /** Number of setLoras() calls, and the end of the last one; they run one after another. */
  #lorasAsked = 0
  #lorasSettled: Promise<unknown> = Promise.resolve()
  readonly #turns = new Turns()
  readonly #files: Pick<GenerateContext, 'hub' | 'loraDirectory' | 'tiny'>
  /** Description of the model: kind, conditioning, spec, parameters and weight types by part, defaults, samplers. */
  readonly info: PipelineInfo<K>

  static {
    Object.defineProperty(this, 'name', { value: 'DiffusionPipeline' })
  }

  private constructor(
    model: LoadedModel,
    info: PipelineInfo<K>,
    vocabulary: Vocabulary,
    files: Pick<GenerateContext, 'hub' | 'loraDirectory' | 'tiny'>,
  ) {
    this.#model = model
    this.#files = files
    this.#vocabulary = vocabulary
    this.info = info
  }

  /**
   * Loads a model: a single file (.safetensors, .gguf, .ckpt, .pt, .bin), a diffusers folder, parts, or the name of a
   * model on a hub (`hf:owner/name`), which is downloaded if it is not in the cache. Without a source, loads the
   * embedded model. `kind` sets the type of the pipeline; models of other kinds are rejected.
   * @throws ModelFormatError for a damaged file, UnsupportedModelError for an unsupported model, OutOfMemoryError, DeviceError
   */
  static load<K extends ModelKind>(source: ModelSource | undefined, options: LoadOptions & { kind: K }): Promise<DiffusionPipeline<K>>
  static load(source?: ModelSource, options?: LoadOptions): Promise<DiffusionPipeline>
  static async load(source?: ModelSource, options?: LoadOptions): Promise<DiffusionPipeline> {
    const load = resolveLoad(options, 'load()')
    const loraDirectory = await resolveLoraDirectory(load.loraDirectory)
    const model = await LoadedModel.load(source, load, 'pipeline')
    try {
      const info = checkKind(readInfo(model.native), load, model)
      const stored = guarded(() => model.native.tokenizer())
      const embeddings = await loadEmbeddings(load, info, load)
      const makeTokenizer = await PipelineTokenizer.prepare(stored, model.source, info, embeddings)
      const files = { hub: load.hub, loraDirectory, tiny: await tinyWarnings(model.source, info) }
      return new PipelineOf(model, info, new Vocabulary(makeTokenizer, info), files) as DiffusionPipeline
    } catch (error) {
      await model.dispose()
      throw error
    }
  }

  /**
   * The kind of the model. Comparing it narrows the pipeline: inside `if (pipe.kind === 'class')`, `generate()` takes
   * `classId` and the compiler rejects `boxes`.
   */
  get kind(): K {
    return this.info.kind as K
  }

  /** Whether the model is of one of these kinds. Narrows the pipeline. */
  is<W extends ModelKind>(...kinds: W[]): this is DiffusionPipeline<W> {
    for (const kind of kinds) checkName(kind, 'kind', modelKinds)
    return (kinds as ModelKind[]).includes(this.info.kind)
  }

  /** The device of the model. */
  get device(): Device {
    return this.info.device
  }

  /** The model's first stage, sharing this pipeline's weights. */
  get firstStage(): Autoencoder {
    this.#model.usable()
    return (this.#firstStage ??= firstStageOf(this.#model, this.info))
  }

  /**
   * Generates images from the inputs of this kind of model: a prompt, a class, boxes, a label map, an image (and a mask), neighbours, or nothing. Most kinds also take
   * a start image (`image` with `strength`). Missing options default to the model's values; the result lists all options.
   * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for options that are unknown, not of this kind of model, of the wrong type or out of range
   */
  generate<T extends DiffusionPipeline>(
    this: T,
    ...options: OptionArguments<GenerateOptions<KindOf<T>>>
  ): Promise<GenerateResult<ResolvedOptions<KindOf<T>>>>
  async generate(options?: GenerateOptions): Promise<GenerateResult> {
    this.#model.usable()
    this.#network('generate()')
    return this.#model.track(generate(this.#context(), options))
  }

  /**
   * Several generate() calls side by side, for hosts. Those of the same size share the U-Net's calls.
   * @internal
   */
  generateTogether(calls: readonly GenerateOptions[]): Promise<GenerateResult>[] {
    this.#model.usable()
    this.#network('generate()')
    return generateTogether(() => this.#context(), calls).map((call) => this.#model.track(call))
  }

  /**
   * Sets the adapters (LoRA and similar) for all following calls that do not pass `loras`, replacing earlier ones; `[]`: none. The model is not reloaded: low-rank
   * products are computed beside its weights, whatever their type. Embeddings in the files (`bundle_emb`) are words of prompts meanwhile. `generate()` and `upscale()` wait for it; await it before other calls. A running `sample()` uses them from its next step on; an existing `Conditioning` does not change.
   * @returns a report for each file
   * @throws ModelFormatError for a damaged file or mismatched ranks, UnsupportedModelError for an adapter of another kind of model, OutOfMemoryError, DeviceError; the
   * previous adapters then stay active
   */
  async setLoras(loras: readonly LoraOptions[], options?: CallOptions): Promise<LoraReport[]> {
    this.#model.usable()
    this.#network('setLoras()')
    const checked = checkLoras(loras)
    const call = readCall(options, 'setLoras()')
    this.#lorasAsked++
    const before = this.#lorasSettled
    const set = untilAborted(before, call.signal).then(() => this.#setLoras(checked, call))
    // Later calls wait for the previous one even if this one is aborted. The promise has no value: it would hold the reports of all calls.
    this.#lorasSettled = Promise.allSettled([before, set]).then(() => undefined)
    return this.#model.track(set)
  }

  async #setLoras(loras: CheckedLora[], call: CallOptions): Promise<LoraReport[]> {
    const adapters = await findLoras(loras, 'loras', { hub: this.#files.hub, signal: call.signal })
    await this.#vocabulary.reports([], adapters) // reads their words first: after an error the previous adapters stay
    const reports = await runJob(() => this.#model.native.setAdapters(JSON.stringify({ adapters })), call)
    this.#loras = adapters
    return this.#vocabulary.reports(JSON.parse(reports) as LoraReport[], adapters)
  }

  /** Super-resolution: `generate({ image, ...options })`. The result is `info.condition.factor` (4) times as wide and as high; large images are processed in overlapping tiles. */
  upscale<T extends DiffusionPipeline>(
    this: 'superres' extends KindOf<T> ? T : never,
    image: ImageInput,
    options?: UpscaleOptions,
  ): Promise<GenerateResult<SuperresResolvedOptions>>
  async upscale(image: ImageInput, options?: UpscaleOptions): Promise<GenerateResult<SuperresResolvedOptions>> {
    this.#model.usable()
    if (this.info.kind !== 'superres')
      throw new UnsupportedModelError(`upscale() is for super-resolution models, which ${this.info.name} is not: ${describeInputs(this.info)}`)
    const o = knownKeys(
      options,
      'upscale()',
      Object.keys(options ?? {}).filter((key) => key !== 'image'),
      { image: 'is the first argument' },
    )
    return this.#model.track(generate(this.#context(), { ...o, image })) as Promise<GenerateResult<SuperresResolvedOptions>>
  }

  /** Tokenises a prompt: windows of 77 ids, with a weight and a text for each. Retrieval-augmented models read one window of plain text. */
  async tokenize(prompt: string): Promise<Tokenized> {
    this.#model.usable()
    return (await this.#tokens()).tokenize(checkString(prompt, 'prompt'), 1, this.info.kind === 'rdm' ? 'none' : undefined)
  }

  /** Runs the text encoder on a prompt or on token ids. For retrieval-augmented models use `encodeCondition()`. */
  encodePrompt<T extends DiffusionPipeline>(
    this: KindOf<T> extends 'rdm' ? never : T,
    prompt: string | TokenIds,
    options?: EncodePromptOptions,
  ): Promise<Conditioning>
  async encodePrompt(prompt: string | TokenIds, options?: EncodePromptOptions): Promise<Conditioning> {
    this.#model.usable()
    const { info } = this
    if (info.kind === 'rdm')
      throw new UnsupportedModelError('encodePrompt() does not support retrieval-augmented models: use encodeCondition({ prompt, neighbours })')
    const keys = Object.keys(conditionerOf(info.spec, 'clip_text') ? encodePromptOptions : omit(encodePromptOptions, 'clipSkip'))
    const o = knownKeys(options, 'encodePrompt()', keys, refusedInputs(info, false))
    const { clipSkip = 0, emphasis, minChunks: least, signal } = checkOptions(encodePromptOptions, o, undefined)
    const settings = { clipSkip, emphasis }
    checkPrompt(prompt)
    const encode = async () => {
      const request =
        typeof prompt === 'string'
          ? await (await this.#tokens()).request(prompt, settings, least)
          : PipelineTokenizer.fromIds(prompt, info, settings, 'encodePrompt()')
      return wrapConditioning(await runJob((callbacks) => this.#model.native.encodePrompt(JSON.stringify(request), callbacks), { signal }))
    }
    return this.#model.track(encode())
  }

  /**
   * Encodes the inputs of any kind of model (those of `generate()`, without image to image) for `sample()` and `predict()`. `unconditional: true` gives the
   * unconditional counterpart for guidance.
   */
  encodeCondition<T extends DiffusionPipeline>(this: T, inputs: Inputs<KindOf<T>>, options?: EncodeConditionOptions): Promise<Conditioning>
  async encodeCondition(inputs: Inputs, options?: EncodeConditionOptions): Promise<Conditioning> {
    this.#model.usable()
    this.#network('encodeCondition()')
    return this.#model.track(encodeCondition(this.#context(), inputs, options))
  }

  /**
   * Measures the training loss of the latent diffusion paper (Eq. 1 to 3): the mean squared error of the network's prediction for an image and its inputs, noised to
   * several timesteps. The image is not resized; sides must be multiples of `info.sizeMultiple`.
   */
  loss<T extends DiffusionPipeline>(this: T, image: ImageInput, inputs: Inputs<KindOf<T>>, options?: LossOptions): Promise<LossResult>
  async loss(image: ImageInput, inputs: Inputs, options?: LossOptions): Promise<LossResult> {
    this.#model.usable()
    this.#network('loss()')
    return this.#model.track(loss(this.#context(), image, inputs, options))
  }

  /** Runs the first stage's encoder. Sides must be multiples of `info.downsampling`. The latents are multiplied by the scale factor, except `moments`. */
  async encodeImage(image: ImageInput, options?: EncodeImageOptions): Promise<Latents> {
    this.#model.usable()
    return this.#model.track(encodeImage(this.#model.native, this.info, image, options))
  }

  /**
   * The CLIP embedding of an image, [dim], by the `imageEncoder` of the model source, to use as a neighbour or to search a retrieval database. The image is resized to
   * the encoder's square without cropping, as in the reference.
   */
  async embedImage(image: ImageInput, options?: CallOptions): Promise<Float32Array> {
    this.#model.usable()
    return this.#model.track(embedImage(this.#model.native, this.info, image, readCall(options, 'embedImage()').signal))
  }

  /**
   * The CLIP embedding of a text, [dim], not normalised (transformers' `text_embeds`): the last layer at the end of the text, after the text projection. Compare it
   * with `embedImage()` of the same CLIP by {@link cosineSimilarity}. Prompt weights are not parsed, and the text is truncated to the encoder's window of 77 tokens; `{
   * tokenIds }` is one window including start and end. A CLIP file or folder can be loaded as a model; SDXL uses its second text encoder.
   * @throws UnsupportedModelError for a model without a CLIP text encoder or its projection, such as Stable Diffusion 1 and 2
   */
  async embedText(prompt: string | TokenIds, options?: CallOptions): Promise<Float32Array> {
    this.#model.usable()
    const { signal } = readCall(options, 'embedText()')
    checkPrompt(prompt)
    const context = { native: this.#model.native, info: this.info, tokenizer: () => this.#tokens() }
    return this.#model.track(embedText(context, prompt, signal))
  }

  /** Start noise of unit variance for `sample()` and `generate({ latents })`. Computed on another thread, without waiting for running calls. */
  async createLatents(options?: CreateLatentsOptions): Promise<Latents> {
    this.#model.usable()
    return wrapLatents(await this.#model.track(createLatents(this.#model.native, this.info, options)))
  }

  /**
   * The sampling loop: `for await (const { latents } of pipe.sample({ conditioning, unconditional }))`. The latents are the live state. Leaving the loop ends the run;
   * the generator returns the latents after the last step.
   */
  sample(options: SampleOptions): AsyncGenerator<SampleStep, Latents, void> {
    this.#model.usable()
    this.#network('sample()')
    return sampleSteps(this.#model.native, this.info, resolveSample(options, this.info), () => this.#model.usable())
  }

  /** Evaluates the network once: its raw output (of the type `info.spec.prediction`) for latents at a timestep. */
  async predict(latents: Latents, options: PredictOptions): Promise<Latents> {
    this.#model.usable()
    this.#network('predict()')
    return predict(this.#model.native, this.info, latents, options)
  }

  /** Runs the first stage's decoder. Gives 8-bit images, or with `output: 'float'` unclamped planar floats [n, channels, height, width]. */
  async decode(latents: Latents, options: DecodeOptions & { output: 'float' }): Promise<Float32Array>
  async decode(latents: Latents, options?: DecodeOptions & { output?: 'image' }): Promise<RawImage[]>
  async decode(latents: Latents, options?: DecodeOptions): Promise<RawImage[] | Float32Array> {
    this.#model.usable()
    return decodeLatents(this.#model.native, latents, resolveDecode(options, 'decode()', this.info))
  }

  /** Current memory use by part, and the peak of the process. */
  memoryUsage(): MemoryUsage {
    this.#model.usable()
    return JSON.parse(guarded(() => this.#model.native.memoryUsage())) as MemoryUsage
  }

  /**
   * Runs `action` and reports the time of each network operation of this pipeline meanwhile, the most expensive first. Work of other pipelines is not listed. On the same device it makes the times
   * longer: on the CPU and with CUDA both share the processors, with Vulkan and Metal an operation waits until the GPU is free, and this counts.
   */
  async profile(action: () => Promise<unknown>): Promise<OperationTime[]> {
    this.#model.usable()
    checkFunction(action, 'action')
    let table: string
    guarded(() => this.#model.native.profile(true))
    try {
      await action()
    } finally {
      table = guarded(() => this.#model.native.profile(false))
    }
    return JSON.parse(table) as OperationTime[]
  }

  /** Frees weights and graphs; the next call loads them again. */
  async unload(options?: CallOptions): Promise<void> {
    this.#model.usable()
    await runJob(() => this.#model.native.unload(), readCall(options, 'unload()'))
  }

  /** Waits for queued and running calls, then frees everything. Later calls fail with `ERR_DISPOSED`. Idempotent. */
  dispose(): Promise<void> {
    return this.#model.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  #network(call: string): void {
    if (!this.info.spec.unet) throw new UnsupportedModelError(`${call}: ${describeParts(this.info)}`)
  }

  #context(): GenerateContext {
    const tokenizer = () => this.#tokens()
    const { native, source } = this.#model
    const asked = this.#lorasAsked
    return {
      native,
      info: this.info,
      tokenizer,
      vocabulary: this.#vocabulary,
      encodeQuery: (prompt, signal) => encodeQuery({ native, tokenizer }, prompt, signal),
      modelName: source.name,
      refinerName: source.refinerName,
      settleLoras: async (signal) => {
        await untilAborted(this.#lorasSettled, signal)
        return this.#loras
      },
      lorasChanged: () => this.#lorasAsked !== asked,
      turns: this.#turns,
      ...this.#files,
    }
  }

  #tokens(): Promise<PipelineTokenizer> {
    return this.#vocabulary.tokenizer(this.#loras)
  }
}

/** A loaded pipeline of one kind or, without a kind, the union over all kinds. Narrow it with `kind`, `is()` or {@link LoadOptions.kind}. */
export type DiffusionPipeline<K extends ModelKind = ModelKind> = { [P in K]: PipelineOf<P> }[K]
export const DiffusionPipeline = PipelineOf
