/** Pictures that do not fit the networks: grown to the next size that does, as native/pipeline/framing.h has it, and cut again from the top left. */
import type { NativePicture } from '../native/contract.js';
import type { Mask } from './mask.js';
/** Width and height in pixels. */
export interface Size {
    width: number;
    height: number;
}
/** Planar floats, [n, c, height, width]. */
interface Planes {
    data: Float32Array;
    shape: readonly number[];
}
/** Width and height rounded up to a multiple. */
export declare function framedSize({ width, height }: Size, multiple: number): Size;
/** [n, c, h, w] grown by repeating the last row and column. */
export declare function padEdges(image: Planes, { width, height }: Size): Promise<Planes>;
/** A mask grown by what is not repainted. */
export declare function padMask(mask: Mask, { width, height }: Size): Mask;
/** The top left of a picture; one that is smaller stays as it is. */
export declare function cropPicture(picture: NativePicture, size: Size): NativePicture;
export {};
