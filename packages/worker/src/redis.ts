/** Connections to Redis, and the names of everything in it. */
import { Redis, type RedisOptions } from 'ioredis'

/** Prefix of BullMQ's keys, which are PREFIX:MODEL:...; the other names differ from these by a dash. */
export interface Names {
  prefix: string
  /** Channel of a job's news. */
  news(id: string): string
  /** Channel on which cancelled jobs are named. */
  cancel: string
  /** Set for a cancelled job, for workers that were not listening. */
  cancelled(id: string): string
  /** The request that an idempotency key belongs to. */
  claim(hash: string): string
}

export function namesOf(prefix: string): Names {
  return {
    prefix,
    news: (id) => `${prefix}-news:${id}`,
    cancel: `${prefix}-cancel`,
    cancelled: (id) => `${prefix}-cancelled:${id}`,
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

/** The address without its password and its query. */
export function shownUrl(url: string): string {
  const shown = new URL(url)
  if (shown.password !== '') shown.password = '***'
  shown.search = '' // ioredis takes a password from there, too
  return shown.href
}
