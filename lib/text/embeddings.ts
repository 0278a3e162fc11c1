/** Words with their own vectors (textual inversion), and finding them in prompts. */
import { TimeSlice } from '../files/time-slice.js'
import type { NativeTokenVectors } from '../native/contract.js'

/** One word and its vectors. */
export interface Embedding {
  name: string
  /** Vectors. */
  count: number
  /** [count, width] for each text encoder, row-major. */
  encoders: Float32Array[]
}

/** A name must not be adjacent to letters, digits or "_" of any script: "cats" does not contain "cat". */
const wordCharacter = /[\p{L}\p{N}_]/u
const prefix = 'embedding:'

/** Whether a word's character begins at `index`. */
function isWordAt(text: string, index: number): boolean {
  return index < text.length && wordCharacter.test(String.fromCodePoint(text.codePointAt(index)!))
}

/** Whether a word's character ends before `index`. */
function isWordBefore(text: string, index: number): boolean {
  const pair = index >= 2 && (text.charCodeAt(index - 1) & 0xfc00) === 0xdc00 && (text.charCodeAt(index - 2) & 0xfc00) === 0xd800
  return index > 0 && isWordAt(text, index - (pair ? 2 : 1))
}

/** Lower-case with the same length: the few letters that would change their length are unchanged. */
function fold(text: string): string {
  const lower = text.toLowerCase().replaceAll('ς', 'σ')
  if (lower.length === text.length) return lower
  return Array.from(text, (letter) => (letter.toLowerCase().length === letter.length ? letter.toLowerCase() : letter))
    .join('')
    .replaceAll('ς', 'σ')
}

/** A word of the table. */
interface Entry {
  embedding: Embedding
  /** Number of its first vector. */
  first: number
  /** The lower-case name, and the longest other name that is a prefix of it. */
  key: string
  within: Entry | undefined
}

/** Number of units of `key` that match `text` at `index`. */
function commonLength(text: string, index: number, key: string): number {
  const most = Math.min(key.length, text.length - index)
  let length = 0
  while (length < most && text.charCodeAt(index + length) === key.charCodeAt(length)) length++
  return length
}

const placesAtOnce = 8

/**
 * The words of a pipeline besides its vocabulary. In token ids, vectors have negative numbers: -1 is the first vector of the first word, and so on. Names are
 * case-insensitive, as in the web UI, and may follow ComfyUI's `embedding:`.
 */
export class EmbeddingTable {
  /** In the order of their vectors. */
  readonly #entries: Entry[] = []
  /** Sorted by key, so that extensions of a key follow it. */
  readonly #sorted: Entry[]

  constructor(embeddings: readonly Embedding[]) {
    const byKey = new Map<string, Entry>()
    let first = 0
    for (const embedding of embeddings) {
      const key = fold(embedding.name)
      if (key === '' || byKey.has(key)) continue
      const entry: Entry = { embedding, first, key, within: undefined }
      byKey.set(key, entry)
      this.#entries.push(entry)
      first += embedding.count
    }
    this.#sorted = [...byKey.keys()].sort().map((key) => byKey.get(key)!)
    let before: Entry | undefined
    for (const entry of this.#sorted) {
      while (before && !entry.key.startsWith(before.key)) before = before.within
      entry.within = before
      before = entry
    }
  }

  /** This table with further words after its own, which take precedence. */
  with(embeddings: readonly Embedding[]): EmbeddingTable {
    return new EmbeddingTable([...this.#entries.map(({ embedding }) => embedding), ...embeddings])
  }

  get names(): string[] {
    return [...new Set(this.#entries.map(({ embedding }) => embedding.name))]
  }

  /** The longest name at `index` that ends at a word boundary. `text` is lower-case. */
  #nameAt(text: string, index: number): Entry | undefined {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >> 1
      const { key } = this.#sorted[middle]!
      const length = commonLength(text, index, key)
      const follows = length < key.length && (index + length === text.length || text.charCodeAt(index + length) < key.charCodeAt(length))
      if (follows) high = middle
      else low = middle + 1
    }
    let entry = this.#sorted[low - 1]
    const length = entry ? commonLength(text, index, entry.key) : 0
    while (entry && (entry.key.length > length || isWordAt(text, index + entry.key.length))) entry = entry.within
    return entry
  }

  /** The name at a possible word start, optionally after `embedding:`, and its end. */
  #find(text: string, index: number): { entry: Entry; end: number } | undefined {
    if (isWordBefore(text, index)) return undefined
    for (const start of text.startsWith(prefix, index) ? [index + prefix.length, index] : [index]) {
      const entry = this.#nameAt(text, start)
      if (entry) return { entry, end: start + entry.key.length }
    }
    return undefined
  }

  /** Splits a text into texts and numbers of vectors. Does not block the event loop, even for thousands of names and long texts. */
  async split(text: string): Promise<(string | readonly number[])[]> {
    const folded = fold(text)
    const parts: (string | readonly number[])[] = []
    const slice = new TimeSlice()
    let from = 0
    for (let at = 0, looked = 0; at < text.length;) {
      if (++looked % placesAtOnce === 0 && slice.over) await slice.next()
      const found = this.#find(folded, at)
      if (!found) {
        at++
        continue
      }
      if (at > from) parts.push(text.slice(from, at))
      const { embedding, first } = found.entry
      parts.push(Array.from({ length: embedding.count }, (_, row) => -(first + row) - 1))
      from = at = found.end
    }
    if (from < text.length) parts.push(text.slice(from))
    return parts
  }

  /** The word and vector of a number. */
  #vector(id: number): { embedding: Embedding; row: number } | undefined {
    const number = -id - 1
    let low = 0
    let high = this.#entries.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (this.#entries[middle]!.first <= number) low = middle
      else high = middle
    }
    const entry = this.#entries[low]
    return entry && number - entry.first < entry.embedding.count ? { embedding: entry.embedding, row: number - entry.first } : undefined
  }

  /** The word of a vector's number. */
  nameOf(id: number): string {
    return this.#vector(id)?.embedding.name ?? ''
  }

  /** A window for the engine: any token in place of each vector, and the vectors separately. */
  separate(ids: readonly number[]): { ids: number[]; vectors?: NativeTokenVectors[] } {
    if (ids.every((id) => id >= 0)) return { ids: [...ids] }
    const vectors: NativeTokenVectors[] = []
    ids.forEach((id, i) => {
      if (id >= 0) return
      const { embedding, row } = this.#vector(id)!
      const rows = embedding.encoders.map((numbers) => {
        const width = numbers.length / embedding.count
        return Array.from(numbers.subarray(row * width, (row + 1) * width))
      })
      const last = vectors.at(-1)
      if (last && last.first + last.count === i) {
        last.count++
        last.encoders.forEach((numbers, encoder) => numbers.push(...rows[encoder]!))
      } else vectors.push({ first: i, count: 1, encoders: rows })
    })
    return { ids: ids.map((id) => Math.max(id, 0)), vectors }
  }
}
