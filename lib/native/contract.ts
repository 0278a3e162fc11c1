/**
 * Every native name and type, in one place. `native/bindings` implements exactly this.
 *
 * Requests are passed as one JSON text, tensors as typed arrays next to it. TypeScript explains: it checks every option, fills in defaults and writes the error
 * messages. C++ defends: it checks types and bounds again, because no input may crash it. Native code never keeps a reference to a typed array after the call
 * returns: it copies. Errors are thrown (or rejected) as plain `Error` objects with `code` (a string of native/core/error.h) and `details` (JSON text);
 * `call.ts` turns them into the public classes.
 */

import type { previewMethods, sourceParts } from '../names.js'
import type { EvaluationOption, LoadOptions, MemoryOptions, ModelPart, NoiseScheduleSpec, Prediction, RngName, SamplingOptions } from '../types.js'

/**
 * A queued or running native operation. Jobs of one device (and one environment: main thread or worker) run one after the other, in the order of the calls.
 * The promise keeps the process alive until it settles. `cancel()` may be called at any time, any number of times; the promise then rejects with ERR_ABORTED: at once
 * while the job waits, soon while it runs.
 */
export interface NativeJob<T> {
  readonly promise: Promise<T>
  cancel(): void
}

export type NativePhase = 'load' | 'encode' | 'sample' | 'decode' | 'convert'

export interface NativeCallbacks {
  /** Coalesced: a slow listener sees the latest state, the last event of a phase is never dropped. */
  onProgress?: (phase: NativePhase, step: number, steps: number) => void
  /** An 8-bit interleaved RGB preview of batch row `index` after `step` finished steps. */
  onPreview?: (step: number, index: number, width: number, height: number, data: Uint8Array) => void
}

/** Shape [n, c, h, w]. All methods throw ERR_DISPOSED after dispose() or after the owning pipeline's dispose(). */
export interface NativeLatents {
  readonly shape: [number, number, number, number]
  readonly location: string
  read(into: Float32Array): NativeJob<void>
  write(from: Float32Array): NativeJob<void>
  clone(): NativeJob<NativeLatents>
  dispose(): void
}

/**
 * The conditioning of a run: cross-attention tokens [1, tokens, dim] (tokens 0: none), channels concatenated to the latents, a class of the U-Net's class table
 * (the noise level of the x4 upscaler), and a vector added to the timestep's embedding (SDXL's pooled text and sizes).
 */
export interface NativeConditioning {
  readonly tokens: number
  readonly dim: number
  readonly truncated: boolean
  /** [n, c, h, w], one row for all images of a batch or one per image; null without channels. */
  readonly concatShape: [number, number, number, number] | null
  /** -1: none. */
  readonly classLabel: number
  /** Length of the vector, 0: none. */
  readonly vectorDim: number
  /** The tokens. */
  read(into: Float32Array): NativeJob<void>
  readConcat(into: Float32Array): NativeJob<void>
  readVector(into: Float32Array): NativeJob<void>
  dispose(): void
}

/**
 * The inputs of every kind of model. Unknown and missing inputs are rejected. Arrays are passed separately (NativeInputArrays), with their shapes here.
 */
export interface NativeInputs {
  /** Integer tokens: a prompt's windows, ONE window of 92 layout tokens, or ONE window with ONE class number. */
  prompt?: NativePromptTokens
  /** [k, dim] of retrieval-augmented models: rows are L2-normalised (a row of zeros stays zeros); with `prompt` they follow its embedding. */
  embeddingsShape?: number[]
  /** [height, width] of the image: semantic synthesis. */
  labelsShape?: number[]
  /** [n, 3, h, w]: the low-resolution image of super-resolution, the image to inpaint or edit. -1..1. */
  imageShape?: number[]
  /** [n, 1, h, w]: inpainting, 1 = repaint (binarised at 0.5). */
  maskShape?: number[]
  /** [n, 1, h, w] of any size: depth models, larger is nearer. */
  depthShape?: number[]
  /** Width and height in pixels of the part of the image that the depth map covers; the rest is padding. Default: all. */
  depthArea?: [number, number]
  /** x4 upscaler: level of the noise that the low-resolution image gets. */
  noiseLevel?: number
  /** SDXL, pixels: [height, width], [top, left], [height, width]. */
  sizes?: {
    original?: [number, number]
    crop?: [number, number]
    target?: [number, number]
    aestheticScore?: number
    negativeAestheticScore?: number
  }
  /** encodeCondition(): the unconditional half, of this prompt unless something else represents no prompt. */
  unconditional?: boolean
  /** encodeCondition(): size of the image, if no other input determines it. */
  width?: number
  height?: number
  /** Seed of that noise. */
  seed?: string
  rng?: RngName
}

