/** Streams and job records of the server by themselves: clients that do not read, clients that go, jobs that end twice, what is kept. */
import sse from '@fastify/sse'
import fastify from 'fastify'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { cancelled } from '../../packages/server/src/errors'
import { JobRecord, JobStore } from '../../packages/server/src/jobs'
import type { Context } from '../../packages/server/src/server'
import { openStream, Streams } from '../../packages/server/src/streams'

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe('streams', () => {
  /** A server that sends more than any buffer of the system holds, and a client that reads nothing of it. */
  async function stalled(requestTimeoutMs: number) {
    const streams = new Streams()
    const context = { streams, settings: { limits: { maxStreams: 1 }, requestTimeoutMs }, log: () => {} } as unknown as Context
    const app = fastify({ forceCloseConnections: true })
    await app.register(sse, { heartbeatInterval: 15_000 })
    let ended = false
    app.get('/', { sse: 'only' }, async (_, reply) => {
      await openStream(context, reply, async (send, signal) => {
        while (!signal.aborted) await send({ event: 'x', data: 'y'.repeat(4 << 20) })
      })
      ended = true
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const client = await new Promise<Socket>((resolve) => {
      const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1', () => {
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n')
        socket.pause()
        resolve(socket)
      })
      socket.on('error', () => {})
    })
    await until(() => streams.open.size === 1)
    return { streams, app, client, hasEnded: () => ended }
  }

  test('a client that reads nothing and disconnects frees its slot', async () => {
    const { streams, app, client, hasEnded } = await stalled(300_000)
    await new Promise((resolve) => setTimeout(resolve, 100)) // the buffers are full
    client.resetAndDestroy()
    await until(hasEnded)
    expect(streams.open.size).toBe(0)
    await app.close()
  })

  test('a client that reads nothing and stays is disconnected after a timeout', async () => {
    const { streams, app, client, hasEnded } = await stalled(200)
    await until(hasEnded)
    expect(streams.open.size).toBe(0)
    client.destroy()
    await app.close()
  })
})

/** Images of which files are made when the test says so. */
function pictures() {
  let finish!: (bytes: Uint8Array) => void
  const encoded = new Promise<Uint8Array>((resolve) => (finish = resolve))
  const image = { width: 8, height: 8, metadata: {}, png: () => encoded }
  return {
    finish,
    result: { images: [image, image], seed: 1n, options: {}, timings: {}, warnings: [] } as unknown as Parameters<JobRecord['finish']>[0],
  }
}

test.each(['before', 'while'])('a job that is cancelled %s its files are made stays cancelled', async (moment) => {
  const job = new JobRecord({}, 'm', 'interactive')
  const { finish, result } = pictures()
  const over = job.finish(result)
  if (moment === 'while') await new Promise(setImmediate)
  job.fail(cancelled())
  finish(new Uint8Array(10))
  await over
  expect(job.toJson()).toMatchObject({ status: 'cancelled', error: { code: 'ERR_CANCELLED' } })
  expect(job.toJson()).not.toHaveProperty('result')
  expect(job.pictures).toEqual([])
  const events = []
  for await (const { event } of job.follow(0, new AbortController().signal)) events.push(event.type)
  expect(events).toEqual(['error'])
})

test('previews are deleted when a job ends, and failing to encode one is harmless', async () => {
  const job = new JobRecord({}, 'm', 'interactive')
  const preview = (encode: () => Promise<Uint8Array>) =>
    job.take({ type: 'preview', image: { width: 8, height: 8, encode }, index: 0, step: 1, steps: 2 } as unknown as Parameters<JobRecord['take']>[0])
  preview(() => Promise.reject(new Error('no memory')))
  preview(async () => new Uint8Array(3000))
  const { value } = await job.follow(0, new AbortController().signal).next()
  expect(value?.event.type).toBe('preview')
  expect(job.bytes).toBeGreaterThan(4000)
  job.fail(cancelled())
  expect(job.bytes).toBeLessThan(100)
})

test('the memory of kept jobs includes the request and its files', async () => {
  const store = new JobStore({ maxKeptJobs: 10, maxKeptBytes: 25_000 } as ConstructorParameters<typeof JobStore>[0])
  for (let i = 0; i < 4; i++) {
    const job = new JobRecord({ prompt: 'x'.repeat(4000) }, 'm', 'interactive')
    const { finish, result } = pictures()
    finish(new Uint8Array(3000))
    await job.finish(result)
    expect(job.bytes).toBeGreaterThanOrEqual(10_000)
    store.add(job)
    store.trim()
  }
  expect(store.list(undefined, undefined).jobs).toHaveLength(2)
})
