/** Fetching from a hub that works, fails, and is refused: by the byte. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as cacheFiles from '../../lib/hub/cache'
import { DownloadError } from '../../lib/hub/errors'
import { acquire } from '../../lib/hub/lock'
import { planPull, pull, type PullHooks } from '../../lib/hub/pull'
import type { PullProgress } from '../../lib/hub/pull-progress'
import { locate } from '../../lib/hub/resolve'
import { retryAfter, withRetries } from '../../lib/hub/retry'
import type { Role } from '../../lib/hub/selection'
import { resolveHub, type HubOptions, type HubSettings } from '../../lib/hub/settings'
import { parseHubSource } from '../../lib/hub/source'
import { temporaryFolder } from '../helpers/golden'
import { MockHub, sha256, type HubRequest } from '../helpers/mock-hub'

const { folder, remove } = temporaryFolder()
let hub: MockHub
beforeAll(async () => {
  hub = await MockHub.start()
})
beforeEach(() => {
  hub.fault = undefined
  hub.pace = undefined
  hub.page = 1000
  hub.requests.length = 0
})
afterAll(async () => {
  await hub.stop()
  remove()
})

let caches = 0
function settingsFor(options: HubOptions = {}, extra: Partial<HubSettings> = {}): HubSettings {
  const cacheDir = path.join(folder, `cache-${caches++}`)
  return {
    ...resolveHub({ endpoint: hub.endpoint, cacheDir, token: false, localFilesOnly: false, timeout: 60_000, ...options }),
    backoff: 1,
    ...extra,
  }
}

const large = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) & 255))
const one = (bytes: Buffer = large) => ({ 'weights.safetensors': bytes, 'README.md': 'x' })

/** Jest compares byte by byte, which takes seconds. */
const expectLarge = (file: string) => expect(readFileSync(file).equals(large)).toBe(true)

const fetchModel = (name: string, settings: HubSettings, hooks: PullHooks = {}, role: Role = 'model') =>
  pull(parseHubSource(name), role, settings, hooks)
const failure = async (call: Promise<unknown>): Promise<DownloadError> => {
  const error = await call.then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(DownloadError)
  return error as DownloadError
}
/** The failure of a download whose limit is short: the API of a busy machine may be too late for it too, which says nothing. */
async function storageFailure(download: () => Promise<unknown>): Promise<DownloadError> {
  let error = await failure(download())
  while (error.reason === 'timeout' && !error.message.includes('weights.safetensors')) error = await failure(download())
  return error
}
const onceFor =
  (kind: HubRequest['kind'], fault: string, times = 1) =>
  (request: HubRequest) =>
    request.kind === kind && times-- > 0 ? fault : undefined
const blobs = ({ cacheDir }: HubSettings, name = 'models--o--m') => readdirSync(path.join(cacheDir, name, 'blobs')).sort()

