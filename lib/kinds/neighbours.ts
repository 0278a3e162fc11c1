/** Neighbours of retrieval-augmented models: given CLIP embeddings, or found in a database. */
import type { PipelineInfo } from '../types.js'
import { checkInteger, invalidRange, invalidType, isFloat32Array, knownKeys, listOf, show } from '../options/validate.js'

/** A search result; only these fields are read. */
export interface FoundNeighbour {
  embedding: Float32Array
}

/** Interface of a searchable database: a {@link RetrievalDatabase} or your own. */
export interface NeighbourDatabase {
  /** Width of an embedding. */
  readonly dim: number
  /** `signal` is that of the calling function. */
  search(query: Float32Array, k: number, options?: { signal?: AbortSignal }): Promise<readonly FoundNeighbour[]>
}

/** A search in a database. */
export interface NeighbourSearch {
  database: NeighbourDatabase
  /** Number of neighbours. Default 10, as in the reference script; the public model was trained with up to 20. */
  k?: number
  /** CLIP embedding to search with. Default: the prompt's. */
  query?: Float32Array
}

/** One embedding or search result per neighbour, or a search to run. The order does not matter; embeddings are normalised. */
export type Neighbours = readonly (Float32Array | FoundNeighbour)[] | NeighbourSearch

export type ResolvedNeighbours = readonly Float32Array[] | (NeighbourSearch & { k: number })

/** Embeds a prompt with CLIP's text encoder. */
export type QueryEncoder = (prompt: string, signal?: AbortSignal) => Promise<Float32Array>

/** Far more than models were trained with; the cost of attention grows with it. */
const maxNeighbours = 1000

function checkEmbedding(value: unknown, name: string, dim: number): Float32Array {
  if (!isFloat32Array(value)) throw invalidType(`${name} must be a Float32Array, not ${show(value)}`)
  if (value.length !== dim) throw invalidRange(`${name} has ${value.length} numbers; the embeddings of this model have ${dim}`)
  if (!value.every(Number.isFinite)) throw invalidRange(`${name} contains a number that is not finite`)
  return value
}

function embeddingOf(row: unknown): unknown {
  return typeof row === 'object' && row !== null && 'embedding' in row ? row.embedding : row
}

function resolveSearch(value: unknown, dim: number): NeighbourSearch & { k: number } {
  const o = knownKeys(value, 'neighbours', ['database', 'k', 'query'])
  const database = o.database as NeighbourDatabase | undefined
  if (typeof database !== 'object' || database === null || typeof database.search !== 'function')
    throw invalidType(`neighbours.database must be a RetrievalDatabase, not ${show(database)}`)
  if (database.dim !== dim) throw invalidRange(`neighbours.database has embeddings of ${database.dim} numbers; those of this model have ${dim}`)
  return {
    database,
    k: o.k === undefined ? 10 : checkInteger(o.k, 'neighbours.k', { min: 1, max: maxNeighbours }),
    ...(o.query === undefined ? {} : { query: checkEmbedding(o.query, 'neighbours.query', dim) }),
  }
}

/** Checks neighbours for a model that reads embeddings of a given width. */
export function checkNeighbours(value: unknown, _name: string, { condition }: PipelineInfo): ResolvedNeighbours {
  const dim = condition.dim!
  if (!Array.isArray(value)) {
    if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value))
      throw invalidType(`neighbours must be an array of Float32Arrays or { database, k }, not ${show(value)}`)
    return resolveSearch(value, dim)
  }
  if (value.length < 1 || value.length > maxNeighbours) throw invalidRange(`neighbours must be 1 to ${maxNeighbours}, not ${value.length}`)
  return listOf(value, 'neighbours', maxNeighbours).map((row, i) => checkEmbedding(embeddingOf(row), `neighbours[${i}]`, dim))
}

/** Fails for a search without a query. */
export function checkSearch(neighbours: ResolvedNeighbours, hasPrompt: boolean): void {
  if ('database' in neighbours && neighbours.query === undefined && !hasPrompt)
    throw invalidType('neighbours.query is missing: without a prompt, the search needs an embedding')
}

async function search(
  { database, k, query }: NeighbourSearch & { k: number },
  dim: number,
  embedPrompt: () => Promise<Float32Array>,
  signal: AbortSignal | undefined,
) {
  const found = await database.search(query ?? (await embedPrompt()), k, signal && { signal })
  signal?.throwIfAborted() // the database may ignore the signal
  if (!Array.isArray(found)) throw invalidType(`neighbours.database: search() returned ${show(found)}, not an array of { embedding }`)
  if (found.length === 0) throw invalidRange('neighbours.database found nothing')
  return listOf(found, 'neighbours.database', maxNeighbours).map((row, i) =>
    checkEmbedding(embeddingOf(row), `neighbours.database: embedding ${i}`, dim),
  )
}

/** The embeddings, row by row, [k, dim]. */
export async function embeddingsOf(
  neighbours: ResolvedNeighbours,
  dim: number,
  embedPrompt: () => Promise<Float32Array>,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const found = 'database' in neighbours ? await search(neighbours, dim, embedPrompt, signal) : neighbours
  const rows = new Float32Array(found.length * dim)
  found.forEach((row, i) => rows.set(row, i * dim))
  return rows
}
