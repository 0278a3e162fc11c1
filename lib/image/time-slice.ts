import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long a stretch of work may hold the event loop, in milliseconds. */
const sliceMs = 5

/** Runs `work(i)` for i from 0 to count - 1 and lets the event loop turn whenever a few milliseconds have passed. */
export async function inSlices(count: number, work: (index: number) => void): Promise<void> {
  let started = performance.now()
  for (let i = 0; i < count; i++) {
    work(i)
    if (performance.now() - started > sliceMs) {
      await nextTurn()
      started = performance.now()
    }
  }
}
