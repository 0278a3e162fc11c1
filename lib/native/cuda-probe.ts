/** Run in a child process: asks the CUDA engine for its devices, so that a driver that crashes takes this process and not the caller's. */
import { loadAddon } from './load.js'

const addon = loadAddon()
addon.setCudaLibrary(process.argv[2] ?? '', '')
addon.getDevices()
process.stdout.write('ok\n')
