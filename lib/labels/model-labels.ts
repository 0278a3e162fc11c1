/** Names of a model's classes: its own, if any, else those of the public list that it was trained with. */
import { checkLabel, Labels, labelsOf } from './labels.js'
import { conditionerOf } from '../model/spec.js'
import type { ModelSpec } from '../types.js'

const own = new WeakMap<ModelSpec, Labels | undefined>()

/** `names` in the parameters of the conditioner: one string per class, with synonyms after commas. */
function readOwn(spec: ModelSpec, count: number): Labels | undefined {
  const names = conditionerOf(spec, 'class', 'layout', 'spatial_rescaler')?.params?.names
  const sound = Array.isArray(names) && names.length <= count && names.every((name) => typeof name === 'string' && name !== '')
  return sound ? new Labels((names as string[]).map((name) => name.split(', '))) : undefined
}

/** The names of a model's classes, categories or labels; undefined if they are not known. */
export function labelsOfModel(spec: ModelSpec, kind: string, count: number): Labels | undefined {
  if (!own.has(spec)) own.set(spec, readOwn(spec, count))
  return own.get(spec) ?? labelsOf(kind, count)
}

/** A class of the model by its number or one of its names. */
export function checkModelLabel(value: unknown, option: string, spec: ModelSpec, kind: string, count: number): number {
  return checkLabel(value, option, kind, count, labelsOfModel(spec, kind, count))
}
