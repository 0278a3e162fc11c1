/** Starts engines in a child process, in a thread, or in the host's thread. */
import { fork } from 'node:child_process'
import path from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { EngineMessage } from '../rpc/protocol.js'
import { serveEngine } from './engine.js'
import { portOfThread } from './port-of-thread.js'
import type { EngineExit, EngineListener, StartEngine } from './port.js'

const program = path.join(__dirname, 'engine-main.js')

/** Bytes of stderr kept for the error of a crash. */
const keptStderr = 4096

/** The flags of this process, without a debugger's, whose port is taken, and without those of a program given as text. */
function inheritedFlags(): string[] {
  const flags = [...process.execArgv]
  const { _eval: text } = process as { _eval?: string }
  const at = text === undefined ? -1 : flags.lastIndexOf(text)
  if (at > 0) flags.splice(at - 1, 2) // otherwise the child would run the host's program and fork again
  return flags.filter((flag) => !/^--(inspect|input-type)|^(-e|--eval|-p|--print|-pe)$/.test(flag))
}

/** The last output of a stream. */
export function tailOf(stream: NodeJS.ReadableStream | null | undefined): () => string {
  let tail = ''
  stream?.setEncoding('utf8').on('data', (text: string) => (tail = (tail + text).slice(-keptStderr)))
  return () => tail
}

/** Calls `onExit` once. */
export function once(listener: EngineListener): (exit: EngineExit) => void {
  let over = false
  return (exit) => {
    if (over) return
    over = true
    listener.onExit(exit)
  }
}

/** A child process: a crash of native code ends only this process. `flags`: of Node. */
export const startProcess =
  (flags: readonly string[] = inheritedFlags()): StartEngine =>
  (listener) => {
    const ended = once(listener)
    const child = fork(program, [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [...flags] })
    const stderr = tailOf(child.stderr)
    child.on('error', (cause) => ended({ cause, stderr: stderr() }))
    child.on('message', (message) => listener.onMessage(message as EngineMessage))
    child.once('close', (exitCode, signal) => ended({ exitCode, signal, stderr: stderr() }))
    return {
      // An ended child emits 'close'.
      send: (message) => void child.send(message, () => {}),
      hold(keep) {
        const parts = [child, child.channel, child.stderr as unknown as { ref(): void; unref(): void }]
        for (const part of parts) part?.[keep ? 'ref' : 'unref']()
      },
      kill: () => void child.kill('SIGKILL'),
    }
  }

/** A thread of this process: data is copied less, but a crash of native code ends the whole process. */
export const startThread: StartEngine = (listener) => {
  const ended = once(listener)
  const worker = new Worker(program)
  let cause: unknown
  worker.on('message', (message: EngineMessage) => listener.onMessage(message))
  worker.once('error', (error) => (cause = error))
  worker.once('exit', (exitCode) => ended({ exitCode, ...(cause === undefined ? {} : { cause }) }))
  return {
    send: (message) => worker.postMessage(message),
    hold: (keep) => worker[keep ? 'ref' : 'unref'](),
    kill: () => void worker.terminate(),
  }
}

/** This thread; the engine's own threads do the work. For tests, and if another process costs too much. */
export const startHere: StartEngine = (listener) => {
  const ended = once(listener)
  const { port1, port2 } = new MessageChannel()
  port1.on('message', (message: EngineMessage) => listener.onMessage(message))
  port1.once('close', () => ended({ exitCode: 0 }))
  serveEngine(portOfThread(port2, () => port2.close()))
  return {
    send: (message) => port1.postMessage(message),
    hold(keep) {
      for (const port of [port1, port2]) port[keep ? 'ref' : 'unref']()
    },
    kill: () => port1.close(),
  }
}
