/** Jobs of a worker that share the U-Net's calls (`maxBatch`), on a real Redis, if there is one. */
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { DiffusionHost, RawImage, type HostGenerateOptions } from 'node-latent-diffusion'
import { createWorker, JobQueue, type JobSubmission, type QueuedJob, type RunningWorker, type WorkerOptions } from '../../packages/worker/src/index'
import { holdEngine } from '../helpers/held-engine'
import { RedisServer, whereRedis } from '../helpers/redis'

const folder = mkdtempSync(path.join(tmpdir(), 'latent-batch-'))
const model = 'tiny-scenes'
const generate = DiffusionHost.prototype.generate // eslint-disable-line @typescript-eslint/unbound-method -- called with its host below

whereRedis('worker-batch')('jobs that are made together', () => {
  let server: RedisServer
  let raw: Queue
  let redis: Redis
  let queue: JobQueue
  let name = 0
  /** Steps of the engine, in order: prompt and step. */
  let log: [prompt: string, step: number][]
  const open: AsyncDisposable[] = []

  beforeAll(async () => {
    server = await RedisServer.start()
    redis = new Redis(server.url)
  })
  beforeEach(() => {
    name++
    log = []
    DiffusionHost.prototype.generate = function (this: DiffusionHost, options: HostGenerateOptions = {}) {
      const note: HostGenerateOptions['onProgress'] = ({ phase, step }) => void (phase === 'sample' && log.push([options.prompt!, step]))
      return generate.call(this, { ...options, onProgress: note })
    }
    queue = new JobQueue({ ...place(), sweepMs: 300 })
    raw = new Queue(model, { connection: { url: server.url }, prefix: `batch${name}` })
    open.push(queue)
  })
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
    await raw.close()
    DiffusionHost.prototype.generate = generate
  })
  afterAll(async () => {
    await redis?.quit()
    await server?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const place = () => ({ redis: server.url, queue: `batch${name}`, store: path.join(folder, String(name)) })
  async function makeWorker(options: Partial<WorkerOptions> = {}): Promise<RunningWorker> {
    const worker = await createWorker({ ...place(), lockMs: 60_000, models: { [model]: { threads: 1 } }, maxBatch: 4, ...options })
    open.push(worker)
    return worker
  }
  const submit = (prompt: string, options: Partial<JobSubmission['options']> = {}, more: Partial<JobSubmission> = {}) =>
    queue.submit({ id: prompt, model, options: { prompt, steps: 4, seed: 7n, ...options }, ...more })
  const failure = (job: QueuedJob) =>
    job.result.then(
      () => undefined,
      (error: unknown) => error as { code?: string; message: string },
    )
  /** Ids of waiting jobs, the next one first. */
  const waiting = async () => (await redis.lrange(raw.toKey('wait'), 0, -1)).reverse()
  /** Until that many jobs have begun, as the queue knows. */
  const running = async (count: number) => {
    while ((await queue.counts(model)).running !== count) await wait(10)
  }

  /** The groups of prompts whose steps were made together: those whose first step came before the last one of the group's first. */
  function groups(): string[][] {
    const found: { prompts: string[]; last: number }[] = []
    for (const prompt of new Set(log.map(([each]) => each))) {
      const at = log.flatMap(([each], i) => (each === prompt ? [i] : []))
      const group = found.at(-1)
      if (group && at[0]! < group.last) group.prompts.push(prompt)
      else found.push({ prompts: [prompt], last: at.at(-1)! })
    }
    return found.map(({ prompts }) => prompts)
  }

  test('neighbours that differ only in prompt, seed and count, up to the limit; each has its own outcome', async () => {
    const jobs = [
      await submit('a'),
      await submit('b', { seed: 8n, count: 2 }),
      await submit('c', { negativePrompt: 'blue' }),
      await submit('d'),
      await submit('other-steps', { steps: 3 }),
      await submit('e'),
      await submit('f'),
      await submit('wrong', { count: 0 }),
      await submit('g'),
    ]
    await makeWorker({ name: 'one' })
    const results = await Promise.all(jobs.map((job) => (job.id === 'wrong' ? failure(job) : job.result)))
    expect(groups()).toEqual([['a', 'b', 'c'], ['d'], ['other-steps'], ['e', 'f'], ['g']])
    expect(results[7]).toMatchObject({ code: 'ERR_INVALID_ARG' })
    expect(results[1]).toMatchObject({ seed: '8', worker: 'one', options: { prompt: 'b', count: 2 }, warnings: [] })
    expect((results[1] as { images: unknown[] }).images).toHaveLength(2)
    expect(await raw.getJobCounts('completed', 'failed', 'wait', 'prioritized', 'delayed', 'active')).toEqual({
      ...{ completed: 8, failed: 1, wait: 0, prioritized: 0, delayed: 0, active: 0 },
    })
  })

  test('each gets the images of its own prompt and seeds: those of a run alone', async () => {
    const wanted: [string, Partial<JobSubmission['options']>][] = [
      ['a red circle', { seed: 7n }],
      ['a blue square', { seed: 30n, count: 2 }],
      ['a red circle, again', { seed: 50n }],
    ]
    const made = async (id: string, maxBatch: number) => {
      const jobs: QueuedJob[] = []
      for (const [i, [prompt, options]] of wanted.entries()) jobs.push(await submit(prompt, options, { id: `${id}-${i}` }))
      await using _worker = await makeWorker({ maxBatch })
      const images = (await Promise.all(jobs.map(({ result }) => result))).flatMap((result) => result.images)
      return Promise.all(
        images.map(async ({ key, metadata }) => ({
          seed: /Seed: (\d+)/.exec(metadata.parameters!)?.[1],
          pixels: (await RawImage.read(Buffer.from(await queue.store.get(key)))).data,
        })),
      )
    }
    const alone = await made('alone', 1)
    log = []
    const together = await made('together', 4)
    expect(groups()).toEqual([wanted.map(([prompt]) => prompt)])
    expect(alone.map(({ seed }) => seed)).toEqual(['7', '30', '31', '50'])
    expect(together.map(({ seed }) => seed)).toEqual(['7', '30', '31', '50'])
    const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
      Math.sqrt(Array.from(a, (x, i) => (x - b[i]!) ** 2).reduce((sum, x) => sum + x, 0) / a.length)
    for (const [i, { pixels }] of together.entries())
      for (const [j, other] of alone.entries()) {
        if (i === j) expect(distance(pixels, other.pixels)).toBeLessThan(2)
        else expect(distance(pixels, other.pixels)).toBeGreaterThan(5)
      }
  })

  test('metrics count the time that jobs share once', async () => {
    const jobs = [await submit('a'), await submit('b'), await submit('c'), await submit('alone', { steps: 3 })]
    const worker = await makeWorker({ metricsPort: 0 })
    const results = await Promise.all(jobs.map(({ result }) => result))
    expect(groups()).toEqual([['a', 'b', 'c'], ['alone']])
    const timings = results.map((result) => result.timings)
    expect(timings.map(({ sharedBy }) => sharedBy)).toEqual([3, 3, 3, 1])
    const sum = (values: number[]) => values.reduce((total, each) => total + each, 0)
    const common = sum(timings.slice(0, 3).map(({ sampleMs }) => sampleMs)) / 3
    const text = await (await fetch(`${worker.metricsUrl}/metrics`)).text()
    const metric = (line: string) => Number(new RegExp(`^${line} (\\S+)$`, 'm').exec(text)?.[1])
    expect(metric('latent_stage_seconds_sum{stage="sample"}')).toBeCloseTo((common + timings[3]!.sampleMs) / 1000, 6)
    expect(metric('latent_stage_seconds_count{stage="sample"}')).toBe(4)
    expect(metric('latent_stage_seconds_sum{stage="decode"}')).toBeCloseTo(sum(timings.map(({ decodeMs }) => decodeMs)) / 1000, 6)
    expect(metric('latent_model_load_seconds_count')).toBe(1)
    expect(metric('latent_step_seconds_sum')).toBeCloseTo((common / 4 + timings[3]!.sampleMs / 3) / 1000, 6)
  })

  test('without maxBatch one after another', async () => {
    const jobs = [await submit('a'), await submit('b')]
    await makeWorker({ maxBatch: 1 })
    await Promise.all(jobs.map(({ result }) => result))
    expect(groups()).toEqual([['a'], ['b']])
  })

  test('no job passes one of higher priority, nor one that waits longer', async () => {
    const jobs = [
      await submit('low-1', {}, { priority: 'batch' }),
      await submit('a'),
      await submit('low-2', {}, { priority: 'batch' }),
      await submit('b', { steps: 3 }),
      await submit('c'),
    ]
    await makeWorker()
    await Promise.all(jobs.map(({ result }) => result))
    expect(groups()).toEqual([['a'], ['b'], ['c', 'low-1', 'low-2']])
  })

  test('one that was lost with its worker or has failed runs alone, so that it takes no other with it', async () => {
    const jobs: QueuedJob[] = []
    for (const prompt of ['a', 'b', 'lost', 'c', 'd', 'failed', 'e', 'f']) jobs.push(await submit(prompt))
    await redis.hset(raw.toKey('lost'), { stc: '1' })
    await redis.hset(raw.toKey('failed'), { atm: '1' })
    await makeWorker()
    await Promise.all(jobs.map(({ result }) => result))
    expect(groups()).toEqual([['a', 'b'], ['lost'], ['c', 'd'], ['failed'], ['e', 'f']])
  })

  test('one that a crash would fail finally runs alone', async () => {
    const once = new JobQueue({ ...place(), attempts: 1 })
    open.push(once)
    const jobs: QueuedJob[] = []
    for (const prompt of ['a', 'b', 'once-1', 'once-2', 'c', 'd'])
      jobs.push(await (prompt.startsWith('once') ? once : queue).submit({ id: prompt, model, options: { prompt, steps: 4, seed: 7n } }))
    await makeWorker()
    await Promise.all(jobs.map(({ result }) => result))
    expect(groups()).toEqual([['a', 'b'], ['once-1'], ['once-2'], ['c', 'd']])
  })

  test('a worker whose loss fails its jobs makes none together', async () => {
    const jobs = [await submit('a'), await submit('b')]
    await makeWorker({ maxLost: 0 })
    await Promise.all(jobs.map(({ result }) => result))
    expect(groups()).toEqual([['a'], ['b']])
  })

  test.each(['first', 'second'])('the %s is cancelled: its outcome is known at once, and the other goes on', async (which) => {
    using held = holdEngine()
    const jobs = [await submit('first'), await submit('second')]
    await makeWorker()
    await running(2)
    const [gone, other] = which === 'first' ? jobs : [...jobs].reverse()
    const watched = (await queue.attach(gone!.id, [model]))!
    gone!.cancel(new Error('the client has left'))
    expect(await failure(gone!)).toMatchObject({ message: 'the client has left' })
    expect(await failure(watched)).toMatchObject({ code: 'ERR_CANCELLED' })
    await running(1) // not only when both have ended
    held.open()
    expect((await other!.result).images).toHaveLength(1)
  })

  test('one that the engine refuses fails alone, at its first try', async () => {
    const jobs = [await submit('a'), await submit('a (red:10000000) fox', {}, { id: 'fox' }), await submit('c')]
    await makeWorker()
    const [first, refused, last] = await Promise.allSettled(jobs.map(({ result }) => result))
    expect([first?.status, last?.status]).toEqual(['fulfilled', 'fulfilled'])
    expect(refused).toMatchObject({ reason: { name: 'JobFailedError', retriable: false } })
    expect((await raw.getJob('fox'))?.attemptsMade).toBe(1)
    expect(groups()).toEqual([['a', 'c']])
  })

  test('their locks are renewed, and a worker that is closed gives all of them back', async () => {
    const held = holdEngine()
    const jobs: QueuedJob[] = []
    try {
      for (const prompt of ['a', 'b', 'c']) jobs.push(await submit(prompt))
      const first = await makeWorker({ name: 'first', graceMs: 0, lockMs: 20_000 })
      await running(3)
      const renewed = async ({ id }: QueuedJob) => {
        let left = await redis.pttl(raw.toKey(`${id}:lock`))
        for (let now = left; now <= left; now = await redis.pttl(raw.toKey(`${id}:lock`))) {
          expect(now).toBeGreaterThan(0)
          left = now
          await wait(50)
        }
      }
      await Promise.all(jobs.map(renewed))
      await first.close()
      expect(await queue.counts(model)).toEqual({ waiting: 3, running: 0 })
    } finally {
      held[Symbol.dispose]()
    }
    await makeWorker({ name: 'second' })
    expect((await Promise.all(jobs.map(({ result }) => result))).map(({ worker }) => worker)).toEqual(['second', 'second', 'second'])
    expect((await Promise.all(jobs.map(({ id }) => raw.getJob(id)))).map((job) => job?.stalledCounter)).toEqual([0, 0, 0])
  })

  test('they go back in the order in which they waited', async () => {
    using _held = holdEngine()
    for (const prompt of ['a', 'b', 'c', 'd']) await submit(prompt)
    const worker = await makeWorker({ graceMs: 0, maxBatch: 3 })
    await running(3)
    await worker.close()
    expect(await waiting()).toEqual(['a', 'b', 'c', 'd'])
  })

  test('jobs of low priority go back before the others of that priority, among themselves by id', async () => {
    using _held = holdEngine()
    const low = { priority: 'batch' } as const
    for (const prompt of ['c', 'a', 'b', '0-later', 'd']) await submit(prompt, {}, low)
    const worker = await makeWorker({ graceMs: 0, maxBatch: 3 })
    await running(3)
    await submit('next')
    await worker.close()
    // Redis sorts what has one score by name, and BullMQ gives all that go back the first score of their priority.
    expect(await redis.zrange(raw.toKey('prioritized'), 0, -1)).toEqual(['a', 'b', 'c', '0-later', 'd'])
    expect(await waiting()).toEqual(['next'])
    expect((await Promise.all(['a', 'b', 'c'].map((id) => raw.getJob(id)))).map((job) => [job?.attemptsMade, job?.opts.priority])).toEqual(
      Array(3).fill([0, 10]),
    )
  })

  test('a worker that is closed while it gathers them gives them back, without the loss of a try', async () => {
    using _held = holdEngine()
    const { getNextJob } = Worker.prototype // eslint-disable-line @typescript-eslint/unbound-method -- called with its worker below
    using _spy = { [Symbol.dispose]: () => void (Worker.prototype.getNextJob = getNextJob) }
    const worker = await new Promise<RunningWorker>((resolve, reject) => {
      const made = (async () => {
        for (const prompt of ['a', 'b', 'c']) await submit(prompt)
        return makeWorker({ graceMs: 0 })
      })()
      made.catch(reject)
      Worker.prototype.getNextJob = async function (...options) {
        const job = await getNextJob.apply(this, options)
        const closed = await made
        void closed.close()
        await wait(10) // after the end of the grace period
        resolve(closed)
        return job
      }
    })
    await worker.close()
    expect(await waiting()).toEqual(['a', 'b', 'c'])
    expect((await Promise.all(['a', 'b', 'c'].map((id) => raw.getJob(id)))).map((job) => job?.attemptsMade)).toEqual([0, 0, 0])
  })

  test('a worker that is closed finishes all of them', async () => {
    using held = holdEngine()
    const jobs = [await submit('a'), await submit('b'), await submit('other', { steps: 3 })]
    const worker = await makeWorker()
    await running(2)
    const closed = worker.close()
    held.open()
    await Promise.all(jobs.slice(0, 2).map(({ result }) => result))
    await closed
    expect(await queue.counts(model)).toEqual({ waiting: 1, running: 0 })
  })

  test('a worker with several models makes those of one model together, in turns', async () => {
    const jobs: QueuedJob[] = []
    for (const each of ['one', 'one', 'one', 'two', 'two'])
      jobs.push(await queue.submit({ model: each, options: { prompt: `${each} ${jobs.length}`, steps: 4, seed: 7n } }))
    await makeWorker({ models: { one: { threads: 1 }, two: { threads: 1 } }, maxModels: 2 })
    await Promise.all(jobs.map(({ result }) => result))
    expect(groups().sort()).toEqual([
      ['one 0', 'one 1', 'one 2'],
      ['two 3', 'two 4'],
    ])
  })
})
