/** Masks of inpainting: pictures or numbers as one float per pixel, 0 or 1. */
import type { MaskInput } from '../kinds/inputs.js';
import { type PixelNumbers } from './pixel-numbers.js';
/** 1 repaints, 0 keeps. */
export type Mask = PixelNumbers<Float32Array>;
/** Reads a mask: white, from half lightness on, becomes 1. */
export declare function readMask(input: MaskInput, name?: string): Promise<Mask>;
/** Reads the mask of a picture, which has its size. */
export declare function readMaskOf(image: {
    width: number;
    height: number;
}, input: MaskInput): Promise<Mask>;
/** The mask in another size: the nearest of its pixels each. */
export declare function resampleMask(mask: Mask, width: number, height: number): Mask;
