/** Tells TAESD from TAESDXL by name: their tensors have the same names and shapes, but they read the latents of different families. */
import path from 'node:path'
import { ModelFormatError } from '../errors.js'
import { readTextIfAny, type FileKind } from '../files/regular-file.js'
import type { ResolvedSource } from '../model/sources.js'
import type { GenerateWarning, PipelineInfo } from '../types.js'
import { openTensors } from './tensors.js'

type Latents = 'sd' | 'sdxl'

const names = { sd: 'TAESD', sdxl: 'TAESDXL' } as const
const models = { sd: 'Stable Diffusion 1.x and 2.x', sdxl: 'SDXL' } as const
const families: Record<string, Latents | undefined> = { sd1: 'sd', sd2: 'sd', sdxl: 'sdxl' }

/** Folders above a file whose names may say it: those of a hub's cache are `models--OWNER--NAME/snapshots/COMMIT/vae`. */
const levels = 4
const longest = 1000
const configFile: FileKind = { what: 'The configuration', maxBytes: 1 << 20, refuse: (message, details) => new ModelFormatError(message, details) }

/** The latents that a text names; undefined if it names none or both. */
export function namedLatents(text: string): Latents | undefined {
  const all = text.slice(0, longest).match(/taesd[-_ ]?xl|(?:sd)?xl[-_ ]taesd|taesd(?![a-z0-9])/gi) ?? []
  const found = new Set(all.map((name): Latents => (/xl/i.test(name) ? 'sdxl' : 'sd')))
  return found.size === 1 ? [...found][0] : undefined
}

/** Texts in which a file or folder says what it is. Reading them must not make a model fail that has been loaded. */
async function descriptions(place: string): Promise<unknown[]> {
  const metadata = async () => {
    using file = await openTensors(place)
    return Object.values(file.metadata)
  }
  const config = async () => {
    const text = await readTextIfAny(path.join(place, 'config.json'), configFile)
    return [(JSON.parse(text ?? 'null') as Record<string, unknown> | null)?._name_or_path]
  }
  const read = await Promise.all([metadata, config].map((one) => one().catch(() => [])))
  return read.flat()
}

async function latentsOf(place: string): Promise<Latents | undefined> {
  const parts = path.resolve(place).split(path.sep).reverse()
  const name = parts
    .slice(0, 1 + levels)
    .map(namedLatents)
    .find(Boolean)
  if (name) return name
  const texts = (await descriptions(place)).filter((one) => typeof one === 'string')
  return texts.map(namedLatents).find(Boolean)
}

async function warning(place: string | undefined, what: string, info: PipelineInfo): Promise<GenerateWarning[]> {
  const own = families[info.spec.family]
  const found = place === undefined || !own ? undefined : await latentsOf(place)
  if (!own || !found || found === own) return []
  const message =
    `${what}: ${path.basename(place!)} is a ${names[found]} by its name, for the latents of ${models[found]}; ` +
    `this model has those of ${models[own]}, so that colours will be wrong. Use ${names[own]}`
  return [{ code: 'WARN_VAE_FAMILY', message }]
}

/** Warnings about the tiny autoencoders of a model: the one in place of its first stage, and the one for previews. */
export interface TinyWarnings {
  vae: GenerateWarning[]
  previewVae: GenerateWarning[]
}

export async function tinyWarnings({ vae, previewVae }: ResolvedSource, info: PipelineInfo): Promise<TinyWarnings> {
  const isTiny = info.spec.firstStage?.kind === 'tiny'
  return { vae: isTiny ? await warning(vae, 'vae', info) : [], previewVae: await warning(previewVae, 'previewVae', info) }
}
