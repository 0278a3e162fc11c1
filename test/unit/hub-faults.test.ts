/** A thousand things that go wrong between a hub and the cache, by a seed: nothing wrong is ever accepted, nothing hangs, and it goes on when the hub recovers. */
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { DownloadError } from '../../lib/hub/errors'
import { pull, type Pulled } from '../../lib/hub/pull'
import { resolveHub, type HubSettings } from '../../lib/hub/settings'
import { parseHubSource } from '../../lib/hub/source'
import { temporaryFolder } from '../helpers/golden'
import { anyFaults, apiFaults, blobName, bodyFaults, gitHash, MockHub, sha256, type HubRequest } from '../helpers/mock-hub'

const { folder, remove } = temporaryFolder()
let hub: MockHub
beforeAll(async () => {
  hub = await MockHub.start()
})
afterAll(async () => {
  await hub.stop()
  remove()
})

/** mulberry32: the same numbers everywhere. */
function randomNumbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** The files of a small diffusers model, some of them unread, with its content from `random`. */
function makeModel(random: () => number): Record<string, Buffer> {
  const bytes = (size: number) => Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)))
  const shards = { weight_map: { a: 'diffusion_pytorch_model-00001-of-00002.safetensors', b: 'diffusion_pytorch_model-00002-of-00002.safetensors' } }
  return {
    'model_index.json': Buffer.from(JSON.stringify({ unet: ['diffusers', 'X'], vae: ['diffusers', 'Y'], n: random() })),
    'scheduler/scheduler_config.json': Buffer.from('{}'),
    'unet/config.json': Buffer.from('{"u":1}'),
    'unet/diffusion_pytorch_model.safetensors.index.json': Buffer.from(JSON.stringify(shards)),
    'unet/diffusion_pytorch_model-00001-of-00002.safetensors': bytes(5000),
    'unet/diffusion_pytorch_model-00002-of-00002.safetensors': bytes(1),
    'vae/config.json': Buffer.from('{"v":1}'),
    'vae/diffusion_pytorch_model.safetensors': bytes(3000),
    'vae/diffusion_pytorch_model.bin': bytes(10),
    'text_encoder/config.json': Buffer.from('{"v":1}'),
    'text_encoder/model.safetensors': bytes(700),
    'README.md': Buffer.from('# unread'),
  }
}

function filesUnder(root: string): string[] {
  if (!existsSync(root)) return []
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
}

/** Every blob has the content that its name promises, every file of a snapshot is that of its commit, and nothing lies outside. */
function checkCache(cache: string): void {
  const repo = path.join(cache, 'models--o--m')
  for (const file of filesUnder(path.join(repo, 'blobs'))) {
    const name = path.basename(file)
    if (name.includes('.latent.incomplete')) continue
    const content = readFileSync(file)
    if (name !== sha256(content) && name !== gitHash(content)) throw new Error(`${file} has another hash`)
  }
  const snapshots = path.join(repo, 'snapshots')
  // Links to blobs that the test has taken away lead nowhere.
  for (const file of filesUnder(snapshots).filter((each) => existsSync(each))) {
    const [commit, ...inner] = path.relative(snapshots, file).split(path.sep)
    const wanted = hub.repos.get('o/m')!.history.get(commit!)?.get(inner.join('/'))
    if (!wanted || !readFileSync(file).equals(wanted)) throw new Error(`${file} is not the file of its commit`)
  }
  const strays = filesUnder(cache).filter((file) => file.endsWith('.tmp') || /evil|passwd/.test(file))
  if (strays.length > 0) throw new Error(`left over: ${strays.join(', ')}`)
  for (const ref of filesUnder(path.join(repo, 'refs')))
    if (!hub.repos.get('o/m')!.history.has(readFileSync(ref, 'utf8'))) throw new Error(`${ref} names no commit`)
}

