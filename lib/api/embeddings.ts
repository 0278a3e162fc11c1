/** Reads textual inversion files in all their formats. */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError, ModelFormatError } from '../errors.js'
import { resolveFile, type ResolveOptions } from '../model/sources.js'
import type { ResolvedLoad } from '../options/load.js'
import { invalidRange, invalidType } from '../options/validate.js'
import { EmbeddingTable, type Embedding } from '../text/embeddings.js'
import type { PipelineInfo } from '../types.js'
import { openTensors, type TensorFile, type TensorInfo } from './tensors.js'

const maxEmbeddings = 10_000
/** More than a prompt's window holds; other kinds of files have far larger tensors. */
const maxVectors = 1000
const extension = /\.(safetensors|pt|bin)$/i

/** Widths of the text encoders that read embeddings, and the number of free tokens in a window. */
export interface EmbeddingForm {
  widths: number[]
  room: number
}

/** Undefined if the model has no CLIP text encoder. */
function embeddingForm({ spec }: PipelineInfo): EmbeddingForm | undefined {
  const towers = spec.conditioners.flatMap((one) => {
    const { kind, clip } = one as { kind?: string; clip?: { hiddenSize: number; maxPositionEmbeddings: number } }
    return kind === 'clip_text' && clip ? [clip] : []
  })
  if (towers.length === 0) return undefined
  return { widths: towers.map(({ hiddenSize }) => hiddenSize), room: towers[0]!.maxPositionEmbeddings - 2 }
}

/** Embeddings in a file of adapters: `bundle_emb.WORD.string_to_param.*`, or `bundle_emb.WORD.clip_l` and `.clip_g`. */
function bundledWords(file: TensorFile): { name: string; tensors: TensorInfo[] }[] {
  const words = new Map<string, TensorInfo[]>()
  for (const tensor of file) {
    if (tensor.name.length > 1000) continue
    const [, word] = /^bundle_emb\.(.+)\.(?:string_to_param\..*|emb_params|clip_l|clip_g)$/.exec(tensor.name) ?? []
    if (word === undefined) continue
    const known = words.get(word)
    if (known) known.push(tensor)
    else words.set(word, [tensor])
  }
  return [...words].map(([name, tensors]) => ({ name, tensors }))
}

/** The words of a file: the name of each in the file ('': the file's name) and its tensors by encoder. */
function wordsOf(file: TensorFile): { name: string; tensors: TensorInfo[] }[] {
  const bundled = bundledWords(file)
  if (bundled.length > 0) return bundled
  const get = (name: string) => file.get(name)
  const [l, g] = [get('clip_l'), get('clip_g')]
  if (l || g) return [{ name: '', tensors: [l, g].filter((one) => one !== undefined) }]
  const own = get('emb_params') ?? [...file].find(({ name }) => name.startsWith('string_to_param.'))
  if (own) return [{ name: '', tensors: [own] }]
  return [...file].map((tensor) => ({ name: tensor.name, tensors: [tensor] }))
}

/** The vectors of a tensor: [width] or [count, width]. */
function vectorsOf({ shape }: TensorInfo): { count: number; width: number } | undefined {
  if (shape.length < 1 || shape.length > 2) return undefined
  return { count: shape.length === 1 ? 1 : shape[0]!, width: shape.at(-1)! }
}

function misfit(file: string, tensors: readonly TensorInfo[], { widths }: EmbeddingForm): ModelFormatError {
  const found = tensors.map(({ shape }) => `[${shape.join(', ')}]`).join(' and ')
  return new ModelFormatError(
    `${path.basename(file)}: the embedding has vectors ${found}, the text encoder${widths.length > 1 ? 's' : ''} of this model read${widths.length > 1 ? '' : 's'} ` +
      `${widths.join(' and ')} numbers each; it is for another kind of model`,
    { path: file },
  )
}

async function readWord(file: TensorFile, tensors: readonly TensorInfo[], form: EmbeddingForm): Promise<Omit<Embedding, 'name'>> {
  const sizes = tensors.map(vectorsOf)
  const { count } = sizes[0] ?? { count: 0 }
  // SDXL's refiner reads the vectors for the second of two encoders.
  const taken = form.widths.map((width) => sizes.findIndex((size) => size?.width === width && size.count === count))
  if (count < 1 || count > maxVectors || taken.includes(-1)) throw misfit(file.path, tensors, form)
  if (count > form.room)
    throw new ModelFormatError(
      `${path.basename(file.path)}: the embedding has ${count} vectors; a window of the text encoder has room for ${form.room}`,
    )
  const encoders: Float32Array[] = []
  for (const i of taken) encoders.push(await file.read(tensors[i]!.name, { as: 'float32' }))
  if (encoders.some((numbers) => numbers.some((number) => !Number.isFinite(number))))
    throw new ModelFormatError(`${path.basename(file.path)}: the embedding contains values that are not finite`)
  return { count, encoders }
}

async function readWords(place: string, given: string | undefined, form: EmbeddingForm): Promise<Embedding[]> {
  using file = await openTensors(place)
  const stem = path.basename(place).replace(extension, '')
  const words = wordsOf(file)
  if (words.length === 0) throw misfit(place, [], form)
  const found: Embedding[] = []
  for (const { name, tensors } of words) {
    const word = await readWord(file, tensors, form)
    const names =
      given !== undefined ? [given] : name === '' ? [stem] : words.length === 1 && !tensors[0]!.name.startsWith('bundle_emb.') ? [name, stem] : [name]
    for (const each of new Set(names)) found.push({ name: each, ...word })
  }
  return found
}

/** The embeddings for this model in a folder; other files and embeddings for other models are skipped. */
async function readFolder(folder: string, form: EmbeddingForm): Promise<Embedding[]> {
  const found: Embedding[] = []
  for (const name of (await readdir(folder)).filter((one) => extension.test(one)).sort()) {
    if (found.length >= maxEmbeddings) break
    const other = (error: unknown): Embedding[] => {
      if (error instanceof DiffusionError) return []
      throw error
    }
    found.push(...(await readWords(path.join(folder, name), undefined, form).catch(other)))
  }
  return found
}

/** The words of the load options `embeddings` and `embeddingDirectory`; the former take precedence. */
export async function loadEmbeddings(
  { embeddings: listed = [], embeddingDirectory }: Pick<ResolvedLoad, 'embeddings' | 'embeddingDirectory'>,
  info: PipelineInfo,
  options: ResolveOptions,
): Promise<EmbeddingTable | undefined> {
  if (listed.length === 0 && embeddingDirectory === undefined) return undefined
  const form = embeddingForm(info)
  if (!form) throw invalidType(`embeddings are for models with a CLIP text encoder; ${info.name || 'this model'} has none`)
  const all: Embedding[] = []
  for (const [i, { path: place, name }] of listed.entries())
    all.push(...(await readWords(await resolveFile(place, `embeddings[${i}]`, options), name, form)))
  if (embeddingDirectory !== undefined) {
    const folder = await resolveFile(embeddingDirectory, 'embeddingDirectory')
    if (!(await stat(folder)).isDirectory()) throw invalidRange(`embeddingDirectory: ${folder} is a file; pass its folder`)
    all.push(...(await readFolder(folder, form)))
  }
  return all.length > 0 ? new EmbeddingTable(all) : undefined
}
