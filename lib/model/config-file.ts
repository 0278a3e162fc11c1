/** The original configuration: a CompVis/Stability .yaml next to a checkpoint, or given by the caller. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { parseDocument } from 'yaml'
import { ModelFormatError } from '../errors.js'
import { readRegular } from '../files/regular-file.js'
import { fileUrlToPath, invalidType, isUrl, plainObject, show } from '../options/validate.js'

/** The original configurations have a few kilobytes. */
const maxBytes = 1 << 20

/** Parses a configuration text; throws ModelFormatError naming `where`. Unknown tags are data; alias bombs are rejected. */
export function parseConfig(text: string, where: string): Record<string, unknown> {
  let value: unknown
  try {
    const document = parseDocument(text, { logLevel: 'silent', prettyErrors: true, stringKeys: true })
    const [problem] = document.errors
    if (problem) throw problem
    // Converts to plain data; rejects aliases inside their own anchor.
    value = JSON.parse(JSON.stringify(document.toJS({ maxAliasCount: 100 })) ?? 'null')
  } catch (error) {
    throw new ModelFormatError(`${where} is not a YAML configuration: ${(error as Error).message}`)
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new ModelFormatError(`${where} is not a configuration: its top level is not a mapping`)
  return value as Record<string, unknown>
}

/** Reads a required configuration. */
async function readNamedConfig(file: string): Promise<Record<string, unknown>> {
  const refuse = (message: string, details: Record<string, unknown>) =>
    new ModelFormatError(`${message}; a CompVis/Stability .yaml is expected`, details)
  return parseConfig((await readRegular(file, { what: 'The configuration', maxBytes, refuse })).toString('utf8'), file)
}

/** The caller's `config` as an object that can be passed to native code. */
export async function givenConfig(config: unknown): Promise<Record<string, unknown>> {
  if (typeof config === 'string') return requireModel(await readNamedConfig(path.resolve(config)), config)
  if (isUrl(config)) return requireModel(await readNamedConfig(fileUrlToPath(config.href, 'config')), config.href)
  if (config === null || typeof config !== 'object' || Array.isArray(config))
    throw invalidType(`config must be a path or an object, not ${show(config)}`)
  return requireModel(plainObject(config, 'config'), 'config')
}

function hasModel(config: Record<string, unknown>): boolean {
  return typeof config.model === 'object' && config.model !== null
}

function requireModel(config: Record<string, unknown>, where: string): Record<string, unknown> {
  if (!hasModel(config))
    throw new ModelFormatError(`${where} has no "model" section: a CompVis/Stability configuration is expected (model.target, model.params)`)
  return config
}

/** The configuration next to a checkpoint: NAME.yaml, else config.yaml; undefined if there is none. Files without a "model" section are ignored. */
export async function configBeside(checkpoint: string): Promise<Record<string, unknown> | undefined> {
  const { dir, name } = path.parse(checkpoint)
  for (const candidate of [`${name}.yaml`, `${name}.yml`, 'config.yaml']) {
    const file = path.join(dir, candidate)
    const isFile = await stat(file).then(
      (status) => status.isFile(),
      () => false,
    )
    if (!isFile) continue
    const config = await readNamedConfig(file)
    if (hasModel(config)) return config
  }
  return undefined
}
