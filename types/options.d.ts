/** All validation of options, and all defaults. What leaves this file is complete and right; native code trusts it. */
import type { NativeLoadRequest, NativeSamplingRequest } from './native/contract.js';
import type { Latents } from './latents.js';
import type { CallOptions, GenerateOptions, ImageInput, LoadOptions, ModelPart, PipelineInfo, PreviewOptions, Progress, RngName, SamplingOptions, ScheduleName, WeightType } from './types.js';
export declare const weightTypes: readonly WeightType[];
export declare const modelParts: readonly ModelPart[];
declare const samplingKeys: readonly ["steps", "guidanceScale", "guidanceRescale", "seed", "clipSkip", "sampler", "schedule", "eta", "rng", "extra"];
declare const callKeys: readonly ["signal"];
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
    request: Omit<NativeLoadRequest, 'model' | 'unet' | 'textEncoder' | 'vae' | 'config'>;
    config: LoadOptions['config'];
    signal: AbortSignal | undefined;
    onProgress: ((progress: Progress) => unknown) | undefined;
}
export declare function resolveLoad(options: LoadOptions | undefined, where: string): ResolvedLoad;
/** The checked sampling options: the native request, and what TypeScript keeps for itself. */
export interface ResolvedSampling {
    request: NativeSamplingRequest;
    seed: bigint;
    clipSkip: number | undefined;
    schedule: ScheduleName | Float32Array | undefined;
}
/** Names and defaults that sampling options are checked against. */
export type SamplingContext = Pick<PipelineInfo, 'samplers' | 'schedules' | 'defaults'>;
/** `o` has known keys only. */
export declare function resolveSampling(o: Record<string, unknown> & SamplingOptions, info: SamplingContext): ResolvedSampling;
export declare function resolveClipSkip(value: unknown): number | undefined;
export declare function resolveEmphasis(value: unknown): 'original' | 'no_norm' | 'comfy';
/** A width or height in pixels. */
export declare function resolveSide(value: unknown, name: 'width' | 'height', fallback: number, multiple: number): number;
export declare function resolveCount(value: unknown, name: 'count' | 'batch'): number;
/** The checked options of a generate() call; the size is settled later where it follows the picture's. */
export interface ResolvedGenerate {
    prompt: string;
    negativePrompt: string;
    emphasis: 'original' | 'no_norm' | 'comfy';
    width: number | undefined;
    height: number | undefined;
    count: number;
    sampling: ResolvedSampling;
    image: ImageInput | undefined;
    latents: Latents | undefined;
    preview: Required<PreviewOptions> | undefined;
    onProgress: ((progress: Progress) => unknown) | undefined;
    signal: AbortSignal | undefined;
}
export declare function resolveGenerate(options: GenerateOptions | undefined, info: PipelineInfo, where?: string): ResolvedGenerate;
export { callKeys, samplingKeys };
