/** Runs in a child process: lists the devices of a GPU library, so that a crashing driver ends this process and not the caller's. */
import { loadAddon } from './load.js'

const [kind = '', library = ''] = process.argv.slice(2)
const addon = loadAddon()
addon.setGpuLibrary(kind, library, '')
addon.getDevices()
process.stdout.write('ok\n')