export interface NativeInputArrays {
  embeddings?: Float32Array
  labels?: Int32Array
  image?: Float32Array
  mask?: Float32Array
  depth?: Float32Array
}

/** Codebook indices of a VQ first stage. */
export interface NativeCodes {
  /** [n, h, w] */
  shape: [number, number, number]
  codes: Int32Array
}

export interface NativeDecoded {
  images: NativePicture[]
  tensor: NativeTensorResult | null
}

export interface NativeTensorResult {
  shape: number[]
  data: Float32Array
}

export interface NativePicture {
  width: number
  height: number
  channels: number
  data: Uint8Array
}

export interface NativeGenerateResult {
  images: NativePicture[]
  /** With `outputLatents`. */
  tensor?: NativeTensorResult
  /** JSON: { eta, float32Parts, adapters: LoraReport[], timings: { loadMs, encodeMs, sampleMs, decodeMs, sharedBy } } */
  summary: string
}

export interface NativeStep {
  index: number
  steps: number
  sigma: number
  timestep: number
  done: boolean
}

/**
 * A sampling loop run by the caller. `latents` is the live state: it may be read and written between steps; while a step or preview is queued or running its
 * methods throw ERR_BUSY. It stays readable after the sampler's dispose().
 */
export interface NativeSampler {
  readonly steps: number
  readonly latents: NativeLatents
  step(callbacks: NativeCallbacks): NativeJob<NativeStep>
  preview(method: (typeof previewMethods)[number], index: number): NativeJob<NativePicture>
  dispose(): void
}

export type NativeGenerateArrays = NativeInputArrays & { latents?: Float32Array; imageLatents?: Float32Array }

