import type { Latents } from './latents.js';
import type { NativeConditioning, NativeLatents, NativePipeline, NativeSamplingRequest } from '../native/contract.js';
import type { CreateLatentsOptions, PipelineInfo, PredictOptions, Progress, SampleOptions, SampleStep } from '../types.js';
/** Unit-variance start noise. */
export declare function createLatents(native: NativePipeline, info: PipelineInfo, options: CreateLatentsOptions | undefined): NativeLatents;
/** A checked sample() call. */
export interface ResolvedSample {
    request: NativeSamplingRequest;
    start: NativeLatents | undefined;
    create: CreateLatentsOptions;
    image: NativeLatents | null;
    conditioning: NativeConditioning | null;
    unconditional: NativeConditioning | null;
    signal: AbortSignal | undefined;
    onProgress: ((progress: Progress) => unknown) | undefined;
}
export declare function resolveSample(options: SampleOptions, info: PipelineInfo): ResolvedSample;
/** Runs a checked sample() call step by step. Leaving the loop early frees the run. */
export declare function sampleSteps(native: NativePipeline, info: PipelineInfo, resolved: ResolvedSample, usable: () => void): AsyncGenerator<SampleStep, Latents, void>;
/** One evaluation of the network. */
export declare function predict(native: NativePipeline, latents: Latents, options: PredictOptions): Promise<Latents>;
