/** The object stores of packages/worker: a folder, and an S3-compatible store on loopback that checks signatures. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { open as openFile, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { openStore, type ObjectStore, type S3Options } from '../../packages/worker/src/index'
import { storeOf } from '../../packages/worker/src/store'
import { MockS3 } from '../helpers/mock-s3'

const png = (text: string) => Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from(text)])
const keyOf = (bytes: Uint8Array, ending = 'png') => `${createHash('sha256').update(bytes).digest('hex')}.${ending}`
const folder = mkdtempSync(path.join(tmpdir(), 'latent-stores-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const account = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', region: 'eu-central-1', bucket: 'images' }
let s3: MockS3
beforeAll(async () => (s3 = await MockS3.start(account)))
afterAll(() => s3[Symbol.asyncDispose]())
afterEach(() => {
  s3.faults = []
  s3.requests.length = 0
  s3.sessionToken = undefined
})

const s3Store = (more: Partial<S3Options> = {}) =>
  openStore({ bucket: account.bucket, region: account.region, endpoint: s3.endpoint, credentials: account, timeoutMs: 60_000, ...more })

describe.each<[string, () => ObjectStore]>([
  ['a folder', () => openStore(path.join(folder, 'store'))],
  ['S3', () => s3Store({ prefix: 'results/2026' })],
])('%s', (_name, open) => {
  test('keeps bytes under their hash, with an ending by their format', async () => {
    const store = open()
    const files: [Uint8Array, string][] = [
      [png('one'), 'png'],
      [Buffer.from('ffd8ff00', 'hex'), 'jpg'],
      [Buffer.from('RIFF\n\n\n\nWEBPVP8 '), 'webp'],
      [Buffer.from('RIFF\n\n\n\nWAVE'), 'bin'],
      [new Uint8Array(0), 'bin'],
      [Buffer.alloc(300_000, 7), 'bin'],
    ]
    for (const [bytes, ending] of files) {
      const key = await store.put(bytes)
      expect(key).toBe(keyOf(bytes, ending))
      expect(await store.put(bytes)).toBe(key)
      expect(Buffer.from(await store.get(key)).equals(bytes)).toBe(true)
    }
  })

  test('a missing object and a wrong key are typed errors', async () => {
    const store = open()
    await expect(store.get(keyOf(png('missing')))).rejects.toMatchObject({ name: 'QueueError', code: 'ERR_OBJECT_MISSING', retriable: false })
    for (const key of ['', '../../etc/passwd', `../${keyOf(png('a'))}`, keyOf(png('a')).toUpperCase(), `${keyOf(png('a'))}/..`, undefined as never])
      await expect(store.get(key)).rejects.toThrow('is not a key of an object store')
  })

  test('a reading that nobody waits for any more is ended', async () => {
    const store = open()
    const key = await store.put(png('one'))
    const reason = new Error('nobody waits')
    await expect(store.get(key, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(Buffer.from(await store.get(key, new AbortController().signal)).equals(png('one'))).toBe(true)
  })

  test('a writing that nobody waits for any more is ended, and leaves nothing', async () => {
    const store = open()
    const reason = new Error('nobody waits')
    await expect(store.put(png('late'), AbortSignal.abort(reason))).rejects.toBe(reason)
    await expect(store.get(keyOf(png('late')))).rejects.toMatchObject({ code: 'ERR_OBJECT_MISSING' })
    expect(await store.put(png('late'), new AbortController().signal)).toBe(keyOf(png('late')))
  })

  test('many at once', async () => {
    const store = open()
    const keys = await Promise.all(Array.from({ length: 40 }, (_, i) => store.put(png(String(i % 10)))))
    expect(new Set(keys).size).toBe(10)
    await Promise.all(keys.map((key) => store.get(key)))
  })
})

/** Replaces a method of open files, until it is disposed of. */
function replaced(method: 'writeFile' | 'sync', work: (...args: any[]) => Promise<void>): Disposable {
  const spy = jest.spyOn(fileHandle, method as 'sync').mockImplementation(work)
  return { [Symbol.dispose]: () => spy.mockRestore() }
}
let fileHandle: FileHandle
beforeAll(async () => {
  await using handle = await openFile(__filename)
  fileHandle = Object.getPrototypeOf(handle) as FileHandle
})

