/** Plain types of the public API, without code. */
import type { HubOptions } from './hub/settings.js'
import type { RawImage } from './image/raw-image.js'
import type { ModelKind } from './kinds/kinds.js'
import type { samplerNames, scheduleNames } from './names.js'

export type * from './api/call-types.js'
export type * from './kinds/generate-types.js'
export type * from './kinds/inputs.js'
export type * from './kinds/kinds.js'

/** The device to run on: a backend, optionally with a device number (`cuda:1`). `auto` is the CPU. */
export type DeviceSpec =
  'auto' | 'cpu' | 'cuda' | 'ggml-cuda' | 'metal' | 'vulkan' | `cuda:${number}` | `ggml-cuda:${number}` | `metal:${number}` | `vulkan:${number}`

/** How weights are held in memory or written to a file. The `q*` types are ggml's block formats. */
export type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k' | 'q5_k' | 'q5_0' | 'q4_k' | 'q4_0'

/** Name of a model part in `dtype` and in reports. */
export type ModelPart = 'unet' | 'textEncoder' | 'conditioner' | 'imageEncoder' | 'vae'

/** Name of a sampler. `pipe.info.samplers` lists them all. */
export type SamplerName = (typeof samplerNames)[number] | (string & {})

/** Name of a schedule: the noise levels of the steps. `pipe.info.schedules` lists them all. */
export type ScheduleName = (typeof scheduleNames)[number] | (string & {})

/** Random number generator: `philox` gives the numbers of torch on CUDA (as A1111), `mt19937` those of torch on the CPU (as diffusers and ComfyUI). */
export type RngName = 'philox' | 'mt19937'

/** What the network was trained to predict. `edm`: with the preconditioning of Karras et al. 2022, section 5 (Playground v2.5). */
export type Prediction = 'eps' | 'v' | 'sample' | 'edm'

/** A model in several files. Each is a path or a name on a hub. The others replace parts of `model`. */
export interface ModelFiles {
  /** Checkpoint file or diffusers folder. */
  model?: string | URL
  /** U-Net weights (file or folder) that replace those of `model`. */
  unet?: string | URL
  /** Text encoder weights (file or folder). For retrieval-augmented models: CLIP with its text projection, to read prompts. */
  textEncoder?: string | URL
  /** CLIP with an image tower (file or folder), to search retrieval databases by image: {@link DiffusionPipeline.embedImage}. */
  imageEncoder?: string | URL
  /** First stage weights (file or folder). For a tiny autoencoder (TAESD) pass the decoder (taesd_decoder); the encoder (taesd_encoder) is read from the same folder. */
  vae?: string | URL
  /** A tiny autoencoder (TAESD) for previews with `method: 'taesd'`: its decoder file or a diffusers folder. */
  previewVae?: string | URL
  /**
   * A second text-to-image model of the same family that takes over within a run at {@link RefinerOptions.refinerSwitchAt}: SDXL's refiner, or another model with the
   * same latents (file or folder; the .yaml next to a file is read). Adapters and `spec` apply to the first model only.
   */
  refiner?: string | URL
  /** Folder with tokenizer.json, vocab.json and merges.txt (CLIP) or vocab.txt (BERT); or the tokenizer.json or vocab.txt itself. */
  tokenizer?: string | URL
}

/**
 * A model: a file (.safetensors, .gguf, .ckpt, .pt, .pth, .bin), a diffusers folder, a `file:` URL, or several files; `hf:owner/name[@revision][/file][:tag]`,
 * `civitai:VERSION` or the address of their pages, downloaded if not in the cache ({@link pullModel}, docs/downloads.md).
 */
export type ModelSource = string | URL | ModelFiles

