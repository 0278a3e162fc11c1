import type { PipelineInfo } from '../types.js';
export declare function takesStartPicture({ kind }: Pick<PipelineInfo, 'kind'>): boolean;
/** Whether prompts and negative prompts steer the model: all text models, Stable Diffusion inpainting, the SD x4 upscaler. */
export declare function takesPrompts(info: PipelineInfo): boolean;
/** Names of the inputs that the model's condition takes: those of encodeCondition(). */
export declare function conditionKeys(info: PipelineInfo): string[];
/** Names of the inputs that generate() takes: those of the condition, the negative prompt, and image to image. */
export declare function generateInputKeys(info: PipelineInfo): string[];
/** What a message says that the model takes. */
export declare function describeInputs(info: PipelineInfo, startPicture?: boolean): string;
/** Refusals of the inputs that the model does not take, for {@link knownKeys}. */
export declare function refusedInputs(info: PipelineInfo, startPicture?: boolean): Record<string, string>;
