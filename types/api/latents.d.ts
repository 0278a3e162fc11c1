import type { NativeLatents } from '../native/contract.js';
/**
 * A latent tensor [n, channels, height, width], float32, held by the engine. Latents of a pipeline are already multiplied by its scale factor.
 * All methods throw `ERR_DISPOSED` after `dispose()`, and after the owning pipeline's `dispose()`.
 */
export declare class Latents implements Disposable {
    #private;
    /** [n, channels, height, width] */
    readonly shape: readonly [number, number, number, number];
    /** Where the numbers are: `cpu` or a device. */
    readonly location: string;
    private constructor();
    /** Copies an array of finite numbers into new latents. `shape`: [n, channels, height, width], whose product is `data.length`. */
    static from(data: Float32Array, shape: readonly number[]): Latents;
    /** The numbers, row-major, in a new array or in `into` (of exactly the right length). */
    read(into?: Float32Array): Promise<Float32Array>;
    /** Replaces the numbers by those of `from` (of exactly the right length, all finite). */
    write(from: Float32Array): void;
    /** An independent copy. */
    clone(): Latents;
    /** Frees the numbers. Idempotent. */
    dispose(): void;
    [Symbol.dispose](): void;
}
/** For the modules of this package: a handle of the engine as the public class. */
export declare function wrapLatents(native: NativeLatents): Latents;
/** For the modules of this package: numbers that come from the engine, as they are. */
export declare function latentsOf(data: Float32Array, shape: readonly number[]): Latents;
/** For the modules of this package: the engine's handle of an option that must be Latents. */
export declare function nativeLatents(value: unknown, name: string): NativeLatents;