describe('resuming', () => {
  test('an aborted download resumes at the byte, but only for the same file', async () => {
    hub.commit('o/m', one())
    hub.pace = { bytes: 20_000, ms: 100 } // so slow that no machine has the rest before the abort is heard
    const settings = settingsFor()
    const controller = new AbortController()
    const reason = new Error('enough')
    const onProgress = ({ bytes }: PullProgress) => bytes > 100_000 && controller.abort(reason)
    await expect(fetchModel('hf:o/m', settings, { signal: controller.signal, onProgress })).rejects.toBe(reason)
    expect(existsSync(path.join(settings.cacheDir, 'models--o--m', 'snapshots'))).toBe(false)
    const partial = blobs(settings).find((name) => name.endsWith('.incomplete'))!
    const have = readFileSync(path.join(settings.cacheDir, 'models--o--m', 'blobs', partial))
    expect(have.length).toBeGreaterThan(100_000)
    expect(have.length).toBeLessThan(large.length)
    expect(have.equals(large.subarray(0, have.length))).toBe(true)

    hub.pace = undefined
    hub.requests.length = 0
    const seen: PullProgress[] = []
    const { location } = await fetchModel('hf:o/m', settings, { onProgress: (progress) => void seen.push(progress) })
    const [request] = hub.requests.filter(({ kind }) => kind === 'storage')
    expect(request!.headers).toMatchObject({ range: `bytes=${have.length}-`, 'if-range': `"etag-${sha256(large).slice(0, 8)}"` })
    expectLarge(location)
    expect(seen[0]!.bytes).toBeGreaterThanOrEqual(have.length)
    expect(seen.at(-1)).toMatchObject({ file: 'weights.safetensors', fileBytes: 300_000, fileSize: 300_000, bytes: 300_000, totalBytes: 300_000 })
    // Nothing is left of the pieces.
    expect(blobs(settings)).toEqual([sha256(large)])
  })

  test('a dropped connection is resumed within the call', async () => {
    hub.commit('o/m', one())
    hub.fault = onceFor('storage', 'cut', 3)
    const { location } = await fetchModel('hf:o/m', settingsFor())
    expectLarge(location)
    const ranges = hub.requests.filter(({ kind }) => kind === 'storage').map(({ headers }) => headers.range)
    expect(ranges).toHaveLength(4)
    expect(ranges[0]).toBeUndefined()
    for (const range of ranges.slice(1)) expect(range).toMatch(/^bytes=[1-9]\d*-$/)
  })

  test.each(['ignore range', 'other etag', 'wrong range', 'no range', 'not satisfiable'])(
    'a server that resumes wrong (%s) is started anew with',
    async (fault) => {
      hub.commit('o/m', one())
      let requests = 0
      hub.fault = ({ kind }) => (kind !== 'storage' ? undefined : [`cut`, fault][requests++])
      const { location } = await fetchModel('hf:o/m', settingsFor())
      expectLarge(location)
      expect(requests).toBeGreaterThan(1)
    },
  )

  test('partial files of a dead process are reused, those with other content discarded', async () => {
    hub.commit('o/m', one())
    const settings = settingsFor()
    const folder = path.join(settings.cacheDir, 'models--o--m', 'blobs')
    mkdirSync(folder, { recursive: true })
    writeFileSync(path.join(folder, `${sha256(large)}.00aa.latent.incomplete`), large.subarray(0, 1000))
    writeFileSync(path.join(folder, `${sha256(large)}.00bb.latent.incomplete`), Buffer.alloc(200_000))
    const { location } = await fetchModel('hf:o/m', settings)
    expectLarge(location)
    // The larger piece was wrong, which its hash told at the end.
    const ranges = hub.requests.filter(({ kind }) => kind === 'storage').map(({ headers }) => headers.range)
    expect(ranges).toEqual(['bytes=200000-', undefined])
    expect(blobs(settings)).toEqual([sha256(large)])
  })

  test('a complete partial file is not requested again', async () => {
    hub.commit('o/m', one())
    const settings = settingsFor()
    const folder = path.join(settings.cacheDir, 'models--o--m', 'blobs')
    mkdirSync(folder, { recursive: true })
    writeFileSync(path.join(folder, `${sha256(large)}.00aa.latent.incomplete`), large)
    await fetchModel('hf:o/m', settings)
    expect(hub.count('storage')).toBe(0)
  })
})

