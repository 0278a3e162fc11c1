/** Runs the child programs beside this file on the built package. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { GoldenModel } from '../../helpers/model'

export interface ChildResult {
  code: number | null
  signal: NodeJS.Signals | null
  /** The JSON lines it said. */
  said: Record<string, unknown>[]
  stderr: string
  /** Milliseconds from `leaving()` to the end of the process; NaN where it never said so. */
  leavingMs: number
}

/** Where children read which model to load. */
export function describeModel(model: GoldenModel): string {
  const file = path.join(model.folder, 'model.json')
  writeFileSync(file, JSON.stringify({ file: model.file, config: model.golden.config }))
  return file
}

export function runChild(
  name: string,
  modelFile: string,
  word = '',
  options: { nodeFlags?: string[]; env?: NodeJS.ProcessEnv } = {},
): Promise<ChildResult> {
  const program = path.resolve('test', 'integration', 'children', `${name}.mjs`)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...(options.nodeFlags ?? []), program, modelFile, word], {
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 280_000, // before jest gives up
      killSignal: 'SIGKILL',
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.once('error', reject)
    let ended = NaN
    child.once('exit', () => (ended = Date.now()))
    child.once('close', (code, signal) => {
      const said = stdout
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      const leaving = said.find((line) => 'leaving' in line)?.leaving
      resolve({ code, signal, said, stderr, leavingMs: typeof leaving === 'number' ? ended - leaving : NaN })
    })
  })
}
