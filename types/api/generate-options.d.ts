/** Validation and defaults of generate(). */
import { type ResolvedInputs } from '../kinds/conditions.js';
import type { MaskInput } from '../kinds/inputs.js';
import type { Latents } from './latents.js';
import { type ResolvedSampling } from '../options/options.js';
import type { GenerateOptions, ImageInput, PipelineInfo, PreviewOptions, Progress } from '../types.js';
export declare const previewMethods: readonly ["linear", "vae"];
/** The checked options of a generate() call; the size is settled later where it follows the picture's. */
export interface ResolvedGenerate {
    inputs: ResolvedInputs;
    /** Where the model is guided by prompts. */
    negativePrompt: string | undefined;
    width: number | undefined;
    height: number | undefined;
    count: number;
    sampling: ResolvedSampling;
    /** Start of image to image, and what of it to repaint. */
    start: ImageInput | undefined;
    startMask: MaskInput | undefined;
    latents: Latents | undefined;
    preview: Required<PreviewOptions> | undefined;
    onProgress: ((progress: Progress) => unknown) | undefined;
    signal: AbortSignal | undefined;
}
/** Sides of kinds whose inputs set the size, and of a picture with a mask, are compared with it later; they need not be multiples of anything. */
export declare function resolveSize(o: Record<string, unknown>, info: PipelineInfo): {
    width: number | undefined;
    height: number | undefined;
};
export declare function resolveGenerate(options: GenerateOptions | undefined, info: PipelineInfo, where?: string): ResolvedGenerate;
