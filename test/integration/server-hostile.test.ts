/** Requests that mean harm or make no sense: each is refused, none is a fault of the server, and it goes on. LATENT_TEST_HOSTILE=10000 sends that many. */
import { connect } from 'node:net'
import { ask, startServer, type Server } from '../helpers/server'

let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({
    requestTimeoutMs: 2000,
    limits: { maxBodyBytes: 100_000, maxFileBytes: 50_000, maxPixels: 70_000, maxSteps: 4, maxTotalSteps: 8 },
  })
})
afterAll(() => server.close())

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
  expect(answer === '' ? 'HTTP/1.1 400' : answer).toMatch(/^HTTP\/1\.1 4\d\d/)
})

test('a body that is too large is not read', async () => {
  const reply = ask(server, '/v1/images/generations', { body: 'x'.repeat(200_000), headers: { 'content-type': 'application/json' } })
  expect((await reply.catch(() => ({ status: 413 }))).status).toBe(413)
  expect(server.lines).toEqual([])
})