/** Training noise schedule of a model. */
export interface NoiseScheduleSpec {
  /** `scaled_linear`, `linear` or `squaredcos_cap_v2`. */
  betaSchedule: string
  betaStart: number
  betaEnd: number
  /** Training timesteps. */
  timesteps: number
  zeroTerminalSnr: boolean
  /** Explicit betas, instead of the named form. */
  betas?: number[]
  /** The model was trained on continuous noise levels instead of timesteps, and its time input is ln(sigma) / 4 (Karras et al. 2022). Null or absent: on timesteps. */
  edm?: EdmScheduleSpec | null
}

/** Continuous noise levels of training. */
export interface EdmScheduleSpec {
  /** Lowest level. Default 0.002. */
  sigmaMin: number
  /** Highest level. Default 80. */
  sigmaMax: number
  /** Standard deviation of the data, for the scaling of the network's input and output. Default 0.5. */
  sigmaData: number
}

/** Description of a model. Every field can be overridden with `LoadOptions.spec`. */
export interface ModelSpec {
  kind: ModelKind
  /** Name of the closest known model. */
  name: string
  /** `sd1`, `sd2`, `ldm`, `autoencoder` ... */
  family: string
  /** Naming of the tensors in the file: `compvis`, `diffusers`, or `gguf` for a file that {@link convert} wrote. */
  naming: string
  conditioningKey: string
  prediction: Prediction
  schedule: NoiseScheduleSpec
  /** Factor from first stage codes to latents. */
  scaleFactor: number
  /** Mean and standard deviation of each channel of the codes: latents are (code - mean) * scaleFactor / std. Empty: code * scaleFactor. */
  latentsMean: number[]
  latentsStd: number[]
  /** Training size in pixels. */
  imageSize: number
  useEma: boolean
  unet: Record<string, unknown> | null
  firstStage: Record<string, unknown> | null
  conditioners: Record<string, unknown>[]
  sampler: string
  /** Schedule of `sampler`. Empty: the sampler's default. */
  samplingSchedule: string
  /** Timesteps of `sampler`, instead of a schedule. Empty: none. */
  samplingTimesteps: number[]
  steps: number
  guidanceScale: number
  eta: number
  /** Linear previews, [latent channels + 1, 3]: the contribution of each channel to red, green and blue, then the bias. Empty: those of the family. */
  previewFactors: number[]
}

/** A partial ModelSpec, nested objects included. */
export type ModelSpecOverrides = {
  [K in keyof ModelSpec]?: ModelSpec[K] extends unknown[]
    ? ModelSpec[K]
    : NonNullable<ModelSpec[K]> extends object
      ? Partial<NonNullable<ModelSpec[K]>>
      : ModelSpec[K]
}

/** Instruction sets that the kernels use, and those available on this processor. */
export interface Kernels {
  /** `fused` kernels, or ggml's `portable` operations if LATENT_OPS selects them. */
  operations: 'fused' | 'portable'
  /** For float32 products (`precision: 'exact'`, text encoders). */
  float32: string
  /** For products with `precision: 'fast'`. */
  fast: string
  /** For int8 products. */
  int8: string
  /** For norms and elementwise operations. */
  rows: string
  /** Sets supported by this processor, for LATENT_KERNELS, slowest first. */
  available: { float: { name: string; format: 'f32' | 'bf16' }[]; int8: string[] }
}

/** A device that networks can run on. */
export interface Device {
  /** Value for the option `device`: `cpu`, `cuda:0` ... */
  id: string
  /** Backend: `cpu`, `cuda`, `ggml-cuda`, `metal`, `vulkan`. */
  type: string
  /** Display name, such as the CPU's model. */
  name: string
  /** GPUs: name and version of the driver, if known. */
  driver?: string
  /** In bytes; 0 if unknown. */
  memoryTotal: number
  memoryFree: number
  /** The reason why the device cannot be used, if so. */
  refused?: string
  /** CPU only: instruction sets. */
  kernels?: Kernels
  [detail: string]: unknown
}

