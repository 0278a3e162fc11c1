import { guarded } from './native/call.js'
import type { NativePipeline } from './native/contract.js'
import type { PipelineInfo } from './types.js'

/** What was loaded. The engine's marks for "left to the sampler or the model" are no values that an option takes: they become absent. */
export function readInfo(native: NativePipeline): PipelineInfo {
  const info = JSON.parse(guarded(() => native.info())) as PipelineInfo
  const { eta, clipSkip, schedule, ...settled } = info.defaults
  return {
    ...info,
    defaults: {
      ...settled,
      ...(schedule ? { schedule } : {}),
      ...(eta !== undefined && eta >= 0 ? { eta } : {}),
      ...(clipSkip ? { clipSkip } : {}),
    },
  }
}
