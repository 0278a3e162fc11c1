/** Pictures as the CLIP image encoder of the retrieval-augmented models takes them (FrozenClipImageEmbedder of latent-diffusion). */
import { type PlanarImage } from './preprocess.js';
import type { RawImage } from './raw-image.js';
/**
 * torch.nn.functional.interpolate(mode='bicubic'), without antialiasing, of planes [n, height, width]. `alignCorners` puts the centres of the outer pixels on each
 * other; otherwise their borders.
 */
export declare function resizeBicubic(data: Float32Array, [planes, height, width]: readonly [number, number, number], [outHeight, outWidth]: readonly [number, number], alignCorners: boolean): Promise<Float32Array>;
/**
 * A picture for the encoder, [1, 3, size, size]: resized as a whole (cubic, corners aligned, no antialiasing, whatever its proportions), then CLIP's mean and
 * deviation. Transparency is dropped.
 */
export declare function toClipInput(image: Pick<RawImage, 'data' | 'width' | 'height' | 'channels'>, size?: number): Promise<PlanarImage>;