/** Progress of a long call. */
export interface Progress {
  /** During `download`, `step` counts bytes. */
  phase: 'download' | 'load' | 'encode' | 'sample' | 'decode' | 'convert'
  /** Finished units of this phase (bytes, steps, tiles). */
  step: number
  /** Total units, 0 if unknown. */
  steps: number
  /** Milliseconds since the call started. */
  elapsedMs: number
  /** Estimated milliseconds until this phase ends, `null` if unknown. */
  etaMs: number | null
}

/** Options of every long call. */
export interface CallOptions {
  /** Aborts the call while queued, between steps or within a step. The call rejects with `signal.reason`. */
  signal?: AbortSignal
}

/** Options of {@link DiffusionPipeline.load}. */
export interface LoadOptions extends CallOptions {
  /** Expected kind of model. Sets the type of the pipeline; other kinds are rejected (`ERR_UNSUPPORTED_MODEL`). Default: any. */
  kind?: ModelKind
  /** Default `auto`. */
  device?: DeviceSpec
  /**
   * Weight type in memory, for all parts or by part. Default: as stored. A block type (`q8_0` ...) for all parts uses f16 for the first stage and q8_0 for text and
   * image encoders, as {@link convert} does, unless you name the part.
   *
   * `int8` also selects the arithmetic: signed bytes with a scale per output channel, multiplied as 8-bit integers. It is the fastest type on processors with VNNI, at
   * a small cost in quality (docs/performance.md). For all parts it applies to the U-Net only; by name it is allowed for `unet` and `vae`. Sensitive layers keep their
   * type, and so does everything on devices other than the CPU.
   */
  dtype?: WeightType | 'int8' | { [part in ModelPart]?: WeightType | (part extends 'unet' | 'vae' ? 'int8' : never) }
  /** `exact` computes in float32 throughout and ignores `dtype`. `fast` (default) uses 16-bit arithmetic if the machine supports it, and 8-bit if `dtype` is `int8`. */
  precision?: 'exact' | 'fast'
  /** Memory mode or limit. Default `auto`. */
  memory?: 'auto' | 'fast' | 'low' | MemoryOptions
  /** Number of CPU threads. Default: the number of physical cores, within the container's CPU quota. */
  threads?: number
  /** Whether to use the EMA weights of a training checkpoint or the raw ones. Default: as configured by the model. An incomplete set of EMA weights is rejected. */
  ema?: boolean
  /**
   * Weights to read in a diffusers folder: `fp16` for `model.fp16.safetensors`, `non_ema` ... Parts without that variant use the default: the plain file, else `fp16`,
   * else `bf16`, else the only variant.
   */
  variant?: string
  /** Called while files are downloaded and weights are read. An error thrown here rejects the call. */
  onProgress?: (progress: Progress) => unknown
  /** CompVis/Stability configuration: the path of a .yaml file, or its parsed object. Default: the .yaml file next to the checkpoint, if any. */
  config?: string | URL | object
  /** Overrides for single fields of the detected spec. */
  spec?: ModelSpecOverrides
  /** Settings for `hf:` and `civitai:` models. */
  hub?: HubOptions
  /** Folder of the adapters that prompts name as `<lora:name:1>`, including subfolders. Without it these tags are removed, with a warning. */
  loraDirectory?: string | URL
  /** Textual inversions to use in prompts. */
  embeddings?: readonly (string | URL | EmbeddingOptions)[]
  /** Folder of more textual inversions. Files for other models are ignored: all of them by a model without a CLIP text encoder. */
  embeddingDirectory?: string | URL
}

/** Options of a load without prompts: {@link Autoencoder.load}, {@link ImageEncoder.load}. */
export type PromptlessLoadOptions = Omit<LoadOptions, 'loraDirectory' | 'embeddings' | 'embeddingDirectory'>

/** A LoRA or similar adapter, and its strengths. See docs/adapters.md. */
export interface LoraOptions {
  /** A file (.safetensors, .gguf, .pt, .bin) or a PEFT or diffusers folder: a path, a `file:` URL, or a name on a hub (`hf:owner/name/file`, `civitai:VERSION`). */
  path: string | URL
  /** Strength in the U-Net; may be negative; 0: no effect. Default 1. */
  weight?: number
  /** Strength in the text encoders. Default: `weight`. */
  textWeight?: number
}

