/** The job API of the server: images, events and their replay, idempotency, cancelling, order, models, limits, the end. */
import { execFileSync } from 'node:child_process'
import { RawImage } from '../../lib/index'
import type { Job, ServerStatus } from '../../packages/server/src/protocol'
import { holdEngine } from '../helpers/held-engine'
import { ask, readEvents, startServer, type Server } from '../helpers/server'

let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({ limits: { maxSteps: 400, maxTotalSteps: 800, maxPixels: 200_000 } })
})
afterAll(() => server.close())

const small = { prompt: 'a red circle', steps: 2, seed: 7 }
/** Enough steps to be held or stopped in the middle. */
const long = { prompt: 'a blue square', steps: 400, seed: 1 }

async function post(body: object, headers: Record<string, string> = {}): Promise<Job> {
  const { status, json } = await ask(server, '/latent/v1/jobs', { body, headers })
  expect({ status, json }).toMatchObject({ status: 202 })
  return json as Job
}

const get = async (id: string) => (await ask(server, `/latent/v1/jobs/${id}`)).json as Job

async function finished(id: string): Promise<Job> {
  const events = readEvents((await ask(server, `/latent/v1/jobs/${id}/events`)).text)
  expect(['done', 'error']).toContain(events.at(-1)?.event)
  return get(id)
}

/** Opens streams of events. The function that it returns reads them to their ends. */
async function listen(to: Server, paths: string[]) {
  const open = await Promise.all(paths.map((path) => fetch(to.url + path)))
  return () => Promise.all(open.map(async (reply) => readEvents<any>(await reply.text())))
}

test('a job returns its images and reports its progress', async () => {
  using held = holdEngine()
  const { id, links } = await post({ ...small, steps: 3, preview: true })
  let text = ''
  for await (const chunk of (await fetch(server.url + links.events)).body!) {
    text += Buffer.from(chunk).toString('utf8')
    if (text.includes('event: preview')) held.open() // the image takes its place
  }
  const events = readEvents<any>(text)
  expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(['started', 'progress', 'preview', 'image', 'done']))
  const ids = events.map((event) => Number(event.id))
  expect(ids).toEqual([...ids].sort((a, b) => a - b))
  const preview = events.find(({ event }) => event === 'preview')!.data as { url: string; width: number }
  const shown = await RawImage.read(Buffer.from(preview.url.replace('data:image/png;base64,', ''), 'base64'))
  expect(shown.width).toBe(preview.width)

  const job = await get(id)
  expect(job).toMatchObject({ status: 'succeeded', request: { prompt: 'a red circle' }, result: { images: [{ seed: '7', width: 64, height: 64 }] } })
  const [image] = job.result!.images
  expect(image!.metadata.parameters).toContain('Seed: 7')
  const reply = await fetch(`${server.url}${image!.url}`)
  expect([reply.headers.get('content-type'), reply.headers.get('etag'), reply.headers.get('cache-control')]).toEqual([
    'image/png',
    `"${image!.sha256}"`,
    expect.stringContaining('immutable'),
  ])
  const picture = await RawImage.read(new Uint8Array(await reply.arrayBuffer()))
  expect([picture.width, picture.height]).toEqual([64, 64])
  const known = await ask(server, image!.url, { headers: { 'if-none-match': `"${image!.sha256}"` } })
  expect([known.status, known.text]).toEqual([304, ''])
  expect((await ask(server, `/latent/v1/jobs/${id}/images/1.png`)).status).toBe(404)
})

test('a reopened stream continues after the last event and skips superseded ones', async () => {
  const { id, links } = await post({ ...small, steps: 4, preview: true })
  await finished(id)
  const all = readEvents((await ask(server, links.events)).text)
  expect(all.filter(({ event }) => event === 'preview')).toEqual([]) // the image has taken their place
  expect(all.filter(({ data }) => data.type === 'progress' && data.phase === 'sample')).toHaveLength(1)
  const behind = readEvents((await ask(server, links.events, { headers: { 'last-event-id': all.at(-2)!.id! } })).text)
  expect(behind).toEqual(all.slice(-1))
  const nothing = await ask(server, links.events, { headers: { 'last-event-id': all.at(-1)!.id! } })
  expect([nothing.status, nothing.text]).toEqual([204, '']) // an EventSource asks no more
})

