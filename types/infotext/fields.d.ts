import type { AnyResolvedOptions, PipelineInfo } from '../types.js';
/** The "parameters" text of one picture. `options.seed` is that picture's own, `version` that of this package. */
export declare function writeInfotext(options: AnyResolvedOptions, model: string, info: PipelineInfo, version: string): string;