/** A textual inversion: a word with its own vectors. See docs/adapters.md. */
export interface EmbeddingOptions {
  /** A file (.pt, .bin, .safetensors) of the web UI or diffusers; for SDXL with `clip_l` and `clip_g`. A path, a `file:` URL, or a name on a hub. */
  path: string | URL
  /** The word to use in prompts. Default: the file's name without extension, and the name inside the file if there is one. */
  name?: string
}

/** Which layers an adapter file was applied to. */
export interface LoraReport {
  path: string
  /** Name of the file. */
  name: string
  /** Layers that it changes, by canonical name. */
  matched: string[]
  /** Names in the file without a matching layer in this model. */
  unmatched: string[]
  /** Names in the file that are recognised but not applied, some with the reason. Every tensor of the file is in one of the lists, by its name, its layer's or its word. */
  skipped: string[]
  /** Words of the embeddings in the file (`bundle_emb`), which prompts can use while the adapter is set; not those for other text encoders. `convert()`: none. */
  embeddings: string[]
}

/** The long form of {@link LoadOptions.memory}. */
export interface MemoryOptions {
  mode?: 'auto' | 'fast' | 'low'
  /** Limit in bytes for weights and working memory. Mapped weights that do not fit are streamed from the file; {@link estimateMemory} has the least limit, `floorBytes`. */
  maxBytes?: number
  /** Decode in overlapping tiles: always, never, or (default) as the memory plan requires. */
  vaeTiling?: boolean | { /** Side of a tile in latent pixels. */ tileSize?: number }
  /** Super-resolution: side of the tiles for larger images, in latent pixels. Default 128. */
  tileSize?: number
}

/** Options of {@link convert}. */
export interface ConvertOptions extends Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal'> {
  /** Weight type of the matrices and convolutions. Small tensors (norms, biases) stay in float. */
  type: WeightType
  /** Other types for single tensors: maps a pattern of canonical tensor names (`*` matches anything) to a type. The first match wins. */
  overrides?: Record<string, WeightType> | readonly (readonly [pattern: string, type: WeightType])[]
  /** Texts to store in the file (`general.license`, `general.author` ...). */
  metadata?: Record<string, string>
  /** Adapters to merge into the weights, in this order. */
  loras?: readonly LoraOptions[]
  onProgress?: (progress: Progress) => unknown
}

/** Description of a model from its header, by {@link inspect}. */
export interface ModelInfo {
  /** The file or folder. */
  source: string
  spec: ModelSpec
  [detail: string]: unknown
}

/** Time of one kind of operation. */
export interface OperationTime {
  /** The operation and its sizes, e.g. `conv 3x3 320>640 32x32 bf16`. */
  operation: string
  calls: number
  /** Of all calls. */
  ms: number
  /** Of the fastest call, which other load affects least. */
  fastestMs: number
  /** Work of all calls, 2 per multiply-add; 0 if negligible. */
  gflop: number
  /** Operands and results of all calls, whole tensors, each counted once per call; 0 on GPUs, where they are not counted. */
  gigabytes: number
}

/** Memory used by a pipeline, in bytes, and the process's peak. */
export interface MemoryUsage {
  parts: Partial<Record<ModelPart, number>>
  /** Graphs, latents and scratch. */
  compute: number
  total: number
  /** Highest resident size of the whole process so far. */
  processPeak: number
}

/** A floating-point image: planar float32, [n, channels, height, width], -1 to 1. */
export interface FloatImage {
  data: Float32Array
  shape: readonly number[]
}

/** An input image: a RawImage, a path or URL, the bytes of a PNG (JPEG and WebP with the optional peer `sharp`), or floats. */
export type ImageInput = RawImage | string | URL | Uint8Array | FloatImage

/** Levels of the log, see {@link setLogger}. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type Logger = (level: LogLevel, message: string) => void
