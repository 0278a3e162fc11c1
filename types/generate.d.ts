import type { NativePipeline } from './native/contract.js';
import type { PipelineTokenizer } from './tokenizer.js';
import type { GenerateOptions, GenerateResult, PipelineInfo } from './types.js';
/** What generate() needs of a pipeline. */
export interface GenerateContext {
    native: NativePipeline;
    info: PipelineInfo;
    tokenizer: () => PipelineTokenizer;
    /** For the settings in the picture. */
    modelName: string;
}
/** One generate() call. */
export declare function generate(context: GenerateContext, options: GenerateOptions | undefined): Promise<GenerateResult>;