describe('hashes and sizes', () => {
  test('corrupt data is detected, retried once, and never accepted', async () => {
    hub.commit('o/m', one())
    hub.fault = onceFor('storage', 'flip')
    expectLarge((await fetchModel('hf:o/m', settingsFor())).location)

    hub.fault = ({ kind }) => (kind === 'storage' ? 'flip' : undefined)
    const settings = settingsFor()
    const error = await failure(fetchModel('hf:o/m', settings))
    expect(error).toMatchObject({
      code: 'ERR_DOWNLOAD',
      reason: 'integrity',
      retriable: false,
      details: { source: 'hf:o/m', file: 'weights.safetensors', expected: sha256(large) },
    })
    expect(blobs(settings)).toEqual([])
    expect(existsSync(path.join(settings.cacheDir, 'models--o--m', 'refs'))).toBe(false)
  })

  test.each<[string, string]>([
    ['other length', 'bad_answer'],
    ['lying length', 'bad_answer'],
    ['gzip', 'bad_answer'],
    ['html', 'bad_answer'],
    ['html untyped', 'bad_answer'],
    ['redirect to itself', 'bad_answer'],
    ['redirect for ever', 'bad_answer'],
    ['redirect to a file', 'bad_answer'],
    ['redirect nowhere', 'bad_answer'],
    ['silence', 'timeout'],
    ['reset', 'network'],
    ['garbage', 'network'],
    ['status 500', 'network'],
    ['status 429', 'rate_limited'],
  ])('%s is an error of the kind %s', async (fault, reason) => {
    hub.commit('o/m', one())
    hub.fault = ({ kind }) => (kind === 'storage' ? fault : undefined)
    const settings = settingsFor(fault === 'silence' ? { timeout: 500 } : {})
    const error = await storageFailure(() => fetchModel('hf:o/m', settings))
    expect(error.reason).toBe(reason)
    expect(error.message).toMatch(/^hf:o\/m weights\.safetensors: /)
    expect(error.message).not.toContain('secret')
    expect(JSON.stringify(error.details)).not.toContain('secret')
    expect(blobs(settings)).toEqual([])
  })

  test('a body that stalls or trickles is aborted and resumed', async () => {
    hub.commit('o/m', one())
    hub.fault = onceFor('storage', 'stall')
    expectLarge((await fetchModel('hf:o/m', settingsFor({ timeout: 1000 }))).location)
    expect(hub.count('storage')).toBeGreaterThanOrEqual(2)

    // Ten bytes every few milliseconds: never silent, never done.
    hub.fault = undefined
    hub.pace = { bytes: 10, ms: 5 }
    const error = await storageFailure(() => fetchModel('hf:o/m', settingsFor({ timeout: 200 })))
    expect(error.reason).toBe('timeout')
  })

  test('an empty file', async () => {
    hub.commit('o/m', { ...one(), 'config.yaml': '' })
    const { location } = await fetchModel('hf:o/m', settingsFor())
    expect(readFileSync(path.join(path.dirname(location), 'config.yaml'), 'utf8')).toBe('')
  })

  test('file names outside the folder are never requested', async () => {
    hub.commit('o/m', one())
    hub.fault = onceFor('api', 'traversal', 9)
    const error = await failure(fetchModel('hf:o/m', settingsFor()))
    expect(error.reason).toBe('choice')
    expect(hub.count('resolve')).toBe(0)
  })

  test('a full disk is detected before the first byte', async () => {
    hub.commit('o/m', one())
    const spy = jest.spyOn(cacheFiles, 'freeSpace').mockResolvedValue(17_000_000)
    try {
      const error = await failure(fetchModel('hf:o/m', settingsFor()))
      expect(error).toMatchObject({ reason: 'disk_space', details: { required: 300_000, available: 17_000_000 } })
      expect(hub.count('storage')).toBe(0)
    } finally {
      spy.mockRestore()
    }
  })
})

