/** Reads textual inversion files in all their formats. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError, ModelFormatError } from '../errors.js'
import { ioError } from '../files/regular-file.js'
import { resolveFile, resolveFolder, type ResolveOptions } from '../model/sources.js'
import type { ResolvedLoad } from '../options/load.js'
import { invalidType, knownKeys, show } from '../options/validate.js'
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
export function embeddingForm({ spec }: PipelineInfo): EmbeddingForm | undefined {
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

/** The number of vectors of a word, and the tensor for each text encoder; undefined if it is for other ones. */
function fit(tensors: readonly TensorInfo[], { widths }: EmbeddingForm): { count: number; taken: TensorInfo[] } | undefined {
  const sizes = tensors.map(vectorsOf)
  const { count } = sizes[0] ?? { count: 0 }
  // SDXL's refiner reads the vectors for the second of two encoders.
  const taken = widths.flatMap((width) => tensors[sizes.findIndex((size) => size?.width === width && size.count === count)] ?? [])
  return count < 1 || count > maxVectors || taken.length < widths.length ? undefined : { count, taken }
}

async function readWord(file: TensorFile, tensors: readonly TensorInfo[], form: EmbeddingForm): Promise<Omit<Embedding, 'name'>> {
  const { count, taken } = fit(tensors, form) ?? {}
  if (count === undefined || !taken) throw misfit(file.path, tensors, form)
  if (count > form.room)
    throw new ModelFormatError(
      `${path.basename(file.path)}: the embedding has ${count} vectors; a window of the text encoder has room for ${form.room}`,
    )
  const encoders: Float32Array[] = []
  for (const { name } of taken) encoders.push(await file.read(name, { as: 'float32' }))
  if (encoders.some((numbers) => numbers.some((number) => !Number.isFinite(number))))
    throw new ModelFormatError(`${path.basename(file.path)}: the embedding contains values that are not finite`)
  return { count, encoders }
}

/** The names of a word in prompts. The only word of a file may be called by the file's name, too. */
function namesOf(name: string, tensors: readonly TensorInfo[], words: number, stem: string): Set<string> {
  if (name === '') return new Set([stem])
  return new Set(words === 1 && !tensors[0]!.name.startsWith('bundle_emb.') ? [name, stem] : [name])
}

const stemOf = (file: string) => path.basename(file).replace(extension, '')

async function readWords(place: string, given: string | undefined, form: EmbeddingForm): Promise<Embedding[]> {
  using file = await openTensors(place)
  const words = wordsOf(file)
  if (words.length === 0) throw misfit(place, [], form)
  const found: Embedding[] = []
  for (const { name, tensors } of words) {
    const word = await readWord(file, tensors, form)
    const names = given === undefined ? namesOf(name, tensors, words.length, stemOf(place)) : [given]
    for (const each of names) found.push({ name: each, ...word })
  }
  return found
}

/** The words that come with an adapter, and the names of their tensors, without those for other text encoders or longer than a window. */
export async function readBundledWords(file: TensorFile, form: EmbeddingForm): Promise<{ words: Embedding[]; tensors: Set<string> }> {
  const words: Embedding[] = []
  const names = new Set<string>()
  for (const { name, tensors } of bundledWords(file).slice(0, maxEmbeddings)) {
    const fitting = fit(tensors, form)
    if (!fitting || fitting.count > form.room) continue
    words.push({ name, ...(await readWord(file, tensors, form)) })
    for (const tensor of tensors) names.add(tensor.name)
  }
  return { words, tensors: names }
}

