import { type Codes } from './codes.js';
import { LoadedModel } from '../model/engine.js';
import { type Latents } from './latents.js';
import type { NativePipeline } from '../native/contract.js';
import type { CallOptions, DecodeOptions, ImageInput, LoadOptions, ModelSource, PipelineInfo, RngName } from '../types.js';
import type { RawImage } from '../image/raw-image.js';
/** Forms in which an encoder's result is handed out as latents. */
export type LatentOutput = 'sample' | 'mean' | 'moments' | 'prequant';
/** Options of {@link Autoencoder.encode}. */
export interface AutoencoderEncodeOptions extends CallOptions {
    /**
     * KL: `sample` (default) draws from the posterior, `mean` takes its mean, `moments` gives mean and log-variance channels.
     * VQ: `prequant` (default; `sample` and `mean` are the same) is what the encoder gives before quantisation, `codes` the numbers of the nearest codebook entries.
     */
    output?: LatentOutput | 'codes';
    /** For `sample`. Default: random. */
    seed?: number | bigint;
    rng?: RngName;
}
/** What {@link Autoencoder.info} adds to a pipeline's: how the codes are kept in bounds. */
export type AutoencoderInfo = PipelineInfo & {
    /** `kl`: a Gaussian posterior close to a standard normal one. `vq`: entries of a codebook. */
    regularization: 'kl' | 'vq';
    /** Entries of the codebook, 0 for `kl`. */
    codebookSize: number;
};
/** An encoder's output that the first stage has. */
export declare function checkLatentOutput(value: unknown, name: string, info: PipelineInfo): LatentOutput;
/** Checked options of a decode call. */
export declare function resolveDecode(options: DecodeOptions | undefined, where: string, info: PipelineInfo): {
    request: {
        output: 'image' | 'float';
        quantize?: boolean;
    };
    signal: AbortSignal | undefined;
};
/** Runs the decoder on latents in the units of the pipeline. */
export declare function decodeLatents(native: NativePipeline, latents: Latents, { request, signal }: ReturnType<typeof resolveDecode>): Promise<RawImage[] | Float32Array>;
/**
 * A first stage alone: pictures to codes and back. Its latents are the raw codes, without the scale factor of a pipeline.
 * `Autoencoder.load()` for a file of its own (or that part of a whole model); `pipe.firstStage` for the one inside a pipeline.
 */
export declare class Autoencoder implements AsyncDisposable {
    #private;
    /** What was loaded. `regularization` says whether the codes are KL or VQ. */
    readonly info: AutoencoderInfo;
    private constructor();
    /** Loads the first stage of a file or folder (without a source: of the model inside the package); everything else in it is left alone. */
    static load(source?: ModelSource, options?: LoadOptions): Promise<Autoencoder>;
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
/** For the pipeline: its own first stage. */
export declare function firstStageOf(model: LoadedModel, info: PipelineInfo): Autoencoder;
