/** A hub on loopback, with its storage on another origin, that can be told to misbehave. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface HubRequest {
  kind: 'api' | 'resolve' | 'storage'
  method: string
  url: URL
  headers: IncomingMessage['headers']
  /** Path of the file in the repository, where it is about one. */
  file: string
  /** Fault that the answer was given. */
  fault?: string
}

/** What an answer is to do wrong. Names of `bodyFaults` and `apiFaults`, or a function that answers itself. */
export type Fault = string | ((request: HubRequest, response: ServerResponse) => void)

interface Repo {
  files: Map<string, Buffer>
  commit: string
  /** Branches and tags by name. */
  refs: Map<string, string>
  /** Files of earlier commits. */
  history: Map<string, Map<string, Buffer>>
  gated: boolean
  private: boolean
  licence: string
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function gitHash(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
}

/** Large files are kept apart, as git-lfs does. */
export function isLarge(path: string): boolean {
  return /\.(safetensors|gguf|bin|ckpt)$/.test(path)
}

export function blobName(path: string, bytes: Uint8Array): string {
  return isLarge(path) ? sha256(bytes) : gitHash(bytes)
}

function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ server: Server; origin: string; sockets: Set<Socket> }> {
  const server = createServer(handler)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ server, sockets, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
  })
}

type Send = (response: ServerResponse, bytes: Buffer, head: { status: number; headers: Record<string, string | number> }) => void

function without(headers: Record<string, string | number>, name: string): Record<string, string | number> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name))
}

/** Ways to send a file wrong. The last argument is the honest head. */
export const bodyFaults: Record<string, Send> = {
  cut: (response, bytes, { status, headers }) => {
    response.writeHead(status, headers)
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy())
  },
  'cut chunked': (response, bytes, { status, headers }) => {
    const rest = without(headers, 'content-length')
    response.writeHead(status, rest)
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy())
  },
  short: (response, bytes, { status, headers }) => {
    const rest = without(headers, 'content-length')
    response.writeHead(status, rest).end(bytes.subarray(0, bytes.length >> 1))
  },
  flip: (response, bytes, { status, headers }) => {
    const damaged = Buffer.from(bytes)
    if (damaged.length > 0) damaged[damaged.length >> 1]! ^= 4
    response.writeHead(status, headers).end(damaged)
  },
  other: (response, bytes, { status, headers }) => {
    response.writeHead(status, headers).end(Buffer.alloc(bytes.length, 'x'))
  },
  'other length': (response, bytes, { status, headers }) => {
    const rest = without(headers, 'content-range')
    response.writeHead(status === 206 ? 200 : status, { ...rest, 'content-length': bytes.length + 10 }).end(Buffer.alloc(bytes.length + 10, 'x'))
  },
  'lying length': (response, bytes, { status, headers }) => {
    response.writeHead(status, { ...headers, 'content-length': bytes.length + 1000 })
    response.write(bytes, () => response.destroy())
  },
  endless: (response, bytes, { status, headers }) => {
    const rest = without(headers, 'content-length')
    response.writeHead(status, rest)
    response.write(bytes)
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(4096))) if (response.writableLength > 1 << 20) break
    }
    response.on('drain', more)
    more()
  },
  stall: (response, bytes, { status, headers }) => {
    response.writeHead(status, headers)
    response.write(bytes.subarray(0, bytes.length >> 1))
  },
  gzip: (response, bytes, { status, headers }) => {
    response.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(bytes)
  },
  'wrong range': (response, bytes, { headers }) => {
    response.writeHead(206, { ...headers, 'content-range': `bytes 1-${bytes.length}/${bytes.length + 1}` }).end(bytes)
  },
  'no range': (response, bytes, { headers }) => {
    const rest = without(headers, 'content-range')
    response.writeHead(206, rest).end(bytes)
  },
  'not satisfiable': (response) => {
    response.writeHead(416, { 'content-range': 'bytes */1' }).end()
  },
}

