/** Terminates workers in the middle of work, several rounds, and reports how long that took and what they ended with. */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { modelFile, say, word } from './setup.mjs'

const file = fileURLToPath(new URL('worker.mjs', import.meta.url))
const start = (task) => new Worker(file, { workerData: { modelFile, word: task } })
const message = (worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
const ended = (worker) => new Promise((resolve) => worker.once('exit', resolve))

if (word === 'terminate' || word === 'inside') {
  for (let round = 0; round < (word === 'inside' ? 6 : 4); round++) {
    const task = word === 'inside' ? word : 'endless'
    const workers = [start(task), start(task)]
    await Promise.all(workers.map(message))
    if (word === 'inside') await new Promise((resolve) => setTimeout(resolve, 5 + round)) // until they are at it
    const began = Date.now()
    const codes = await Promise.all(workers.map((worker) => worker.terminate()))
    say({ codes, ms: Date.now() - began })
  }
} else if (word === 'exit') {
  const workers = [start('exit'), start('exit')]
  say({ codes: await Promise.all(workers.map(ended)) })
} else {
  const workers = [start('picture'), start('picture'), start('picture')]
  say({ hashes: await Promise.all(workers.map(message)) })
}
