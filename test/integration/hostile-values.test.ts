/**
 * Every function, constructor and method of the public surface, with a hostile value in the place of every argument and of every field of its options. What is
 * refused is refused by an error of this package; nothing crashes or hangs. Calls are listed by types/index.d.ts, so that a new one without a line here fails.
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import * as latent from '../../lib/index'
import { hostileValues, ownError } from '../helpers/hostile'
import { goldenModel, type GoldenModel } from '../helpers/model'
import { readSurface, type Fields } from '../helpers/surface'

/** A sound call: the hostile value is put into a copy of its arguments. */
interface Sound {
  on: () => unknown
  args: () => unknown[]
  /** Fields by parameter where the declaration depends on the kind of the model. */
  fields?: Record<number, Fields>
  /** Values that would be right here, or cost too much, by name. */
  without?: readonly string[]
}

const surface = readSurface()
const start = process.cwd()
let model: GoldenModel
let pipe: latent.DiffusionPipeline
let host: latent.DiffusionHost
let conditioning: latent.Conditioning
let disposedLatents: latent.Latents
let tensors: latent.TensorFile
let database: latent.RetrievalDatabase
const codes = { ERR_INVALID_ARG: TypeError, typed: latent.DiffusionError }

const image = () => new latent.RawImage({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 })
/** Ends a call where its work would begin: what is refused before is what counts here. */
const signal = AbortSignal.abort(ownError)
const load = { device: 'cpu', signal } as const
const hub = () => ({ cacheDir: path.join(model.folder, 'cache'), localFilesOnly: true, endpoint: 'http://127.0.0.1:9' })
const x = () => new Float32Array(256).fill(0.5)
const make = () => latent.Latents.from(x(), [1, 4, 8, 8])
/** Nothing happens to it that its listeners would hear of. */
const idleHost = () => latent.createDiffusionHost({ isolate: 'none' })
const solver = () => latent.createSolver({ sampler: 'euler', steps: 2 })

beforeAll(async () => {
  model = goldenModel('sd1')
  Object.assign(process.env, { HF_HUB_OFFLINE: '1', HF_HUB_CACHE: hub().cacheDir, LATENT_CACHE: hub().cacheDir })
  mkdirSync(path.join(model.folder, 'cache'))
  process.chdir(model.folder)
  pipe = await latent.DiffusionPipeline.load(model.file, { device: 'cpu', config: model.golden.config })
  host = latent.createDiffusionHost({ isolate: 'none', models: { tiny: { device: 'cpu', config: model.golden.config, source: model.file } } })
  conditioning = await pipe.encodePrompt('a')
  disposedLatents = await make()
  disposedLatents.dispose()
  tensors = await latent.openTensors(model.file)
  const file = path.join(model.folder, 'rows.safetensors')
  await latent.writeRetrievalDatabase(file, { embeddings: Float32Array.of(1, 0, 0, 1), shape: [2, 2] })
  database = await latent.RetrievalDatabase.load(file)
})
afterAll(async () => {
  latent.setLogger(null)
  process.chdir(start)
  tensors?.dispose()
  await pipe?.dispose()
  await host?.close()
  model.remove()
})

const small = { signal, width: 64, height: 64, steps: 1, seed: 1, sampler: 'euler' }
const any = () => surface.fieldsOf('AnyInputs')
const loadFields = () => surface.fieldsOf('LoadOptions')
const config = () => ({ ...load, config: model.golden.config })
const onPipe = (args: () => unknown[], more: Partial<Sound> = {}): Sound => ({ on: () => pipe, args, ...more })
const onModule = (args: () => unknown[], more: Partial<Sound> = {}): Sound => ({ on: () => latent, args, ...more })
const onClass = (name: keyof typeof latent, args: () => unknown[], more: Partial<Sound> = {}): Sound => ({ on: () => latent[name], args, ...more })
/** Options that may well be left out take an object without fields for one. */
const emptyObjects = ['an object', 'an object without prototype', 'a map', 'a date', 'a number in a box', 'a promise', 'another value at every look']

