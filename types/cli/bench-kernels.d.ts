import type { Kernels } from '../index.js';
import type { BenchValues, Report } from './bench-report.js';
import { type Io } from './command.js';
/** A set of kernels, `ggml` for none of ours; with `int8`, weights in 8-bit integers whatever the flags say. */
export interface SetOfRun {
    set: string;
    int8?: boolean;
}
export interface Run extends SetOfRun {
    report: Report;
}
/** Throws where this processor has no set of this name. */
export declare function checkSet(set: string, { available }: Kernels): void;
/** What --all runs. The portable sets stay out: they are there for processors that have nothing else, and would take the most of the time. */
export declare function setsOf({ available }: Kernels): SetOfRun[];
/** One run of the command in a process of its own. */
export declare function runInChild(wanted: SetOfRun, values: BenchValues, model: string | undefined, { signal }: Io): Promise<Report>;
/** Every set, one after the other: they would share the cores. */
export declare function runAll(kernels: Kernels, values: BenchValues, model: string | undefined, io: Io): Promise<Run[]>;
/** The runs side by side. */
export declare function renderRuns(runs: readonly Run[]): string;
