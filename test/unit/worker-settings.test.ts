/** Settings of queues and workers that are refused, before anything is asked of Redis. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createWorker, JobQueue, type QueueOptions, type WorkerOptions } from '../../packages/worker/src/index'

const folder = mkdtempSync(path.join(tmpdir(), 'latent-settings-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const place = () => ({ redis: 'redis://127.0.0.1:1', store: folder })

test('a queue or worker with wrong settings is refused', async () => {
  const wrong: [Partial<WorkerOptions & QueueOptions>, string][] = [
    [{ redis: 'localhost' }, 'is not an address of Redis'],
    [{ redis: 'http://localhost' }, 'is not an address of Redis'],
    [{ redis: 'redis://:pa/ss@host' }, "'redis://***@host' is not an address of Redis"],
    [{ redis: 7 as never }, 'must be an address of Redis'],
    [{ queue: 'a:b' }, 'queue must be'],
    [{ store: '' }, 'store must be'],
    [{ store: 'https://bucket' }, 'neither a folder nor'],
    [{ store: 's3://' }, 's3://bucket'],
  ]
  for (const [given, message] of wrong) {
    expect(() => new JobQueue({ ...place(), ...given })).toThrow(message)
    await expect(createWorker({ ...place(), ...given })).rejects.toThrow(message)
  }
  expect(() => new JobQueue({ ...place(), keepMs: 60_000, sweepMs: 30_000 })).toThrow('more than twice sweepMs')
  await expect(createWorker({ ...place(), models: {} })).rejects.toThrow('at least one model')
  writeFileSync(path.join(folder, 'file'), '')
  await expect(createWorker({ ...place(), store: path.join(folder, 'file') })).rejects.toMatchObject({ code: 'ERR_STORE' })
  await expect(createWorker({ ...place(), lockMs: 1 })).rejects.toThrow('lockMs must be from 500')
  await expect(createWorker({ ...place(), maxBatch: 65 })).rejects.toThrow('maxBatch must be a whole number from 1 to 64')
  await expect(createWorker({ ...place(), maxLost: 0.5 })).rejects.toThrow('maxLost must be a whole number')
})
