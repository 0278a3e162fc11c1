/** Calls the binary without the TypeScript around it, with every wrong value in every place. Whatever it answers, it must answer. */
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { modelFile, say } from './setup.mjs'

const require = createRequire(import.meta.url)
const addon = require('../../../dist/native/load.js').loadAddon()
const { file, config } = JSON.parse(readFileSync(modelFile, 'utf8'))

const pipeline = await addon.loadPipeline(JSON.stringify({ model: file, config, device: 'cpu' }), {}).promise
const shape = JSON.stringify({ width: 64, height: 64, batch: 1, seed: '1', rng: 'philox' })
const makers = {
  addon: () => addon,
  pipeline: () => pipeline,
  latents: () => pipeline.createLatents(shape).promise,
  conditioning: () => addon.conditioningFrom([1, 2, 3], new Float32Array(6)),
  solver: () => addon.createSolver(JSON.stringify({ sampler: 'euler', steps: 3, seed: '1', rng: 'philox', prediction: 'eps' })),
}
const detached = new Float32Array(4)
structuredClone(detached, { transfer: [detached.buffer] })
const values = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  NaN,
  2 ** 53,
  10n,
  '',
  'text',
  '{}',
  '[]',
  '{"',
  shape,
  '{"shape":[1e9,1e9,1e9,1e9],"seed":"1"}',
  '{"seed":-1}',
  '\ud800',
  '['.repeat(100000),
  '{"model":"' + 'x'.repeat(40000) + '"}',
  JSON.stringify({ model: '/does/not/exist' }),
  JSON.stringify({ source: 1, destination: 2 }),
  Symbol('s'),
  () => {},
  {},
  { onProgress: 1 },
  [],
  [1, 4, 8, 8],
  new Array(1e6),
  new Float32Array(0),
  new Float32Array(256),
  new Float64Array(256),
  new Uint8Array(3),
  detached,
  new ArrayBuffer(8),
  new DataView(new ArrayBuffer(8)),
  new Proxy(
    {},
    {
      get() {
        throw new Error('trap')
      },
    },
  ),
  await makers.latents(),
  makers.conditioning(),
  makers.solver(),
  pipeline,
  Object.create(await makers.latents()),
]

let calls = 0
const kinds = {}
async function attempt(object, name, args) {
  calls++
  try {
    const result = object[name](...args)
    if (result && typeof result.cancel === 'function') {
      result.cancel()
      await result.promise
    }
  } catch (error) {
    const kind = error?.code ?? error?.name ?? typeof error
    kinds[kind] = (kinds[kind] ?? 0) + 1
  }
}

for (const [kind, make] of Object.entries(makers)) {
  const object = await make()
  const names = new Set([...Object.keys(object), ...Object.getOwnPropertyNames(Object.getPrototypeOf(object))])
  for (const name of names) {
    if (name === 'constructor' || name === 'dispose' || name === 'measurePeak' || name === 'measureBandwidth' || typeof object[name] !== 'function')
      continue
    for (const a of values) {
      await attempt(object, name, [a])
      for (const b of values.slice(25)) await attempt(object, name, [a, b])
    }
    for (const good of [shape, '{"timesteps":[1]}', '{"output":"image"}']) for (const b of values) await attempt(object, name, [good, b, b, b, b])
    for (const other of values) await attempt({ f: object[name].bind(other) }, 'f', [shape])
  }
  if (kind !== 'addon') for (const a of values) await attempt({ f: (v) => new object.constructor(v) }, 'f', [a])
}
addon.setLogger(null)
await pipeline.dispose().promise
say({ calls, kinds })
