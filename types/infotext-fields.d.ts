import type { ResolvedOptions } from './types.js';
/** The "parameters" text of one picture. `options.seed` is that picture's own. */
export declare function writeInfotext(options: ResolvedOptions, model: string): string;
