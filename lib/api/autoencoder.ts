import { makeSliced } from '../files/time-slice.js'
import { checkCodes, isCodes, type Codes } from './codes.js'
import { LoadedModel } from '../model/engine.js'
import { readInfo } from './info.js'
import { runJob } from '../native/job.js'
import { latentsOf, nativeLatents, wrapLatents, type Latents } from './latents.js'
import type { NativeDecoded, NativePipeline } from '../native/contract.js'
import { readCall, shared } from '../options/common.js'
import { promptlessLoadOptions, resolveLoad } from '../options/load.js'
import { boolean, choice, nativeFields, pick, readOptions, type Options } from '../options/option.js'
import type { CallOptions, DecodeOptions, ImageInput, ModelSource, PipelineInfo, PromptlessLoadOptions, RngName } from '../types.js'
import type { RawImage } from '../image/raw-image.js'
import { imageTensor, toRawImage } from '../image/tensors.js'
import { checkName, invalidRange, invalidType } from '../options/validate.js'

/** Forms of an encoder's result. */
export type LatentOutput = 'sample' | 'mean' | 'moments' | 'prequant'

/** Options of {@link Autoencoder.encode}. */
export interface AutoencoderEncodeOptions extends CallOptions {
  /**
   * KL: `sample` (default) draws from the posterior, `mean` is its mean, `moments` gives mean and log-variance channels.
   * Tiny autoencoder (TAESD): `sample` and `mean` are the same.
   * VQ: `prequant` (default; same as `sample` and `mean`) is the result before quantisation, `codes` the indices of the nearest codebook entries.
   */
  output?: LatentOutput | 'codes'
  /** For `sample`. Default: random. */
  seed?: number | bigint
  rng?: RngName
}

/** {@link Autoencoder.info}: the info of a pipeline, and the regularisation of the codes. */
export type AutoencoderInfo = PipelineInfo & {
  /** `kl`: a Gaussian posterior. `vq`: a codebook. `none`: a tiny autoencoder (TAESD), whose latents are scaled like those of the U-Net. */
  regularization: 'kl' | 'vq' | 'none'
  /** Number of codebook entries; 0 without a codebook. */
  codebookSize: number
}

let create: (model: LoadedModel, info: PipelineInfo, owner: boolean) => Autoencoder

function firstStageInfo(info: PipelineInfo): AutoencoderInfo {
  const stage = (info.spec.firstStage ?? {}) as { kind?: unknown; codebookSize?: unknown }
  const regularization = stage.kind === 'vq' ? 'vq' : stage.kind === 'tiny' ? 'none' : 'kl'
  return { ...info, regularization, codebookSize: typeof stage.codebookSize === 'number' ? stage.codebookSize : 0 }
}

function isVq(info: PipelineInfo): boolean {
  return firstStageInfo(info).regularization === 'vq'
}

const titles = { kl: 'KL', vq: 'VQ', none: 'a tiny autoencoder' } as const

/** The first stage in a sentence. */
const titleOf = (info: PipelineInfo): string => titles[firstStageInfo(info).regularization]

/** An encoder's output that the first stage has. */
export function checkLatentOutput(value: unknown, name: string, info: PipelineInfo): LatentOutput {
  const output = checkName(value, name, latentOutputs)
  const { regularization } = firstStageInfo(info)
  const other = { kl: 'moments', vq: 'prequant', none: 'mean' }[regularization]
  if (output === 'moments' && regularization !== 'kl')
    throw invalidRange(`${name}: this first stage is ${titles[regularization]} and has no posterior; use '${other}'`)
  if (output === 'prequant' && !isVq(info))
    throw invalidRange(`${name}: this first stage is ${titles[regularization]} and does not quantise; use '${other}'`)
  return output
}

const ofStages = 'stages are for programs'

const decodeOptions = {
  output: choice({ names: ['image', 'float'], fallback: () => 'image' as const, flag: ofStages }),
  quantize: boolean({ flag: ofStages }),
  signal: shared.signal,
} satisfies Options<DecodeOptions>

const latentOutputs = ['sample', 'mean', 'moments', 'prequant'] as const

const encodeOptions = {
  output: choice({ names: [...latentOutputs, 'codes'], flag: ofStages }),
  ...pick(shared, 'seed', 'rng', 'signal'),
} satisfies Options<AutoencoderEncodeOptions>

