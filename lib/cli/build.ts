/** `latent build`: compiles the native binary from the sources that travel in the package. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { readFlags, UsageError, type Command, type Flags, type Io } from './command.js'

const flags = {
  jobs: { kind: 'number', short: 'j', help: 'parallel compiler jobs (default: one per processor)' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

function runScript(script: string, args: string[], { stdout, stderr, signal }: Io): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal })
    child.stdout.pipe(stdout, { end: false })
    child.stderr.pipe(stderr, { end: false })
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve()
      else reject(new Error('the native binary could not be built; see the compiler output above'))
    })
  })
}

export const buildCommand: Command = {
  name: 'build',
  summary: 'compile the native binary from source (needs CMake 3.21 and a C++17 compiler)',
  usage: '[--jobs N]',
  flags,
  notes:
    'The sources, ggml among them, are part of the package; nothing is downloaded. The compiler is the one that CMake finds (CC and CXX name another).\n' +
    'Only needed where no prebuilt binary fits this machine, or to use another ggml: LDM_GGML_DIR=/path/to/ggml latent build.',
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    if (values.jobs !== undefined && !(Number.isInteger(values.jobs) && values.jobs > 0)) {
      throw new UsageError(`--jobs takes a positive whole number, not ${values.jobs}`)
    }
    const root = path.resolve(__dirname, '..', '..')
    const script = path.join(root, 'scripts', 'build-native.mjs')
    if (!existsSync(script)) throw new Error(`${script} is missing: the package is not complete. Install it again.`)
    await runScript(script, values.jobs === undefined ? [] : ['--jobs', String(values.jobs)], io)
    io.stdout.write(`built ${path.join(root, 'build', 'Release', 'latent.node')}\n`)
  },
}
