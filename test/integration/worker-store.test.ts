/** Workers and queues whose object store hangs, on a real Redis, if there is one. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { RawImage } from 'node-latent-diffusion'
import { createWorker, JobQueue, openStore, type ObjectStore, type WorkerOptions } from '../../packages/worker/src/index'
import { RedisServer, whereRedis } from '../helpers/redis'

whereRedis('worker-store')('a store that hangs', () => {
  const model = 'tiny-scenes'
  const options = { prompt: 'a', steps: 2 }
  const image = new RawImage({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 })
  let folder: string
  let files: ObjectStore
  let redis: RedisServer
  let queue: JobQueue
  const open: AsyncDisposable[] = []

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'latent-hung-'))
    files = openStore(folder)
    redis = await RedisServer.start()
    queue = new JobQueue({ redis: redis.url, store: files })
    open.push(queue)
  })
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
    await redis[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  /** The folder, except for the calls that hang, which heed no signal. */
  function hanging(call: 'put' | 'get', hangs: () => boolean) {
    const seen = { count: 0 }
    const never = () => {
      seen.count++
      return new Promise<never>(() => {})
    }
    const store: ObjectStore = {
      put: (bytes) => (call === 'put' && hangs() ? never() : files.put(bytes)),
      get: (key) => (call === 'get' && hangs() ? never() : files.get(key)),
    }
    return { store, seen }
  }
  async function makeWorker(store: ObjectStore, more: Partial<WorkerOptions> = {}): Promise<void> {
    open.push(await createWorker({ redis: redis.url, store, models: { [model]: { threads: 1 } }, ...more }))
  }

  test.each(['get', 'put'] as const)('a job that is cancelled in a %s leaves its worker free', async (call) => {
    let isHung = false
    const { store, seen } = hanging(call, () => isHung)
    await makeWorker(store)
    isHung = true
    const job = await queue.submit({ model, options: call === 'get' ? { ...options, image, strength: 0.5 } : options })
    while (seen.count === 0) await wait(10)
    job.cancel(new Error('no longer needed'))
    await expect(job.result).rejects.toThrow('no longer needed')
    isHung = false
    const next = await queue.submit({ model, options })
    expect((await next.result).images).toHaveLength(1)
  })

  test.each(['get', 'put'] as const)('a %s that hangs is given up in time, and the job is tried again', async (call) => {
    let hung = 0
    const { store, seen } = hanging(call, () => hung-- > 0)
    const lines: string[] = []
    // Unlike any other time, so that its timer is known, and too long for a slow disk.
    const storeTimeoutMs = 59_999
    await makeWorker(store, { storeTimeoutMs, log: (line) => void lines.push(line) })
    const timers = jest.spyOn(globalThis, 'setTimeout')
    hung = 1
    const job = await queue.submit({ model, options: call === 'get' ? { ...options, image, strength: 0.5 } : options })
    while (seen.count === 0) await wait(10)
    const giveUp = timers.mock.calls.findLast(([, ms]) => ms === storeTimeoutMs)![0]
    timers.mockRestore()
    giveUp()
    expect((await job.result).images).toHaveLength(1)
    expect(seen.count).toBe(1)
    expect(lines).toEqual([`job ${job.id}: The object store was not ${call === 'get' ? 'read' : 'written'} within 59.999 s`])
  })

  test('a job that fails once and then succeeds has a result, also for who asks later', async () => {
    let faults = 0
    const put: ObjectStore['put'] = async (bytes) => {
      if (faults-- > 0) throw Object.assign(new Error('away'), { retriable: true })
      return files.put(bytes)
    }
    await makeWorker({ put, get: (key) => files.get(key) })
    faults = 1
    const job = await queue.submit({ model, options })
    expect((await job.result).images).toHaveLength(1)
    expect((await (await queue.attach(job.id, [model]))!.result).images).toHaveLength(1)
  })

  test('a worker that cannot write in time does not start', async () => {
    const { store } = hanging('put', () => true)
    await expect(makeWorker(store, { storeTimeoutMs: 100 })).rejects.toMatchObject({ code: 'ERR_STORE', retriable: true })
  })

  test('a worker that is closed does not wait for a writing', async () => {
    let isHung = false
    const { store, seen } = hanging('put', () => isHung)
    const worker = await createWorker({ redis: redis.url, store, models: { [model]: { threads: 1 } }, graceMs: 0 })
    open.push(worker)
    isHung = true
    const job = await queue.submit({ model, options })
    while (seen.count === 0) await wait(10)
    await worker.close()
    expect(job.state).toBe('running')
    await makeWorker(files)
    expect((await job.result).images).toHaveLength(1)
  })

  test('a submission ends in time, and with its signal', async () => {
    const { store } = hanging('put', () => true)
    const withImage = { model, options: { ...options, image } }
    const hasty = new JobQueue({ redis: redis.url, store, storeTimeoutMs: 100 })
    const patient = new JobQueue({ redis: redis.url, store })
    open.push(hasty, patient)
    await expect(hasty.submit(withImage)).rejects.toMatchObject({ code: 'ERR_STORE', retriable: true })
    const control = new AbortController()
    const submitted = patient.submit({ ...withImage, signal: control.signal })
    control.abort(new Error('no longer needed'))
    await expect(submitted).rejects.toThrow('no longer needed')
    expect(await queue.counts(model)).toEqual({ waiting: 0, running: 0 })
  })
})
