/** Engines in processes and threads of their own: the same images, and what happens when one is lost. On the built package, since an engine runs its own program. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { spawn, spawnSync } from 'node:child_process'
import { serveEngine } from '../../lib/host/engine'
import type { EnginePort } from '../../lib/host/port'
import type { EngineMessage, HostMessage } from '../../lib/rpc/protocol'
import type * as Package from '../../lib/index'
import type { DiffusionHost as Host, DiffusionJob, HostGenerateOptions, HostOptions, JobEvent } from '../../lib/index'
import { temporaryFolder } from '../helpers/golden'

let built: typeof Package
const { folder, remove } = temporaryFolder()
beforeAll(() => {
  if (!existsSync('dist/index.js')) throw new Error('dist/ is missing: run `npm run build:ts` first')
  built = jest.requireActual<typeof Package>('../../dist/index.js')
})
afterAll(remove)

const small: HostGenerateOptions = { prompt: 'a red circle', seed: 1, steps: 3 }
/** Goes on until it is ended. */
const endless: HostGenerateOptions = { prompt: 'a red circle', steps: 1000, width: 256, height: 256 }

const hosts: Host[] = []
function hostWith(options?: HostOptions): Host {
  const host = built.createDiffusionHost(options)
  hosts.push(host)
  return host
}
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.close()))
})

async function eventsOf(job: DiffusionJob): Promise<JobEvent[]> {
  const events: JobEvent[] = []
  for await (const event of job) events.push(event)
  return events
}

/** Until the job has made a step. */
async function atWork(job: DiffusionJob): Promise<void> {
  for await (const event of job) if (event.type === 'progress' && event.phase === 'sample' && event.step > 0) return
}

