import { InFlight } from './job.js';
import { Latents } from './latents.js';
import type { NativePipeline } from './native/contract.js';
import type { CallOptions, DecodeOptions, ImageInput, LoadOptions, ModelSource, PipelineInfo, RngName } from './types.js';
import type { RawImage } from './image/raw-image.js';
/** Options of {@link Autoencoder.encode}. */
export interface AutoencoderEncodeOptions extends CallOptions {
    /** `sample` (default) draws from the posterior, `mean` takes its mean, `moments` gives mean and log-variance channels. */
    output?: 'sample' | 'mean' | 'moments';
    /** For `sample`. Default: random. */
    seed?: number | bigint;
    rng?: RngName;
}
/** Checked options of a decode call. */
export declare function resolveDecode(options: DecodeOptions | undefined, where: string): {
    output: 'image' | 'float';
    signal: AbortSignal | undefined;
};
/** Runs the decoder on latents in the units of the pipeline. */
export declare function decodeLatents(native: NativePipeline, latents: Latents, { output, signal }: ReturnType<typeof resolveDecode>): Promise<RawImage[] | Float32Array>;
/**
 * A first stage alone: pictures to codes and back. Its latents are the raw codes, without the scale factor of a pipeline.
 * `Autoencoder.load()` for a file of its own (or that part of a whole model); `pipe.firstStage` for the one inside a pipeline.
 */
export declare class Autoencoder implements AsyncDisposable {
    #private;
    readonly info: PipelineInfo;
    private constructor();
    /** Loads the first stage of a file or folder (without a source: of the model inside the package); everything else in it is left alone. */
    static load(source?: ModelSource, options?: LoadOptions): Promise<Autoencoder>;
    /** Pictures to codes [n, channels, height / factor, width / factor]. Sides must be multiples of `info.downsampling`. */
    encode(image: ImageInput, options?: AutoencoderEncodeOptions): Promise<Latents>;
    /** Codes to 8-bit pictures, or with `output: 'float'` to planar [n, channels, height, width] numbers, not clamped. */
    decode(latents: Latents, options: DecodeOptions & {
        output: 'float';
    }): Promise<Float32Array>;
    decode(latents: Latents, options?: DecodeOptions & {
        output?: 'image';
    }): Promise<RawImage[]>;
    /** Waits for running work and frees everything. The one inside a pipeline belongs to the pipeline: dispose of that. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
/** For the pipeline: its own first stage. */
export declare function firstStageOf(native: NativePipeline, scaleFactor: number, calls: InFlight): Autoencoder;
