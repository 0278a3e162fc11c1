/**
 * Work in a worker: `endless` until it is terminated, `inside` the same while it goes into the binary again and again, `exit` until it ends
 * itself, `picture` for the hash of one image.
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { parentPort } from 'node:worker_threads'
import { begin, endless, load, short, word } from './setup.mjs'

/** Calls that succeed and calls that throw, without end: whenever it comes, the end of the worker finds one of them half done. */
async function callWithoutEnd(pipe) {
  const addon = createRequire(import.meta.url)('../../../dist/native/load.js').loadAddon()
  const solver = JSON.stringify({ sampler: 'euler', steps: 3, seed: '1', rng: 'philox', prediction: 'eps' })
  const calls = [
    () => addon.createSolver(solver),
    () => addon.createSolver('{'),
    () => addon.conditioningFrom([1, 2, 3], new Float32Array(6)),
    () => addon.convert('{}', {}),
    () => addon.setLogger(5),
  ]
  for (;;) {
    for (const call of calls) {
      try {
        call()
      } catch {
        // what the wrong ones answer is the business of another test
      }
    }
    void pipe.generate({ ...endless, onProgress: 5 }).catch(() => {})
    if (Math.random() < 0.2) await new Promise((resolve) => setImmediate(resolve)) // the run's own calls come in
  }
}

const pipe = await load()
if (word === 'picture') {
  const { images } = await pipe.generate(short)
  await pipe.dispose()
  parentPort.postMessage(createHash('sha256').update(images[0].data).digest('hex'))
} else {
  await begin(pipe)
  void pipe.generate(endless).catch(() => {}) // queued
  parentPort.postMessage('running')
  if (word === 'exit') process.exit(9)
  if (word === 'inside') await callWithoutEnd(pipe)
}
