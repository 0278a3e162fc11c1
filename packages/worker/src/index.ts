/**
 * Many machines for node-latent-diffusion: a queue on Redis, workers with one device each, and a store for their images.
 *
 * @packageDocumentation
 */
export { JobFailedError, QueueError, type QueueErrorCode } from './errors.js'
export type { ObjectStore } from './objects.js'
export type * from './protocol.js'
export { JobQueue, type JobSubmission, type QueueCounts, type QueuedJob, type QueuedJobNews, type QueueOptions } from './queue.js'
export type { S3Credentials, S3Options } from './s3-store.js'
export type { QueuePlace } from './settings.js'
export { openStore, type StoreOptions } from './store.js'
export { createWorker, type RunningWorker, type WorkerOptions } from './worker.js'
