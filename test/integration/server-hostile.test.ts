/** Requests that mean harm or make no sense: each is refused, none is a fault of the server, and it goes on. LATENT_TEST_HOSTILE=10000 sends that many. */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { leaksIn } from '../helpers/leaks'
import { ask as send, startServer, type Ask, type Reply, type Server } from '../helpers/server'

const folder = mkdtempSync(path.join(tmpdir(), 'latent-hostile-'))
const files = ['a-model.gguf', 'broken.gguf', 'gone.gguf']
copyFileSync(path.join('models', 'tiny-scenes.gguf'), path.join(folder, files[0]!))
for (const file of files.slice(1)) writeFileSync(path.join(folder, file), 'GGUF and nothing else')

let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({
    modelsDir: folder,
    limits: { maxBodyBytes: 100_000, maxFileBytes: 50_000, maxPixels: 70_000, maxSteps: 4, maxTotalSteps: 8 },
  })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** What answers gave away: every answer of this file is looked at. */
const leaks: unknown[] = []
afterEach(() => expect(leaks.splice(0)).toEqual([]))

/** The calls of the web UI that name the files of models, without their folders. */
const namesFiles = /^\/sdapi\/v1\/(sd-models|options)\b/

function inspect(call: string, reply: Pick<Reply, 'text'> & Partial<Reply>, mayName: readonly string[] = []): void {
  const found = leaksIn(reply, [folder, path.basename(folder), ...(namesFiles.test(call) ? [] : files)]).filter((each) => !mayName.includes(each))
  if (found.length > 0) leaks.push([call, found, reply.text.slice(0, 300)])
}

async function ask(to: Pick<Server, 'port'>, call: string, request?: Ask, mayName?: readonly string[]): Promise<Reply> {
  const reply = await send(to, call, request)
  inspect(call, reply, mayName)
  return reply
}

/** Numbers that are the same in every run. */
function random(seed: number) {
  let state = seed
  const next = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  return { next, of: <T>(list: readonly T[]): T => list[next(list.length)]! }
}

const values = [
  null,
  true,
  -1,
  1e308,
  1.5,
  '',
  '..',
  'x'.repeat(2000),
  [],
  {},
  [[[]]],
  { job: 'x', index: -1 },
  '\u0000',
  'NaN',
  '__proto__',
  2 ** 53,
  'data:image/png;base64,',
  'http://169.254.169.254/',
  'AAAA',
]
const keys = [
  'prompt',
  'model',
  'steps',
  'width',
  'height',
  'n',
  'count',
  'size',
  'seed',
  'image',
  'mask',
  'init_images',
  'sampler',
  'sampler_name',
  'stream',
  'preview',
  'batch_size',
  'n_iter',
  'override_settings',
  '__proto__',
  'constructor',
  'latent',
  'quality',
  'boxes',
  'source',
  'position',
  'alwayson_scripts',
]
const calls = [
  ...[
    '/latent/v1/jobs',
    '/latent/v1/tokenize',
    '/latent/v1/estimate',
    '/latent/v1/models/pull',
    '/latent/v1/models/%2e%2e/load',
    '/latent/v1/jobs/x/events',
  ],
  ...[
    '/v1/images/generations',
    '/v1/images/edits',
    '/v1/images/variations',
    '/v1/models/..%2f',
    '/sdapi/v1/txt2img',
    '/sdapi/v1/img2img',
    '/sdapi/v1/options',
  ],
  ...[
    '/sdapi/v1/png-info',
    '/sdapi/v1/extra-single-image',
    '/sdapi/v1/progress',
    '/latent/v1/jobs?status=x&cursor=%ff',
    '/%',
    '/\u00ff',
    '//',
    '/latent/v1/jobs/x/images/../../x',
  ],
]
const types = [
  'application/json',
  'multipart/form-data; boundary=x',
  'multipart/form-data',
  'text/plain',
  'application/x-www-form-urlencoded',
  'application/json; charset=utf-7',
  '*/*',
]

function body(of: ReturnType<typeof random>): string {
  const object = Object.fromEntries(Array.from({ length: 1 + of.next(5) }, () => [of.of(keys), of.of(values)]))
  const json = JSON.stringify({ steps: 1, ...object })
  switch (of.next(6)) {
    case 0:
      return json.slice(0, of.next(json.length))
    case 1:
      return `--x\r\nContent-Disposition: form-data; name="${of.of(keys)}"${of.next(2) ? '; filename="../../x"' : ''}\r\n\r\n${json}\r\n--x${of.next(2) ? '--' : ''}\r\n`
    case 2:
      return '['.repeat(5000)
    case 3:
      return ''
    default:
      return json
  }
}

const count = Number(process.env.LATENT_TEST_HOSTILE ?? 300)
test(`${count} malformed requests: none is a fault of the server`, async () => {
  const wrong: unknown[] = []
  for (let i = 0; i < count; i++) {
    const of = random(i + 1)
    const [path, type, text, method] = [of.of(calls), of.of(types), body(of), of.of(['POST', 'POST', 'POST', 'POST', 'PATCH', 'DELETE', 'GET'])]
    const reply = await ask(server, encodeURI(path).replaceAll('%25', '%'), { method, body: text, headers: { 'content-type': type } }).catch(
      (error: Error) => ({ status: 0, text: error.message }),
    )
    // A reset tells that the server would read no more of a body that it had refused.
    if (reply.status >= 500 || (reply.status === 0 && !/ECONNRESET|EPIPE/.test(reply.text)))
      wrong.push([i, method, path, type, text.slice(0, 300), reply.status, reply.text.slice(0, 300)])
  }
  expect(wrong).toEqual([])
  expect(server.lines).toEqual([])
  expect((await ask(server, '/healthz')).status).toBe(200)
})

