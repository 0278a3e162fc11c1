/** The vocabulary of the public API: plain types, no code. */
import type { HubOptions } from './hub/settings.js'
import type { RawImage } from './image/raw-image.js'
import type { ModelKind } from './kinds/kinds.js'
import type { samplerNames, scheduleNames } from './names.js'

export type * from './api/call-types.js'
export type * from './kinds/generate-types.js'
export type * from './kinds/inputs.js'
export type * from './kinds/kinds.js'

/** Where the networks run: a backend's name, optionally with the number of one of its devices (`cuda:1`). `auto` takes the best one present. */
export type DeviceSpec = 'auto' | 'cpu' | 'cuda' | 'metal' | 'vulkan' | `cuda:${number}` | `metal:${number}` | `vulkan:${number}`

/** How weights are held in memory or written to a file. The `q*` types are ggml's block formats. */
export type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k' | 'q5_k' | 'q5_0' | 'q4_k' | 'q4_0'

/** Part of a model that `dtype`, `memory.keep` and reports speak of. */
export type ModelPart = 'unet' | 'textEncoder' | 'conditioner' | 'imageEncoder' | 'vae'

/** Solvers by name. `pipe.info.samplers` lists those that the loaded engine has. */
export type SamplerName = (typeof samplerNames)[number] | (string & {})

/** Noise schedules (the placing of the steps) by name. `pipe.info.schedules` lists those that the loaded engine has. */
export type ScheduleName = (typeof scheduleNames)[number] | (string & {})

/** Generator of the start noise: `philox` gives the numbers of torch on CUDA (A1111's default), `mt19937` those of torch on the CPU (diffusers, ComfyUI). */
export type RngName = 'philox' | 'mt19937'

/** What the network was trained to predict. */
export type Prediction = 'eps' | 'v' | 'sample'

/** A model given as several files. Each is a path, or a name on a hub; `model` may hold everything that the others do not replace. */
export interface ModelFiles {
  /** Checkpoint file or diffusers folder. */
  model?: string | URL
  /** U-Net weights (file or folder) that replace those of `model`. */
  unet?: string | URL
  /** Text encoder weights (file or folder). For retrieval-augmented models: CLIP with its text projection, to read prompts. */
  textEncoder?: string | URL
  /** CLIP with its image tower (file or folder), to search retrieval databases by pictures: {@link DiffusionPipeline.embedImage}. */
  imageEncoder?: string | URL
  /** First stage weights (file or folder); also a tiny autoencoder (TAESD), whose encoder and decoder are files of one name beside each other, taesd_encoder and taesd_decoder. */
  vae?: string | URL
  /** A tiny autoencoder (TAESD), for previews with `method: 'taesd'`: the file of its decoder, or diffusers' folder. */
  previewVae?: string | URL
  /**
   * A second text to image model of the same family that takes over from the first within a run: SDXL's refiner, or another one with the same latents (file or folder; of a
   * single file the .yaml beside it counts). {@link RefinerOptions.refinerSwitchAt} says when. Adapters and `spec` are the first model's.
   */
  refiner?: string | URL
  /** Folder with tokenizer.json, vocab.json and merges.txt (CLIP) or vocab.txt (BERT); or the tokenizer.json or vocab.txt itself. */
  tokenizer?: string | URL
}

/**
 * Where a model comes from: a single file (.safetensors, .gguf, .ckpt, .pt, .pth, .bin), a diffusers folder, a `file:` URL, several parts;
 * `hf:owner/name[@revision][/file][:tag]` on the Hugging Face hub or `civitai:VERSION`, or their addresses, which are fetched where the cache does not have them
 * ({@link pullModel}, docs/downloads.md).
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
  /** Explicit table, in place of the named form. */
  betas?: number[]
}

