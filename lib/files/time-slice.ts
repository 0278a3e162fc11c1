import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long all sliced work together may hold the event loop in one of its turns, in milliseconds: a sixth of what is promised, as there are slower machines. */
const sliceMs = 3

/** When the first sliced work of this turn began. One clock for all: stretches that follow each other, or take turns, hold the loop together. */
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
 * The clock of a long piece of work: whoever does it looks now and then whether it is `over`, and then awaits `next()`. What lies between two looks takes a fraction of a
 * millisecond.
 */
export class TimeSlice {
  constructor() {
    beginningOfTurn()
  }

  get over(): boolean {
    return performance.now() - beginningOfTurn() > sliceMs
  }

  /** Lets the event loop turn. */
  async next(): Promise<void> {
    await nextTurn()
    beginningOfTurn()
  }
}

const valuesAtOnce = 1 << 12

/** Runs `work(i)` for i from 0 to count - 1 and lets the event loop turn whenever a few milliseconds have passed. */
export async function inSlices(count: number, work: (index: number) => void): Promise<void> {
  const slice = new TimeSlice()
  for (let i = 0; i < count; i++) {
    work(i)
    if (slice.over) await slice.next()
  }
}

const itemsAtOnce = 64

/** Runs `work` on every item, and lets the event loop turn whenever a few milliseconds have passed. */
export async function forEachSliced<T>(items: Iterable<T>, work: (item: T, index: number) => void): Promise<void> {
  const slice = new TimeSlice()
  let index = 0
  for (const item of items) {
    work(item, index++)
    if (index % itemsAtOnce === 0 && slice.over) await slice.next()
  }
}

const copyBytes = 1 << 18

/** An array of numbers made one by one, as `from()` of typed arrays makes it. */
export async function makeSliced<A extends Uint8Array | Float32Array>(array: A, valueAt: (index: number) => number): Promise<A> {
  await inSlices(Math.ceil(array.length / valuesAtOnce), (block) => {
    const end = Math.min(array.length, valuesAtOnce * (block + 1))
    for (let i = valuesAtOnce * block; i < end; i++) array[i] = valueAt(i)
  })
  return array
}

type Numbers = Uint8Array | Float32Array | Int32Array

/** Copies an array into one as long, piece by piece. It ends where one of them is transferred meanwhile, which leaves it without elements. */
export async function copySliced(from: Numbers, to: Numbers): Promise<void> {
  const piece = copyBytes / from.BYTES_PER_ELEMENT
  const { length } = from
  await inSlices(Math.ceil(length / piece), (i) => {
    if (from.length === length && to.length === length) to.set(from.subarray(i * piece, (i + 1) * piece), i * piece)
  })
}

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
