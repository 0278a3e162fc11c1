/** Label maps of semantic synthesis: one whole number per pixel. */
import type { SemanticMapInput } from '../kinds/inputs.js';
import { type PixelNumbers } from './pixel-numbers.js';
/** Labels row by row, of [height, width]. */
export type Labels = PixelNumbers<Int32Array>;
/** Reads a label map and checks that every number is below `labels`. */
export declare function readLabelMap(input: SemanticMapInput, labels: number, name?: string): Promise<Labels>;
