import { DiffusionHost, type HostOptions, type PipelineInfo } from '../index.js';
/** Limits for pages. */
export interface PageLimits {
    /** Pixels of an image, and of those that a page gives, times `count`. Default 1,048,576 (1024x1024). */
    maxPixels?: number;
    /** Default 100. */
    maxSteps?: number;
    /** Waiting and running jobs per page. Default 8. */
    maxJobs?: number;
    /** Whether pages may pass paths of image files. Default false. */
    files?: boolean;
}
/** Options of {@link createDiffusionHost} in Electron. */
export interface ElectronHostOptions extends Omit<HostOptions, 'isolate' | 'execArgv'> {
    /** `utilityProcess` (default): a crash of native code ends only that process. `none`: in the main process. */
    isolate?: 'utilityProcess' | 'none';
    /**
     * Pages that may connect, by the origin of the frame's document: `app://bundle`, `https://example.org`, `file://` for files of the application. Default:
     * none; the main process always has access.
     */
    allowedOrigins?: readonly string[];
    /** Limits for pages. */
    limits?: PageLimits;
    /** When waiting jobs do not start, by Electron's `powerMonitor`. */
    power?: PowerOptions;
}
/** Reasons to let waiting jobs wait. A running job always ends; the system itself stops it while it sleeps. */
export interface PowerOptions {
    /** On battery power. Default `ignore`. */
    onBattery?: 'pause' | 'ignore';
    /** Between the announcement that the system will sleep and its waking. Default `pause`. */
    onSuspend?: 'pause' | 'ignore';
}
/** A {@link DiffusionHost} that pages of an Electron application can use. */
export declare class ElectronDiffusionHost extends DiffusionHost {
    #private;
    pause(): void;
    /** Lets waiting jobs start again, unless they wait because of `power`. Idempotent. */
    resume(): void;
    /** A model's description; the first request loads it. */
    infoOf(model: unknown): Promise<PipelineInfo>;
    close(): Promise<void>;
}
/**
 * Creates the application's engine, once, in the main process: in a utility process, with a queue, available to the pages of `allowedOrigins`:
 * a {@link DiffusionHost}.
 *
 * @example
 * const host = createDiffusionHost({ models: { main: path.join(process.resourcesPath, 'model.gguf') }, allowedOrigins: ['app://bundle'] })
 */
export declare function createDiffusionHost(options?: ElectronHostOptions): ElectronDiffusionHost;
