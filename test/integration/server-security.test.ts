/** Who the server answers: names, origins, tokens, and bodies that pages of other sites can send without asking. */
import { connect } from 'node:net'
import { createServer } from '../../packages/server/src/index'
import { ask, startServer, type Server } from '../helpers/server'

const token = 'a-token-of-some-length'
let open: Server & { lines: string[] }
let closed: Server & { lines: string[] }
beforeAll(async () => {
  open = await startServer({ allowOrigins: ['https://friend.example'], allowHosts: ['studio.local'] })
  closed = await startServer({ token })
})
afterAll(async () => {
  await Promise.all([open?.close(), closed?.close()])
})

const job = { prompt: 'x', steps: 1 }
const statusOf = async (server: Server, headers: Record<string, string>, path = '/latent/v1/server') => (await ask(server, path, { headers })).status

test.each([
  ['localhost', 200],
  ['127.0.0.1:7861', 200],
  ['[::1]:7861', 200],
  ['LOCALHOST', 200],
  ['studio.local', 200],
  ['evil.example', 421],
  ['127.0.0.1.evil.example', 421],
  ['localhost.evil.example:7861', 421],
  ['evil.example#localhost', 421],
  ['localhost@evil.example', 421],
  ['127.0.0.2', 421],
])('rebinding: the name %p is answered %p', async (host, status) => {
  expect(await statusOf(open, { host })).toBe(status)
})

test('a request without a host name is rejected', async () => {
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(open.port, '127.0.0.1', () => socket.write('GET /latent/v1/server HTTP/1.0\r\n\r\n'))
    let all = ''
    socket.on('data', (data) => (all += data.toString()))
    socket.on('end', () => resolve(all))
    socket.on('error', reject)
  })
  expect(text).toMatch(/^HTTP\/1\.1 4\d\d /)
})

describe('pages of other sites', () => {
  const host = () => `127.0.0.1:${open.port}`

  test.each([
    ['no origin, as of programs', {}, 200],
    ['another site', { origin: 'https://evil.example' }, 403],
    ['no site, as of a file or a sandbox', { origin: 'null' }, 403],
    ['this name on another port', { origin: 'http://127.0.0.1:1' }, 403],
    ['a longer name', { origin: 'http://localhost.evil.example' }, 403],
    ['a friend', { origin: 'https://friend.example' }, 200],
    ['a friend without TLS', { origin: 'http://friend.example' }, 403],
    ['an image or script tag of another site', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }, 403],
    ['a frame of another site', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }, 403],
    ['a link of another site', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }, 200],
    ['the address bar', { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }, 200],
  ])('%s', async (_, headers: Record<string, string>, status) => {
    expect(await statusOf(open, { host: host(), ...headers })).toBe(status)
  })

  test('its own page', async () => {
    expect(await statusOf(open, { host: host(), origin: `http://${host()}`, 'sec-fetch-site': 'same-origin' })).toBe(200)
  })

  test('an allowed origin may read responses, without credentials; others may not', async () => {
    const { headers } = await ask(open, '/latent/v1/server', { headers: { origin: 'https://friend.example' } })
    expect([headers['access-control-allow-origin'], headers['access-control-allow-credentials']]).toEqual(['https://friend.example', undefined])
    const preflight = { method: 'OPTIONS', headers: { origin: 'https://friend.example', 'access-control-request-method': 'POST' } }
    expect(await ask(open, '/latent/v1/jobs', preflight)).toMatchObject({
      status: 204,
      headers: { 'access-control-allow-origin': 'https://friend.example' },
    })
    const other = await ask(open, '/latent/v1/jobs', { ...preflight, headers: { ...preflight.headers, origin: 'https://evil.example' } })
    expect([other.status, other.headers['access-control-allow-origin']]).toEqual([403, undefined])
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'text/plain;application/json', ''])(
    'a body of the type %p starts nothing',
    async (type) => {
      const { status, headers } = await ask(open, '/latent/v1/jobs', { body: JSON.stringify(job), headers: { 'content-type': type } })
      expect([status, headers.location]).toEqual([415, undefined])
      expect((await ask(open, '/latent/v1/jobs')).json.jobs).toEqual([])
    },
  )
})

describe('the token', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

  test.each([
    [`Bearer ${token}`, 200],
    [`bearer ${token}`, 200],
    [basic(`anyone:${token}`), 200],
    [basic(`:${token}`), 200],
    [basic(`${token}:`), 401],
    [basic(token), 401],
    [`Bearer ${token}x`, 401],
    [`Bearer ${token.slice(0, -1)}`, 401],
    ['Bearer', 401],
    ['', 401],
    [token, 401],
  ])('%p', async (authorization, status) => {
    const reply = await ask(closed, '/latent/v1/server', { headers: { authorization } })
    expect(reply.status).toBe(status)
    if (status === 401) expect(reply.headers['www-authenticate']).toMatch(/^Basic realm=/)
  })

  test('without a token an empty Authorization header is ignored', async () => {
    expect(await statusOf(open, { authorization: '' })).toBe(200)
  })

  test('probes need no token; every other path does, known or not', async () => {
    for (const path of ['/healthz', '/readyz']) expect(await statusOf(closed, {}, path)).toBe(200)
    for (const path of ['/', '/openapi.json', '/latent/v1/jobs/x', '/nothing', '/healthz/..', '/%68ealthz/x'])
      expect(await statusOf(closed, {}, path)).toBe(401)
  })

  test('addresses other than loopback need one', async () => {
    await expect(createServer({ host: '0.0.0.0', port: 0 })).rejects.toThrow('set a token')
    await expect(createServer({ token: 'short' })).rejects.toThrow('8 to 256')
  })
})

test('headers of every response: no sniffing, no framing, no storing, an id', async () => {
  for (const path of ['/latent/v1/server', '/nothing']) {
    const { headers } = await ask(open, path)
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', 'x-request-id': expect.any(String) })
    expect(headers['content-security-policy']).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
    expect(headers['x-powered-by']).toBeUndefined()
  }
})

test('the server does not wait for a body that never arrives', async () => {
  const impatient = await startServer({ requestTimeoutMs: 1000 })
  try {
    expect(await answerToHalf(impatient)).toMatch(/^HTTP\/1\.1 408 /)
    // So impatient that a busy machine may be too late with a whole request, too.
    let listed = await ask(impatient, '/latent/v1/jobs')
    while (listed.status === 408) listed = await ask(impatient, '/latent/v1/jobs')
    expect(listed.json.jobs).toEqual([])
  } finally {
    await impatient.close()
  }
})

/** The answer to a request whose body is not all sent. */
function answerToHalf({ port }: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    let all = ''
    const head = 'POST /latent/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"prompt":'
    const socket = connect(port, '127.0.0.1', () => socket.write(head))
    socket.on('data', (data) => (all += data.toString()))
    socket.on('close', () => resolve(all))
    socket.on('error', reject)
  })
}