const failure = (promise: PromiseLike<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

describe.each(['process', 'thread', 'none'] as const)('isolate: %s', (isolate) => {
  test('gives the same image as without a host, and every kind of event', async () => {
    await using pipe = await built.DiffusionPipeline.load()
    if (pipe.kind !== 'text') throw new Error(pipe.kind)
    const direct = await pipe.generate({ prompt: 'a red circle', seed: 1, steps: 3 })
    const job = hostWith({ isolate }).generate({ ...small, preview: {} })
    const events = await eventsOf(job)
    const result = await job
    expect(result.images[0]!).toBeInstanceOf(built.RawImage)
    expect(result.images[0]!.data).toEqual(direct.images[0]!.data)
    expect(result.images[0]!.metadata).toEqual(direct.images[0]!.metadata)
    expect(result.options).toEqual(direct.options)
    expect(job.state).toBe('done')
    expect(events[0]).toEqual({ type: 'queued', position: 0 })
    const kinds = events.map((event) => (event.type === 'progress' ? event.phase : event.type))
    expect(new Set(kinds)).toEqual(new Set(['queued', 'started', 'load', 'encode', 'sample', 'preview', 'decode']))
    const shown = events.find((event) => event.type === 'preview')!
    expect(shown).toMatchObject({ steps: 3, index: 0, image: { width: 16, height: 16 } })
  })

  test('images are accepted as pixels, bytes and paths, and returned unchanged in the options', async () => {
    const host = hostWith({ isolate })
    const { images } = await host.generate(small)
    const again = { ...small, strength: 0.4 }
    const fromPixels = await host.generate({ ...again, image: images[0]! })
    expect((fromPixels.options as { image?: unknown }).image).toBe(images[0])
    const bytes = await images[0]!.encode()
    const file = path.join(folder, `${isolate}.png`)
    writeFileSync(file, bytes)
    expect((await host.generate({ ...again, image: bytes })).images[0]!.data).toEqual(fromPixels.images[0]!.data)
    expect((await host.generate({ ...again, image: file })).images[0]!.data).toEqual(fromPixels.images[0]!.data)
  })

  test('aborting works immediately, waiting or running, and does not affect later jobs', async () => {
    const host = hostWith({ isolate })
    const [first, second] = [new AbortController(), new AbortController()]
    const running = host.generate({ ...endless, signal: first.signal })
    const waiting = host.generate({ ...small, signal: second.signal })
    const last = host.generate(small)
    const [one, two] = [new Error('one'), new Error('two')]
    second.abort(two)
    expect(await failure(waiting)).toBe(two)
    await atWork(running)
    first.abort(one)
    expect(await failure(running)).toBe(one)
    expect((await last).images).toHaveLength(1)
    expect(await failure(host.generate({ ...small, signal: AbortSignal.abort(one) }))).toBe(one)
    const cancelled = host.generate(endless)
    cancelled.cancel()
    expect(await failure(cancelled)).toMatchObject({ name: 'AbortError' })
  })

  test('errors arrive with class and code', async () => {
    const broken = path.join(folder, 'broken.safetensors')
    writeFileSync(broken, 'no model at all')
    const host = hostWith({ isolate, models: { tiny: {}, broken, gone: path.join(folder, 'gone.gguf'), tight: { memory: { maxBytes: 60e6 } } } })
    expect(await failure(host.generate({ ...small, steps: -1 }))).toMatchObject({ name: 'RangeError', code: 'ERR_INVALID_ARG', message: /steps/ })
    expect(await failure(host.generate({ ...small, boxes: [] }))).toMatchObject({
      name: 'TypeError',
      message: expect.stringMatching(/boxes/) as string,
    })
    expect(await failure(host.generate({ ...small, model: 'broken' }))).toBeInstanceOf(built.ModelFormatError)
    expect(await failure(host.generate({ ...small, model: 'gone' }))).toMatchObject({
      code: 'ERR_IO',
      details: { path: expect.stringMatching(/gone/) as string },
    })
    expect(await failure(host.generate({ ...small, model: 'tight', width: 1024, height: 1024 }))).toBeInstanceOf(built.OutOfMemoryError)
    const thrown = new Error('of the callback')
    const throws = () => {
      throw thrown
    }
    expect(await failure(host.generate({ ...endless, onProgress: throws }))).toBe(thrown)
    expect(await failure(host.generate({ ...endless, preview: { onPreview: throws } }))).toBe(thrown)
    expect((await host.generate(small)).images).toHaveLength(1)
  })

  test('only the last used model stays loaded', async () => {
    const host = hostWith({ isolate, models: { a: {}, b: { dtype: 'f16' } } })
    expect((await host.load('a')).kind).toBe('text')
    expect(host.models()).toEqual([
      { name: 'a', loaded: true },
      { name: 'b', loaded: false },
    ])
    await host.generate({ ...small, model: 'b' })
    expect(host.models().map(({ loaded }) => loaded)).toEqual([false, true])
    expect(await host.memoryUsage('a')).toBeUndefined()
    expect((await host.memoryUsage('b'))!.parts.unet).toBeGreaterThan(0)
    await host.unload('b')
    expect(host.models().map(({ loaded }) => loaded)).toEqual([false, false])
  })

  test('close() rejects waiting, running and later jobs', async () => {
    const host = hostWith({ isolate })
    const jobs = [host.generate(endless), host.generate(small)]
    await atWork(jobs[0]!)
    await Promise.all([host.close(), ...jobs.map(async (job) => expect(await failure(job)).toBeInstanceOf(built.DisposedError))])
    expect(host.status).toMatchObject({ state: 'closed', queued: 0 })
    expect(() => host.generate(small)).toThrow(built.DisposedError)
    await host.close()
  })
})

test('jobs that run together have their own images, events and ends', async () => {
  const options = (i: number): HostGenerateOptions => ({
    ...small,
    prompt: `a ${['red', 'green', 'blue', 'white'][i]} circle`,
    seed: i,
    variationSeed: 10 + i,
    variationStrength: 0.5,
    preview: { every: 1 },
  })
  const host = hostWith({ maxBatch: 4, isolate: 'thread' })
  const alone = hostWith({ isolate: 'thread' })
  const jobs = [0, 1, 2, 3].map((i) => host.generate(options(i)))
  const last = host.generate({ ...small, width: 128 }) // of another size
  expect(jobs.map(({ state }) => state)).toEqual(Array(4).fill('queued'))
  const events = jobs.map(eventsOf)
  jobs[3]!.cancel(new Error('enough'))
  expect(await failure(events[3]!)).toMatchObject({ message: 'enough' })
  for (const i of [0, 1, 2]) {
    const { images, seed, timings } = await jobs[i]!
    expect(seed).toBe(BigInt(i))
    expect([3, 4]).toContain(timings.sharedBy) // the cancelled one may have begun
    const wanted = (await alone.generate(options(i))).images[0]!
    expect(images[0]!.metadata).toEqual(wanted.metadata)
    const largest = images[0]!.data.reduce((most, value, at) => Math.max(most, Math.abs(value - wanted.data[at]!)), 0)
    expect(largest).toBeLessThanOrEqual(12) // as of the same call with more rows
    const types = new Set((await events[i]!).map(({ type }) => type))
    expect([...types]).toEqual(expect.arrayContaining(['started', 'progress', 'preview']))
  }
  const { images, timings } = await last
  expect([images[0]!.width, timings.sharedBy]).toEqual([128, 1])
})

test('jobs that run together end when all are cancelled', async () => {
  const host = hostWith({ maxBatch: 4 })
  const jobs = [0, 1, 2].map((seed) => host.generate({ ...endless, seed }))
  const ends = jobs.slice(1).map((job) => failure(job))
  await atWork(jobs[0]!)
  const end = failure(jobs[0]!)
  for (const job of jobs) job.cancel(new Error('enough'))
  for (const each of [end, ...ends]) expect(await each).toMatchObject({ message: 'enough' })
  expect((await host.generate(small)).images).toHaveLength(1) // thousand steps of the others would take minutes
})

test('while paused no job starts, the running one ends, and queries work', async () => {
  const host = hostWith({ maxQueue: 2 })
  const running = host.generate({ ...small, steps: 30 })
  await atWork(running)
  host.pause()
  const started: string[] = []
  const first = host.generate({ ...small, onProgress: () => void started.push('first') })
  expect((await running).images).toHaveLength(1)
  await host.describe()
  expect(host.status).toMatchObject({ paused: true, running: false, queued: 1 })
  const second = host.generate(small)
  expect(() => host.generate(small)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }) as Error)
  second.cancel(new Error('no longer'))
  expect(await failure(second)).toMatchObject({ message: 'no longer' })
  expect(started).toEqual([])
  host.resume()
  host.resume()
  expect((await first).images).toHaveLength(1)
  expect(host.status.paused).toBe(false)
})

