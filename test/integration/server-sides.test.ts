/** Requests of the server that use the engine beside the queue: how many may be open, and what ends them. */
import { DiffusionHost } from 'node-latent-diffusion'
import { holdEngine } from '../helpers/held-engine'
import { ask, startServer, type Ask } from '../helpers/server'

const soon = () => new Promise((resolve) => setTimeout(resolve, 5))

test('requests outside the queue are limited, and end with their clients and with the server', async () => {
  const one = await startServer({ limits: { maxSteps: 400, maxTotalSteps: 400 }, graceMs: 0 })
  using _ = holdEngine()
  const asked = jest.spyOn(DiffusionHost.prototype, 'load')
  const heardOf = async (count: number) => {
    while (asked.mock.calls.length < count) await soon()
  }
  const load = (path: string, signal?: AbortSignal) => fetch(one.url + path, { method: 'POST', ...(signal ? { signal } : {}) })
  const own = '/latent/v1/models/tiny-scenes/load'
  try {
    const long: Ask = { body: { prompt: 'x', steps: 400, width: 256, height: 256 } }
    expect((await ask(one, '/latent/v1/jobs', long)).status).toBe(202)
    const gone = new AbortController()
    const waiting = [own, '/sdapi/v1/reload-checkpoint'].flatMap((path) => [1, 2, 3, 4].map(() => load(path, gone.signal).catch(() => undefined)))
    await heardOf(8)
    const full = await load(own)
    expect([full.status, Number(full.headers.get('retry-after'))]).toEqual([429, expect.any(Number)])
    gone.abort()
    await Promise.all(waiting)
    // Refused until the server has heard of it.
    const open = async () => {
      let reply = await load(own)
      for (; reply.status === 429; reply = await load(own)) await soon()
      return [reply.status, await reply.json()]
    }
    const told = expect(open()).resolves.toEqual([503, { error: expect.objectContaining({ code: 'ERR_CLOSING', retriable: true }) }])
    await heardOf(9)
    await one.close()
    await told
  } finally {
    asked.mockRestore()
    await one.close()
  }
})
