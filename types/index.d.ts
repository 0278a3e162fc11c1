/// <reference lib="esnext.disposable" />

declare global {
    // Declared by lib.dom or @types/node, with which these merge; empty if a project has neither.
    interface AbortSignal {}
    interface URL {}
}

/**
 * Latent diffusion for Node.js: load a model and generate images, or run the stages and the sampling loop yourself.
 *
 * @packageDocumentation
 */

/** Sampling options that always have a value once a call has finished. */
declare type AlwaysSettled = 'steps' | 'guidanceScale' | 'guidanceRescale' | 'sampler' | 'rng';

/** Options for a model whose kind the compiler does not know. At run time, only the options of its kind are accepted. */
export declare interface AnyGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, NegativePromptOptions, RefinerOptions, AnyInputs {
}

/** Inputs of a model whose kind the compiler does not know. At run time, only the inputs of its kind are accepted. */
export declare interface AnyInputs extends TextInputs, Partial<ClassInputs>, Partial<LayoutInputs>, Partial<SemanticInputs>, Partial<SuperresInputs>, Partial<InpaintInputs>, Partial<EditInputs>, Partial<DepthInputs>, Partial<RdmInputs> {
}

/** Resolved options of a model whose kind the compiler does not know. */
export declare interface AnyResolvedOptions extends ResolvedCommon, ResolvedImageToImage, Partial<ResolvedPrompts>, RefinerOptions {
    classId?: number;
    boxes?: readonly LayoutBox[];
    semanticMap?: SemanticMapInput;
    mask?: MaskInput;
    depthMap?: DepthMapInput;
    noiseLevel?: number;
    neighbours?: Neighbours;
}

/**
 * A first stage on its own: encodes images to latents and decodes them. Its latents are neither multiplied by the scale factor nor normalised.
 * Load one with `Autoencoder.load()` (a separate file, or that part of a whole model), or use `pipe.firstStage`.
 */
export declare class Autoencoder implements AsyncDisposable {
    #private;
    /** Description of the loaded model. `regularization` is KL, VQ or none (tiny autoencoders). */
    readonly info: AutoencoderInfo;
    private constructor();
    /** Loads only the first stage of a file or folder; without a source, that of the embedded model. */
    static load(source?: ModelSource, options?: PromptlessLoadOptions): Promise<Autoencoder>;
    /**
     * Encodes images to latents [n, channels, height / factor, width / factor], or with `output: 'codes'` (VQ) to codebook indices. Sides must be multiples of
     * `info.downsampling`.
     */
    encode(image: ImageInput, options: AutoencoderEncodeOptions & {
        output: 'codes';
    }): Promise<Codes>;
    encode(image: ImageInput, options?: AutoencoderEncodeOptions & {
        output?: LatentOutput;
    }): Promise<Latents>;
    /** VQ: encodes images to codebook indices, [n, height / factor, width / factor]. Same as `encode(image, { output: 'codes' })`. */
    codes(image: ImageInput, options?: CallOptions): Promise<Codes>;
    /**
     * Decodes latents or (VQ) codes to 8-bit images, or with `output: 'float'` to unclamped planar floats [n, channels, height, width]. VQ latents are quantised to the
     * nearest codes first, unless `quantize` is false.
     */
    decode(from: Latents | Codes, options: DecodeOptions & {
        output: 'float';
    }): Promise<Float32Array>;
    decode(from: Latents | Codes, options?: DecodeOptions & {
        output?: 'image';
    }): Promise<RawImage[]>;
    /** Waits for running work and frees everything. Idempotent. `pipe.firstStage` belongs to the pipeline: dispose of the pipeline instead. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/** Options of {@link Autoencoder.encode}. */
export declare interface AutoencoderEncodeOptions extends CallOptions {
    /**
     * KL: `sample` (default) draws from the posterior, `mean` is its mean, `moments` gives mean and log-variance channels.
     * Tiny autoencoder (TAESD): `sample` and `mean` are the same.
     * VQ: `prequant` (default; same as `sample` and `mean`) is the result before quantisation, `codes` the indices of the nearest codebook entries.
     */
    output?: LatentOutput | 'codes';
    /** For `sample`. Default: random. */
    seed?: number | bigint;
    rng?: RngName;
}

/** {@link Autoencoder.info}: the info of a pipeline, and the regularisation of the codes. */
export declare type AutoencoderInfo = PipelineInfo & {
    /** `kl`: a Gaussian posterior. `vq`: a codebook. `none`: a tiny autoencoder (TAESD), whose latents are scaled like those of the U-Net. */
    regularization: 'kl' | 'vq' | 'none';
    /** Number of codebook entries; 0 without a codebook. */
    codebookSize: number;
};

/** How fast the processor's threads read the same data again and again. */
export declare interface Bandwidth {
    /** Data of each thread: 16 KiB fit the first-level cache, 512 KiB the second, 4 MiB a shared one; of the last size, only the largest caches hold all. */
    bytes: number;
    /** Of all threads together; 1e9 bytes per second. */
    gigabytesPerSecond: number;
}

/**
 * Jobs of one model with equal keys may share the U-Net's calls ({@link HostOptions.maxBatch}): their options differ only in prompts, seeds, class, count and
 * previews. Undefined for options that run alone: those with images, files or lists, and a count that `generate()` refuses.
 */
export declare function batchKey(options?: Readonly<HostGenerateOptions>): string | undefined;

/** The native binary is missing or cannot be loaded (`ERR_BINARY_NOT_FOUND`). `details.tried` lists each path and the reason. */
export declare class BinaryNotFoundError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** A model in the cache. */
export declare interface CachedModel {
    /** Source for `load()`, such as `hf:owner/name`. */
    source: string;
    path: string;
    /** Bytes on disk, counted once. */
    bytes: number;
    /** Bytes of interrupted downloads, included in `bytes`. */
    incompleteBytes: number;
    revisions: CachedRevision[];
}

/** A revision of a model in the cache. */
export declare interface CachedRevision {
    commit: string;
    /** Branches and tags that pointed to it at download time. */
    refs: string[];
    /** Folder of its files. */
    path: string;
    files: number;
    /** Bytes of its files. Revisions may share some. */
    bytes: number;
    /** Time of the last download into it. */
    modified: Date;
}

/** Options of {@link listModels}. */
export declare type CacheOptions = Pick<HubOptions, 'cacheDir'>;

/** Options of every long call. */
export declare interface CallOptions {
    /** Aborts the call while queued, between steps or within a step. The call rejects with `signal.reason`. */
    signal?: AbortSignal;
}

/**
 * Checks devices: computes the main operations of the networks and compares them with float64, and draws the embedded model's image and compares it with the CPU's.
 * Each device is checked in a child process, so that a driver that crashes or hangs does this process no harm. `latent doctor` prints the report.
 *
 * @throws RangeError for a device that does not exist, and what `onCheck` throws. Failed checks do not throw.
 */
export declare function checkDevices(options?: CheckDevicesOptions): Promise<DeviceReport>;

/** Options of {@link checkDevices}. */
export declare interface CheckDevicesOptions extends CallOptions {
    /** Names of {@link getDevices}, or kinds. Default: every usable device. */
    devices?: readonly string[];
    /** Also draws the embedded model's image. Default true. */
    images?: boolean;
    /** Seconds after which a check counts as hanging. Default 120: drivers compile their programs at the first use. */
    timeout?: number;
    /** Called after each check. An error that it throws, or its rejected promise, ends the checks and rejects the call. */
    onCheck?: (device: string, check: DeviceCheck) => unknown;
}

/** A device with its checks. */
export declare interface CheckedDevice {
    device: Device;
    passed: boolean;
    checks: DeviceCheck[];
    /** Why not all checks ran. */
    problem?: string;
}

/** Conditioning of a class-conditional model. */
export declare interface ClassCondition extends ConditionBase {
    /** Number of classes; `classId` is below this. */
    classes: number;
    /** The unconditional class, if the model has one (usually the number after the last class). Not a valid `classId`. */
    nullClass?: number;
}

/** generate() of a class-conditional model. */
export declare interface ClassGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, ClassInputs {
}

/** Inputs of class-conditional models. */
export declare interface ClassInputs {
    /** Class number, from 0, or one of its names in `info.classes`. */
    classId: number | string;
}

export declare interface ClassResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    /** The class number, even if a name was given. */
    classId: number;
}

/** An image as codebook indices: one per latent pixel, row by row. */
export declare interface Codes {
    data: Int32Array;
    /** [n, height, width] */
    shape: readonly [number, number, number];
}

/** Options of generate() for every kind of model. */
export declare interface CommonGenerateOptions extends SamplingOptions, CallOptions {
    /** Images per call; image i has the seed `seed + i`, or `seed` and the variation seed `variationSeed + i`. Default 1. */
    count?: number;
    /**
     * How far the start noise is changed towards that of `variationSeed`, from 0 (not at all, the default) to 1 (it is that of the other seed). Spherical
     * interpolation as A1111's `subseed_strength`. Only the start noise is changed: samplers that add noise in every step (euler_a) take this noise from `seed`.
     * With an image and `rng: 'mt19937'`, strength 1 is not the image of the other seed: there, the noise follows the numbers that the encoder draws.
     */
    variationStrength?: number;
    /** With `variationStrength`: the other seed, 0 to 2^64 - 1 (A1111's `subseed`). Default: random, as `options.variationSeed` of the result tells. */
    variationSeed?: number | bigint;
    /** Start noise of unit variance, instead of noise from the seed. */
    latents?: Latents;
    /**
     * A second pass at a larger size, so that large images keep the composition of the model's own size (A1111's "Hires. fix"). `width` and `height` are those of
     * the first pass. Only for models that draw from noise alone, without `image`, `latents`, sigmas and `timesteps` of your own. Default: none.
     */
    hires?: HiresOptions;
    /**
     * In pixels, multiples of `info.sizeMultiple`. Default: the model's training size, or the size of the input image (rounded down to a multiple for image to image,
     * exact with a mask).
     */
    width?: number;
    height?: number;
    onProgress?: (progress: Progress) => unknown;
    preview?: PreviewOptions;
    /** Adapters for this call, instead of those of {@link DiffusionPipeline.setLoras}; `[]`: none. Adapters named in the prompt are added. */
    loras?: readonly LoraOptions[];
}

/** Conditioning of every kind. */
export declare interface ConditionBase {
    /** Whether the model was trained with an unconditional input, so that it can be guided. */
    guidance: boolean;
    /**
     * The guidance scale is an input of the network (latent consistency models with a complete U-Net): guidance takes one evaluation per step, and negative prompts have
     * no effect.
     */
    guidanceEmbedding?: true;
    /** Tokens per window of the encoder: 77 for CLIP, 92 for layouts. Absent for models without tokens. */
    tokens?: number;
    /** Vocabulary size. Present with `tokens`. */
    vocabulary?: number;
    /** Width of the cross-attention context. Absent without cross-attention. */
    dim?: number;
    /** SDXL only: the fields of `sizes`, of base models or of refiners. */
    sizes?: 'base' | 'refiner';
    /** SDXL base models: an empty negative prompt is encoded as zeros. */
    zeroNegative?: true;
    /** The loaded CLIP image tower, if any: side of its images, width of its embeddings. */
    imageEncoder?: {
        size: number;
        dim: number;
    };
}

/** `pipe.info.condition` by kind. */
export declare interface ConditionByKind {
    text: ConditionBase;
    class: ClassCondition;
    unconditional: ConditionBase;
    layout: LayoutCondition;
    semantic: SemanticCondition;
    superres: SuperresCondition;
    inpaint: ConditionBase;
    edit: ConditionBase;
    depth: ConditionBase;
    rdm: ConditionBase;
    autoencoder: ConditionBase;
}

/**
 * The conditioning of a run, float32, in native memory. Depending on the model: tokens for cross-attention [1, tokens, dim], channels concatenated to the latents, a
 * class index, a vector added to the timestep embedding.
 */
export declare class Conditioning implements Disposable {
    #private;
    /** Length of the sequence: 77 per chunk for CLIP, 1 for a class, 0 without cross-attention. */
    readonly tokens: number;
    /** Width of the embedding. */
    readonly dim: number;
    /** Whether the prompt was truncated. */
    readonly truncated: boolean;
    /** Shape [n, channels, height, width] of the channels concatenated to the latents (label map, small image, or masked image and mask), or null. */
    readonly concatShape: readonly [number, number, number, number] | null;
    /** Row of the network's class table, if it has one. */
    readonly classLabel: number | undefined;
    /** Length of the vector added to the timestep embedding (SDXL: pooled text and sizes), or 0. */
    readonly vectorDim: number;
    private constructor();
    /** [1, tokens, dim] */
    get shape(): readonly [1, number, number];
    /** Copies an array of finite numbers into a new conditioning. `shape`: [1, tokens, dim] or [tokens, dim]. Without tokens, pass null for both, and `concat`. */
    static from(data: Float32Array | null, shape: readonly number[] | null, extras?: ConditioningExtras): Promise<Conditioning>;
    /** The tokens, row-major, in a new array or in `into` (of exactly the right length); empty without tokens. */
    read(into?: Float32Array): Promise<Float32Array>;
    /** The concatenated channels, row-major; empty without channels. */
    readConcat(into?: Float32Array): Promise<Float32Array>;
    /** The vector; empty without a vector. */
    readVector(into?: Float32Array): Promise<Float32Array>;
    /** Frees the memory. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}

/** Options of {@link Conditioning.from}. */
export declare interface ConditioningExtras {
    /** Channels to concatenate to the latents, [n, channels, height, width]; n is 1 for all images, or one per image. Copied. */
    concat?: Latents;
    /** Row of the network's class table, such as the noise level of the SD x4 upscaler. */
    classLabel?: number;
    /** Vector to add to the timestep embedding: SDXL's pooled text and sizes. Copied. */
    vector?: Float32Array;
}

/**
 * Writes a model as one self-contained GGUF file: tensors in the given type, the model's spec, tokenizer and metadata. Writes a temporary file and renames it at the
 * end, so an aborted or failed conversion leaves nothing behind.
 */
export declare function convert(source: ModelSource, destination: string | URL, options: ConvertOptions): Promise<ConvertReport>;

/** Options of {@link convert}. */
export declare interface ConvertOptions extends Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal'> {
    /** Weight type of the matrices and convolutions. Small tensors (norms, biases) stay in float. */
    type: WeightType;
    /** Other types for single tensors: maps a pattern of canonical tensor names (`*` matches anything) to a type. The first match wins. */
    overrides?: Record<string, WeightType> | readonly (readonly [pattern: string, type: WeightType])[];
    /** Texts to store in the file (`general.license`, `general.author` ...). */
    metadata?: Record<string, string>;
    /** Adapters to merge into the weights, in this order. */
    loras?: readonly LoraOptions[];
    onProgress?: (progress: Progress) => unknown;
}

