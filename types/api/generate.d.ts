/** generate(): from checked options to one native request, and from its result to pictures with their settings. */
import { type ConditionContext } from '../kinds/conditions.js';
import type { NativePipeline } from '../native/contract.js';
import type { GenerateOptions, GenerateResult } from '../types.js';
/** What generate() needs of a pipeline. */
export interface GenerateContext extends ConditionContext {
    native: NativePipeline;
    /** For the settings in the picture. */
    modelName: string;
}
/** One generate() call. */
export declare function generate(context: GenerateContext, options: GenerateOptions | undefined): Promise<GenerateResult>;
