/// <reference lib="esnext.disposable" />

declare global {
    // Of lib.dom or @types/node, with which these merge; empty where a project has neither.
    interface AbortSignal {}
    interface URL {}
}

/**
 * Latent diffusion for Node.js: load a model, draw pictures, or take the stages and the loop into your own hands.
 *
 * @packageDocumentation
 */

/** Sampling options that always have a value once a call has finished. */
declare type AlwaysSettled = 'steps' | 'guidanceScale' | 'guidanceRescale' | 'sampler' | 'rng';

/** Options for a model whose kind is not known to the compiler. At run time only those of its kind are taken, and unknown names are rejected. */
export declare interface AnyGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, NegativePromptOptions, RefinerOptions, AnyInputs {
}

/** Inputs of a model whose kind is not known to the compiler. At run time only those of its kind are taken. */
export declare interface AnyInputs extends TextInputs, Partial<ClassInputs>, Partial<LayoutInputs>, Partial<SemanticInputs>, Partial<SuperresInputs>, Partial<InpaintInputs>, Partial<EditInputs>, Partial<RdmInputs> {
}

/** Resolved options of a model whose kind is not known to the compiler. */
export declare interface AnyResolvedOptions extends ResolvedCommon, ResolvedImageToImage, Partial<ResolvedPrompts>, RefinerOptions {
    classId?: number;
    boxes?: readonly LayoutBox[];
    semanticMap?: SemanticMapInput;
    mask?: MaskInput;
    noiseLevel?: number;
    neighbours?: Neighbours;
}

/**
 * A first stage alone: pictures to codes and back. Its latents are the raw codes, without the scale factor of a pipeline.
 * `Autoencoder.load()` for a file of its own (or that part of a whole model); `pipe.firstStage` for the one inside a pipeline.
 */
export declare class Autoencoder implements AsyncDisposable {
    #private;
    /** What was loaded. `regularization` says whether the codes are KL, VQ or a tiny autoencoder's. */
    readonly info: AutoencoderInfo;
    private constructor();
    /** Loads the first stage of a file or folder (without a source: of the model inside the package); everything else in it is left alone. */
    static load(source?: ModelSource, options?: PromptlessLoadOptions): Promise<Autoencoder>;
    /** Pictures to latents [n, channels, height / factor, width / factor], or with `output: 'codes'` (VQ) to numbers. Sides must be multiples of `info.downsampling`. */
    encode(image: ImageInput, options: AutoencoderEncodeOptions & {
        output: 'codes';
    }): Promise<Codes>;
    encode(image: ImageInput, options?: AutoencoderEncodeOptions & {
        output?: LatentOutput;
    }): Promise<Latents>;
    /** VQ: pictures to the numbers of their codebook entries, [n, height / factor, width / factor]: the same as `encode(image, { output: 'codes' })`. */
    codes(image: ImageInput, options?: CallOptions): Promise<Codes>;
    /**
     * Latents or (VQ) codes to 8-bit pictures, or with `output: 'float'` to planar [n, channels, height, width] numbers, not clamped. VQ latents become their nearest codes
     * first, unless `quantize` is false.
     */
    decode(from: Latents | Codes, options: DecodeOptions & {
        output: 'float';
    }): Promise<Float32Array>;
    decode(from: Latents | Codes, options?: DecodeOptions & {
        output?: 'image';
    }): Promise<RawImage[]>;
    /** Waits for running work and frees everything. The one inside a pipeline belongs to the pipeline: dispose of that. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/** Options of {@link Autoencoder.encode}. */
export declare interface AutoencoderEncodeOptions extends CallOptions {
    /**
     * KL: `sample` (default) draws from the posterior, `mean` takes its mean, `moments` gives mean and log-variance channels.
     * A tiny autoencoder (TAESD) has one result, `sample` and `mean` alike.
     * VQ: `prequant` (default; `sample` and `mean` are the same) is what the encoder gives before quantisation, `codes` the numbers of the nearest codebook entries.
     */
    output?: LatentOutput | 'codes';
    /** For `sample`. Default: random. */
    seed?: number | bigint;
    rng?: RngName;
}

/** What {@link Autoencoder.info} adds to a pipeline's: how the codes are kept in bounds. */
export declare type AutoencoderInfo = PipelineInfo & {
    /** `kl`: a Gaussian posterior close to a standard normal one. `vq`: entries of a codebook. `none`: a tiny autoencoder (TAESD), whose latents are the denoising network's. */
    regularization: 'kl' | 'vq' | 'none';
    /** Entries of the codebook, 0 where there is none. */
    codebookSize: number;
};

/** The native binary is missing or cannot be loaded here (`ERR_BINARY_NOT_FOUND`). `details.tried` lists the paths and what was wrong with each. */
export declare class BinaryNotFoundError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** A model in the cache. */
export declare interface CachedModel {
    /** What `load()` takes, e.g. `hf:owner/name`. */
    source: string;
    path: string;
    /** Bytes on disk, counted once. */
    bytes: number;
    /** Of them, pieces of downloads that were broken off. */
    incompleteBytes: number;
    revisions: CachedRevision[];
}

/** A revision of a model in the cache. */
export declare interface CachedRevision {
    commit: string;
    /** Branches and tags that pointed to it when it was fetched. */
    refs: string[];
    /** Folder of its files. */
    path: string;
    files: number;
    /** Bytes of its files. Revisions may share some. */
    bytes: number;
    /** When it was last added to. */
    modified: Date;
}

/** Options of {@link listModels}. */
export declare type CacheOptions = Pick<HubOptions, 'cacheDir'>;

/** Options that every long call takes. */
export declare interface CallOptions {
    /** Aborts the call while it is queued, between steps or inside one; the call rejects with `signal.reason`. */
    signal?: AbortSignal;
}

/** Condition of a class-conditional model. */
export declare interface ClassCondition extends ConditionBase {
    /** `classId` is below this. */
    classes: number;
    /** The null class, which guidance compares with, where the model has one (usually the number after the last class). Not a valid `classId`. */
    nullClass?: number;
}

/** generate() of a class-conditional model. */
export declare interface ClassGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, ClassInputs {
}

/** Inputs of class-conditional models. */
export declare interface ClassInputs {
    /** Number of the class, from 0, or its name (any of those that `info.classes` gives it). */
    classId: number | string;
}

export declare interface ClassResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    /** The number, also where a name was given. */
    classId: number;
}

/** A picture as numbers of codebook entries: one per latent pixel, row by row. */
export declare interface Codes {
    data: Int32Array;
    /** [n, height, width] */
    shape: readonly [number, number, number];
}

/** What generate() takes for every kind of model. */
export declare interface CommonGenerateOptions extends SamplingOptions, CallOptions {
    /** Pictures per call; picture i has the seed `seed + i`. Default 1. */
    count?: number;
    /** Start noise of unit variance in place of the seed's. */
    latents?: Latents;
    /**
     * Pixels, multiples of `info.sizeMultiple`; beyond the training size too. Default: the model's, or the size of the picture given: rounded down to such
     * multiples for image to image, as it is with a mask.
     */
    width?: number;
    height?: number;
    onProgress?: (progress: Progress) => unknown;
    preview?: PreviewOptions;
    /** Adapters of this call, in place of those of {@link DiffusionPipeline.setLoras}; `[]`: none. Those that the prompt names come on top. */
    loras?: readonly LoraOptions[];
}

/** What every condition says. */
export declare interface ConditionBase {
    /** Trained with an unconditional input, so that guidance works. */
    guidance: boolean;
    /**
     * The network is told the guidance scale (latent consistency models with a whole U-Net): one evaluation a step does for guidance, and nothing is guided away from, so
     * that negative prompts have no effect.
     */
    guidanceEmbedding?: true;
    /** Tokens per window of the encoder: 77 for CLIP, 92 for a layout. Absent where the model reads no tokens. */
    tokens?: number;
    /** Numbers of tokens are below this. Present where `tokens` is. */
    vocabulary?: number;
    /** Width of the sequence that the network attends to. Absent without cross-attention. */
    dim?: number;
    /** SDXL: which numbers `sizes` takes, those of base models or of refiners. Absent elsewhere. */
    sizes?: 'base' | 'refiner';
    /** SDXL base models: an empty negative prompt stands for zeros in place of its tokens. */
    zeroNegative?: true;
    /** Where a CLIP image tower is loaded: side of its pictures, width of its embeddings. */
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
    rdm: ConditionBase;
    autoencoder: ConditionBase;
}

/**
 * What steers a run, float32, held by the engine: tokens for cross-attention [1, tokens, dim], channels concatenated to the latents, a class of the network's own
 * table, a vector beside the timestep; each where the model has it.
 */
export declare class Conditioning implements Disposable {
    #private;
    /** Length of the sequence: 77 per chunk for CLIP, 1 for a class; 0 where the model has no cross-attention. */
    readonly tokens: number;
    /** Width of the embedding. */
    readonly dim: number;
    /** True where a part of the prompt did not fit and was cut off. */
    readonly truncated: boolean;
    /** [n, channels, height, width] of what is concatenated to the latents: label map, small picture, or masked picture and mask. Null where nothing is. */
    readonly concatShape: readonly [number, number, number, number] | null;
    /** Row of the network's own class table, undefined where there is none. */
    readonly classLabel: number | undefined;
    /** Numbers of the vector that is added to the embedding of the timestep (SDXL: pooled text and sizes); 0 where there is none. */
    readonly vectorDim: number;
    private constructor();
    /** [1, tokens, dim] */
    get shape(): readonly [1, number, number];
    /** Copies an array of finite numbers into a new conditioning. `shape`: [1, tokens, dim] or [tokens, dim]. Without tokens both are null, and `concat` is needed. */
    static from(data: Float32Array | null, shape: readonly number[] | null, extras?: ConditioningExtras): Promise<Conditioning>;
    /** The tokens, row-major, in a new array or in `into` (of exactly the right length); empty where there are none. */
    read(into?: Float32Array): Promise<Float32Array>;
    /** The concatenated channels, row-major; empty where there are none. */
    readConcat(into?: Float32Array): Promise<Float32Array>;
    /** The vector; empty where there is none. */
    readVector(into?: Float32Array): Promise<Float32Array>;
    /** Frees the numbers. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}

/** What {@link Conditioning.from} takes beside the tokens. */
export declare interface ConditioningExtras {
    /** Channels that are concatenated to the latents, [n, channels, height, width]; n 1 for all pictures, or one each. Copied. */
    concat?: Latents;
    /** Row of the network's own class table: the noise level of the SD x4 upscaler. */
    classLabel?: number;
    /** Finite numbers that the network adds to the embedding of the timestep: SDXL's pooled text and sizes. Copied. */
    vector?: Float32Array;
}

/**
 * Writes a model as one GGUF file: tensors in the given type, the model's spec, tokenizer and metadata, so that the file is enough by itself.
 * Streams, and renames a temporary file at the end: an aborted or failed conversion leaves nothing behind.
 */
export declare function convert(source: ModelSource, destination: string | URL, options: ConvertOptions): Promise<ConvertReport>;

/** Options of {@link convert}. */
export declare interface ConvertOptions extends Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal'> {
    /** Weight type of the matrices and convolutions. Small tensors (norms, biases) stay in float. */
    type: WeightType;
    /** Other types for single tensors: pattern over canonical tensor names (`*` stands for anything) to type; the first match wins. */
    overrides?: Record<string, WeightType> | readonly (readonly [pattern: string, type: WeightType])[];
    /** Texts to store in the file (`general.license`, `general.author` ...). */
    metadata?: Record<string, string>;
    /** Adapters that are written into the weights, in this order; they are then part of the model. */
    loras?: readonly LoraOptions[];
    onProgress?: (progress: Progress) => unknown;
}

/** What {@link convert} wrote. */
export declare interface ConvertReport {
    destination: string;
    tensors: number;
    bytes: number;
    /** What of each adapter fits the model. */
    loras: LoraReport[];
    [detail: string]: unknown;
}