test('the same key returns the same job; with another request it is rejected', async () => {
  const headers = { 'idempotency-key': 'one' }
  const [first, again] = await Promise.all([post(small, headers), post(small, headers)])
  expect(again.id).toBe(first.id)
  const other = await ask(server, '/latent/v1/jobs', { body: { ...small, seed: 8 }, headers })
  expect([other.status, other.json.error.code]).toEqual([409, 'ERR_IDEMPOTENCY'])
  expect((await post(small, { 'idempotency-key': 'two' })).id).not.toBe(first.id)
  await finished(first.id)
})

test('forms with files work like JSON, and the image of a job can start another', async () => {
  const first = await post(small)
  const { result } = await finished(first.id)
  const { url } = result!.images[0]!
  const bytes = new Uint8Array(await (await fetch(`${server.url}${url}`)).arrayBuffer())
  const options = { ...small, strength: 0.5 }
  const form = new FormData()
  form.set('request', JSON.stringify(options))
  form.set('image', new Blob([bytes]), 'start.png')
  const asForm = (await (await fetch(`${server.url}/latent/v1/jobs`, { method: 'POST', body: form })).json()) as Job
  const asJson = await post({ ...options, image: `data:image/png;base64,${Buffer.from(bytes).toString('base64')}` })
  const asPlace = await post({ ...options, image: { job: first.id, index: 0 } })
  const hashes = []
  for (const { id } of [asForm, asJson, asPlace]) hashes.push((await finished(id)).result!.images[0]!.sha256)
  expect(new Set(hashes).size).toBe(1)
  expect(hashes[0]).not.toBe(result!.images[0]!.sha256)
  expect(asJson.request.image).toBe('(an image)')
  expect((await ask(server, '/latent/v1/jobs', { body: { image: { job: first.id, index: 4 } } })).status).toBe(400)
})

test('waiting jobs can be reordered and cancelled', async () => {
  using held = holdEngine()
  const running = await post(long)
  const [second, third, batch, fourth] = [await post(small), await post(small), await post({ ...small, priority: 'batch' }), await post(small)]
  const order = async () => ((await ask(server, '/latent/v1/server')).json.status as ServerStatus).jobs
  expect(await order()).toEqual([running, second, third, fourth, batch].map(({ id }) => id))
  expect(await get(batch.id)).toMatchObject({ status: 'queued', position: 4 })
  await ask(server, `/latent/v1/jobs/${batch.id}`, { method: 'PATCH', body: { position: 0 } })
  expect(await order()).toEqual([running, batch, second, third, fourth].map(({ id }) => id))
  const fifth = await post(small)
  expect(await order()).toEqual([running, batch, second, third, fourth, fifth].map(({ id }) => id))

  expect((await ask(server, `/latent/v1/jobs/${third.id}`, { method: 'DELETE' })).json).toMatchObject({ status: 'cancelled' })
  expect((await ask(server, `/latent/v1/jobs/${running.id}`, { method: 'DELETE' })).json).toMatchObject({
    status: 'cancelled',
    error: { code: 'ERR_CANCELLED' },
  })
  held.open()
  for (const { id } of [batch, second, fourth]) expect((await finished(id)).status).toBe('succeeded')
  const events = readEvents((await ask(server, running.links.events)).text)
  expect(events.at(-1)).toMatchObject({ event: 'error', data: { status: 'cancelled' } })
  const list = (await ask(server, '/latent/v1/jobs?status=cancelled')).json.jobs as Job[]
  expect(list.map(({ id }) => id).sort()).toEqual([running.id, third.id].sort())
  expect((await ask(server, `/latent/v1/jobs/${third.id}`, { method: 'DELETE' })).status).toBe(204)
  expect((await ask(server, `/latent/v1/jobs/${third.id}`)).status).toBe(404)
})