/** Checked options of a decode call. */
export function resolveDecode(
  options: DecodeOptions | undefined,
  where: string,
  info: PipelineInfo,
): { request: { output: 'image' | 'float'; quantize?: boolean }; signal: AbortSignal | undefined } {
  const { output, quantize, signal } = readOptions(decodeOptions, options, where, undefined)
  if (quantize && !isVq(info)) throw invalidRange(`quantize: this first stage is ${titleOf(info)} and has no codebook`)
  return { request: { output, ...(quantize === undefined || !isVq(info) ? {} : { quantize }) }, signal }
}

function decoded({ images, tensor }: NativeDecoded): RawImage[] | Float32Array {
  return tensor ? tensor.data : images.map((picture) => toRawImage(picture))
}

/** Runs the decoder on latents in the units of the pipeline. */
export async function decodeLatents(
  native: NativePipeline,
  latents: Latents,
  { request, signal }: ReturnType<typeof resolveDecode>,
): Promise<RawImage[] | Float32Array> {
  const handle = nativeLatents(latents, 'latents')
  return decoded(await runJob((callbacks) => native.decode(JSON.stringify(request), handle, callbacks), { signal }))
}

/** Factor and offset of each channel, from codes of the first stage to the latents of the pipeline: latent = code * factor + offset. */
interface Scaling {
  factors: number[]
  offsets: number[]
}

/** The scaling of a model; undefined if latents are codes. */
function scalingOf({ spec, latentChannels }: PipelineInfo): Scaling | undefined {
  const { scaleFactor, latentsMean, latentsStd } = spec
  if (scaleFactor === 1 && latentsMean.length === 0) return undefined
  const factors = Array.from({ length: latentChannels }, (_, c) => scaleFactor / (latentsStd[c] ?? 1))
  return { factors, offsets: factors.map((factor, c) => -factor * (latentsMean[c] ?? 0)) }
}

/** A copy of latents, each value changed according to its channel. */
async function eachChannel(latents: Latents, change: (value: number, channel: number) => number): Promise<Latents> {
  const values = await latents.read()
  const [, channels, height, width] = latents.shape as [number, number, number, number]
  const plane = height * width
  return latentsOf(await makeSliced(values, (i) => change(values[i]!, Math.floor(i / plane) % channels)), latents.shape)
}

/**
 * A first stage on its own: encodes images to latents and decodes them. Its latents are neither multiplied by the scale factor nor normalised.
 * Load one with `Autoencoder.load()` (a separate file, or that part of a whole model), or use `pipe.firstStage`.
 */
export class Autoencoder implements AsyncDisposable {
  readonly #model: LoadedModel
  /** False for the first stage inside a pipeline, which the pipeline disposes of. */
  readonly #owner: boolean
  /** Description of the loaded model. `regularization` is KL, VQ or none (tiny autoencoders). */
  readonly info: AutoencoderInfo

  static {
    create = (model, info, owner) => new Autoencoder(model, info, owner)
  }

  private constructor(model: LoadedModel, info: PipelineInfo, owner: boolean) {
    this.#model = model
    this.#owner = owner
    this.info = firstStageInfo(info)
  }

  /** Loads only the first stage of a file or folder; without a source, that of the embedded model. */
  static async load(source?: ModelSource, options?: PromptlessLoadOptions): Promise<Autoencoder> {
    const load = resolveLoad(options, 'Autoencoder.load()', promptlessLoadOptions)
    load.request.spec = { ...load.request.spec, scaleFactor: 1, latentsMean: [], latentsStd: [] }
    const model = await LoadedModel.load(source, load, 'autoencoder', { firstStageOnly: true })
    return create(model, readInfo(model.native), true)
  }

