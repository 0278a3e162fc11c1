/** Names of models, the choice of files, settings; the second site; what lies in the caches. */
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { DownloadError } from '../../lib/hub/errors'
import { listCache, removeFromCache, removeIncomplete, verifyCache } from '../../lib/hub/manage'
import { pull } from '../../lib/hub/pull'
import { locate } from '../../lib/hub/resolve'
import { selectFiles, shardsOf, type Role } from '../../lib/hub/selection'
import { huggingFaceCache, latentCache, resolveHub, type HubOptions, type HubSettings } from '../../lib/hub/settings'
import { parseHubSource, readHubSource } from '../../lib/hub/source'
import { temporaryFolder } from '../helpers/golden'
import { MockHub, sha256 } from '../helpers/mock-hub'

const { folder, remove } = temporaryFolder()
afterAll(remove)

describe('names', () => {
  test.each([
    ['hf:o/m', { repo: 'o/m', revision: 'main', inner: '', tag: undefined, name: 'hf:o/m' }],
    ['hf:o/m@v1.0', { revision: 'v1.0', name: 'hf:o/m@v1.0' }],
    ['hf:o/m@refs/pr/3/unet', { revision: 'refs/pr/3', inner: 'unet' }],
    ['hf:o/m/a b/c.safetensors', { inner: 'a b/c.safetensors' }],
    ['hf:o/m:q8_0', { tag: 'q8_0', inner: '' }],
    ['civitai:128713', { site: 'civitai', repo: '128713', revision: '128713' }],
    ['civitai:4384@128713/x.safetensors', { repo: '128713', inner: 'x.safetensors' }],
    ['urn:air:sd1:checkpoint:civitai:4384@128713', { repo: '128713' }],
  ])('%s', (text, wanted) => expect(parseHubSource(text)).toMatchObject(wanted))

  test.each([
    'hf:o',
    'hf:o/m/../x',
    'hf:../..',
    'hf:o--x/m',
    'hf:o/m@..',
    'hf:o/m/a\\b',
    'hf:o/m/con',
    'hf:o/m//x',
    'hf:o/m/x.',
    'civitai:abc',
    'civitai:',
    'civitai:1/a/b',
  ])('%s is none', (text) => expect(() => parseHubSource(text)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' })))

  test('URLs copied from a browser', () => {
    const settings = resolveHub({ token: false }, {})
    const read = (url: string) => readHubSource(url, settings, 'source')
    const hub = settings.hub.endpoint.origin
    expect(read(`${hub}/o/m`)).toEqual(parseHubSource('hf:o/m'))
    expect(read(`${hub}/o/m/resolve/main/a/b.gguf?download=true`)).toEqual(parseHubSource('hf:o/m/a/b.gguf'))
    expect(read(`${hub}/o/m/tree/fp16`)).toEqual(parseHubSource('hf:o/m@fp16'))
    expect(read(`${settings.civitai.endpoint.origin}/models/4384/dream?modelVersionId=128713`)).toEqual(parseHubSource('civitai:128713'))
    expect(() => read('https://elsewhere.example/o/m')).toThrow(/not the address of a model/)
  })
})

describe('settings', () => {
  test('environment variables, overridden by options', () => {
    const file = path.join(folder, 'token')
    writeFileSync(file, 'stored\n')
    expect(resolveHub(undefined, { HF_TOKEN_PATH: file }).hub.token).toBe('stored')
    expect(resolveHub(undefined, { HF_TOKEN_PATH: file, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }).hub.token).toBeUndefined()
    expect(resolveHub(undefined, { HF_TOKEN_PATH: file, HF_TOKEN: ' named ' }).hub.token).toBe('named')
    expect(resolveHub({ token: false }, { HF_TOKEN: 'named' }).hub.token).toBeUndefined()
    expect(resolveHub({ endpoint: 'http://mirror.example/hub/' }, { HF_ENDPOINT: 'http://other.example' }).hub.endpoint.href).toBe(
      'http://mirror.example/hub',
    )
    expect(resolveHub(undefined, { HF_HUB_OFFLINE: 'true', HF_HUB_DOWNLOAD_TIMEOUT: '5' })).toMatchObject({ offline: true, timeout: 5000 })
    expect(latentCache({ XDG_CACHE_HOME: '/c' })).toBe(path.resolve('/c/node-latent-diffusion'))
    expect(huggingFaceCache({ HF_HOME: '~/x' })).not.toContain('~')
  })

  test.each<[HubOptions, RegExp]>([
    [{ token: 'two words' }, /not an access token/],
    [{ token: 'line\r\nX-Header: 1' }, /not an access token/],
    [{ endpoint: 'file:///x' }, /http or https URL/],
    [{ endpoint: 'https://user:word@x' }, /without a user name/],
    [{ variant: '../x' }, /variant/],
    [{ timeout: 0 }, /timeout/],
    [{ cacheDir: '' }, /cacheDir/],
    [{ offline: true } as object, /unknown option 'offline'/],
  ])('%j is refused', (options, message) => expect(() => resolveHub(options, {})).toThrow(message))
})

describe('choosing files', () => {
  const choose = (paths: string[], options: { role?: Role; variant?: string; inner?: string; tag?: string } = {}) => {
    const { role = 'model', variant, inner = '', tag } = options
    return selectFiles(paths, { name: 'hf:o/m', role, variant, inner, tag })
  }
  const sd = [
    ...[
      'model_index.json',
      'README.md',
      'v1-5.ckpt',
      'scheduler/scheduler_config.json',
      'safety_checker/model.safetensors',
      'tokenizer/vocab.json',
      'tokenizer/merges.txt',
    ],
    ...['unet', 'vae'].flatMap((part) =>
      ['config.json', ...['', '.fp16'].flatMap((v) => [`diffusion_pytorch_model${v}.safetensors`, `diffusion_pytorch_model${v}.bin`])].map(
        (name) => `${part}/${name}`,
      ),
    ),
    ...[
      'text_encoder/config.json',
      'text_encoder/model.safetensors',
      'text_encoder/pytorch_model.bin',
      'text_encoder/model.fp16.safetensors',
      'text_encoder/flax_model.msgpack',
    ],
  ]

  test('a diffusers model: one set of weights and the other files needed', () => {
    const { entry, files } = choose(sd)
    expect(entry).toBe('')
    expect(files.sort()).toEqual(
      [
        ...[
          'model_index.json',
          'scheduler/scheduler_config.json',
          'tokenizer/merges.txt',
          'tokenizer/vocab.json',
          'text_encoder/config.json',
          'text_encoder/model.safetensors',
        ],
        ...['unet', 'vae'].flatMap((part) => [`${part}/config.json`, `${part}/diffusion_pytorch_model.safetensors`]),
      ].sort(),
    )
  })

  test('variants, by option and by tag; a missing one is an error', () => {
    for (const options of [{ variant: 'fp16' }, { tag: 'fp16' }]) {
      const weights = choose(sd, options).files.filter((file) => file.endsWith('.safetensors'))
      expect(weights.every((file) => file.includes('.fp16.'))).toBe(true)
      expect(weights).toHaveLength(3)
    }
    expect(() => choose(sd, { variant: 'fp8' })).toThrow(/no variant 'fp8'; there are fp16/)
  })

  test('parts', () => {
    expect(choose(sd, { role: 'vae' }).files.sort()).toEqual(['vae/config.json', 'vae/diffusion_pytorch_model.safetensors'])
    expect(choose(sd, { role: 'firstStage' }).files.some((file) => file.startsWith('unet/'))).toBe(false)
    expect(choose(sd, { role: 'tokenizer' }).files.sort()).toEqual(['tokenizer/merges.txt', 'tokenizer/vocab.json'])
    expect(choose(sd, { inner: 'unet' })).toMatchObject({ entry: 'unet', files: expect.arrayContaining(['unet/config.json']) })
    expect(choose(['model.safetensors', 'config.json', 'tokenizer.json'], { role: 'textEncoder' }).files).toEqual([
      'model.safetensors',
      'config.json',
    ])
  })

  test('single files: by name, by a word of the name, or the only one', () => {
    const quantised = ['m-Q4_0.gguf', 'm-Q8_0.gguf', 'x/m-f16.gguf', 'README.md']
    expect(choose(quantised, { tag: 'q8_0' })).toEqual({ entry: 'm-Q8_0.gguf', files: ['m-Q8_0.gguf'], indexes: [] })
    expect(choose(quantised, { tag: 'm-Q4_0.gguf' }).entry).toBe('m-Q4_0.gguf')
    expect(() => choose(quantised)).toThrow(/has 2 model files: m-Q4_0\.gguf, m-Q8_0\.gguf\. Choose one/)
    expect(() => choose(quantised, { tag: 'q5' })).toThrow(/no model file with 'q5'/)
    expect(choose(['a.ckpt', 'a.safetensors', 'a.yaml', 'b.yaml']).files).toEqual(['a.safetensors', 'a.yaml'])
    expect(choose(sd, { inner: 'v1-5.ckpt' }).files).toEqual(['v1-5.ckpt'])
    expect(() => choose(['README.md'])).toThrow(/has no model/)
    expect(() => choose(['unet/x.onnx', 'model_index.json'])).toThrow(/no supported weights in unet/)
  })

  test('shards', () => {
    const index = 'unet/diffusion_pytorch_model.safetensors.index.json'
    expect(choose(['model_index.json', index, 'unet/config.json'])).toMatchObject({ indexes: [index] })
    expect(shardsOf(index, '{"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors","c":"x-1.safetensors"}}', { name: 'm' })).toEqual([
      'unet/x-1.safetensors',
      'unet/x-2.safetensors',
    ])
    for (const bad of ['', '[]', 'null', '{"weight_map":{"a":"../x"}}', '{"weight_map":{"a":1}}', '{"weight_map":{"a":".x"}}'])
      expect(() => shardsOf(index, bad, { name: 'm' })).toThrow(DownloadError)
  })
})

describe('the caches', () => {
  let hub: MockHub
  let count = 0
  beforeAll(async () => {
    hub = await MockHub.start()
  })
  afterAll(() => hub.stop())
  const settingsFor = (extra: Partial<HubSettings> = {}): HubSettings => ({
    ...resolveHub({ endpoint: hub.endpoint, cacheDir: path.join(folder, `cache-${count++}`), token: false, localFilesOnly: false, timeout: 5000 }),
    backoff: 1,
    ...extra,
  })
  const source = parseHubSource('hf:o/m')
  const bytes = Buffer.from('some weights')

  test('without symbolic links: files in place, shared content copied, verified by the list', async () => {
    hub.commit('o/m', { 'unet/model.safetensors': bytes, 'vae/model.safetensors': bytes, 'unet/config.json': '{}', 'vae/config.json': '{}' })
    const settings = settingsFor({ symlinks: false })
    const { location } = await pull(source, 'model', settings)
    for (const name of ['unet/model.safetensors', 'vae/model.safetensors', 'unet/config.json'])
      expect(lstatSync(path.join(location, name)).isFile()).toBe(true)
    expect(readdirSync(path.join(settings.cacheDir, 'models--o--m', 'blobs'))).toEqual([])
    const requests = hub.requests.length
    expect((await pull(source, 'model', settings)).files.every(({ fetched }) => !fetched)).toBe(true)
    expect(hub.requests.slice(requests).every(({ kind }) => kind === 'api')).toBe(true)
    expect((await locate(source, 'model', { ...settings, offline: true })).location).toBe(location)
    writeFileSync(path.join(location, 'vae/model.safetensors'), 'same weightz')
    const states = (await verifyCache([], settings)).map(({ file, state }) => `${file} ${state}`)
    expect(states).toContain('vae/model.safetensors damaged')
    expect(states.filter((state) => state.endsWith(' ok'))).toHaveLength(3)
  })

  test('a blob in the shared store of newer Python libraries is used through both links and not deleted', async () => {
    hub.commit('o/m', { 'weights.safetensors': bytes })
    const settings = settingsFor()
    const { location } = await pull(source, 'model', settings)
    const store = path.join(settings.cacheDir, 'blobs', 'ab', 'ab'.repeat(32))
    mkdirSync(path.dirname(store), { recursive: true })
    const blob = path.join(settings.cacheDir, 'models--o--m', 'blobs', sha256(bytes))
    renameSync(blob, store)
    symlinkSync(path.relative(path.dirname(blob), store), blob)
    expect((await locate(source, 'model', { ...settings, offline: true })).location).toBe(location)
    expect((await verifyCache([source], settings)).map(({ state }) => state)).toEqual(['ok'])
    await removeFromCache(source, settings)
    expect(readFileSync(store)).toEqual(bytes)
  })

  test('a cache written by an older Python library, without a list', async () => {
    const commit = hub.commit('o/m', {
      'model_index.json': '{"unet":["d","U"],"vae":["d","V"]}',
      'unet/model.safetensors': bytes,
      'vae/model.safetensors': Buffer.from('v'),
    })
    const settings = settingsFor()
    const { location } = await pull(source, 'model', settings)
    const repo = path.join(settings.cacheDir, 'models--o--m')
    renameSync(path.join(repo, 'trees'), path.join(repo, 'moved'))
    const offline = { ...settings, offline: true }
    expect((await locate(source, 'model', offline)).location).toBe(location)
    cpSync(repo, path.join(settings.cacheDir, 'models--o--half'), { recursive: true, verbatimSymlinks: true })
    const half = path.join(settings.cacheDir, 'models--o--half', 'snapshots', commit, 'vae')
    renameSync(half, `${half}-gone`)
    await expect(locate(parseHubSource('hf:o/half'), 'model', offline)).rejects.toMatchObject({ reason: 'offline' })
  })

  test('deleting one of two revisions keeps the shared files', async () => {
    const first = hub.commit('o/m', { 'weights.safetensors': bytes, 'weights.yaml': 'model: {a: 1}' })
    const settings = settingsFor()
    await pull(source, 'model', settings)
    const second = hub.commit('o/m', { 'weights.safetensors': bytes, 'weights.yaml': 'model: {a: 2}' })
    const { location } = await pull(source, 'model', settings)
    writeFileSync(path.join(settings.cacheDir, 'models--o--m', 'blobs', `${'c'.repeat(64)}.00aa.latent.incomplete`), 'half')
    expect(await listCache(settings)).toMatchObject([
      {
        source: 'hf:o/m',
        incompleteBytes: 4,
        revisions: expect.arrayContaining([
          expect.objectContaining({ commit: first, refs: [] }),
          expect.objectContaining({ commit: second, refs: ['main'] }),
        ]),
      },
    ])
    expect(await removeIncomplete(settings)).toBe(4)
    expect(await removeFromCache(parseHubSource(`hf:o/m@${first}`), settings)).toBe(13)
    expect(readFileSync(location)).toEqual(bytes)
    expect((await listCache(settings))[0]!.revisions.map(({ commit }) => commit)).toEqual([second])
    await expect(removeFromCache(parseHubSource('hf:o/other'), settings)).rejects.toMatchObject({ reason: 'not_found' })
    expect(await removeFromCache(source, settings)).toBe(bytes.length + 13)
    expect(existsSync(path.join(settings.cacheDir, 'models--o--m'))).toBe(false)
  })
})

describe('civitai', () => {
  const weights = Buffer.from('weights of a model')
  let server: Server
  let endpoint = ''
  let version: Record<string, unknown>
  let answer: (request: IncomingMessage, response: ServerResponse) => void
  const asked: IncomingMessage[] = []
  const file = (name: string, more: object = {}) => ({
    name,
    type: 'Model',
    sizeKB: weights.length / 1024,
    hashes: { SHA256: sha256(weights).toUpperCase() },
    downloadUrl: 'https://civitai.invalid/api/download/models/77?type=Model&token=leak',
    primary: true,
    ...more,
  })
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request)
      if (request.url!.startsWith('/api/v1/model-versions/')) return void response.end(JSON.stringify(version))
      answer(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => new Promise((resolve) => server.close(resolve)))
  beforeEach(() => {
    asked.length = 0
    answer = (_, response) => response.end(weights)
    version = { id: 77, files: [file('model.safetensors')] }
  })
  let count = 0
  const run = (options: HubOptions = {}, name = 'civitai:77') => {
    const settings = {
      ...resolveHub({
        civitaiEndpoint: endpoint,
        civitaiToken: false,
        localFilesOnly: false,
        cacheDir: path.join(folder, `civitai-${count++}`),
        timeout: 5000,
        ...options,
      }),
      backoff: 1,
    }
    return pull(parseHubSource(name), 'model', settings)
  }

  test('a version is downloaded from the requested site and verified by its hash, with its configuration', async () => {
    const config = Buffer.from('model: {}')
    version.files = [
      file('model.safetensors'),
      file('training.zip', { type: 'Training Data' }),
      file('other name.yaml', {
        type: 'Config',
        primary: false,
        sizeKB: 0.01,
        hashes: { SHA256: sha256(config) },
        downloadUrl: `${endpoint}/api/download/models/77?type=Config`,
      }),
    ]
    answer = (request, response) => response.end(request.url!.includes('type=Config') ? config : weights)
    const { location, files } = await run({ civitaiToken: 'key' })
    expect(readFileSync(location)).toEqual(weights)
    expect(files.map((each) => each.path).sort()).toEqual(['model.safetensors', 'model.yaml'])
    expect(asked.every(({ headers }) => headers.authorization === 'Bearer key')).toBe(true)
    expect(asked.some(({ url }) => url!.includes('leak'))).toBe(false)
  })

  test('pickles are rejected unless requested; files that failed a scan or have no hash are never used', async () => {
    version.files = [file('model.ckpt')]
    await expect(run()).rejects.toMatchObject({ reason: 'pickle', message: expect.stringMatching(/--allow-pickle/) })
    expect((await run({ allowPickle: true })).location).toMatch(/model\.ckpt$/)
    for (const more of [{ virusScanResult: 'Danger' }, { hashes: {} }, { name: '../model.safetensors' }, { sizeKB: 1e30 }]) {
      version.files = [file('model.safetensors', more)]
      await expect(run()).rejects.toMatchObject({ reason: 'choice' })
    }
  })

  test('wrong bytes, endless bodies and login pages', async () => {
    answer = (_, response) => response.end(Buffer.alloc(weights.length))
    await expect(run()).rejects.toMatchObject({ reason: 'integrity' })
    answer = (_, response) => response.end(Buffer.alloc(100_000))
    await expect(run()).rejects.toMatchObject({ reason: 'bad_answer' })
    answer = (request, response) =>
      request.url!.startsWith('/login') ? response.end('<!doctype html>') : response.writeHead(302, { location: '/login?returnUrl=x' }).end()
    await expect(run()).rejects.toMatchObject({ reason: 'gated', message: expect.stringMatching(/API key.*CIVITAI_TOKEN/) })
    answer = (_, response) => response.writeHead(401).end()
    await expect(run()).rejects.toMatchObject({ reason: 'gated' })
    version.id = 78
    await expect(run()).rejects.toMatchObject({ reason: 'bad_answer' })
  })
})