export interface NativePipeline {
  /** JSON: see PipelineInfo. */
  info(): string
  /** JSON text of the tokenizer inside a GGUF file, or ''. */
  tokenizer(): string
  /** request: { chunks: [{ ids, weights }], emphasis, clipSkip, truncated } */
  encodePrompt(request: string, callbacks: NativeCallbacks): NativeJob<NativeConditioning>
  /** request: NativeInputs. encodePrompt() for every kind of model. */
  encodeCondition(request: string, arrays: NativeInputArrays, callbacks: NativeCallbacks): NativeJob<NativeConditioning>
  /** request: { shape: [n,3,s,s] }, pixels normalised with CLIP's mean and deviation. CLIP's image_embeds [n, dim], not normalised. */
  embedImages(request: string, pixels: Float32Array, callbacks: NativeCallbacks): NativeJob<NativeTensorResult>
  /** request: NativePromptTokens of one window. CLIP's text_embeds [1, dim], not normalised. */
  embedText(request: string, callbacks: NativeCallbacks): NativeJob<NativeTensorResult>
  /**
   * request: { shape: [n,3,h,w], mode: 'sample' | 'mean' | 'moments' | 'prequant', seed: string, rng }. `sample` and `mean` are multiplied by the scale factor
   * (and are the same for VQ); `moments` (KL) and `prequant` (VQ, before quantisation) are the encoder's output.
   */
  encodeImage(request: string, image: Float32Array, callbacks: NativeCallbacks): NativeJob<NativeLatents>
  /** request: { width, height, batch, seed: string, rng } */
  createLatents(request: string): NativeJob<NativeLatents>
  /** request: { timesteps: number[], guidanceScale, imageGuidanceScale } */
  predict(
    request: string,
    latents: NativeLatents,
    conditioning: NativeConditioning | null,
    unconditional: NativeConditioning | null,
    concat: NativeLatents | null,
  ): NativeJob<NativeLatents>
  /** request: NativeSamplingRequest. `image`: clean latents for image to image, or null. */
  startSampling(
    request: string,
    start: NativeLatents,
    image: NativeLatents | null,
    conditioning: NativeConditioning | null,
    unconditional: NativeConditioning | null,
  ): NativeJob<NativeSampler>
  /** request: { output: 'image' | 'float', quantize?: boolean }. VQ: latents become their nearest codes first, unless `quantize` is false. */
  decode(request: string, latents: NativeLatents, callbacks: NativeCallbacks): NativeJob<NativeDecoded>
  /** request: { shape: [n,3,h,w] }. VQ first stages only. */
  encodeCodes(request: string, image: Float32Array, callbacks: NativeCallbacks): NativeJob<NativeCodes>
  /** request: { shape: [n,h,w], output: 'image' | 'float' } */
  decodeCodes(request: string, codes: Int32Array, callbacks: NativeCallbacks): NativeJob<NativeDecoded>
  /**
   * request: NativeLossRequest; `image`: the training image, `arrays`: those of its inputs. The paper's objective (Eq. 1-3): per timestep the mean of |target -
   * prediction|^2 at the noised latents of the image.
   */
  loss(request: string, image: Float32Array, arrays: NativeInputArrays, callbacks: NativeCallbacks): NativeJob<{ losses: number[] }>
  /** request: { adapters: NativeAdapter[] }, for all calls without their own. JSON: LoraReport[]. */
  setAdapters(request: string): NativeJob<string>
  /** request: NativeGenerateRequest, with shapes; arrays are passed separately. */
  generate(request: string, arrays: NativeGenerateArrays, callbacks: NativeCallbacks): NativeJob<NativeGenerateResult>
  /** Several generate() calls side by side, in one place of the queue. Those of the same size share the U-Net's calls. */
  generateTogether(
    calls: readonly { request: string; arrays: NativeGenerateArrays; callbacks: NativeCallbacks }[],
  ): readonly NativeJob<NativeGenerateResult>[]
  /**
   * request: { width, height, guidanceScale, imageGuidanceScale?, count?, deepCache?, previewMethod?, adapters? }, with the size of the final image. JSON: {
   * weights, textEncoder, conditioner, unet, refiner, encode, decode: { bytes, flops } } of one call, from headers only; missing parts are absent.
   */
  estimate(request: string): NativeJob<string>
  /** JSON: { parts: { unet, textEncoder, conditioner, imageEncoder, vae }, compute, total, processPeak } in bytes. */
  memoryUsage(): string
  /** true: starts measuring operations; false: stops and returns JSON, see OperationTime[]. */
  profile(on: boolean): string
  unload(): NativeJob<void>
  /** Waits for queued and running work without cancelling it, then frees everything. Idempotent. */
  dispose(): NativeJob<void>
}

/**
 * A solver without a network, for use with predict(). Data is row-major float32 of any length, the same for every call. Evaluations run in order, each once:
 * `evaluation` must be the next one. The noise of churn is drawn by the first call for an evaluation and is the same in both methods; only step() adds it to
 * `x`. `noise` (as long as x) replaces the solver's own generator.
 */
export interface NativeSolver {
  /** JSON: { timesteps: number[], sigmas: number[], initNoiseSigma, adaptive, evaluations: [{ timestep, sigma, step }] }, as of the start. */
  info(): string
  scaleInput(x: Float32Array, evaluation: number, out: Float32Array, noise: Float32Array | null): NativeJob<void>
  /** Advances x in place by one network evaluation. Resolves to the current info if `adaptive`, else to ''. */
  step(modelOutput: Float32Array, x: Float32Array, evaluation: number, noise: Float32Array | null): NativeJob<string>
}

