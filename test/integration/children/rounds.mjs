/** Loads, uses and disposes of a pipeline over and over, and reports the memory of the process after each round. */
import { load, say, short, sleep, word } from './setup.mjs'

const rounds = Number(word)
const rss = []
for (let round = 0; round < rounds; round++) {
  const pipe = await load()
  await pipe.generate(short)
  // Every other round leaves its objects to the garbage collector.
  const latents = await pipe.createLatents({ width: 256, height: 256, seed: round })
  if (round % 2) latents.dispose()
  await pipe.dispose()
  globalThis.gc()
  await sleep(5)
  rss.push(process.memoryUsage().rss)
}
say({ rss })
