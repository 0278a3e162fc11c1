import type { PipelineInfo, ResolvedOptions } from './types.js';
/** The "parameters" text of one picture. `options.seed` is that picture's own. */
export declare function writeInfotext(options: ResolvedOptions, info: PipelineInfo, model: string): string;
