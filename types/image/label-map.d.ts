/** Label maps of semantic synthesis: one whole number per pixel. */
import type { SemanticMapInput } from '../inputs.js';
/** Labels row by row, of [height, width]. */
export interface Labels {
    data: Int32Array;
    width: number;
    height: number;
}
/** Reads a label map and checks that every number is below `labels`. */
export declare function readLabelMap(input: SemanticMapInput, labels: number, name?: string): Promise<Labels>;