const calls: Record<string, Sound> = {
  batchKey: onModule(() => [{ ...small, model: 'tiny' }], { fields: { 0: surface.fieldsOf('AnyGenerateOptions') }, without: emptyObjects }),
  convert: onModule(() => [model.file, path.join(model.folder, 'out.gguf'), { type: 'f16', config: model.golden.config, signal }]),
  checkDevices: onModule(() => [{ devices: ['cpu'], images: false, timeout: 60, onCheck: () => {}, signal }], {
    without: [...emptyObjects, 'true', 'a getter that throws'],
  }),
  cosineSimilarity: onModule(() => [Float32Array.of(1, 0), Float32Array.of(1, 0)]),
  createDiffusionHost: onModule(() => [
    { isolate: 'none', models: { tiny: { device: 'cpu', config: model.golden.config, source: model.file } }, maxModels: 1, idleMs: 0 },
  ]),
  createNoise: onModule(() => [{ seed: 1, shape: [4], signal }]),
  createRandom: onModule(() => [{ kind: 'integers', seed: 1, count: 4, high: 9 }]),
  createSolver: onModule(() => [{ sampler: 'euler', steps: 2 }]),
  estimateMemory: onModule(() => [model.file, config()]),
  formatInfotext: onModule(() => ['a', 'b', { Steps: 20 }]),
  getDevices: onModule(() => [{ type: 'cpu' }]),
  getVersions: onModule(() => []),
  inspect: onModule(() => [model.file, { config: model.golden.config, signal }]),
  listModels: onModule(() => [{ cacheDir: hub().cacheDir }]),
  // Measures for a fifth of a second and more where it is asked for nothing else.
  measurePeak: onModule(() => [{ seconds: 0.001, threads: 1, signal }], { without: [...emptyObjects, 'true', 'a getter that throws'] }),
  measureBandwidth: onModule(() => [{ seconds: 0.001, threads: 1, signal }], { without: [...emptyObjects, 'true', 'a getter that throws'] }),
  ownTimings: onModule(() => [{ loadMs: 0, encodeMs: 1, sampleMs: 4, decodeMs: 1, sharedBy: 2 }]),
  listEmbeddings: onModule(() => [model.folder, {}]),
  listLoras: onModule(() => [model.folder]),
  openTensors: onModule(() => [model.file, {}]),
  parseInfotext: onModule(() => ['a\nSteps: 20, Sampler: Euler, Seed: 1']),
  pullModel: onModule(() => ['hf:owner/name', { ...hub(), signal }]),
  removeIncompleteDownloads: onModule(() => [{ cacheDir: hub().cacheDir }]),
  removeModel: onModule(() => ['hf:owner/name', { cacheDir: hub().cacheDir }]),
  setLogger: onModule(() => [null]),
  verifyModels: onModule(() => ['hf:owner/name', { cacheDir: hub().cacheDir, signal }]),
  writeRetrievalDatabase: onModule(() => [
    path.join(model.folder, 'written.safetensors'),
    { embeddings: Float32Array.of(1, 0), shape: [1, 2], imageIds: ['a'], patches: [[0, 0, 1, 1]] },
  ]),
  'Autoencoder.load': onClass('Autoencoder', () => [model.file, config()]),
  'Autoencoder#encode': { on: () => pipe.firstStage, args: () => [image(), { output: 'mean', signal }] },
  'Autoencoder#codes': { on: () => pipe.firstStage, args: () => [image(), { signal }] },
  'Autoencoder#decode': { on: () => pipe.firstStage, args: () => [disposedLatents, {}] },
  'Conditioning.from': onClass('Conditioning', () => [new Float32Array(4), [2, 2], {}]),
  'Conditioning#read': { on: () => conditioning, args: () => [undefined] },
  'Conditioning#readConcat': { on: () => conditioning, args: () => [undefined] },
  'Conditioning#readVector': { on: () => conditioning, args: () => [undefined] },
  'DiffusionHost#generate': {
    on: () => host,
    args: () => [{ ...small, model: 'tiny' }],
    fields: { 0: surface.fieldsOf('AnyGenerateOptions') },
    without: emptyObjects,
  },
  'DiffusionHost#pause': { on: idleHost, args: () => [] },
  'DiffusionHost#resume': { on: idleHost, args: () => [] },
  'DiffusionHost#load': { on: () => host, args: () => ['tiny', { signal }] },
  'DiffusionHost#unload': { on: () => host, args: () => ['tiny'] },
  'DiffusionHost#memoryUsage': { on: () => host, args: () => ['tiny'] },
  'DiffusionHost#addModel': { on: () => host, args: () => ['added', model.file] },
  'DiffusionHost#removeModel': { on: () => host, args: () => ['added'] },
  'DiffusionHost#describe': { on: () => host, args: () => ['tiny', { signal }] },
  'DiffusionHost#estimate': { on: () => host, args: () => ['tiny', { width: 64, height: 64, signal }] },
  'DiffusionHost#tokenize': { on: () => host, args: () => ['a', { model: 'tiny', signal }] },
  'DiffusionHost#on': { on: idleHost, args: () => ['status', () => {}] },
  'DiffusionHost#once': { on: idleHost, args: () => ['status', () => {}] },
  'DiffusionHost#off': { on: idleHost, args: () => ['status', () => {}] },
  'DiffusionPipeline.load': onClass('DiffusionPipeline', () => [model.file, config()]),
  'DiffusionPipeline#is': onPipe(() => ['text']),
  'DiffusionPipeline#generate': onPipe(() => [small], { fields: { 0: surface.fieldsOf('AnyGenerateOptions') }, without: emptyObjects }),
  'DiffusionPipeline#setLoras': onPipe(() => [[], {}], { fields: { 0: new Map() } }),
  'DiffusionPipeline#upscale': onPipe(() => [image(), small]),
  'DiffusionPipeline#tokenize': onPipe(() => ['a']),
  'DiffusionPipeline#encodePrompt': onPipe(() => ['a', { signal }]),
  'DiffusionPipeline#encodeCondition': onPipe(() => [{ prompt: 'a' }, { signal }], { fields: { 0: any() } }),
  'DiffusionPipeline#loss': onPipe(() => [image(), { prompt: 'a' }, { timesteps: [1], seed: 1, signal }], { fields: { 1: any() } }),
  'DiffusionPipeline#encodeImage': onPipe(() => [image(), { signal }]),
  'DiffusionPipeline#embedImage': onPipe(() => [image(), { signal }]),
  'DiffusionPipeline#embedText': onPipe(() => ['a', { signal }]),
  'DiffusionPipeline#createLatents': onPipe(() => [{ width: 64, height: 64 }]),
  'DiffusionPipeline#sample': onPipe(() => [{ conditioning, ...small }]),
  'DiffusionPipeline#predict': onPipe(() => [disposedLatents, { timestep: 1, conditioning }]),
  'DiffusionPipeline#decode': onPipe(() => [disposedLatents, {}]),
  'DiffusionPipeline#memoryUsage': onPipe(() => []),
  'DiffusionPipeline#profile': onPipe(() => [() => Promise.resolve()]),
  'DiffusionPipeline#unload': onPipe(() => [{}]),
  'ImageEncoder.load': onClass('ImageEncoder', () => [model.file, load], { fields: { 1: loadFields() } }),
  'Latents.from': onClass('Latents', () => [x(), [1, 4, 8, 8]]),
  'Latents#read': { on: make, args: () => [undefined] },
  'Latents#write': { on: make, args: () => [x()] },
  'Latents#clone': { on: make, args: () => [] },
  'new RawImage': onClass('RawImage', () => [{ data: new Uint8Array(3), width: 1, height: 1, channels: 3, metadata: {} }]),
  'RawImage.read': onClass('RawImage', () => [image(), {}]),
  'RawImage.size': onClass('RawImage', () => [image(), {}]),
  'RawImage#encode': { on: image, args: () => ['png', {}] },
  'RawImage#save': { on: image, args: () => [path.join(model.folder, 'out.png'), {}] },
  'RawImage#resize': { on: image, args: () => [8, 8, {}] },
  'RetrievalDatabase.load': onClass('RetrievalDatabase', () => [path.join(model.folder, 'rows.safetensors'), {}]),
  'RetrievalDatabase#search': { on: () => database, args: () => [Float32Array.of(1, 0), 1, {}] },
  'Solver#scaleInput': { on: solver, args: () => [x(), 0, undefined] },
  'Solver#step': { on: solver, args: () => [x(), x(), 0, undefined] },
  'TensorFile#has': { on: () => tensors, args: () => ['a'] },
  'TensorFile#get': { on: () => tensors, args: () => ['a'] },
  'TensorFile#read': { on: () => tensors, args: () => [tensors.names[0], {}] },
}