/** The tensors of one file. Methods throw ERR_DISPOSED after dispose(). */
export interface NativeTensors {
  /** JSON: [{ name, type, shape, bytes, readable }], in pieces of some hundred; '' after the last piece. */
  list(piece: number): string
  /** JSON object. */
  metadata(): string
  /** request: { tensor, offset, count, as: 'float32' (elements, as float32 numbers) | 'bytes' (bytes as stored) } */
  read(request: string): NativeJob<Uint8Array>
  dispose(): void
}

/** What checkDevice() resolves to. */
export interface DeviceCheckResult {
  check: string
  /** Root of the summed squares of the differences, relative to that of the right numbers; null if a number is not finite. */
  error: number | null
  bound: number
  passed: boolean
  firstMs: number
  ms: number
}

export interface NativeAddon {
  /** JSON: { version, ggml, cpu: { brand, features: string[], cores }, backends: string[] } */
  versions(): string
  /** JSON: Device[], of all kinds or one ('cpu', 'cuda' ...). */
  getDevices(kind?: string): string
  /** Path of the library for devices of this kind ('cuda', 'vulkan', 'metal', 'ggml-cuda'), and the reason not to load it ('' if it may be loaded), which its devices report. */
  setGpuLibrary(kind: string, path: string, refused: string): void
  /** From now on this device of getDevices() is refused for the reason; '': no longer. */
  refuseDevice(device: string, reason: string): void
  /** JSON: { first: string, all: string[] }, the checks for checkDevice(); `first` is the one before a device's first use. */
  deviceChecks(): string
  /** Computes one operation on a device and compares it with its definition. JSON: DeviceCheckResult. */
  checkDevice(device: string, check: string): NativeJob<string>
  setLogger(logger: ((level: 'debug' | 'info' | 'warn' | 'error', message: string) => void) | null): void
  /** request: NativeLoadRequest (weights are not read). Resolves to JSON: ModelInfo. */
  inspect(request: string): NativeJob<string>
  /** request: { source: NativeLoadRequest, destination, type, overrides: [[pattern, type]], metadata: { [key]: string }, tokenizer: string, adapters?: NativeAdapter[] } */
  convert(request: string, callbacks: NativeCallbacks): NativeJob<string>
  /** request: { seed: string, shape: number[], rng: 'philox' | 'mt19937', offset?: number }; fills `out`, which must not be used meanwhile. */
  createNoise(request: string, out: Float32Array): NativeJob<void>
  /** request: { kind: 'words' | 'uniform' | 'integers' | 'permutation', seed: string, rng, low?, high? }; fills `out`: Float32Array for `uniform`, else Int32Array (words bit by bit). */
  createRandom(request: string, out: Float32Array | Int32Array): void
  /** request: NativeSolverRequest */
  createSolver(request: string): NativeSolver
  /** request: { threads, seconds }. Arithmetic peak of the machine; resolves to JSON: [{ format, instructions, gflops }]. */
  measurePeak(request: string): NativeJob<string>
  /** request: { threads, seconds }. Bandwidth of reading; resolves to JSON: [{ bytes, gigabytesPerSecond }]. */
  measureBandwidth(request: string): NativeJob<string>
  loadPipeline(request: string, callbacks: NativeCallbacks): NativeJob<NativePipeline>
  /** request: { path, variant? } */
  openTensors(request: string): NativeJob<NativeTensors>
  latentsFrom(shape: number[], data: Float32Array): NativeJob<NativeLatents>
  /** Without tokens `shape` and `data` are null; then it needs `concat`. */
  conditioningFrom(
    shape: number[] | null,
    data: Float32Array | null,
    concat?: NativeLatents | null,
    classLabel?: number,
    vector?: Float32Array | null,
  ): NativeJob<NativeConditioning>
}

