import type { NativePipeline } from './native/contract.js';
import type { PipelineInfo } from './types.js';
/** What was loaded. The engine's marks for "left to the sampler or the model" are no values that an option takes: they become absent. */
export declare function readInfo(native: NativePipeline): PipelineInfo;