/**
 * Made by this package, or freeing; what promises take; error classes are records of what they are given. `embed()` is `embedImage()` of a model of its own.
 */
const left =
  /^new (?!RawImage)|\[(asyncDispose|asyncIterator|dispose|iterator)\]$|#dispose$|^DiffusionHost#(close|models)$|^DiffusionJob#|^ImageEncoder#embed$/

/** Argument `index` or, by the path of a field, what is within it, replaced. */
function replaced(args: unknown[], index: number, fields: readonly string[], value: unknown): unknown[] {
  const within = (object: unknown, at: number): unknown => {
    if (at === fields.length) return value
    const base = typeof object === 'object' && object !== null && !Array.isArray(object) ? object : {}
    const field = fields[at]!
    return { ...base, [field]: within((base as Record<string, unknown>)[field], at + 1) }
  }
  return args.map((arg, i) => (i === index ? within(arg, 0) : arg))
}

function* places(fields: Fields, before: readonly string[] = []): Generator<readonly string[]> {
  yield before
  for (const [name, inner] of fields) yield* places(inner, [...before, name])
}

/** An error that is none of ours, in words. */
function fault(error: unknown): string | undefined {
  if (error === ownError) return undefined
  // A revoked proxy speaks for itself, whatever is done with it.
  if (error instanceof TypeError && /on a proxy that has been revoked/.test(error.message)) return undefined
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (error instanceof codes.typed && typeof code === 'string' && code.startsWith('ERR_') && code !== 'ERR_INTERNAL') return undefined
  if ((error instanceof TypeError || error instanceof RangeError) && code === 'ERR_INVALID_ARG') return undefined
  return `${String(code)} ${error instanceof Error ? `${error.name}: ${String(message)}` : typeof error}`
}