/** Everything that a model's weights do not say about themselves. Every field can be overridden with `LoadOptions.spec`. */
export interface ModelSpec {
  kind: ModelKind
  /** Human name of the nearest known model. */
  name: string
  /** `sd1`, `sd2`, `ldm`, `autoencoder` ... */
  family: string
  /** Naming of the tensors in the file: `compvis`, `diffusers`, or `gguf` for a file that {@link convert} wrote. */
  naming: string
  conditioningKey: string
  prediction: Prediction
  schedule: NoiseScheduleSpec
  /** Latents are first stage codes times this. */
  scaleFactor: number
  /** Training size in pixels. */
  imageSize: number
  useEma: boolean
  unet: Record<string, unknown> | null
  firstStage: Record<string, unknown> | null
  conditioners: Record<string, unknown>[]
  sampler: string
  steps: number
  guidanceScale: number
  eta: number
  /** Linear previews: [latent channels + 1, 3] numbers, what each channel adds to red, green and blue, then the bias. Empty: those of the family. */
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

/** The instruction sets that the engine's kernels use on this processor, and those that it could use. */
export interface Kernels {
  /** `fused` kernels, or the `portable` operations of ggml where LATENT_OPS forces them. */
  operations: 'fused' | 'portable'
  /** Of products in float32 (`precision: 'exact'`, text encoders). */
  float32: string
  /** Of products in `precision: 'fast'`. */
  fast: string
  /** Of products in 8-bit integers. */
  int8: string
  /** Of norms and what is done value by value. */
  rows: string
  /** What this processor has and LATENT_KERNELS may name, the least first. */
  available: { float: { name: string; format: 'f32' | 'bf16' }[]; int8: string[] }
}

/** A device that networks can run on. */
export interface Device {
  /** What `device:` takes: `cpu`, `cuda:0` ... */
  id: string
  /** Backend: `cpu`, `cuda`, `metal`, `vulkan`. */
  type: string
  /** Human name, e.g. the CPU's brand. */
  name: string
  /** Bytes; 0 when the backend does not say. */
  memoryTotal: number
  memoryFree: number
  /** Why the device cannot be used; absent where it can. */
  refused?: string
  /** Of the CPU: instruction sets by name. */
  kernels?: Kernels
  [detail: string]: unknown
}

/** Progress of a long call. */
export interface Progress {
  /** `download`: files of a model are fetched; `step` counts bytes. */
  phase: 'download' | 'load' | 'encode' | 'sample' | 'decode' | 'convert'
  /** Finished units of this phase (bytes, steps, tiles). */
  step: number
  /** Units in all, 0 when unknown. */
  steps: number
  /** Milliseconds since the call began. */
  elapsedMs: number
  /** Estimated milliseconds to the end of this phase, `null` while unknown. */
  etaMs: number | null
}

/** Options that every long call takes. */
export interface CallOptions {
  /** Aborts the call while it is queued, between steps or inside one; the call rejects with `signal.reason`. */
  signal?: AbortSignal
}

/** Options of {@link DiffusionPipeline.load}. */
export interface LoadOptions extends CallOptions {
  /** The kind of model that is expected: the pipeline has that type, and another kind is refused (`ERR_UNSUPPORTED_MODEL`). Default: any. */
  kind?: ModelKind
  /** Default `auto`. */
  device?: DeviceSpec
  /**
   * Weight type in memory, for all parts or by part. Default: as stored. A block type (`q8_0` ...) for all parts leaves the first stage in
   * f16 and text and image encoders in q8_0, as {@link convert} does; name the part to have it otherwise.
   *
   * `int8` also chooses the arithmetic: signed bytes with a scale per output channel, multiplied in 8-bit integers. On processors with such
   * instructions (VNNI) it is the fastest, for a small cost in quality (docs/performance.md). For all parts it means the U-Net alone; only `unet`
   * and `vae` take it by name. Layers that it would hurt keep what they have, as everything does on devices other than the CPU.
   */
  dtype?: WeightType | 'int8' | { [part in ModelPart]?: WeightType | (part extends 'unet' | 'vae' ? 'int8' : never) }
  /** `exact` computes in float32 throughout and ignores `dtype`; `fast` (default) uses 16-bit arithmetic where the machine has it, and 8-bit where `dtype` says so. */
  precision?: 'exact' | 'fast'
  /** How much memory may be used. Default `auto`. */
  memory?: 'auto' | 'fast' | 'low' | MemoryOptions
  /** Threads of the CPU. Default: the physical cores, within the container's CPU quota. */
  threads?: number
  /** Use the EMA weights of a training checkpoint, or (`false`) the raw ones. Default: as the model's configuration says. A file without all of the EMA weights it should read is refused. */
  ema?: boolean
  /**
   * Which weights of a diffusers folder are read: `fp16` for `model.fp16.safetensors`, `non_ema` ... A part that lacks the variant takes what it takes by default: the
   * plain file, else `fp16`, else `bf16`, else the only variant there.
   */
  variant?: string
  /** Called while files are fetched and weights are read. An error thrown here rejects the call. */
  onProgress?: (progress: Progress) => unknown
  /** The reference's own configuration: path of a CompVis/Stability .yaml, or its parsed object. Default: the .yaml beside the checkpoint, if there is one. */
  config?: string | URL | object
  /** Single fields over what configuration and detection gave. */
  spec?: ModelSpecOverrides
  /** Where `hf:` and `civitai:` models are fetched from and kept. */
  hub?: HubOptions
  /** Folder in which `<lora:name:1>` in a prompt finds its file, subfolders included. Without it such marks are left out, with a warning. */
  loraDirectory?: string | URL
  /** Textual inversions that prompts may name. */
  embeddings?: readonly (string | URL | EmbeddingOptions)[]
  /** Folder of further ones; files in it that are none for this model are passed over. */
  embeddingDirectory?: string | URL
}

/** Options of a load that reads no prompts: {@link Autoencoder.load}, {@link ImageEncoder.load}. */
export type PromptlessLoadOptions = Omit<LoadOptions, 'loraDirectory' | 'embeddings' | 'embeddingDirectory'>

/** An adapter (a LoRA or one of its relatives) and its strengths. docs/adapters.md. */
export interface LoraOptions {
  /** A file (.safetensors, .gguf, .pt, .bin) or a folder of PEFT or diffusers: its path, a `file:` URL, or a name of a hub (`hf:owner/name/file`, `civitai:VERSION`). */
  path: string | URL
  /** Of the U-Net; negative ones are allowed, 0 leaves it as it is. Default 1. */
  weight?: number
  /** Of the text encoders. Default: `weight`. */
  textWeight?: number
}

/** A textual inversion: a word that stands for vectors of its own. docs/adapters.md. */
export interface EmbeddingOptions {
  /** A file (.pt, .bin, .safetensors) of the web UI or diffusers, for SDXL with `clip_l` and `clip_g`: its path, a `file:` URL, or a name of a hub. */
  path: string | URL
  /** The word in prompts. Default: the file's name without its extension, and the name inside of it where there is one. */
  name?: string
}

/** What became of an adapter's file. */
export interface LoraReport {
  path: string
  /** Name of the file. */
  name: string
  /** Layers of the model that it changes, by their canonical names. */
  matched: string[]
  /** Names in the file that belong to no layer of this model. */
  unmatched: string[]
  /** Names in the file that are known and not applied, some with the form that they have. */
  skipped: string[]
}

/** The long form of {@link LoadOptions.memory}. */
export interface MemoryOptions {
  mode?: 'auto' | 'fast' | 'low'
  /** Upper bound in bytes for weights and working memory. */
  maxBytes?: number
  /** Decode in overlapping tiles: always, never, or (default) when the memory plan says so. */
  vaeTiling?: boolean | { /** Side of a tile in latent pixels. */ tileSize?: number }
  /** Super-resolution: side of the tiles that larger pictures are made in, in latent pixels. Default 128. */
  tileSize?: number
}

/** Options of {@link convert}. */
export interface ConvertOptions extends Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal'> {
  /** Weight type of the matrices and convolutions. Small tensors (norms, biases) stay in float. */
  type: WeightType
  /** Other types for single tensors: pattern over canonical tensor names (`*` stands for anything) to type; the first match wins. */
  overrides?: Record<string, WeightType> | readonly (readonly [pattern: string, type: WeightType])[]
  /** Texts to store in the file (`general.license`, `general.author` ...). */
  metadata?: Record<string, string>
  /** Adapters that are written into the weights, in this order; they are then part of the model. */
  loras?: readonly LoraOptions[]
  onProgress?: (progress: Progress) => unknown
}

