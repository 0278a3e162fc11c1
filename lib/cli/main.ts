#!/usr/bin/env node
/** The `latent` command: the API on the command line. Exit codes: 0 success, 1 failure, 2 wrong command line, 128 + N ended by signal N (130: Ctrl-C). */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import path from 'node:path'
import { OutOfMemoryError, type MemoryPlan } from '../index.js'
import { nearestName } from '../options/suggest.js'
import { benchCommand } from './bench.js'
import { buildCommand } from './build.js'
import { helpText, ReportedFailure, UsageError, type Command, type Io } from './command.js'
import { convertCommand } from './convert.js'
import { demoCommand } from './demo.js'
import { devicesCommand } from './devices.js'
import { doctorCommand } from './doctor.js'
import { estimateCommand } from './estimate.js'
import { generateCommand } from './generate.js'
import { inspectCommand } from './inspect.js'
import { listCommand, rmCommand, verifyCommand } from './models.js'
import { pullCommand } from './pull.js'
import { rdmCommand } from './rdm.js'
import { serveCommand } from './serve.js'
import { upscaleCommand } from './upscale.js'
import { workerCommand } from './worker.js'

const commands: readonly Command[] = [
  generateCommand,
  demoCommand,
  upscaleCommand,
  convertCommand,
  inspectCommand,
  estimateCommand,
  pullCommand,
  listCommand,
  verifyCommand,
  rmCommand,
  rdmCommand,
  serveCommand,
  workerCommand,
  devicesCommand,
  doctorCommand,
  benchCommand,
  buildCommand,
]

function version(): string {
  const manifest = JSON.parse(readFileSync(path.resolve(__dirname, '..', '..', 'package.json'), 'utf8')) as { version: string }
  return manifest.version
}

function overview(): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2
  return [
    'latent: run latent diffusion models on your own machine',
    '',
    'usage: latent COMMAND [options]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    '',
    'Run latent COMMAND --help for the options of a command, latent --version for the version.',
    '',
  ].join('\n')
}

/** A plan as flags of the command; undefined if the command lacks one of them. */
function planFlags({ width, height, memory, dtype, guidanceScale, imageGuidanceScale }: MemoryPlan, { flags }: Command): string | undefined {
  const needed: [flag: string, value: string | number][] = []
  // Commands without size flags take the size from their image or have a fixed one.
  if ('width' in flags) needed.push(['width', width], ['height', height])
  if (memory !== 'auto') needed.push(['memory', memory])
  if (dtype !== undefined) needed.push(['dtype', dtype])
  if (guidanceScale !== undefined) needed.push(['guidance-scale', guidanceScale])
  if (imageGuidanceScale !== undefined) needed.push(['image-guidance-scale', imageGuidanceScale])
  if (needed.length === 0 || needed.some(([flag]) => !(flag in flags))) return undefined
  return needed.map(([flag, value]) => `--${flag} ${value}`).join(' ')
}

/** Prints an error: the message, and the code for programs. */
function report(error: unknown, { stderr }: Io, command: Command): void {
  const { message, code } = error as { message?: unknown; code?: unknown }
  const text = typeof message === 'string' ? message : String(error)
  stderr.write(`latent: ${text}${typeof code === 'string' ? ` (${code})` : ''}\n`)
  const plan = error instanceof OutOfMemoryError ? error.nearest : undefined
  const flags = plan && planFlags(plan, command)
  if (flags) stderr.write(`try: ${flags}\n`)
}

function usage(message: string, io: Io, command?: Command): number {
  io.stderr.write(`latent: ${message}\n`)
  io.stderr.write(command ? `usage: latent ${command.name} ${command.usage}\nlatent ${command.name} --help lists the options.\n` : `\n${overview()}`)
  return 2
}

/** The exit code of a process ended by a signal, as in shells. */
function interruptedBy({ reason }: AbortSignal): number {
  const name = (reason as { signal?: unknown } | undefined)?.signal
  return 128 + (typeof name === 'string' ? (constants.signals[name as NodeJS.Signals] ?? constants.signals.SIGINT) : constants.signals.SIGINT)
}

/** Runs a command line and returns its exit code. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = argv
  if (name === undefined) return usage('no command given', io)
  if (name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
    io.stdout.write(overview())
    return 0
  }
  if (name === '--version' || name === '-v') {
    io.stdout.write(`${version()}\n`)
    return 0
  }
  const wanted = name === 'help' ? rest[0] : name
  const command = commands.find((each) => each.name === wanted)
  if (!command) {
    const near = nearestName(
      wanted ?? '',
      commands.map((each) => each.name),
    )
    return usage(`unknown command '${wanted}'${near ? `; did you mean '${near}'?` : ''}`, io)
  }
  if (name === 'help' || rest.includes('--help') || rest.includes('-h')) {
    io.stdout.write(helpText(command))
    return 0
  }
  try {
    await command.run(rest, io)
    return 0
  } catch (error) {
    if (io.signal.aborted) {
      io.stderr.write('latent: interrupted\n')
      return interruptedBy(io.signal)
    }
    if (error instanceof ReportedFailure) return 1
    if (error instanceof UsageError) return usage(error.message, io, command)
    report(error, io, command)
    return (error as { code?: unknown }).code === 'ERR_INVALID_ARG' ? 2 : 1
  }
}

/** Ctrl-C, `kill` and closing the terminal end the work cleanly: temporary files are removed. A second signal ends it immediately. */
function abortOnSignals(controller: AbortController): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(interruptedBy(controller.signal))
      controller.abort(Object.assign(new Error('interrupted'), { signal }))
    })
}

/** A closed pipe (`latent ... | head`) is not an error; other errors of standard output are reported in one line. */
function watchOutput(controller: AbortController): void {
  process.stderr.on('error', () => undefined)
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(controller.signal.aborted ? interruptedBy(controller.signal) : (process.exitCode ?? 0))
    process.stderr.write(`latent: standard output cannot be written: ${error.message}\n`)
    process.exit(1)
  })
}

/* istanbul ignore next: runs in a process of its own */
if (require.main === module) {
  const controller = new AbortController()
  abortOnSignals(controller)
  watchOutput(controller)
  void main(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, signal: controller.signal }).then((code) => {
    process.exitCode = code
  })
}
