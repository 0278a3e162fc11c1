import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds that all sliced work together may block one turn of the event loop: a sixth of the documented limit, because other machines are slower. */
const sliceMs = 3

/** Start of the first sliced work in this turn. One clock for all, because consecutive or interleaved slices block the loop together. */
let turnBegan: number | undefined

function beginningOfTurn(): number {
  if (turnBegan === undefined) {
    turnBegan = performance.now()
    setImmediate(() => {
      turnBegan = undefined
    })
  }
  return turnBegan
}

/**
 * The clock of long work, which regularly checks `over` and then awaits `next()`. The work between two checks takes a fraction of a millisecond.
 */
export class TimeSlice {
  constructor() {
    beginningOfTurn()
  }

  get over(): boolean {
    return performance.now() - beginningOfTurn() > sliceMs
  }

  /** Lets the event loop run. */
  async next(): Promise<void> {
    await nextTurn()
    beginningOfTurn()
  }
}

const valuesAtOnce = 1 << 12

/** Runs `work(i)` for i from 0 to count - 1, letting the event loop run every few milliseconds. */
export async function inSlices(count: number, work: (index: number) => void): Promise<void> {
  const slice = new TimeSlice()
  for (let i = 0; i < count; i++) {
    work(i)
    if (slice.over) await slice.next()
  }
}

const itemsAtOnce = 64

/** Runs `work` on every item, letting the event loop run every few milliseconds. */
export async function forEachSliced<T>(items: Iterable<T>, work: (item: T, index: number) => void): Promise<void> {
  const slice = new TimeSlice()
  let index = 0
  for (const item of items) {
    work(item, index++)
    if (index % itemsAtOnce === 0 && slice.over) await slice.next()
  }
}

const copyBytes = 1 << 18

/** An array of numbers computed one by one, like `from()` of typed arrays. */
export async function makeSliced<A extends Uint8Array | Float32Array>(array: A, valueAt: (index: number) => number): Promise<A> {
  await inSlices(Math.ceil(array.length / valuesAtOnce), (block) => {
    const end = Math.min(array.length, valuesAtOnce * (block + 1))
    for (let i = valuesAtOnce * block; i < end; i++) array[i] = valueAt(i)
  })
  return array
}

type Numbers = Uint8Array | Float32Array | Int32Array

/** Copies an array into another of the same length, piece by piece. Ends if one of them is transferred meanwhile, which leaves it empty. */
export async function copySliced(from: Numbers, to: Numbers): Promise<void> {
  const piece = copyBytes / from.BYTES_PER_ELEMENT
  const { length } = from
  await inSlices(Math.ceil(length / piece), (i) => {
    if (from.length === length && to.length === length) to.set(from.subarray(i * piece, (i + 1) * piece), i * piece)
  })
}

/** The first index for which `fails` returns true, or -1; does not block the event loop. */
export async function findSliced<T extends number>(values: ArrayLike<T>, fails: (value: T) => boolean): Promise<number> {
  const slice = new TimeSlice()
  for (let from = 0; from < values.length; from += valuesAtOnce) {
    const end = Math.min(values.length, from + valuesAtOnce)
    for (let i = from; i < end; i++) if (fails(values[i]!)) return i
    if (slice.over) await slice.next()
  }
  return -1
}
