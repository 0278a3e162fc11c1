/** How long work holds the event loop, by this thread's own processor time: what else runs on the machine does not count, as it would by the clock. */
import { existsSync, readFileSync } from 'node:fs'

const told = '/proc/thread-self/schedstat'

/** Whether the system tells a thread's time; elsewhere the clock stands in, and bounds must leave room. */
export const threadTimeIsExact = existsSync(told)

/** Milliseconds that this thread has had of a processor. */
export function threadTime(): number {
  return threadTimeIsExact ? Number(readFileSync(told, 'utf8').split(' ')[0]) / 1e6 : performance.now()
}

/** The longest time between two turns of the event loop while `work` runs, in milliseconds. */
async function longestHold(work: () => unknown): Promise<number> {
  let longest = 0
  let last = threadTime()
  let next = setImmediate(function turn() {
    const now = threadTime()
    longest = Math.max(longest, now - last)
    last = now
    next = setImmediate(turn)
  })
  await work()
  clearImmediate(next)
  return Math.max(longest, threadTime() - last)
}

/** The least of some runs: compiling and collecting garbage hold the loop at times that are not the work's doing. */
export async function held(work: () => unknown, runs = 4): Promise<number> {
  let least = Infinity
  for (let run = 0; run < runs; run++) least = Math.min(least, await longestHold(work))
  return least
}
