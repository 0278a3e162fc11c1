import type { NativeAddon, NativeJob } from './contract.js';
/** The engine, loaded at its first use. Throws BinaryNotFoundError, or DeviceError on a processor that the binary cannot run on. */
export declare function addon(): NativeAddon;
/** An error of the binary as the public class that it means. Anything else is passed through as it is. */
export declare function toPublicError(error: unknown, site?: string): unknown;
/** Calls native code that answers at once. */
export declare function guarded<T>(call: () => T): T;
/**
 * Starts a native job and waits for it. A signal that is already aborted keeps native code untouched; one that is aborted later cancels the job, whether it
 * is queued or running. Both reject with `signal.reason`. Nothing of the signal is held once the job has settled.
 */
export declare function run<T>(start: () => NativeJob<T>, signal?: AbortSignal | null): Promise<T>;
