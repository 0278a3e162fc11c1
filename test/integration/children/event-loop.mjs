/** Generates while a histogram watches the event loop; reports its 99th percentile in milliseconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { load, say, short } from './setup.mjs'

const pipe = await load()
await pipe.generate(short)
const delays = monitorEventLoopDelay({ resolution: 1 })
delays.enable()
let previews = 0
await pipe.generate({ ...short, width: 512, height: 512, steps: 12, onProgress: () => {}, preview: { onPreview: () => previews++ } })
delays.disable()
await pipe.dispose()
say({ p99: delays.percentile(99) / 1e6, max: delays.max / 1e6, count: delays.count, previews })
