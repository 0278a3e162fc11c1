/** encodeCondition() and loss(): what a model is conditioned on, in the caller's hands, and the training objective as a measurement. */
import { type ConditionContext } from '../kinds/conditions.js';
import { Conditioning } from './conditioning.js';
import type { NativePipeline } from '../native/contract.js';
import type { EncodeConditionOptions, ImageInput, LossOptions, LossResult } from '../types.js';
/** What these calls need of a pipeline. */
export interface EncodeContext extends ConditionContext {
    native: NativePipeline;
}
/** Runs the conditioners of any kind of model. */
export declare function encodeCondition(context: EncodeContext, inputs: unknown, options: EncodeConditionOptions | undefined): Promise<Conditioning>;
/** The denoising loss of one picture at some timesteps. */
export declare function loss(context: EncodeContext, image: ImageInput, inputs: unknown, options: LossOptions | undefined): Promise<LossResult>;
/** The embedding of a prompt, for the search in a retrieval database: the first token of a retrieval-augmented model's condition. */
export declare function encodeQuery({ native, tokenizer }: Pick<EncodeContext, 'native' | 'tokenizer'>, prompt: string, signal?: AbortSignal): Promise<Float32Array>;
