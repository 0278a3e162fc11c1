import { DiffusionHost, type HostOptions, type PipelineInfo } from '../index.js';
/** What pages may ask for. */
export interface PageLimits {
    /** Pixels of a picture, and of those that a page gives, times `count`. Default 1,048,576 (1024x1024). */
    maxPixels?: number;
    /** Default 100. */
    maxSteps?: number;
    /** Jobs of one page that wait or run. Default 8. */
    maxJobs?: number;
    /** Whether pages may name files of the computer as pictures. Default false. */
    files?: boolean;
}
/** Options of {@link createDiffusionHost} in Electron. */
export interface ElectronHostOptions extends Omit<HostOptions, 'isolate' | 'execArgv'> {
    /** `utilityProcess` (default): a crash of native code ends that process alone. `none`: in the main process. */
    isolate?: 'utilityProcess' | 'none';
    /**
     * Pages that may connect, by the origin of the frame's document: `app://bundle`, `https://example.org`, `file://` for files of the application. Default: none; the main
     * process itself always may.
     */
    allowedOrigins?: readonly string[];
    /** What pages may ask for. */
    limits?: PageLimits;
}
/** A {@link DiffusionHost} that pages of an Electron application can use. */
export declare class ElectronDiffusionHost extends DiffusionHost {
    #private;
    /** A model's description; the first to ask loads it. */
    infoOf(model: unknown): Promise<PipelineInfo>;
    close(): Promise<void>;
}
/**
 * Makes the application's engine, once, in the main process: in a utility process, with a queue, and open to the pages of `allowedOrigins` ({@link DiffusionHost}).
 *
 * @example
 * const host = createDiffusionHost({ models: { main: path.join(process.resourcesPath, 'model.gguf') }, allowedOrigins: ['app://bundle'] })
 */
export declare function createDiffusionHost(options?: ElectronHostOptions): ElectronDiffusionHost;
