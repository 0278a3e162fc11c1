import type { NativeCallbacks, NativeJob, NativePhase } from './contract.js';
import type { Progress } from '../types.js';
/** What a call wants to hear while it runs. */
export interface JobHooks {
    signal?: AbortSignal | undefined;
    onProgress?: ((progress: Progress) => unknown) | undefined;
    onPreview?: NativeCallbacks['onPreview'];
}
/** Adds times to the engine's progress events. */
export declare function progressReporter(onProgress: (progress: Progress) => unknown): (phase: NativePhase, step: number, steps: number) => unknown;
/**
 * Starts a job and waits for it. An error thrown by a callback (or a promise of it that rejects) cancels the job and rejects the call with that very error.
 * `discard` frees a result that arrives although the call failed.
 */
export declare function runJob<T>(start: (callbacks: NativeCallbacks) => NativeJob<T>, hooks?: JobHooks, discard?: (result: T) => void): Promise<T>;
/** Calls that have begun but not settled; some are still reading a picture before the engine hears of them. */
export declare class InFlight {
    #private;
    track<T>(call: Promise<T>): Promise<T>;
    /** Resolves when all of them have settled, one way or the other. */
    settled(): Promise<void>;
}
