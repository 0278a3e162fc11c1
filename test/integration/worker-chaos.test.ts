/**
 * Workers and Redis are killed at random while jobs run, one by one or several together: every job must have exactly one result, and none may be lost.
 * LATENT_CHAOS_JOBS sets the number of jobs (default 300), LATENT_CHAOS_SEED the order of the kills.
 */
import { Queue } from 'bullmq'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { JobQueue, type JobResult } from '../../packages/worker/src/index'
import { RedisServer, whereRedis } from '../helpers/redis'

const count = Number(process.env.LATENT_CHAOS_JOBS ?? 300)
const model = 'tiny-scenes'
const cli = path.resolve('dist/cli/main.js')

/** Random numbers from 0 to 1 (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A worker's process, which is started again after every end but the last. */
class WorkerProcess {
  #child!: ChildProcess
  /** When the child takes jobs, and so has its handlers of signals. */
  #running!: Promise<unknown>
  #last = false
  starts = 0

  constructor(readonly args: readonly string[]) {
    this.#start()
  }

  #start(): void {
    this.starts++
    this.#child = spawn(process.execPath, [cli, 'worker', ...this.args], { stdio: ['ignore', 'pipe', 'inherit'] })
    const { stdout } = this.#child
    this.#running = new Promise((resolve) => stdout!.once('data', resolve)) // the line that says so
    this.#child.once('exit', () => this.#last || this.#start())
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Ends it as an orchestrator does. @returns the exit code */
  async stop(): Promise<number | null> {
    while (this.#child.killed) await once(this.#child, 'exit') // after which there is another one
    this.#last = true
    const ended = once(this.#child, 'exit')
    await Promise.race([this.#running, ended])
    this.#child.kill('SIGTERM')
    const [code] = (await ended) as [number | null]
    return code
  }
}

whereRedis('worker-chaos')('workers and Redis killed at random', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'latent-chaos-'))
  const workers: WorkerProcess[] = []
  let redis: RedisServer
  let queue: JobQueue

  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.stop()))
    await queue?.close()
    await redis?.[Symbol.asyncDispose]()
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each([1, 4])(`${count} jobs on 3 workers, at most %d together: exactly one result each`, async (maxBatch) => {
    const random = generator(Number(process.env.LATENT_CHAOS_SEED ?? 1))
    redis = await RedisServer.start()
    const store = path.join(folder, String(maxBatch))
    queue = new JobQueue({ redis: redis.url, store, sweepMs: 500, timeoutMs: 60_000 })
    for (let i = 0; i < 3; i++) {
      const args = [
        '--queue',
        redis.url,
        '--store',
        store,
        '--threads',
        '1',
        '--lock',
        '1s',
        '--max-lost',
        '1000',
        '--name',
        `worker-${i}`,
        '--max-batch',
        `${maxBatch}`,
      ]
      workers.push(new WorkerProcess(args))
    }

    // Every second job repeats the image of the one before.
    const outcomes = new Map<string, JobResult>()
    let done = 0
    const submit = async (index: number) => {
      const id = `job-${index}`
      const options = { prompt: 'a red circle', steps: 2, seed: BigInt(index >> 1) }
      const job = await queue.submit({ id, model, options, priority: index % 3 === 0 ? 'batch' : 'interactive' })
      outcomes.set(id, await job.result)
      done++
    }
    const all = Promise.all(Array.from({ length: count }, (_, index) => submit(index)))

    // By progress, not by time, so that slow machines do not kill more than they finish.
    let [workerKills, redisKills] = [0, 0]
    const isOver = () => done === count
    const kills = (async () => {
      for (let next = 15; !isOver(); next += 15 + Math.floor(random() * 20)) {
        while (done < Math.min(next, count)) await Promise.race([all, wait(10)])
        if (isOver()) return
        await wait(random() * 80) // in any phase of a job
        if (random() < 0.25) {
          redisKills++
          await redis.kill()
          await wait(random() * 500)
          await redis.start()
        } else {
          workerKills++
          workers[Math.floor(random() * workers.length)]!.kill()
        }
      }
    })()
    await Promise.all([all, kills])

    expect(outcomes.size).toBe(count)
    expect(workerKills).toBeGreaterThan(count / 75)
    expect(redisKills).toBeGreaterThan(0)

    const raw = new Queue(model, { connection: { url: redis.url }, prefix: 'latent' })
    try {
      // The worker of the last results may have been killed before Redis knew, or their locks may run out.
      const counts = () => raw.getJobCounts('completed', 'failed', 'wait', 'prioritized', 'delayed', 'active')
      const { completed, ...others } = await counts()
      expect({ completed, ...others }).toEqual({ completed: count, failed: 0, wait: 0, prioritized: 0, delayed: 0, active: 0 })
      const jobs = await raw.getJobs('completed', 0, -1)
      expect(new Set(jobs.map(({ id }) => id))).toEqual(new Set(outcomes.keys()))
      for (const { id, returnvalue } of jobs) expect(returnvalue).toEqual(outcomes.get(id!))
      // Some jobs were taken from lost workers; without any, this test would prove nothing.
      expect(jobs.filter(({ stalledCounter }) => stalledCounter > 0).length).toBeGreaterThan(0)
      // A worker without batches takes the next job when the last one has ended.
      const isBeside = ({ id, processedOn, finishedOn, returnvalue: { worker } }: (typeof jobs)[number]) =>
        jobs.some(
          (other) => other.id !== id && other.returnvalue.worker === worker && other.processedOn! < finishedOn! && processedOn! < other.finishedOn!,
        )
      expect(jobs.filter(isBeside).length > 0).toBe(maxBatch > 1)
    } finally {
      await raw.close()
    }

    // One object per image, whole and the same whoever made it; with others its rounding may differ.
    const keys = [...outcomes].map(([id, { images }]): [number, string] => [Number(id.slice(4)) >> 1, images[0]!.key])
    const byImage = new Map<number, Set<string>>()
    for (const [image, key] of keys) byImage.set(image, (byImage.get(image) ?? new Set()).add(key))
    if (maxBatch === 1) {
      expect([...byImage.values()].filter(({ size }) => size !== 1)).toEqual([])
      const stored = readdirSync(store, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.png'))
      expect(stored).toHaveLength(Math.ceil(count / 2))
    }
    for (const [, key] of keys) await queue.store.get(key)

    expect(await Promise.all(workers.splice(0).map((worker) => worker.stop()))).toEqual([0, 0, 0])
  })
})
