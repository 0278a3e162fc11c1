/** Runs in a child process: lists the CUDA engine's devices, so that a crashing driver ends this process and not the caller's. */
import { loadAddon } from './load.js'

const addon = loadAddon()
addon.setCudaLibrary(process.argv[2] ?? '', '')
addon.getDevices()
process.stdout.write('ok\n')
