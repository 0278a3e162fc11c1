/** A program in a child process that answers in lines of JSON: drivers may crash or hang there without harm to this process. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

/** How it ended: by itself, or why not. */
export interface ChildEnd {
  /** Undefined if it ended with exit code 0. */
  problem?: string
  /** No process could be started, so the problem says nothing about the program. */
  unstarted?: boolean
  /** The end of what it wrote to standard error; undefined if nothing. */
  stderr?: string
}

const drain = 1000 // milliseconds to read what an ended process has written: one that it started may hold the pipe open for ever
const tailLength = 200 // characters of standard error that are kept

/** A process that hangs must not outlive this one. */
const running = new Set<ChildProcess>()
function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** A message that is not of this program, such as a line that a driver prints. */
function parsed(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/**
 * Runs a script with this Node.js. `silence`: milliseconds without a message after which it is killed; then, and if the signal aborts, its end is not waited for,
 * because a process in a driver may not end. Rejects with what `onMessage` throws, or the signal's reason.
 */
export async function runLines(
  script: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  silence: number,
  onMessage: (message: Record<string, unknown>) => void,
  signal?: AbortSignal,
): Promise<ChildEnd> {
  signal?.throwIfAborted()
  return new Promise<ChildEnd>((resolve, reject) => {
    let child: ChildProcess
    const unstarted = (error: unknown): ChildEnd => ({
      problem: `no process could be started: ${error instanceof Error ? error.message : String(error)}`,
      unstarted: true,
    })
    try {
      child = spawn(process.execPath, [script, ...args], {
        env: { ...env, ELECTRON_RUN_AS_NODE: '1' },
        stdio: ['pipe', 'pipe', 'pipe'], // its standard input ends with this process, however that ends (endWithParent)
        windowsHide: true,
      })
    } catch (error) {
      resolve(unstarted(error))
      return
    }
    // Without file descriptors to spare there are no pipes.
    const pipes = [child.stdin, child.stdout, child.stderr].filter((each): each is Readable | Writable => each != null)
    let tail = ''
    let timer: NodeJS.Timeout | undefined
    let settled = false
    const settle = (outcome: () => void) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      for (const pipe of pipes) pipe.destroy()
      running.delete(child)
      if (running.size === 0) process.removeListener('exit', killAll)
      outcome()
    }
    const stop = (outcome: () => void) => {
      child.kill('SIGKILL')
      child.unref()
      settle(outcome)
    }
    const end = (problem: string | undefined): ChildEnd => {
      const stderr = tail.trim()
      return { ...(problem === undefined ? {} : { problem }), ...(stderr === '' ? {} : { stderr }) }
    }
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the caller's own
    const fail = (reason: unknown) => stop(() => reject(reason))
    const abort = () => fail(signal?.reason)
    if (running.size === 0) process.on('exit', killAll)
    running.add(child)
    child.on('error', (error) => settle(() => resolve(unstarted(error))))
    const ended = (code: number | null, killedBy: NodeJS.Signals | null) =>
      settle(() => resolve(end(killedBy ? `crashed (${killedBy})` : code === 0 ? undefined : `crashed (exit code ${code})`)))
    child.on('close', ended)
    child.on('exit', (code, killedBy) => {
      clearTimeout(timer)
      // After a timer, what has arrived is read first.
      timer = setTimeout(() => setImmediate(ended, code, killedBy), drain)
    })
    for (const pipe of pipes) pipe.on('error', () => undefined)
    child.stderr?.on('data', (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-tailLength)))
    signal?.addEventListener('abort', abort, { once: true })
    timer = setTimeout(() => stop(() => resolve(end(`did not answer within ${silence / 1000} seconds`))), silence)
    if (!child.stdout) return
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = settled ? undefined : parsed(line)
      if (!message) return
      timer?.refresh()
      try {
        onMessage(message)
      } catch (error) {
        fail(error)
      }
    })
  })
}
