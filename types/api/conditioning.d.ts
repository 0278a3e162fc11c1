import { type Latents } from './latents.js';
import type { NativeConditioning } from '../native/contract.js';
/** What {@link Conditioning.from} takes beside the tokens. */
export interface ConditioningExtras {
    /** Channels that are concatenated to the latents, [n, channels, height, width]; n 1 for all pictures, or one each. Copied. */
    concat?: Latents;
    /** Row of the network's own class table: the noise level of the SD x4 upscaler. */
    classLabel?: number;
}
/**
 * What steers a run, float32, held by the engine: tokens for cross-attention [1, tokens, dim], channels concatenated to the latents, a class of the network's own
 * table; each where the model has it.
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
    private constructor();
    /** [1, tokens, dim] */
    get shape(): readonly [1, number, number];
    /** Copies an array of finite numbers into a new conditioning. `shape`: [1, tokens, dim] or [tokens, dim]. Without tokens both are null, and `concat` is needed. */
    static from(data: Float32Array | null, shape: readonly number[] | null, extras?: ConditioningExtras): Conditioning;
    /** The tokens, row-major, in a new array or in `into` (of exactly the right length); empty where there are none. */
    read(into?: Float32Array): Promise<Float32Array>;
    /** The concatenated channels, row-major; empty where there are none. */
    readConcat(into?: Float32Array): Promise<Float32Array>;
    /** Frees the numbers. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}
/** For the modules of this package: a handle of the engine as the public class. */
export declare function wrapConditioning(native: NativeConditioning): Conditioning;
/** For the modules of this package: the engine's handle of an option that must be a Conditioning. */
export declare function nativeConditioning(value: unknown, name: string): NativeConditioning;
