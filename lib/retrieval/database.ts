/** A database of image embeddings for retrieval-augmented models (Blattmann et al. 2022, "Semi-Parametric Neural Image Synthesis"), and exact search in it. */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError, ModelFormatError } from '../errors.js'
import { TimeSlice } from '../files/time-slice.js'
import { resolveHub, type HubOptions } from '../hub/settings.js'
import { isHubName } from '../hub/source.js'
import { resolveFile, type ResolveOptions } from '../model/sources.js'
import { shared } from '../options/common.js'
import { integer, option, readOptions, type Options } from '../options/option.js'
import type { CallOptions, Progress } from '../types.js'
import {
  checkInteger,
  checkPath,
  checkSignal,
  fileUrlToPath,
  invalidRange,
  invalidType,
  isFloat32Array,
  isUrl,
  knownKeys,
  listOf,
  show,
} from '../options/validate.js'
import { openNpz } from './npz.js'
import { openSafetensors } from './safetensors.js'
import { pickRows, requireFloats, rowBlocks, rowsOf, rowValue, toFloats, type StoredArray } from './stored-array.js'
import { TopK } from './top-k.js'

export interface RetrievalLoadOptions extends CallOptions {
  /** Maximum bytes of embeddings (as float32) to keep in memory; larger databases are read from their files at every search. Default 2^30. */
  maxMemory?: number
  /** Settings for `hf:` databases. */
  hub?: HubOptions
  /** Progress of downloads. An error thrown here rejects the call. */
  onProgress?: (progress: Progress) => unknown
}

const loadOptions = {
  maxMemory: integer({ min: 0, max: Number.MAX_SAFE_INTEGER, fallback: () => 2 ** 30, flag: 'for programs' }),
  hub: option(
    (value): HubOptions => {
      resolveHub(value)
      return value as HubOptions
    },
    { flag: 'the environment has them' },
  ),
  signal: shared.signal,
  onProgress: shared.onProgress,
} satisfies Options<RetrievalLoadOptions>

export interface SearchOptions {
  /** Aborts the search. */
  signal?: AbortSignal
}

/** A search result: a row of the database. */
export interface Neighbour {
  /** Row number, counted across all files. */
  index: number
  /** Cosine similarity to the query, -1 to 1. */
  score: number
  /** [dim], of length 1. */
  embedding: Float32Array
  /** The source image, if the database has it (`img_id`). */
  imageId?: string | number
  /** The region of that image, as stored in the database (`patch_coords`). */
  patch?: readonly number[]
}

/** One file: its embeddings, [rows, dim], and the other arrays with one entry per row. */
interface Part {
  embeddings: StoredArray
  imageIds: StoredArray | undefined
  patches: StoredArray | undefined
  first: number
  rows: number
}

const embeddingName = 'embedding'
const maxNeighbours = 1000
const maxFiles = 10_000
/** Embeddings are read, normalised and compared in blocks of about this many bytes of float32. */
const blockBytes = 1 << 20
/** Rows between two checks of the clock. */
const rowsPerLook = 16

async function filesOf(source: string): Promise<string[]> {
  const status = await stat(source).catch((cause: NodeJS.ErrnoException) => {
    throw new DiffusionError('ERR_IO', `${source} cannot be read: ${cause.message}`, { path: source }, { cause })
  })
  if (!status.isDirectory()) return [source]
  const names = (await readdir(source)).filter((name) => /\.(npz|safetensors)$/i.test(name)).sort()
  if (names.length === 0) throw new ModelFormatError(`${source} has no .npz or .safetensors file`, { path: source })
  return names.map((name) => path.join(source, name))
}

async function openPart(file: string): Promise<Omit<Part, 'first'>> {
  const arrays = await (/\.npz$/i.test(file) ? openNpz(file, embeddingName) : openSafetensors(file))
  const embeddings = arrays.get(embeddingName)
  if (!embeddings) throw new ModelFormatError(`${file} has no array '${embeddingName}'; it is not a retrieval database`, { path: file })
  requireFloats(embeddings)
  const { count: rows } = rowsOf(embeddings)
  if (embeddings.shape.length !== 2 || rows === 0)
    throw new ModelFormatError(`${embeddings.where} has the shape [${embeddings.shape.join(', ')}]; [rows, dim] is expected`, { path: file })
  const beside = (name: string) => {
    const array = arrays.get(name)
    if (array && rowsOf(array).count !== rows)
      throw new ModelFormatError(`${array.where} has ${array.shape[0]} rows for ${rows} embeddings`, { path: file })
    return array
  }
  return { embeddings, imageIds: beside('img_id'), patches: beside('patch_coords'), rows }
}