/** Result of {@link convert}. */
export declare interface ConvertReport {
    destination: string;
    tensors: number;
    bytes: number;
    /** Reports on the adapters. */
    loras: LoraReport[];
    [detail: string]: unknown;
}

/**
 * The cosine similarity of two embeddings of the same model, -1 to 1: how well a text fits an image, or how similar two images are. CLIP's logits are this times its
 * `logit_scale` (100 in OpenAI's models).
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for anything but Float32Arrays of finite numbers, for
 * arrays of different lengths, and for one of zeros
 */
export declare function cosineSimilarity(a: Float32Array, b: Float32Array): number;

/**
 * Creates a host: an engine in its own process (or thread) with a queue, which survives crashes of native code. The engine starts with the first job.
 *
 * @example
 * await using host = createDiffusionHost({ models: { main: 'model.gguf' } })
 * const { images } = await host.generate({ prompt: 'a lighthouse' })
 */
export declare function createDiffusionHost(options?: HostOptions): DiffusionHost;

/** Options of {@link DiffusionPipeline.createLatents}. */
export declare interface CreateLatentsOptions extends CallOptions {
    /** Pixels. Default: the model's. */
    width?: number;
    height?: number;
    /** Row i has the seed `seed + i`. Default: random. */
    seed?: number | bigint;
    /** Rows. Default 1. */
    batch?: number;
    rng?: RngName;
}

/** Standard normal numbers, identical to `torch.randn`: `philox` as on CUDA, `mt19937` as on the CPU. Computed on another thread. */
export declare function createNoise(options: NoiseOptions): Promise<Float32Array>;

/** The first numbers of a generator after seeding, identical to torch. For normal numbers use `createNoise()`. */
export declare function createRandom(options: RandomOptions & {
    kind: 'words';
}): Uint32Array;

export declare function createRandom(options: RandomOptions & {
    kind: 'uniform';
}): Float32Array;

export declare function createRandom(options: RandomOptions & {
    kind: 'integers' | 'permutation';
}): Int32Array;

export declare function createRandom(options: RandomOptions): Uint32Array | Float32Array | Int32Array;

/** Creates a solver. For unknown names of samplers or schedules, the error lists the known ones. */
export declare function createSolver(options: SolverOptions): Solver;

/** Options of {@link DiffusionPipeline.decode}. */
export declare interface DecodeOptions extends CallOptions {
    /** `image` (default): 8-bit images. `float`: unclamped planar floats [n, channels, height, width]. */
    output?: 'image' | 'float';
    /** VQ first stages: quantise latents to the nearest codes before decoding, as the reference does. Default true. */
    quantize?: boolean;
}

/** DeepCache ("DeepCache: Accelerating Diffusion Models for Free", arXiv 2312.00858): reuses deep features for the next evaluations. Changes the image. */
export declare interface DeepCacheOptions {
    /** Run the whole network at every `interval`-th evaluation (2 to 1000), and only its outer blocks in between. */
    interval: number;
    /** Skip connection at which the short evaluations stop: from 0, the outermost and cheapest (default), to levels times (blocks per level + 1) minus 2. */
    branch?: number;
}

/** generate() of a depth model. Without `width` and `height`, the image has the size of the start image or else of the depth map, rounded down to a multiple. */
export declare interface DepthGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, DepthInputs, NegativePromptOptions {
}

/** Inputs of depth models (Stable Diffusion 2 depth). */
export declare interface DepthInputs extends TextInputs {
    /** Relative depth of the scene, of any size; it is resized to the latents. The library does not estimate depth: use MiDaS or a similar tool. */
    depthMap: DepthMapInput;
}

/** One number per pixel, row by row; larger is nearer, as MiDaS has it. Only differences count: each map is scaled to its own range. */
export declare interface DepthMap {
    data: Uint8Array | Uint16Array | Float32Array;
    width: number;
    height: number;
}

/** A depth map: numbers, or a greyscale image whose white is nearest. Greyscale PNGs are read with all of their 8 or 16 bits. */
export declare type DepthMapInput = DepthMap | RawImage | string | URL | Uint8Array;

export declare interface DepthResolvedOptions extends ResolvedCommon, ResolvedImageToImage, ResolvedPrompts {
    depthMap: DepthMapInput;
}

/** A device that networks can run on. */
export declare interface Device {
    /** Value for the option `device`: `cpu`, `cuda:0` ... */
    id: string;
    /** Backend: `cpu`, `cuda`, `ggml-cuda`, `metal`, `vulkan`. */
    type: string;
    /** Display name, such as the CPU's model. */
    name: string;
    /** GPUs: name and version of the driver, if known. */
    driver?: string;
    /** In bytes; 0 if unknown. */
    memoryTotal: number;
    memoryFree: number;
    /** The reason why the device cannot be used, if so. */
    refused?: string;
    /** CPU only: instruction sets. */
    kernels?: Kernels;
    [detail: string]: unknown;
}

/** One check of a device: an operation of the networks, or an image of the embedded model. */
export declare interface DeviceCheck {
    /** `linear q8_0`, `attention 40`, `image, fast` ... */
    check: string;
    passed: boolean;
    /** Not applicable here, such as `exact` on a device that computes in 16 bits. Counts as passed. */
    skipped?: boolean;
    /** Why it failed or was skipped, if it did not compute. */
    reason?: string;
    /** Operations: root of the summed squares of the differences from float64, relative to that of the right numbers; null if a number is not finite. */
    error?: number | null;
    /** The largest error allowed. */
    bound?: number;
    /** Images: bytes that differ from the CPU's exact image, of `bytes`, and by how much at most. */
    differing?: number;
    bytes?: number;
    largest?: number;
    /** Peak signal-to-noise ratio in decibels; null if no byte differs. */
    psnr?: number | null;
    /** Images: largest difference of the CPU's exact image from the one known, as means of 8x8 pixels. */
    referenceOff?: number;
    /** Milliseconds to load the model. */
    loadMs?: number;
    /** Milliseconds of the first run, in which drivers compile their programs. */
    firstMs?: number;
    /** Milliseconds of the second run. */
    ms?: number;
}

/** A missing device, a failed backend, or a processor that is too old for the binary (`ERR_DEVICE`). */
export declare class DeviceError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** The result of {@link checkDevices}: what it takes to see from afar what a device does. */
export declare interface DeviceReport {
    date: string;
    version: string;
    ggml: string;
    node: string;
    system: string;
    cpu: {
        brand: string;
        features: string[];
        cores: number;
    };
    /** Bytes of the host. */
    memoryTotal: number;
    memoryFree: number;
    /** The GPU libraries that were found. */
    libraries: {
        kind: string;
        path: string;
        refused?: string;
    }[];
    devices: CheckedDevice[];
    /** Devices that cannot be used, with the reason in `refused`. */
    refused: Device[];
    /** All checks of all devices. False too if a GPU crashed, hung or computed wrong numbers in its first test, or a device named in `devices` cannot be used. */
    passed: boolean;
}

/** The device to run on: a backend, optionally with a device number (`cuda:1`). `auto` is the CPU. */
export declare type DeviceSpec = 'auto' | 'cpu' | 'cuda' | 'ggml-cuda' | 'metal' | 'vulkan' | `cuda:${number}` | `ggml-cuda:${number}` | `metal:${number}` | `vulkan:${number}`;

/**
 * The reference implementation that a sampler follows: `k` k-diffusion and the web UIs, `comfy` ComfyUI, `diffusers`, `compvis` the latent diffusion repository, `sgm` generative-models. Not every
 * sampler has every one.
 */
export declare type DialectName = 'k' | 'comfy' | 'diffusers' | 'compvis' | 'sgm';