/**
 * The cosine of the angle between two embeddings of one space, -1 to 1: how well a text fits a picture, or how alike two pictures are. Lengths do not matter. CLIP's
 * logits are this times its `logit_scale` (100 in OpenAI's models).
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for what is no Float32Array of finite numbers, for arrays that differ in length and for one of zeros
 */
export declare function cosineSimilarity(a: Float32Array, b: Float32Array): number;

/**
 * Makes a host: an engine in a process of its own (or a thread), with a queue, that survives crashes of native code. Nothing is started before the first job.
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

/** Standard normal numbers, exactly those of `torch.randn`: `philox` as on CUDA, `mt19937` as on the CPU. They are drawn on another thread. */
export declare function createNoise(options: NoiseOptions): Promise<Float32Array>;

/** The first numbers that a generator gives after seeding, exactly those of torch; `createNoise()` gives normal ones. */
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

/** Makes a solver. Unknown names of samplers and schedules are refused with the known ones listed. */
export declare function createSolver(options: SolverOptions): Solver;

/** Options of {@link DiffusionPipeline.decode}. */
export declare interface DecodeOptions extends CallOptions {
    /** `image` (default): 8-bit pictures. `float`: planar [n, channels, height, width], not clamped. */
    output?: 'image' | 'float';
    /** VQ first stages: latents become their nearest codes first, as the reference decodes. Default true. */
    quantize?: boolean;
}

/** DeepCache ("DeepCache: Accelerating Diffusion Models for Free", arXiv 2312.00858): deep features of one evaluation serve the next ones too. Pictures change. */
export declare interface DeepCacheOptions {
    /** The whole network runs at every `interval`-th evaluation, 2 to 1000; in between only its outer blocks. */
    interval: number;
    /** Which skip connection the short evaluations go through: 0, the outermost and cheapest (default), inwards up to the number of levels times (blocks per level + 1) less 2. */
    branch?: number;
}

/** A device that networks can run on. */
export declare interface Device {
    /** What `device:` takes: `cpu`, `cuda:0` ... */
    id: string;
    /** Backend: `cpu`, `cuda`, `metal`, `vulkan`. */
    type: string;
    /** Human name, e.g. the CPU's brand. */
    name: string;
    /** Bytes; 0 when the backend does not say. */
    memoryTotal: number;
    memoryFree: number;
    /** Why the device cannot be used; absent where it can. */
    refused?: string;
    /** Of the CPU: instruction sets by name. */
    kernels?: Kernels;
    [detail: string]: unknown;
}

/** A missing device, a failed backend, or a processor below what the binary needs (`ERR_DEVICE`). */
export declare class DeviceError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** Where the networks run: a backend's name, optionally with the number of one of its devices (`cuda:1`). `auto` takes the best one present. */
export declare type DeviceSpec = 'auto' | 'cpu' | 'cuda' | 'metal' | 'vulkan' | `cuda:${number}` | `metal:${number}` | `vulkan:${number}`;

/**
 * The reference implementation that a sampler follows: `k` k-diffusion and the web UIs, `comfy` ComfyUI, `diffusers`, `compvis` the latent diffusion repository, `sgm` generative-models. Not every
 * sampler has every one.
 */
export declare type DialectName = 'k' | 'comfy' | 'diffusers' | 'compvis' | 'sgm';

