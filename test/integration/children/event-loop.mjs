/** Generates while a timer watches the event loop; reports the longest time between two of its calls, in milliseconds. */
import { existsSync, readFileSync } from 'node:fs'
import { clearInterval, setInterval } from 'node:timers'
import { load, say, short } from './setup.mjs'

// Milliseconds that this thread has had of a processor, where the system tells: waiting for one is not the engine's doing.
const told = '/proc/thread-self/schedstat'
const exact = existsSync(told)
const time = () => (exact ? Number(readFileSync(told, 'utf8').split(' ')[0]) / 1e6 : performance.now())

const pipe = await load()
await pipe.generate(short)
const delays = []
let last = time()
const timer = setInterval(() => {
  const now = time()
  delays.push(now - last)
  last = now
}, 1)
let previews = 0
await pipe.generate({ ...short, width: 384, height: 384, steps: 4, onProgress: () => {}, preview: { onPreview: () => previews++ } })
clearInterval(timer)
await pipe.dispose()
delays.sort((a, b) => a - b)
// By the clock some are late for other reasons.
say({ longest: delays[exact ? delays.length - 1 : Math.floor(delays.length * 0.99)], count: delays.length, previews })
