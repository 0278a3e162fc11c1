/** Servers with a queue on Redis, whose jobs a worker of another process would run: the three APIs as without it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI from 'openai'
import { RawImage } from 'node-latent-diffusion'
import { createWorker, JobQueue, type RunningWorker } from '../../packages/worker/src/index'
import { holdEngine } from '../helpers/held-engine'
import { RedisServer, whereRedis } from '../helpers/redis'
import { ask, readEvents, startServer, type Server, type ServerOptions } from '../helpers/server'

const folder = mkdtempSync(path.join(tmpdir(), 'latent-server-queue-'))

/** Something to wait for. */
function makeGate(): { passed: Promise<void>; open: () => void } {
  let open!: () => void
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { passed, open }
}

whereRedis('server-queue')('a server with a queue', () => {
  let redis: RedisServer
  let worker: RunningWorker
  let server: Server & { lines: string[] }
  let local: Server
  const others: Server[] = []
  const place = () => ({ redis: redis.url, store: path.join(folder, 'store'), timeoutMs: 60_000 })
  const open = async (options: ServerOptions = {}) => {
    const other = await startServer({ queue: place(), ...options })
    others.push(other)
    return other
  }
  const makeWorker = () => createWorker({ ...place(), lockMs: 60_000, models: { 'tiny-scenes': { threads: 1 } }, metricsPort: 0 })

  beforeAll(async () => {
    redis = await RedisServer.start()
    worker = await makeWorker()
    server = await startServer({ queue: place() })
    local = await startServer()
  })
  afterAll(async () => {
    for (const each of [server, local, ...others]) await each?.close()
    await worker?.close()
    await redis?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const request = { prompt: 'a red circle', steps: 3, seed: 5 }
  const post = (body: object, headers = {}, to: Server = server) => ask(to, '/latent/v1/jobs', { body, headers })
  const job = (id: string, to: Server = server) => ask(to, `/latent/v1/jobs/${id}`)
  const events = async (id: string, to: Server = server) =>
    readEvents((await ask(to, `/latent/v1/jobs/${id}/events`, { headers: { accept: 'text/event-stream' } })).text)

  test('jobs: progress, previews, and the image of a server without a queue', async () => {
    const [mine, theirs] = await Promise.all(
      [server, local].map(async (to) => {
        const { status, json } = await post({ ...request, preview: { every: 1 } }, {}, to)
        expect(status).toBe(202)
        const told = (await events(json.id, to)).map(({ data }) => data)
        expect(told.map(({ type }) => type)).toEqual(expect.arrayContaining(['started', 'progress', 'image', 'done']))
        const done = told.at(-1)!
        if (done.type !== 'done') throw new Error(JSON.stringify(done))
        const { status: found, headers } = await ask(to, done.job.result!.images[0]!.url)
        expect([found, headers.etag]).toEqual([200, `"${done.job.result!.images[0]!.sha256}"`])
        return done.job
      }),
    )
    expect(mine!.result!.images.map(({ url, ...image }) => (url ? image : undefined))).toEqual(
      theirs!.result!.images.map(({ url, ...image }) => (url ? image : undefined)),
    )
    expect(mine!.result!.options).toEqual(theirs!.result!.options)
    expect(mine!.request).toEqual(theirs!.request)
  })

  test('previews arrive while the job runs', async () => {
    using held = holdEngine()
    const { json } = await post({ ...request, steps: 100, preview: { every: 5 } })
    const control = new AbortController()
    const response = await fetch(`${server.url}/latent/v1/jobs/${json.id}/events`, {
      headers: { accept: 'text/event-stream' },
      signal: control.signal,
    })
    let text = ''
    for await (const chunk of response.body!) {
      text += Buffer.from(chunk).toString('utf8')
      if (text.includes('event: preview') && text.endsWith('\n\n')) break
    }
    const preview = readEvents(text).find(({ event }) => event === 'preview')!.data
    if (preview.type !== 'preview') throw new Error('no preview')
    const image = await RawImage.read(new Uint8Array(Buffer.from(preview.url.split(',')[1]!, 'base64')))
    expect([image.width, image.height]).toEqual([preview.width, preview.height])
    const cancelled = await ask(server, `/latent/v1/jobs/${json.id}`, { method: 'DELETE' })
    expect(cancelled.json).toMatchObject({ status: 'cancelled', error: { code: 'ERR_CANCELLED' } })
    // The worker is free again.
    held.open()
    expect((await events((await post(request)).json.id)).at(-1)!.data.type).toBe('done')
  })

  test('an error of the worker is the answer that a server without a queue gives', async () => {
    const [mine, theirs] = await Promise.all(
      [server, local].map(async (to) => {
        const { json } = await post({ ...request, sampler: 'nothing' }, {}, to)
        await events(json.id, to)
        return (await job(json.id, to)).json
      }),
    )
    expect(mine).toMatchObject({ status: 'failed', error: { code: 'ERR_INVALID_ARG', retriable: false } })
    expect(mine.error.message).toBe(theirs.error.message)
  })

  test('options that cannot be sent are an error of the request', async () => {
    for (const body of [
      { ...request, seed: '99999999999999999999' },
      { ...request, prompt: 'a'.repeat(1_000_001) },
    ]) {
      const { status, json } = await post(body)
      const error = status === 202 ? (await events(json.id)).at(-1)!.data : json
      expect([status, error]).toEqual([400, expect.objectContaining({ error: expect.objectContaining({ code: 'ERR_INVALID_ARG' }) })])
    }
  })

  test('a key of another server belongs to its request', async () => {
    const other = await open()
    const headers = { 'idempotency-key': 'one' }
    const first = await post(request, headers)
    const [second, third] = await Promise.all([post(request, headers, other), post(request, headers, other)])
    expect([first.status, second.status, third.status]).toEqual([202, 202, 202])
    expect([second.json.id, third.json.id]).toEqual([first.json.id, first.json.id])
    expect((await post({ ...request, seed: 6 }, headers, other)).json.error.code).toBe('ERR_IDEMPOTENCY')
    for (const to of [server, other]) expect((await events(first.json.id, to)).at(-1)!.data.type).toBe('done')
  })

  test('a job of another server that is already shown here is what its key gives', async () => {
    const other = await open()
    const headers = { 'idempotency-key': 'shown' }
    const first = await post(request, headers)
    await events(first.json.id) // until it is done
    const shown = await job(first.json.id, other)
    expect((await post(request, headers, other)).json).toEqual(shown.json)
    expect((await ask(other, '/latent/v1/jobs')).json.jobs).toHaveLength(1)
  })

  test('a request whose key belongs to a job that is just being looked up waits for it, and submits nothing', async () => {
    const other = await open()
    const headers = { 'idempotency-key': 'sought' }
    const { id } = (await post(request, headers)).json
    await events(id)
    const { attach, claim, submit } = JobQueue.prototype // eslint-disable-line @typescript-eslint/unbound-method -- called with their queues below
    const [looking, claimed, released] = [makeGate(), makeGate(), makeGate()]
    let submitted = 0
    JobQueue.prototype.attach = async function (this: JobQueue, ...given) {
      looking.open()
      await released.passed
      return attach.apply(this, given)
    }
    JobQueue.prototype.claim = async function (this: JobQueue, ...given) {
      const known = await claim.apply(this, given)
      claimed.open()
      return known
    }
    JobQueue.prototype.submit = async function (this: JobQueue, ...given) {
      submitted++
      return submit.apply(this, given)
    }
    try {
      const shown = job(id, other)
      await looking.passed
      const created = post(request, headers, other)
      await claimed.passed
      await new Promise((resolve) => setImmediate(resolve)) // it has gone on
      released.open()
      expect((await created).json).toEqual((await shown).json)
      expect(submitted).toBe(0)
    } finally {
      Object.assign(JobQueue.prototype, { attach, claim, submit })
      released.open()
    }
  })

  test('a job outlives its server, and another one shows it with its events and images', async () => {
    const { json } = await post({ ...request, steps: 60 }, {}, await open())
    await others.at(-1)!.close()
    const other = await open()
    const [found, again] = await Promise.all([job(json.id, other), job(json.id, other)])
    expect(found.json).toMatchObject({ id: json.id, request: { steps: 60 }, created: json.created })
    expect(again.status).toBe(200)
    expect((await events(json.id, other)).at(-1)!.data.type).toBe('done')
    const { result } = (await job(json.id, other)).json
    expect((await ask(other, result.images[0].url)).status).toBe(200)
    // The finished job, on a server that has not seen it run, also as an input.
    const { url, sha256 } = (await job(json.id)).json.result.images[0]
    expect(sha256).toBe(result.images[0].sha256)
    expect((await ask(server, url)).headers.etag).toBe(`"${sha256}"`)
    const changed = await post({ ...request, image: { job: json.id, index: 0 }, strength: 0.5 })
    expect((await events(changed.json.id)).at(-1)!.data.type).toBe('done')
    expect((await ask(server, `/latent/v1/jobs/${json.id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await job(json.id)).status).toBe(404)
  })

  test('unknown jobs are 404, whatever their id', async () => {
    for (const id of ['1', 'a:b', '00000000-0000-4000-8000-000000000000', '%00', 'x'.repeat(64)]) expect((await job(id)).status).toBe(404)
  })

  test('the OpenAI API: images, partial images and token counts', async () => {
    const client = (to: Server) => new OpenAI({ baseURL: `${to.url}/v1`, apiKey: 'none' })
    const extra = { steps: 40, seed: 3 } as object
    const [mine, theirs] = await Promise.all([server, local].map((to) => client(to).images.generate({ prompt: 'a blue square', ...extra })))
    expect(mine!.data).toEqual(theirs!.data)
    expect(mine!.usage!.input_tokens).toBeGreaterThan(0)
    using held = holdEngine()
    const types: string[] = []
    for await (const event of await client(server).images.generate({ prompt: 'a blue square', stream: true, partial_images: 2, ...extra })) {
      types.push(event.type)
      held.open() // not before the first one, which must not be the image
    }
    expect(types.at(-1)).toBe('image_generation.completed')
    expect(types[0]).toBe('image_generation.partial_image')
  })

  test('a client that leaves frees the worker', async () => {
    using _ = holdEngine()
    const control = new AbortController()
    const asked = ask(server, '/v1/images/generations', { body: { prompt: 'a', steps: 150, n: 4 }, signal: control.signal }).catch(() => 'left')
    const queue = new JobQueue(place())
    const deadline = Date.now() + 20_000
    let counts = await queue.counts('tiny-scenes')
    while (counts.running < 1 && Date.now() < deadline) counts = await queue.counts('tiny-scenes')
    const cancellations = async () => {
      const metrics = await (await fetch(`${worker.metricsUrl}/metrics`)).text()
      return Number(/outcome="cancelled"} (\d+)/.exec(metrics)?.[1] ?? 0)
    }
    const before = await cancellations()
    control.abort()
    expect(await asked).toBe('left')
    while (counts.running + counts.waiting > 0 && Date.now() < deadline) counts = await queue.counts('tiny-scenes')
    await queue.close()
    expect(counts).toEqual({ waiting: 0, running: 0 })
    expect(await cancellations()).toBe(before + 1)
  })

  test('the API of the web UI: images, progress and interrupt', async () => {
    const body = { prompt: 'a red circle', steps: 3, seed: 5 }
    const [mine, theirs] = await Promise.all([server, local].map((to) => ask(to, '/sdapi/v1/txt2img', { body })))
    expect(mine!.json.images).toEqual(theirs!.json.images)
    expect(JSON.parse(mine!.json.info).infotexts).toEqual(JSON.parse(theirs!.json.info).infotexts)
    using _ = holdEngine()
    const slow = ask(server, '/sdapi/v1/txt2img', { body: { ...body, steps: 150, n_iter: 2 } })
    let progress = { progress: 0, state: { sampling_step: 0 } }
    while (progress.state.sampling_step < 2) progress = (await ask(server, '/sdapi/v1/progress')).json
    await ask(server, '/sdapi/v1/interrupt', { method: 'POST' })
    expect((await slow).json.images).toEqual([])
  })

  test('batch jobs go last, and a waiting job can be moved to the front only', async () => {
    await worker.close()
    const ids: string[] = []
    for (const headers of [{ 'x-latent-priority': 'batch' }, {}, {}]) ids.push((await post({ ...request, steps: 1 }, headers)).json.id as string)
    const move = (position: number) => ask(server, `/latent/v1/jobs/${ids[2]}`, { method: 'PATCH', body: { position } })
    expect((await move(1)).json.error).toMatchObject({ code: 'ERR_STATE' })
    expect((await move(0)).status).toBe(200)
    const status = (await ask(server, '/latent/v1/server')).json.status
    expect(status).toMatchObject({ running: false, queued: 3 })
    const metrics = (await ask(server, '/metrics')).text
    expect(metrics).toContain('latent_queue_depth 3')
    worker = await makeWorker()
    for (const id of ids) await events(id)
    const started = await Promise.all(ids.map(async (id) => (await job(id)).json.started as string))
    expect([...started].sort()).toEqual([started[2], started[1], started[0]])
  })

  test('models are loaded by workers, not by requests', async () => {
    expect((await ask(server, '/latent/v1/models/tiny-scenes/load', { method: 'POST' })).status).toBe(409)
    expect((await ask(server, '/latent/v1/models/pull', { body: { source: 'hf:owner/name' } })).status).toBe(403)
    await expect(startServer({ queue: place(), pull: true })).rejects.toThrow('pull: with a queue')
    await expect(startServer({ queue: { redis: 'nowhere', store: folder } })).rejects.toThrow('is not an address of Redis')
  })

  test('without Redis: not ready, 503 for jobs, and everything goes on afterwards', async () => {
    const hasty = await open({ queue: { ...place(), timeoutMs: 2000 } })
    const until = async (is: () => Promise<boolean>) => {
      while (!(await is())) await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const ready = async () => (await ask(hasty, '/readyz')).status
    await redis.kill()
    await until(async () => (await ready()) === 503)
    const refused = await post(request, {}, hasty)
    expect([refused.status, refused.json.error.code, refused.json.error.retriable]).toEqual([503, 'ERR_QUEUE', true])
    expect(refused.headers['retry-after']).toBeDefined()
    const openai = await ask(hasty, '/v1/images/generations', { body: { prompt: 'a', steps: 1 } })
    expect([openai.status, openai.json.error.code]).toEqual([503, 'ERR_QUEUE'])
    expect((await ask(hasty, '/latent/v1/jobs')).json.jobs.map(({ status }: { status: string }) => status)).not.toContain('queued')
    await redis.start()
    await until(async () => (await ready()) === 200)
    let again = refused
    // Its connection for news may be back later.
    await until(async () => (again = await post(request, {}, hasty)).status !== 503)
    expect(again.status).toBe(202)
    expect((await events(again.json.id, hasty)).at(-1)!.data.type).toBe('done')
    expect(hasty.lines.filter((line) => !line.startsWith('Redis at'))).toEqual([])
    expect(server.lines.filter((line) => !line.startsWith('Redis at'))).toEqual([])
  })
})
