/** How long work holds the event loop, by this thread's own processor time: what else runs on the machine does not count, as it would by the clock. */
import { existsSync, readFileSync } from 'node:fs'

const told = '/proc/thread-self/schedstat'

/** Whether the system tells a thread's time; elsewhere the clock stands in, and bounds must leave room. */
export const threadTimeIsExact = existsSync(told)

/** Milliseconds that this thread has had of a processor. */
export function threadTime(): number {
  return threadTimeIsExact ? Number(readFileSync(told, 'utf8').split(' ')[0]) / 1e6 : performance.now()
}

/** The longest time between two turns of the event loop while `work` runs, and the time of all of it on this thread, in milliseconds. */
async function longestHold(work: () => unknown): Promise<{ longest: number; whole: number }> {
  let longest = 0
  const start = threadTime()
  let last = start
  let next = setImmediate(function turn() {
    const now = threadTime()
    longest = Math.max(longest, now - last)
    last = now
    next = setImmediate(turn)
  })
  await work()
  clearImmediate(next)
  const end = threadTime()
  return { longest: Math.max(longest, end - last), whole: end - start }
}

/** What the promise says, in milliseconds. A machine where only the clock can be asked keeps no bound while it is busy. */
export const longestPromised = threadTimeIsExact ? 20 : Infinity

/**
 * The same for reading a file of text, which is decoded in one piece: where that alone takes longer, as on virtual machines whose new pages of memory are dear, one
 * and a half times as long.
 */
export function longestForFile(bytes: number): number {
  const text = Buffer.alloc(bytes, 'a')
  const times = [1, 2, 3].map(() => {
    const start = threadTime()
    text.toString('utf8')
    return threadTime() - start
  })
  return Math.max(longestPromised, 1.5 * Math.min(...times))
}

const mostRuns = 20

/** Work in slices may be held up by one of them for this part of its time, but never for more than twice what is promised. */
const share = 1 / 5
const most = 2

/**
 * How long `work` holds the event loop, in milliseconds: the first run within what is promised, or the least of twenty. Compiling, collecting garbage, and systems that
 * count a thread's time in ticks of 10 ms add to single runs; work done at a stretch is too long in every one. Steps that cannot
 * be divided, such as the growth of a large map, take longer on a slow machine: where the whole work does, a hold counts in proportion, at least half.
 */
export async function held(work: () => unknown, promised = longestPromised): Promise<number> {
  let least = Infinity
  for (let run = 0; run < mostRuns && least >= promised; run++) {
    const { longest, whole } = await longestHold(work)
    least = Math.min(least, longest / Math.min(most, Math.max(1, (whole * share) / promised)))
  }
  return least
}
