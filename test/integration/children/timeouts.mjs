/**
 * Ends scripts by the clock while they are inside the binary (the timeout of node:vm; Ctrl-C in a REPL does the same), over and over. Each must end as any other script
 * does, and the process go on.
 */
import { createRequire } from 'node:module'
import vm from 'node:vm'
import { load, modelFile, say, short } from './setup.mjs'

const addon = createRequire(import.meta.url)('../../../dist/native/load.js').loadAddon()
const pipe = await load()
const solver = JSON.stringify({ sampler: 'euler', steps: 3, seed: '1', rng: 'philox', prediction: 'eps' })
const forEver = (call) => `for (;;) { try { ${call} } catch {} }`
const scripts = [
  forEver('addon.createSolver(solver)'), // makes an object: JavaScript is entered again
  forEver('addon.createSolver("{")'),
  forEver('addon.conditioningFrom([1, 2, 3], new Float32Array(6))'),
  forEver('addon.conditioningFrom({ length: 3 }, new Float32Array(6))'),
  forEver('pipe.createLatents({ seed: 1 })'),
  // The end comes in a getter that the binary has called.
  forEver('addon.convert("{}", { get onProgress() { for (;;); } })'),
  forEver('addon.loadPipeline(request, { get onProgress() { for (;;); } })'),
  forEver('addon.loadPipeline(request, { get onProgress() { throw 5 } })'),
]
const sandbox = { addon, pipe, solver, Float32Array, request: JSON.stringify({ model: modelFile }) }

let ended = 0
for (let round = 0; round < 80; round++) {
  try {
    vm.runInNewContext(scripts[round % scripts.length], sandbox, { timeout: 1 + (round % 5) })
  } catch (error) {
    if (error.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    ended++
  }
  await new Promise((resolve) => setImmediate(resolve))
}
const { images } = await pipe.generate(short)
await pipe.dispose()
say({ ended, images: images.length })
