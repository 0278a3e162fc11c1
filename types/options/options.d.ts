/** Validation and defaults of loading and sampling options; those of a model's inputs are in conditions.ts and generate-options.ts. Native code trusts what leaves these files. */
import type { NativeLoadRequest, NativeSamplingRequest } from '../native/contract.js';
import type { CallOptions, LoadOptions, ModelKind, ModelPart, PipelineInfo, Progress, RngName, SamplingOptions, ScheduleName, WeightType } from '../types.js';
export declare const weightTypes: readonly WeightType[];
export declare const modelParts: readonly ModelPart[];
export declare const modelKinds: readonly ModelKind[];
/** Options of the loop that the network's evaluations are shaped by, not the solver's steps. */
export declare const evaluationKeys: readonly ["guidanceScale", "guidanceRescale", "guidanceInterval", "deepCache"];
export declare const samplingKeys: readonly ["steps", "guidanceScale", "guidanceRescale", "guidanceInterval", "deepCache", "seed", "sampler", "schedule", "eta", "rng", "extra"];
export declare const callKeys: readonly ["signal"];
/** A random 32-bit seed: short enough to be read out, typed in and kept by every other tool. */
export declare function randomSeed(): bigint;
/** `signal` and nothing else. */
export declare function resolveCall(options: unknown, where: string): CallOptions;
export declare function optionalSignal(o: Record<string, unknown>): AbortSignal | undefined;
export declare function optionalProgress(o: Record<string, unknown>): ((progress: Progress) => unknown) | undefined;
export declare function resolveRng(value: unknown): RngName;
export declare function resolveSeed(value: unknown): bigint;
/** The checked options of a load, apart from the files. */
export interface ResolvedLoad {
    request: Omit<NativeLoadRequest, 'model' | 'unet' | 'textEncoder' | 'imageEncoder' | 'vae' | 'config'>;
    config: LoadOptions['config'];
    /** What the caller counts on. */
    kind: ModelKind | undefined;
    signal: AbortSignal | undefined;
    onProgress: ((progress: Progress) => unknown) | undefined;
}
export declare function resolveLoad(options: LoadOptions | undefined, where: string): ResolvedLoad;
/** The checked sampling options: the native request, and what TypeScript keeps for itself. */
export interface ResolvedSampling {
    request: NativeSamplingRequest;
    seed: bigint;
    schedule: ScheduleName | Float32Array | undefined;
}
/** Names and defaults that sampling options are checked against. */
export type SamplingContext = Pick<PipelineInfo, 'samplers' | 'schedules' | 'defaults'> & {
    /** Absent where there is no model: a solver on its own. */
    condition?: {
        guidance: boolean;
    };
};
export declare function resolveDeepCache(value: unknown): {
    interval: number;
    branch: number;
};
/** `o` has known keys only. */
export declare function resolveSampling(o: Record<string, unknown> & SamplingOptions, info: SamplingContext): ResolvedSampling;
/** A width or height in pixels. */
export declare function resolveSide(value: unknown, name: 'width' | 'height', fallback: number, multiple: number): number;
export declare function resolveCount(value: unknown, name: 'count' | 'batch'): number;
