/** Settings that queues and workers share. */
import type { ObjectStore } from './objects.js'
import type { StoreOptions } from './store.js'

/** Where jobs and their images are. Every server and worker of a queue needs the same. */
export interface QueuePlace {
  /** Address of Redis: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS. */
  redis: string
  /** Name of the queue, the prefix of its keys in Redis. Default `latent`. */
  queue?: string
  /** Images: a folder that all machines share, or `s3://bucket/prefix`. */
  store: string | StoreOptions | ObjectStore
  /** Milliseconds for reading or writing an object of the store. After that the store counts as one that does not answer. Default 60,000. */
  storeTimeoutMs?: number
}

/** A text that may not be an address: a password can be anywhere before the last `@`, or in the query. */
function withoutSecrets(url: string): string {
  return url
    .replace(/^(.*?:\/\/)?[\s\S]*@/, '$1***@')
    .replace(/\?[\s\S]*$/, '')
    .slice(0, 200)
}

export function readRedisUrl(url: unknown): string {
  const example = 'write it as redis://host:6379, or rediss:// for TLS'
  if (typeof url !== 'string') throw new TypeError(`redis must be an address of Redis; ${example}`)
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '')
    throw new RangeError(
      `redis: '${withoutSecrets(url)}' is not an address of Redis; ${example}${url.includes('@') ? ', with / as %2F and # as %23 in a password' : ''}`,
    )
  return url
}

/** The braces of a hash tag would be needed for Redis Cluster, which is not supported. */
export function readQueueName(name: unknown = 'latent'): string {
  if (typeof name !== 'string' || !/^[A-Za-z0-9_.]{1,64}$/.test(name))
    throw new RangeError(`queue must be up to 64 letters, digits, dots and underscores, not '${String(name).slice(0, 100)}'`)
  return name
}

export function readModelName(name: unknown): string {
  if (typeof name !== 'string' || !/^\w[\w.-]{0,63}$/.test(name))
    throw new RangeError(`a model's name must be up to 64 letters, digits, dots, dashes and underscores, not '${String(name).slice(0, 100)}'`)
  return name
}

export function readDuration(value: unknown, name: string, usual: number, [min, max]: [number, number] = [1, 2 ** 31 - 1]): number {
  if (value === undefined) return usual
  if (typeof value !== 'number') throw new TypeError(`${name} must be a number of milliseconds`)
  if (!(value >= min && value <= max)) throw new RangeError(`${name} must be from ${min} to ${max} milliseconds, not ${value}`)
  return Math.round(value)
}

export function readCount(value: unknown, name: string, usual: number, [min, max]: [number, number]): number {
  if (value === undefined) return usual
  if (typeof value !== 'number') throw new TypeError(`${name} must be a whole number`)
  if (!Number.isInteger(value) || value < min || value > max)
    throw new RangeError(`${name} must be a whole number from ${min} to ${max}, not ${value}`)
  return value
}
