/** Work on the rows of an image in time slices, so that a large image does not block other requests. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds of such work per turn of the event loop, over all requests. */
const sliceMs = 4

let turnBegan: number | undefined

function isOver(): boolean {
  if (turnBegan === undefined) {
    turnBegan = performance.now()
    setImmediate(() => (turnBegan = undefined))
  }
  return performance.now() - turnBegan > sliceMs
}

/** Runs `work(i)` for i from 0 to count - 1. One call takes a fraction of a millisecond. */
export async function inSlices(count: number, work: (index: number) => void): Promise<void> {
  for (let i = 0; i < count; i++) {
    work(i)
    if (isOver()) await nextTurn()
  }
}