/** Ways to answer any request wrong. */
export const anyFaults: Record<string, (response: ServerResponse, origin: string) => void> = {
  reset: (response) => response.socket?.destroy(),
  silence: () => undefined,
  garbage: (response) => response.socket?.end('this is no HTTP\r\n\r\n'),
  'status 500': (response) => response.writeHead(500).end('oops'),
  'status 503': (response) => response.writeHead(503, { 'retry-after': '0' }).end(),
  'status 429': (response) => response.writeHead(429, { 'retry-after': '0', ratelimit: '"api";r=0;t=0' }).end(),
  'status 408': (response) => response.writeHead(408).end(),
  html: (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><p>log in</p>'),
  'html untyped': (response) => response.writeHead(200, { 'content-type': 'application/octet-stream' }).end('<!doctype html><p>log in</p>'),
  empty: (response) => response.writeHead(200).end(),
  'redirect to itself': (response) => response.writeHead(302, { location: response.req.url }).end(),
  'redirect for ever': (response, origin) => response.writeHead(302, { location: `${origin}/for-ever/0` }).end(),
  'redirect to a file': (response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  'redirect nowhere': (response) => response.writeHead(302).end(),
  'redirect to nonsense': (response) => response.writeHead(302, { location: 'http://[' }).end(),
  'redirect to ftp': (response) => response.writeHead(307, { location: 'ftp://127.0.0.1/x' }).end(),
}

/** Ways to describe a repository wrong: what becomes of the JSON. */
export const apiFaults: Record<string, (json: unknown) => unknown> = {
  'no json': () => undefined,
  null: () => null,
  'an object': () => ({}),
  'a list': () => [],
  'null entries': (json) => (Array.isArray(json) ? [null, ...(json as unknown[])] : json),
  'absurd sizes': (json) => mapFiles(json, (file) => ({ ...file, size: 1e300, lfs: undefined })),
  'negative sizes': (json) => mapFiles(json, (file) => ({ ...file, size: -1, lfs: undefined })),
  'text sizes': (json) => mapFiles(json, (file) => ({ ...file, size: '5', lfs: undefined })),
  petabytes: (json) => mapFiles(json, (file) => ({ ...file, lfs: { oid: 'a'.repeat(64), size: 2 ** 40 } })),
  'no hashes': (json) => mapFiles(json, (file) => ({ ...file, oid: undefined, lfs: undefined })),
  'hash paths': (json) => mapFiles(json, (file) => ({ ...file, oid: '../../../evil', lfs: { oid: '../../../../evil', size: 3 } })),
  'other hashes': (json) =>
    mapFiles(json, (file) => ({ ...file, oid: 'b'.repeat(40), ...(file.lfs ? { lfs: { ...file.lfs, oid: 'b'.repeat(64) } } : {}) })),
  traversal: (json) => mapFiles(json, (file) => ({ ...file, path: `../../../${file.path}` })),
  absolute: (json) => mapFiles(json, (file) => ({ ...file, path: `/tmp/${file.path}` })),
  backslashes: (json) => mapFiles(json, (file) => ({ ...file, path: `..\\..\\${file.path}` })),
  proto: (json) => mapFiles(json, (file) => ({ ...file, path: `__proto__/${file.path}` })),
  'no commit': (json) => (Array.isArray(json) ? json : { ...(json as object), sha: undefined }),
  'commit path': (json) => (Array.isArray(json) ? json : { ...(json as object), sha: '../../../../tmp/x' }),
}

interface TreeFile {
  type: string
  path: string
  size: number
  oid: string
  lfs?: { oid: string; size: number }
}

function mapFiles(json: unknown, change: (file: TreeFile) => unknown): unknown {
  return Array.isArray(json) ? json.map((file) => change(file as TreeFile)) : json
}

export class MockHub {
  readonly requests: HubRequest[] = []
  readonly repos = new Map<string, Repo>()
  /** Asked for every request; what it names goes wrong. */
  fault: ((request: HubRequest) => Fault | undefined) | undefined
  /** Bytes per chunk and milliseconds between them, for slow bodies. */
  pace: { bytes: number; ms: number } | undefined
  /** Files per page of the list. */
  page = 1000
  /** Who may read what is private or gated. */
  readonly tokens = new Set<string>()
  #hub!: Awaited<ReturnType<typeof listen>>
  #storage!: Awaited<ReturnType<typeof listen>>

  static async start(): Promise<MockHub> {
    const mock = new MockHub()
    mock.#hub = await listen((request, response) => mock.#guard(request, response, mock.#hub.origin, (r) => mock.#onHub(r, response)))
    mock.#storage = await listen((request, response) => mock.#guard(request, response, mock.#storage.origin, (r) => mock.#onStorage(r, response)))
    return mock
  }

  get endpoint(): string {
    return this.#hub.origin
  }

  get storage(): string {
    return this.#storage.origin
  }

  async stop(): Promise<void> {
    for (const { server, sockets } of [this.#hub, this.#storage]) {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  /** Adds a repository, or a new commit to one. */
  commit(name: string, files: Record<string, string | Buffer>, options: Partial<Pick<Repo, 'gated' | 'private' | 'licence'>> = {}): string {
    const contents = new Map(Object.entries(files).map(([path, bytes]) => [path, Buffer.from(bytes as string)]))
    const commit = createHash('sha1')
      .update([name, ...[...contents].map(([path, bytes]) => `${path} ${sha256(bytes)}`)].join('\n'))
      .digest('hex')
    const old = this.repos.get(name)
    const refs = (old?.refs ?? new Map<string, string>()).set('main', commit)
    const history = (old?.history ?? new Map<string, Map<string, Buffer>>()).set(commit, contents)
    this.repos.set(name, { gated: false, private: false, licence: 'openrail', ...options, files: contents, commit, refs, history })
    return commit
  }

  count(kind: HubRequest['kind'], file?: string): number {
    return this.requests.filter((request) => request.kind === kind && (file === undefined || request.file === file)).length
  }

  #guard(incoming: IncomingMessage, response: ServerResponse, origin: string, answer: (request: HubRequest) => void): void {
    const url = new URL(incoming.url ?? '/', origin)
    const file = decodeURIComponent(/\/resolve\/[^/]+\/(.*)$/.exec(url.pathname)?.[1] ?? url.searchParams.get('file') ?? '')
    const kind = origin === this.#storage.origin ? 'storage' : url.pathname.startsWith('/api/') ? 'api' : 'resolve'
    const request: HubRequest = { kind, method: incoming.method ?? '', url, headers: incoming.headers, file }
    this.requests.push(request)
    const hop = /^\/for-ever\/(\d+)$/.exec(url.pathname)?.[1]
    if (hop !== undefined) return void response.writeHead(302, { location: `/for-ever/${Number(hop) + 1}` }).end()
    const fault = this.fault?.(request)
    if (typeof fault === 'function') {
      request.fault = 'own'
      return fault(request, response)
    }
    if (fault !== undefined) request.fault = fault
    const any = fault === undefined ? undefined : anyFaults[fault]
    if (any) return any(response, this.#hub.origin)
    answer(request)
  }

  #refuse(response: ServerResponse, status: number, code: string): void {
    response.writeHead(status, { 'x-error-code': code, 'content-type': 'application/json' }).end(JSON.stringify({ error: code }))
  }

  #allowed({ headers }: HubRequest): boolean {
    return this.tokens.has(headers.authorization?.replace(/^Bearer /, '') ?? '')
  }

  #onHub(request: HubRequest, response: ServerResponse): void {
    const { pathname } = request.url
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname)
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/.+$/.exec(pathname)
    const name = (api ?? resolve)?.[1] ?? ''
    const repo = this.repos.get(name)
    if (!repo || (repo.private && !this.#allowed(request))) return this.#refuse(response, 401, 'RepoNotFound')
    const revision = decodeURIComponent((api?.[3] ?? resolve?.[2])!)
    const commit = repo.refs.get(revision) ?? revision
    const files = repo.history.get(commit)
    if (!files) return this.#refuse(response, 404, 'RevisionNotFound')
    if (api?.[2] === 'revision') {
      return this.#json(request, response, { id: name, sha: commit, gated: repo.gated && 'manual', cardData: { license: repo.licence } })
    }
    if (api) return this.#tree(request, response, files)
    const bytes = files.get(request.file)
    if (repo.gated && !this.#allowed(request)) return this.#refuse(response, request.headers.authorization ? 403 : 401, 'GatedRepo')
    if (!bytes) return this.#refuse(response, 404, 'EntryNotFound')
    if (!isLarge(request.file)) return this.#send(request, response, bytes, `"${gitHash(bytes)}"`)
    const hash = sha256(bytes)
    const location = `${this.#storage.origin}/${hash}?file=${encodeURIComponent(request.file)}&signature=secret`
    response.writeHead(302, { location, 'x-repo-commit': commit, 'x-linked-etag': `"${hash}"`, 'x-linked-size': bytes.length }).end()
  }

  #tree(request: HubRequest, response: ServerResponse, files: Map<string, Buffer>): void {
    const entries = [...files].map(([path, bytes]) => ({
      type: 'file',
      path,
      size: bytes.length,
      oid: isLarge(path) ? gitHash(Buffer.from(`pointer ${sha256(bytes)}`)) : gitHash(bytes),
      ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 120 } } : {}),
    }))
    const all = [{ type: 'directory', path: 'folder', size: 0, oid: 'd'.repeat(40) }, ...entries]
    const from = Number(request.url.searchParams.get('cursor') ?? 0)
    // As a mirror does: the address is the public hub's, not its own.
    const more: Record<string, string> =
      from + this.page < all.length
        ? { link: `<https://hub.invalid${request.url.pathname}?recursive=true&cursor=${from + this.page}>; rel="next"` }
        : {}
    this.#json(request, response, all.slice(from, from + this.page), more)
  }

  #json({ fault }: HubRequest, response: ServerResponse, json: unknown, headers: Record<string, string> = {}): void {
    const changed = fault !== undefined && apiFaults[fault] ? apiFaults[fault](json) : json
    const text = changed === undefined ? '{"half":' : JSON.stringify(changed)
    const body = Buffer.from(text)
    const head = { status: 200, headers: { ...headers, 'content-type': 'application/json', 'content-length': body.length } }
    const send = fault === undefined ? undefined : bodyFaults[fault]
    if (send) send(response, body, head)
    else response.writeHead(200, head.headers).end(body)
  }

  #onStorage(request: HubRequest, response: ServerResponse): void {
    const hash = request.url.pathname.slice(1)
    for (const repo of this.repos.values())
      for (const files of repo.history.values())
        for (const [path, bytes] of files)
          if (isLarge(path) && sha256(bytes) === hash) return this.#send(request, response, bytes, `"etag-${hash.slice(0, 8)}"`)
    response.writeHead(403).end()
  }

  /** With ranges, and If-Range. */
  #send({ headers, fault }: HubRequest, response: ServerResponse, bytes: Buffer, etag: string): void {
    const wanted = /^bytes=(\d+)-$/.exec(headers.range ?? '')
    const from = wanted && (headers['if-range'] ?? etag) === etag && fault !== 'ignore range' ? Number(wanted[1]) : 0
    if (from >= bytes.length && from > 0) return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
    const part = bytes.subarray(from)
    const range: Record<string, string> = from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}
    const head = {
      status: from > 0 ? 206 : 200,
      headers: { 'content-length': part.length, 'accept-ranges': 'bytes', etag: fault === 'other etag' ? '"other"' : etag, ...range },
    }
    const send = fault === undefined ? undefined : bodyFaults[fault]
    if (send) return send(response, part, head)
    response.writeHead(head.status, head.headers)
    if (!this.pace) return void response.end(part)
    const { bytes: step, ms } = this.pace
    let at = 0
    const timer = setInterval(() => {
      response.write(part.subarray(at, (at += step)))
      if (at < part.length) return
      clearInterval(timer)
      response.end()
    }, ms)
    response.on('close', () => clearInterval(timer))
  }
}
