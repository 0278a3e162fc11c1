/** Words that stand for vectors of their own (textual inversion), and prompts with such words in them. */
import type { NativeTokenVectors } from '../native/contract.js'

/** One word and its vectors. */
export interface Embedding {
  name: string
  /** Vectors. */
  count: number
  /** [count, width] of each text encoder, row-major. */
  encoders: Float32Array[]
}

/** Letters, digits and "_" of any script may not touch a name: "cat" is not in "cats". */
const wordCharacter = '[\\p{L}\\p{N}_]'

/**
 * The words that a pipeline knows besides those of its vocabulary. Vectors have numbers below 0 among token ids: -1 is the first vector of the first word, and so on.
 * Names are found whatever their case, as in the web UI, with or without ComfyUI's `embedding:` before them.
 */
export class EmbeddingTable {
  readonly #byName = new Map<string, number[]>()
  readonly #rows: { embedding: Embedding; row: number }[] = []
  readonly #names: RegExp

  constructor(embeddings: readonly Embedding[]) {
    for (const embedding of embeddings) {
      const key = embedding.name.toLowerCase()
      if (this.#byName.has(key)) continue
      const ids = Array.from({ length: embedding.count }, (_, row) => -this.#rows.push({ embedding, row }))
      this.#byName.set(key, ids)
    }
    const names = [...this.#byName.keys()].sort((a, b) => b.length - a.length).map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    this.#names = new RegExp(`(?<!${wordCharacter})(?:embedding:)?(${names.join('|')})(?!${wordCharacter})`, 'giu')
  }

  get names(): string[] {
    return [...new Set(this.#rows.map(({ embedding }) => embedding.name))]
  }

  /** Texts, and the numbers of the vectors of words between them. */
  split(text: string): (string | readonly number[])[] {
    const parts: (string | readonly number[])[] = []
    let at = 0
    for (const found of text.matchAll(this.#names)) {
      if (found.index > at) parts.push(text.slice(at, found.index))
      parts.push(this.#byName.get(found[1]!.toLowerCase())!)
      at = found.index + found[0].length
    }
    if (at < text.length) parts.push(text.slice(at))
    return parts
  }

  /** The word that a vector's number belongs to. */
  nameOf(id: number): string {
    return this.#rows[-id - 1]?.embedding.name ?? ''
  }

  /** A window as the engine takes it: any token in the place of each vector, and the vectors beside them. */
  separate(ids: readonly number[]): { ids: number[]; vectors?: NativeTokenVectors[] } {
    if (ids.every((id) => id >= 0)) return { ids: [...ids] }
    const vectors: NativeTokenVectors[] = []
    ids.forEach((id, i) => {
      if (id >= 0) return
      const { embedding, row } = this.#rows[-id - 1]!
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
