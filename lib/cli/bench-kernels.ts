/** `latent bench --kernels` and `--all`: runs with other kernels. The engine selects kernels once per process, so each run is a child process. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import type { Kernels } from '../index.js'
import { packageRoot } from '../native/package-root.js'
import { batchText, type BenchValues, type Report, type Row } from './bench-report.js'
import { UsageError, type Io } from './command.js'

/** A set of kernels, `ggml` for ggml's operations; with `int8`, weights in 8-bit integers regardless of flags. */
export interface SetOfRun {
  set: string
  int8?: boolean
}

export interface Run extends SetOfRun {
  report: Report
}

/** Throws if this processor has no such set. */
export function checkSet(set: string, { available }: Kernels): void {
  const names = [...new Set([...available.float.map(({ name }) => name), ...available.int8, 'ggml'])]
  if (!names.includes(set)) throw new UsageError(`--kernels: this processor has no set '${set}'; it has ${names.join(', ')}`)
}

/** The sets for --all, without the portable ones, which are only for processors without others and would take most of the time. */
function setsOf({ available }: Kernels): SetOfRun[] {
  const faster = (names: string[]) => names.filter((name) => name !== 'portable')
  return [
    { set: 'ggml' },
    ...faster(available.float.map(({ name }) => name)).map((set) => ({ set })),
    ...faster(available.int8).map((set) => ({ set, int8: true })),
  ]
}

/** The command line of one run: the given flags, without those for several runs. */
function argumentsOf(int8: boolean | undefined, values: BenchValues, model: string | undefined): string[] {
  const flags = { ...values, device: 'cpu', json: true, ...(int8 ? { dtype: 'int8' } : {}) }
  const words = Object.entries(flags)
    .filter(([name]) => name !== 'kernels' && name !== 'all')
    .flatMap(([name, value]) => (value === true ? [`--${name}`] : [value].flat().map((each) => `--${name}=${String(each)}`)))
  return ['bench', ...words, ...(model === undefined ? [] : ['--', model])]
}

/** The error printed by a child. */
function errorOf(stderr: string, code: number | null, signal: string | null): Error {
  const printed = /^latent: (.*?) \((ERR_\w+)\)$/ms.exec(stderr)
  if (printed) return Object.assign(new Error(printed[1]), { code: printed[2] })
  return new Error(`the run ended with ${signal ?? `exit code ${code}`}: ${stderr.replace(/^latent: /, '').trim()}`)
}

/** One run of the command in a child process. */
export async function runInChild(wanted: SetOfRun, values: BenchValues, model: string | undefined, { signal }: Io): Promise<Report> {
  const env = { ...process.env }
  delete env.LATENT_OPS
  delete env.LATENT_KERNELS
  Object.assign(env, wanted.set === 'ggml' ? { LATENT_OPS: 'portable' } : { LATENT_KERNELS: wanted.set })
  const command = path.join(packageRoot(), 'dist', 'cli', 'main.js')
  const child = spawn(process.execPath, [command, ...argumentsOf(wanted.int8, values, model)], { env, signal, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<[number | null, string | null]>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (...result) => resolve(result))
  })
  const [stdout, stderr, [code, ending]] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  if (code !== 0) throw errorOf(stderr, code, ending)
  return JSON.parse(stdout) as Report
}

/** Runs all sets one after the other, because they would share the cores. */
export async function runAll(kernels: Kernels, values: BenchValues, model: string | undefined, io: Io): Promise<Run[]> {
  const runs: Run[] = []
  for (const wanted of setsOf(kernels)) runs.push({ ...wanted, report: await runInChild(wanted, values, model, io) })
  return runs
}

/** A table of all runs. */
export function renderRuns(runs: readonly Run[]): string {
  const [{ report }] = runs as [Run, ...Run[]]
  const { model, width, height, threads, device } = report
  const stage = ({ stages }: Report, name: string) => stages.find((each) => each.stage === name)
  const seconds = (row: Row | undefined) => (row ? `${(row.ms / 1000).toPrecision(3)} s` : '-')
  const share = (row: Row | undefined) => (row?.ofPeak === undefined ? '-' : `${(100 * row.ofPeak).toFixed(0)}% ${row.peakFormat}`)
  const rows = runs.map(({ set, int8, report }) => {
    const timed = ['step', 'decode', 'encode'].flatMap((name) => [seconds(stage(report, name)), share(stage(report, name))])
    return [int8 ? `${set} int8` : set, ...timed, seconds(stage(report, 'load')), `${(report.peakRssBytes / 1e6).toFixed(0)} MB`]
  })
  const table = [['set', 'step', 'share', 'decode', 'share', 'encode', 'share', 'load', 'peak memory'], ...rows]
  const widths = table[0]!.map((_, column) => Math.max(...table.map((cells) => cells[column]!.length)))
  const line = (cells: string[]) => cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')
  const peaks = report.peak.map(({ format, instructions, gflops }) => `${format} ${gflops.toFixed(0)} (${instructions})`).join(', ')
  return [
    `${model}, ${width}x${height}${batchText(report)}, ${threads} threads on ${device}`,
    `shares are of the peak measured in the same run; in the first one, in GFLOP/s: ${peaks}`,
    ...table.map(line),
    '',
  ].join('\n')
}
