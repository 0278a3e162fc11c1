/** An S3-compatible store on loopback for tests. It checks signatures (AWS Signature Version 4) and hashes of bodies, and can misbehave. */
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface S3Account {
  accessKeyId: string
  secretAccessKey: string
  region: string
  bucket: string
}

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/** The signature of a request, from the specification: canonical request, text to sign, key of the day. */
function signatureOf({ method, url, headers }: IncomingMessage, signed: string[], scope: string, { secretAccessKey }: S3Account): string {
  const { pathname, searchParams } = new URL(url!, 'http://host')
  const query = [...searchParams].map((pair) => pair.map(encodeURIComponent).join('=')).sort()
  const lines = signed.map(
    (name) =>
      `${name}:${String(headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}\n`,
  )
  const canonical = [method, pathname, query.join('&'), lines.join(''), signed.join(';'), headers['x-amz-content-sha256']].join('\n')
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n')
  const key = scope.split('/').reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${secretAccessKey}`)
  return hmac(key, text).toString('hex')
}

export class MockS3 implements AsyncDisposable {
  readonly objects = new Map<string, { bytes: Buffer; type: string | undefined }>()
  /** `METHOD path` of every request. */
  readonly requests: string[] = []
  /** Answers the next requests in its place; `cut` closes the connection after half of the body. */
  faults: (number | 'drop' | 'cut' | 'hang' | 'redirect')[] = []
  /** Required besides the keys. */
  sessionToken: string | undefined
  readonly #server: Server

  private constructor(readonly account: S3Account) {
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  static async start(account: S3Account): Promise<MockS3> {
    const store = new MockS3(account)
    store.#server.listen(0, '127.0.0.1')
    await once(store.#server, 'listening')
    return store
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const { pathname } = new URL(request.url!, 'http://host')
    this.requests.push(`${request.method} ${pathname}`)
    const fail = (status: number, code: string) =>
      response.writeHead(status, { 'content-type': 'application/xml' }).end(`<Error><Code>${code}</Code></Error>`)
    const fault = this.faults.shift()
    if (fault === 'hang') return
    if (fault === 'drop') return void request.socket.destroy()
    if (fault === 'redirect') return void response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()
    if (typeof fault === 'number') return void fail(fault, 'SlowDown')
    const refusal = this.#refusal(request, body)
    if (refusal) return void fail(403, refusal)
    const [, bucket, key] = /^\/([^/]+)\/(.+)$/.exec(pathname) ?? []
    if (bucket !== this.account.bucket || key === undefined) return void fail(404, 'NoSuchBucket')
    if (request.method === 'PUT') {
      this.objects.set(key, { bytes: body, type: request.headers['content-type'] })
      response.writeHead(200, { etag: '"x"' }).end()
      return
    }
    const found = this.objects.get(key)
    if (!found) return void fail(404, 'NoSuchKey')
    response.writeHead(200, { 'content-type': found.type, 'content-length': found.bytes.length })
    if (fault !== 'cut') return void response.end(found.bytes)
    response.write(found.bytes.subarray(0, found.bytes.length / 2))
    setImmediate(() => request.socket.destroy())
  }

  /** Why a request is not accepted. */
  #refusal(request: IncomingMessage, body: Buffer): string | undefined {
    const { headers } = request
    const [, id, scope, signed, signature] =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\S+), ?SignedHeaders=(\S+), ?Signature=([0-9a-f]{64})$/.exec(headers.authorization ?? '') ?? []
    if (signature === undefined) return 'AccessDenied'
    const { accessKeyId, region } = this.account
    const day = String(headers['x-amz-date']).slice(0, 8)
    if (id !== accessKeyId) return 'InvalidAccessKeyId'
    if (scope !== `${day}/${region}/s3/aws4_request`) return 'AuthorizationHeaderMalformed'
    const names = signed!.split(';')
    if (!['host', 'x-amz-date', 'x-amz-content-sha256'].every((name) => names.includes(name))) return 'AccessDenied'
    if (signatureOf(request, names, scope, this.account) !== signature) return 'SignatureDoesNotMatch'
    if (headers['x-amz-security-token'] !== this.sessionToken) return 'InvalidToken'
    if (request.method === 'PUT' && headers['x-amz-content-sha256'] !== sha256(body)) return 'XAmzContentSHA256Mismatch'
    return undefined
  }
}
