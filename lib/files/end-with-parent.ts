import { Worker } from 'node:worker_threads'

/** A thread of its own, because the main one may hang in a driver. */
const watch = `
  const { Socket } = require('node:net')
  const end = () => process.kill(process.pid, 'SIGKILL')
  new Socket({ fd: 0, readable: true, writable: false }).on('end', end).on('error', end).resume()
`

/** Ends this process when its standard input ends, which is a pipe from the process that started it. That one may have been killed. */
export function endWithParent(): void {
  const worker = new Worker(watch, { eval: true, stdin: false })
  worker.on('error', () => undefined) // standard input is no pipe: the process was started by hand
  worker.unref()
}
