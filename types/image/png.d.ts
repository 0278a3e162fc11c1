import type { Pixels } from './resize.js';
export declare function isPng(bytes: Uint8Array): boolean;
/** Reads a PNG of any kind; 16 bits are rounded to 8, palettes and small depths are expanded, gamma and profiles are not applied. */
export declare function readPng(bytes: Uint8Array, where: string): Promise<Pixels & {
    metadata: Record<string, string>;
}>;
/** Reads the numbers of a grey PNG of any depth, or the palette indices of a palette PNG: one per pixel, as they stand in the file. */
export declare function readPngSamples(bytes: Uint8Array, where: string): Promise<{
    data: Uint16Array;
    width: number;
    height: number;
}>;
/** Writes an 8-bit PNG with one text chunk per entry of `metadata`. */
export declare function writePng({ data, width, height, channels }: Pixels, metadata: Readonly<Record<string, string>>, compressionLevel: number): Promise<Uint8Array>;
