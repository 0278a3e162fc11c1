/** Jobs of a worker that share the calls of the U-Net. */
import { Job, type Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { batchKey } from 'node-latent-diffusion'
import { readJob } from './job-options.js'
import type { JobData, JobResult } from './protocol.js'

type OwnJob = Job<JobData, JobResult>

/** Ids of waiting jobs in the order in which workers take them. */
export async function firstWaiting(redis: Redis, queue: { toKey(type: string): string }, most: number): Promise<string[]> {
  const first = (await redis.lrange(queue.toKey('wait'), -most, -1)).reverse() // workers take from the end
  if (first.length === most) return first
  return [...first, ...(await redis.zrange(queue.toKey('prioritized'), 0, most - first.length - 1))]
}

/** Key and images of a job that may be made with others; undefined for one that runs alone. */
function shareOf({ data, opts, stalledCounter, attemptsMade }: OwnJob): { key: string; images: number } | undefined {
  // It may have been the cause of a lost worker or a failed run: others must not share its end.
  if (stalledCounter > 0 || attemptsMade > 0) return undefined
  // A crash that another job causes would be the end of it.
  if ((opts.attempts ?? 1) < 2) return undefined
  try {
    const { options } = readJob(data)
    const key = batchKey(options)
    return key === undefined ? undefined : { key, images: typeof options.count === 'number' ? options.count : 1 }
  } catch {
    return undefined // its run will tell why
  }
}

/** Admits jobs that may be made with the first one, up to a number of images. */
class Door {
  readonly #key: string | undefined
  #room: number

  constructor(first: OwnJob, maxImages: number) {
    const share = shareOf(first)
    this.#key = share?.key
    this.#room = share ? maxImages - share.images : 0
  }

  get isOpen(): boolean {
    return this.#room > 0
  }

  admits(job: OwnJob): boolean {
    const share = shareOf(job)
    if (!share || share.key !== this.#key || share.images > this.#room) return false
    this.#room -= share.images
    return true
  }
}

/** Jobs that begin in one turn, so that the host can join them. Each may end before. */
export class Batch {
  /** Those that are not ready yet, and the mark of a batch that takes more. */
  readonly #awaited = new Set(['more'])
  #starts: (() => void)[] = []
  /** All of them in the order of the queue. */
  readonly #runs = new Map<string, Promise<unknown>>()
  #isClosed!: () => void
  readonly #closed = new Promise<void>((resolve) => (this.#isClosed = resolve))

  get size(): number {
    return this.#runs.size
  }

  /** Runs a job at once. `run` must not reject. */
  add(id: string, run: () => Promise<unknown>): void {
    this.#awaited.add(id)
    this.#runs.set(
      id,
      run().finally(() => this.leave(id)),
    )
  }

  /** No more are added. Returns when all have ended. */
  async close(): Promise<void> {
    this.#isClosed()
    this.leave('more')
    await Promise.all(this.#runs.values())
  }

  /** Lets a job leave, and returns when those that follow it in the queue have ended. */
  async leaveLast(id: string): Promise<void> {
    this.leave(id)
    await this.#closed
    const runs = [...this.#runs]
    await Promise.all(runs.slice(runs.findIndex(([each]) => each === id) + 1).map(([, run]) => run))
  }

  /** Starts a run when the others are ready or have ended. The value is wrapped because it may be a promise. */
  start<T>(id: string, run: () => T): Promise<{ value: T }> {
    const begin = async () => ({ value: run() }) // an error becomes a rejection
    return new Promise((resolve) => {
      this.#starts.push(() => resolve(begin()))
      this.leave(id)
    })
  }

  /** A job that has ended is not waited for. */
  leave(id: string): void {
    this.#awaited.delete(id)
    if (this.#awaited.size > 0) return
    for (const start of this.#starts.splice(0)) start()
  }
}

/**
 * Takes the jobs that follow a job in the queue and may be made with it. They are looked at first, so that one that cannot join it stays where it is.
 * `take` gets each with its token, which locks it.
 */
export async function takeFollowers(
  worker: Worker<JobData, JobResult>,
  { redis, first, maxImages, maxLost }: { redis: Redis; first: OwnJob; maxImages: number; maxLost: number },
  take: (job: OwnJob, token: string) => void,
): Promise<void> {
  if (maxLost === 0) return // one that takes the worker with it would be the end of the others
  const seen = new Door(first, maxImages)
  if (!seen.isOpen) return
  let wanted = 0
  for (const id of await firstWaiting(redis, worker, maxImages - 1)) {
    const job = await Job.fromId<JobData, JobResult>(worker, id)
    if (!job || !seen.admits(job)) break
    wanted++
  }
  const door = new Door(first, maxImages)
  for (let i = 0; i < wanted; i++) {
    const token = `${worker.id}:${first.id}:${i}`
    const job = await worker.getNextJob(token, { block: false })
    if (!job) return
    if (!door.admits(job)) {
      await job.moveToWait(token) // another worker was faster; this one goes back to its place
      return
    }
    take(job, token)
  }
}
