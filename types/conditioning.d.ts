import type { NativeConditioning } from './native/contract.js';
/** What the text encoder made of a prompt: [1, tokens, dim], float32, held by the engine. */
export declare class Conditioning implements Disposable {
    #private;
    /** Length of the sequence: 77 per chunk for CLIP. */
    readonly tokens: number;
    /** Width of the embedding. */
    readonly dim: number;
    /** True where a part of the prompt did not fit and was cut off. */
    readonly truncated: boolean;
    private constructor();
    /** [1, tokens, dim] */
    get shape(): readonly [1, number, number];
    /** Copies an array into a new conditioning. `shape`: [1, tokens, dim] or [tokens, dim]. */
    static from(data: Float32Array, shape: readonly number[]): Conditioning;
    /** The numbers, row-major, in a new array or in `into` (of exactly the right length). */
    read(into?: Float32Array): Promise<Float32Array>;
    /** Frees the numbers. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}
/** For the modules of this package: a handle of the engine as the public class. */
export declare function wrapConditioning(native: NativeConditioning): Conditioning;
/** For the modules of this package: the engine's handle of an option that must be a Conditioning. */
export declare function nativeConditioning(value: unknown, name: string): NativeConditioning;
