import type { RngName } from '../types.js';
/** Options of {@link createNoise}. */
export interface NoiseOptions {
    seed: number | bigint;
    /** For instance [1, 4, 64, 64]. */
    shape: readonly number[];
    /** Default `philox`. */
    rng?: RngName;
    /** Which draw of the generator, from 0: the n-th call of `randn` after seeding. */
    offset?: number;
}
/** Standard normal numbers, exactly those of `torch.randn`: `philox` as on CUDA, `mt19937` as on the CPU. */
export declare function createNoise(options: NoiseOptions): Float32Array;