async function settle(result: unknown): Promise<void> {
  const value = await result
  if (typeof value === 'object' && value !== null && 'next' in value) {
    const run = value as AsyncGenerator
    await run.next()
    await run.return(undefined)
  } else if (typeof value === 'object' && value !== null && value !== pipe && 'dispose' in value) await (value as { dispose(): unknown }).dispose()
}

async function attempt(name: string, call: Sound, args: unknown[]): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('hangs'), 20_000)
  })
  const run = async () => {
    const target = (await call.on()) as Record<string, (...given: unknown[]) => unknown>
    const method = name.replace(/^.*[.#]/, '')
    if (name.startsWith('new ')) return void new latent.RawImage(args[0] as latent.RawImageData)
    await settle(target[method]!(...args))
  }
  try {
    return await Promise.race([run().then(() => undefined, fault), late])
  } finally {
    clearTimeout(timer)
  }
}

const lines = surface.callables.filter(({ name }) => !left.test(name))

test('the list of calls is complete and every listed call exists', () => {
  expect(Object.keys(calls).sort()).toEqual(lines.map(({ name }) => name).sort())
})

test.each(lines.map(({ name, parameters }) => [name, parameters] as const))('%s', async (name, parameters) => {
  const call = calls[name]!
  const faults: string[] = []
  const count = Math.max(parameters.length, 1)
  for (let index = 0; index < count; index++)
    for (const fields of places(call.fields?.[index] ?? parameters[index] ?? new Map()))
      for (const value of hostileValues) {
        if (fields.length === 0 && call.without?.includes(value.name)) continue
        const found = await attempt(name, call, replaced(call.args(), index, fields, value.make()))
        if (found) faults.push(`argument ${index}${fields.map((field) => `.${field}`).join('')} = ${value.name}: ${found}`)
      }
  expect(faults).toEqual([])
})

test('disposed objects give a clear error', async () => {
  for (const use of [
    () => disposedLatents.read(),
    () => disposedLatents.write(x()),
    () => disposedLatents.clone(),
    () => pipe.decode(disposedLatents),
  ])
    await expect(use()).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  await expect(pipe.generate({ ...small, signal: undefined, latents: disposedLatents })).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
})