test('invalid requests are rejected before they are queued', async () => {
  const refused = async (body: object) => {
    const { status, json } = await ask(server, '/latent/v1/jobs', { body })
    return [status, json.error.code, json.error.message as string]
  }
  expect(await refused({ steps: 401 })).toEqual([400, 'ERR_INVALID_ARG', expect.stringContaining('allows 400')])
  expect(await refused({ width: 640, height: 640 })).toEqual([400, 'ERR_INVALID_ARG', expect.stringContaining('allows 200000')])
  expect(await refused({ steps: 300, count: 4 })).toEqual([400, 'ERR_INVALID_ARG', expect.stringContaining('1200 steps')])
  expect(await refused({ promt: 'x' })).toEqual([400, 'ERR_INVALID_ARG', 'There is no option "promt"'])
  expect(await refused({ hires: { scael: 2 } })).toEqual([400, 'ERR_INVALID_ARG', 'There is no option "scael" in hires'])
  expect(await refused({ rng: 'x' })).toEqual([400, 'ERR_INVALID_ARG', 'rng must be one of philox, mt19937'])
  expect(await refused({ steps: '5' })).toEqual([400, 'ERR_INVALID_ARG', 'steps must be integer'])
  expect(await refused({ model: '../../etc/passwd' })).toEqual([404, 'ERR_NOT_FOUND', expect.any(String)])
  expect(await refused({ image: '/etc/passwd.png' })).toEqual([400, 'ERR_INVALID_ARG', expect.any(String)])
  expect(await refused({ image: 'https://example.org/a.png' })).toEqual([400, 'ERR_INVALID_ARG', expect.stringContaining('does not fetch')])
  const corners = { x: 0, y: 0, width: 1, height: 1 }
  expect(await refused({ boxes: [{ label: 'x'.repeat(300), ...corners }] })).toEqual([400, 'ERR_INVALID_ARG', expect.any(String)])
  expect(await refused({ boxes: [{ label: 1, ...corners, more: 'x' }] })).toEqual([400, 'ERR_INVALID_ARG', expect.any(String)])
  expect(await refused({ prompt: 5 })).toEqual([400, 'ERR_INVALID_ARG', 'prompt must be string'])
  expect(server.lines).toEqual([])
})

test('errors found by the engine fail the job, not the server', async () => {
  const { id } = await post({ ...small, width: 65 })
  expect(await finished(id)).toMatchObject({
    status: 'failed',
    error: { code: 'ERR_INVALID_ARG', message: expect.stringContaining('width'), retriable: false },
  })
})

// Windows has no list of processes that is as easily read.
const onPosix = process.platform === 'win32' ? test.skip : test
onPosix('a lost engine costs the job that ran', async () => {
  expect((await ask(server, '/latent/v1/models/tiny-scenes/load', { method: 'POST' })).status).toBe(200)
  const { models } = (await ask(server, '/latent/v1/models')).json as { models: { loaded: boolean }[] }
  expect(models).toEqual([expect.objectContaining({ name: 'tiny-scenes', loaded: true, pulled: false })])
  const engines = enginesOf(process.pid)
  expect(engines.length).toBeGreaterThan(0)
  // Stopped, so that the job cannot end before: host.test.ts kills engines in the middle of a step.
  for (const pid of engines) process.kill(pid, 'SIGSTOP')
  const running = await post(long)
  const next = await post(small)
  expect((await get(running.id)).status).toBe('running')
  for (const pid of engines) process.kill(pid, 'SIGKILL')
  expect(await finished(running.id)).toMatchObject({ status: 'failed', error: { code: 'ERR_ENGINE_EXITED', retriable: true } })
  expect((await finished(next.id)).status).toBe('succeeded')
  expect(server.lines.splice(0).join('\n')).toContain('SIGKILL')
})