describe('a lost engine', () => {
  test('the running job is rejected, waiting jobs run in the next engine', async () => {
    const host = hostWith()
    const crashes: unknown[] = []
    host.on('crash', (error) => crashes.push(error))
    const running = host.generate(endless)
    const waiting = [host.generate(small), host.generate(small)]
    await atWork(running)
    const { pid } = host.status
    process.kill(pid!, 'SIGKILL')
    const error = await failure(running)
    expect(error).toBeInstanceOf(built.EngineExitedError)
    expect(error).toMatchObject({ code: 'ERR_ENGINE_EXITED', retriable: true, details: { signal: 'SIGKILL' } })
    const results = await Promise.all(waiting)
    expect(results[0]!.images[0]!.data).toEqual(results[1]!.images[0]!.data)
    expect(crashes).toEqual([error])
    expect(host.status.restarts).toBe(1)
    expect(host.status.pid).not.toBe(pid)
  })

  // Signals of crashes in native code, in the phases before and after the steps. A word of a phase may come late: the job is not done then.
  test.each([
    ['load', 'SIGSEGV'],
    ['encode', 'SIGABRT'],
    ['decode', 'SIGBUS'],
  ] as const)('in the phase %s, by %s: the same', async (phase, signal) => {
    const crash = async () => {
      const host = hostWith()
      const running = host.generate(phase === 'decode' ? { ...small, steps: 1, width: 768, height: 768 } : endless)
      const waiting = host.generate(small).then(
        ({ images }) => images.length,
        () => 0,
      )
      for await (const event of running) if (event.type === 'progress' && event.phase === phase) break
      process.kill(host.status.pid!, signal)
      return { error: await failure(running), waiting: await waiting, restarts: host.status.restarts }
    }
    let crashed = await crash()
    // The word of decoding, the last phase, may come together with the image.
    for (let tries = 1; phase === 'decode' && crashed.error === undefined && tries < 10; tries++) crashed = await crash()
    expect(crashed.error).toMatchObject({ code: 'ERR_ENGINE_EXITED', retriable: true, details: { signal } })
    expect([crashed.waiting, crashed.restarts]).toEqual([1, 1])
  })

  test("onCrash: 'reject' rejects all jobs, and the next job starts an engine", async () => {
    const host = hostWith({ onCrash: 'reject' })
    const jobs = [host.generate(endless), host.generate(small)]
    await atWork(jobs[0]!)
    process.kill(host.status.pid!, 'SIGKILL')
    for (const job of jobs) expect(await failure(job)).toMatchObject({ code: 'ERR_ENGINE_EXITED' })
    expect((await host.generate(small)).images).toHaveLength(1)
  })

  test('loading a model is an event, also in the next engine', async () => {
    const host = hostWith()
    const loads: [string, number][] = []
    host.on('loaded', (...load) => loads.push(load))
    await host.generate(small)
    await host.generate(small)
    expect(loads).toEqual([['default', expect.any(Number)]])
    const lost = new Promise((resolve) => host.once('crash', resolve))
    process.kill(host.status.pid!, 'SIGKILL')
    await lost
    await host.load()
    expect(loads.map(([model, ms]) => [model, ms > 0])).toEqual(Array(2).fill(['default', true]))
  })

  test('lost between jobs: the next job starts a new engine', async () => {
    const host = hostWith()
    await host.generate(small)
    const lost = new Promise((resolve) => host.once('crash', resolve))
    process.kill(host.status.pid!, 'SIGKILL')
    await lost
    expect(host.status).toMatchObject({ state: 'idle', pid: undefined })
    expect((await host.generate(small)).images).toHaveLength(1)
  })

  test('an engine that cannot be started is tried at most three times, and the error says why', async () => {
    const host = hostWith({ execArgv: ['--no-such-flag-of-node'] })
    const jobs = [host.generate(small), host.generate(small)]
    for (const job of jobs)
      expect(await failure(job)).toMatchObject({
        code: 'ERR_ENGINE_EXITED',
        retriable: false,
        message: expect.stringMatching(/--no-such-flag-of-node/) as string,
      })
  })
})