describe('authorisation', () => {
  const sent = (kind: HubRequest['kind']) => hub.requests.filter((request) => request.kind === kind).map(({ headers }) => headers.authorization)

  test('the token is sent to the hub, not to redirect targets', async () => {
    hub.commit('o/m', one(), { private: true })
    hub.tokens.add('any-token')
    await fetchModel('hf:o/m', settingsFor({ token: 'any-token' }))
    expect(new Set([...sent('api'), ...sent('resolve')])).toEqual(new Set(['Bearer any-token']))
    expect(sent('storage')).toEqual([undefined])
  })

  test('the token is not sent unencrypted over a network', async () => {
    const asked: Headers[] = []
    const fetch: typeof globalThis.fetch = async (_, init) => {
      asked.push(new Headers(init?.headers))
      return new Response(null, { status: 404 })
    }
    await failure(fetchModel('hf:o/m', settingsFor({ endpoint: 'http://hub.example', token: 'any-token', fetch })))
    await failure(fetchModel('hf:o/m', settingsFor({ endpoint: 'https://hub.example', token: 'any-token', fetch })))
    expect(asked.map((headers) => headers.get('authorization'))).toEqual([null, 'Bearer any-token'])
  })

  test('redirects from https to http are rejected', async () => {
    const fetch: typeof globalThis.fetch = async () => new Response(null, { status: 302, headers: { location: 'http://hub.example/x' } })
    const error = await failure(fetchModel('hf:o/m', settingsFor({ endpoint: 'https://hub.example', fetch })))
    expect(error).toMatchObject({ reason: 'bad_answer', message: expect.stringMatching(/not encrypted/) })
  })

  test('for a licence that must be accepted the error lists the steps', async () => {
    hub.commit('o/gated', one(), { gated: true, licence: 'openrail++' })
    hub.tokens.add('member')
    const without = await failure(fetchModel('hf:o/gated', settingsFor()))
    expect(without.reason).toBe('gated')
    expect(without.message).toContain(`accept its licence (openrail++): (1) open ${hub.endpoint}/o/gated in a browser`)
    expect(without.message).toMatch(/\(2\) create a read token .*\/settings\/tokens; \(3\) set HF_TOKEN/)
    const stranger = await failure(fetchModel('hf:o/gated', settingsFor({ token: 'stranger' })))
    expect(stranger.message).toMatch(/same account/)
    await fetchModel('hf:o/gated', settingsFor({ token: 'member' }))
  })

  test('status 403 without a reason: the error says whether a token was used', async () => {
    hub.fault = () => (_, response) => response.writeHead(403).end()
    for (const [token, words] of [
      [undefined, /without a token \(set HF_TOKEN\): status 403/],
      ['stranger', /with the token in use: status 403/],
    ] as const) {
      const error = await failure(fetchModel('hf:o/m', settingsFor(token === undefined ? {} : { token })))
      expect(error).toMatchObject({ reason: 'unauthorized', message: expect.stringMatching(words) })
    }
  })

  test('missing repositories and files', async () => {
    hub.commit('o/m', one())
    expect(await failure(fetchModel('hf:o/nothing', settingsFor()))).toMatchObject({
      reason: 'not_found',
      message: expect.stringMatching(/has no model o\/nothing.*HF_TOKEN/),
    })
    expect((await failure(fetchModel('hf:o/m@nowhere', settingsFor()))).message).toMatch(/no branch, tag or commit nowhere/)
    expect((await failure(fetchModel('hf:o/m/other.safetensors', settingsFor()))).message).toMatch(
      /has no other\.safetensors; its model files are weights\.safetensors/,
    )
  })
})