test.each([
  'GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n',
  'GET / HTTP/9.9\r\nHost: localhost\r\n\r\n',
  'POST /latent/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'POST /latent/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n',
  `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
  '\u0016\u0003\u0001\u0002',
])('what is no HTTP is answered 4xx: %#', async (text) => {
  const answer = await new Promise<string>((resolve) => {
    let all = ''
    const socket = connect(server.port, '127.0.0.1', () => socket.write(text))
    socket.on('data', (data) => (all += data.toString()))
    socket.on('error', () => resolve(all))
    socket.on('close', () => resolve(all))
  })
  inspect(text, { text: answer })
  expect(answer === '' ? 'HTTP/1.1 400' : answer).toMatch(/^HTTP\/1\.1 4\d\d/)
})

test('a body that is too large is not read', async () => {
  const reply = ask(server, '/v1/images/generations', { body: 'x'.repeat(200_000), headers: { 'content-type': 'application/json' } })
  expect((await reply.catch(() => ({ status: 413 }))).status).toBe(413)
  expect(server.lines).toEqual([])
})

describe('no answer tells about the machine', () => {
  test('whatever is called, with every method', async () => {
    const { paths } = (await ask(server, '/openapi.json')).json as { paths: Record<string, Record<string, unknown>> }
    const calls = Object.keys(paths).map((each) => each.replace(/\{\w+\}/g, 'broken'))
    expect(calls.length).toBeGreaterThan(40)
    // Streams that go on are looked at by their first bytes elsewhere.
    for (const call of [...calls, '/', '/assets/x', '/internal/ping', '/openapi.json'].filter((each) => !each.endsWith('/events'))) {
      for (const method of ['GET', 'POST', 'DELETE', 'PATCH', 'PUT', 'OPTIONS', 'HEAD'] as const) {
        const body = method === 'POST' ? { model: 'broken', prompt: 'x', image: folder, init_images: [folder], source: folder } : undefined
        const { status } = await ask(server, call, { method, body }, ['broken.gguf'])
        expect([call, method, status < 500]).toEqual([call, method, true])
      }
    }
  })

  test('a model that is broken or gone is named without its folder', async () => {
    rmSync(path.join(folder, 'gone.gguf'))
    for (const model of ['broken', 'gone']) {
      const file = `${model}.gguf`
      const answers: Reply[] = []
      for (const [call, body] of [
        ['/latent/v1/jobs', { model, prompt: 'x' }],
        ['/latent/v1/tokenize', { model, prompt: 'x' }],
        ['/latent/v1/estimate', { model }],
        ['/v1/images/generations', { model, prompt: 'x' }],
        ['/v1/images/generations', { model, prompt: 'x', stream: true }],
        ['/sdapi/v1/txt2img', { prompt: 'x', override_settings: { sd_model_checkpoint: model } }],
        [`/latent/v1/models/${model}/load`, ''],
      ] as const)
        answers.push(await ask(server, call, { method: 'POST', body }, [file]))
      expect(answers.map(({ status, text }) => [status, text.includes(file)])).toEqual(answers.map(() => [422, true]))
    }
    expect(server.lines.some((line) => line.includes(path.join(folder, 'gone.gguf')))).toBe(true)
  })

  test('a job that fails while it is made', async () => {
    const { json } = await ask(server, '/latent/v1/jobs', { body: { prompt: 'x', steps: 1, width: 64, height: 64, sampler: '/etc/../x' } })
    const events = await ask(server, `/latent/v1/jobs/${json.id}/events`)
    expect(events.text).toContain('event: error')
    await ask(server, `/latent/v1/jobs/${json.id}`)
    for (const call of ['/sdapi/v1/sd-models', '/sdapi/v1/options', '/metrics', '/latent/v1/models', '/latent/v1/server', '/v1/models'])
      await ask(server, call)
  })

  test('the search for that finds what it is for', () => {
    const trace = new Error('x').stack!
    expect(leaksIn({ text: JSON.stringify({ error: trace }) })).toEqual(expect.arrayContaining([process.cwd(), 'a stack trace']))
    for (const text of [trace, 'x\\n    at Object.<anonymous> (index.js:1:1)', 'at async Models.info (x)'])
      expect(leaksIn({ text })).toContain('a stack trace')
    expect(leaksIn({ text: 'in node_modules/fastify' })).toEqual(['node_modules'])
    expect(leaksIn({ text: '', headers: { location: `/x/${path.basename(folder)}` } }, [path.basename(folder)])).toHaveLength(1)
    expect(leaksIn({ text: JSON.stringify({ message: `${tmpdir()}/x` }) })).toContain(tmpdir())
    const inImage = Buffer.from(`${'x'.repeat(300)}${tmpdir()}/x`).toString('base64')
    expect(leaksIn({ text: JSON.stringify({ images: [inImage] }) })).toContain(tmpdir())
    for (const text of ['a cat (black) at a table', 'steps is 5; this server allows 4', 'one at 5 (of 7)']) expect(leaksIn({ text })).toEqual([])
  })
})