test('a job for a full queue is rejected', async () => {
  const host = hostWith({ maxQueue: 1 })
  const jobs = [host.generate(endless), host.generate(small)]
  expect(() => host.generate(small)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
  jobs[0]!.cancel()
  await failure(jobs[0]!)
  await jobs[1]
})

test('an idle engine is stopped, and the next job starts a new one', async () => {
  const host = hostWith({ idleMs: 50 })
  await host.generate(small)
  while (host.status.state !== 'idle' || host.status.pid !== undefined) await new Promise((resolve) => host.once('status', resolve))
  expect((await host.generate(small)).images).toHaveLength(1)
})

test.each<[HostOptions, RegExp]>([
  [{ isolate: 'fork' as never }, /isolate/],
  [{ models: {} }, /models is empty/],
  [{ models: { '../x': 'a' } }, /not a valid name/],
  [{ models: { a: 5 as never } }, /models\.a must be/],
  [{ models: { a: { onProgress: () => {} } as never } }, /not for the models of a host/],
  [{ maxModels: 0 }, /maxModels/],
  [{ unknown: 1 } as never, /unknown option 'unknown'/],
  [{ isolate: 'thread', execArgv: [] }, /execArgv/],
])('options of a host: %#', (options, message) => {
  expect(() => built.createDiffusionHost(options)).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) as string }),
  )
})