/** Scales a row to length 1. A row of zeros becomes NaN and is never found. Returns the original length. */
function normalise(row: Float32Array): number {
  let sum = 0
  for (let i = 0; i < row.length; i++) sum += row[i]! * row[i]!
  const length = Math.sqrt(sum)
  for (let i = 0; i < row.length; i++) row[i] = row[i]! / length
  return length
}

/** Embeddings of length 1, [count, dim]. */
interface Block {
  first: number
  count: number
  data: Float32Array
}

async function* readBlocks(part: Part, dim: number, slice: TimeSlice): AsyncGenerator<Block, void> {
  const { embeddings } = part
  for await (const { first, count, bytes } of rowBlocks(embeddings, Math.max(1, Math.floor(blockBytes / (4 * dim))))) {
    const data = new Float32Array(count * dim)
    toFloats(bytes, embeddings.type, data)
    for (let row = 0; row < count; row++) {
      if (!Number.isFinite(normalise(data.subarray(row * dim, (row + 1) * dim))))
        throw new ModelFormatError(`${embeddings.where}: row ${first + row} has values that are not numbers`, { path: embeddings.where })
      if (row % rowsPerLook === 0 && slice.over) await slice.next()
    }
    yield { first: part.first + first, count, data }
  }
}

function dot(rows: Float32Array, at: number, query: Float32Array): number {
  let sum = 0
  for (let i = 0; i < query.length; i++) sum += rows[at + i]! * query[i]!
  return sum
}

