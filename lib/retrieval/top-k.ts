/** Keeps the k highest scores, the first of equal ones. NaN is ignored. */
export class TopK {
  readonly #limit: number
  /** Highest first. */
  readonly entries: { index: number; score: number }[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  add(index: number, score: number): void {
    const { entries } = this
    if (Number.isNaN(score)) return
    if (entries.length === this.#limit && !(score > entries.at(-1)!.score)) return
    let low = 0
    let high = entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (entries[middle]!.score >= score) low = middle + 1
      else high = middle
    }
    entries.splice(low, 0, { index, score })
    if (entries.length > this.#limit) entries.pop()
  }
}