  /** Scaling of the engine's latents: none if the first stage was loaded separately. */
  get #scaling(): Scaling | undefined {
    return scalingOf(this.info)
  }

  /**
   * Encodes images to latents [n, channels, height / factor, width / factor], or with `output: 'codes'` (VQ) to codebook indices. Sides must be multiples of
   * `info.downsampling`.
   */
  async encode(image: ImageInput, options: AutoencoderEncodeOptions & { output: 'codes' }): Promise<Codes>
  async encode(image: ImageInput, options?: AutoencoderEncodeOptions & { output?: LatentOutput }): Promise<Latents>
  async encode(image: ImageInput, options?: AutoencoderEncodeOptions): Promise<Latents | Codes> {
    this.#model.usable()
    return this.#model.track(this.#encode(image, options))
  }

  async #encode(image: ImageInput, options?: AutoencoderEncodeOptions): Promise<Latents | Codes> {
    const { output, signal, ...noise } = readOptions(encodeOptions, options, 'encode()', undefined)
    if (output === 'codes') return this.#codes(image, signal)
    const mode = output === undefined ? (isVq(this.info) ? 'prequant' : 'sample') : checkLatentOutput(output, 'output', this.info)
    const request = { mode, ...nativeFields(pick(encodeOptions, 'seed', 'rng'), noise) }
    const { data, shape } = await imageTensor(image, 'image')
    const native = await runJob((callbacks) => this.#model.native.encodeImage(JSON.stringify({ ...request, shape }), data, callbacks), { signal })
    const latents = wrapLatents(native)
    const scaling = this.#scaling
    if (!scaling || mode === 'moments' || mode === 'prequant') return latents
    const raw = await eachChannel(latents, (value, c) => (value - scaling.offsets[c]!) / scaling.factors[c]!)
    latents.dispose()
    return raw
  }

  /** VQ: encodes images to codebook indices, [n, height / factor, width / factor]. Same as `encode(image, { output: 'codes' })`. */
  async codes(image: ImageInput, options?: CallOptions): Promise<Codes> {
    this.#model.usable()
    return this.#model.track(this.#codes(image, readCall(options, 'codes()').signal))
  }

  async #codes(image: ImageInput, signal: AbortSignal | undefined): Promise<Codes> {
    if (!isVq(this.info)) throw invalidRange(`This first stage is ${titleOf(this.info)} and has no codes; encode() gives its latents`)
    const { data, shape } = await imageTensor(image, 'image')
    const result = await runJob((callbacks) => this.#model.native.encodeCodes(JSON.stringify({ shape }), data, callbacks), { signal })
    return { data: result.codes, shape: result.shape }
  }

  /**
   * Decodes latents or (VQ) codes to 8-bit images, or with `output: 'float'` to unclamped planar floats [n, channels, height, width]. VQ latents are quantised to the
   * nearest codes first, unless `quantize` is false.
   */
  async decode(from: Latents | Codes, options: DecodeOptions & { output: 'float' }): Promise<Float32Array>
  async decode(from: Latents | Codes, options?: DecodeOptions & { output?: 'image' }): Promise<RawImage[]>
  async decode(from: Latents | Codes, options?: DecodeOptions): Promise<RawImage[] | Float32Array> {
    this.#model.usable()
    return this.#model.track(this.#decode(from, options))
  }

  async #decode(from: Latents | Codes, options?: DecodeOptions): Promise<RawImage[] | Float32Array> {
    const resolved = resolveDecode(options, 'decode()', this.info)
    if (isCodes(from)) return this.#decodeCodes(from, resolved)
    nativeLatents(from, 'latents')
    const scaling = this.#scaling
    if (!scaling || from.shape[1] !== scaling.factors.length) return decodeLatents(this.#model.native, from, resolved)
    const inPipelineUnits = await eachChannel(from, (value, c) => value * scaling.factors[c]! + scaling.offsets[c]!)
    try {
      return await decodeLatents(this.#model.native, inPipelineUnits, resolved)
    } finally {
      inPipelineUnits.dispose()
    }
  }

  async #decodeCodes(codes: Codes, { request, signal }: ReturnType<typeof resolveDecode>): Promise<RawImage[] | Float32Array> {
    if (!isVq(this.info)) throw invalidRange(`This first stage is ${titleOf(this.info)} and has no codes; decode() takes its latents`)
    if (request.quantize === false) throw invalidRange('quantize: codes are entries of the codebook already')
    const { data, shape } = await checkCodes(codes, this.info.codebookSize)
    return decoded(
      await runJob((callbacks) => this.#model.native.decodeCodes(JSON.stringify({ shape, output: request.output }), data, callbacks), { signal }),
    )
  }

  /** Waits for running work and frees everything. Idempotent. `pipe.firstStage` belongs to the pipeline: dispose of the pipeline instead. */
  async dispose(): Promise<void> {
    if (!this.#owner) throw invalidType('This first stage belongs to a pipeline; dispose of the pipeline')
    return this.#model.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}

/** For the pipeline: its own first stage. */
export function firstStageOf(model: LoadedModel, info: PipelineInfo): Autoencoder {
  return create(model, info, false)
}
