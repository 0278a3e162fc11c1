/**
 * Runs in a child process: lists the devices of a GPU library and computes one small graph on each, so that a crashing driver ends this process and not the
 * caller's. Arguments: kind, path of the library, devices to leave out (with commas). Prints a line of JSON before and after each device.
 */
import type { DeviceCheckResult } from './contract.js'
import { endWithParent } from '../files/end-with-parent.js'
import { loadAddon } from './load.js'

interface Listed {
  id: string
  type: string
  refused?: string
}

function say(message: object): void {
  process.stdout.write(`\n${JSON.stringify(message)}\n`) // after what a driver printed without an end of line
}

async function main([kind = '', library = '', without = '']: string[]): Promise<void> {
  endWithParent()
  const addon = loadAddon()
  say({ started: true })
  addon.setGpuLibrary(kind, library, '')
  const devices = (JSON.parse(addon.getDevices()) as Listed[]).filter(({ type, refused }) => type === kind && refused === undefined)
  say({ listed: devices.length })
  const { first } = JSON.parse(addon.deviceChecks()) as { first: string }
  for (const { id } of devices) {
    if (without.split(',').includes(id)) continue
    say({ device: id })
    try {
      const { check, error, bound, passed } = JSON.parse(await addon.checkDevice(id, first).promise) as DeviceCheckResult
      const off = error === null ? 'not finite' : error.toPrecision(2)
      const wrong = `it computes wrong numbers in the test process (${check}: error ${off}, at most ${bound}); update the driver`
      say(passed ? { device: id, passed } : { device: id, refused: wrong })
    } catch (error) {
      const { code, message } = error as { code?: unknown; message?: unknown }
      // Memory that is in use now may be free later; the real call will say so.
      const failed = `${String(message).split(/\. (?:The device cannot|Restart the process)/)[0]}, in the test process; update the driver`
      say(code === 'ERR_OUT_OF_MEMORY' ? { device: id, passed: true } : { device: id, refused: failed })
    }
  }
  say({ done: true })
}

void main(process.argv.slice(2)).catch((error: unknown) => {
  say({ failed: error instanceof Error ? error.message : String(error) })
  process.exitCode = 1
})
