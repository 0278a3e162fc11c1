import { type JobHooks } from './job.js';
import { addon } from './native/call.js';
import type { NativeJob, NativeCallbacks, NativeLoadRequest } from './native/contract.js';
import type { ResolvedLoad } from './options.js';
import { type ResolvedSource } from './sources.js';
import type { ModelSource, PipelineInfo } from './types.js';
/** A source on disk, ready for the engine; `dispose()` deletes what was unpacked for it. */
export interface PreparedSource {
    source: ResolvedSource;
    request: NativeLoadRequest;
    dispose(): Promise<void>;
}
/** Resolves `source`, runs `job` on it, and once more on the unpacked file where the checkpoint lies inside an outer zip. */
export declare function withSource<T>(source: ModelSource | undefined, load: ResolvedLoad, job: (request: NativeLoadRequest, source: ResolvedSource) => (callbacks: NativeCallbacks) => NativeJob<T>, options?: {
    hooks?: JobHooks;
    discard?: (result: T) => void;
    firstStageOnly?: boolean;
}): Promise<{
    result: T;
    prepared: PreparedSource;
}>;
/** Refuses a model of another kind than the caller counts on. */
export declare function checkKind(info: PipelineInfo, { kind }: ResolvedLoad, { source }: PreparedSource): PipelineInfo;
/** The engine, for jobs that need nothing but it. */
export { addon };
