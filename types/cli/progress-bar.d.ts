/** One line on a terminal that is rewritten in place; nothing at all elsewhere. */
import type { Progress } from '../index.js';
import type { Io } from './command.js';
/** The line for a state, at most `columns` wide. */
export declare function progressLine({ phase, step, steps, etaMs }: Progress, columns: number): string;
export interface ProgressBar {
    update: (progress: Progress) => void;
    /** Removes the line. */
    clear: () => void;
}
export declare function progressBar({ stderr }: Io, quiet?: boolean): ProgressBar;