/** The JSON of loadPipeline / inspect; mirrors native/pipeline/requests.h LoadRequest: the files, and the checked options. */
export interface NativeLoadRequest
  extends Partial<Record<(typeof sourceParts)[number], string>>, Omit<LoadOptions, 'kind' | 'hub' | 'loraDirectory' | 'embeddings' | 'embeddingDirectory' | 'signal' | 'onProgress' | 'device' | 'dtype' | 'memory' | 'config'> {
  model: string
  /** A tiny autoencoder for previews. */
  previewVae?: string
  /** A model that takes over during a run, and its parsed configuration. */
  refiner?: string
  refinerConfig?: unknown
  /** Parsed. */
  config?: unknown
  device: string
  dtype: Partial<Record<ModelPart, string>>
  memory: Omit<MemoryOptions, 'vaeTiling'> & { vaeTiling?: boolean; vaeTileSize?: number }
  firstStageOnly?: boolean
  /** For estimates: weights are read when something runs. */
  headersOnly?: boolean
}

/** Mirrors SamplingRequest: the checked options, except those that JSON cannot represent. Absent: the engine's default. */
export interface NativeSamplingRequest extends Omit<SamplingOptions, 'steps' | 'sampler' | 'seed' | 'schedule'> {
  steps: number
  sampler: string
  seed: string
  schedule?: string
  /** Or the noise levels themselves. */
  sigmas?: number[]
  denoisingStart?: number
  denoisingEnd?: number
  strength?: number
}

/** A solver's part of a sampling request, and facts about training that a model would provide. */
export interface NativeSolverRequest extends Omit<NativeSamplingRequest, EvaluationOption> {
  prediction: Prediction
  noiseSchedule: Partial<NoiseScheduleSpec>
  /** Image to image begins at `startStep`, or has a `strength`. */
  imageToImage?: true
  startStep?: number
}

/**
 * Mirrors GenerateRequest. `image` is the low-resolution image for kind `superres`, the image to inpaint (with `mask`) for `inpaint`, the one to edit for
 * `edit`, and otherwise the start of image to image, the only case with a `strength` (and optionally a `mask` of the part to repaint). `width` and `height`, 0
 * for the model's, are those of the final image; kinds with an image or a label map take their size from it.
 */
export interface NativeGenerateRequest extends NativeSamplingRequest, Omit<NativeInputs, 'seed' | 'rng'> {
  /** Set with guidance if the model's unconditional input is a prompt; the engine makes null classes and zero embeddings. */
  negative?: NativePromptTokens
  /** `negative` is the empty prompt, which some models represent by zeros. */
  emptyNegative?: boolean
  /** Share of the training time before the refiner takes over. */
  refinerSwitchAt?: number
  width: number
  height: number
  count: number
  /** All images then have the same `seed`; image i has the variation seed `variationSeed` + i. */
  variationSeed?: string
  variationStrength?: number
  latentsShape?: number[]
  imageLatentsShape?: number[]
  /** Returns the latents, undecoded, instead of images. */
  outputLatents?: boolean
  previewEvery: number
  previewMethod: (typeof previewMethods)[number]
  /** Instead of those of setAdapters(). */
  adapters?: NativeAdapter[]
}

/** An adapter file and its strengths. */
export interface NativeAdapter {
  path: string
  weight: number
  textWeight: number
  /** Size and time of the file; if they change, it is read again. */
  stamp: string
}

export interface NativeLossRequest {
  timesteps: number[]
  seed: string
  rng: RngName
  imageShape: number[]
  inputs: NativeInputs
}

/** Vectors that replace `count` tokens from `first` on: [count, width] for each text encoder. */
export interface NativeTokenVectors {
  first: number
  count: number
  encoders: number[][]
}

export interface NativePromptTokens {
  chunks: { ids: number[]; weights: number[]; vectors?: NativeTokenVectors[] }[]
  emphasis: 'original' | 'no_norm' | 'comfy'
  clipSkip: number
  truncated: boolean
}
