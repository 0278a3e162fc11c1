import type { PreviewOptions } from '../kinds/generate-types.js';
import type { DeepCacheOptions, LoadOptions, ModelInfo, ModelSource } from '../types.js';
/** Options of {@link inspect}. */
export type InspectOptions = Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'signal'>;
/** Says what a model is and what is in its files, from headers alone: no weights are read. Without a source: the model inside the package. */
export declare function inspect(source?: ModelSource, options?: InspectOptions): Promise<ModelInfo>;
/** What {@link estimateMemory} is asked for. */
export interface EstimateRequest extends Omit<LoadOptions, 'onProgress'> {
    /** Pixels. Default: the model's. */
    width?: number;
    height?: number;
    /** 1 halves the batch of the network. Default: the model's. */
    guidanceScale?: number;
    /** Pictures per call. Default 1. */
    count?: number;
    /** That of `generate()`: features are kept for every picture. */
    deepCache?: DeepCacheOptions;
    /** That of `generate()`. Previews of method `vae` are decoded beside all that a run keeps: latents, and the features of `deepCache`. */
    preview?: Partial<PreviewOptions>;
}
/** Bytes of working memory and floating point operations of one call of a network. */
export interface StageEstimate {
    bytes: number;
    flops: number;
}
/** Bytes that are resident while one stage of a picture runs. */
export interface StageMemory {
    /** Of the part at work, and what the other parts keep meanwhile. */
    weights: number;
    /** Activations and scratch, as the plan for this memory mode and bound runs the stage: one batch or two, whole, in bands or in tiles. */
    compute: number;
    /** Latents, pictures and their copies, and features that `deepCache` keeps. */
    pictures: number;
    /** The sum of the above. */
    peak: number;
}
/** What a picture will cost, known before a weight is read. */
export interface MemoryEstimate {
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
    encode?: StageEstimate;
    decode?: StageEstimate;
    /** Bytes by stage, in the memory mode and under the bound that was asked for. */
    stages: Partial<Record<'textEncoder' | 'conditioner' | 'imageEncoder' | 'unet' | 'encode' | 'decode', StageMemory>>;
    /** The largest stage of a picture that does not start from another one, in bytes. */
    peakBytes: number;
    /** The same with `memory: 'low'`. */
    lowPeakBytes: number;
    /** What the process itself holds besides: its resident size now, and room for the tokenizer and the encoder of pictures. */
    processBytes: number;
}
/**
 * Peak bytes per stage for a picture of the given size, before anything is loaded. Without a source: for the model inside the package. Throws
 * OutOfMemoryError, with the plans that would fit, where `memory.maxBytes` is too small for it.
 */
export declare function estimateMemory(source?: ModelSource, request?: EstimateRequest): Promise<MemoryEstimate>;
