import { getDevices } from '../index.js'
import { readFlags, toJson, type Command, type Flags } from './command.js'

const flags = {
  json: { kind: 'switch', help: 'as JSON' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

export const devicesCommand: Command = {
  name: 'devices',
  summary: 'list the devices',
  usage: '[--json]',
  flags,
  async run(argv, io) {
    const { values } = readFlags(flags, argv, { min: 0, max: 0, names: 'no arguments' })
    const devices = await getDevices()
    if (values.json) {
      io.stdout.write(toJson(devices))
      return
    }
    for (const { id, name, memoryTotal, memoryFree, refused } of devices) {
      if (refused !== undefined) {
        io.stdout.write(`${id}  ${name ? `${name}, ` : ''}cannot be used: ${refused}\n`)
        continue
      }
      const memory = memoryTotal > 0 ? `, ${(memoryFree / 1e9).toFixed(1)} of ${(memoryTotal / 1e9).toFixed(1)} GB free` : ''
      io.stdout.write(`${id}  ${name}${memory}\n`)
    }
  },
}
