import type { Autoencoder } from './autoencoder.js';
import { type Conditioning } from './conditioning.js';
import type { RawImage } from '../image/raw-image.js';
import { type Latents } from './latents.js';
import { type Tokenized } from '../text/tokenizer.js';
import type { CallOptions, CreateLatentsOptions, DecodeOptions, Device, EncodeConditionOptions, EncodeImageOptions, EncodePromptOptions, GenerateOptions, GenerateResult, ImageInput, Inputs, LoadOptions, LossOptions, LossResult, MemoryUsage, OperationTime, ModelKind, ModelSource, PipelineInfo, PredictOptions, ResolvedOptions, SampleOptions, SampleStep, SuperresResolvedOptions, TokenIds, UpscaleOptions } from '../types.js';
/** What a method takes: left out where every option of it may be. */
type OptionArguments<O> = Record<never, never> extends O ? [options?: O] : [options: O];
/** The kind of a pipeline's type. */
type KindOf<T extends {
    readonly kind: ModelKind;
}> = T['kind'];
/**
 * A loaded model. Made by {@link DiffusionPipeline.load}; freed by `dispose()` or `await using`.
 *
 * Calls on one device run one after another, in the order in which they were made (a call that still has to read a picture joins when it has); any number may wait. Every long call takes an AbortSignal, which works while
 * the call waits, between steps and inside a step, and makes it reject with `signal.reason`; the pipeline stays usable. An error thrown by a callback rejects
 * the call with that error. After `dispose()` every call fails with `ERR_DISPOSED`. All arrays that are handed out belong to the caller.
 */
declare class PipelineOf<K extends ModelKind> implements AsyncDisposable {
    #private;
    /** What was loaded: kind, condition, spec, parameters and weight types by part, defaults, samplers. */
    readonly info: PipelineInfo<K>;
    private constructor();
    /**
     * Loads a model: a single file (.safetensors, .gguf, .ckpt, .pt, .bin), a diffusers folder, parts, or `hf:owner/name` from the local cache.
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
    /** Super-resolution: `generate({ image, ...options })`. The result is `info.condition.factor` (4) times as wide and as high; large pictures are made in overlapping tiles. */
    upscale<T extends DiffusionPipeline>(this: 'superres' extends KindOf<T> ? T : never, image: ImageInput, options?: UpscaleOptions): Promise<GenerateResult<SuperresResolvedOptions>>;
    /** What the text encoder will see of a prompt: windows of 77 ids with a weight and a text each. Retrieval-augmented models read one window of plain text. */
    tokenize(prompt: string): Tokenized;
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
    /** Start noise of unit variance for `sample()` and `generate({ latents })`. */
    createLatents(options?: CreateLatentsOptions): Latents;
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
/** A loaded pipeline of one kind, or (without a kind) of any: a union over the kinds that `kind`, `is()` and {@link LoadOptions.kind} narrow. */
export type DiffusionPipeline<K extends ModelKind = ModelKind> = {
    [P in K]: PipelineOf<P>;
}[K];
export declare const DiffusionPipeline: typeof PipelineOf;
export {};
