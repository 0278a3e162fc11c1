import type { NativePipeline } from '../native/contract.js';
import type { CallOptions, ImageInput, LoadOptions, PipelineInfo } from '../types.js';
/** The embedding of a picture, [dim], by the image tower of a loaded pipeline. */
export declare function embedImage(native: NativePipeline, info: PipelineInfo, image: ImageInput, signal?: AbortSignal): Promise<Float32Array>;
/**
 * CLIP's image encoder on its own, to build retrieval databases and to search them by pictures: `ViT-L/14` for the public retrieval-augmented model.
 * Inside a pipeline: `pipe.embedImage()`.
 */
export declare class ImageEncoder implements AsyncDisposable {
    #private;
    private constructor();
    /**
     * Loads the image tower of a CLIP file or folder (OpenAI's names or Hugging Face's); its text tower is left alone.
     * @throws UnsupportedModelError for a file without one
     */
    static load(source: string | URL, options?: Omit<LoadOptions, 'kind'>): Promise<ImageEncoder>;
    /** Width of an embedding: 768 for ViT-L/14. */
    get dim(): number;
    /** The embedding of a picture, [dim], as CLIP gives it (its length is not 1). The picture is resized as a whole to the encoder's square. */
    embed(image: ImageInput, options?: CallOptions): Promise<Float32Array>;
    /** Waits for running work and frees everything. Idempotent. */
    dispose(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
