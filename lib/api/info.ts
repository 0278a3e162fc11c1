import { guarded } from '../native/call.js'
import type { NativePipeline } from '../native/contract.js'
import { labelsOfModel } from '../labels/model-labels.js'
import { layoutEncoding } from '../model/spec.js'
import type { GenerateDefaults, PipelineInfo } from '../types.js'

/** Facts about conditioning that only TypeScript knows: the encoding of boxes, and names of classes. */
function withNames(info: PipelineInfo): PipelineInfo {
  switch (info.kind) {
    case 'layout': {
      const { classes, maxObjects } = layoutEncoding(info)
      return { ...info, condition: { ...info.condition, classes, maxObjects }, classes: labelsOfModel(info.spec, 'layout', classes)?.names ?? [] }
    }
    case 'class': {
      const { classes: inputs, nullClass } = info.condition
      const classes = nullClass === inputs - 1 ? nullClass : inputs
      return { ...info, condition: { ...info.condition, classes }, classes: labelsOfModel(info.spec, 'class', classes)?.names ?? [] }
    }
    case 'semantic':
      return { ...info, classes: labelsOfModel(info.spec, 'semantic', info.condition.labels)?.names ?? [] }
    default:
      return info
  }
}

/** The engine's placeholders for "decided by the sampler or the model" are not valid option values, so they are removed. */
function settle({ eta, clipSkip, schedule, timesteps, ...settled }: GenerateDefaults): GenerateDefaults {
  return {
    ...settled,
    ...(schedule ? { schedule } : {}),
    ...(timesteps?.length ? { timesteps } : {}),
    ...(eta !== undefined && eta >= 0 ? { eta } : {}),
    ...(clipSkip ? { clipSkip } : {}),
  }
}

/** The description of a loaded model. */
export function readInfo(native: NativePipeline): PipelineInfo {
  const info = JSON.parse(guarded(() => native.info())) as PipelineInfo
  const schedules = info.schedules.filter((name) => name !== 'custom') // given as a Float32Array, not by name
  return withNames({ ...info, schedules, defaults: settle(info.defaults) })
}
