/** Pictures to the tensors that a first stage takes, as diffusers' VaeImageProcessor and CompVis' load_img make them. */
import type { RawImage } from './raw-image.js';
/** Planar float32, [1, 3, height, width], -1 to 1. */
export interface PlanarImage {
    data: Float32Array;
    shape: [1, 3, number, number];
}
/** Width and height rounded down to a multiple (8 in diffusers, 32 or 64 in CompVis), at least one multiple. */
export declare function sizeInMultiples({ width, height }: {
    width: number;
    height: number;
}, multiple: number): {
    width: number;
    height: number;
};
/**
 * byte / 255 * 2 - 1 in three planes. Grey is repeated. Transparency is dropped, as Pillow's convert('RGB') in both references does: the colours stored under
 * transparent pixels count.
 */
export declare function toPlanar({ data, width, height, channels }: Pick<RawImage, 'data' | 'width' | 'height' | 'channels'>): Promise<PlanarImage>;
