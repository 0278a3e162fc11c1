/** A worker whose object store hangs, on a real Redis, if there is one. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { RawImage } from 'node-latent-diffusion'
import { createWorker, JobQueue, openStore, type ObjectStore } from '../../packages/worker/src/index'
import { RedisServer, whereRedis } from '../helpers/redis'

whereRedis('worker-store')('a store that hangs', () => {
  test('a job that is cancelled while its images are read leaves its worker free', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'latent-hung-'))
    const redis = await RedisServer.start()
    const files = openStore(folder)
    let reads = 0
    const hung: ObjectStore = {
      put: (bytes) => files.put(bytes),
      get: (_key, signal) => {
        reads++
        return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)))
      },
    }
    const model = 'tiny-scenes'
    const queue = new JobQueue({ redis: redis.url, store: files })
    const worker = await createWorker({ redis: redis.url, store: hung, models: { [model]: { threads: 1 } } })
    try {
      const image = new RawImage({ data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 })
      const job = await queue.submit({ model, options: { prompt: 'a', steps: 2, image, strength: 0.5 } })
      while (reads === 0) await wait(10)
      job.cancel(new Error('no longer needed'))
      await expect(job.result).rejects.toThrow('no longer needed')
      const next = await queue.submit({ model, options: { prompt: 'a', steps: 2 } })
      expect((await next.result).images).toHaveLength(1)
    } finally {
      await worker.close()
      await queue.close()
      await redis[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('a job that fails once and then succeeds has a result', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'latent-again-'))
    const redis = await RedisServer.start()
    const files = openStore(folder)
    let faults = 0
    const broken: ObjectStore = {
      put: (bytes) => (faults-- > 0 ? Promise.reject(Object.assign(new Error('away'), { retriable: true })) : files.put(bytes)),
      get: (key) => files.get(key),
    }
    const queue = new JobQueue({ redis: redis.url, store: files })
    const worker = await createWorker({ redis: redis.url, store: broken, models: { 'tiny-scenes': { threads: 1 } } })
    try {
      faults = 1
      const job = await queue.submit({ model: 'tiny-scenes', options: { prompt: 'a', steps: 2 } })
      expect((await job.result).images).toHaveLength(1)
      expect((await (await queue.attach(job.id, ['tiny-scenes']))!.result).images).toHaveLength(1)
    } finally {
      await worker.close()
      await queue.close()
      await redis[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
