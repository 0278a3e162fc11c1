import type { LoadOptions, ModelInfo, ModelSource } from './types.js';
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
}
/** Bytes of working memory and floating point operations of one call of a network. */
export interface StageEstimate {
    bytes: number;
    flops: number;
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
    /** All weights and the largest stage, in bytes: the peak with everything resident. */
    peakBytes: number;
    /** The largest single part with its stage: the peak with `memory: 'low'`, one part at a time. */
    lowPeakBytes: number;
}
/** Peak bytes per stage for a picture of the given size (decoded in one piece), before anything is loaded. Without a source: for the model inside the package. */
export declare function estimateMemory(source?: ModelSource, request?: EstimateRequest): Promise<MemoryEstimate>;