/** Processes that this one started and that run the engine's program. */
function enginesOf(parent: number): number[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n')
  return lines.flatMap((line) => {
    const [, pid, ppid, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    return Number(ppid) === parent && args!.includes('engine-main.js') ? [Number(pid)] : []
  })
}

test('tokens, estimates and model information', async () => {
  const tokens = await ask(server, '/latent/v1/tokenize', { body: { prompt: 'a (red:1.2) circle' } })
  expect(tokens.json).toMatchObject({
    tokens: 3,
    window: 75,
    windows: 1,
    truncated: false,
    chunks: [{ text: ['a</w>', 'red</w>', 'circle</w>'], weights: [1, 1.2, 1] }],
  })
  const { json: one } = await ask(server, '/latent/v1/estimate', { body: { count: 1 } })
  const { json: four } = await ask(server, '/latent/v1/estimate', { body: { width: 128, height: 128 } })
  expect(one).toMatchObject({ width: 64, height: 64 })
  expect(four.peakBytes).toBeGreaterThan(one.peakBytes as number)
  const { json: details } = await ask(server, '/latent/v1/models/tiny-scenes')
  expect(details).toMatchObject({ kind: 'text', defaults: { width: 64, sampler: 'ddim' }, sizeMultiple: 4, loaded: true })
  expect((await ask(server, '/latent/v1/models/tiny-scenes/unload', { method: 'POST' })).status).toBe(204)
  expect((await ask(server, '/latent/v1/models/tiny-scenes')).json.loaded).toBe(false)
  expect((await ask(server, '/latent/v1/models/tiny-scenes/load', { method: 'POST' })).json.loaded).toBe(true)
  expect((await ask(server, '/latent/v1/models/tiny-scenes', { method: 'DELETE' })).status).toBe(403)
})

test('the queue is limited, and closing the server notifies waiting clients', async () => {
  const one = await startServer({ limits: { maxQueue: 1, maxSteps: 400, maxTotalSteps: 400 }, graceMs: 0 })
  using _ = holdEngine()
  try {
    const body = long
    const running = (await ask(one, '/latent/v1/jobs', { body })).json as Job
    expect((await ask(one, '/latent/v1/jobs', { body })).status).toBe(202)
    expect((await ask(one, '/readyz')).status).toBe(503)
    const full = await ask(one, '/latent/v1/jobs', { body })
    expect([full.status, full.json.error.code, Number(full.headers['retry-after'])]).toEqual([429, 'ERR_BUSY', expect.any(Number)])
    const told = await listen(one, [running.links.events, '/latent/v1/events'])
    await one.close()
    const [job, status] = await told()
    expect(job!.at(-1)).toMatchObject({ event: 'error', data: { error: { code: 'ERR_CLOSING', retriable: true } } })
    expect(status!.map(({ event }) => event)).toEqual([...status!.slice(0, -1).map(() => 'status'), 'error'])
    await expect(ask(one, '/healthz')).rejects.toThrow()
  } finally {
    await one.close()
  }
})

test('a job that runs when the server closes is finished and reported', async () => {
  const one = await startServer({ limits: { maxSteps: 400, maxTotalSteps: 400 }, graceMs: 120_000 })
  using held = holdEngine()
  try {
    const { links } = (await ask(one, '/latent/v1/jobs', { body: { ...small, steps: 40 } })).json as Job
    const waiting = (await ask(one, '/latent/v1/jobs', { body: small })).json as Job
    const told = await listen(one, [links.events, waiting.links.events])
    const closed = one.close()
    held.open()
    const [ran, waited] = await told()
    expect(ran!.slice(-2).map(({ event }) => event)).toEqual(['image', 'done'])
    expect(waited!.at(-1)).toMatchObject({ event: 'error', data: { error: { code: 'ERR_CLOSING' } } })
    await closed
  } finally {
    await one.close()
  }
})

test('requests that are made together are answered like single ones', async () => {
  const one = await startServer({ maxBatch: 4, graceMs: 0 })
  const draw = (prompt: string, seed: number, more = {}) =>
    ask(one, '/v1/images/generations', { body: { prompt, seed, steps: 4, size: '64x64', ...more } })
  const status = async () => (await ask(one, '/latent/v1/server')).json.status as ServerStatus
  const soon = () => new Promise((resolve) => setTimeout(resolve, 5))
  try {
    // The first one is held while the others come, so that they wait together and in this order.
    using held = holdEngine(({ prompt }) => prompt === 'a')
    const asked = [draw('a', 1)]
    const later = [() => draw('b', 2), () => draw('c', 3), () => draw('d', 4, { size: '128x128' }), () => draw('e', 5, { n: 3 })]
    for (const [queued, next] of later.entries()) {
      while (!(await status()).running || (await status()).queued !== queued) await soon()
      asked.push(next())
    }
    while ((await status()).queued !== later.length) await soon()
    held.open()
    const together = await Promise.all(asked)
    expect(together.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    expect(together.map(({ json }) => json.data.length)).toEqual([1, 1, 1, 1, 3])
    const alone = await draw('b', 2)
    expect(together[1]!.json.latent).toMatchObject({ seeds: ['2'], options: alone.json.latent.options })
    const timings = [...together, alone].map(({ json }) => json.latent.timings as { sampleMs: number; sharedBy: number })
    expect(timings.map(({ sharedBy }) => sharedBy)).toEqual([1, 2, 2, 1, 1, 1])
    // The time that two of them share counts once.
    const seconds = timings.reduce((sum, { sampleMs, sharedBy }) => sum + sampleMs / sharedBy / 1000, 0)
    const { text } = await ask(one, '/metrics')
    expect(Number(/^latent_stage_seconds_sum{stage="sample"} (\S+)$/m.exec(text)?.[1])).toBeCloseTo(seconds, 6)
    expect(text).toMatch(/^# HELP latent_stage_seconds .*equal parts/m)
    // The first request loaded the model.
    expect(text).toMatch(/^latent_model_load_seconds_count 1$/m)
    expect(Number(/^latent_model_load_seconds_sum (\S+)$/m.exec(text)?.[1])).toBeGreaterThan(0)
  } finally {
    await one.close()
  }
})