/** What `read` finds in the files of a folder; those that it refuses are skipped. */
async function readFolder<T>(folder: string, read: (file: string) => Promise<T[]>): Promise<T[]> {
  const entries = await readdir(folder).catch((cause: unknown) => {
    throw ioError('The folder', folder, cause)
  })
  const found: T[] = []
  for (const name of entries.filter((one) => extension.test(one)).sort()) {
    if (found.length >= maxEmbeddings) break
    const other = (error: unknown): T[] => {
      if (error instanceof DiffusionError) return []
      throw error
    }
    found.push(...(await read(path.join(folder, name)).catch(other)))
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
  if (!form && listed.length > 0) throw invalidType(`embeddings are for models with a CLIP text encoder; ${info.name || 'this model'} has none`)
  if (!form) return undefined // all files of the folder are for other models
  const all: Embedding[] = []
  for (const [i, { path: place, name }] of listed.entries())
    all.push(...(await readWords(await resolveFile(place, `embeddings[${i}]`, options), name, form)))
  if (embeddingDirectory !== undefined) {
    const folder = await resolveFolder(embeddingDirectory, 'embeddingDirectory')
    all.push(...(await readFolder(folder, (file) => readWords(file, undefined, form)))) // embeddings for other models are skipped
  }
  return all.length > 0 ? new EmbeddingTable(all) : undefined
}

/** A textual inversion that prompts may name. */
export interface ListedEmbedding {
  /** The word in prompts; letter case does not matter. */
  name: string
  path: string
  /** Number of vectors: the tokens that the word takes of a prompt's window. */
  vectors: number
  /** Numbers per vector, for each text encoder in the file. */
  widths: readonly number[]
  /** Whether the model of {@link ListEmbeddingsOptions.info} reads it; absent without `info`. */
  fits?: boolean
}

/** Options of {@link listEmbeddings}. */
export interface ListEmbeddingsOptions {
  /** The model, from `inspect()` or `pipe.info`. */
  info?: PipelineInfo
}

/** The words of a file by its header. A file whose tensors are no vectors has none. */
async function listWords(place: string, info: PipelineInfo | undefined): Promise<ListedEmbedding[]> {
  using file = await openTensors(place)
  const words = wordsOf(file).map(({ name, tensors }) => ({ name, tensors, sizes: tensors.flatMap((tensor) => vectorsOf(tensor) ?? []) }))
  const isWord = ({ tensors, sizes }: (typeof words)[number]) =>
    sizes.length === tensors.length && sizes.every(({ count, width }) => count >= 1 && count <= maxVectors && width >= 1)
  if (!words.every(isWord)) return []
  const form = info && embeddingForm(info)
  // A file is read as a whole.
  const fits = form !== undefined && words.every(({ tensors }) => (fit(tensors, form)?.count ?? Infinity) <= form.room)
  return words.flatMap(({ name, tensors, sizes }) =>
    [...namesOf(name, tensors, words.length, stemOf(place))].map((each) => ({
      name: each,
      path: place,
      vectors: sizes[0]!.count,
      widths: sizes.map(({ width }) => width),
      ...(info ? { fits } : {}),
    })),
  )
}

/**
 * The textual inversions in an `embeddingDirectory`, by the names of the files and at most about 10,000 words: what prompts may name after `load({ embeddingDirectory })`. Only the headers of the
 * files are read. Other files and damaged ones are left out. Of several words with the same name, the first that fits counts.
 * @param directory a path or `file:` URL
 * @throws DiffusionError `ERR_IO` if the folder cannot be read; RangeError if `directory` is a file
 */
export async function listEmbeddings(directory: string | URL, options?: ListEmbeddingsOptions): Promise<ListedEmbedding[]> {
  const { info } = knownKeys(options, 'listEmbeddings()', ['info']) as ListEmbeddingsOptions
  const conditioners: unknown = (info as Partial<PipelineInfo> | null | undefined)?.spec?.conditioners
  const isInfo = Array.isArray(conditioners) && conditioners.length <= 100 && conditioners.every((each) => typeof each === 'object' && each !== null)
  if (info !== undefined && !isInfo) throw invalidType(`info must be the description of a model, from inspect() or pipe.info, not ${show(info)}`)
  return readFolder(await resolveFolder(directory, 'directory'), (file) => listWords(file, info))
}
