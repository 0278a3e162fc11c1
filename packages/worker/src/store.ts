/** Opens object stores. */
import { DirectoryStore } from './directory-store.js'
import type { ObjectStore } from './objects.js'
import { S3Store, type S3Options } from './s3-store.js'
import { readDuration, type QueuePlace } from './settings.js'
import { TimedStore } from './timed-store.js'

export type StoreOptions = { directory: string } | S3Options

/** Opens a store: a folder, `s3://bucket/prefix`, or options. An own {@link ObjectStore} is taken as it is. */
export function openStore(where: string | StoreOptions | ObjectStore): ObjectStore {
  if (typeof where === 'string') {
    if (where === '') throw new RangeError('store must be a folder or s3://bucket/prefix')
    if (where.startsWith('s3://')) return new S3Store(readS3Url(where))
    if (/^[a-z][a-z0-9+]+:\/\//i.test(where)) throw new RangeError(`store: '${where.slice(0, 100)}' is neither a folder nor s3://bucket/prefix`)
    return new DirectoryStore(where)
  }
  if (typeof where !== 'object' || where === null)
    throw new TypeError('store must be a folder, s3://bucket/prefix, options or an object with put() and get()')
  if ('put' in where) return where
  if ('directory' in where) return new DirectoryStore(where.directory)
  return new S3Store(where)
}

/** The store of a queue, whose reads and writes end in time. */
export function storeOf({ store, storeTimeoutMs }: QueuePlace): ObjectStore {
  return new TimedStore(openStore(store), readDuration(storeTimeoutMs, 'storeTimeoutMs', 60_000))
}

function readS3Url(text: string): S3Options {
  const [, bucket, prefix] = /^s3:\/\/([^/?#]+)(?:\/([^?#]*))?$/.exec(text) ?? []
  if (bucket === undefined) throw new RangeError(`store: '${text.slice(0, 100)}' is not s3://bucket or s3://bucket/prefix`)
  return { bucket, ...(prefix ? { prefix } : {}) }
}