function checkPulled({ commit, files, location }: Pulled): void {
  const wanted = hub.repos.get('o/m')!.history.get(commit)!
  const read = [...wanted.keys()].filter((name) => !/README|\.bin$/.test(name))
  expect(files.map((file) => file.path).sort()).toEqual(read.sort())
  for (const name of read) if (!readFileSync(path.join(location, name)).equals(wanted.get(name)!)) throw new Error(`${name} differs`)
}

const forApi = [...Object.keys(apiFaults), ...Object.keys(anyFaults), 'cut', 'cut chunked', 'short', 'stall', 'gzip', 'endless']
const forBodies = [...Object.keys(bodyFaults), ...Object.keys(anyFaults), 'other etag', 'ignore range']
/** These cost a timeout each; once in a while is enough. */
const slow = new Set(['silence', 'stall', 'endless'])

test('1,000 faults: no wrong data is accepted, and no call hangs', async () => {
  const random = randomNumbers(20_261_128)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const cache = path.join(folder, 'cache')
  const settings: HubSettings = {
    ...resolveHub({ endpoint: hub.endpoint, cacheDir: cache, token: false, localFilesOnly: false, timeout: 60 }),
    backoff: 1,
  }
  let faults = 0
  const kinds = new Map<string, number>()
  let rate = 0
  const fault = (request: HubRequest) => {
    if (random() >= rate) return undefined
    let name = pick(request.kind === 'api' ? forApi : forBodies)
    if (slow.has(name) && random() < 0.7) name = 'reset'
    faults++
    kinds.set(name, (kinds.get(name) ?? 0) + 1)
    return name
  }
  let successes = 0
  const reasons = new Map<string, number>()
  hub.commit('o/m', makeModel(random))
  // Requests go side by side, so who draws which fault differs from run to run: on until the dice have reached everything.
  const wantedKinds = new Set([...forApi, ...forBodies]).size
  const enough = () => faults >= 1000 && kinds.size === wantedKinds && successes > 20 && reasons.size > 3
  while (!enough() && faults < 10_000) {
    // Now a new commit, now a part of the cache lost, now all of it.
    const dice = random()
    if (dice < 0.1) hub.commit('o/m', makeModel(random))
    else if (dice < 0.4) rmSync(path.join(cache, 'models--o--m'), { recursive: true, force: true })
    else if (dice < 0.7) for (const file of filesUnder(path.join(cache, 'models--o--m'))) if (random() < 0.3) rmSync(file, { force: true })
    rate = pick([0.2, 0.4, 0.7])
    hub.fault = fault
    try {
      checkPulled(await pull(parseHubSource('hf:o/m'), 'model', settings))
      successes++
    } catch (error) {
      if (!(error instanceof DownloadError)) throw error
      expect(error.code).toBe('ERR_DOWNLOAD')
      reasons.set(error.reason, (reasons.get(error.reason) ?? 0) + 1)
    }
    checkCache(cache)
  }
  hub.fault = undefined
  checkPulled(await pull(parseHubSource('hf:o/m'), 'model', { ...settings, timeout: 10_000 }))
  const never = [...forApi, ...forBodies].filter((name) => !kinds.has(name))
  expect(never).toEqual([])
  expect(successes).toBeGreaterThan(20)
  expect(reasons.size).toBeGreaterThan(3)
  expect(filesUnder(path.join(cache, '.locks'))).toEqual([])
}, 600_000)

test('the test hub without faults works', async () => {
  hub.fault = undefined
  const files = makeModel(randomNumbers(1))
  hub.commit('o/n', files)
  const cache = path.join(folder, 'honest')
  const settings = resolveHub({ endpoint: hub.endpoint, cacheDir: cache, token: false, localFilesOnly: false })
  const { location } = await pull(parseHubSource('hf:o/n'), 'model', settings)
  for (const name of ['unet/config.json', 'vae/diffusion_pytorch_model.safetensors']) {
    expect(readFileSync(path.join(location, name))).toEqual(files[name])
    expect(lstatSync(path.join(cache, 'models--o--n', 'blobs', blobName(name, files[name]!))).isFile()).toBe(true)
  }
  expect(existsSync(path.join(location, 'README.md'))).toBe(false)
})