test.each<[object, RegExp]>([
  [{ model: 'other' }, /model/],
  [{ latents: {} }, /cannot be sent to another process/],
  [{ image: new Date() }, /cannot be sent/],
  [{ signal: {} }, /signal/],
  [{ preview: { onPreview: 1 } }, /onPreview/],
])('options of a job: %#', (options, message) => {
  const host = hostWith()
  expect(() => host.generate({ ...small, ...options })).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) as string }),
  )
  expect(host.status).toMatchObject({ state: 'idle', queued: 0 })
})

test('previews are dropped, not queued, if the host does not read them', async () => {
  const sent: EngineMessage[] = []
  let receive!: (message: HostMessage) => void
  let answered!: () => void
  const answer = new Promise<void>((resolve) => (answered = resolve))
  const port: EnginePort = {
    send(message) {
      sent.push(message)
      if (message.type === 'result' || message.type === 'error') answered()
    },
    listen: (onMessage) => (receive = onMessage),
    exit: () => {},
  }
  serveEngine(port)
  const model = { name: 'tiny', source: undefined, options: {} }
  receive({ type: 'generate', id: 1, model, options: { ...small, steps: 12 }, preview: {} })
  await answer
  expect(sent.filter(({ type }) => type === 'preview')).toHaveLength(2)
  expect(sent.at(-1)).toMatchObject({ type: 'result', id: 1, models: ['tiny'] })
  receive({ type: 'close' })
})

test.each([1, 3])('of 3 jobs together behind an unload, %s are cancelled meanwhile: nothing is left without a handler', async (gone) => {
  const unhandled: unknown[] = []
  const note = (error: unknown) => void unhandled.push(error)
  process.on('unhandledRejection', note)
  const sent: EngineMessage[] = []
  let receive!: (message: HostMessage) => void
  let arrived: () => void = () => {}
  const ends = async (ids: readonly number[]) => {
    const isOver = (id: number) => sent.some((each) => (each.type === 'result' || each.type === 'error') && each.id === id)
    while (!ids.every(isOver)) await new Promise<void>((resolve) => (arrived = resolve))
  }
  serveEngine({ send: (message) => (sent.push(message), arrived()), listen: (onMessage) => (receive = onMessage), exit: () => {} })
  const model = (name: string) => ({ name, source: undefined, options: {} })
  receive({ type: 'load', id: 1, model: model('a') })
  await ends([1])
  receive({ type: 'unload', id: 2, model: 'a' })
  const ids = [3, 4, 5]
  receive({
    type: 'together',
    requests: ids.map((id) => ({ type: 'generate', id, model: model('b'), options: { ...small, seed: id }, preview: undefined })),
  })
  for (const id of ids.slice(0, gone)) receive({ type: 'cancel', id })
  await ends(ids)
  receive({ type: 'generate', id: 6, model: model('b'), options: { ...small }, preview: undefined })
  await ends([6])
  receive({ type: 'close' })
  await new Promise((resolve) => setTimeout(resolve, 20))
  process.off('unhandledRejection', note)
  const answers = sent.filter(({ type }) => type === 'result' || type === 'error') as { id: number; type: string }[]
  const typeOf = (id: number) => answers.find((each) => each.id === id)?.type
  expect(ids.map(typeOf)).toEqual(ids.map((_, i) => (i < gone ? 'error' : 'result')))
  expect(typeOf(6)).toBe('result')
  expect(unhandled).toEqual([])
})

