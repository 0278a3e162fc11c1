/** Work on every row of an image, which lets the event loop turn: one large image would hold up the requests of everybody else. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds of such work, of all requests together, in one turn of the loop. */
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
