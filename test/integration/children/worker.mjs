/** Work in a worker: `endless` until it is terminated, `exit` until it ends itself, `picture` for the hash of one picture. */
import { createHash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { begin, endless, load, short, word } from './setup.mjs'

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
}