describe('waiting', () => {
  test('Retry-After', () => {
    const at = (headers: Record<string, string>) => retryAfter(new Headers(headers), Date.parse('2026-01-01T00:00:00Z'))
    expect(at({ 'retry-after': '7' })).toBe(7)
    expect(at({ 'retry-after': 'Thu, 01 Jan 2026 00:01:00 GMT' })).toBe(60)
    expect(at({ 'retry-after': 'soon' })).toBeUndefined()
    expect(at({ 'retry-after': '-5' })).toBe(0)
    expect(at({ ratelimit: '"resolvers";r=0;t=55' })).toBe(55)
    expect(at({})).toBeUndefined()
  })

  test('waits for a second, but not for an hour', async () => {
    let calls = 0
    const limited = (seconds: number) => async () => {
      if (calls++ > 0) return calls
      throw new DownloadError('rate_limited', 'x', { retryAfter: seconds })
    }
    const began = performance.now()
    expect(await withRetries(limited(0.2), { backoff: 1, signal: undefined })).toBe(2)
    expect(performance.now() - began).toBeGreaterThan(190)
    calls = 0
    await expect(withRetries(limited(3600), { backoff: 1, signal: undefined })).rejects.toMatchObject({ reason: 'rate_limited' })
    expect(calls).toBe(1)
  })

  test('aborting ends a pause', async () => {
    const controller = new AbortController()
    const wait = withRetries(() => Promise.reject(new DownloadError('network', 'x', { retryAfter: 100 })), { backoff: 1, signal: controller.signal })
    setTimeout(() => controller.abort(new Error('stop')), 20)
    await expect(wait).rejects.toThrow('stop')
  })

  test('two concurrent downloads fetch every file once', async () => {
    hub.commit('o/m', { ...one(), 'weights.yaml': 'model: {}' })
    hub.pace = { bytes: 50_000, ms: 5 }
    const settings = settingsFor()
    const both = await Promise.all([fetchModel('hf:o/m', settings), fetchModel('hf:o/m', settings)])
    for (const { location } of both) expectLarge(location)
    expect(hub.count('storage')).toBe(1)
    expect(both.flatMap(({ files }) => files.filter(({ fetched }) => fetched))).toHaveLength(2)
  })

  test('the lock of an ended process is taken over; that of a running one is waited for', async () => {
    hub.commit('o/m', one())
    const settings = settingsFor()
    const file = path.join(settings.cacheDir, '.locks', 'models--o--m', `${sha256(large)}.latent.lock`)
    const own = await acquire(file)
    const content = JSON.parse(readFileSync(file, 'utf8')) as object
    await own.release()
    expect(existsSync(file)).toBe(false)
    // No process has this number: the system's largest is below.
    writeFileSync(file, JSON.stringify({ ...content, pid: 2 ** 30 }))
    await fetchModel('hf:o/m', settings)
    expect(existsSync(file)).toBe(false)

    const held = await acquire(file)
    const other = settingsFor({ cacheDir: settings.cacheDir })
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error('no longer')), 100)
    hub.commit('o/m', one(Buffer.from(large).fill(1)))
    const elsewhere = path.join(settings.cacheDir, '.locks', 'models--o--m', `${sha256(Buffer.from(large).fill(1))}.latent.lock`)
    const living = await acquire(elsewhere)
    await expect(fetchModel('hf:o/m', other, { signal: controller.signal })).rejects.toThrow('no longer')
    await living.release()
    await held.release()
    await fetchModel('hf:o/m', other)
  })

  test('an already aborted signal', async () => {
    hub.commit('o/m', one())
    const reason = new Error('never')
    await expect(fetchModel('hf:o/m', settingsFor(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(locate(parseHubSource('hf:o/m'), 'model', settingsFor(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('errors in a callback end the call', async () => {
    hub.commit('o/m', one())
    hub.pace = { bytes: 50_000, ms: 20 }
    const reason = new Error('callback')
    const thrown = () => {
      throw reason
    }
    await expect(fetchModel('hf:o/m', settingsFor(), { onProgress: thrown })).rejects.toBe(reason)
    await expect(fetchModel('hf:o/m', settingsFor(), { onProgress: () => Promise.reject(reason) })).rejects.toBe(reason)
  })
})

describe('the cache first', () => {
  const find = (name: string, settings: HubSettings, role: Role = 'model') => locate(parseHubSource(name), role, settings)

  test('cached files need no request, also offline; missing ones are rejected offline', async () => {
    const commit = hub.commit('o/m', one())
    const settings = settingsFor()
    const offline = { ...settings, offline: true }
    const error = await failure(find('hf:o/m', offline))
    expect(error).toMatchObject({ reason: 'offline', message: expect.stringMatching(/latent pull hf:o\/m/) })
    expect(hub.requests).toHaveLength(0)
    const first = await find('hf:o/m', settings)
    expect(first).toMatchObject({ commit, name: 'm' })
    hub.requests.length = 0
    expect(await find('hf:o/m', settings)).toEqual(first)
    expect(await find('hf:o/m', offline)).toEqual(first)
    expect(await find(`hf:o/m@${commit}`, offline)).toEqual(first)
    expect(await find('hf:o/m/weights.safetensors', offline)).toMatchObject({ location: first.location, name: 'weights' })
    expect(hub.requests).toHaveLength(0)
  })

  test('a pull downloads a newer revision, and only the new files', async () => {
    hub.commit('o/m', { ...one(), 'weights.yaml': 'model: {a: 1}' })
    const settings = settingsFor()
    const old = await fetchModel('hf:o/m', settings)
    const commit = hub.commit('o/m', { ...one(), 'weights.yaml': 'model: {a: 2}' })
    expect((await find('hf:o/m', settings)).commit).toBe(old.commit)
    hub.requests.length = 0
    const { files } = await fetchModel('hf:o/m', settings)
    expect(files.map(({ path: name, fetched }) => [name, fetched]).sort()).toEqual([
      ['weights.safetensors', false],
      ['weights.yaml', true],
    ])
    expect(hub.count('storage')).toBe(0)
    expect((await find('hf:o/m', settings)).commit).toBe(commit)
    expect((await find(`hf:o/m@${old.commit}`, { ...settings, offline: true })).commit).toBe(old.commit)
  })

  test('a missing or truncated file is downloaded again', async () => {
    hub.commit('o/m', one())
    const settings = settingsFor()
    const { location } = await fetchModel('hf:o/m', settings)
    writeFileSync(location, 'short')
    expect(await failure(find('hf:o/m', { ...settings, offline: true }))).toMatchObject({ reason: 'offline' })
    await find('hf:o/m', settings)
    expectLarge(location)
  })

  test('planning a pull downloads and writes nothing', async () => {
    hub.commit('o/m', { ...one(), 'weights.yaml': 'model: {}' })
    const settings = settingsFor()
    const plan = await planPull(parseHubSource('hf:o/m'), 'model', settings, {}, ['*.md'])
    expect(plan.files.map(({ path: name }) => name)).toEqual(['weights.safetensors', 'weights.yaml', 'README.md'])
    expect(plan.missingBytes).toBe(300_000 + 9 + 1)
    expect(existsSync(settings.cacheDir)).toBe(false)
    expect(hub.count('resolve')).toBe(0)
  })

  test('a paginated list with links to another host', async () => {
    hub.page = 1
    hub.commit('o/m', { ...one(), 'weights.yaml': 'model: {}' })
    expect((await fetchModel('hf:o/m', settingsFor())).files).toHaveLength(2)
    expect(hub.count('api')).toBe(5)
  })

  test('pins: the first pull records the revision, later ones use it', async () => {
    const lockFile = path.join(folder, 'latent.lock.json')
    const commit = hub.commit('o/m', one())
    await fetchModel('hf:o/m', settingsFor({ lockFile }))
    expect(JSON.parse(readFileSync(lockFile, 'utf8'))).toEqual({
      version: 1,
      models: { 'hf:o/m': { commit, files: { 'weights.safetensors': sha256(large) } } },
    })
    hub.commit('o/m', one(Buffer.from('newer')))
    const settings = settingsFor({ lockFile })
    expect((await fetchModel('hf:o/m', settings)).commit).toBe(commit)
    expect((await find('hf:o/m', { ...settings, offline: true })).commit).toBe(commit)
    // Files that are not those of the list are refused.
    writeFileSync(lockFile, readFileSync(lockFile, 'utf8').replace(sha256(large), 'a'.repeat(64)))
    expect(await failure(fetchModel('hf:o/m', settings))).toMatchObject({ reason: 'integrity' })
    writeFileSync(lockFile, '{"version":1,"models":{"hf:o/m":{"commit":"../..","files":{}}}}')
    await expect(fetchModel('hf:o/m', settings)).rejects.toMatchObject({ code: 'ERR_MODEL_FORMAT' })
  })
})