/** Base class of this package's errors. `code` is stable and meant for programs, `message` for people, `details` holds the numbers and names behind the message. */
export declare class DiffusionError extends Error {
    name: string;
    readonly code: DiffusionErrorCode;
    readonly details: Readonly<Record<string, unknown>>;
    constructor(code: DiffusionErrorCode, message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** Codes of {@link DiffusionError}. */
export declare type DiffusionErrorCode = 'ERR_MODEL_FORMAT' | 'ERR_UNSUPPORTED_MODEL' | 'ERR_OUT_OF_MEMORY' | 'ERR_DEVICE' | 'ERR_IO' | 'ERR_ABORTED' | 'ERR_DISPOSED' | 'ERR_BUSY' | 'ERR_BINARY_NOT_FOUND' | 'ERR_DOWNLOAD' | 'ERR_ENGINE_EXITED' | 'ERR_INTERNAL' | (string & {});

/**
 * An engine in a process of its own, with a queue. Made by {@link createDiffusionHost}.
 *
 * Jobs run one after another, in the order in which they were made. When native code crashes, or the system ends the process for want of memory, the job that ran is
 * rejected with {@link EngineExitedError}, an engine is started again and goes on with the jobs that wait. The engine is started by the first job, keeps the program
 * running while it has work, and ends with it.
 */
export declare class DiffusionHost implements AsyncDisposable {
    #private;
    on<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this;
    once<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this;
    off<E extends keyof HostEvents>(event: E, listener: (...args: HostEvents[E]) => void): this;
    get status(): HostStatus;
    /** The models by name, and whether they are in memory. */
    models(): {
        name: string;
        loaded: boolean;
    }[];
    /** Adds a model that jobs may name from now on. A model of that name makes room for it; jobs that were made already keep theirs. */
    addModel(name: string, model: string | URL | HostedModel): Promise<void>;
    /** Unloads a model, and takes it out of those that jobs may name. The last one stays. */
    removeModel(name: string): Promise<void>;
    /**
     * Makes pictures, as {@link DiffusionPipeline.generate} does, when it is the job's turn.
     * @throws TypeError where an option cannot leave this process, RangeError for an unknown model, DiffusionError `ERR_BUSY` where `maxQueue` jobs wait, DisposedError after
     * `close()`. What the engine finds wrong with options rejects the job
     */
    generate(options?: HostGenerateOptions): DiffusionJob;
    /** Loads a model ahead of its first job. @returns its description, as `pipeline.info` */
    load(name?: string, options?: HostLoadOptions): Promise<PipelineInfo>;
    /** What `load()` would say of a model, from the headers of its files: no weights are read. */
    describe(name?: string, options?: CallOptions): Promise<PipelineInfo>;
    /** What a picture would cost with a model of this host: {@link estimateMemory} in the engine's process. No weights are read. */
    estimate(name?: string, request?: Pick<EstimateRequest, 'width' | 'height' | 'guidanceScale' | 'imageGuidanceScale' | 'count' | 'deepCache' | 'signal'>): Promise<MemoryEstimate>;
    /** A prompt as the model's text encoder will see it. The model is loaded for it; once it is, the answer does not wait for jobs. */
    tokenize(prompt: string, options?: CallOptions & {
        model?: string;
    }): ReturnType<DiffusionPipeline['tokenize']>;
    /** Frees a model; the next job for it loads it again. */
    unload(name?: string): Promise<void>;
    /** What a model holds in the engine's process; undefined where it is not loaded. */
    memoryUsage(name?: string): Promise<MemoryUsage | undefined>;
    /** Rejects the jobs that wait or run with DisposedError, gives the engine two seconds to end, and ends it. Idempotent. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A call of {@link DiffusionHost.generate}. `await job` gives what {@link DiffusionPipeline.generate} gives; `for await (const event of job)` tells how it goes, ends
 * with the job and throws its error. Events that are not taken in time are left out, but for the newest of each type and phase.
 */
export declare class DiffusionJob implements PromiseLike<GenerateResult>, AsyncIterable<JobEvent> {
    #private;
    /** Jobs are made by {@link DiffusionHost.generate}. */
    private constructor();
    get state(): JobState;
    /** Ends the job wherever it is, waiting or inside a step; it is rejected with `reason` at once. Default: an AbortError, as of an AbortSignal. */
    cancel(reason?: unknown): void;
    then<A = GenerateResult, B = never>(onResult?: ((result: GenerateResult) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B>;
    catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<GenerateResult | B>;
    finally(action?: (() => void) | null): Promise<GenerateResult>;
    [Symbol.asyncIterator](): AsyncGenerator<JobEvent, void, void>;
}

/** A loaded pipeline of one kind, or (without a kind) of any: a union over the kinds that `kind`, `is()` and {@link LoadOptions.kind} narrow. */
export declare type DiffusionPipeline<K extends ModelKind = ModelKind> = {
    [P in K]: PipelineOf<P>;
}[K];

export declare const DiffusionPipeline: typeof PipelineOf;

/** Use of an object after its `dispose()`, or after that of the pipeline it came from (`ERR_DISPOSED`). */
export declare class DisposedError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

export declare interface DownloadDetails {
    /** The model as it was named, e.g. `hf:owner/name`. */
    source?: string;
    /** Path of the file inside the repository. */
    file?: string;
    /** HTTP status. */
    status?: number;
    /** Without query, which may hold signatures. */
    url?: string;
    /** Seconds after which the server wants to be asked again. */
    retryAfter?: number;
    [detail: string]: unknown;
}

/** A model that could not be fetched, or files of it that are not what they should be (`ERR_DOWNLOAD`). */
export declare class DownloadError extends DiffusionError {
    name: string;
    readonly reason: DownloadReason;
    /** True where the same call may succeed later: what has arrived is kept. */
    readonly retriable: boolean;
    readonly details: Readonly<DownloadDetails>;
    constructor(reason: DownloadReason, message: string, details?: DownloadDetails, options?: ErrorOptions & {
        retriable?: boolean;
    });
}

/** Why a download failed, for programs: {@link DownloadError.reason}. */
export declare type DownloadReason = 
/** Files are missing and downloads are switched off. */
'offline'
/** No such repository, revision, version or file, or a private one. */
| 'not_found'
/** A token is missing, wrong or without the right to read. */
| 'unauthorized'
/** The licence has to be accepted, or access to be bought, on the model's page. */
| 'gated' | 'rate_limited' | 'network'
/** No answer, or a body that stopped. */
| 'timeout'
/** An answer that is not what the hub's interface promises: sizes that differ, web pages, redirects in circles, unsafe names. */
| 'bad_answer'
/** Bytes that have not the hash that the hub publishes. */
| 'integrity' | 'disk_space'
/** Nothing, or more than one thing, that the loader could read. */
| 'choice'
/** A pickle file where none was asked for. */
| 'pickle';

/** generate() of a model that edits a picture. The picture sets the size; {@link SamplingOptions.imageGuidanceScale} says how close the result stays to it. */
export declare interface EditGenerateOptions extends CommonGenerateOptions, EditInputs, NegativePromptOptions {
}

/** Inputs of models that edit a picture (InstructPix2Pix). */
export declare interface EditInputs extends TextInputs {
    /** The picture to edit, of any size. The prompt says what to change: `turn the sky into a sunset`. */
    image: ImageInput;
}

export declare interface EditResolvedOptions extends ResolvedCommon, ResolvedPrompts {
    image: ImageInput;
}

/** A textual inversion: a word that stands for vectors of its own. docs/adapters.md. */
export declare interface EmbeddingOptions {
    /** A file (.pt, .bin, .safetensors) of the web UI or diffusers, for SDXL with `clip_l` and `clip_g`: its path, a `file:` URL, or a name of a hub. */
    path: string | URL;
    /** The word in prompts. Default: the file's name without its extension, and the name inside of it where there is one. */
    name?: string;
}

/** How emphasis acts on the embedding: as A1111, keeping the mean (`original`) or not (`no_norm`), or as ComfyUI. */
export declare type Emphasis = 'original' | 'no_norm' | 'comfy';

/** Options of {@link DiffusionPipeline.encodeCondition}. */
export declare interface EncodeConditionOptions extends CallOptions {
    /** What guidance compares with, in place of the inputs: the empty prompt, the null class, zeros in place of embeddings; pictures stay. Default false. */
    unconditional?: boolean;
    /** Prompts: pad with empty chunks to at least this many, so that two prompts get the same length. */
    minChunks?: number;
    /** SD x4 upscaler: seed of the noise that the small picture gets. Default: random. */
    seed?: number | bigint;
    rng?: RngName;
}

/** Options of {@link DiffusionPipeline.encodeImage}. */
export declare interface EncodeImageOptions extends CallOptions {
    /**
     * `sample` (default) draws from the posterior, `mean` takes its mean; both times the scale factor, and the same for VQ first stages. Raw: `moments` (KL), mean and
     * log-variance channels; `prequant` (VQ), before quantisation.
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
    /** Pad with empty chunks to at least this many, so that two prompts get the same length. */
    minChunks?: number;
}

/**
 * The engine's process or thread ended while it had a job (`ERR_ENGINE_EXITED`): a crash of native code, a kill, too little memory. `details` has `exitCode`, `signal`
 * and the end of what it wrote to stderr. See {@link DiffusionHost}.
 */
export declare class EngineExitedError extends DiffusionError {
    name: string;
    /** True where the same job may succeed on the engine that is started next; false where none can be started. */
    readonly retriable: boolean;
    constructor(message: string, details: Readonly<Record<string, unknown>> & {
        retriable: boolean;
    }, options?: ErrorOptions);
}

declare type EngineState = 'idle' | 'starting' | 'ready' | 'closed';

/**
 * Peak bytes per stage for a picture of the given size, before anything is loaded. Without a source: for the model inside the package. Throws
 * OutOfMemoryError, with the plans that would fit, where `memory.maxBytes` is too small for it.
 */
export declare function estimateMemory(source?: ModelSource, request?: EstimateRequest): Promise<MemoryEstimate>;

/** What {@link estimateMemory} is asked for. */
export declare interface EstimateRequest extends LoadOptions {
    /** Pixels. Default: the model's. */
    width?: number;
    height?: number;
    /** 1 halves the batch of the network (with `imageGuidanceScale: 1`, where it has one). Default: the model's. */
    guidanceScale?: number;
    /** Models that edit a picture. Default: the model's. */
    imageGuidanceScale?: number;
    /** Pictures per call. Default 1. */
    count?: number;
    /** That of `generate()`: features are kept for every picture. */
    deepCache?: DeepCacheOptions;
    /** That of `generate()`. Previews of method `vae` are decoded beside all that a run keeps: latents, and the features of `deepCache`. */
    preview?: Partial<PreviewOptions>;
    /** That of `generate()`: bytes and products of adapters are counted. Their files are read. */
    loras?: readonly LoraOptions[];
}

/** One evaluation of the network in a run. */
export declare interface Evaluation {
    /** The network's input beside the latents. */
    timestep: number;
    /** Noise level at that point. */
    sigma: number;
    /** The step it belongs to; solvers of second order make two per step. */
    step: number;
}

/** Sampling options of a model, which a solver on its own does not take. */
export declare type EvaluationOption = 'preset' | 'guidanceScale' | 'imageGuidanceScale' | 'guidanceRescale' | 'guidanceInterval' | 'deepCache';

/** A picture without loss: planar float32, [n, channels, height, width], -1 to 1. */
export declare interface FloatImage {
    data: Float32Array;
    shape: readonly number[];
}

/** Writes the text. Known keys go to the web UI's places, others before `Version` in the order given. */
export declare function formatInfotext(prompt: string, negativePrompt: string, fields: Readonly<Record<string, InfotextValue>>): string;

/** What a search found: other fields do not matter here. */
export declare interface FoundNeighbour {
    embedding: Float32Array;
}

/** `pipe.info.defaults` */
export declare interface GenerateDefaults {
    width: number;
    height: number;
    steps: number;
    sampler: SamplerName;
    /** Absent: the sampler's own, see `defaultSchedules`. */
    schedule?: ScheduleName;
    guidanceScale: number;
    /** Models that edit a picture (kind `edit`); absent elsewhere. */
    imageGuidanceScale?: number;
    /** Absent: `spec.eta` with the model's own sampler, else the sampler's own. */
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
    rdm: RdmGenerateOptions;
    autoencoder: never;
}

/** Result of {@link DiffusionPipeline.generate}. */
export declare interface GenerateResult<O = AnyResolvedOptions> {
    /** `save()` writes the settings into the PNG as A1111 does. */
    images: RawImage[];
    /** Seed of the first picture. */
    seed: bigint;
    /** Passing them again repeats the call. */
    options: O;
    timings: Timings;
    /**
     * Parts that were computed in float32 because fast arithmetic gave numbers that are not finite; usually none. Such a part stays in float32 for as
     * long as the model is loaded. Where float32 does not help either, the call is rejected with {@link ModelFormatError}, which names the part.
     */
    float32Parts: ModelPart[];
    /** The adapters that the pictures were made with. */
    loras: LoraReport[];
    /** What was done but may not be what you meant; usually none. */
    warnings: GenerateWarning[];
}

/** Something that was done but may not be what you meant. `code` is stable and meant for programs, `message` for people. */
export declare interface GenerateWarning {
    /**
     * `WARN_MASK_EMPTY`: the mask selects nothing. `WARN_MASK_FULL`: it selects everything. `WARN_ADAPTER_IGNORED`: a prompt names an adapter (`<lora:name:1>`) that was not
     * applied. `WARN_ADAPTER_PARTIAL`: a part of an adapter's file belongs to no layer of this model, or has a form that is not applied.
     * `WARN_NEGATIVE_IGNORED`: a negative prompt for a network that is told the guidance scale, which compares with nothing.
     */
    code: 'WARN_MASK_EMPTY' | 'WARN_MASK_FULL' | 'WARN_ADAPTER_IGNORED' | 'WARN_ADAPTER_PARTIAL' | 'WARN_NEGATIVE_IGNORED' | (string & {});
    message: string;
}

/**
 * The devices that this machine and the loaded binary have, those that cannot be used with the reason (`refused`); the CPU is always among them. GPUs are there
 * where their engine is installed (see docs/gpu.md); a child process tries it first, once, which takes a second or two.
 */
export declare function getDevices(): Promise<Device[]>;

/** What the loaded engine is. */
export declare function getVersions(): Versions;

/** A model of a host: where it comes from, and how it is loaded. */
export declare interface HostedModel extends Omit<LoadOptions, 'signal' | 'onProgress' | 'kind'> {
    /** Default: the small model that travels inside the package. */
    source?: ModelSource;
}

/** Events of a {@link DiffusionHost}. */
export declare interface HostEvents {
    /** The engine was lost in the middle of its work. The job that ran is rejected with the same error. */
    crash: [error: EngineExitedError];
    status: [status: HostStatus];
}

/** Options of {@link DiffusionHost.generate}: those of {@link DiffusionPipeline.generate}, but for native latents, which do not leave their process. */
export declare interface HostGenerateOptions extends Omit<AnyGenerateOptions, 'latents' | 'preview'> {
    /** One of the host's models. Default: the first. */
    model?: string;
    /** Previews come as events of the job; `onPreview` is called too where there is one. */
    preview?: Omit<PreviewOptions, 'onPreview'> & Partial<Pick<PreviewOptions, 'onPreview'>>;
}

/** Options of {@link DiffusionHost.load}. */
export declare interface HostLoadOptions extends CallOptions {
    onProgress?: (progress: Progress) => unknown;
}

/** Options of {@link createDiffusionHost}. */
export declare interface HostOptions {
    /**
     * Where the engine runs. `process` (default): in a child process, so that a crash of native code ends that alone. `thread`: in a worker thread, which frees the event
     * loop of what little work it had; a crash ends the whole process. `none`: in this thread.
     */
    isolate?: 'process' | 'thread' | 'none';
    /** The models that jobs may name; the first is the default. Default: the model inside the package, as `default`. */
    models?: Readonly<Record<string, string | URL | HostedModel>>;
    /** Models in memory at a time; the one used least recently makes room. Default 1. */
    maxModels?: number;
    /** Jobs that may wait; further ones are refused (`ERR_BUSY`). Default 100. */
    maxQueue?: number;
    /** Milliseconds without a job after which the engine is ended, and with it all its memory; the next job starts one. 0 (default): never. */
    idleMs?: number;
    /** After a crash, the jobs that wait are done by a new engine (`restart`, default) or rejected like the one that ran (`reject`). */
    onCrash?: 'restart' | 'reject';
    /** Flags of Node for the process. Default: those of this process, but a debugger's. */
    execArgv?: readonly string[];
}

/** What a host is doing. */
export declare interface HostStatus {
    /** `idle`: no engine runs; the next job starts one. */
    state: EngineState;
    /** Of the engine. */
    pid: number | undefined;
    /** A job is running. */
    running: boolean;
    /** Jobs that wait. */
    queued: number;
    /** Engines that were started in place of lost ones. */
    restarts: number;
}

/** How `hf:` and `civitai:` models are found, fetched and kept. Everything has a default from the environment variables that other tools know. */
export declare interface HubOptions {
    /** Folder of the cache, laid out as Python's `huggingface_hub` does. Default: HF_HUB_CACHE, HF_HOME/hub, or ~/.cache/huggingface/hub; for `civitai:` LATENT_CACHE, or ~/.cache/node-latent-diffusion. */
    cacheDir?: string | URL;
    /** Read what is in the cache and ask no server. Default: HF_HUB_OFFLINE. */
    localFilesOnly?: boolean;
    /** Weights of a diffusers folder to take where there are several, e.g. `fp16`. Default: the plain ones. */
    variant?: string;
    /** The hub, or a mirror of it. Default: HF_ENDPOINT, or the public hub. */
    endpoint?: string | URL;
    /** Access token of the hub, sent to `endpoint` alone; `false`: none. Default: HF_TOKEN, or the one that `hf auth login` stored. */
    token?: string | false;
    /** Default: CIVITAI_ENDPOINT, or the public site. */
    civitaiEndpoint?: string | URL;
    /** Token of Civitai, sent to `civitaiEndpoint` alone; `false`: none. Default: CIVITAI_TOKEN. */
    civitaiToken?: string | false;
    /** Take pickle files (.ckpt, .pt) of `civitai:` models, too. They are read as data and nothing in them is executed. Default false. */
    allowPickle?: boolean;
    /** A file of pinned revisions (`latent.lock.json`): models in it are taken at the commit that stands there, others are added. Default: none. */
    lockFile?: string | URL;
    /** Milliseconds without an answer, or without a byte, after which a connection is given up and tried again. Default: HF_HUB_DOWNLOAD_TIMEOUT (seconds), or 30 s. */
    timeout?: number;
    /** In place of Node's own, e.g. for a proxy. */
    fetch?: (url: string, init: never) => Promise<object>;
}

/**
 * CLIP's image encoder on its own, to build retrieval databases and to search them by pictures: `ViT-L/14` for the public retrieval-augmented model.
 * Inside a pipeline: `pipe.embedImage()`.
 */
export declare class ImageEncoder implements AsyncDisposable {
    #private;
    private constructor();
    /**
     * Loads the image tower of a CLIP file or folder (OpenAI's names or Hugging Face's); its text tower is left alone.
     * @throws UnsupportedModelError for a file without one
     */
    static load(source: string | URL, options?: Omit<PromptlessLoadOptions, 'kind'>): Promise<ImageEncoder>;
    /** Width of an embedding: 768 for ViT-L/14. */
    get dim(): number;
    /** The embedding of a picture, [dim], as CLIP gives it (its length is not 1). The picture is resized as a whole to the encoder's square. */
    embed(image: ImageInput, options?: CallOptions): Promise<Float32Array>;
    /** Waits for running work and frees everything. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/** Formats that {@link RawImage.encode} writes. JPEG and WebP need the optional peer `sharp`. */
export declare type ImageFormat = 'png' | 'jpeg' | 'webp';

/** What every image option takes: a picture, a path or URL, the bytes of a PNG (JPEG and WebP with the optional peer `sharp`), or exact floats. */
export declare type ImageInput = RawImage | string | URL | Uint8Array | FloatImage;

/** Image to image. */
export declare interface ImageToImageOptions {
    /** Start picture. */
    image?: ImageInput;
    /** Share of the schedule that is run, up to 1 (only the noise counts); at least one step must be left of it. Default 0.75. */
    strength?: number;
    /**
     * Areas of `image` to repaint: white, from half lightness (0.5) on. As large as the picture. Black areas are returned unchanged, and the result has the size of the
     * picture, even where that is not a multiple of what the model needs. With another `width` or `height`, picture and mask are resized first. Default: the whole picture.
     */
    mask?: MaskInput;
}

/** A "parameters" text, taken apart. */
export declare interface Infotext {
    prompt: string;
    negativePrompt: string;
    /** Values as text, in the order of the file. */
    fields: Record<string, string>;
}

/** Samplers and schedules in the web UI's words, for the "parameters" text. */
/** What can stand behind a key; null and undefined are left out, true and false are written as the web UI's language does. */
export declare type InfotextValue = string | number | bigint | boolean | null | undefined;

/** generate() of an inpainting model. The picture sets the size. Prompt options only where the model reads text (Stable Diffusion inpainting). */
export declare interface InpaintGenerateOptions extends CommonGenerateOptions, InpaintInputs, NegativePromptOptions {
}

/** Inputs of inpainting models. */
export declare interface InpaintInputs extends TextInputs {
    /** The picture, of any size. */
    image: ImageInput;
    /** Areas to repaint: white, from half lightness (0.5) on. As large as the picture. Black areas are returned unchanged, byte for byte. */
    mask: MaskInput;
}

/** Prompts only where the model reads text. */
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
    rdm: RdmInputs;
    autoencoder: never;
}

/** Says what a model is and what is in its files, from headers alone: no weights are read. Without a source: the model inside the package. */
export declare function inspect(source?: ModelSource, options?: InspectOptions): Promise<ModelInfo>;

/** Options of {@link inspect}. */
export declare type InspectOptions = Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'variant' | 'hub' | 'signal' | 'onProgress'>;

/** What a {@link DiffusionJob} tells while it waits and runs. */
export declare type JobEvent = 
/** It waits; `position` jobs are before it. */
    {
    type: 'queued';
    position: number;
}
/** The engine has it. */
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

/** The instruction sets that the engine's kernels use on this processor, and those that it could use. */
export declare interface Kernels {
    /** `fused` kernels, or the `portable` operations of ggml where LATENT_OPS forces them. */
    operations: 'fused' | 'portable';
    /** Of products in float32 (`precision: 'exact'`, text encoders). */
    float32: string;
    /** Of products in `precision: 'fast'`. */
    fast: string;
    /** Of products in 8-bit integers. */
    int8: string;
    /** Of norms and what is done value by value. */
    rows: string;
    /** What this processor has and LATENT_KERNELS may name, the least first. */
    available: {
        float: {
            name: string;
            format: 'f32' | 'bf16';
        }[];
        int8: string[];
    };
}

/** The kind of a pipeline's type. */
declare type KindOf<T extends {
    readonly kind: ModelKind;
}> = T['kind'];

/** A label per pixel, row by row. */
export declare interface LabelMap {
    data: Uint8Array | Uint16Array | Int32Array;
    width: number;
    height: number;
}

/** Forms in which an encoder's result is handed out as latents. */
export declare type LatentOutput = 'sample' | 'mean' | 'moments' | 'prequant';

/**
 * A latent tensor [n, channels, height, width], float32, held by the engine. Latents of a pipeline are already multiplied by its scale factor.
 * Numbers are copied on another thread, so all methods but `dispose()` give promises; they reject with `ERR_DISPOSED` after `dispose()`, and after the owning pipeline's
 * `dispose()`.
 */
export declare class Latents implements Disposable {
    #private;
    /** [n, channels, height, width] */
    readonly shape: readonly [number, number, number, number];
    /** Where the numbers are: `cpu` or a device. */
    readonly location: string;
    private constructor();
    /** Copies an array of finite numbers into new latents. `shape`: [n, channels, height, width], whose product is `data.length`. */
    static from(data: Float32Array, shape: readonly number[]): Promise<Latents>;
    /** The numbers, row-major, in a new array or in `into` (of exactly the right length). */
    read(into?: Float32Array): Promise<Float32Array>;
    /** Replaces the numbers by those of `from` (of exactly the right length, all finite). */
    write(from: Float32Array): Promise<void>;
    /** An independent copy. */
    clone(): Promise<Latents>;
    /** Frees the numbers. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}

/** One object of a layout. */
export declare interface LayoutBox {
    /** Category: its number, from 0, or its name. */
    label: number | string;
    /** Upper left corner and size, in fractions of the picture (0 to 1). */
    x: number;
    y: number;
    width: number;
    height: number;
    /** The box spans a group of objects. This and the rest are attributes of the Open Images annotations; default false. */
    groupOf?: boolean;
    /** Something stands in front of the object. */
    occluded?: boolean;
    /** A drawing or model of the object. */
    depiction?: boolean;
    /** The picture is taken from inside of the object. */
    inside?: boolean;
}

/** Condition of a layout-to-image model. */
export declare interface LayoutCondition extends ConditionBase {
    /** Numbers of categories are below this. */
    classes: number;
    /** Most boxes in a layout. */
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

/** The models in the cache. */
export declare function listModels(options?: CacheOptions): Promise<CachedModel[]>;

/** Options of {@link DiffusionPipeline.load}. */
export declare interface LoadOptions extends CallOptions {
    /** The kind of model that is expected: the pipeline has that type, and another kind is refused (`ERR_UNSUPPORTED_MODEL`). Default: any. */
    kind?: ModelKind;
    /** Default `auto`. */
    device?: DeviceSpec;
    /**
     * Weight type in memory, for all parts or by part. Default: as stored. A block type (`q8_0` ...) for all parts leaves the first stage in
     * f16 and text and image encoders in q8_0, as {@link convert} does; name the part to have it otherwise.
     *
     * `int8` also chooses the arithmetic: signed bytes with a scale per output channel, multiplied in 8-bit integers. On processors with such
     * instructions (VNNI) it is the fastest, for a small cost in quality (docs/performance.md). For all parts it means the U-Net alone; only `unet`
     * and `vae` take it by name. Layers that it would hurt keep what they have, as everything does on devices other than the CPU.
     */
    dtype?: WeightType | 'int8' | {
        [part in ModelPart]?: WeightType | (part extends 'unet' | 'vae' ? 'int8' : never);
    };
    /** `exact` computes in float32 throughout and ignores `dtype`; `fast` (default) uses 16-bit arithmetic where the machine has it, and 8-bit where `dtype` says so. */
    precision?: 'exact' | 'fast';
    /** How much memory may be used. Default `auto`. */
    memory?: 'auto' | 'fast' | 'low' | MemoryOptions;
    /** Threads of the CPU. Default: the physical cores, within the container's CPU quota. */
    threads?: number;
    /** Use the EMA weights of a training checkpoint, or (`false`) the raw ones. Default: as the model's configuration says. A file without all of the EMA weights it should read is refused. */
    ema?: boolean;
    /**
     * Which weights of a diffusers folder are read: `fp16` for `model.fp16.safetensors`, `non_ema` ... A part that lacks the variant takes what it takes by default: the
     * plain file, else `fp16`, else `bf16`, else the only variant there.
     */
    variant?: string;
    /** Called while files are fetched and weights are read. An error thrown here rejects the call. */
    onProgress?: (progress: Progress) => unknown;
    /** The reference's own configuration: path of a CompVis/Stability .yaml, or its parsed object. Default: the .yaml beside the checkpoint, if there is one. */
    config?: string | URL | object;
    /** Single fields over what configuration and detection gave. */
    spec?: ModelSpecOverrides;
    /** Where `hf:` and `civitai:` models are fetched from and kept. */
    hub?: HubOptions;
    /** Folder in which `<lora:name:1>` in a prompt finds its file, subfolders included. Without it such marks are left out, with a warning. */
    loraDirectory?: string | URL;
    /** Textual inversions that prompts may name. */
    embeddings?: readonly (string | URL | EmbeddingOptions)[];
    /** Folder of further ones; files in it that are none for this model are passed over. */
    embeddingDirectory?: string | URL;
}

export declare type Logger = (level: LogLevel, message: string) => void;

/** Progress and decisions of the engine, for {@link setLogger}. */
export declare type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** An adapter (a LoRA or one of its relatives) and its strengths. docs/adapters.md. */
export declare interface LoraOptions {
    /** A file (.safetensors, .gguf, .pt, .bin) or a folder of PEFT or diffusers: its path, a `file:` URL, or a name of a hub (`hf:owner/name/file`, `civitai:VERSION`). */
    path: string | URL;
    /** Of the U-Net; negative ones are allowed, 0 leaves it as it is. Default 1. */
    weight?: number;
    /** Of the text encoders. Default: `weight`. */
    textWeight?: number;
}

/** What became of an adapter's file. */
export declare interface LoraReport {
    path: string;
    /** Name of the file. */
    name: string;
    /** Layers of the model that it changes, by their canonical names. */
    matched: string[];
    /** Names in the file that belong to no layer of this model. */
    unmatched: string[];
    /** Names in the file that are known and not applied, some with the form that they have. */
    skipped: string[];
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

/** What a mask may be given as: numbers, or a picture whose lightness counts (transparency is ignored). */
export declare type MaskInput = MaskData | RawImage | string | URL | Uint8Array;

/** Measures the arithmetic peak of the processor: what the speed of a network can be held against. */
export declare function measurePeak(options?: PeakOptions): Promise<Peak[]>;

/** What a picture will cost, known before a weight is read. */
export declare interface MemoryEstimate {
    width: number;
    height: number;
    /** Bytes of the weights by part; `mapped` of them stay in the file's mapping. */
    weights: Record<string, {
        bytes: number;
        mapped: number;
    }>;
    textEncoder?: StageEstimate;
    /** Class embedder or spatial rescaler. */
    conditioner?: StageEstimate;
    /** CLIP's image tower, where one is loaded. */
    imageEncoder?: StageEstimate;
    unet?: StageEstimate;
    /** The refiner's U-Net, where one is loaded; its text encoder counts as `textEncoder`. */
    refiner?: StageEstimate;
    encode?: StageEstimate;
    decode?: StageEstimate;
    /** Bytes by stage, in the memory mode and under the bound that was asked for. */
    stages: Partial<Record<'textEncoder' | 'conditioner' | 'imageEncoder' | 'unet' | 'refiner' | 'preview' | 'encode' | 'decode', StageMemory>>;
    /** The largest stage of a picture that does not start from another one, in bytes. */
    peakBytes: number;
    /** The same with `memory: 'low'`. */
    lowPeakBytes: number;
    /** What the process itself holds besides: its resident size now, and room for the tokenizer and the encoder of pictures. */
    processBytes: number;
}

/** The long form of {@link LoadOptions.memory}. */
export declare interface MemoryOptions {
    mode?: 'auto' | 'fast' | 'low';
    /** Upper bound in bytes for weights and working memory. */
    maxBytes?: number;
    /** Decode in overlapping tiles: always, never, or (default) when the memory plan says so. */
    vaeTiling?: boolean | {
        tileSize?: number;
    };
    /** Super-resolution: side of the tiles that larger pictures are made in, in latent pixels. Default 128. */
    tileSize?: number;
}

/** Options that a picture would fit in memory with, as planned by the engine ({@link OutOfMemoryError}). */
export declare interface MemoryPlan {
    /** Pixels. */
    width: number;
    height: number;
    /** `memory`, or `memory.mode` beside a bound, when the model is loaded. */
    memory: 'auto' | 'fast' | 'low';
    /** `dtype` when the model is loaded; absent: as it was. */
    dtype?: WeightType;
    /** 1, where guidance would have to go; absent: as it was. */
    guidanceScale?: number;
    /** 1, with `guidanceScale`, where the model edits a picture. */
    imageGuidanceScale?: number;
    /** Bytes of the highest stage, weights included. */
    peakBytes: number;
}

/** Bytes held by a pipeline, and the process's peak. */
export declare interface MemoryUsage {
    parts: Partial<Record<ModelPart, number>>;
    /** Graphs, latents and scratch. */
    compute: number;
    total: number;
    /** Highest resident size of the whole process so far. */
    processPeak: number;
}

/** A model given as several files. Each is a path, or a name on a hub; `model` may hold everything that the others do not replace. */
export declare interface ModelFiles {
    /** Checkpoint file or diffusers folder. */
    model?: string | URL;
    /** U-Net weights (file or folder) that replace those of `model`. */
    unet?: string | URL;
    /** Text encoder weights (file or folder). For retrieval-augmented models: CLIP with its text projection, to read prompts. */
    textEncoder?: string | URL;
    /** CLIP with its image tower (file or folder), to search retrieval databases by pictures: {@link DiffusionPipeline.embedImage}. */
    imageEncoder?: string | URL;
    /** First stage weights (file or folder); also a tiny autoencoder (TAESD), whose encoder and decoder are files of one name beside each other, taesd_encoder and taesd_decoder. */
    vae?: string | URL;
    /** A tiny autoencoder (TAESD), for previews with `method: 'taesd'`: the file of its decoder, or diffusers' folder. */
    previewVae?: string | URL;
    /**
     * A second text to image model of the same family that takes over from the first within a run: SDXL's refiner, or another one with the same latents (file or folder; of a
     * single file the .yaml beside it counts). {@link RefinerOptions.refinerSwitchAt} says when. Adapters and `spec` are the first model's.
     */
    refiner?: string | URL;
    /** Folder with tokenizer.json, vocab.json and merges.txt (CLIP) or vocab.txt (BERT); or the tokenizer.json or vocab.txt itself. */
    tokenizer?: string | URL;
}

/** A file that is broken, truncated, unsafe or not a model (`ERR_MODEL_FORMAT`). */
export declare class ModelFormatError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** Header-level description of a model, from {@link inspect}. */
export declare interface ModelInfo {
    /** Where it was read from. */
    source: string;
    spec: ModelSpec;
    [detail: string]: unknown;
}

/**
 * What a model makes pictures from: `text` prompts (Stable Diffusion, LDM text to image), a `class` (ImageNet), nothing (`unconditional`: faces, churches), boxes
 * (`layout`), a label map (`semantic`), a small picture (`superres`), a picture and a mask (`inpaint`), a picture and an instruction (`edit`), a prompt and its neighbours in a database (`rdm`).
 * `autoencoder` is a first stage alone.
 */
export declare type ModelKind = 'text' | 'class' | 'unconditional' | 'layout' | 'semantic' | 'superres' | 'inpaint' | 'edit' | 'rdm' | 'autoencoder';

/** Part of a model that `dtype`, `memory.keep` and reports speak of. */
export declare type ModelPart = 'unet' | 'textEncoder' | 'conditioner' | 'imageEncoder' | 'vae';

/**
 * Where a model comes from: a single file (.safetensors, .gguf, .ckpt, .pt, .pth, .bin), a diffusers folder, a `file:` URL, several parts;
 * `hf:owner/name[@revision][/file][:tag]` on the Hugging Face hub or `civitai:VERSION`, or their addresses, which are fetched where the cache does not have them
 * ({@link pullModel}, docs/downloads.md).
 */
export declare type ModelSource = string | URL | ModelFiles;

/** Everything that a model's weights do not say about themselves. Every field can be overridden with `LoadOptions.spec`. */
export declare interface ModelSpec {
    kind: ModelKind;
    /** Human name of the nearest known model. */
    name: string;
    /** `sd1`, `sd2`, `ldm`, `autoencoder` ... */
    family: string;
    /** Naming of the tensors in the file: `compvis`, `diffusers`, or `gguf` for a file that {@link convert} wrote. */
    naming: string;
    conditioningKey: string;
    prediction: Prediction;
    schedule: NoiseScheduleSpec;
    /** Latents are first stage codes times this. */
    scaleFactor: number;
    /** Training size in pixels. */
    imageSize: number;
    useEma: boolean;
    unet: Record<string, unknown> | null;
    firstStage: Record<string, unknown> | null;
    conditioners: Record<string, unknown>[];
    sampler: string;
    steps: number;
    guidanceScale: number;
    eta: number;
    /** Linear previews: [latent channels + 1, 3] numbers, what each channel adds to red, green and blue, then the bias. Empty: those of the family. */
    previewFactors: number[];
}

/** A partial ModelSpec, nested objects included. */
export declare type ModelSpecOverrides = {
    [K in keyof ModelSpec]?: ModelSpec[K] extends unknown[] ? ModelSpec[K] : NonNullable<ModelSpec[K]> extends object ? Partial<NonNullable<ModelSpec[K]>> : ModelSpec[K];
};

/** Models whose classes, categories or labels have names. */
declare interface Named {
    /** Names by number: what `classId`, the `label` of a box or a value of the label map may be called. Empty where the list is not known; numbers work all the same. */
    classes: readonly string[];
}

/** Guidance by a second prompt. */
export declare interface NegativePromptOptions {
    /** What should not be in the picture. Default: the empty prompt. */
    negativePrompt?: string;
}

/** A row of the database that a search found. */
export declare interface Neighbour {
    /** Number of the row, counted through all files. */
    index: number;
    /** Cosine of the angle to the query, -1 to 1. */
    score: number;
    /** [dim], of length 1. */
    embedding: Float32Array;
    /** The picture it comes from, where the database says so (`img_id`). */
    imageId?: string | number;
    /** The part of that picture, as the database writes it (`patch_coords`). */
    patch?: readonly number[];
}

/** What a search needs of a database: a {@link RetrievalDatabase}, or another that can do the same. */
export declare interface NeighbourDatabase {
    /** Width of an embedding. */
    readonly dim: number;
    /** The signal is that of the call which searches. */
    search(query: Float32Array, k: number, options?: {
        signal?: AbortSignal;
    }): Promise<readonly FoundNeighbour[]>;
}

/** One embedding per neighbour (or what a search found), or a search. Their order does not matter; they are normalised before use. */
export declare type Neighbours = readonly (Float32Array | FoundNeighbour)[] | NeighbourSearch;

/** A search in a database. */
export declare interface NeighbourSearch {
    database: NeighbourDatabase;
    /** How many. Default 10, as the reference's script; the public model was trained with up to 20. */
    k?: number;
    /** CLIP embedding to search with. Default: the prompt's. */
    query?: Float32Array;
}

/** Inputs of models that are conditioned on nothing. */
export declare type NoInputs = Record<never, never>;

/** Options of {@link createNoise}. */
export declare interface NoiseOptions extends CallOptions {
    seed: number | bigint;
    /** For instance [1, 4, 64, 64]. */
    shape: readonly number[];
    /** Default `philox`. */
    rng?: RngName;
    /** Which draw of the generator, from 0: the n-th call of `randn` after seeding. */
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
    /** Explicit table, in place of the named form. */
    betas?: number[];
}

/**
 * Opens a safetensors or GGUF file, a torch checkpoint (.ckpt, .pt, .pth, .bin), an index of shards (.index.json), or a folder that holds one of them, and gives its
 * tensors by name. Reads the header alone; `dispose()` closes the file. Names are those of the file, without torch's wrappers (`state_dict`, `params_ema`, `module.`).
 * Throws ERR_IO and ERR_MODEL_FORMAT for files that are not there, or broken.
 */
export declare function openTensors(file: string | URL, options?: OpenTensorsOptions): Promise<TensorFile>;

/** Options of {@link openTensors}. */
export declare interface OpenTensorsOptions extends CallOptions {
    /** Of a folder's weights, e.g. `fp16`. Default: the plain file, else `fp16`, `bf16` or the only one there. */
    variant?: string;
}

/** What one kind of operation took while profiling. */
export declare interface OperationTime {
    /** The operation and its sizes, e.g. `conv 3x3 320>640 32x32 bf16`. */
    operation: string;
    calls: number;
    /** Of all calls. */
    ms: number;
    /** Of the fastest call: what remains on a busy machine. */
    fastestMs: number;
    /** Work of all calls, 2 per multiply-add; 0 where an operation has none to speak of. */
    gflop: number;
}

/** What a method takes: left out where every option of it may be. */
declare type OptionArguments<O> = Record<never, never> extends O ? [options?: O] : [options: O];

/**
 * Memory that could not be had, or would not fit the bound the caller set (`ERR_OUT_OF_MEMORY`). Where loading, `estimateMemory()`, `generate()`,
 * `sample()`, `predict()`, `decode()`, `encodeImage()` or codes are refused, it names what fits: a single call needs its own stage only.
 */
export declare class OutOfMemoryError extends DiffusionError {
    name: string;
    /** Bytes that what was refused needs, where known. */
    readonly required: number | undefined;
    /** Bytes that there are, or that the bound allows. */
    readonly available: number | undefined;
    /** The first of `plans`. */
    readonly nearest: MemoryPlan | undefined;
    /**
     * What fits: `memory: 'low'`, which makes the same picture; the largest size of the same shape; a smaller weight type; no guidance; several of them where one is
     * not enough. Empty where nothing fits, or nothing was looked for.
     */
    readonly plans: readonly MemoryPlan[];
    /** Where nothing fits: what takes the fewest bytes. */
    readonly least: MemoryPlan | undefined;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/**
 * Reads the text as the web UI does: what is no parameter line belongs to the prompt. A line of fewer than 3 or more than 1000 fields is none.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for what is no text, or one of more than 262144 characters
 */
export declare function parseInfotext(text: string): Infotext;

/** What a number format reaches on this processor when nothing but multiply-adds is done. */
export declare interface Peak {
    /** `f32`, `bf16`, `int8` ... */
    format: string;
    /** The instruction set used. */
    instructions: string;
    gflops: number;
}

/** Options of {@link measurePeak}. */
export declare interface PeakOptions extends CallOptions {
    /** Default: the physical cores, within the container's CPU quota. */
    threads?: number;
    /** Length of each measurement. Default 0.3. */
    seconds?: number;
}

/** What a loaded pipeline is: a union over the kinds, told apart by `kind`. */
export declare type PipelineInfo<K extends ModelKind = ModelKind> = {
    [P in K]: PipelineInfoByKind[P];
}[K];

/** What every loaded model says of itself. */
export declare interface PipelineInfoBase<K extends ModelKind> {
    /** What the model makes pictures from. Comparing it narrows `info`; comparing `pipe.kind` narrows the pipeline as well. */
    kind: K;
    /** What the model is conditioned on. */
    condition: ConditionByKind[K];
    /** Human name of the nearest known model. */
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
    /** The refiner that was loaded beside the model; its weights are not among the above. Absent: none. */
    refiner?: Pick<PipelineInfoBase<'text'>, 'name' | 'parameters' | 'dtypes' | 'effectiveBits'>;
    /** What `generate()` uses where an option is left out. */
    defaults: GenerateDefaults;
    samplers: SamplerName[];
    schedules: ScheduleName[];
    /** The schedule of each sampler where none is named. */
    defaultSchedules: Record<SamplerName, ScheduleName>;
    /** Human names of samplers and schedules: `dpmpp_2m` is `DPM++ 2M`. */
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
    rdm: PipelineInfoBase<'rdm'>;
    autoencoder: PipelineInfoBase<'autoencoder'>;
}

/**
 * A loaded model. Made by {@link DiffusionPipeline.load}; freed by `dispose()` or `await using`.
 *
 * Calls on one device run one after another, in the order in which they were made (a call that still has to read a picture, a long prompt or, the first time, the tokenizer joins when it has); any number may wait. Every long call takes an AbortSignal, which works while
 * the call waits, between steps and inside a step, and makes it reject with `signal.reason`; the pipeline stays usable. An error thrown by a callback rejects
 * the call with that error. After `dispose()` every call fails with `ERR_DISPOSED`. All arrays that are handed out belong to the caller.
 */
declare class PipelineOf<K extends ModelKind> implements AsyncDisposable {
    #private;
    /** What was loaded: kind, condition, spec, parameters and weight types by part, defaults, samplers. */
    readonly info: PipelineInfo<K>;
    private constructor();
    /**
     * Loads a model: a single file (.safetensors, .gguf, .ckpt, .pt, .bin), a diffusers folder, parts, or the name of a model on a hub (`hf:owner/name`), which is fetched where it is not here.
     * Without a source it is the small trained model that travels inside the package. With `kind` the pipeline has that type, and a model of another kind is refused.
     * @throws ModelFormatError for a broken file, UnsupportedModelError for a sound one of another kind, OutOfMemoryError, DeviceError
     */
    static load<K extends ModelKind>(source: ModelSource | undefined, options: LoadOptions & {
        kind: K;
    }): Promise<DiffusionPipeline<K>>;
    static load(source?: ModelSource, options?: LoadOptions): Promise<DiffusionPipeline>;
    /**
     * What the model makes pictures from. Comparing it narrows the pipeline to its kind: in `if (pipe.kind === 'class')`, `generate()` takes `classId` and the
     * compiler refuses `boxes`.
     */
    get kind(): K;
    /** Whether the model is of one of these kinds; as a comparison of `kind`, it narrows the pipeline. */
    is<W extends ModelKind>(...kinds: W[]): this is DiffusionPipeline<W>;
    /** The device that the networks run on. */
    get device(): Device;
    /** The model's first stage (pictures to codes and back), sharing this pipeline's weights. */
    get firstStage(): Autoencoder;
    /**
     * Makes pictures of what this kind of model is conditioned on: a prompt, a class, boxes, a label map, a picture (and a mask), neighbours, or nothing; most kinds also
     * start from a picture (`image` with `strength`). Options that are left out are the model's; the result lists them all.
     * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for options that are unknown, not of this kind of model, of the wrong type or out of range
     */
    generate<T extends DiffusionPipeline>(this: T, ...options: OptionArguments<GenerateOptions<KindOf<T>>>): Promise<GenerateResult<ResolvedOptions<KindOf<T>>>>;
    /**
     * The adapters (LoRA and its relatives) of every call from now on that names none itself, in place of those before; `[]`: none. The model is not loaded again: low
     * ranks are computed beside its weights, of whatever type they are. Steps of a running `sample()` have them from the next one on; a `Conditioning` stays what it
     * was encoded as.
     * @returns what of each file fits this model, by name
     * @throws ModelFormatError for a broken file or ranks that do not fit together, UnsupportedModelError for an adapter of another kind of model, OutOfMemoryError, DeviceError;
     * then nothing has changed
     */
    setLoras(loras: readonly LoraOptions[], options?: CallOptions): Promise<LoraReport[]>;
    /** Super-resolution: `generate({ image, ...options })`. The result is `info.condition.factor` (4) times as wide and as high; large pictures are made in overlapping tiles. */
    upscale<T extends DiffusionPipeline>(this: 'superres' extends KindOf<T> ? T : never, image: ImageInput, options?: UpscaleOptions): Promise<GenerateResult<SuperresResolvedOptions>>;
    /** What the text encoder will see of a prompt: windows of 77 ids with a weight and a text each. Retrieval-augmented models read one window of plain text. */
    tokenize(prompt: string): Promise<Tokenized>;
    /** Runs the text encoder on a prompt, or on token ids as they are. Retrieval-augmented models take one embedding of a prompt: that of `encodeCondition()`. */
    encodePrompt<T extends DiffusionPipeline>(this: KindOf<T> extends 'rdm' ? never : T, prompt: string | TokenIds, options?: EncodePromptOptions): Promise<Conditioning>;
    /**
     * Runs the conditioners of any kind of model on its inputs (those of `generate()`, without image to image): what `sample()` and `predict()` are steered by.
     * `unconditional: true` gives what guidance compares with.
     */
    encodeCondition<T extends DiffusionPipeline>(this: T, inputs: Inputs<KindOf<T>>, options?: EncodeConditionOptions): Promise<Conditioning>;
    /**
     * The paper's training objective (Eq. 1 to 3) as a measurement: the mean squared error of the network's prediction for a picture with its condition, noised to each
     * of some timesteps. The picture is not resized; sides are multiples of `info.sizeMultiple`.
     */
    loss<T extends DiffusionPipeline>(this: T, image: ImageInput, inputs: Inputs<KindOf<T>>, options?: LossOptions): Promise<LossResult>;
    /** Runs the first stage's encoder. Sides must be multiples of `info.downsampling`. The latents are times the scale factor (`moments`: raw). */
    encodeImage(image: ImageInput, options?: EncodeImageOptions): Promise<Latents>;
    /**
     * A picture's CLIP embedding [dim], by the `imageEncoder` of the model source: a neighbour, or what to search a retrieval database with.
     * The picture is resized as a whole to the encoder's square, as the reference does.
     */
    embedImage(image: ImageInput, options?: CallOptions): Promise<Float32Array>;
    /**
     * A text's CLIP embedding [dim], not normalised (transformers' `text_embeds`): the last layer at the end of the text, through the text projection. It lies in the space of
     * `embedImage()` of the same CLIP; {@link cosineSimilarity} compares the two. The text is taken as it is, without emphasis, and cut at the encoder's window of 77 tokens;
     * `{ tokenIds }` are one window with its start and end. A CLIP file or folder is a model source of its own; SDXL embeds with its second text encoder.
     * @throws UnsupportedModelError for a model without CLIP's text encoder or without its projection, as Stable Diffusion 1 and 2 come
     */
    embedText(prompt: string | TokenIds, options?: CallOptions): Promise<Float32Array>;
    /** Start noise of unit variance for `sample()` and `generate({ latents })`. Drawn on a thread of its own: it does not wait for pictures. */
    createLatents(options?: CreateLatentsOptions): Promise<Latents>;
    /**
     * The sampling loop, step by step: `for await (const { latents } of pipe.sample({ conditioning, unconditional }))`. The latents are the live state.
     * Leaving the loop ends the run; the generator's return value is the latents after the last step.
     */
    sample(options: SampleOptions): AsyncGenerator<SampleStep, Latents, void>;
    /** One evaluation of the network: its raw output (`info.spec.prediction` says of what kind) for latents at a timestep. */
    predict(latents: Latents, options: PredictOptions): Promise<Latents>;
    /** Runs the first stage's decoder: 8-bit pictures, or with `output: 'float'` planar [n, channels, height, width] numbers, not clamped. */
    decode(latents: Latents, options: DecodeOptions & {
        output: 'float';
    }): Promise<Float32Array>;
    decode(latents: Latents, options?: DecodeOptions & {
        output?: 'image';
    }): Promise<RawImage[]>;
    /** Bytes held now, by part, and the process's peak. */
    memoryUsage(): MemoryUsage;
    /**
     * Runs `action` and tells what each operation of the networks took meanwhile, the most expensive first. CPU only; what other pipelines do on the same device
     * counts too.
     */
    profile(action: () => Promise<unknown>): Promise<OperationTime[]>;
    /** Frees weights and graphs; the next call loads them again. */
    unload(options?: CallOptions): Promise<void>;
    /** Waits for waiting and running calls, then frees everything. Calls made after it fail with `ERR_DISPOSED`. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

/** What the network was trained to predict. */
export declare type Prediction = 'eps' | 'v' | 'sample';

/** Options of {@link DiffusionPipeline.predict}. */
export declare interface PredictOptions extends CallOptions {
    /** One for all rows or one per row; fractions allowed. */
    timestep: number | readonly number[];
    conditioning?: Conditioning;
    /** With a guidance scale other than 1: the guided combination is returned. */
    unconditional?: Conditioning;
    /** Default 1. */
    guidanceScale?: number;
    /** Models that edit a picture. Default 1. */
    imageGuidanceScale?: number;
    /** Extra input channels, in place of those of `conditioning`. */
    concat?: Latents;
}

/** What a preset fills in. */
export declare interface Preset extends Pick<SamplingOptions, 'sampler' | 'schedule' | 'timesteps' | 'steps' | 'guidanceScale' | 'eta' | 'extra'> {
    /** What the network must predict: told by no file. */
    prediction?: 'sample';
}

/**
 * Few-step models with settings of their own: SD- and SDXL-Turbo; SDXL-Lightning by its steps (`lightning-1` gives the clean latents: load it with `spec: { prediction: 'sample' }`);
 * Hyper-SD's LoRAs, its unified LoRA and its one-step SDXL U-Net; LCM, TCD and PCM LoRAs; DMD2 with four steps and one; SDXS.
 */
export declare type PresetName = 'turbo' | 'lightning-1' | 'lightning-2' | 'lightning-4' | 'lightning-8' | 'hyper-sd' | 'hyper-sd-unified' | 'hyper-sdxl-1' | 'lcm' | 'tcd' | 'dmd2' | 'dmd2-1' | 'pcm' | 'sdxs';

/** Each preset of {@link SamplingOptions.preset} with the options that it fills in. */
export declare const presets: Readonly<Record<PresetName, Preset>>;

/** Live pictures during sampling. */
export declare interface PreviewOptions {
    /** One preview every so many steps. Default 1. */
    every?: number;
    /**
     * `linear` (default): a small picture straight from the latents, nearly free. `taesd`: full size through the tiny autoencoder that was loaded as `previewVae` (or as `vae`). `vae`: the
     * real decoder, slow.
     */
    method?: 'linear' | 'taesd' | 'vae';
    /** An error thrown here, or a rejected promise, rejects the call. */
    onPreview: (image: RawImage, at: {
        step: number;
        steps: number;
        index: number;
    }) => unknown;
}

/** Progress of a long call. */
export declare interface Progress {
    /** `download`: files of a model are fetched; `step` counts bytes. */
    phase: 'download' | 'load' | 'encode' | 'sample' | 'decode' | 'convert';
    /** Finished units of this phase (bytes, steps, tiles). */
    step: number;
    /** Units in all, 0 when unknown. */
    steps: number;
    /** Milliseconds since the call began. */
    elapsedMs: number;
    /** Estimated milliseconds to the end of this phase, `null` while unknown. */
    etaMs: number | null;
}

/** One window of the text encoder. All three lists have the encoder's length, 77: start, up to 75 tokens, end, padding. */
declare interface PromptChunk {
    /** Below 0 where a vector of an embedding stands. */
    ids: number[];
    /** Weight of each token's embedding; 1 on start, end and padding. */
    weights: number[];
    /** The tokens as the vocabulary spells them (`cat</w>`). */
    text: string[];
}

/** Options of a load that reads no prompts: {@link Autoencoder.load}, {@link ImageEncoder.load}. */
export declare type PromptlessLoadOptions = Omit<LoadOptions, 'loraDirectory' | 'embeddings' | 'embeddingDirectory'>;

/** One file of a pulled model. */
export declare interface PulledFile {
    path: string;
    size: number;
    /** Of large files SHA-256, of small ones git's hash. */
    hash: string;
    /** False where it was here before. */
    fetched: boolean;
}

/**
 * Fetches a model into the cache: what the loader reads of `hf:owner/name[@revision][/path][:tag]` or `civitai:VERSION`, at the commit that the branch points to now.
 * Goes on where an earlier call was broken off, checks every hash, and accepts nothing that is not whole. Throws {@link DownloadError}; what has arrived is kept.
 */
export declare function pullModel(source: string | URL, options?: PullOptions): Promise<PullReport>;

/** Options of {@link pullModel}. */
export declare interface PullOptions extends HubOptions, CallOptions {
    /** What the files are for: a part of a model needs fewer of them. Default `model`. */
    part?: 'model' | 'unet' | 'textEncoder' | 'imageEncoder' | 'vae' | 'tokenizer';
    /** More files than the loader reads, by patterns over their paths (`*` within a folder, `**` across folders). */
    include?: readonly string[];
    /** Say what would be fetched, and fetch nothing. Default false. */
    dryRun?: boolean;
    /** Called a few times a second. An error thrown here rejects the call. */
    onProgress?: (progress: PullProgress) => unknown;
}

/** Progress of {@link pullModel}. */
export declare interface PullProgress {
    /** The file that moved last, by its path in the repository. */
    file: string;
    /** Bytes of that file that are here, and its size. */
    fileBytes: number;
    fileSize: number;
    /** Bytes of all files that are here, those from earlier included, and their sizes. */
    bytes: number;
    totalBytes: number;
    /** Of the last seconds. */
    bytesPerSecond: number;
    elapsedMs: number;
    /** `null` while unknown. */
    etaMs: number | null;
}

/** What {@link pullModel} fetched, or with `dryRun` would fetch. */
export declare interface PullReport {
    source: string;
    /** The commit that the files are of; of Civitai the version. */
    commit: string;
    /** Folder or file in the cache, for `load()`; absent with `dryRun`. */
    path?: string;
    licence?: string;
    /** Bytes of all files, and of those among them that were not here. */
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
    /** How many numbers, 1 to 2^18. */
    count: number;
    /** Default `mt19937`. `philox` has words alone: block i of four is that of the counter (0, 0, i, 0). */
    rng?: RngName;
    /** Of `integers`, default 0. */
    low?: number;
    /** Of `integers`, at most 2^31. */
    high?: number;
}

/** A picture: interleaved 8-bit pixels with the texts that belong to it. */
export declare class RawImage {
    /** Interleaved rows, top to bottom, width * height * channels bytes. */
    readonly data: Uint8Array;
    readonly width: number;
    readonly height: number;
    /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
    readonly channels: 1 | 3 | 4;
    /** Texts by keyword, as PNG files carry them; `parameters` holds the settings of a generated picture in A1111's words. */
    readonly metadata: Readonly<Record<string, string>>;
    /** Takes pixels as they are, without a copy. */
    constructor(image: RawImageData);
    /**
     * Reads a picture: a path or `file:` URL, the bytes of a file, or pixels. The kind is told by the content. PNG of any depth is read to 8 bits with its texts;
     * JPEG, WebP and others when the optional peer `sharp` is installed. Whatever the kind, the picture comes upright by its EXIF orientation, and in sRGB: the colours of
     * an ICC profile (for PNG: curves and a matrix; ones made of tables are not applied), and PNG's gamma and chromaticities, are converted.
     * @throws DiffusionError `ERR_IMAGE_FORMAT` for broken, unknown or too large pictures (16384 pixels a side, 64 million in all), `ERR_UNSUPPORTED_IMAGE` where
     * sharp is missing, `ERR_IO` where the file cannot be read
     */
    static read(input: RawImageInput | RawImage): Promise<RawImage>;
    /** The bytes of a picture file. Default format: PNG, with `metadata` as text chunks. */
    encode(format?: ImageFormat, options?: EncodeOptions): Promise<Uint8Array>;
    /**
     * Writes a file; its name ends in .png, .jpg, .jpeg or .webp. It appears whole or not at all: a temporary file beside it is renamed at the end. A symbolic link is
     * followed.
     * @throws DiffusionError `ERR_IO` where the file cannot be written
     */
    save(file: string | URL, options?: EncodeOptions): Promise<void>;
    /** A resized copy, as Pillow makes it. Default filter: Lanczos. */
    resize(width: number, height: number, options?: {
        filter?: ResizeFilter;
    }): Promise<RawImage>;
}

/** What a {@link RawImage} is made of; also what `sharp` and other libraries call raw pixels. */
export declare interface RawImageData {
    /** Interleaved 8-bit rows, top to bottom: width * height * channels bytes. */
    data: Uint8Array | Uint8ClampedArray;
    width: number;
    height: number;
    /** 1 grey, 3 RGB, 4 RGB with straight alpha. */
    channels: 1 | 3 | 4;
    /** Texts to be kept with the picture, by keyword. */
    metadata?: Readonly<Record<string, string>>;
}

/** What {@link RawImage.read} takes: a path or `file:` URL, the bytes of a picture file, or pixels. */
export declare type RawImageInput = string | URL | Uint8Array | RawImageData;

/** generate() of a retrieval-augmented model. */
export declare interface RdmGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, RdmInputs {
}

/** Inputs of retrieval-augmented models: a prompt, neighbours, or both. */
export declare interface RdmInputs {
    /** Read by the CLIP text encoder that is given as the `textEncoder` of the model source. */
    prompt?: string;
    /** CLIP embeddings of similar pictures: as they are, or found in a database by the prompt's. */
    neighbours?: Neighbours;
}

export declare interface RdmResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    prompt?: string;
    neighbours?: Neighbours;
}

/** Options of {@link TensorFile.read}. */
export declare interface ReadTensorOptions extends CallOptions {
    /**
     * `values` (default): the array that holds every stored number exactly: integers and `f64` as they are (`bool` as 0 and 1 in a `Uint8Array`), all other floats and
     * ggml's blocks as `Float32Array`. `float32`: a `Float32Array`, whatever is stored. `bytes`: as stored, little-endian.
     */
    as?: 'values' | 'float32' | 'bytes';
}

/** Two models in one run. */
export declare interface RefinerOptions {
    /**
     * Only where a refiner was loaded ({@link ModelFiles.refiner}): share of the training time, from the noise end, after which it takes over, 0 (from the first step) to 1
     * (never). Both models share one list of steps, and the latents go from one to the other as they are. Default 0.8.
     */
    refinerSwitchAt?: number;
}

/** Deletes pieces of downloads that were broken off; gives the bytes that were freed. */
export declare function removeIncompleteDownloads(options?: CacheOptions): Promise<number>;

/** Deletes a model from the cache, or with `@revision` one revision of it; gives the bytes that were freed. */
export declare function removeModel(source: string | URL, options?: CacheOptions): Promise<number>;

/** Filters by Pillow's names. */
export declare type ResizeFilter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos';

/**
 * What every finished generate() call says of its options: the sampling options, where they were given or the model has a value for them. `schedule` is absent where the
 * sampler has but one, or `timesteps` take its place; `eta` where the sampler's own was used, or it knows none; `guidanceScale` is 1 where the model was trained without an
 * unconditional input.
 */
export declare interface ResolvedCommon extends Omit<SamplingOptions, AlwaysSettled | 'seed' | 'deepCache'>, Required<Pick<SamplingOptions, AlwaysSettled>> {
    width: number;
    height: number;
    count: number;
    seed: bigint;
    /** Absent: off. */
    deepCache?: Required<DeepCacheOptions>;
    latents?: Latents;
    /** Absent where there were none. Those that the prompt names are among them, and no longer in the prompt. */
    loras?: readonly LoraOptions[];
}

/** Image to image: absent unless a picture was given. */
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
    rdm: RdmResolvedOptions;
    autoencoder: never;
}

/** Prompts with their defaults filled in. */
export declare interface ResolvedPrompts {
    prompt: string;
    /** Absent where the network is told the guidance scale, and reads no negative prompt. */
    negativePrompt?: string;
    emphasis: Emphasis;
    /** Absent where the model's own was used. */
    clipSkip?: number;
}

/**
 * Embeddings of pictures by which a retrieval-augmented model finds neighbours of a prompt: the published .npz files (arrays `embedding`, and `img_id` and
 * `patch_coords` where there are any) or safetensors files with tensors of these names. Search is exact.
 */
export declare class RetrievalDatabase {
    #private;
    /** Number of embeddings. */
    readonly size: number;
    /** Width of an embedding: 768 for CLIP ViT-L/14. */
    readonly dim: number;
    private constructor();
    /**
     * Opens a database of one file, several, or all in a folder; of a hub, too: `hf:owner/name/folder`.
     * @throws ModelFormatError for broken files and ones that do not belong together, UnsupportedModelError for element types that are not read, DiffusionError
     * `ERR_IO` where a file cannot be read, DownloadError where one cannot be fetched
     */
    static load(source: string | URL | readonly (string | URL)[], options?: RetrievalLoadOptions): Promise<RetrievalDatabase>;
    /**
     * The `k` rows nearest to a query by cosine, nearest first; fewer where the database is smaller. The event loop turns while it works.
     * @param query [dim]; its length does not matter
     */
    search(query: Float32Array, k?: number, options?: SearchOptions): Promise<Neighbour[]>;
}

export declare interface RetrievalLoadOptions extends CallOptions {
    /** Most bytes of embeddings (as float32) that are kept in memory; larger databases are read from their files at every search. Default 2^30. */
    maxMemory?: number;
    /** How `hf:` databases are found and fetched. */
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
    /** One text per row: where the picture is. */
    imageIds?: readonly string[];
    /** Four numbers per row, as the databases of the paper have them. */
    patches?: readonly (readonly number[])[];
}

/** Generator of the start noise: `philox` gives the numbers of torch on CUDA (A1111's default), `mt19937` those of torch on the CPU (diffusers, ComfyUI). */
export declare type RngName = 'philox' | 'mt19937';

/** Options of {@link DiffusionPipeline.sample}. */
export declare interface SampleOptions extends SamplingOptions, CallOptions {
    /** From {@link DiffusionPipeline.encodeCondition} or {@link DiffusionPipeline.encodePrompt}. */
    conditioning?: Conditioning;
    /** What guidance compares with: the negative or empty prompt, the null class ...; needed where the guidance scale is not 1. Its tokens alone count. */
    unconditional?: Conditioning;
    /**
     * Unit-variance start noise, or with `denoisingStart` the state that the earlier part ended with; it is not changed. Default: noise from `seed`, `width`, `height` and
     * `batch`.
     */
    latents?: Latents;
    /**
     * Part of the training time that is run, 0 to 1 from the noise end; default 0 and 1. Two models share one schedule that way: the first runs with `denoisingEnd: 0.8`, the
     * second goes on from its latents with `denoisingStart: 0.8` and the same `steps`, `sampler` and `schedule`. No noise is added in between.
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

/** Solvers by name. `pipe.info.samplers` lists those that the loaded engine has. */
export declare type SamplerName = (typeof samplerNames)[number] | (string & {});

/** Names of solvers and schedules, in the order in which native/samplers/registry.cpp has them. */
declare const samplerNames: readonly ["ddim", "ddim_inverse", "ddpm", "plms", "euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpm_adaptive", "dpm_fast", "dpm_solver", "dpm_solver_single", "unipc", "deis", "sa_solver", "lcm", "tcd"];

/** One finished step of {@link DiffusionPipeline.sample}. */
export declare interface SampleStep {
    /** From 0. */
    index: number;
    steps: number;
    /** Noise level after the step. */
    sigma: number;
    /** Timestep at which the network was asked. */
    timestep: number;
    /** The live state: reading shows it, writing changes what the next step starts from. After the last step it holds the result. */
    latents: Latents;
    /** A picture of the present state of `row`: small and straight from the latents (`linear`), through the tiny autoencoder that was loaded as `previewVae` (`taesd`), or through the first stage (`vae`). */
    preview(method?: 'linear' | 'taesd' | 'vae', row?: number): Promise<RawImage>;
}

/** Options of the sampling loop. */
export declare interface SamplingOptions {
    /**
     * Settings of a few-step model, by its family: sampler, schedule or timesteps, steps, guidance and eta as its authors use them (docs/kinds.md has the table). Each of these options that
     * is given as well counts before the preset's. Default: none.
     */
    preset?: PresetName;
    /** Network steps, 1 to 1000. Default: the model's. */
    steps?: number;
    /** Classifier-free guidance. 1 means no guidance (and half the work). Default: the model's, 7.5 for Stable Diffusion. */
    guidanceScale?: number;
    /**
     * Models that edit a picture (kind `edit`): how close the result stays to it, as `guidanceScale` is for the prompt (diffusers' `image_guidance_scale`, A1111's Image CFG scale). Three
     * evaluations a step; two where it is 1 or equal to `guidanceScale`. Default: the model's, 1.5.
     */
    imageGuidanceScale?: number;
    /** Rescales the guided prediction towards the standard deviation of the conditional one, 0 (off, default) to 1. */
    guidanceRescale?: number;
    /**
     * Part of the steps that is guided, as fractions of the run: from the first, before the second (Kynkäänniemi et al., arXiv 2404.07724). Outside of it the prompt alone counts,
     * at half the work. Default [0, 1].
     */
    guidanceInterval?: readonly [number, number];
    /** Reuse of deep features between evaluations: faster, with other pictures (docs/quality.md says by how much). Default: off. */
    deepCache?: DeepCacheOptions;
    /** 0 to 2^64-1. Default: a random 32-bit number, reported in the result. */
    seed?: number | bigint;
    sampler?: SamplerName;
    /** Name, or the sigmas themselves: descending, the final 0 included or not. */
    schedule?: ScheduleName | Float32Array;
    /** The timesteps of the steps in place of a schedule, descending, 0 to 999 for most models: few-step models name theirs (DMD2: [999, 749, 499, 249]). */
    timesteps?: readonly number[];
    /** Which reference implementation to follow where they differ: see {@link DialectName}. Default: chosen from sampler and schedule. */
    dialect?: DialectName;
    /** Share of fresh noise per step for the solvers that know it (DDIM: 0 deterministic, 1 as DDPM). Default: the model's or the solver's own. */
    eta?: number;
    rng?: RngName;
    /** Parameters of single solvers, passed through by name (`s_churn`, `order`, `disable_corrector` ...). */
    extra?: Record<string, number | string | boolean | readonly number[]>;
}

/** Noise schedules (the placing of the steps) by name. `pipe.info.schedules` lists those that the loaded engine has. */
export declare type ScheduleName = (typeof scheduleNames)[number] | (string & {});

/** Without `custom`, which is a Float32Array in the place of a name. */
declare const scheduleNames: readonly ["normal", "karras", "exponential", "polyexponential", "sgm_uniform", "simple", "ddim_uniform", "beta", "ays", "ays_sdxl", "kl_optimal", "linear_quadratic", "vp", "legacy_ddpm", "turbo", "leading", "trailing", "linspace", "quad", "lu_lambdas"];

export declare interface SearchOptions {
    /** Aborts the search. */
    signal?: AbortSignal;
}

/** Condition of a semantic synthesis model. */
export declare interface SemanticCondition extends ConditionBase {
    /** Values of the label map are below this. */
    labels: number;
}

/** generate() of a semantic synthesis model. The label map sets the size. */
export declare interface SemanticGenerateOptions extends CommonGenerateOptions, ImageToImageOptions, SemanticInputs {
}

/** Inputs of semantic synthesis models. */
export declare interface SemanticInputs {
    /** A label below `info.condition.labels` for every pixel. Its size is the picture's; sides are multiples of `info.sizeMultiple`. It is never resized. */
    semanticMap: SemanticMapInput;
}

/** What a label map may be given as: numbers, a grey or palette PNG (path, URL or bytes; its grey values or palette indices are the labels) or a grey picture. */
export declare type SemanticMapInput = LabelMap | RawImage | string | URL | Uint8Array;

export declare interface SemanticResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
    semanticMap: SemanticMapInput;
}

/** Hears what the engine has to say (nothing is ever printed), or `null` to stop. An error thrown by the logger is ignored. */
export declare function setLogger(logger: Logger | null): void;

/**
 * SDXL's size conditioning, in pixels. The model was trained on pictures of many sizes, scaled and cropped, and was given their sizes and crops; these values choose which of
 * them its pictures resemble.
 */
export declare interface SizeConditioning {
    /** Size of the training picture before scaling and cropping; small sizes give coarse pictures. Default: `target`. */
    original?: {
        width: number;
        height: number;
    };
    /** What was cropped off; other values than the default give cropped subjects. Default: nothing. */
    crop?: {
        top: number;
        left: number;
    };
    /** Base models: size after cropping. Default: the size of the picture that is drawn. A base model with a refiner takes its scores, too. */
    target?: {
        width: number;
        height: number;
    };
    /** Refiners: aesthetic score of the picture (default 6) and of what guidance compares with (default 2.5), 0 to 100. */
    aestheticScore?: number;
    negativeAestheticScore?: number;
}

/**
 * A solver on its own, the partner of `pipe.predict()`; no network needed. It works on another thread.
 * For evaluation i = 0, 1, 2 ...: `input = await scaleInput(x, i)`, ask the network at `evaluations[i].timestep`, `await step(output, x, i)`.
 * Text to image starts from unit noise times `initNoiseSigma`.
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
    /** True for `dpm_adaptive`, where the network's outputs decide how many evaluations follow: the lists grow with every `step()` until the run ends. */
    get adaptive(): boolean;
    /**
     * The network's input for evaluation i, as a new array or new latents; `x` is left as it is.
     * @param noise what `s_churn` adds before the evaluation, in place of the solver's own generator: give the same to `step()`
     */
    scaleInput<T extends Float32Array | Latents>(x: T, i: number, noise?: Float32Array | Latents): Promise<T>;
    /**
     * Moves `x`, the one that `scaleInput()` was given, on by one evaluation, in place, and returns it. Evaluations are taken in order, each once.
     * @param modelOutput the network's raw output, after guidance; as long as `x`
     * @param noise standard normal numbers in place of the solver's own generator, for solvers that draw
     */
    step<T extends Float32Array | Latents>(modelOutput: Float32Array | Latents, x: T, i: number, noise?: Float32Array | Latents): Promise<T>;
}

/** Options of {@link createSolver}: the sampling options, and what a model would have said about its training. */
export declare interface SolverOptions extends Omit<SamplingOptions, EvaluationOption> {
    sampler: NonNullable<SamplingOptions['sampler']>;
    /** `pipe.info.spec`: gives `prediction` and the noise schedule. */
    spec?: Pick<ModelSpec, 'prediction' | 'schedule'>;
    /**
     * What `step()` is given. Default: that of `spec`, else `eps`. `edm` is the output of a network with the preconditioning of Karras et al. 2022 (Playground v2.5): samplers in
     * sigma space, `extra: { sigma_data, sigma_min, sigma_max }` default 0.5, 0.002 and 80.
     */
    prediction?: Prediction | 'edm';
    /** Training betas, or their named form. Default: those of `spec`, else Stable Diffusion's. */
    betas?: Float32Array | readonly number[];
    noiseSchedule?: Partial<NoiseScheduleSpec>;
    /** Image to image: start at this step of the schedule. Default 0. */
    startStep?: number;
    /** Image to image: share of the schedule that is run, in place of `startStep`. */
    strength?: number;
    /** Part of the training time that is run, 0 to 1 from the noise end, as in {@link SampleOptions}. */
    denoisingStart?: number;
    denoisingEnd?: number;
}

/** Bytes of working memory and floating point operations of one call of a network. */
export declare interface StageEstimate {
    bytes: number;
    flops: number;
}

/** Bytes that are resident while one stage of a picture runs. */
export declare interface StageMemory {
    /** Of the part at work, and what the other parts keep meanwhile. */
    weights: number;
    /** Activations and scratch, as the plan for this memory mode and bound runs the stage: one batch or two, whole, in bands or in tiles. */
    compute: number;
    /** Latents, pictures and their copies, and features that `deepCache` keeps. */
    pictures: number;
    /** The sum of the above. */
    peak: number;
}

/** Condition of a super-resolution model. */
export declare interface SuperresCondition extends ConditionBase {
    /** How many times wider and higher the picture gets. */
    factor: number;
    /** SD x4 upscaler: highest `noiseLevel`, and the one that is used where none is given. */
    maxNoiseLevel?: number;
    noiseLevel?: number;
}

/** generate() of a super-resolution model. The picture sets the size. Prompt options only where the model reads text (the SD x4 upscaler). */
export declare interface SuperresGenerateOptions extends CommonGenerateOptions, SuperresInputs, NegativePromptOptions {
}

/** Inputs of super-resolution models. */
export declare interface SuperresInputs extends TextInputs {
    /** The small picture, of any size. */
    image: ImageInput;
    /** SD x4 upscaler: how much noise the small picture gets, 0 to `info.condition.maxNoiseLevel`. Default 20. More noise leaves more to the model. */
    noiseLevel?: number;
}

/** Prompts only where the model reads text. */
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
    /** Where it was opened. */
    readonly path: string;
    /** Number of tensors. */
    get size(): number;
    /** Names in the order of the file. */
    get names(): string[];
    /** Metadata of the file: safetensors' `__metadata__`, GGUF's keys, plain values beside the weights of a torch checkpoint. Long lists are left out. */
    get metadata(): Record<string, unknown>;
    has(name: string): boolean;
    /** The description of a tensor; undefined where there is none of that name. */
    get(name: string): TensorInfo | undefined;
    [Symbol.iterator](): IterableIterator<TensorInfo>;
    /** The numbers of one tensor. Throws RangeError for an unknown name, ERR_MODEL_FORMAT where the type can be read as bytes alone. */
    read(name: string, options: ReadTensorOptions & {
        as: 'float32';
    }): Promise<Float32Array>;
    read(name: string, options: ReadTensorOptions & {
        as: 'bytes';
    }): Promise<Uint8Array>;
    read(name: string, options?: ReadTensorOptions): Promise<TensorValues>;
    /** Closes the file; a read that is under way fails. Idempotent. */
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

/** Element types of stored tensors. The types from `q4_0` on are ggml's blocks; another text names a type that is carried along, but not read. */
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

/** Milliseconds spent in each phase. */
export declare interface Timings {
    loadMs: number;
    encodeMs: number;
    sampleMs: number;
    decodeMs: number;
}

/** A prompt given as token ids: windows of the encoder's length (77), start and end tokens included. A multiple of 77 ids makes several windows. */
export declare interface TokenIds {
    tokenIds: readonly number[];
}

/** A prompt as the text encoder will see it. */
declare interface Tokenized {
    /** One per window of the encoder: ids with start and end token, a weight and the text of each. */
    chunks: PromptChunk[];
    /** True where a part of the prompt did not fit. */
    truncated: boolean;
}

/** generate() of an unconditional model. */
export declare interface UnconditionalGenerateOptions extends CommonGenerateOptions, ImageToImageOptions {
}

export declare interface UnconditionalResolvedOptions extends ResolvedCommon, ResolvedImageToImage {
}

/** A sound file of a kind that this engine does not run (`ERR_UNSUPPORTED_MODEL`). */
export declare class UnsupportedModelError extends DiffusionError {
    name: string;
    constructor(message: string, details?: Readonly<Record<string, unknown>>, options?: ErrorOptions);
}

/** upscale(): as generate(), without the picture. */
export declare type UpscaleOptions = Omit<SuperresGenerateOptions, 'image'>;

/** A file that was hashed again. */
export declare interface VerifiedFile {
    source: string;
    commit: string;
    file: string;
    /** `unknown`: nothing says what its hash should be. */
    state: 'ok' | 'damaged' | 'missing' | 'unknown';
    bytes: number;
}

/** Hashes the files of a model in the cache again, or of every model; no server is asked. */
export declare function verifyModels(source?: string | URL | readonly (string | URL)[], options?: VerifyOptions): Promise<VerifiedFile[]>;

/** Options of {@link verifyModels}. */
export declare interface VerifyOptions extends CacheOptions, CallOptions {
    /** Delete damaged files, so that the next {@link pullModel} fetches them anew. Default false. */
    remove?: boolean;
    /** Called with the bytes that were read, and all there are. */
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
    backends: string[];
}

/** How weights are held in memory or written to a file. The `q*` types are ggml's block formats. */
export declare type WeightType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k' | 'q5_k' | 'q5_0' | 'q4_k' | 'q4_0';

/**
 * Writes a database that {@link RetrievalDatabase.load} reads. The file appears whole or not at all.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for rows that do not fit together, DiffusionError `ERR_IO` where the file cannot be written
 */
export declare function writeRetrievalDatabase(file: string, rows: RetrievalRows): Promise<void>;

export { }
