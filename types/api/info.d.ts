import type { NativePipeline } from '../native/contract.js';
import type { PipelineInfo } from '../types.js';
/** What was loaded. */
export declare function readInfo(native: NativePipeline): PipelineInfo;
