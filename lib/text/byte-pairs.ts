/**
 * Byte-pair encoding of a word (Sennrich, Haddow, Birch 2016) in time slices, because a word may be as long as a prompt. No maintained library encodes or
 * builds its tables without blocking the event loop.
 */
import type { TimeSlice } from '../files/time-slice.js'

/** A min-heap of numbers. */
class Heap {
  readonly #keys: Float64Array
  size = 0

  constructor(capacity: number) {
    this.#keys = new Float64Array(capacity)
  }

  push(key: number): void {
    const keys = this.#keys
    let at = this.size++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (keys[parent]! <= key) break
      keys[at] = keys[parent]!
      at = parent
    }
    keys[at] = key
  }

  pop(): number {
    const keys = this.#keys
    const least = keys[0]!
    const key = keys[--this.size]!
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.size) break
      if (child + 1 < this.size && keys[child + 1]! < keys[child]!) child++
      if (keys[child]! >= key) break
      keys[at] = keys[child]!
      at = child
    }
    keys[at] = key
    return least
  }
}

/** A word as a linked list of pieces whose neighbours are merged. A pair is identified by the position of its left piece. */
class Pairs {
  readonly pieces: string[]
  readonly heap: Heap
  readonly #ranks: ReadonlyMap<string, number>
  readonly #next: Int32Array
  readonly #previous: Int32Array
  /** Current rank of the pair that begins here; entries in the heap may be outdated. */
  readonly #rankOf: Int32Array

  /** The list is modified. */
  constructor(symbols: string[], ranks: ReadonlyMap<string, number>) {
    const count = symbols.length
    this.pieces = symbols
    this.#ranks = ranks
    this.#next = new Int32Array(count)
    this.#previous = new Int32Array(count)
    for (let i = 0; i < count; i++) {
      this.#next[i] = i + 1
      this.#previous[i] = i - 1
    }
    this.#rankOf = new Int32Array(count).fill(-1)
    // One entry per pair at the start, and two per merge.
    this.heap = new Heap(3 * count)
  }

  look(left: number): void {
    const count = this.pieces.length
    const right = this.#next[left]!
    const rank = right === count ? -1 : (this.#ranks.get(`${this.pieces[left]} ${this.pieces[right]}`) ?? -1)
    this.#rankOf[left] = rank
    if (rank >= 0) this.heap.push(rank * count + left)
  }

  /** Merges the pair with the lowest rank, the leftmost of several. */
  join(): void {
    const count = this.pieces.length
    const key = this.heap.pop()
    const left = key % count
    if (this.#rankOf[left] !== (key - left) / count) return
    const right = this.#next[left]!
    this.pieces[left] += this.pieces[right]!
    this.pieces[right] = ''
    this.#rankOf[right] = -1
    const after = (this.#next[left] = this.#next[right]!)
    if (after < count) this.#previous[after] = left
    this.look(left)
    if (this.#previous[left]! >= 0) this.look(this.#previous[left]!)
  }
}

const stepsAtOnce = 64

/**
 * Merges symbols into pieces, pair by pair, lowest rank first. The list of symbols is modified.
 * @param ranks by 'left right'
 */
export async function joinPairs(symbols: string[], ranks: ReadonlyMap<string, number>, slice: TimeSlice): Promise<string[]> {
  if (symbols.length < 2) return symbols
  const pairs = new Pairs(symbols, ranks)
  let steps = 0
  for (let i = 0; i < symbols.length; i++) {
    pairs.look(i)
    if (++steps % stepsAtOnce === 0 && slice.over) await slice.next()
  }
  while (pairs.heap.size > 0) {
    pairs.join()
    if (++steps % stepsAtOnce === 0 && slice.over) await slice.next()
  }
  return pairs.pieces.filter((piece) => piece !== '')
}