describe('the store of a queue ends reads and writes in time', () => {
  const late = (doing: string, limitMs = 100) => ({
    ...{ name: 'QueueError', code: 'ERR_STORE', retriable: true },
    message: `The object store was not ${doing} within ${limitMs / 1000} s`,
  })
  const until = async (is: () => boolean) => {
    while (!is()) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  /** Too long for a slow disk, and unlike any other time, so that its timers are known. */
  const long = 59_999
  /** Starts work on a store with that limit, waits until it hangs, and ends its time. */
  async function outOfTime<T>(start: () => Promise<T>, isHung: () => boolean): Promise<T> {
    const timers = jest.spyOn(globalThis, 'setTimeout')
    const working = start()
    working.catch(() => {}) // the caller awaits it
    await until(isHung)
    const [end] = timers.mock.calls.find(([, ms]) => ms === long)!
    timers.mockRestore()
    end()
    return working
  }
  const never = () => new Promise<never>(() => {})

  test('of a store that heeds no signal', async () => {
    const store = storeOf({ redis: '', store: { put: never, get: never }, storeTimeoutMs: 100 })
    await expect(store.put(png('a'))).rejects.toMatchObject(late('written'))
    await expect(store.get(keyOf(png('a')))).rejects.toMatchObject(late('read'))
    expect(typeof store.prune).toBe('undefined')
    const patient = storeOf({ redis: '', store: { put: never, get: never } })
    const reason = new Error('nobody waits')
    const control = new AbortController()
    const both = [patient.put(png('a'), control.signal), patient.get(keyOf(png('a')), control.signal)]
    control.abort(reason)
    for (const each of both) await expect(each).rejects.toBe(reason)
  })

  test('of a folder on a disk that hangs', async () => {
    const store = storeOf({ redis: '', store: path.join(folder, 'hung'), storeTimeoutMs: long })
    const place = path.join(folder, 'hung', keyOf(png('a')).slice(0, 2))
    let answer: (() => void) | undefined
    {
      using _ = replaced('sync', () => new Promise<void>((resolve) => (answer = resolve)))
      const isHung = () => answer !== undefined
      await expect(outOfTime(() => store.put(png('a')), isHung)).rejects.toMatchObject(late('written', long))
    }
    expect(readdirSync(place)).toHaveLength(1) // half a file, as long as the disk hangs
    answer!()
    await until(() => readdirSync(place).length === 0)
    const key = await store.put(png('a'))
    expect(Buffer.from(await store.get(key)).equals(png('a'))).toBe(true)
    expect(await store.prune!(-1000)).toBe(1)
  })

  test('of S3', async () => {
    const store = storeOf({ redis: '', store: s3Store({ timeoutMs: 60_000 }), storeTimeoutMs: long })
    s3.faults = ['hang', 'hang']
    const has = (count: number) => () => s3.requests.length === count
    await expect(outOfTime(() => store.put(png('a')), has(1))).rejects.toMatchObject(late('written', long))
    await expect(outOfTime(() => store.get(keyOf(png('a'))), has(2))).rejects.toMatchObject(late('read', long))
    expect(s3.requests).toHaveLength(2)
    expect(await store.put(png('a'))).toBe(keyOf(png('a')))
  })

  test('a time that is none is refused', () => {
    expect(() => storeOf({ redis: '', store: folder, storeTimeoutMs: 0 })).toThrow('storeTimeoutMs must be from 1')
  })
})

describe('a folder', () => {
  const root = path.join(folder, 'own')
  const fileOf = (key: string) => path.join(root, key.slice(0, 2), key)

  test('old objects are deleted, used ones stay, and strange files are left alone', async () => {
    const store = openStore({ directory: root })
    const [old, used, fresh] = (await Promise.all(['old', 'used', 'fresh'].map((text) => store.put(png(text))))) as [string, string, string]
    const past = new Date(Date.now() - 100_000)
    const left = `${fileOf(old)}.0-0.part`
    writeFileSync(left, 'half a file')
    const strange = path.join(root, old.slice(0, 2), 'notes.txt')
    writeFileSync(strange, '')
    for (const file of [fileOf(old), fileOf(used), left, strange]) utimesSync(file, past, past)
    await store.get(used)
    expect(await store.prune!(50_000)).toBe(2)
    expect([old, used, fresh].map((key) => existsSync(fileOf(key)))).toEqual([false, true, true])
    expect([existsSync(left), existsSync(strange)]).toEqual([false, true])
    await store.put(png('old'))
    expect(existsSync(fileOf(old))).toBe(true)
  })

  test('a damaged or cut file is an error, and putting it again repairs a cut one', async () => {
    const store = openStore(root)
    const key = await store.put(png('damaged'))
    writeFileSync(fileOf(key), png('damaged').subarray(0, 9))
    await expect(store.get(key)).rejects.toMatchObject({ code: 'ERR_OBJECT_MISSING' })
    await store.put(png('damaged'))
    expect(Buffer.from(await store.get(key)).equals(png('damaged'))).toBe(true)
  })

  test('what is not a regular file is an error', async () => {
    const store = openStore(root)
    const [device, directory] = [keyOf(png('device')), keyOf(png('directory'))]
    mkdirSync(path.dirname(fileOf(device)), { recursive: true })
    symlinkSync('/dev/zero', fileOf(device))
    mkdirSync(fileOf(directory), { recursive: true })
    for (const key of [device, directory]) await expect(store.get(key)).rejects.toMatchObject({ code: 'ERR_STORE' })
  })

  test('a writing that is ended half-way leaves no part', async () => {
    const store = openStore(path.join(folder, 'ended'))
    await store.put(png('before'))
    const control = new AbortController()
    const reason = new Error('nobody waits')
    using _ = replaced('writeFile', async (_bytes, { signal }) => {
      control.abort(reason)
      ;(signal as AbortSignal).throwIfAborted()
    })
    await expect(store.put(png('ended'), control.signal)).rejects.toBe(reason)
    expect(readdirSync(path.join(folder, 'ended', keyOf(png('ended')).slice(0, 2)))).toEqual([])
  })

  test('a folder that cannot be written is an error, and leaves no part', async () => {
    const blocked = path.join(folder, 'blocked')
    writeFileSync(blocked, 'a file')
    await expect(openStore(blocked).put(png('a'))).rejects.toMatchObject({ code: 'ERR_STORE', retriable: true })
    const full = path.join(folder, 'full')
    mkdirSync(full)
    chmodSync(full, 0o555)
    if (process.getuid?.() !== 0) await expect(openStore(full).put(png('a'))).rejects.toMatchObject({ code: 'ERR_STORE' })
    expect(readdirSync(full)).toEqual([])
  })
})

describe('S3', () => {
  test('the object is at prefix, two digits and key, with its type', async () => {
    const key = await s3Store({ prefix: '/results/' }).put(png('where'))
    expect(s3.objects.get(`results/${key.slice(0, 2)}/${key}`)).toMatchObject({ type: 'image/png' })
    expect(s3.requests).toEqual([`PUT /images/results/${key.slice(0, 2)}/${key}`])
  })

  test('settings from the environment', async () => {
    const saved = { ...process.env }
    const { accessKeyId, secretAccessKey, region } = account
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: region,
      AWS_ENDPOINT_URL: s3.endpoint,
    })
    try {
      const store = openStore('s3://images/of/tests')
      const key = await store.put(png('environment'))
      expect(s3.objects.has(`of/tests/${key.slice(0, 2)}/${key}`)).toBe(true)
      delete process.env.AWS_ACCESS_KEY_ID
      await expect(store.get(key)).rejects.toThrow('set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
    } finally {
      process.env = saved
    }
  })

  test('credentials that expire are asked for before each request', async () => {
    s3.sessionToken = 'token'
    let asked = 0
    const store = s3Store({ credentials: async () => ({ ...account, sessionToken: ++asked > 1 ? 'expired' : 'token' }) })
    const key = await store.put(png('session'))
    await expect(store.get(key)).rejects.toThrow('403 InvalidToken')
  })

  test('credentials that cannot be had are an error of the store', async () => {
    const credentials = () => Promise.reject(new Error('the vault is sealed'))
    const error: unknown = await s3Store({ credentials })
      .put(png('a'))
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'ERR_STORE', retriable: true, message: 'There are no credentials for the object store: the vault is sealed' })
    expect(s3.requests).toHaveLength(0)
  })

  test('wrong credentials, regions and buckets are errors that say so, without another try', async () => {
    const wrong: [Partial<S3Options>, string][] = [
      [{ credentials: { ...account, secretAccessKey: 'wrong' } }, 'refuses to write .*: 403 SignatureDoesNotMatch; check the credentials'],
      [{ credentials: { ...account, accessKeyId: 'other' } }, '403 InvalidAccessKeyId'],
      [{ region: 'us-east-1' }, '403 AuthorizationHeaderMalformed'],
      [{ bucket: 'another' }, '404 NoSuchBucket; check the name of the bucket'],
    ]
    for (const [options, message] of wrong) await expect(s3Store(options).put(png('a'))).rejects.toThrow(new RegExp(message))
    expect(s3.requests).toHaveLength(4)
    await expect(s3Store(wrong[0]![0]).put(png('a'))).rejects.toMatchObject({ code: 'ERR_STORE', retriable: true })
  })

  test('busy stores and lost connections are tried again', async () => {
    const store = s3Store()
    s3.faults = [503, 429, 'drop', 500]
    const key = await store.put(png('again'))
    expect(s3.requests).toHaveLength(5)
    s3.faults = ['cut', 503]
    expect(Buffer.from(await store.get(key)).equals(png('again'))).toBe(true)
  })

  test('after the last try the error is retriable', async () => {
    s3.faults = [503, 503, 503]
    await expect(s3Store({ retries: 2 }).put(png('a'))).rejects.toMatchObject({ code: 'ERR_STORE', retriable: true })
    expect(s3.requests).toHaveLength(3)
    s3.faults = ['drop', 'drop']
    await expect(s3Store({ retries: 1 }).put(png('a'))).rejects.toMatchObject({
      message: expect.stringContaining('does not answer'),
      retriable: true,
    })
  })

  test('a store that does not answer is given up in time, and redirects are not followed', async () => {
    s3.faults = ['redirect']
    await expect(s3Store({ retries: 0 }).put(png('a'))).rejects.toMatchObject({
      code: 'ERR_STORE',
      retriable: true,
      message: expect.stringMatching(/307; redirects are not followed: check the region and the endpoint$/) as string,
    })
    s3.faults = ['hang'] // last: a request that was given up may yet arrive
    await expect(s3Store({ retries: 0, timeoutMs: 100 }).put(png('a'))).rejects.toMatchObject({ code: 'ERR_STORE', retriable: true })
  })

  test('a reading from a store that hangs is ended by its signal, without another try', async () => {
    const store = s3Store({ timeoutMs: 60_000 })
    const key = await store.put(png('hangs'))
    s3.requests.length = 0
    s3.faults = ['hang']
    const control = new AbortController()
    const reason = new Error('nobody waits')
    const reading = store.get(key, control.signal)
    reading.catch(() => {})
    while (s3.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    control.abort(reason)
    await expect(reading).rejects.toBe(reason)
    expect(s3.requests).toHaveLength(1)
  })

  test('a writing to a store that hangs is ended by its signal, without another try', async () => {
    const store = s3Store({ timeoutMs: 60_000 })
    s3.faults = ['hang']
    const control = new AbortController()
    const reason = new Error('nobody waits')
    const writing = store.put(png('hangs'), control.signal)
    writing.catch(() => {})
    while (s3.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    control.abort(reason)
    await expect(writing).rejects.toBe(reason)
    expect(s3.requests).toHaveLength(1)
  })

  test('a store that names the region of the bucket: the error tells it', async () => {
    const reply = (status: number, body: string, headers = {}) =>
      jest.spyOn(globalThis, 'fetch').mockResolvedValueOnce(new Response(body, { status, headers }))
    try {
      reply(400, '<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>')
      await expect(s3Store().put(png('a'))).rejects.toThrow('400 AuthorizationHeaderMalformed; the bucket is in the region eu-west-1, not')
      reply(301, '<Error><Code>PermanentRedirect</Code><Endpoint>images.s3.eu-west-1.amazonaws.com</Endpoint></Error>', {
        'x-amz-bucket-region': 'eu-west-1',
      })
      await expect(s3Store().put(png('a'))).rejects.toThrow('301 PermanentRedirect; the bucket is in the region eu-west-1, not')
      reply(301, '<Error><Code>PermanentRedirect</Code><Endpoint>other.example</Endpoint></Error>')
      await expect(s3Store().put(png('a'))).rejects.toThrow('(it names other.example)')
    } finally {
      jest.restoreAllMocks()
    }
  })

  test('damaged contents are an error', async () => {
    const store = s3Store()
    const key = await store.put(png('flipped'))
    s3.objects.get(`${key.slice(0, 2)}/${key}`)!.bytes[9]! ^= 1
    await expect(store.get(key)).rejects.toMatchObject({ code: 'ERR_OBJECT_MISSING' })
  })

  test('wrong settings are refused', () => {
    for (const options of [{ bucket: 'A' }, { bucket: 'a/b' }, { prefix: '../x' }, { prefix: 'a?b' }, { endpoint: 'minio' }, { endpoint: 'ftp://x' }])
      expect(() => s3Store(options)).toThrow(RangeError)
    expect(() => openStore('s3://images?x')).toThrow('is not s3://bucket')
    expect(() => openStore(7 as never)).toThrow(TypeError)
  })
})
