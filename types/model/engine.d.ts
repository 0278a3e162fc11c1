import { type JobHooks } from '../native/job.js';
import { addon } from '../native/call.js';
import type { NativeJob, NativeCallbacks, NativeLoadRequest, NativePipeline } from '../native/contract.js';
import type { ResolvedLoad } from '../options/options.js';
import { type ResolvedSource } from './sources.js';
import type { ModelSource, PipelineInfo } from '../types.js';
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
/** The job that loads a pipeline. */
export declare function loadPipeline(request: NativeLoadRequest): (callbacks: NativeCallbacks) => NativeJob<NativePipeline>;
/** Frees a pipeline that nobody waits for any more. */
export declare function discardPipeline(pipeline: NativePipeline): void;
/** A loaded model, and the calls on it that have not settled: what the classes that hold one are made around. */
export declare class LoadedModel {
    #private;
    readonly native: NativePipeline;
    private constructor();
    /** `what`: the model in messages. */
    static load(source: ModelSource | undefined, load: ResolvedLoad, what: string, options?: {
        firstStageOnly?: boolean;
    }): Promise<LoadedModel>;
    get source(): ResolvedSource;
    /** Fails from the first `dispose()` on. */
    usable(): void;
    /** Keeps the model until the call has settled. */
    track<T>(call: Promise<T>): Promise<T>;
    /** Waits for the calls and frees everything. Idempotent. */
    dispose(): Promise<void>;
}
/** Refuses a model of another kind than the caller counts on. */
export declare function checkKind(info: PipelineInfo, { kind }: ResolvedLoad, { source }: Pick<PreparedSource, 'source'>): PipelineInfo;
/** The engine, for jobs that need nothing but it. */
export { addon };