/** A path; a database on a hub is downloaded if it is not in the cache. */
async function pathOf(source: unknown, name: string, options: ResolveOptions): Promise<string> {
  const text = isUrl(source) ? source.href : source
  if (typeof text === 'string' && (isHubName(text) || /^https?:\/\//i.test(text))) return resolveFile(source, name, options, 'database')
  if (isUrl(source)) return fileUrlToPath(source.href, name)
  if (typeof source !== 'string' || source === '') throw invalidType(`${name} must be a path, not ${show(source)}`)
  return source.startsWith('file:') ? fileUrlToPath(source, name) : checkPath(source, name)
}

/**
 * A database of image embeddings, in which retrieval-augmented models find neighbours of a prompt: the published .npz files (arrays `embedding`, optionally `img_id`
 * and `patch_coords`), or safetensors files with tensors of these names. Search is exact.
 */
export class RetrievalDatabase {
  readonly #parts: readonly Part[]
  /** All embeddings, if they fit in memory. */
  readonly #blocks: readonly Block[] | undefined
  /** Number of embeddings. */
  readonly size: number
  /** Width of an embedding: 768 for CLIP ViT-L/14. */
  readonly dim: number

  private constructor(parts: readonly Part[], blocks: readonly Block[] | undefined) {
    this.#parts = parts
    this.#blocks = blocks
    this.size = parts.reduce((sum, { rows }) => sum + rows, 0)
    this.dim = parts[0]!.embeddings.shape[1]!
  }

  /**
   * Opens a database: one file, several files, a folder, or a folder on a hub (`hf:owner/name/folder`).
   * @throws ModelFormatError for damaged or mismatched files, UnsupportedModelError for unsupported element types, DiffusionError `ERR_IO` if a file cannot be
   * read, DownloadError if one cannot be downloaded
   */
  static async load(source: string | URL | readonly (string | URL)[], options?: RetrievalLoadOptions): Promise<RetrievalDatabase> {
    const { maxMemory: limit, ...hooks } = readOptions(loadOptions, options, 'RetrievalDatabase.load()', undefined)
    const given: readonly [unknown, string][] = Array.isArray(source)
      ? listOf(source, 'source', maxFiles).map((one, i) => [one, `source[${i}]`])
      : [[source, 'source']]
    if (given.length === 0) throw invalidRange('source names no file')
    const files: string[] = []
    for (const [one, name] of given) files.push(...(await filesOf(await pathOf(one, name, hooks))))
    hooks.signal?.throwIfAborted()
    const parts: Part[] = []
    for (const file of files) {
      const last = parts.at(-1)
      const part = { ...(await openPart(file)), first: last ? last.first + last.rows : 0 }
      const [dim, expected] = [part.embeddings.shape[1]!, parts[0]?.embeddings.shape[1]]
      if (expected !== undefined && dim !== expected)
        throw new ModelFormatError(`${file} has embeddings of ${dim} values, but the previous files have ${expected}`, { path: file })
      parts.push(part)
    }
    const database = new RetrievalDatabase(parts, undefined)
    if (4 * database.size * database.dim > limit) return database
    const blocks: Block[] = []
    for await (const block of database.#readAll(new TimeSlice())) blocks.push(block)
    return new RetrievalDatabase(parts, blocks)
  }

  async *#readAll(slice: TimeSlice): AsyncGenerator<Block, void> {
    for (const part of this.#parts) yield* readBlocks(part, this.dim, slice)
  }

  /**
   * The `k` rows most similar to a query by cosine, best first; fewer if the database is smaller. Does not block the event loop.
   * @param query [dim]; its length does not matter
   */
  async search(query: Float32Array, k = 10, options?: SearchOptions): Promise<Neighbour[]> {
    if (!isFloat32Array(query)) throw invalidType(`query must be a Float32Array, not ${show(query)}`)
    if (query.length !== this.dim) throw invalidRange(`query has ${query.length} values; this database holds embeddings of ${this.dim}`)
    const limit = checkInteger(k, 'k', { min: 1, max: maxNeighbours })
    const { signal: given } = knownKeys(options, 'search()', ['signal'])
    const signal = given === undefined ? undefined : checkSignal(given, 'signal')
    const wanted = Float32Array.from(query)
    const length = normalise(wanted)
    if (length === 0 || !Number.isFinite(length)) throw invalidRange('query has no direction: it is all zeros or has values that are not numbers')
    const best = new TopK(limit)
    const slice = new TimeSlice()
    for await (const { first, count, data } of this.#blocks ?? this.#readAll(slice)) {
      for (let row = 0; row < count; row++) {
        best.add(first + row, dot(data, row * this.dim, wanted))
        if (row % rowsPerLook !== 0 || !slice.over) continue
        await slice.next()
        signal?.throwIfAborted()
      }
    }
    signal?.throwIfAborted()
    return this.#describe(best)
  }

  /** Adds the other arrays' entries to the found rows. */
  async #describe(best: TopK): Promise<Neighbour[]> {
    const neighbours: Neighbour[] = best.entries.map(({ index, score }) => ({ index, score, embedding: new Float32Array(this.dim) }))
    for (const part of this.#parts) {
      const here = neighbours.filter(({ index }) => index >= part.first && index < part.first + part.rows)
      if (here.length === 0) continue
      const rows = here.map(({ index }) => index - part.first)
      const read = (array: StoredArray | undefined) => (array ? pickRows(array, rows) : undefined)
      const [embeddings, ids, patches] = [await pickRows(part.embeddings, rows), await read(part.imageIds), await read(part.patches)]
      here.forEach((neighbour, i) => {
        toFloats(embeddings[i]!, part.embeddings.type, neighbour.embedding)
        normalise(neighbour.embedding)
        if (ids) neighbour.imageId = identifier(ids[i]!, part.imageIds!)
        if (patches) neighbour.patch = numbers(patches[i]!, part.patches!)
      })
    }
    return neighbours
  }
}

/** An identifier: a text or a number. Rows of bytes are text, because safetensors has no strings. */
function identifier(bytes: Buffer, { type, itemBytes, shape }: StoredArray): string | number {
  const value = rowValue(bytes, type === 'u8' && shape.length === 2 ? 'bytes' : type, itemBytes)
  return typeof value === 'string' ? value : value.length === 1 ? value[0]! : value.join(',')
}

function numbers(bytes: Buffer, { type, itemBytes }: StoredArray): number[] {
  const value = rowValue(bytes, type, itemBytes)
  return typeof value === 'string' ? [] : value
}
