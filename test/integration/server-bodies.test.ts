/** Bodies of requests: forms that are malformed, and the size that all bodies may have. */
import { connect } from 'node:net'
import { holdEngine } from '../helpers/held-engine'
import { ask, startServer, type Server } from '../helpers/server'

const limits = { maxBodyBytes: 20_000, maxFileBytes: 15_000 }
let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({ limits })
})
afterAll(() => server.close())

const end = '\r\n'
const type = (boundary = 'b') => ({ 'content-type': `multipart/form-data${boundary === '' ? '' : `; boundary=${boundary}`}` })
const field = (name: string, value: string, extra = '') => `--b${end}Content-Disposition: form-data; name="${name}"${end}${extra}${end}${value}${end}`
const file = (name: string, value: string) =>
  `--b${end}Content-Disposition: form-data; name="${name}"; filename="x.png"${end}Content-Type: image/png${end}${end}${value}${end}`
const last = `--b--${end}`

describe('forms', () => {
  test.each([
    ['no boundary', '', last],
    ['no end', 'b', field('request', '{"prompt":"x"}')],
    ['an end within a file', 'b', file('image', 'abc').slice(0, -2)],
    ['no JSON in the field', 'b', field('request', '{"prompt":') + last],
    ['no JSON in a field of that type', 'b', field('request', '{"prompt":', `Content-Type: application/json${end}`) + last],
    ['another field', 'b', field('prompt', 'x') + last],
    ['another file', 'b', file('picture', 'x') + last],
  ])('with %s is the fault of the client', async (_, boundary, body) => {
    const { status, json } = await ask(server, '/latent/v1/jobs', { body, headers: type(boundary) })
    expect([status, json.error.code]).toEqual([400, 'ERR_INVALID_ARG'])
    expect(server.lines.splice(0)).toEqual([])
  })

  test('the field may have the type JSON', async () => {
    const body = field('request', '{"prompt":"x","steps":1}', `Content-Type: application/json${end}`) + last
    const { status, json } = await ask(server, '/latent/v1/jobs', { body, headers: type() })
    expect({ status, json }).toMatchObject({ status: 202, json: { request: { prompt: 'x', steps: 1 } } })
  })
})

describe('limits of bodies', () => {
  /** Sends the head of a request, and gives what is answered to it alone. */
  function answerToHead(to: Server, headers: string[], body = ''): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(to.port, '127.0.0.1', () =>
        socket.write(['POST /latent/v1/jobs HTTP/1.1', 'Host: localhost', ...headers, '', body].join(end)),
      )
      socket.once('data', (data) => {
        socket.destroy()
        resolve(data.toString().split(end)[0]!)
      })
      socket.on('error', reject)
    })
  }

  test.each(['application/json', 'multipart/form-data; boundary=b'])('%s: what is announced as too large is not read', async (mime) => {
    expect(await answerToHead(server, [`Content-Type: ${mime}`, 'Content-Length: 20001'])).toMatch(/ 413 /)
  })

  test('the parts of a form count together, also without a content length', async () => {
    const body = field('request', '{}') + file('image', 'a'.repeat(10_000)) + file('mask', 'a'.repeat(10_001)) + last
    const chunked = `${Buffer.byteLength(body).toString(16)}${end}${body}${end}0${end}${end}`
    expect(await answerToHead(server, [`Content-Type: ${type()['content-type']}`, 'Transfer-Encoding: chunked'], chunked)).toMatch(/ 413 /)
    expect(server.lines).toEqual([])
  })

  test('a second field is rejected', async () => {
    const { status } = await ask(server, '/latent/v1/jobs', { body: field('request', '{}') + field('request', '{}') + last, headers: type() })
    expect(status).toBe(413)
  })

  test('bodies are not read while the queue is full', async () => {
    const one = await startServer({ limits: { maxQueue: 0, maxSteps: 400, maxTotalSteps: 400 }, graceMs: 0 })
    using _ = holdEngine()
    try {
      const body = { prompt: 'x', steps: 400 }
      const headers = { 'idempotency-key': 'one' }
      const { json } = await ask(one, '/latent/v1/jobs', { body, headers })
      expect(await answerToHead(one, ['Content-Type: application/json', 'Content-Length: 1000'])).toMatch(/ 429 /)
      expect((await ask(one, '/latent/v1/jobs', { body, headers })).json.id).toBe(json.id)
    } finally {
      await one.close()
    }
  })

  test('large bodies share one limit', async () => {
    const one = await startServer({ limits: { maxBodyBytes: 100_000 } })
    const sockets = Array.from({ length: 8 }, () => connect(one.port, '127.0.0.1'))
    try {
      const head = ['POST /latent/v1/tokenize HTTP/1.1', 'Host: localhost', 'Content-Type: application/json', 'Content-Length: 100000', '', ''].join(
        end,
      )
      await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.write(head, resolve))))
      const headers = { 'content-type': 'application/json' }
      const large = { body: JSON.stringify({ prompt: 'x', steps: 1, seed: 1 }).padEnd(90_000), headers }
      /** Asks until the server has heard of what was done before. A reset tells that it would not read a body that it had refused. */
      const until = async (path: string, status: number) => {
        while ((await ask(one, path, large).catch(() => undefined))?.status !== status) await new Promise((resolve) => setTimeout(resolve, 5))
      }
      await until('/latent/v1/estimate', 429)
      expect(await answerToHead(one, ['Content-Type: application/json', 'Content-Length: 100000'])).toMatch(/ 429 /)
      expect((await ask(one, '/latent/v1/estimate', { body: {} })).status).toBe(200)
      for (const socket of sockets) socket.destroy()
      await until('/latent/v1/jobs', 202)
    } finally {
      for (const socket of sockets) socket.destroy()
      await one.close()
    }
  })
})
