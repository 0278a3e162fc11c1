/** Ends the process in the middle of work, in the way that its word says. */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { begin, endless, leaving, load, modelFile, short, sleep, word } from './setup.mjs'

const ends = {
  async load() {
    void load().catch(() => {})
    await sleep(30) // the engine is reading weights by now
    leaving()
    process.exit(7)
  },
  async sample() {
    const pipe = await load()
    await begin(pipe)
    void pipe.generate(endless).catch(() => {}) // queued
    leaving()
    process.exit(7)
  },
  async decode() {
    const pipe = await load()
    const latents = await pipe.createLatents({ width: 512, height: 512, seed: 1 })
    void pipe.decode(latents).catch(() => {})
    await sleep(20)
    leaving()
    process.exit(7)
  },
  async throw() {
    const pipe = await load()
    await begin(pipe)
    leaving()
    setTimeout(() => {
      throw new Error('an error of the caller')
    })
  },
  async dispose() {
    const pipe = await load()
    await begin(pipe)
    void pipe.dispose()
    leaving()
    process.exit(7)
  },
  async workers() {
    const file = fileURLToPath(new URL('worker.mjs', import.meta.url))
    const workers = [0, 1].map(() => new Worker(file, { workerData: { modelFile, word: 'endless' } }))
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
    leaving()
    process.exit(7)
  },
  /** No exit at all: work that is under way keeps the process alive, a pipeline that is not disposed of does not. */
  async natural() {
    const pipe = await load()
    void pipe.generate(short).then(({ images }) => {
      process.stdout.write(`${JSON.stringify({ images: images.length })}\n`)
      leaving()
    })
  },
}

await ends[word]()
