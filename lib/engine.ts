/** From a model source to the engine's handles: what load, inspect, convert and estimateMemory share. */
import { DiffusionError, UnsupportedModelError } from './errors.js'
import { runJob, type JobHooks } from './job.js'
import { addon } from './native/call.js'
import type { NativeJob, NativeCallbacks, NativeLoadRequest } from './native/contract.js'
import type { ResolvedLoad } from './options.js'
import { unpackOuterZip, type Unpacked } from './outer-zip.js'
import { resolveSource, sourceRequest, type ResolvedSource } from './sources.js'
import type { ModelSource, PipelineInfo } from './types.js'

/** A source on disk, ready for the engine; `dispose()` deletes what was unpacked for it. */
export interface PreparedSource {
  source: ResolvedSource
  request: NativeLoadRequest
  dispose(): Promise<void>
}

function isOuterZip(error: unknown): boolean {
  const details: unknown = error instanceof DiffusionError ? error.details : undefined
  return typeof details === 'object' && details !== null && (details as { reason?: unknown }).reason === 'outer_zip'
}

/** Resolves `source`, runs `job` on it, and once more on the unpacked file where the checkpoint lies inside an outer zip. */
export async function withSource<T>(
  source: ModelSource | undefined,
  load: ResolvedLoad,
  job: (request: NativeLoadRequest, source: ResolvedSource) => (callbacks: NativeCallbacks) => NativeJob<T>,
  options: { hooks?: JobHooks; discard?: (result: T) => void; firstStageOnly?: boolean } = {},
): Promise<{ result: T; prepared: PreparedSource }> {
  const hooks = options.hooks ?? { signal: load.signal, onProgress: load.onProgress }
  hooks.signal?.throwIfAborted()
  let resolved = await resolveSource(source, load.config)
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
      const config = resolved.config ?? unpacked.config
      resolved = { ...resolved, model: unpacked.file, ...(config ? { config } : {}) }
      result = await attempt()
    }
    return { result, prepared: { source: resolved, request: request(), dispose: async () => unpacked?.dispose() } }
  } catch (error) {
    await unpacked?.dispose()
    throw error
  }
}

/** Refuses a model of another kind than the caller counts on. */
export function checkKind(info: PipelineInfo, { kind }: ResolvedLoad, { source }: PreparedSource): PipelineInfo {
  if (kind === undefined || kind === info.kind) return info
  const message = `${info.name || source.name} is a model of the kind '${info.kind}', not '${kind}'`
  throw new UnsupportedModelError(message, { kind: info.kind, expected: kind })
}

/** The engine, for jobs that need nothing but it. */
export { addon }
