/** Connections to Redis, and the names of everything in it. */
import { Redis, type RedisOptions } from 'ioredis'

/** Prefix of BullMQ's keys, which are PREFIX:MODEL:...; the other names differ from these by a dash. */
export interface Names {
  prefix: string
  /** What the names of a job end with. Ids of two models are not the same job. */
  job(model: string, id: string): string
  /** Channel of a job's news. */
  news(job: string): string
  /** Channel that tells which jobs are cancelled. */
  cancel: string
  /** Set for a cancelled job, for workers that were not listening. */
  cancelled(job: string): string
  /** The request that an idempotency key belongs to. */
  claim(hash: string): string
}

export function namesOf(prefix: string): Names {
  return {
    prefix,
    job: (model, id) => `${model}:${id}`,
    news: (job) => `${prefix}-news:${job}`,
    cancel: `${prefix}-cancel`,
    cancelled: (job) => `${prefix}-cancelled:${job}`,
    claim: (hash) => `${prefix}-claim:${hash}`,
  }
}

/** Waits for a lost server without limit, trying again after 50 ms to 2 s: commands are sent when it is back. */
export function connect(url: string, onError: (error: Error) => void, options: RedisOptions = {}): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: (times) => Math.min(2000, 50 * 2 ** Math.min(times, 6)), ...options })
  let last = ''
  // Without a listener an error would end the process. A server that is away is reported once.
  redis.on('error', (error: Error) => {
    if (error.message !== last) onError(error)
    last = error.message
  })
  redis.on('ready', () => (last = ''))
  return redis
}

/** Whether a server answers: one that hangs keeps its connection, and every command waits. */
export class Pulse {
  #isAlive = true
  readonly #timer: NodeJS.Timeout

  constructor(
    readonly redis: Redis,
    everyMs = 5000,
  ) {
    this.#timer = setInterval(() => void this.#beat(everyMs), everyMs)
    this.#timer.unref()
  }

  get isAlive(): boolean {
    return this.redis.status === 'ready' && this.#isAlive
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #beat(limitMs: number): Promise<void> {
    if (this.redis.status !== 'ready') return
    let late: NodeJS.Timeout | undefined
    const tooLate = new Promise<false>((resolve) => (late = setTimeout(resolve, limitMs, false).unref()))
    this.#isAlive = await Promise.race([
      tooLate,
      this.redis.ping().then(
        () => true,
        () => false,
      ),
    ])
    clearTimeout(late)
  }
}

/** The address without its password and its query. */
export function shownUrl(url: string): string {
  const shown = new URL(url)
  if (shown.password !== '') shown.password = '***'
  shown.search = '' // ioredis takes a password from there, too
  return shown.href
}

/** Calls `work` each time that a connection has its subscriptions, at first and after it was away: what was published meanwhile is lost, and what follows is heard. */
export function whenSubscribed(subscriber: Redis, work: () => unknown): void {
  const subscribed = () => subscriber.ping() // answered after the subscriptions, which were sent before
  subscriber.on('ready', () => void subscribed().then(work, () => {}))
}
