import type { Autoencoder } from './autoencoder.js';
import { type Conditioning } from './conditioning.js';
import type { RawImage } from './image/raw-image.js';
import { type Latents } from './latents.js';
import { type Tokenized } from './tokenizer.js';
import type { CallOptions, CreateLatentsOptions, DecodeOptions, Device, EncodeImageOptions, EncodePromptOptions, GenerateOptions, GenerateResult, ImageInput, LoadOptions, MemoryUsage, ModelSource, PipelineInfo, PredictOptions, SampleOptions, SampleStep, TokenIds } from './types.js';
/**
 * A loaded model. Made by {@link DiffusionPipeline.load}; freed by `dispose()` or `await using`.
 *
 * Calls on one device run one after another, in the order in which they were made (a call that still has to read a picture joins when it has); any number may wait. Every long call takes an AbortSignal, which works while
 * the call waits, between steps and inside a step, and makes it reject with `signal.reason`; the pipeline stays usable. An error thrown by a callback rejects
 * the call with that error. After `dispose()` every call fails with `ERR_DISPOSED`. All arrays that are handed out belong to the caller.
 */
export declare class DiffusionPipeline implements AsyncDisposable {
    #private;
    /** What was loaded: kind, spec, parameters and weight types by part, defaults, samplers. */
    readonly info: PipelineInfo;
    private constructor();
    /**
     * Loads a model: a single file (.safetensors, .gguf, .ckpt, .pt, .bin), a diffusers folder, parts, or `hf:owner/name` from the local cache.
     * Without a source it is the small trained model that travels inside the package.
     * @throws ModelFormatError for a broken file, UnsupportedModelError for a sound one of another kind, OutOfMemoryError, DeviceError
     */
    static load(source?: ModelSource, options?: LoadOptions): Promise<DiffusionPipeline>;
    /** The device that the networks run on. */
    get device(): Device;
    /** The model's first stage (pictures to codes and back), sharing this pipeline's weights. */
    get firstStage(): Autoencoder;
    /**
     * Makes pictures: text to image, or image to image where `image` is given. Options that are left out are the model's; the result lists them all.
     * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for options that are unknown, of the wrong type or out of range
     */
    generate(options?: GenerateOptions): Promise<GenerateResult>;
    /** What the text encoder will see of a prompt: windows of 77 ids with a weight and a text each. */
    tokenize(prompt: string): Tokenized;
    /** Runs the text encoder on a prompt, or on token ids as they are. */
    encodePrompt(prompt: string | TokenIds, options?: EncodePromptOptions): Promise<Conditioning>;
    /** Runs the first stage's encoder. Sides must be multiples of `info.downsampling`. The latents are times the scale factor (`moments`: raw). */
    encodeImage(image: ImageInput, options?: EncodeImageOptions): Promise<Latents>;
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
    /** Frees weights and graphs; the next call loads them again. */
    unload(options?: CallOptions): Promise<void>;
    /** Waits for waiting and running calls, then frees everything. Calls made after it fail with `ERR_DISPOSED`. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
