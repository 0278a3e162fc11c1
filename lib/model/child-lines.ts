/** A program in a child process that answers in lines of JSON: drivers may crash or hang there without harm to this process. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** How it ended: by itself, or why not. */
export interface ChildEnd {
  /** Undefined if it ended with exit code 0. */
  problem?: string
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

/** Runs a script with this Node.js. `silence`: milliseconds without a message after which it is killed. */
export async function runLines(
  script: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  silence: number,
  onMessage: (message: Record<string, unknown>) => void,
  signal?: AbortSignal,
): Promise<ChildEnd> {
  signal?.throwIfAborted()
  const child = spawn(process.execPath, [script, ...args], {
    env: { ...env, ELECTRON_RUN_AS_NODE: '1' },
    stdio: ['ignore', 'pipe', 'ignore'],
    windowsHide: true,
  })
  let hung = false
  const kill = () => child.kill('SIGKILL')
  const timer = setTimeout(() => {
    hung = true
    kill()
  }, silence)
  signal?.addEventListener('abort', kill, { once: true })
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => {
    const message = parsed(line)
    if (!message || hung) return
    timer.refresh()
    onMessage(message)
  })
  try {
    return await new Promise<ChildEnd>((resolve) => {
      child.on('error', (error) => resolve({ problem: `no process could be started: ${error.message}` }))
      child.on('close', (code, killedBy) => {
        if (hung) resolve({ problem: `did not answer within ${silence / 1000} seconds` })
        else if (killedBy) resolve({ problem: `crashed (${killedBy})` })
        else resolve(code === 0 ? {} : { problem: `crashed (exit code ${code})` })
      })
    })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', kill)
    lines.close()
    signal?.throwIfAborted()
  }
}