/** Base class of this package's errors. `code` is stable; `details` has the numbers and names of the message. */
export declare class DiffusionError extends Error {
    name: string;
    readonly code: DiffusionErrorCode;
    readonly details: Readonly<Record<string, unknown>>;
    constructor(code: DiffusionErrorCode, message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** Codes of {@link DiffusionError}. */
export declare type DiffusionErrorCode = 'ERR_MODEL_FORMAT' | 'ERR_UNSUPPORTED_MODEL' | 'ERR_OUT_OF_MEMORY' | 'ERR_DEVICE' | 'ERR_IO' | 'ERR_ABORTED' | 'ERR_DISPOSED' | 'ERR_BUSY' | 'ERR_BINARY_NOT_FOUND' | 'ERR_DOWNLOAD' | 'ERR_ENGINE_EXITED' | 'ERR_INTERNAL' | (string & {});

/**
 * An engine in its own process, with a queue. Created by {@link createDiffusionHost}.
 *
 * Jobs run one after another, in the order of their creation. If native code crashes, or the system kills the process because memory is short, the running job rejects
 * with {@link EngineExitedError}, and a new engine runs the queued jobs. The engine starts with the first job, keeps the program running while it has work, and exits
 * with the program.
 */
export declare class DiffusionHost implements AsyncDisposable {
    #private;
    on<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this;
    once<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this;
    off<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this;
    get status(): HostStatus;
    /**
     * Lets no waiting job start until {@link resume}; a running one ends as usual. Queries of the host (`describe()`, `estimate()`, `unload()`) still work. Jobs that
     * wait for `resume()` do not keep the program running. Idempotent.
     */
    pause(): void;
    /** Lets waiting jobs start again. Idempotent. */
    resume(): void;
    /** The models by name, and whether they are loaded. */
    models(): {
        name: string;
        loaded: boolean;
    }[];
    /** Adds a model, or replaces the one with that name. Existing jobs keep their model. */
    addModel(name: string, model: string | URL | HostedModel): Promise<void>;
    /** Unloads and removes a model. The last one cannot be removed. */
    removeModel(name: string): Promise<void>;
    /**
     * Queues a job that generates images, as {@link DiffusionPipeline.generate} does.
     * @throws TypeError if an option cannot be sent to another process, RangeError for an unknown model, DiffusionError `ERR_BUSY` if `maxQueue` jobs wait,
     * DisposedError after `close()`. Invalid options found by the engine reject the job
     */
    generate(options?: HostGenerateOptions): DiffusionJob;
    /** Loads a model before its first job. @returns its description, as `pipeline.info` */
    load(name?: string, options?: HostLoadOptions): Promise<PipelineInfo>;
    /** The description of a model from the headers of its files, without loading weights. */
    describe(name?: string, options?: CallOptions): Promise<PipelineInfo>;
    /** {@link estimateMemory} for a model of this host, without loading weights. */
    estimate(name?: string, request?: Pick<EstimateRequest, 'width' | 'height' | 'guidanceScale' | 'imageGuidanceScale' | 'count' | 'deepCache' | 'signal'>): Promise<MemoryEstimate>;
    /** Tokenises a prompt with the model's tokenizer. Loads the model; if it is loaded, the call does not wait for jobs. */
    tokenize(prompt: string, options?: CallOptions & {
        model?: string;
    }): ReturnType<DiffusionPipeline['tokenize']>;
    /** Unloads a model; its next job loads it again. */
    unload(name?: string): Promise<void>;
    /** Memory of a model in the engine's process; undefined if it is not loaded. */
    memoryUsage(name?: string): Promise<MemoryUsage | undefined>;
    /** Rejects queued and running jobs with DisposedError, and ends the engine, after at most two seconds. Idempotent. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A job of {@link DiffusionHost.generate}. `await job` gives the result of {@link DiffusionPipeline.generate}. `for await (const event of job)` gives its events, ends
 * with the job and throws its error. If events are not read in time, only the newest of each type and phase is kept.
 */
export declare class DiffusionJob implements PromiseLike<GenerateResult>, AsyncIterable<JobEvent> {
    #private;
    /** Created by {@link DiffusionHost.generate}. */
    private constructor();
    get state(): JobState;
    /** Cancels the job, whether queued or within a step; it rejects with `reason` at once. Default: an AbortError. */
    cancel(reason?: unknown): void;
    then<A = GenerateResult, B = never>(onResult?: ((result: GenerateResult) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B>;
    catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<GenerateResult | B>;
    finally(action?: (() => void) | null): Promise<GenerateResult>;
    [Symbol.asyncIterator](): AsyncGenerator<JobEvent, void, void>;
}

/** A loaded pipeline of one kind or, without a kind, the union over all kinds. Narrow it with `kind`, `is()` or {@link LoadOptions.kind}. */
export declare type DiffusionPipeline<K extends ModelKind = ModelKind> = {
    [P in K]: PipelineOf<P>;
}[K];

export declare const DiffusionPipeline: typeof PipelineOf;

/** An object was used after its `dispose()`, or after that of its pipeline (`ERR_DISPOSED`). */
export declare class DisposedError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

export declare interface DownloadDetails {
    /** The model source, such as `hf:owner/name`. */
    source?: string;
    /** Path of the file inside the repository. */
    file?: string;
    /** HTTP status. */
    status?: number;
    /** Without the query, which may contain signatures. */
    url?: string;
    /** Seconds to wait before trying again, if the server sent them. */
    retryAfter?: number;
    [detail: string]: unknown;
}

/** A model could not be downloaded, or its files are damaged (`ERR_DOWNLOAD`). */
export declare class DownloadError extends DiffusionError {
    name: string;
    readonly reason: DownloadReason;
    /** Whether the same call may succeed later. Downloaded data is kept. */
    readonly retriable: boolean;
    readonly details: Readonly<DownloadDetails>;
    constructor(reason: DownloadReason, message: string, details?: DownloadDetails, options?: ErrorOptions & {
        retriable?: boolean;
    });
}

/** The reason of a failed download: {@link DownloadError.reason}. */
export declare type DownloadReason = 
/** Files are missing and downloads are disabled. */
'offline'
/** The repository, revision, version or file does not exist or is private. */
| 'not_found'
/** The token is missing, wrong or may not read the model. */
| 'unauthorized'
/** You have to accept the licence or buy access on the model's page. */
| 'gated' | 'rate_limited' | 'network'
/** The server did not answer, or the transfer stopped. */
| 'timeout'
/** An unexpected answer: wrong sizes, a web page, a redirect loop, unsafe names. */
| 'bad_answer'
/** A file does not match the hash that the hub publishes. */
| 'integrity' | 'disk_space'
/** The source has no supported model file, or several. */
| 'choice'
/** The file is a pickle and `allowPickle` is not set. */
| 'pickle';

/** generate() of an editing model. The image sets the size; {@link SamplingOptions.imageGuidanceScale} sets how closely the result follows it. */
export declare interface EditGenerateOptions extends CommonGenerateOptions, EditInputs, NegativePromptOptions {
}

/** Inputs of editing models (InstructPix2Pix). */
export declare interface EditInputs extends TextInputs {
    /** The image to edit, of any size. The prompt describes the change: `turn the sky into a sunset`. */
    image: ImageInput;
}

export declare interface EditResolvedOptions extends ResolvedCommon, ResolvedPrompts {
    image: ImageInput;
}

/** Continuous noise levels of training. */
export declare interface EdmScheduleSpec {
    /** Lowest level. Default 0.002. */
    sigmaMin: number;
    /** Highest level. Default 80. */
    sigmaMax: number;
    /** Standard deviation of the data, for the scaling of the network's input and output. Default 0.5. */
    sigmaData: number;
}

/** A textual inversion: a word with its own vectors. See docs/adapters.md. */
export declare interface EmbeddingOptions {
    /** A file (.pt, .bin, .safetensors) of the web UI or diffusers; for SDXL with `clip_l` and `clip_g`. A path, a `file:` URL, or a name on a hub. */
    path: string | URL;
    /** The word to use in prompts. Default: the file's name without extension, and the name inside the file if there is one. */
    name?: string;
}

/** How prompt weights are applied to the embedding: as A1111, keeping the mean (`original`) or not (`no_norm`), or as ComfyUI (`comfy`). */
export declare type Emphasis = 'original' | 'no_norm' | 'comfy';

/** Options of {@link DiffusionPipeline.encodeCondition}. */
export declare interface EncodeConditionOptions extends CallOptions {
    /** Encode the unconditional input instead: the empty prompt, the null class, zeros for embeddings; images stay. Default false. */
    unconditional?: boolean;
    /** Prompts: pad with empty chunks to at least this many, to give two prompts the same length. */
    minChunks?: number;
    /** Depth models: size in pixels of the image that the conditioning is for. Default: that of the depth map, rounded down to multiples of `info.sizeMultiple`. */
    width?: number;
    height?: number;
    /** SD x4 upscaler: seed of the noise added to the small image. Default: random. */
    seed?: number | bigint;
    rng?: RngName;
}

/** Options of {@link DiffusionPipeline.encodeImage}. */
export declare interface EncodeImageOptions extends CallOptions {
    /**
     * `sample` (default) draws from the posterior, `mean` is its mean; both are multiplied by the scale factor, and are the same for VQ first stages. Not scaled:
     * `moments` (KL), mean and log-variance channels; `prequant` (VQ), before quantisation.
     */
    mode?: 'sample' | 'mean' | 'moments' | 'prequant';
    seed?: number | bigint;
    rng?: RngName;
}

/** Options of {@link RawImage.encode} and {@link RawImage.save}. */
export declare interface EncodeOptions {
    /** JPEG and WebP: 1 to 100. Default 92. */
    quality?: number;
    /** WebP: without loss. Default false. */
    lossless?: boolean;
    /** PNG: zlib's level, 0 (fast) to 9 (small). Default 6. */
    compressionLevel?: number;
    /** PNG: write `metadata` into the file. Default true. */
    metadata?: boolean;
}

/** Options of {@link DiffusionPipeline.encodePrompt}. */
export declare interface EncodePromptOptions extends CallOptions {
    clipSkip?: number;
    emphasis?: Emphasis;
    /** Pad with empty chunks to at least this many, to give two prompts the same length. */
    minChunks?: number;
}

/**
 * The engine's process or thread ended during a job (`ERR_ENGINE_EXITED`): native code crashed, it was killed, or memory ran out. `details` has `exitCode`, `signal`
 * and its last output on stderr. See {@link DiffusionHost}.
 */
export declare class EngineExitedError extends DiffusionError {
    name: string;
    /** Whether the job may succeed on a new engine; false if none can be started. */
    readonly retriable: boolean;
    constructor(message: string, details: Readonly<Record<string, unknown>> & {
        retriable: boolean;
    }, options?: ErrorOptions);
}

declare type EngineState = 'idle' | 'starting' | 'ready' | 'closed';

/**
 * Estimates the peak memory of each stage for an image of the given size, in bytes, without loading weights. Without a source: for the embedded model. Throws
 * OutOfMemoryError, with the plans that fit, if `memory.maxBytes` is too small.
 */
export declare function estimateMemory(source?: ModelSource, request?: EstimateRequest): Promise<MemoryEstimate>;

/** Options of {@link estimateMemory}. */
export declare interface EstimateRequest extends LoadOptions {
    /** Pixels; for `hires`, of its second pass. Default: the model's. */
    width?: number;
    height?: number;
    /** 1 halves the batch of the network (for editing models together with `imageGuidanceScale: 1`). Default: the model's. */
    guidanceScale?: number;
    /** Editing models. Default: the model's. */
    imageGuidanceScale?: number;
    /** Images per call. Default 1. */
    count?: number;
    /** As in `generate()`. Features are kept for every image. */
    deepCache?: DeepCacheOptions;
    /** As in `generate()`. Previews with method `vae` are decoded while the run keeps latents and `deepCache` features. */
    preview?: Partial<PreviewOptions>;
    /** As in `generate()`. Counts the memory of adapters; their files are read. */
    loras?: readonly LoraOptions[];
}

/** One evaluation of the network in a run. */
export declare interface Evaluation {
    /** The network's input besides the latents. */
    timestep: number;
    /** Noise level at that point. */
    sigma: number;
    /** The step; second-order solvers evaluate twice per step. */
    step: number;
}

/** Sampling options that need a model, and that a separate solver therefore does not take. */
export declare type EvaluationOption = 'preset' | 'guidanceScale' | 'imageGuidanceScale' | 'guidanceRescale' | 'guidanceInterval' | 'deepCache';

/** A floating-point image: planar float32, [n, channels, height, width], -1 to 1. */
export declare interface FloatImage {
    data: Float32Array;
    shape: readonly number[];
}

/** Writes the text. Known keys are in the web UI's order, others before `Version` in the given order. */
export declare function formatInfotext(prompt: string, negativePrompt: string, fields: Readonly<Record<string, InfotextValue>>): string;

/** A search result; only these fields are read. */
export declare interface FoundNeighbour {
    embedding: Float32Array;
}

/** `pipe.info.defaults` */
export declare interface GenerateDefaults {
    width: number;
    height: number;
    steps: number;
    sampler: SamplerName;
    /** Absent: the sampler's default, see `defaultSchedules`. */
    schedule?: ScheduleName;
    /** Few-step models that need them: timesteps instead of a schedule, as many as `steps`. */
    timesteps?: number[];
    guidanceScale: number;
    /** Editing models (kind `edit`) only. */
    imageGuidanceScale?: number;
    /** Absent: `spec.eta` with the model's default sampler, else the sampler's default. */
    eta?: number;
    /** Absent: the model's own. */
    clipSkip?: number;
}

/** Options of {@link DiffusionPipeline.generate} for one kind; without a kind, {@link AnyGenerateOptions}. */
export declare type GenerateOptions<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyGenerateOptions : GenerateOptionsByKind[K];

/** The options of every kind. */
export declare interface GenerateOptionsByKind {
    text: TextGenerateOptions;
    class: ClassGenerateOptions;
    unconditional: UnconditionalGenerateOptions;
    layout: LayoutGenerateOptions;
    semantic: SemanticGenerateOptions;
    superres: SuperresGenerateOptions;
    inpaint: InpaintGenerateOptions;
    edit: EditGenerateOptions;
    depth: DepthGenerateOptions;
    rdm: RdmGenerateOptions;
    autoencoder: never;
}

/** Result of {@link DiffusionPipeline.generate}. */
export declare interface GenerateResult<O = AnyResolvedOptions> {
    /** `save()` writes the settings into the PNG, as A1111 does. */
    images: RawImage[];
    /** Seed of the first image. */
    seed: bigint;
    /** Passing them again repeats the call. */
    options: O;
    timings: Timings;
    /**
     * Parts computed in float32 because fast arithmetic gave NaN or infinity; usually none. They stay in float32 while the model is loaded. If float32 does not help, the
     * call rejects with a {@link ModelFormatError} that names the part.
     */
    float32Parts: ModelPart[];
    /** The adapters used. */
    loras: LoraReport[];
    /** Warnings; usually none. */
    warnings: GenerateWarning[];
}

/** A warning about something that you may not have intended. `code` is stable. */
export declare interface GenerateWarning {
    /**
     * `WARN_MASK_EMPTY`: the mask selects nothing. `WARN_MASK_FULL`: it selects everything. `WARN_ADAPTER_IGNORED`: an adapter in a prompt (`<lora:name:1>`) was not
     * applied. `WARN_ADAPTER_PARTIAL`: parts of an adapter file do not match a layer of this model or have an unsupported type. `WARN_NEGATIVE_IGNORED`: the negative
     * prompt has no effect, because `guidanceScale` is 1, or an input of the network. `WARN_VAE_FAMILY`: by its name, the tiny autoencoder is for the latents of
     * another family (TAESD with SDXL, TAESDXL with Stable Diffusion 1.x or 2.x).
     */
    code: 'WARN_MASK_EMPTY' | 'WARN_MASK_FULL' | 'WARN_ADAPTER_IGNORED' | 'WARN_ADAPTER_PARTIAL' | 'WARN_NEGATIVE_IGNORED' | 'WARN_VAE_FAMILY' | (string & {});
    message: string;
}

/**
 * The available devices, with the CPU as the last. Devices that cannot be used have the reason in `refused`. GPUs are listed if their library is installed
 * (docs/gpu.md); the first call tests each library in a child process, which takes a second or two.
 */
export declare function getDevices(options?: GetDevicesOptions): Promise<Device[]>;

/** Options of {@link getDevices}. */
export declare interface GetDevicesOptions {
    /** Only devices of this type. Libraries and drivers of the others are not loaded. */
    type?: 'cpu' | 'cuda' | 'ggml-cuda' | 'vulkan' | 'metal';
}

/** Description of the loaded engine. */
export declare function getVersions(): Versions;

/** A second pass at a larger size: either `scale`, or `width` and `height`. */
export declare interface HiresOptions {
    /** Factor of both sides, 1 to 16; they are rounded down to multiples of `info.sizeMultiple`. */
    scale?: number;
    /** In pixels, a multiple of `info.sizeMultiple`. */
    width?: number;
    height?: number;
    /** Steps that the second pass runs, whatever its strength (A1111's Hires steps). Default: `steps`. */
    steps?: number;
    /** How much the second pass changes, above 0, up to 1 (A1111's Denoising strength). Default 0.7. */
    strength?: number;
    /** Default `latent`, as A1111's "Latent": bilinear. */
    upscaler?: UpscalerName;
}

/** A model of a host: its source and load options. */
export declare interface HostedModel extends Omit<LoadOptions, 'signal' | 'onProgress' | 'kind'> {
    /** Default: the embedded model. */
    source?: ModelSource;
}

/** Events of a {@link DiffusionHost}. */
export declare interface HostEvents {
    /** The engine crashed during a job. The job rejects with the same error. */
    crash: [error: EngineExitedError];
    /** The engine has loaded a model, for a job or {@link DiffusionHost.load}, in `ms` milliseconds; a download is included. */
    loaded: [model: string, ms: number];
    status: [status: HostStatus];
}

/** Options of {@link DiffusionHost.generate}: those of {@link DiffusionPipeline.generate} except `latents`, which cannot be sent to another process. */
export declare interface HostGenerateOptions extends Omit<AnyGenerateOptions, 'latents' | 'preview'> {
    /** Name of a model. Default: the first. */
    model?: string;
    /** Previews are events of the job; `onPreview` is called too, if set. */
    preview?: Omit<PreviewOptions, 'onPreview'> & Partial<Pick<PreviewOptions, 'onPreview'>>;
}

/** Options of {@link DiffusionHost.load}. */
export declare interface HostLoadOptions extends CallOptions {
    onProgress?: (progress: Progress) => unknown;
}

/** Options of {@link createDiffusionHost}. */
export declare interface HostOptions {
    /**
     * Where the engine runs. `process` (default): a child process, so a crash of native code ends only that process. `thread`: a worker thread; a crash ends the whole
     * program. `none`: the calling thread.
     */
    isolate?: 'process' | 'thread' | 'none';
    /** Models by name; the first is the default. Default: the embedded model, named `default`. */
    models?: Readonly<Record<string, string | URL | HostedModel>>;
    /** Maximum models in memory; the least recently used one is unloaded first. Default 1. */
    maxModels?: number;
    /**
     * Maximum images of jobs that run together, sharing the U-Net's calls. Such jobs follow one another in the queue and differ only in prompts, seed, class and count. More
     * throughput for small images; the first of them waits longer. Default 1: none.
     */
    maxBatch?: number;
    /** Maximum queued jobs; further ones are refused (`ERR_BUSY`). Default 100. */
    maxQueue?: number;
    /** Idle time in milliseconds after which the engine exits and frees its memory; the next job starts a new one. 0 (default): never. */
    idleMs?: number;
    /** After a crash, run the queued jobs on a new engine (`restart`, default) or reject them too (`reject`). */
    onCrash?: 'restart' | 'reject';
    /** Node.js flags for the child process. Default: those of this process, except a debugger's. */
    execArgv?: readonly string[];
}

/** Status of a host. */
export declare interface HostStatus {
    /** `idle`: no engine is running; the next job starts one. */
    state: EngineState;
    /** Of the engine. */
    pid: number | undefined;
    /** A job is running. */
    running: boolean;
    /** Jobs that wait. */
    queued: number;
    /** No waiting job starts, by {@link DiffusionHost.pause}. */
    paused: boolean;
    /** Engine restarts after crashes. */
    restarts: number;
}

/** Settings for downloads. Defaults come from the environment variables that other tools use. */
export declare interface HubOptions {
    /** Cache folder, in the layout of Python's `huggingface_hub`. Default: HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub; for `civitai:` LATENT_CACHE, or ~/.cache/node-latent-diffusion. */
    cacheDir?: string | URL;
    /** Use only the cache, without contacting a server. Default: HF_HUB_OFFLINE. */
    localFilesOnly?: boolean;
    /** Weights of a diffusers folder if there are several, such as `fp16`. Default: the plain ones. */
    variant?: string;
    /** The hub, or a mirror of it. Default: HF_ENDPOINT, or the public hub. */
    endpoint?: string | URL;
    /** Access token of the hub, sent only to `endpoint`; `false`: none. Default: HF_TOKEN, or the token of `hf auth login`. */
    token?: string | false;
    /** Default: CIVITAI_ENDPOINT, or the public site. */
    civitaiEndpoint?: string | URL;
    /** Token of Civitai, sent only to `civitaiEndpoint`; `false`: none. Default: CIVITAI_TOKEN. */
    civitaiToken?: string | false;
    /** Accept pickle files (.ckpt, .pt) from Civitai. They are read as data, never executed. Default false. */
    allowPickle?: boolean;
    /** A file of pinned revisions (`latent.lock.json`): its models are downloaded at the pinned commit, others are added to it. Default: none. */
    lockFile?: string | URL;
    /** Milliseconds without any data after which a connection is closed and retried. Default: HF_HUB_DOWNLOAD_TIMEOUT (seconds), or 30 s. */
    timeout?: number;
    /** Used instead of Node's fetch, for example for a proxy. */
    fetch?: (url: string, init: never) => Promise<object>;
}

/**
 * CLIP's image encoder on its own, to build retrieval databases and search them by image: `ViT-L/14` for the public retrieval-augmented model.
 * Inside a pipeline: `pipe.embedImage()`.
 */
export declare class ImageEncoder implements AsyncDisposable {
    #private;
    private constructor();
    /**
     * Loads only the image tower of a CLIP file or folder (OpenAI's or Hugging Face's naming).
     * @throws UnsupportedModelError for a file without one
     */
    static load(source: string | URL, options?: Omit<PromptlessLoadOptions, 'kind'>): Promise<ImageEncoder>;
    /** Width of an embedding: 768 for ViT-L/14. */
    get dim(): number;
    /** The embedding of an image, [dim], not normalised. The image is resized to the encoder's square without cropping. */
    embed(image: ImageInput, options?: CallOptions): Promise<Float32Array>;
    /** Waits for running work and frees everything. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/** Formats that {@link RawImage.encode} writes. JPEG and WebP need the optional peer `sharp`. */
export declare type ImageFormat = 'png' | 'jpeg' | 'webp';

/** An input image: a RawImage, a path or URL, the bytes of a PNG (JPEG and WebP with the optional peer `sharp`), or floats. */
export declare type ImageInput = RawImage | string | URL | Uint8Array | FloatImage;

/** Pixels. */
export declare interface ImageSize {
    width: number;
    height: number;
}

/** Image to image. */
export declare interface ImageToImageOptions {
    /** Start image. */
    image?: ImageInput;
    /** Fraction of the schedule to run, up to 1 (pure noise); it must leave at least one step. Default 0.75. */
    strength?: number;
    /**
     * Areas of `image` to repaint: white (lightness 0.5 and above). Has the size of the image. Black areas are returned unchanged, and the result has the size of the
     * image even if that is not a multiple of `info.sizeMultiple`. With another `width` or `height`, image and mask are resized first. Default: the whole image.
     */
    mask?: MaskInput;
}

/** A parsed "parameters" text. */
export declare interface Infotext {
    prompt: string;
    negativePrompt: string;
    /** Values as strings, in the order of the text. */
    fields: Record<string, string>;
}

/** A value; null and undefined are omitted, true and false are written as `True` and `False`. */
export declare type InfotextValue = string | number | bigint | boolean | null | undefined;

/** generate() of an inpainting model. The image sets the size. Prompt options only for models that read text (Stable Diffusion inpainting). */
export declare interface InpaintGenerateOptions extends CommonGenerateOptions, InpaintInputs, NegativePromptOptions {
}

/** Inputs of inpainting models. */
export declare interface InpaintInputs extends TextInputs {
    /** The image, of any size. */
    image: ImageInput;
    /** Areas to repaint: white (lightness 0.5 and above). Has the size of the image. Black areas are returned unchanged. */
    mask: MaskInput;
}

/** Prompts only for models that read text. */
export declare interface InpaintResolvedOptions extends ResolvedCommon, Partial<ResolvedPrompts> {
    image: ImageInput;
    mask: MaskInput;
}

/** Inputs of one kind; without a kind, {@link AnyInputs}. */
export declare type Inputs<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyInputs : InputsByKind[K];

/** The inputs of every kind. */
export declare interface InputsByKind {
    text: TextInputs;
    class: ClassInputs;
    unconditional: NoInputs;
    layout: LayoutInputs;
    semantic: SemanticInputs;
    superres: SuperresInputs;
    inpaint: InpaintInputs;
    edit: EditInputs;
    depth: DepthInputs;
    rdm: RdmInputs;
    autoencoder: never;
}

/** Describes a model and its files from their headers, without loading weights. Without a source: the embedded model. */
export declare function inspect(source?: ModelSource, options?: InspectOptions): Promise<ModelInfo>;

/** Options of {@link inspect}. */
export declare type InspectOptions = Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal' | 'onProgress'>;

/** Events of a {@link DiffusionJob}. */
export declare type JobEvent = 
/** The job is queued behind `position` jobs. */
    {
    type: 'queued';
    position: number;
}
/** The job is running. */
| {
    type: 'started';
} | ({
    type: 'progress';
} & Progress) | {
    type: 'preview';
    image: RawImage;
    step: number;
    steps: number;
    index: number;
};

export declare type JobState = 'queued' | 'running' | 'done' | 'failed';

/** Instruction sets that the kernels use, and those available on this processor. */
export declare interface Kernels {
    /** `fused` kernels, or ggml's `portable` operations if LATENT_OPS selects them. */
    operations: 'fused' | 'portable';
    /** For float32 products (`precision: 'exact'`, text encoders). */
    float32: string;
    /** For products with `precision: 'fast'`. */
    fast: string;
    /** For int8 products. */
    int8: string;
    /** For norms and elementwise operations. */
    rows: string;
    /** Sets supported by this processor, for LATENT_KERNELS, slowest first. */
    available: {
        float: {
            name: string;
            format: 'f32' | 'bf16';
        }[];
        int8: string[];
    };
}

/** The kind of a pipeline type. */
declare type KindOf<T extends {
    readonly kind: ModelKind;
}> = T['kind'];

/** A label per pixel, row by row. */
export declare interface LabelMap {
    data: Uint8Array | Uint16Array | Int32Array;
    width: number;
    height: number;
}

/** Forms of an encoder's result. */
export declare type LatentOutput = 'sample' | 'mean' | 'moments' | 'prequant';

/**
 * A latent tensor [n, channels, height, width], float32, in native memory. Latents of a pipeline are already multiplied by its scale factor. Data is copied on another
 * thread, so all methods except `dispose()` return promises. They reject with `ERR_DISPOSED` after `dispose()` of the latents or of their pipeline.
 */
export declare class Latents implements Disposable {
    #private;
    /** [n, channels, height, width] */
    readonly shape: readonly [number, number, number, number];
    /** Where the data is: `cpu` or a device. */
    readonly location: string;
    private constructor();
    /** Copies an array of finite numbers into new latents. `shape`: [n, channels, height, width], whose product is `data.length`. */
    static from(data: Float32Array, shape: readonly number[]): Promise<Latents>;
    /** The data, row-major, in a new array or in `into` (of exactly the right length). */
    read(into?: Float32Array): Promise<Float32Array>;
    /** Replaces the data with `from` (of exactly the right length, all finite). */
    write(from: Float32Array): Promise<void>;
    /** An independent copy. */
    clone(): Promise<Latents>;
    /** Frees the memory. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}

/** One object of a layout. */
export declare interface LayoutBox {
    /** Category: its number, from 0, or its name. */
    label: number | string;
    /** Upper left corner and size, in fractions of the image (0 to 1). */
    x: number;
    y: number;
    width: number;
    height: number;
    /** The box contains a group of objects. This and the following are attributes of Open Images annotations; default false. */
    groupOf?: boolean;
    /** The object is occluded. */
    occluded?: boolean;
    /** A drawing or model of the object. */
    depiction?: boolean;
    /** The image was taken from inside the object. */
    inside?: boolean;
}

/** Conditioning of a layout-to-image model. */
export declare interface LayoutCondition extends ConditionBase {
    /** Number of categories. */
    classes: number;
    /** Maximum boxes in a layout. */
    maxObjects: number;
}

/** generate() of a layout-to-image model. */
export declare interface LayoutGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, LayoutInputs {
}

/** Inputs of layout-to-image models. */
export declare interface LayoutInputs {
    /** 1 to `info.condition.maxObjects` (30) objects. */
    boxes: readonly LayoutBox[];
}

export declare interface LayoutResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    boxes: readonly LayoutBox[];
}

/** A textual inversion that prompts may name. */
export declare interface ListedEmbedding {
    /** The word in prompts; letter case does not matter. */
    name: string;
    path: string;
    /** Number of vectors: the tokens that the word takes of a prompt's window. */
    vectors: number;
    /** Numbers per vector, for each text encoder in the file. */
    widths: readonly number[];
    /** Whether the model of {@link ListEmbeddingsOptions.info} reads it; absent without `info`. */
    fits?: boolean;
}

/** An adapter that prompts may name. */
export declare interface ListedLora {
    /** As in `<lora:name:1>`: the file's name without its extension. */
    name: string;
    path: string;
}

/**
 * The textual inversions in an `embeddingDirectory`, by the names of the files and at most about 10,000 words: what prompts may name after `load({ embeddingDirectory })`. Only the headers of the
 * files are read. Other files and damaged ones are left out. Of several words with the same name, the first that fits counts.
 * @param directory a path or `file:` URL
 * @throws DiffusionError `ERR_IO` if the folder cannot be read; RangeError if `directory` is a file
 */
export declare function listEmbeddings(directory: string | URL, options?: ListEmbeddingsOptions): Promise<ListedEmbedding[]>;

/** Options of {@link listEmbeddings}. */
export declare interface ListEmbeddingsOptions {
    /** The model, from `inspect()` or `pipe.info`. */
    info?: PipelineInfo;
}

/**
 * The adapters in a `loraDirectory` and its subfolders: what prompts may name after `load({ loraDirectory })`. Up to 100,000 entries and eight levels of folders are looked at; links to folders are
 * not followed. Of files with the same name, the one that counts is listed. The files themselves are not read.
 * @param directory a path or `file:` URL
 * @throws DiffusionError `ERR_IO` if a folder cannot be read; RangeError if `directory` is a file
 */
export declare function listLoras(directory: string | URL): Promise<ListedLora[]>;

/** The models in the cache. */
export declare function listModels(options?: CacheOptions): Promise<CachedModel[]>;

/** Options of {@link DiffusionPipeline.load}. */
export declare interface LoadOptions extends CallOptions {
    /** Expected kind of model. Sets the type of the pipeline; other kinds are rejected (`ERR_UNSUPPORTED_MODEL`). Default: any. */
    kind?: ModelKind;
    /** Default `auto`. */
    device?: DeviceSpec;
    /**
     * Weight type in memory, for all parts or by part. Default: as stored. A block type (`q8_0` ...) for all parts uses f16 for the first stage and q8_0 for text and
     * image encoders, as {@link convert} does, unless you name the part.
     *
     * `int8` also selects the arithmetic: signed bytes with a scale per output channel, multiplied as 8-bit integers. It is the fastest type on processors with VNNI, at
     * a small cost in quality (docs/performance.md). For all parts it applies to the U-Net only; by name it is allowed for `unet` and `vae`. Sensitive layers keep their
     * type, and so does everything on devices other than the CPU.
     */
    dtype?: WeightType | 'int8' | {
        [part in ModelPart]?: WeightType | (part extends 'unet' | 'vae' ? 'int8' : never);
    };
    /** `exact` computes in float32 throughout and ignores `dtype`. `fast` (default) uses 16-bit arithmetic if the machine supports it, and 8-bit if `dtype` is `int8`. */
    precision?: 'exact' | 'fast';
    /** Memory mode or limit. Default `auto`. */
    memory?: 'auto' | 'fast' | 'low' | MemoryOptions;
    /** Number of CPU threads. Default: the number of physical cores, within the container's CPU quota. */
    threads?: number;
    /** Whether to use the EMA weights of a training checkpoint or the raw ones. Default: as configured by the model. An incomplete set of EMA weights is rejected. */
    ema?: boolean;
    /**
     * Weights to read in a diffusers folder: `fp16` for `model.fp16.safetensors`, `non_ema` ... Parts without that variant use the default: the plain file, else `fp16`,
     * else `bf16`, else the only variant.
     */
    variant?: string;
    /** Called while files are downloaded and weights are read. An error thrown here rejects the call. */
    onProgress?: (progress: Progress) => unknown;
    /** CompVis/Stability configuration: the path of a .yaml file, or its parsed object. Default: the .yaml file next to the checkpoint, if any. */
    config?: string | URL | object;
    /** Overrides for single fields of the detected spec. */
    spec?: ModelSpecOverrides;
    /** Settings for `hf:` and `civitai:` models. */
    hub?: HubOptions;
    /** Folder of the adapters that prompts name as `<lora:name:1>`, including subfolders. Without it these tags are removed, with a warning. */
    loraDirectory?: string | URL;
    /** Textual inversions to use in prompts. */
    embeddings?: readonly (string | URL | EmbeddingOptions)[];
    /** Folder of more textual inversions. Files for other models are ignored: all of them by a model without a CLIP text encoder. */
    embeddingDirectory?: string | URL;
}

export declare type Logger = (level: LogLevel, message: string) => void;

/** Levels of the log, see {@link setLogger}. */
export declare type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** A LoRA or similar adapter, and its strengths. See docs/adapters.md. */
export declare interface LoraOptions {
    /** A file (.safetensors, .gguf, .pt, .bin) or a PEFT or diffusers folder: a path, a `file:` URL, or a name on a hub (`hf:owner/name/file`, `civitai:VERSION`). */
    path: string | URL;
    /** Strength in the U-Net; may be negative; 0: no effect. Default 1. */
    weight?: number;
    /** Strength in the text encoders. Default: `weight`. */
    textWeight?: number;
}

/** Which layers an adapter file was applied to. */
export declare interface LoraReport {
    path: string;
    /** Name of the file. */
    name: string;
    /** Layers that it changes, by canonical name. */
    matched: string[];
    /** Names in the file without a matching layer in this model. */
    unmatched: string[];
    /** Names in the file that are recognised but not applied, some with the reason. Every tensor of the file is in one of the lists, by its name, its layer's or its word. */
    skipped: string[];
    /** Words of the embeddings in the file (`bundle_emb`), which prompts can use while the adapter is set; not those for other text encoders. `convert()`: none. */
    embeddings: string[];
}

/** Options of {@link DiffusionPipeline.loss}. */
export declare interface LossOptions extends CallOptions {
    /** Timesteps to measure at, 0 to `spec.schedule.timesteps - 1`. Default: ten, spread evenly. */
    timesteps?: readonly number[];
    /** Seed of the noise (and of the posterior sample of a KL first stage). Default: random. */
    seed?: number | bigint;
    rng?: RngName;
    onProgress?: (progress: Progress) => unknown;
}

/** Result of {@link DiffusionPipeline.loss}. */
export declare interface LossResult {
    timesteps: number[];
    /** Mean squared error of the network's prediction at each timestep. */
    losses: Float32Array;
    mean: number;
    seed: bigint;
}

/** One number per pixel, row by row: 0 keeps, 1 repaints (floats), or 0 and 255 (bytes). */
export declare interface MaskData {
    data: Uint8Array | Uint8ClampedArray | Float32Array;
    width: number;
    height: number;
}

/** A mask: numbers, or an image whose lightness is used (transparency is ignored). */
export declare type MaskInput = MaskData | RawImage | string | URL | Uint8Array;

/** Measures the bandwidth of the caches and of memory, the other bound on the speed of a network. Uses up to 256 MiB, or 16 MiB per thread if that is more. */
export declare function measureBandwidth(options?: PeakOptions): Promise<Bandwidth[]>;

/** Measures the arithmetic peak of the processor, to compare the speed of a network with. */
export declare function measurePeak(options?: PeakOptions): Promise<Peak[]>;

/** Memory needed for an image, in bytes. */
export declare interface MemoryEstimate {
    width: number;
    height: number;
    /** Bytes of the weights by part; `mapped` of them stay in the memory-mapped file. */
    weights: Record<string, {
        bytes: number;
        mapped: number;
    }>;
    textEncoder?: StageEstimate;
    /** Class embedder or spatial rescaler. */
    conditioner?: StageEstimate;
    /** CLIP's image tower, if loaded. */
    imageEncoder?: StageEstimate;
    unet?: StageEstimate;
    /** The refiner's U-Net, if loaded; its text encoder is included in `textEncoder`. */
    refiner?: StageEstimate;
    encode?: StageEstimate;
    decode?: StageEstimate;
    /** Bytes by stage, for the requested memory mode and limit. */
    stages: Partial<Record<'textEncoder' | 'conditioner' | 'imageEncoder' | 'unet' | 'refiner' | 'preview' | 'encode' | 'decode', StageMemory>>;
    /** The largest stage of an image that starts from noise, in bytes. */
    peakBytes: number;
    /** The same with `memory: 'low'`. */
    lowPeakBytes: number;
    /** The smallest `memory.maxBytes` under which the image can be made, with weights streamed from the file; slower the less memory there is. 0: unknown. */
    floorBytes: number;
    /** Memory of the process itself: its present resident size, plus an allowance for the tokenizer and the image encoder. */
    processBytes: number;
}

/** The long form of {@link LoadOptions.memory}. */
export declare interface MemoryOptions {
    mode?: 'auto' | 'fast' | 'low';
    /** Limit in bytes for weights and working memory. Mapped weights that do not fit are streamed from the file; {@link estimateMemory} has the least limit, `floorBytes`. */
    maxBytes?: number;
    /** Decode in overlapping tiles: always, never, or (default) as the memory plan requires. */
    vaeTiling?: boolean | {
        tileSize?: number;
    };
    /** Super-resolution: side of the tiles for larger images, in latent pixels. Default 128. */
    tileSize?: number;
}

/** Options with which an image fits in memory, as planned by the engine ({@link OutOfMemoryError}). */
export declare interface MemoryPlan {
    /** Pixels. */
    width: number;
    height: number;
    /** Load option `memory`, or `memory.mode` together with a limit. */
    memory: 'auto' | 'fast' | 'low';
    /** Load option `dtype`; absent: unchanged. */
    dtype?: WeightType;
    /** 1 if guidance must be disabled; absent: unchanged. */
    guidanceScale?: number;
    /** 1, together with `guidanceScale`, for editing models. */
    imageGuidanceScale?: number;
    /** Bytes of the largest stage, including weights. */
    peakBytes: number;
}

/** Memory used by a pipeline, in bytes, and the process's peak. */
export declare interface MemoryUsage {
    parts: Partial<Record<ModelPart, number>>;
    /** Graphs, latents and scratch. */
    compute: number;
    total: number;
    /** Highest resident size of the whole process so far. */
    processPeak: number;
}

/** A model in several files. Each is a path or a name on a hub. The others replace parts of `model`. */
export declare interface ModelFiles {
    /** Checkpoint file or diffusers folder. */
    model?: string | URL;
    /** U-Net weights (file or folder) that replace those of `model`. */
    unet?: string | URL;
    /** Text encoder weights (file or folder). For retrieval-augmented models: CLIP with its text projection, to read prompts. */
    textEncoder?: string | URL;
    /** CLIP with an image tower (file or folder), to search retrieval databases by image: {@link DiffusionPipeline.embedImage}. */
    imageEncoder?: string | URL;
    /** First stage weights (file or folder). For a tiny autoencoder (TAESD) pass the decoder (taesd_decoder); the encoder (taesd_encoder) is read from the same folder. */
    vae?: string | URL;
    /** A tiny autoencoder (TAESD) for previews with `method: 'taesd'`: its decoder file or a diffusers folder. */
    previewVae?: string | URL;
    /**
     * A second text-to-image model of the same family that takes over within a run at {@link RefinerOptions.refinerSwitchAt}: SDXL's refiner, or another model with the
     * same latents (file or folder; the .yaml next to a file is read). Adapters and `spec` apply to the first model only.
     */
    refiner?: string | URL;
    /** Folder with tokenizer.json, vocab.json and merges.txt (CLIP) or vocab.txt (BERT); or the tokenizer.json or vocab.txt itself. */
    tokenizer?: string | URL;
}

/** A file is damaged, truncated, unsafe or not a model (`ERR_MODEL_FORMAT`). */
export declare class ModelFormatError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** Description of a model from its header, by {@link inspect}. */
export declare interface ModelInfo {
    /** The file or folder. */
    source: string;
    spec: ModelSpec;
    [detail: string]: unknown;
}

/**
 * What a model generates images from: `text` prompts (Stable Diffusion, LDM text to image), a `class` (ImageNet), nothing (`unconditional`: faces, churches), boxes
 * (`layout`), a label map (`semantic`), a small image (`superres`), an image and a mask (`inpaint`), an image and an instruction (`edit`), a prompt and
 * a depth map (`depth`), a prompt and its neighbours in a database (`rdm`).
 * `autoencoder` is a separate first stage.
 */
export declare type ModelKind = 'text' | 'class' | 'unconditional' | 'layout' | 'semantic' | 'superres' | 'inpaint' | 'edit' | 'depth' | 'rdm' | 'autoencoder';

/** Name of a model part in `dtype` and in reports. */
export declare type ModelPart = 'unet' | 'textEncoder' | 'conditioner' | 'imageEncoder' | 'vae';

/**
 * A model: a file (.safetensors, .gguf, .ckpt, .pt, .pth, .bin), a diffusers folder, a `file:` URL, or several files; `hf:owner/name[@revision][/file][:tag]`,
 * `civitai:VERSION` or the address of their pages, downloaded if not in the cache ({@link pullModel}, docs/downloads.md).
 */
export declare type ModelSource = string | URL | ModelFiles;

/** Description of a model. Every field can be overridden with `LoadOptions.spec`. */
export declare interface ModelSpec {
    kind: ModelKind;
    /** Name of the closest known model. */
    name: string;
    /** `sd1`, `sd2`, `ldm`, `autoencoder` ... */
    family: string;
    /** Naming of the tensors in the file: `compvis`, `diffusers`, or `gguf` for a file that {@link convert} wrote. */
    naming: string;
    conditioningKey: string;
    prediction: Prediction;
    schedule: NoiseScheduleSpec;
    /** Factor from first stage codes to latents. */
    scaleFactor: number;
    /** Mean and standard deviation of each channel of the codes: latents are (code - mean) * scaleFactor / std. Empty: code * scaleFactor. */
    latentsMean: number[];
    latentsStd: number[];
    /** Training size in pixels. */
    imageSize: number;
    useEma: boolean;
    unet: Record<string, unknown> | null;
    firstStage: Record<string, unknown> | null;
    conditioners: Record<string, unknown>[];
    sampler: string;
    /** Schedule of `sampler`. Empty: the sampler's default. */
    samplingSchedule: string;
    /** Timesteps of `sampler`, instead of a schedule. Empty: none. */
    samplingTimesteps: number[];
    steps: number;
    guidanceScale: number;
    eta: number;
    /** Linear previews, [latent channels + 1, 3]: the contribution of each channel to red, green and blue, then the bias. Empty: those of the family. */
    previewFactors: number[];
}

/** A partial ModelSpec, nested objects included. */
export declare type ModelSpecOverrides = {
    [K in keyof ModelSpec]?: ModelSpec[K] extends unknown[] ? ModelSpec[K] : NonNullable<ModelSpec[K]> extends object ? Partial<NonNullable<ModelSpec[K]>> : ModelSpec[K];
};

/** Models whose classes, categories or labels have names. */
declare interface Named {
    /** Names by number, for `classId`, the `label` of a box or a value of the label map. Empty if unknown; numbers always work. */
    classes: readonly string[];
}

/** Guidance away from a second prompt. */
export declare interface NegativePromptOptions {
    /** What the image should not show. Default: the empty prompt. */
    negativePrompt?: string;
}

/** A search result: a row of the database. */
export declare interface Neighbour {
    /** Row number, counted across all files. */
    index: number;
    /** Cosine similarity to the query, -1 to 1. */
    score: number;
    /** [dim], of length 1. */
    embedding: Float32Array;
    /** The source image, if the database has it (`img_id`). */
    imageId?: string | number;
    /** The region of that image, as stored in the database (`patch_coords`). */
    patch?: readonly number[];
}

/** Interface of a searchable database: a {@link RetrievalDatabase} or your own. */
export declare interface NeighbourDatabase {
    /** Width of an embedding. */
    readonly dim: number;
    /** `signal` is that of the calling function. */
    search(query: Float32Array, k: number, options?: {
        signal?: AbortSignal;
    }): Promise<readonly FoundNeighbour[]>;
}

/** One embedding or search result per neighbour, or a search to run. The order does not matter; embeddings are normalised. */
export declare type Neighbours = readonly (Float32Array | FoundNeighbour)[] | NeighbourSearch;

/** A search in a database. */
export declare interface NeighbourSearch {
    database: NeighbourDatabase;
    /** Number of neighbours. Default 10, as in the reference script; the public model was trained with up to 20. */
    k?: number;
    /** CLIP embedding to search with. Default: the prompt's. */
    query?: Float32Array;
}

/** Inputs of unconditional models. */
export declare type NoInputs = Record<never, never>;

/** Options of {@link createNoise}. */
export declare interface NoiseOptions extends CallOptions {
    seed: number | bigint;
    /** For instance [1, 4, 64, 64]. */
    shape: readonly number[];
    /** Default `philox`. */
    rng?: RngName;
    /** The n-th call of `randn` after seeding, from 0. */
    offset?: number;
}

/** Training noise schedule of a model. */
export declare interface NoiseScheduleSpec {
    /** `scaled_linear`, `linear` or `squaredcos_cap_v2`. */
    betaSchedule: string;
    betaStart: number;
    betaEnd: number;
    /** Training timesteps. */
    timesteps: number;
    zeroTerminalSnr: boolean;
    /** Explicit betas, instead of the named form. */
    betas?: number[];
    /** The model was trained on continuous noise levels instead of timesteps, and its time input is ln(sigma) / 4 (Karras et al. 2022). Null or absent: on timesteps. */
    edm?: EdmScheduleSpec | null;
}

/**
 * Opens a safetensors or GGUF file, a torch checkpoint (.ckpt, .pt, .pth, .bin), a shard index (.index.json), or a
 * folder with one of them, for access to its tensors by name. Reads only the header; `dispose()` closes the file. Names
 * are as in the file, without torch's wrappers (`state_dict`, `params_ema`, `module.`). Throws ERR_IO and
 * ERR_MODEL_FORMAT for missing or damaged files.
 */
export declare function openTensors(file: string | URL, options?: OpenTensorsOptions): Promise<TensorFile>;

/** Options of {@link openTensors}. */
export declare interface OpenTensorsOptions extends CallOptions {
    /** Variant of a folder's weights, such as `fp16`. Default: the plain file, else `fp16`, `bf16` or the only one. */
    variant?: string;
}

/** Time of one kind of operation. */
export declare interface OperationTime {
    /** The operation and its sizes, e.g. `conv 3x3 320>640 32x32 bf16`. */
    operation: string;
    calls: number;
    /** Of all calls. */
    ms: number;
    /** Of the fastest call, which other load affects least. */
    fastestMs: number;
    /** Work of all calls, 2 per multiply-add; 0 if negligible. */
    gflop: number;
    /** Operands and results of all calls, whole tensors, each counted once per call; 0 on GPUs, where they are not counted. */
    gigabytes: number;
}

/** Arguments of a method; optional if all options are optional. */
declare type OptionArguments<O> = Record<never, never> extends O ? [options?: O] : [options: O];

/**
 * Memory could not be allocated, or a limit would be exceeded (`ERR_OUT_OF_MEMORY`). For loading, `estimateMemory()`, `generate()`, `sample()`, `predict()`,
 * `decode()`, `encodeImage()` and codes, the error lists what fits.
 */
export declare class OutOfMemoryError extends DiffusionError {
    name: string;
    /** Bytes needed, if known. */
    readonly required: number | undefined;
    /** Bytes available, or the limit. */
    readonly available: number | undefined;
    /** The first of `plans`. */
    readonly nearest: MemoryPlan | undefined;
    /**
     * What fits: `memory: 'low'`, which gives the same image; the largest size with the same aspect ratio; a smaller weight type; no guidance; or several of these. Empty
     * if nothing fits or no search was made.
     */
    readonly plans: readonly MemoryPlan[];
    /** If nothing fits: the smallest plan. */
    readonly least: MemoryPlan | undefined;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/**
 * The milliseconds of one call, of which calls that ran together have equal parts of those that they share (`loadMs`, `sampleMs`), so that the sums over calls are the time of the engine: for
 * statistics.
 * @param timings of a result; `sharedBy` may be absent, as in results of older workers
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for what is no such object
 */
export declare function ownTimings(timings: Omit<Timings, 'sharedBy'> & Partial<Timings>): Omit<Timings, 'sharedBy'>;

/**
 * Reads the text as the web UI does: lines without parameters belong to the prompt. A line of fewer than 3 or more than 1000 fields is not a parameter line.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` if the text is not a string or has more than 262144 characters
 */
export declare function parseInfotext(text: string): Infotext;

/** The peak of this processor for one number format, with multiply-adds only. */
export declare interface Peak {
    /** `f32`, `bf16`, `int8` ... */
    format: string;
    /** The instruction set used. */
    instructions: string;
    gflops: number;
}

/** Options of {@link measurePeak} and {@link measureBandwidth}. */
export declare interface PeakOptions extends CallOptions {
    /** Default: the physical cores, within the container's CPU quota. */
    threads?: number;
    /** Seconds per measurement. Default 0.3. */
    seconds?: number;
}

/** Description of a loaded pipeline: a union over the kinds, discriminated by `kind`. */
export declare type PipelineInfo<K extends ModelKind = ModelKind> = {
    [P in K]: PipelineInfoByKind[P];
}[K];

/** Description of every loaded model. */
export declare interface PipelineInfoBase<K extends ModelKind> {
    /** The kind of the model. Comparing it narrows `info`; comparing `pipe.kind` narrows the pipeline. */
    kind: K;
    /** The conditioning of the model. */
    condition: ConditionByKind[K];
    /** Name of the closest known model. */
    name: string;
    spec: ModelSpec;
    /** Number of weights by part. */
    parameters: Partial<Record<ModelPart, number>> & {
        total: number;
    };
    /** Weight type in memory by part. */
    dtypes: Partial<Record<ModelPart, string>>;
    /** Mean bits per weight by part. */
    effectiveBits: Partial<Record<ModelPart, number>>;
    /** The loaded refiner, if any. Its weights are not included above. */
    refiner?: Pick<PipelineInfoBase<'text'>, 'name' | 'parameters' | 'dtypes' | 'effectiveBits'>;
    /** Defaults of `generate()`. */
    defaults: GenerateDefaults;
    samplers: SamplerName[];
    schedules: ScheduleName[];
    /** Default schedule of each sampler. */
    defaultSchedules: Record<SamplerName, ScheduleName>;
    /** Display names of samplers and schedules: `dpmpp_2m` is `DPM++ 2M`. */
    labels: Record<string, string>;
    /** Pixels per latent pixel. */
    downsampling: number;
    /** Widths and heights must be multiples of this many pixels. */
    sizeMultiple: number;
    latentChannels: number;
    precision: 'exact' | 'fast';
    device: Device;
}

/** {@link PipelineInfo} of one kind. */
export declare interface PipelineInfoByKind {
    text: PipelineInfoBase<'text'>;
    class: PipelineInfoBase<'class'> & Named;
    unconditional: PipelineInfoBase<'unconditional'>;
    layout: PipelineInfoBase<'layout'> & Named;
    semantic: PipelineInfoBase<'semantic'> & Named;
    superres: PipelineInfoBase<'superres'>;
    inpaint: PipelineInfoBase<'inpaint'>;
    edit: PipelineInfoBase<'edit'>;
    depth: PipelineInfoBase<'depth'>;
    rdm: PipelineInfoBase<'rdm'>;
    autoencoder: PipelineInfoBase<'autoencoder'>;
}

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
declare class PipelineOf<K extends ModelKind> implements AsyncDisposable {
    #private;
    /** Description of the model: kind, conditioning, spec, parameters and weight types by part, defaults, samplers. */
    readonly info: PipelineInfo<K>;
    private constructor();
    /**
     * Loads a model: a single file (.safetensors, .gguf, .ckpt, .pt, .bin), a diffusers folder, parts, or the name of a
     * model on a hub (`hf:owner/name`), which is downloaded if it is not in the cache. Without a source, loads the
     * embedded model. `kind` sets the type of the pipeline; models of other kinds are rejected.
     * @throws ModelFormatError for a damaged file, UnsupportedModelError for an unsupported model, OutOfMemoryError, DeviceError
     */
    static load<K extends ModelKind>(source: ModelSource | undefined, options: LoadOptions & {
        kind: K;
    }): Promise<DiffusionPipeline<K>>;
    static load(source?: ModelSource, options?: LoadOptions): Promise<DiffusionPipeline>;
    /**
     * The kind of the model. Comparing it narrows the pipeline: inside `if (pipe.kind === 'class')`, `generate()` takes
     * `classId` and the compiler rejects `boxes`.
     */
    get kind(): K;
    /** Whether the model is of one of these kinds. Narrows the pipeline. */
    is<W extends ModelKind>(...kinds: W[]): this is DiffusionPipeline<W>;
    /** The device of the model. */
    get device(): Device;
    /** The model's first stage, sharing this pipeline's weights. */
    get firstStage(): Autoencoder;
    /**
     * Generates images from the inputs of this kind of model: a prompt, a class, boxes, a label map, an image (and a mask), neighbours, or nothing. Most kinds also take
     * a start image (`image` with `strength`). Missing options default to the model's values; the result lists all options.
     * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for options that are unknown, not of this kind of model, of the wrong type or out of range
     */
    generate<T extends DiffusionPipeline>(this: T, ...options: OptionArguments<GenerateOptions<KindOf<T>>>): Promise<GenerateResult<ResolvedOptions<KindOf<T>>>>;
    /**
     * Sets the adapters (LoRA and similar) for all following calls that do not pass `loras`, replacing earlier ones; `[]`: none. The model is not reloaded: low-rank
     * products are computed beside its weights, whatever their type. Embeddings in the files (`bundle_emb`) are words of prompts meanwhile. `generate()` and `upscale()` wait for it; await it before other calls. A running `sample()` uses them from its next step on; an existing `Conditioning` does not change.
     * @returns a report for each file
     * @throws ModelFormatError for a damaged file or mismatched ranks, UnsupportedModelError for an adapter of another kind of model, OutOfMemoryError, DeviceError; the
     * previous adapters then stay active
     */
    setLoras(loras: readonly LoraOptions[], options?: CallOptions): Promise<LoraReport[]>;
    /** Super-resolution: `generate({ image, ...options })`. The result is `info.condition.factor` (4) times as wide and as high; large images are processed in overlapping tiles. */
    upscale<T extends DiffusionPipeline>(this: 'superres' extends KindOf<T> ? T : never, image: ImageInput, options?: UpscaleOptions): Promise<GenerateResult<SuperresResolvedOptions>>;
    /** Tokenises a prompt: windows of 77 ids, with a weight and a text for each. Retrieval-augmented models read one window of plain text. */
    tokenize(prompt: string): Promise<Tokenized>;
    /** Runs the text encoder on a prompt or on token ids. For retrieval-augmented models use `encodeCondition()`. */
    encodePrompt<T extends DiffusionPipeline>(this: KindOf<T> extends 'rdm' ? never : T, prompt: string | TokenIds, options?: EncodePromptOptions): Promise<Conditioning>;
    /**
     * Encodes the inputs of any kind of model (those of `generate()`, without image to image) for `sample()` and `predict()`. `unconditional: true` gives the
     * unconditional counterpart for guidance.
     */
    encodeCondition<T extends DiffusionPipeline>(this: T, inputs: Inputs<KindOf<T>>, options?: EncodeConditionOptions): Promise<Conditioning>;
    /**
     * Measures the training loss of the latent diffusion paper (Eq. 1 to 3): the mean squared error of the network's prediction for an image and its inputs, noised to
     * several timesteps. The image is not resized; sides must be multiples of `info.sizeMultiple`.
     */
    loss<T extends DiffusionPipeline>(this: T, image: ImageInput, inputs: Inputs<KindOf<T>>, options?: LossOptions): Promise<LossResult>;
    /** Runs the first stage's encoder. Sides must be multiples of `info.downsampling`. The latents are multiplied by the scale factor, except `moments`. */
    encodeImage(image: ImageInput, options?: EncodeImageOptions): Promise<Latents>;
    /**
     * The CLIP embedding of an image, [dim], by the `imageEncoder` of the model source, to use as a neighbour or to search a retrieval database. The image is resized to
     * the encoder's square without cropping, as in the reference.
     */
    embedImage(image: ImageInput, options?: CallOptions): Promise<Float32Array>;
    /**
     * The CLIP embedding of a text, [dim], not normalised (transformers' `text_embeds`): the last layer at the end of the text, after the text projection. Compare it
     * with `embedImage()` of the same CLIP by {@link cosineSimilarity}. Prompt weights are not parsed, and the text is truncated to the encoder's window of 77 tokens; `{
     * tokenIds }` is one window including start and end. A CLIP file or folder can be loaded as a model; SDXL uses its second text encoder.
     * @throws UnsupportedModelError for a model without a CLIP text encoder or its projection, such as Stable Diffusion 1 and 2
     */
    embedText(prompt: string | TokenIds, options?: CallOptions): Promise<Float32Array>;
    /** Start noise of unit variance for `sample()` and `generate({ latents })`. Computed on another thread, without waiting for running calls. */
    createLatents(options?: CreateLatentsOptions): Promise<Latents>;
    /**
     * The sampling loop: `for await (const { latents } of pipe.sample({ conditioning, unconditional }))`. The latents are the live state. Leaving the loop ends the run;
     * the generator returns the latents after the last step.
     */
    sample(options: SampleOptions): AsyncGenerator<SampleStep, Latents, void>;
    /** Evaluates the network once: its raw output (of the type `info.spec.prediction`) for latents at a timestep. */
    predict(latents: Latents, options: PredictOptions): Promise<Latents>;
    /** Runs the first stage's decoder. Gives 8-bit images, or with `output: 'float'` unclamped planar floats [n, channels, height, width]. */
    decode(latents: Latents, options: DecodeOptions & {
        output: 'float';
    }): Promise<Float32Array>;
    decode(latents: Latents, options?: DecodeOptions & {
        output?: 'image';
    }): Promise<RawImage[]>;
    /** Current memory use by part, and the peak of the process. */
    memoryUsage(): MemoryUsage;
    /**
     * Runs `action` and reports the time of each network operation of this pipeline meanwhile, the most expensive first. Work of other pipelines is not listed. On the same device it makes the times
     * longer: on the CPU and with CUDA both share the processors, with Vulkan and Metal an operation waits until the GPU is free, and this counts.
     */
    profile(action: () => Promise<unknown>): Promise<OperationTime[]>;
    /** Frees weights and graphs; the next call loads them again. */
    unload(options?: CallOptions): Promise<void>;
    /** Waits for queued and running calls, then frees everything. Later calls fail with `ERR_DISPOSED`. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/** What the network was trained to predict. `edm`: with the preconditioning of Karras et al. 2022, section 5 (Playground v2.5). */
export declare type Prediction = 'eps' | 'v' | 'sample' | 'edm';

/** Options of {@link DiffusionPipeline.predict}. */
export declare interface PredictOptions extends CallOptions {
    /** One for all rows, or one per row. Fractions are allowed. For models with `spec.schedule.edm`, ln(sigma) / 4. */
    timestep: number | readonly number[];
    conditioning?: Conditioning;
    /** Needed for a guidance scale other than 1; the guided prediction is returned. */
    unconditional?: Conditioning;
    /** Default 1. */
    guidanceScale?: number;
    /** Editing models. Default 1. */
    imageGuidanceScale?: number;
    /** Extra input channels, instead of those of `conditioning`. */
    concat?: Latents;
}

/** The options that a preset sets. */
export declare interface Preset extends Pick<SamplingOptions, 'sampler' | 'schedule' | 'timesteps' | 'steps' | 'guidanceScale' | 'eta' | 'extra'> {
    /** The required prediction type, which no file states. */
    prediction?: 'sample';
}

/**
 * Few-step models with settings of their own: SD- and SDXL-Turbo; SDXL-Lightning by its steps (`lightning-1` gives the clean latents: load it with `spec: { prediction: 'sample' }`);
 * Hyper-SD's LoRAs, its unified LoRA and its one-step SDXL U-Net; LCM, TCD and PCM LoRAs; DMD2 with four steps and one; SDXS.
 */
export declare type PresetName = 'turbo' | 'lightning-1' | 'lightning-2' | 'lightning-4' | 'lightning-8' | 'hyper-sd' | 'hyper-sd-unified' | 'hyper-sdxl-1' | 'lcm' | 'tcd' | 'dmd2' | 'dmd2-1' | 'pcm' | 'sdxs';

/** Each preset of {@link SamplingOptions.preset} with the options that it sets. */
export declare const presets: Readonly<Record<PresetName, Preset>>;

/** How previews are decoded, as in native/bindings/requests.cpp. */
declare const previewMethods: readonly ["linear", "taesd", "vae"];

/** Previews during sampling. */
export declare interface PreviewOptions {
    /** Steps between previews. Default 1. */
    every?: number;
    /**
     * `linear` (default): a small image computed directly from the latents, almost free. `taesd`: full size, with the tiny autoencoder loaded as `previewVae` (or as
     * `vae`). `vae`: full size with the model's decoder, slow.
     */
    method?: (typeof previewMethods)[number];
    /** An error thrown here, or a rejected promise, rejects the call. */
    onPreview: (image: RawImage, at: {
        step: number;
        steps: number;
        index: number;
    }) => unknown;
}

/** Progress of a long call. */
export declare interface Progress {
    /** During `download`, `step` counts bytes. */
    phase: 'download' | 'load' | 'encode' | 'sample' | 'decode' | 'convert';
    /** Finished units of this phase (bytes, steps, tiles). */
    step: number;
    /** Total units, 0 if unknown. */
    steps: number;
    /** Milliseconds since the call started. */
    elapsedMs: number;
    /** Estimated milliseconds until this phase ends, `null` if unknown. */
    etaMs: number | null;
}

/** One window of the text encoder. All three lists have the encoder's length, 77: start, up to 75 tokens, end, padding. */
declare interface PromptChunk {
    /** Negative for vectors of a textual inversion. */
    ids: number[];
    /** Weight of each token's embedding; 1 on start, end and padding. */
    weights: number[];
    /** The tokens as spelled in the vocabulary (`cat</w>`). */
    text: string[];
}

/** Options of a load without prompts: {@link Autoencoder.load}, {@link ImageEncoder.load}. */
export declare type PromptlessLoadOptions = Omit<LoadOptions, 'loraDirectory' | 'embeddings' | 'embeddingDirectory'>;

/** One file of a pulled model. */
export declare interface PulledFile {
    path: string;
    size: number;
    /** SHA-256 for large files, git's hash for small ones. */
    hash: string;
    /** False if it was already in the cache. */
    fetched: boolean;
}

/**
 * Downloads a model into the cache: the files that the loader needs of `hf:owner/name[@revision][/path][:tag]` or `civitai:VERSION`, at the latest commit of the
 * branch. Resumes interrupted downloads and checks every hash. Throws {@link DownloadError}; downloaded data is kept.
 */
export declare function pullModel(source: string | URL, options?: PullOptions): Promise<PullReport>;

/** Options of {@link pullModel}. */
export declare interface PullOptions extends HubOptions, CallOptions {
    /** The part to download. Default `model`. */
    part?: 'model' | 'unet' | 'textEncoder' | 'imageEncoder' | 'vae' | 'tokenizer';
    /** Additional files, as patterns of their paths (`*` within a folder, `**` across folders). */
    include?: readonly string[];
    /** Report what would be downloaded, without downloading. Default false. */
    dryRun?: boolean;
    /** Called a few times a second. An error thrown here rejects the call. */
    onProgress?: (progress: PullProgress) => unknown;
}

/** Progress of {@link pullModel}. */
export declare interface PullProgress {
    /** The file downloaded last, by its path in the repository. */
    file: string;
    /** Downloaded bytes of that file, and its size. */
    fileBytes: number;
    fileSize: number;
    /** Downloaded bytes of all files, including earlier downloads, and their total size. */
    bytes: number;
    totalBytes: number;
    /** Over the last seconds. */
    bytesPerSecond: number;
    elapsedMs: number;
    /** `null` while unknown. */
    etaMs: number | null;
}

/** Result of {@link pullModel}; with `dryRun`, what it would download. */
export declare interface PullReport {
    source: string;
    /** The commit; for Civitai the version. */
    commit: string;
    /** Folder or file in the cache, for `load()`; absent with `dryRun`. */
    path?: string;
    licence?: string;
    /** Bytes of all files, and of those that had to be downloaded. */
    bytes: number;
    fetchedBytes: number;
    files: PulledFile[];
}

/** Options of {@link createRandom}. */
export declare interface RandomOptions {
    /**
     * `words`: the generator's raw 32-bit words. Of the generator `mt19937` also `uniform`: numbers of [0, 1), as `torch.rand`; `integers`: `low` <= x < `high`, as
     * `torch.randint`; `permutation`: the numbers 0 to `count` - 1 in random order, as `torch.randperm`.
     */
    kind: 'words' | 'uniform' | 'integers' | 'permutation';
    seed: number | bigint;
    /** Number of values, 1 to 2^18. */
    count: number;
    /** Default `mt19937`. `philox` supports only `words`: block i of four is that of the counter (0, 0, i, 0). */
    rng?: RngName;
    /** Of `integers`, default 0. */
    low?: number;
    /** Of `integers`, at most 2^31. */
    high?: number;
}

/** An image: interleaved 8-bit pixels and metadata texts. */
export declare class RawImage {
    /** Interleaved rows, top to bottom, width * height * channels bytes. */
    readonly data: Uint8Array;
    readonly width: number;
    readonly height: number;
    /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
    readonly channels: 1 | 3 | 4;
    /** Metadata texts by keyword, as in PNG files; `parameters` has the settings of a generated image in A1111's format. */
    readonly metadata: Readonly<Record<string, string>>;
    /** Wraps pixels without copying them. */
    constructor(image: RawImageData);
    /**
     * Reads an image: a path or `file:` URL, the bytes of a file, or pixels. The format is detected from the content. PNG of any depth is read to 8 bits with its texts;
     * JPEG, WebP and others if the optional peer `sharp` is installed. The image is rotated by its EXIF orientation and converted to sRGB from its ICC profile or
     * PNG's gamma and chromaticities. (A PNG profile with lookup tables needs sharp, too; without it the values are taken as sRGB.)
     *
     * Files from others can be read. Before pixels are allocated, their size is compared with the limits (`maxPixels`, 16384 per side); files of more than 512 MiB are refused, and so are
     * files made to take gigabytes or minutes: PNG with 64 KiB of image data more than its pixels need, with compressed texts or a profile of more than 4 MiB, with more than 1,000 texts or
     * 65,536 chunks; JPEG with more than 200 scans. Of an animated image the first frame is read.
     * @throws DiffusionError `ERR_IMAGE_FORMAT` for damaged, unknown or too large images, `ERR_UNSUPPORTED_IMAGE` if sharp is missing, `ERR_IO` if the file cannot be read
     */
    static read(input: RawImageInput | RawImage, options?: ReadImageOptions): Promise<RawImage>;
    /**
     * The size of an image in pixels, as {@link RawImage.read} gives it, without decoding the image. Refuses what `read()` refuses, except files that are damaged or have too much data where
     * their pixels are.
     * @throws DiffusionError as `read()`
     */
    static size(input: RawImageInput | RawImage, options?: ReadImageOptions): Promise<ImageSize>;
    /** The bytes of an image file. Default format: PNG, with `metadata` as text chunks. */
    encode(format?: ImageFormat, options?: EncodeOptions): Promise<Uint8Array>;
    /**
     * Writes a file whose name ends in .png, .jpg, .jpeg or .webp. Writes a temporary file and renames it, so no partial file is left. Symbolic links are followed.
     * @throws DiffusionError `ERR_IO` if the file cannot be written
     */
    save(file: string | URL, options?: EncodeOptions): Promise<void>;
    /** A resized copy, with the same result as Pillow. Default filter: Lanczos. */
    resize(width: number, height: number, options?: {
        filter?: ResizeFilter;
    }): Promise<RawImage>;
}

/** The data of a {@link RawImage}; the same as raw pixels of `sharp` and other libraries. */
export declare interface RawImageData {
    /** Interleaved 8-bit rows, top to bottom: width * height * channels bytes. */
    data: Uint8Array | Uint8ClampedArray;
    width: number;
    height: number;
    /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
    channels: 1 | 3 | 4;
    /** Metadata texts by keyword. */
    metadata?: Readonly<Record<string, string>>;
}

/** Sources for {@link RawImage.read}: a path or `file:` URL, the bytes of an image file, or pixels. */
export declare type RawImageInput = string | URL | Uint8Array | RawImageData;

/** generate() of a retrieval-augmented model. */
export declare interface RdmGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, RdmInputs {
}

/** Inputs of retrieval-augmented models: a prompt, neighbours, or both. */
export declare interface RdmInputs {
    /** Encoded with the CLIP text encoder passed as `textEncoder` of the model source. */
    prompt?: string;
    /** CLIP embeddings of similar images, or a database to search with the prompt. */
    neighbours?: Neighbours;
}

export declare interface RdmResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    prompt?: string;
    neighbours?: Neighbours;
}

/** Options of {@link RawImage.read} and {@link RawImage.size}. */
export declare interface ReadImageOptions {
    /** Maximum pixels of the image, width times height. Default and maximum 67,108,864. */
    maxPixels?: number;
}

/** Options of {@link TensorFile.read}. */
export declare interface ReadTensorOptions extends CallOptions {
    /**
     * `values` (default): an array type that represents every stored number exactly: integers and `f64` unchanged (`bool` as 0 and 1 in a `Uint8Array`), all other floats and
     * ggml's blocks as `Float32Array`. `float32`: always a `Float32Array`. `bytes`: as stored, little-endian.
     */
    as?: 'values' | 'float32' | 'bytes';
}

/** Two models in one run. */
export declare interface RefinerOptions {
    /**
     * Only if a refiner is loaded ({@link ModelFiles.refiner}): fraction of the training time, from the noise end, after which it takes over, from 0 (from the first
     * step) to 1 (never). Both models share one list of steps, and the latents pass from one to the other unchanged. Default 0.8.
     */
    refinerSwitchAt?: number;
}

/** Deletes partial files of interrupted downloads. Returns the freed bytes. */
export declare function removeIncompleteDownloads(options?: CacheOptions): Promise<number>;

/** Deletes a model from the cache, or with `@revision` one revision. Returns the freed bytes. */
export declare function removeModel(source: string | URL, options?: CacheOptions): Promise<number>;

/** Resampling filters, with Pillow's names. */
export declare type ResizeFilter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos';

/**
 * Resolved sampling options of every finished generate() call. `schedule` is absent if the sampler has only one or `timesteps` replace it; `eta` is absent if
 * the sampler's default was used or it has none; `guidanceScale` is 1 if the model was trained without an unconditional input.
 */
export declare interface ResolvedCommon extends Omit<SamplingOptions, AlwaysSettled | 'seed' | 'deepCache'>, Required<Pick<SamplingOptions, AlwaysSettled>> {
    width: number;
    height: number;
    count: number;
    seed: bigint;
    /** Both absent without variations. */
    variationSeed?: bigint;
    variationStrength?: number;
    /** Absent without a second pass; `width`, `height` and `steps` are those of the first. */
    hires?: ResolvedHires;
    /** Absent: off. */
    deepCache?: Required<DeepCacheOptions>;
    latents?: Latents;
    /** Absent if there were none. Includes adapters named in the prompt, which are removed from it. */
    loras?: readonly LoraOptions[];
}

/** {@link HiresOptions} with defaults. */
export declare type ResolvedHires = HiresOptions & Required<Pick<HiresOptions, 'steps' | 'strength' | 'upscaler'>>;

/** Image to image: absent unless an image was given. */
export declare interface ResolvedImageToImage {
    image?: ImageInput;
    strength?: number;
    mask?: MaskInput;
}

/** The options of a finished {@link DiffusionPipeline.generate} call with every default filled in. Passing them again repeats the call. */
export declare type ResolvedOptions<K extends ModelKind = ModelKind> = [ModelKind] extends [K] ? AnyResolvedOptions : ResolvedOptionsByKind[K];

/** Resolved options of every kind. */
export declare interface ResolvedOptionsByKind {
    text: TextResolvedOptions;
    class: ClassResolvedOptions;
    unconditional: UnconditionalResolvedOptions;
    layout: LayoutResolvedOptions;
    semantic: SemanticResolvedOptions;
    superres: SuperresResolvedOptions;
    inpaint: InpaintResolvedOptions;
    edit: EditResolvedOptions;
    depth: DepthResolvedOptions;
    rdm: RdmResolvedOptions;
    autoencoder: never;
}

/** Prompts with their defaults filled in. */
export declare interface ResolvedPrompts {
    prompt: string;
    /** Absent if the network takes the guidance scale as an input and reads no negative prompt. */
    negativePrompt?: string;
    emphasis: Emphasis;
    /** Absent if the model's default was used. */
    clipSkip?: number;
}

/**
 * A database of image embeddings, in which retrieval-augmented models find neighbours of a prompt: the published .npz files (arrays `embedding`, optionally `img_id`
 * and `patch_coords`), or safetensors files with tensors of these names. Search is exact.
 */
export declare class RetrievalDatabase {
    #private;
    /** Number of embeddings. */
    readonly size: number;
    /** Width of an embedding: 768 for CLIP ViT-L/14. */
    readonly dim: number;
    private constructor();
    /**
     * Opens a database: one file, several files, a folder, or a folder on a hub (`hf:owner/name/folder`).
     * @throws ModelFormatError for damaged or mismatched files, UnsupportedModelError for unsupported element types, DiffusionError `ERR_IO` if a file cannot be
     * read, DownloadError if one cannot be downloaded
     */
    static load(source: string | URL | readonly (string | URL)[], options?: RetrievalLoadOptions): Promise<RetrievalDatabase>;
    /**
     * The `k` rows most similar to a query by cosine, best first; fewer if the database is smaller. Does not block the event loop.
     * @param query [dim]; its length does not matter
     */
    search(query: Float32Array, k?: number, options?: SearchOptions): Promise<Neighbour[]>;
}

export declare interface RetrievalLoadOptions extends CallOptions {
    /** Maximum bytes of embeddings (as float32) to keep in memory; larger databases are read from their files at every search. Default 2^30. */
    maxMemory?: number;
    /** Settings for `hf:` databases. */
    hub?: HubOptions;
    /** Progress of downloads. An error thrown here rejects the call. */
    onProgress?: (progress: Progress) => unknown;
}

/** Rows of a retrieval database. */
export declare interface RetrievalRows {
    /** [rows, dim], of any length; finite. */
    embeddings: Float32Array;
    /** [rows, dim] */
    shape: readonly [number, number];
    /** One text per row: the location of the image. */
    imageIds?: readonly string[];
    /** Four numbers per row, as in the databases of the paper. */
    patches?: readonly (readonly number[])[];
}

/** Random number generator: `philox` gives the numbers of torch on CUDA (as A1111), `mt19937` those of torch on the CPU (as diffusers and ComfyUI). */
export declare type RngName = 'philox' | 'mt19937';

/** Options of {@link DiffusionPipeline.sample}. */
export declare interface SampleOptions extends SamplingOptions, CallOptions {
    /** From {@link DiffusionPipeline.encodeCondition} or {@link DiffusionPipeline.encodePrompt}. */
    conditioning?: Conditioning;
    /** The unconditional counterpart: the negative or empty prompt, the null class ... Required if the guidance scale is not 1. Only its tokens are used. */
    unconditional?: Conditioning;
    /**
     * Unit-variance start noise, or with `denoisingStart` the result of the earlier part; not modified. Default: noise from `seed`, `width`, `height` and
     * `batch`.
     */
    latents?: Latents;
    /**
     * The part of the training time to run, 0 to 1 from the noise end; default 0 and 1. This lets two models share one schedule: the first runs with `denoisingEnd: 0.8`,
     * the second continues from its latents with `denoisingStart: 0.8` and the same `steps`, `sampler` and `schedule`. No noise is added in between.
     */
    denoisingStart?: number;
    denoisingEnd?: number;
    width?: number;
    height?: number;
    batch?: number;
    /** Clean latents from {@link DiffusionPipeline.encodeImage}: image to image. */
    image?: Latents;
    /** As in {@link GenerateOptions}, with `image` only. */
    strength?: number;
    onProgress?: (progress: Progress) => unknown;
}

/** Name of a sampler. `pipe.info.samplers` lists them all. */
export declare type SamplerName = (typeof samplerNames)[number] | (string & {});

/** Names of solvers and schedules, in the order of native/samplers/registry.cpp. */
declare const samplerNames: readonly ["ddim", "ddim_inverse", "ddpm", "plms", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpm_adaptive", "dpm_fast", "dpm_solver", "dpm_solver_single", "unipc", "deis", "sa_solver", "lcm", "tcd"];

/** One finished step of {@link DiffusionPipeline.sample}. */
export declare interface SampleStep {
    /** From 0. */
    index: number;
    steps: number;
    /** Noise level after the step. */
    sigma: number;
    /** Timestep at which the network was evaluated. */
    timestep: number;
    /** The live state: writing to it changes the input of the next step. After the last step it is the result. */
    latents: Latents;
    /** A preview of `row`: small and directly from the latents (`linear`), with the tiny autoencoder loaded as `previewVae` (`taesd`), or with the first stage (`vae`). */
    preview(method?: (typeof previewMethods)[number], row?: number): Promise<RawImage>;
}

/** Options of the sampling loop. */
export declare interface SamplingOptions {
    /**
     * Settings of a few-step model, by its family: sampler, schedule or timesteps, steps, guidance and eta as its authors use them (docs/kinds.md has the table). Options
     * passed explicitly take precedence. Default: none.
     */
    preset?: PresetName;
    /** Number of sampling steps, 1 to 1000. Default: the model's. */
    steps?: number;
    /** Classifier-free guidance. 1 disables it, which halves the work. Default: the model's, 7.5 for Stable Diffusion. */
    guidanceScale?: number;
    /**
     * Editing models (kind `edit`): how closely the result follows the image, as `guidanceScale` does for the prompt (diffusers' `image_guidance_scale`, A1111's Image CFG scale). Three
     * evaluations per step; two if it is 1 or equals `guidanceScale`. Default: the model's, 1.5.
     */
    imageGuidanceScale?: number;
    /** Rescales the guided prediction towards the standard deviation of the conditional one, 0 (off, default) to 1. */
    guidanceRescale?: number;
    /**
     * The part of the run to guide, in fractions [from, to) (Kynkäänniemi et al., arXiv 2404.07724). The other steps evaluate only the prompt, at half the work. Default
     * [0, 1].
     */
    guidanceInterval?: readonly [number, number];
    /** Reuses deep features between evaluations: faster, but changes the image (see docs/quality.md). Default: off. */
    deepCache?: DeepCacheOptions;
    /** 0 to 2^64-1. Default: a random 32-bit number, reported in the result. */
    seed?: number | bigint;
    sampler?: SamplerName;
    /** A name, or descending sigmas, with or without the final 0. */
    schedule?: ScheduleName | Float32Array;
    /** Explicit timesteps instead of a schedule, descending, 0 to 999 for most models. Some few-step models need them (DMD2: [999, 749, 499, 249]). */
    timesteps?: readonly number[];
    /** The reference implementation to follow if they differ, see {@link DialectName}. Default: depends on sampler and schedule. */
    dialect?: DialectName;
    /** Amount of new noise per step, for solvers that support it (DDIM: 0 deterministic, 1 as DDPM). Default: the model's or the solver's. */
    eta?: number;
    rng?: RngName;
    /** Parameters of single solvers, passed through by name (`s_churn`, `order`, `disable_corrector` ...). */
    extra?: Record<string, number | string | boolean | readonly number[]>;
}

/** Name of a schedule: the noise levels of the steps. `pipe.info.schedules` lists them all. */
export declare type ScheduleName = (typeof scheduleNames)[number] | (string & {});

/** Without `custom`, which is a Float32Array instead of a name. */
declare const scheduleNames: readonly ["normal", "karras", "exponential", "polyexponential", "sgm_uniform", "simple", "ddim_uniform", "beta", "ays", "ays_sdxl", "kl_optimal", "linear_quadratic", "vp", "legacy_ddpm", "turbo", "leading", "trailing", "linspace", "quad", "lu_lambdas"];

export declare interface SearchOptions {
    /** Aborts the search. */
    signal?: AbortSignal;
}

/** Conditioning of a semantic synthesis model. */
export declare interface SemanticCondition extends ConditionBase {
    /** Number of labels; values of the label map are below this. */
    labels: number;
}

/** generate() of a semantic synthesis model. The label map sets the size. */
export declare interface SemanticGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, SemanticInputs {
}

/** Inputs of semantic synthesis models. */
export declare interface SemanticInputs {
    /** A label below `info.condition.labels` for every pixel. Sets the size of the image; sides must be multiples of `info.sizeMultiple`. Never resized. */
    semanticMap: SemanticMapInput;
}

/** A label map: numbers, a greyscale or palette PNG (path, URL or bytes; its grey values or palette indices are the labels) or a greyscale image. */
export declare type SemanticMapInput = LabelMap | RawImage | string | URL | Uint8Array;

export declare interface SemanticResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    semanticMap: SemanticMapInput;
}

/** Sets a function that receives log messages of the engine, or `null` for none. The engine never prints. Errors thrown by the logger are ignored. */
export declare function setLogger(logger: Logger | null): void;

/**
 * SDXL's size conditioning, in pixels: sides from 1, margins from 0, up to 1048576. The model was trained on scaled and cropped images of many sizes, and was given those sizes and crops; these values select which
 * of them the result resembles.
 */
export declare interface SizeConditioning {
    /** Size of the training image before scaling and cropping; small sizes give coarse images. Default: `target`. */
    original?: {
        width: number;
        height: number;
    };
    /** What was cropped off; other values than the default give cropped subjects. Default: nothing. */
    crop?: {
        top: number;
        left: number;
    };
    /** Base models: size after cropping. Default: the size of the image that is drawn. A base model with a refiner takes its scores, too. */
    target?: {
        width: number;
        height: number;
    };
    /** Refiners: aesthetic score of the image (default 6) and of what guidance compares with (default 2.5), 0 to 100. */
    aestheticScore?: number;
    negativeAestheticScore?: number;
}

/**
 * A solver without a network, to use with `pipe.predict()`. It works on another thread. For evaluation i = 0, 1, 2 ...:
 * `input = await scaleInput(x, i)`, evaluate the network at `evaluations[i].timestep`, `await step(output, x, i)`. Text
 * to image starts from unit noise times `initNoiseSigma`.
 */
export declare class Solver {
    #private;
    private constructor();
    /** Timestep of every evaluation. */
    get timesteps(): readonly number[];
    /** Noise levels of the steps and the final one, descending; 4096 stands for the infinite level of zero terminal SNR. */
    get sigmas(): readonly number[];
    get initNoiseSigma(): number;
    get evaluations(): readonly Evaluation[];
    /** True for `dpm_adaptive`, whose number of evaluations depends on the network's outputs: the lists grow with every `step()` until the run ends. */
    get adaptive(): boolean;
    /**
     * The network's input for evaluation i, as a new array or new latents; `x` is not changed.
     * @param noise noise that `s_churn` adds before the evaluation, instead of the solver's own generator; pass the same
     * to `step()`
     */
    scaleInput<T extends Float32Array | Latents>(x: T, i: number, noise?: Float32Array | Latents): Promise<T>;
    /**
     * Advances `x`, which must be the one passed to `scaleInput()`, by one evaluation in place, and returns it.
     * Evaluations run in order, each once.
     * @param modelOutput the network's raw output, after guidance; same length as `x`
     * @param noise standard normal numbers instead of the solver's own generator, for solvers that draw noise
     */
    step<T extends Float32Array | Latents>(modelOutput: Float32Array | Latents, x: T, i: number, noise?: Float32Array | Latents): Promise<T>;
}

/** Options of {@link createSolver}: the sampling options, and the facts about training that a model would provide. */
export declare interface SolverOptions extends Omit<SamplingOptions, EvaluationOption> {
    sampler: NonNullable<SamplingOptions['sampler']>;
    /** `pipe.info.spec`: gives `prediction` and the noise schedule. */
    spec?: Pick<ModelSpec, 'prediction' | 'schedule'>;
    /**
     * The type of the model output passed to `step()`. Default: that of `spec`, else `eps`. `edm` needs a sampler in sigma
     * space (`euler`, `dpmpp_2m` ...); its noise levels are those of `noiseSchedule.edm`.
     */
    prediction?: Prediction;
    /** Training betas, or their named form. Default: those of `spec`, else Stable Diffusion's. */
    betas?: Float32Array | readonly number[];
    noiseSchedule?: Partial<NoiseScheduleSpec>;
    /** Image to image: start at this step of the schedule. Default 0. */
    startStep?: number;
    /** Image to image: share of the schedule to run, instead of `startStep`. */
    strength?: number;
    /** Part of the training time to run, 0 to 1 from the noise end, as in {@link SampleOptions}. */
    denoisingStart?: number;
    denoisingEnd?: number;
}

/** Bytes of working memory and floating point operations of one call of a network. */
export declare interface StageEstimate {
    bytes: number;
    flops: number;
}

/** Resident bytes while one stage runs. */
export declare interface StageMemory {
    /** Weights of the running part, and what the other parts keep in memory. */
    weights: number;
    /** Bytes of the running part's weights that are not kept, but read from the mapped file in every evaluation, because of `memory.maxBytes`. Usually 0. */
    streamed: number;
    /** Activations and scratch, for the plan of this memory mode and limit: one batch or two, whole, in bands or in tiles. */
    compute: number;
    /** Latents, images and their copies, and features kept by `deepCache`. */
    pictures: number;
    /** The sum of weights, compute and pictures. */
    peak: number;
}

/** Condition of a super-resolution model. */
export declare interface SuperresCondition extends ConditionBase {
    /** How many times wider and higher the image gets. */
    factor: number;
    /** SD x4 upscaler: highest `noiseLevel`, and the default. */
    maxNoiseLevel?: number;
    noiseLevel?: number;
}

/** generate() of a super-resolution model. The image sets the size. Prompt options only for models that read text (the SD x4 upscaler). */
export declare interface SuperresGenerateOptions extends CommonGenerateOptions, SuperresInputs, NegativePromptOptions {
}

/** Inputs of super-resolution models. */
export declare interface SuperresInputs extends TextInputs {
    /** The small image, of any size. */
    image: ImageInput;
    /** SD x4 upscaler: how much noise the small image gets, 0 to `info.condition.maxNoiseLevel`. Default 20. More noise leaves more to the model. */
    noiseLevel?: number;
}

/** Prompts only for models that read text. */
export declare interface SuperresResolvedOptions extends ResolvedCommon, Partial<ResolvedPrompts> {
    image: ImageInput;
    noiseLevel?: number;
}

/**
 * Tensors of a file, from {@link openTensors}. Iterating it gives their descriptions in the order of the file. All methods throw `ERR_DISPOSED` after
 * `dispose()`.
 */
export declare class TensorFile implements Disposable, Iterable<TensorInfo> {
    #private;
    /** The path of the file. */
    readonly path: string;
    /** Number of tensors. */
    get size(): number;
    /** Names in the order of the file. */
    get names(): string[];
    /** Metadata of the file: safetensors' `__metadata__`, GGUF's keys, plain values next to the weights of a torch checkpoint. Long lists are omitted. */
    get metadata(): Record<string, unknown>;
    has(name: string): boolean;
    /** The description of a tensor; undefined if there is none with that name. */
    get(name: string): TensorInfo | undefined;
    [Symbol.iterator](): IterableIterator<TensorInfo>;
    /** The values of one tensor. Throws RangeError for an unknown name, ERR_MODEL_FORMAT if the type can be read only as bytes. */
    read(name: string, options: ReadTensorOptions & {
        as: 'float32';
    }): Promise<Float32Array>;
    read(name: string, options: ReadTensorOptions & {
        as: 'bytes';
    }): Promise<Uint8Array>;
    read(name: string, options?: ReadTensorOptions): Promise<TensorValues>;
    /** Closes the file; a running read fails. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}

/** One tensor of a {@link TensorFile}, as the header of the file describes it. */
export declare interface TensorInfo {
    readonly name: string;
    readonly type: TensorType;
    /** Outermost size first, as torch prints it; empty for a scalar. */
    readonly shape: readonly number[];
    /** Product of the shape. */
    readonly elements: number;
    /** Of the contiguous tensor in its own type. */
    readonly bytes: number;
    /** Whether its elements can be read as numbers; if not, only as bytes. */
    readonly readable: boolean;
}

/** Element types of stored tensors. The types from `q4_0` on are ggml's blocks; any other text names a type that cannot be read as numbers. */
export declare type TensorType = 'f32' | 'f16' | 'bf16' | 'f64' | 'f8_e4m3' | 'f8_e5m2' | 'f8_e8m0' | 'f4_e2m1' | 'i64' | 'i32' | 'i16' | 'i8' | 'u64' | 'u32' | 'u16' | 'u8' | 'bool' | 'q4_0' | 'q4_1' | 'q5_0' | 'q5_1' | 'q8_0' | 'q2_k' | 'q3_k' | 'q4_k' | 'q5_k' | 'q6_k' | (string & {});

/** Numbers of a tensor, row-major. */
export declare type TensorValues = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** generate() of a text model. */
export declare interface TextGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, TextInputs, NegativePromptOptions, RefinerOptions {
}

/** Inputs of text models. */
export declare interface TextInputs {
    /** What to draw, in A1111's syntax: `(word:1.2)`, `[word]`, `BREAK`; any length. Default: the empty prompt. */
    prompt?: string;
    /** Default `original`. */
    emphasis?: Emphasis;
    /** Layers of a CLIP text encoder to skip, A1111's counting: 1 uses the last layer, 2 the last but one. Default: the model's own. */
    clipSkip?: number;
    /** SDXL only, see `info.condition.sizes`. */
    sizes?: SizeConditioning;
}

/** `refinerSwitchAt` is absent without a refiner. */
export declare interface TextResolvedOptions extends ResolvedCommon, ResolvedImageToImage, ResolvedPrompts, RefinerOptions {
}

/**
 * Milliseconds spent in each phase. Calls that run together ({@link HostOptions.maxBatch}) share the time of sampling, and of loading weights in it: these are the
 * same for all of them, not a part for each, which {@link ownTimings} gives.
 */
export declare interface Timings {
    loadMs: number;
    encodeMs: number;
    sampleMs: number;
    decodeMs: number;
    /** The number of calls that ran together, this one included; 1: it ran alone. */
    sharedBy: number;
}

/** A prompt given as token ids: windows of the encoder's length (77), start and end tokens included. A multiple of 77 ids makes several windows. */
export declare interface TokenIds {
    tokenIds: readonly number[];
}

/** A prompt as the text encoder will see it. */
declare interface Tokenized {
    /** One per window of the encoder: ids with start and end token, a weight and the text of each. */
    chunks: PromptChunk[];
    /** True if part of the prompt did not fit. */
    truncated: boolean;
}

/** generate() of an unconditional model. */
export declare interface UnconditionalGenerateOptions extends CommonGenerateOptions, ImageToImageOptions {
}

export declare interface UnconditionalResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
}

/** A valid file of an unsupported kind (`ERR_UNSUPPORTED_MODEL`). */
export declare class UnsupportedModelError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** upscale(): like generate(), without the image. */
export declare type UpscaleOptions = Omit<SuperresGenerateOptions, 'image'>;

/** How the result of the first pass is enlarged: `latent...` in latent space (fast; needs a strength of 0.5 and more), the others as images. */
export declare type UpscalerName = (typeof upscalerNames)[number];

/** How the second pass of `hires` is enlarged: latents, or images. */
declare const upscalerNames: readonly ["latent", "latent_bicubic", "latent_nearest", "latent_nearest_exact", "lanczos", "bicubic", "nearest"];

/** A verified file. */
export declare interface VerifiedFile {
    source: string;
    commit: string;
    file: string;
    /** `unknown`: the expected hash is not known. */
    state: 'ok' | 'damaged' | 'missing' | 'unknown';
    bytes: number;
}

/** Hashes the files of a model in the cache again, or of every model, without contacting a server. */
export declare function verifyModels(source?: string | URL | readonly (string | URL)[], options?: VerifyOptions): Promise<VerifiedFile[]>;

/** Options of {@link verifyModels}. */
export declare interface VerifyOptions extends CacheOptions, CallOptions {
    /** Delete damaged files, so that the next {@link pullModel} downloads them again. Default false. */
    remove?: boolean;
    /** Called with the bytes read so far, and the total. */
    onProgress?: (bytes: number, totalBytes: number) => unknown;
}

/** Versions and abilities of the engine. */
export declare interface Versions {
    /** Of this package's engine. */
    version: string;
    ggml: string;
    cpu: {
        brand: string;
        features: string[];
        cores: number;
    };
    /** Kinds of devices whose library is known: the CPU, GPUs named in the environment, and those that this process has prepared. Nothing is loaded for it. */
    backends: string[];
}

/** How weights are held in memory or written to a file. The `q*` types are ggml's block formats. */
export declare type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k' | 'q5_k' | 'q5_0' | 'q4_k' | 'q4_0';

/**
 * Writes a database that {@link RetrievalDatabase.load} reads. The file is written atomically.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for rows that do not fit together, DiffusionError `ERR_IO` if the file cannot be written
 */
export declare function writeRetrievalDatabase(file: string, rows: RetrievalRows): Promise<void>;

export { }
