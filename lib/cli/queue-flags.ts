/** Flags of commands that use a queue on Redis. */
import { UsageError, type Flags } from './command.js'

export const queueFlags = {
  queue: { kind: 'text', value: 'URL', help: 'queue on Redis, redis://HOST:PORT; the environment variable LATENT_QUEUE is safer for passwords' },
  'queue-name': { kind: 'text', value: 'NAME', help: 'name of the queue, the prefix of its keys (default latent)' },
  store: {
    kind: 'text',
    value: 'PLACE',
    help: 'images of the queue: a folder that all machines share, or s3://BUCKET/PREFIX (AWS_* variables), or LATENT_STORE',
  },
} as const satisfies Flags

interface QueueValues {
  queue?: string
  'queue-name'?: string
  store?: string
}

export const queueOf = ({ queue }: QueueValues) => queue ?? process.env.LATENT_QUEUE

/** Where jobs and their images are, from flags or the environment. */
export function readPlace(values: QueueValues) {
  const redis = queueOf(values)
  const store = values.store ?? process.env.LATENT_STORE
  if (!redis) throw new UsageError('no queue given: use --queue redis://HOST:6379, or LATENT_QUEUE')
  if (!store) throw new UsageError('no store given: use --store with a folder that all machines share or s3://BUCKET/PREFIX, or LATENT_STORE')
  return { redis, store, ...(values['queue-name'] === undefined ? {} : { queue: values['queue-name'] }) }
}
