import { getDevices } from '../index.js'
import { check, checkLine, withoutHome } from './doctor.js'
import { readFlags, ReportedFailure, toJson, type Command, type Flags } from './command.js'

const flags = {
  check: { kind: 'switch', help: 'compute the main operations on each device and compare it (latent doctor says more)' },
  json: { kind: 'switch', help: 'as JSON' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

export const devicesCommand: Command = {
  name: 'devices',
  summary: 'list the devices',
  usage: '[--check] [--json]',
  flags,
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    if (values.check) {
      const report = withoutHome(await check({}, false, io))
      if (values.json) io.stdout.write(toJson(report))
      for (const { device, passed, checks, problem } of values.json ? [] : report.devices) {
        io.stdout.write(`${device.id}  ${device.name}: ${passed ? `all ${checks.length} operations are right` : (problem ?? 'wrong')}\n`)
        for (const each of checks) if (!each.passed) io.stdout.write(`${checkLine(each)}\n`)
      }
      for (const { id, refused } of values.json ? [] : report.refused) io.stdout.write(`${id}  cannot be used: ${refused}\n`)
      if (!report.passed) throw new ReportedFailure()
      return
    }
    const devices = await getDevices()
    if (values.json) {
      io.stdout.write(toJson(devices))
      return
    }
    for (const { id, name, driver, memoryTotal, memoryFree, refused } of devices) {
      if (refused !== undefined) {
        io.stdout.write(`${id}  ${name ? `${name}, ` : ''}cannot be used: ${refused}\n`)
        continue
      }
      const memory = memoryTotal > 0 ? `, ${(memoryFree / 1e9).toFixed(1)} of ${(memoryTotal / 1e9).toFixed(1)} GB free` : ''
      io.stdout.write(`${id}  ${name}${driver ? ` (${driver})` : ''}${memory}\n`)
    }
    if (devices.every(({ type }) => type === 'cpu')) {
      const kind = process.platform === 'darwin' ? 'metal' : 'vulkan (or cuda)'
      io.stderr.write(`no library for a GPU is installed: latent build --gpu ${kind} compiles one; docs/gpu.md tells more\n`)
    }
  },
}