/** Header-level description of a model, from {@link inspect}. */
export interface ModelInfo {
  /** Where it was read from. */
  source: string
  spec: ModelSpec
  [detail: string]: unknown
}

/** What one kind of operation took while profiling. */
export interface OperationTime {
  /** The operation and its sizes, e.g. `conv 3x3 320>640 32x32 bf16`. */
  operation: string
  calls: number
  /** Of all calls. */
  ms: number
  /** Of the fastest call: what remains on a busy machine. */
  fastestMs: number
  /** Work of all calls, 2 per multiply-add; 0 where an operation has none to speak of. */
  gflop: number
}

/** Bytes held by a pipeline, and the process's peak. */
export interface MemoryUsage {
  parts: Partial<Record<ModelPart, number>>
  /** Graphs, latents and scratch. */
  compute: number
  total: number
  /** Highest resident size of the whole process so far. */
  processPeak: number
}

/** A picture without loss: planar float32, [n, channels, height, width], -1 to 1. */
export interface FloatImage {
  data: Float32Array
  shape: readonly number[]
}

/** What every image option takes: a picture, a path or URL, the bytes of a PNG (JPEG and WebP with the optional peer `sharp`), or exact floats. */
export type ImageInput = RawImage | string | URL | Uint8Array | FloatImage

/** Progress and decisions of the engine, for {@link setLogger}. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type Logger = (level: LogLevel, message: string) => void
