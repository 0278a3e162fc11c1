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

const copyBytes = 1 << 20

/** A copy of bytes, made piece by piece. */
export async function copySliced(bytes: Uint8Array): Promise<Uint8Array> {
  const out = new Uint8Array(bytes.length)
  await inSlices(Math.ceil(bytes.length / copyBytes), (i) => out.set(bytes.subarray(i * copyBytes, (i + 1) * copyBytes), i * copyBytes))
  return out
}

const valuesAtOnce = 1 << 16

/** The first place at which `fails` holds, or -1; the event loop turns meanwhile. */
export async function findSliced<T extends number>(values: ArrayLike<T>, fails: (value: T) => boolean): Promise<number> {
  const slice = new TimeSlice()
  for (let from = 0; from < values.length; from += valuesAtOnce) {
    const end = Math.min(values.length, from + valuesAtOnce)
    for (let i = from; i < end; i++) if (fails(values[i]!)) return i
    if (slice.over) await slice.next()
  }
  return -1
}
