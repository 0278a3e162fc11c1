import type { Pixels } from './resize.js';
/** Decodes to 8-bit sRGB, turned upright as the picture's EXIF orientation says. */
export declare function readWithSharp(bytes: Uint8Array, format: string, where: string): Promise<Pixels>;
export interface SharpEncodeOptions {
    quality: number;
    lossless: boolean;
}
/** JPEG has no transparency: it is laid on white there. */
export declare function writeWithSharp({ data, width, height, channels }: Pixels, format: 'jpeg' | 'webp', { quality, lossless }: SharpEncodeOptions): Promise<Uint8Array>;
