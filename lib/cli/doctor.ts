import os from 'node:os'
import path from 'node:path'
import { checkDevices, type CheckedDevice, type DeviceCheck, type DeviceReport } from '../index.js'
import { formatBytes, readFlags, ReportedFailure, toJson, UsageError, type Command, type FlagValues, type Flags, type Io } from './command.js'

const flags = {
  device: { kind: 'texts', value: 'NAME', help: 'check only this device or kind (see latent devices); may be repeated' },
  timeout: { kind: 'number', value: 'SECONDS', help: 'time after which a check counts as hanging (120)' },
  json: { kind: 'switch', help: 'print the report as JSON' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

function milliseconds(value: number | undefined): string {
  return value === undefined ? '' : `${value.toFixed(value < 10 ? 2 : 0)} ms`
}

/** One line of the report. */
export function checkLine({
  check,
  passed,
  skipped,
  reason,
  error,
  bound,
  differing,
  bytes,
  largest,
  psnr,
  referenceOff,
  firstMs,
  ms,
}: DeviceCheck): string {
  const state = skipped ? 'skipped' : passed ? 'ok' : 'FAILED'
  const found: string[] = []
  if (reason !== undefined) found.push(reason)
  if (error !== undefined) found.push(`error ${error === null ? 'not finite' : error.toExponential(1)} (at most ${bound})`)
  if (differing !== undefined) {
    found.push(`${differing} of ${bytes} bytes differ, by ${largest} at most${psnr == null ? '' : `, ${psnr.toFixed(1)} dB`}`)
    if (referenceOff) found.push(`the CPU's image is off by ${referenceOff}`)
  }
  if (ms !== undefined) found.push(`${milliseconds(ms)} (first ${milliseconds(firstMs)})`)
  return `  ${check.padEnd(18)}${state.padEnd(9)}${found.join(', ')}`
}

function verdict({ passed, checks, problem }: CheckedDevice): string {
  const failed = checks.filter((each) => !each.passed).length
  if (passed) return `  all ${checks.length} checks passed`
  return `  ${failed} of ${checks.length} checks failed${problem === undefined ? '' : `; ${problem}`}`
}

/** The report without the user's name: the home folder is `~` in every text. */
export function withoutHome<T>(value: T, home = os.homedir()): T {
  if (path.parse(home).base === '') return value // none, or the root
  const shorten = (item: unknown): unknown => {
    if (typeof item === 'string') return [path.sep, '/'].reduce((text, end) => text.replaceAll(`${home}${end}`, `~${end}`), item)
    if (Array.isArray(item)) return item.map(shorten)
    if (typeof item !== 'object' || item === null) return item
    return Object.fromEntries(Object.entries(item).map(([key, each]) => [key, shorten(each)]))
  }
  return shorten(value) as T
}

/** The report as text, to paste into an issue. */
export function renderReport(report: DeviceReport): string {
  const { date, version, ggml, node, system, cpu, memoryTotal, memoryFree, libraries, devices, refused } = report
  const lines = [
    `node-latent-diffusion ${version}, ggml ${ggml}, Node.js ${node}, ${system}, ${date}`,
    `${cpu.brand}, ${cpu.cores} cores (${cpu.features.join(' ')}); ${formatBytes(memoryFree)} of ${formatBytes(memoryTotal)} free`,
    ...(libraries.length === 0 ? ['no GPU library'] : libraries.map(({ kind, path: file }) => `${kind}: ${file}`)),
  ]
  for (const each of devices) {
    const { id, name, driver, memoryTotal: total, memoryFree: free } = each.device
    lines.push('', `${id}  ${name}${driver ? ` (${driver})` : ''}${total > 0 ? `, ${formatBytes(free)} of ${formatBytes(total)} free` : ''}`)
    lines.push(...each.checks.map(checkLine), verdict(each))
  }
  if (refused.length > 0) lines.push('')
  for (const { id, name, refused: reason } of refused) lines.push(`${id}  ${name ? `${name}, ` : ''}cannot be used: ${reason ?? ''}`)
  return `${lines.join('\n')}\n`
}

/** Runs the checks; in a terminal, each is named while they run. */
export async function check(values: Pick<FlagValues<typeof flags>, 'device' | 'timeout'>, images: boolean, io: Io): Promise<DeviceReport> {
  if (values.timeout !== undefined && !(values.timeout >= 0.1)) throw new UsageError('--timeout takes seconds, at least 0.1')
  const show = io.stderr.isTTY === true
  return checkDevices({
    ...(values.device ? { devices: values.device } : {}),
    ...(values.timeout === undefined ? {} : { timeout: values.timeout }),
    images,
    signal: io.signal,
    ...(show ? { onCheck: (device, { check: name }) => io.stderr.write(`\r\x1b[K${device}: ${name}`) } : {}),
  }).finally(() => show && io.stderr.write('\r\x1b[K'))
}

export const doctorCommand: Command = {
  name: 'doctor',
  summary: 'check the devices and print a report to paste into an issue',
  usage: '[--device NAME] [--timeout SECONDS] [--json]',
  flags,
  notes: 'Each device computes the main operations and an image in a process of its own; exit code 1 if something is wrong.',
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    const report = withoutHome(await check(values, true, io))
    io.stdout.write(values.json ? toJson(report) : renderReport(report))
    if (!report.passed) throw new ReportedFailure()
  },
}
