import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long a stretch of work may hold the event loop, in milliseconds. */
const sliceMs = 5

/** The clock of a long piece of work: whoever does it looks now and then whether it is `over`, and then awaits `next()`. */
export class TimeSlice {
  #started = performance.now()

  get over(): boolean {
    return performance.now() - this.#started > sliceMs
  }

  /** Lets the event loop turn. */
  async next(): Promise<void> {
    await nextTurn()
    this.#started = performance.now()
  }
}

/** Runs `work(i)` for i from 0 to count - 1 and lets the event loop turn whenever a few milliseconds have passed. */
export async function inSlices(count: number, work: (index: number) => void): Promise<void> {
  const slice = new TimeSlice()
  for (let i = 0; i < count; i++) {
    work(i)
    if (slice.over) await slice.next()
  }
}
