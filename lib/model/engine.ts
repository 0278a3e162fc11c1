/** From a model source to the engine's handles, for load, inspect, convert and estimateMemory. */
import { DiffusionError, DisposedError, UnsupportedModelError } from '../errors.js'
import { InFlight, runJob, type JobHooks } from '../native/job.js'
import { addon } from '../native/call.js'
import type { NativeJob, NativeCallbacks, NativeLoadRequest, NativePipeline } from '../native/contract.js'
import type { ResolvedLoad } from '../options/load.js'
import { prepareDevice } from './gpu.js'
import { unpackOuterZip, type Unpacked } from './outer-zip.js'
import { resolveSource, sourceRequest, type ResolvedSource } from './sources.js'
import type { ModelSource, PipelineInfo } from '../types.js'

/** A source on disk, ready for the engine; `dispose()` deletes unpacked files. */
export interface PreparedSource {
  source: ResolvedSource
  request: NativeLoadRequest
  dispose(): Promise<void>
}

function isOuterZip(error: unknown): boolean {
  const details: unknown = error instanceof DiffusionError ? error.details : undefined
  return typeof details === 'object' && details !== null && (details as { reason?: unknown }).reason === 'outer_zip'
}

/** Resolves `source` and runs `job` on it; again on the unpacked file if the checkpoint is inside a zip. */
export async function withSource<T>(
  source: ModelSource | undefined,
  load: ResolvedLoad,
  job: (request: NativeLoadRequest, source: ResolvedSource) => (callbacks: NativeCallbacks) => NativeJob<T>,
  options: { hooks?: JobHooks; discard?: (result: T) => void; firstStageOnly?: boolean } = {},
): Promise<{ result: T; prepared: PreparedSource }> {
  const hooks = options.hooks ?? { signal: load.signal, onProgress: load.onProgress }
  hooks.signal?.throwIfAborted()
  await prepareDevice(load.request.device ?? 'auto', hooks.signal)
  const { config, hub } = load
  let resolved = await resolveSource(source, {
    config,
    hub,
    signal: hooks.signal,
    onProgress: hooks.onProgress,
    firstStageOnly: options.firstStageOnly,
  })
  let unpacked: Unpacked | undefined
  const request = (): NativeLoadRequest => ({
    ...load.request,
    ...sourceRequest(resolved),
    ...(options.firstStageOnly ? { firstStageOnly: true } : {}),
  })
  const attempt = () => runJob(job(request(), resolved), hooks, options.discard)
  try {
    let result: T
    try {
      result = await attempt()
    } catch (error) {
      if (!isOuterZip(error)) throw error
      unpacked = await unpackOuterZip(resolved.model, hooks.signal ?? undefined)
      const inside = resolved.config ?? unpacked.config
      resolved = { ...resolved, model: unpacked.file, ...(inside ? { config: inside } : {}) }
      result = await attempt()
    }
    return { result, prepared: { source: resolved, request: request(), dispose: async () => unpacked?.dispose() } }
  } catch (error) {
    await unpacked?.dispose()
    throw error
  }
}

/** The job that loads a pipeline. */
export function loadPipeline(request: NativeLoadRequest): (callbacks: NativeCallbacks) => NativeJob<NativePipeline> {
  return (callbacks) => addon().loadPipeline(JSON.stringify(request), callbacks)
}

/** Frees a pipeline whose caller has given up. */
export function discardPipeline(pipeline: NativePipeline): void {
  void pipeline.dispose()
}

/** A loaded model and its unsettled calls; the core of the classes with a model. */
export class LoadedModel {
  readonly native: NativePipeline
  readonly #prepared: PreparedSource
  readonly #what: string
  readonly #calls = new InFlight()
  #disposing: Promise<void> | undefined

  private constructor(native: NativePipeline, prepared: PreparedSource, what: string) {
    this.native = native
    this.#prepared = prepared
    this.#what = what
  }

  /** `what`: name of the model in messages. */
  static async load(
    source: ModelSource | undefined,
    load: ResolvedLoad,
    what: string,
    options: { firstStageOnly?: boolean } = {},
  ): Promise<LoadedModel> {
    const { result, prepared } = await withSource(source, load, loadPipeline, { ...options, discard: discardPipeline })
    // The engine has mapped the file. On systems where a mapped file can be deleted, nothing remains however the process ends.
    if (process.platform !== 'win32') await prepared.dispose()
    return new LoadedModel(result, prepared, what)
  }

  get source(): ResolvedSource {
    return this.#prepared.source
  }

  /** Throws after the first `dispose()`. */
  usable(): void {
    if (this.#disposing) throw new DisposedError(`This ${this.#what} has been disposed of`)
  }

  /** Keeps the model alive until the call has settled. */
  track<T>(call: Promise<T>): Promise<T> {
    return this.#calls.track(call)
  }

  /** Waits for the calls and frees everything. Idempotent. */
  dispose(): Promise<void> {
    return (this.#disposing ??= this.#free())
  }

  async #free(): Promise<void> {
    await this.#calls.settled()
    await this.native.dispose().promise
    await this.#prepared.dispose()
  }
}

/** Rejects a model of another kind than the caller expects. */
export function checkKind(info: PipelineInfo, { kind }: ResolvedLoad, { source }: Pick<PreparedSource, 'source'>): PipelineInfo {
  if (kind === undefined || kind === info.kind) return info
  const message = `${info.name || source.name} is a model of kind '${info.kind}', not '${kind}'`
  throw new UnsupportedModelError(message, { kind: info.kind, expected: kind })
}

/** The engine, for jobs without a model. */
export { addon }