/** Runs a program that has a host, until it has said where its engine is. */
async function program(word: string): Promise<{ engine: number; ended: Promise<number | null>; kill: () => void }> {
  const child = spawn(process.execPath, [path.resolve('test/integration/children/host.mjs'), word], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const engine = await new Promise<number>((resolve) => child.stdout.once('data', (text: Buffer) => resolve(Number(text.toString()))))
  return { engine, ended, kill: () => void child.kill('SIGKILL') }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // One that has ended and was not waited for is there by name alone.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch (error) {
    return (error as { syscall?: string }).syscall === 'open' && !existsSync('/proc/self/status')
  }
}

test('in a program passed as a string', () => {
  const text = `require(${JSON.stringify(path.resolve('dist/index.js'))}).createDiffusionHost().generate({ steps: 1 }).then(({ images }) => console.log(images.length))`
  const { stdout, status } = spawnSync(process.execPath, ['-e', text], { encoding: 'utf8', timeout: 120_000 })
  expect({ stdout, status }).toEqual({ stdout: '1\n', status: 0 })
})

test('a program can exit without closing its host, and the engine ends with it', async () => {
  const { engine, ended } = await program('idle')
  expect(await ended).toBe(0)
  while (isAlive(engine)) await new Promise((resolve) => setTimeout(resolve, 20))
})

test('killing a program during a step ends its engine too', async () => {
  const { engine, ended, kill } = await program('busy')
  expect(isAlive(engine)).toBe(true)
  kill()
  await ended
  while (isAlive(engine)) await new Promise((resolve) => setTimeout(resolve, 20))
})

test('info, estimates and tokens can be queried, tokens also during a running job', async () => {
  await using host = built.createDiffusionHost()
  const info = await host.describe()
  expect(info).toMatchObject({ kind: 'text', defaults: { width: 64, height: 64 } })
  expect(host.models()).toEqual([{ name: 'default', loaded: false }])
  await expect(host.estimate('default', { imageGuidanceScale: 1 })).resolves.toMatchObject({ width: 64 })
  const [one, four] = [await host.estimate(), await host.estimate('default', { width: 128, height: 128 })]
  expect([one.width, four.width]).toEqual([64, 128])
  expect(four.peakBytes).toBeGreaterThan(one.peakBytes)
  const alone = await host.tokenize('a red circle')
  expect(alone.chunks[0]!.text.slice(0, 4)).toEqual(['<|startoftext|>', 'a</w>', 'red</w>', 'circle</w>'])

  const job = host.generate(endless)
  const order: string[] = []
  for await (const event of job) {
    if (event.type !== 'progress' || event.phase !== 'sample' || event.step < 1) continue
    order.push('running')
    break
  }
  expect(await host.tokenize('a red circle')).toEqual(alone)
  order.push('tokens')
  expect(job.state).toBe('running')
  job.cancel()
  await expect(job).rejects.toMatchObject({ name: 'AbortError' })
  expect(order).toEqual(['running', 'tokens'])
  expect(() => host.tokenize(5 as never)).toThrow(TypeError)
})

test('models can be added and removed', async () => {
  await using host = built.createDiffusionHost()
  await host.addModel('second', { source: 'models/tiny-scenes.gguf', precision: 'exact' })
  const { images } = await host.generate({ ...small, model: 'second' })
  expect(images[0]!.metadata.parameters).toContain('Model: tiny-scenes')
  expect(host.models()).toEqual([
    { name: 'default', loaded: false },
    { name: 'second', loaded: true },
  ])
  await expect(host.addModel('no name', 'x.gguf')).rejects.toThrow(RangeError)
  await host.removeModel('default')
  expect(host.models()).toEqual([{ name: 'second', loaded: true }])
  await expect(host.removeModel('second')).rejects.toThrow('only model')
  await expect(host.removeModel('default')).rejects.toThrow('unknown name')
})
