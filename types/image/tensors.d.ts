import { RawImage } from './raw-image.js';
import type { NativePicture } from '../native/contract.js';
import type { FloatImage, ImageInput } from '../types.js';
/** An image option, read: pictures stay pictures, so that a file is read once for several uses. */
export declare function readImage(image: ImageInput): Promise<FloatImage | RawImage>;
/** An image option as planar floats. With `size`, pictures are resized to it; exact floats must already have it. */
export declare function imageTensor(image: ImageInput, name: string, size?: {
    width: number;
    height: number;
}): Promise<FloatImage>;
/** A picture of the engine as the public class. */
export declare function toRawImage({ data, width, height, channels }: NativePicture, metadata?: Record<string, string>): RawImage;
