/** The models of a host: what their options are, and how they are read. */
import { invalidRange, invalidType, isUrl, show } from '../options/validate.js'
import type { WireModel } from '../rpc/protocol.js'
import { encode } from '../rpc/wire.js'
import type { LoadOptions, ModelSource } from '../types.js'

/** A model of a host: its source and load options. */
export interface HostedModel extends Omit<LoadOptions, 'signal' | 'onProgress' | 'kind'> {
  /** Default: the embedded model. */
  source?: ModelSource
}

const modelName = /^[\w][\w.-]{0,63}$/

/** A model and its name. `where` names the model in errors. */
export function readModel(name: unknown, model: unknown, where: string): WireModel {
  if (typeof name !== 'string' || !modelName.test(name))
    throw invalidRange(`${show(name)} is not a valid name: use up to 64 letters, digits, dots, dashes and underscores`)
  if (typeof model === 'string' || isUrl(model)) return { name, source: encode(model, where), options: {} }
  if (typeof model !== 'object' || model === null || Array.isArray(model))
    throw invalidType(`${where} must be a model source or { source, ...options of load() }, not ${show(model)}`)
  const { source, ...options } = model as HostedModel
  for (const key of ['signal', 'onProgress', 'kind'])
    if ((options as Record<string, unknown>)[key] !== undefined) throw invalidType(`${where}: option '${key}' is not for the models of a host`)
  return { name, source: encode(source, `${where}.source`), options: encode(options, where) }
}

/** The option `models`, by name. */
export function readModels(models: unknown): Map<string, WireModel> {
  const given = models === undefined ? { default: {} } : models
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidType(`models must be an object of models by name, not ${show(given)}`)
  const read = new Map<string, WireModel>()
  for (const [name, model] of Object.entries(given as Record<string, unknown>)) read.set(name, readModel(name, model, `models.${name}`))
  if (read.size === 0) throw invalidRange('models is empty')
  return read
}
