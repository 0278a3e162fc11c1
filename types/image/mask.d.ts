/** Masks of inpainting: pictures or numbers as one float per pixel, 0 or 1. */
import type { MaskInput } from '../inputs.js';
/** 1 repaints, 0 keeps. */
export interface Mask {
    data: Float32Array;
    width: number;
    height: number;
}
/** Reads a mask: white, from half lightness on, becomes 1. */
export declare function readMask(input: MaskInput, name?: string): Promise<Mask>;
/** The mask in another size: the nearest of its pixels each. */
export declare function resampleMask(mask: Mask, width: number, height: number): Mask;
