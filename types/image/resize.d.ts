/** Filters by Pillow's names. */
export type ResizeFilter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos';
export declare const resizeFilters: readonly ResizeFilter[];
/** Interleaved bytes. */
export interface Pixels {
    data: Uint8Array;
    width: number;
    height: number;
    channels: number;
}
/** Resizes to `width` x `height`; returns a copy where the size is the same already. Lets the event loop turn while it works. */
export declare function resizePixels(pixels: Pixels, width: number, height: number, filter: ResizeFilter): Promise<Pixels>;
