/** Queue and workers of packages/worker on a real Redis, if there is one. */
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { RawImage } from 'node-latent-diffusion'
import {
  createWorker,
  JobQueue,
  openStore,
  type JobSubmission,
  type QueuedJob,
  type QueuedJobNews,
  type QueueOptions,
  type RunningWorker,
  type WorkerOptions,
} from '../../packages/worker/src/index'
import { Pulse } from '../../packages/worker/src/redis'
import { holdEngine } from '../helpers/held-engine'
import { RedisServer, whereRedis } from '../helpers/redis'

const folder = mkdtempSync(path.join(tmpdir(), 'latent-worker-'))
const model = 'tiny-scenes'

const until = async (is: () => Promise<boolean>) => {
  while (!(await is())) await wait(10)
}

whereRedis('worker')('queue and workers', () => {
  let server: RedisServer
  let name = 0
  const open: AsyncDisposable[] = []

  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
  })
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(() => void name++)

  const place = () => ({ redis: server.url, queue: `test${name}`, store: path.join(folder, String(name)) })

  function makeQueue(options: Partial<QueueOptions> = {}): JobQueue {
    const queue = new JobQueue({ ...place(), sweepMs: 300, ...options })
    open.push(queue)
    return queue
  }
  async function makeWorker(options: Partial<WorkerOptions> = {}): Promise<RunningWorker> {
    const worker = await createWorker({ ...place(), lockMs: 60_000, models: { [model]: { threads: 1 } }, ...options })
    open.push(worker)
    return worker
  }
  const options = (steps = 2, seed = 7n): JobSubmission['options'] => ({ prompt: 'a red circle', steps, seed })

  /** Collects news; `until` waits for some. */
  function listener() {
    const news: QueuedJobNews[] = []
    const waiting: [(news: QueuedJobNews) => boolean, () => void][] = []
    const onNews = (each: QueuedJobNews) => {
      news.push(each)
      for (const [is, go] of waiting) if (is(each)) go()
    }
    const until = (is: (news: QueuedJobNews) => boolean) =>
      news.some(is) ? Promise.resolve() : new Promise<void>((resolve) => void waiting.push([is, resolve]))
    return { news, onNews, until }
  }
  const failure = (job: QueuedJob) =>
    job.result.then(
      () => undefined,
      (error: unknown) => error as { code?: string; message: string },
    )

  test('a job gives the images of generate(), by the hash of their bytes, with progress and previews', async () => {
    const queue = makeQueue()
    using held = holdEngine()
    await makeWorker({ name: 'one' })
    const { news, onNews, until } = listener()
    const steps = 4
    const job = await queue.submit({ model, options: { ...options(steps), count: 2, preview: { every: 1 } }, note: { for: 'a test' }, onNews })
    await until((each) => each.type === 'progress' && each.phase === 'sample')
    await until(({ type }) => type === 'preview')
    held.open()
    const result = await job.result
    expect(job.state).toBe('done')
    expect(result).toMatchObject({ seed: '7', worker: 'one', warnings: [], options: { steps, prompt: 'a red circle', seed: '7' } })
    expect(result.promptTokens).toBeGreaterThan(3)
    expect(result.images).toHaveLength(2)
    for (const [index, { key, bytes, width, height, metadata }] of result.images.entries()) {
      const file = await queue.store.get(key)
      expect(file.byteLength).toBe(bytes)
      expect(createHash('sha256').update(file).digest('hex')).toBe(key.slice(0, 64))
      const image = await RawImage.read(file)
      expect([image.width, image.height, image.metadata.parameters]).toEqual([width, height, metadata.parameters])
      expect(metadata.parameters).toContain(`Seed: ${7 + index}`)
    }
    expect(news.find(({ type }) => type === 'started')).toEqual({ type: 'started', worker: 'one' })
    const preview = news.find((each) => each.type === 'preview')!
    const shown = await RawImage.read(new Uint8Array(Buffer.from(preview.png, 'base64')))
    expect(shown.width).toBeGreaterThan(0)
  })

  test('a second job with the same id is not run, and both submitters get the outcome of the first', async () => {
    const [queue, other] = [makeQueue(), makeQueue()]
    const first = await queue.submit({ id: 'same', model, options: options() })
    const second = await other.submit({ id: 'same', model, options: options(2, 8n) })
    await makeWorker()
    expect(await second.result).toEqual(await first.result)
    const third = await other.submit({ id: 'same', model, options: options() })
    expect(await third.result).toEqual(await first.result)
    expect(await queue.counts(model)).toEqual({ waiting: 0, running: 0 })
  })

  test('a key belongs to the first request that used it, whoever asks', async () => {
    const [queue, other] = [makeQueue(), makeQueue()]
    expect(await queue.claim('key', 'hash', 'first')).toBe('first')
    expect(await other.claim('key', 'hash', 'second')).toBe('first')
    await expect(other.claim('key', 'another', 'second')).rejects.toMatchObject({ code: 'ERR_IDEMPOTENCY' })
  })

  test('interactive jobs go before batch jobs, each in order, and a job can be moved to the front', async () => {
    const queue = makeQueue()
    const submit = (id: string, priority: 'interactive' | 'batch') => queue.submit({ id, model, options: options(1), priority })
    const jobs = [await submit('b1', 'batch'), await submit('b2', 'batch'), await submit('i1', 'interactive'), await submit('i2', 'interactive')]
    await queue.moveToFront(jobs[1]!)
    await makeWorker()
    await Promise.all(jobs.map(({ result }) => result))
    const raw = new Queue(model, { connection: { url: server.url }, prefix: `test${name}` })
    const begun = await Promise.all(jobs.map(async ({ id }): Promise<[number, string]> => [(await raw.getJob(id))!.processedOn!, id]))
    await raw.close()
    expect(begun.sort(([a], [b]) => a - b).map(([, id]) => id)).toEqual(['b2', 'i1', 'i2', 'b1'])
    await expect(queue.moveToFront(jobs[0]!)).rejects.toMatchObject({ code: 'ERR_STATE' })
  })

  test('waiting jobs are told their place', async () => {
    const queue = makeQueue()
    await queue.submit({ model, options: options() })
    const { onNews, until, news } = listener()
    await queue.submit({ model, options: options(), onNews })
    await until(({ type }) => type === 'queued')
    expect(news).toEqual([{ type: 'queued', position: 1 }])
    expect(await queue.counts(model)).toEqual({ waiting: 2, running: 0 })
  })

  test('a waiting job is cancelled for all who follow it', async () => {
    const [queue, other] = [makeQueue(), makeQueue()]
    const job = await queue.submit({ id: 'gone', model, options: options() })
    const followed = (await other.attach('gone', ['another', model]))!
    followed.cancel(new Error('no longer needed'))
    expect(await failure(followed)).toMatchObject({ message: 'no longer needed' })
    expect(await failure(job)).toMatchObject({ code: 'ERR_CANCELLED' })
    expect(await queue.counts(model)).toEqual({ waiting: 0, running: 0 })
    expect(await queue.attach('gone', [model])).toBeUndefined()
  })

  test('a running job is cancelled on its worker, which is free at once', async () => {
    const queue = makeQueue()
    const workers = [await makeWorker({ name: 'a' }), await makeWorker({ name: 'b', metricsPort: 0 })]
    expect(workers[1]!.metricsUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const control = new AbortController()
    const { onNews, until } = listener()
    const job = await queue.submit({ model, options: { ...options(1000), width: 256, height: 256 }, signal: control.signal, onNews }) // of minutes
    const watched = (await queue.attach(job.id, [model]))!
    await until((each) => each.type === 'progress' && each.phase === 'sample')
    control.abort(new Error('the client has left'))
    expect(await failure(job)).toMatchObject({ message: 'the client has left' })
    expect(await failure(watched)).toMatchObject({ code: 'ERR_CANCELLED' })
    while ((await queue.counts(model)).running > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    const next = await queue.submit({ model, options: options() })
    await next.result
  })

  test('a job that was cancelled while nobody listened is not run', async () => {
    const queue = makeQueue()
    const job = await queue.submit({ id: 'flagged', model, options: options() })
    const redis = new Redis(server.url)
    await redis.set(`test${name}-cancelled:${model}:flagged`, '1') // as if the channel had lost the message and the job could not be removed
    await redis.quit()
    await makeWorker()
    expect(await failure(job)).toMatchObject({ code: 'ERR_CANCELLED' })
  })

  test('images travel through the store', async () => {
    const queue = makeQueue()
    await makeWorker()
    const first = await (await queue.submit({ model, options: options() })).result
    const image = await queue.store.get(first.images[0]!.key)
    const changed = await (await queue.submit({ model, options: { ...options(), image, strength: 0.5 } })).result
    const raw = await RawImage.read(image)
    const again = await (await queue.submit({ model, options: { ...options(), image: raw, strength: 0.5 } })).result
    expect(changed.images[0]!.key).not.toBe(first.images[0]!.key)
    expect(again.images[0]!.key).toBe(changed.images[0]!.key)
    expect(changed.options).not.toHaveProperty('image')
  })

  test('a wrong option fails the job with its error, without another try', async () => {
    const queue = makeQueue()
    const worker = await makeWorker({ metricsPort: 0 })
    const job = await queue.submit({ model, options: { ...options(), sampler: 'nothing' } })
    const error = await failure(job)
    expect(error).toMatchObject({ name: 'JobFailedError', code: 'ERR_INVALID_ARG', retriable: false })
    expect(error!.message).toContain("'nothing'")
    const text = await (await fetch(`${worker.metricsUrl}/metrics`)).text()
    expect(text).toContain('latent_worker_jobs_total{model="tiny-scenes",outcome="failed"} 1')
    expect(text).not.toContain('outcome="retried"')
    expect((await fetch(`${worker.metricsUrl}/readyz`)).status).toBe(200)
    expect((await fetch(`${worker.metricsUrl}/healthz`)).status).toBe(200)
    expect((await fetch(`${worker.metricsUrl}/other`)).status).toBe(404)
  })

  test('what cannot be sent is refused before it is in the queue', async () => {
    const queue = makeQueue()
    const submit = (more: object) => queue.submit({ model, options: options(), ...more })
    await expect(submit({ options: { loras: [{ path: '/etc/passwd' }] } })).rejects.toThrow("option 'loras' cannot be sent to a worker")
    await expect(submit({ options: { image: '/etc/passwd' } })).rejects.toThrow('image must be the bytes of an image file')
    await expect(submit({ options: { boxes: [() => 0] } })).rejects.toThrow("option 'boxes' must consist of")
    await expect(submit({ options: { seed: -1 } })).rejects.toThrow('seed must be')
    await expect(submit({ model: 'a:b' })).rejects.toThrow("a model's name")
    for (const id of ['1', 'a:b', '', 'x'.repeat(129)]) await expect(submit({ id })).rejects.toThrow('id must be')
    await expect(submit({ priority: 'urgent' })).rejects.toThrow('priority must be')
    await expect(submit({ signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow('too late')
    expect(await queue.counts(model)).toEqual({ waiting: 0, running: 0 })
  })

  test('jobs that another program wrote cannot open files of a worker, and end with an error', async () => {
    const queue = makeQueue()
    await makeWorker()
    const raw = new Queue(model, { connection: { url: server.url }, prefix: `test${name}` })
    const good = { version: 1, model, options: { prompt: 'a', steps: 1, seed: '1' } }
    const object = `${'0'.repeat(64)}.png`
    const hostile: [unknown, string | RegExp][] = [
      [null, 'has no data'],
      [{ ...good, version: 2 }, 'has version 2'],
      [{ ...good, options: { ...good.options, image: '/etc/passwd' } }, 'is not an object of the store'],
      [{ ...good, options: { ...good.options, image: { object: '../../../etc/passwd' } } }, 'is not a key of an object store'],
      [{ ...good, options: { ...good.options, image: { object } } }, 'There is no object'],
      [{ ...good, options: { ...good.options, loras: ['/etc/passwd'] } }, "an option 'loras'"],
      [{ ...good, options: { ...good.options, signal: {} } }, "an option 'signal'"],
      [{ ...good, options: { ...good.options, seed: 5 } }, 'not a decimal text'],
      [{ ...good, model: 'other' }, "is for the model 'other'"],
    ]
    try {
      for (const [index, [data, message]] of hostile.entries()) {
        await raw.add('generate', data, { jobId: `hostile-${index}` })
        const job = (await queue.attach(`hostile-${index}`, [model]))!
        const error = await failure(job)
        expect(error?.message).toMatch(message)
        expect(error?.code).toMatch(/^ERR_(QUEUE|STORE|OBJECT_MISSING)$/)
      }
    } finally {
      await raw.close() // an open connection keeps the test process
    }
    const next = await queue.submit({ model, options: options() })
    await next.result
  })

  test('news that are not news are ignored', async () => {
    const queue = makeQueue()
    const { onNews, news } = listener()
    const job = await queue.submit({ id: 'noisy', model, options: options(), onNews })
    const redis = new Redis(server.url)
    for (const text of ['', '{', 'null', '[]', '"x"', '{"type":"nothing"}', '{"type":"preview"}'])
      await redis.publish(`test${name}-news:${model}:noisy`, text)
    await redis.quit()
    await makeWorker()
    await job.result
    expect(news.filter(({ type }) => !['queued', 'started', 'progress'].includes(type))).toEqual([])
  })

  test('without Redis a submission fails in time, and does not run later', async () => {
    const away = await RedisServer.start()
    open.push(away)
    const [queue, hasty] = [60_000, 300].map((timeoutMs) => makeQueue({ redis: away.url, timeoutMs })) as [JobQueue, JobQueue]
    const lines: string[] = []
    open.push(await createWorker({ ...place(), redis: away.url, models: { [model]: { threads: 1 } }, log: (line) => void lines.push(line) }))
    const before = await queue.submit({ model, options: options() })
    await before.result
    await away.kill()
    await expect(hasty.submit({ id: 'ghost', model, options: options() })).rejects.toMatchObject({ code: 'ERR_QUEUE', retriable: true })
    await expect(hasty.counts(model)).rejects.toMatchObject({ code: 'ERR_QUEUE' })
    await away.start()
    const after = await queue.submit({ model, options: options() })
    await after.result
    await until(() => hasty.attach(after.id, [model]).then(Boolean, () => false)) // what it had sent has come
    const late = await queue.attach('ghost', [model])
    expect(late === undefined ? 'gone' : (await failure(late))?.code).toMatch(/gone|ERR_CANCELLED/)
    expect(lines.length).toBeLessThan(20)
  })

  test('a submission that reaches Redis too late does not spoil its id, and deletes no outcome', async () => {
    const queue = makeQueue({ timeoutMs: 300 })
    const other = makeQueue()
    const done = await other.submit({ id: 'done', model, options: options() })
    const worker = await makeWorker()
    const { images } = await done.result
    await worker.close()
    const redis = new Redis(server.url)
    await redis.call('CLIENT', 'PAUSE', '60000', 'WRITE')
    const late = await Promise.allSettled(['done', 'late'].map((id) => queue.submit({ id, model, options: options() })))
    await redis.call('CLIENT', 'UNPAUSE') // now they arrive
    await redis.quit()
    for (const { reason } of late as PromiseRejectedResult[]) expect(reason).toMatchObject({ code: 'ERR_QUEUE', retriable: true })
    while ((await other.counts(model)).waiting > 0) await wait(20)
    await wait(600) // two sweeps: nobody adds it again
    expect(await other.counts(model)).toEqual({ waiting: 0, running: 0 })
    await makeWorker()
    expect((await (await other.submit({ id: 'late', model, options: options() })).result).images).toEqual(images)
    expect((await (await other.attach('done', [model]))!.result).images).toEqual(images)
  })

  test('a job whose outcome was deleted is not added again by those who follow it, and can be submitted again', async () => {
    const queue = makeQueue()
    await makeWorker()
    const job = await queue.submit({ id: 'twice', model, options: options() })
    const { images } = await job.result
    await queue.forget(job)
    expect(await queue.attach('twice', [model])).toBeUndefined()
    expect((await (await queue.submit({ id: 'twice', model, options: options() })).result).images).toEqual(images)
  })

  test('errors of Redis itself have a code', async () => {
    const queue = makeQueue()
    const redis = new Redis(server.url)
    await redis.config('SET', 'maxmemory', '1')
    try {
      const error = { name: 'QueueError', code: 'ERR_QUEUE', retriable: true, message: expect.stringContaining('OOM') as string }
      await expect(queue.submit({ model, options: options() })).rejects.toMatchObject(error)
      await expect(queue.claim('key', 'hash', 'first')).rejects.toMatchObject(error)
    } finally {
      await redis.config('SET', 'maxmemory', '0')
      await redis.quit()
    }
    await queue.close()
    await expect(queue.counts(model)).rejects.toMatchObject({ code: 'ERR_QUEUE', message: 'The queue is closed' })
    await expect(queue.attach('any', [model])).rejects.toMatchObject({ code: 'ERR_QUEUE' })
  })

  test('a job that is not wanted is not followed', async () => {
    const [queue, other] = [makeQueue(), makeQueue()]
    await queue.submit({ id: 'kept', model, options: options(), note: { api: 'another' } })
    await queue.close()
    expect(await other.attach('kept', [model], undefined, () => false)).toBeUndefined()
    const redis = new Redis(server.url)
    expect(await redis.pubsub('NUMSUB', `test${name}-news:${model}:kept`)).toEqual([`test${name}-news:${model}:kept`, 0])
    await redis.quit()
  })

  test('a worker that is closed finishes its job, or gives it back after its grace', async () => {
    const queue = makeQueue()
    using held = holdEngine()
    const first = await makeWorker({ name: 'first', graceMs: 0 })
    const { onNews, until } = listener()
    const job = await queue.submit({ model, options: options(), onNews })
    await until((each) => each.type === 'started' && each.worker === 'first')
    await first.close()
    expect(job.state).toBe('running')
    expect(await queue.counts(model)).toEqual({ waiting: 1, running: 0 })
    const second = await makeWorker({ name: 'second' })
    await until((each) => each.type === 'started' && each.worker === 'second')
    const closed = second.close() // waits for the job
    held.open()
    expect((await job.result).worker).toBe('second')
    await closed
  })

  test('a damaged object is an error, not an image', async () => {
    const store = openStore(path.join(folder, 'damaged'))
    const key = await store.put(new Uint8Array([1, 2, 3]))
    writeFileSync(path.join(folder, 'damaged', key.slice(0, 2), key), new Uint8Array([1, 2, 4]))
    await expect(store.get(key)).rejects.toMatchObject({ code: 'ERR_OBJECT_MISSING' })
    expect(readdirSync(path.join(folder, 'damaged', key.slice(0, 2)))).toEqual([key])
  })

  test('a job of another model waits in the queue while the device is busy, where an idle worker takes it', async () => {
    const queue = makeQueue()
    await makeWorker({ name: 'both', models: { one: { threads: 1 }, two: { threads: 1 } } })
    const { onNews, until } = listener()
    const long = await queue.submit({ model: 'one', options: { ...options(1000), width: 256, height: 256 }, onNews })
    await until(({ type }) => type === 'progress')
    const other = await queue.submit({ model: 'two', options: options() })
    await makeWorker({ name: 'idle', models: { two: { threads: 1 } } })
    expect((await other.result).worker).toBe('idle')
    expect(long.state).toBe('running')
    long.cancel()
    await failure(long)
  })

  test('the same id of two models is two jobs: each has its own news and outcome, and is cancelled alone', async () => {
    const queue = makeQueue()
    using held = holdEngine()
    const [one, two] = [listener(), listener()]
    const models = { one: { threads: 1 }, two: { threads: 1 } }
    const jobs = [
      await queue.submit({ id: 'same', model: 'one', options: options(), onNews: one.onNews }),
      await queue.submit({ id: 'same', model: 'two', options: options(), onNews: two.onNews }),
    ]
    await Promise.all(['one', 'two'].map((each) => makeWorker({ name: each, models: { [each]: models[each as 'one' | 'two'] } })))
    await Promise.all([one, two].map(({ until }) => until(({ type }) => type === 'started')))
    jobs[0]!.cancel()
    expect(await failure(jobs[0]!)).toMatchObject({ code: 'ERR_CANCELLED' })
    await until(async () => (await queue.counts('one')).running === 0)
    expect(await queue.counts('two')).toEqual({ waiting: 0, running: 1 })
    held.open()
    expect((await jobs[1]!.result).worker).toBe('two')
    expect([one, two].map(({ news }) => news.flatMap((each) => (each.type === 'started' ? [each.worker] : [])))).toEqual([['one'], ['two']])
  })

  test('a job that is cancelled while its worker is out of reach is cancelled when it is back', async () => {
    const queue = makeQueue()
    using held = holdEngine()
    await makeWorker()
    const { onNews, until: hear } = listener()
    const job = await queue.submit({ id: 'away', model, options: options(), onNews })
    await hear(({ type }) => type === 'started')
    const redis = new Redis(server.url)
    const monitor = await redis.monitor()
    const commands: [command: string, from: string][] = []
    const subjects = [`test${name}-cancel`, `test${name}-cancelled:${model}:away`, undefined]
    monitor.on('monitor', (_: string, [command, subject]: string[], from: string) => {
      if (subjects.includes(subject)) commands.push([command!.toLowerCase(), from])
    })
    await redis.set(`test${name}-cancelled:${model}:away`, '1')
    await redis.client('KILL', 'TYPE', 'pubsub')
    expect(await failure(job)).toMatchObject({ code: 'ERR_CANCELLED' })
    monitor.disconnect()
    await redis.quit()
    held.open()
    // The connection has answered once more after its subscription, so that whoever cancels in between is heard.
    const [, subscriber] = commands.find(([command]) => command === 'subscribe')!
    const order = commands.flatMap(([command, from]) => (from === subscriber || command === 'exists' ? [command] : []))
    expect(order.slice(order.indexOf('subscribe'))).toEqual(['subscribe', 'ping', 'exists'])
  })

  test('a worker with several models serves them in turns', async () => {
    const queue = makeQueue()
    const order: string[] = []
    const jobs: QueuedJob[] = []
    for (const name of ['one', 'one', 'one', 'two', 'two'])
      jobs.push(await queue.submit({ model: name, options: options(), onNews: ({ type }) => void (type === 'started' && order.push(name)) }))
    await makeWorker({ models: { one: { threads: 1 }, two: { threads: 1 } }, maxModels: 2 })
    await Promise.all(jobs.map(({ result }) => result))
    expect(order).toHaveLength(5)
    expect(order.slice(0, 2).sort()).toEqual(['one', 'two'])
  })

  test('a worker whose model is missing does not start', async () => {
    const file = path.join(folder, 'missing.safetensors')
    await expect(makeWorker({ models: { [model]: {}, absent: file } })).rejects.toThrow(/The model 'absent': .*missing\.safetensors/)
  })

  test('cancellations on their way are finished by close()', async () => {
    const queue = makeQueue()
    const job = await queue.submit({ model, options: options() })
    const gone = failure(job)
    job.cancel()
    await queue.close()
    expect(await gone).toMatchObject({ code: 'ERR_CANCELLED' })
    expect(await makeQueue().counts(model)).toEqual({ waiting: 0, running: 0 })
  })

  test('an error of a listener ends nothing', async () => {
    const lines: string[] = []
    const queue = makeQueue({ log: (line) => void lines.push(line) })
    await makeWorker()
    const onNews = () => {
      throw new Error('of the listener')
    }
    const job = await queue.submit({ model, options: options(), onNews })
    expect((await job.result).images).toHaveLength(1)
    expect(lines.join()).toContain('of the listener')
  })

  test('a Redis that hangs is noticed', async () => {
    const own = await RedisServer.start()
    open.push(own)
    const redis = new Redis(own.url)
    const pulse = new Pulse(redis, 50)
    const turns = (alive: boolean) => until(async () => pulse.isAlive === alive)
    try {
      await turns(true)
      own.signal('SIGSTOP')
      await turns(false)
      own.signal('SIGCONT')
      await turns(true)
    } finally {
      own.signal('SIGCONT')
      pulse.stop()
      redis.disconnect()
    }
  })
})
