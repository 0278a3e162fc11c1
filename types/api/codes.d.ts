/** A picture as numbers of codebook entries: one per latent pixel, row by row. */
export interface Codes {
    data: Int32Array;
    /** [n, height, width] */
    shape: readonly [number, number, number];
}
/** Tells codes from latents. */
export declare function isCodes(value: unknown): value is Codes;
/** Codes of a caller: numbers below the size of the codebook, [n, h, w] or [h, w]. */
export declare function checkCodes(value: Codes, codebookSize: number): Codes;
