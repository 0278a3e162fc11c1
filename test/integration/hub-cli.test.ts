/** `latent pull | list | verify | rm` in processes of their own, against a hub on loopback: two at once, one killed in the middle, one interrupted. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../helpers/golden'
import { gitHash, MockHub, sha256 } from '../helpers/mock-hub'

const root = path.resolve(__dirname, '..', '..')
const { folder, remove } = temporaryFolder()
let hub: MockHub
beforeAll(async () => {
  hub = await MockHub.start()
})
beforeEach(() => {
  hub.fault = hub.pace = undefined
  hub.requests.length = 0
})
afterAll(async () => {
  await hub.stop()
  remove()
})

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

function start(argv: string[], cache: string, env: Record<string, string> = {}): { child: ChildProcess; ended: Promise<Ended> } {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(HF_|HUGGING|LATENT_CACHE|XDG_CACHE|CIVITAI|https?_proxy)/i.test(name)),
  )
  const child = spawn(process.execPath, [path.join(root, 'dist', 'cli', 'main.js'), ...argv], {
    env: {
      ...clean,
      HF_ENDPOINT: hub.endpoint,
      HF_HOME: path.join(cache, 'home'),
      HF_HUB_CACHE: cache,
      LATENT_CACHE: path.join(cache, 'own'),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const texts = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (texts.stdout += String(chunk)))
  child.stderr.on('data', (chunk) => (texts.stderr += String(chunk)))
  return { child, ended: new Promise((resolve) => child.once('close', (code) => resolve({ code, ...texts }))) }
}

const latent = (argv: string[], cache: string, env?: Record<string, string>) => start(argv, cache, env).ended

const weights = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 31) & 255))
const files = { 'weights.safetensors': weights, 'weights.yaml': 'model: {}', 'README.md': '# unread' }

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 3000) throw new Error('waited for too long')
    await sleep(10)
  }
}

test('pull, list, verify, rm; the cache has the layout of the Python library', async () => {
  const cache = path.join(folder, 'one')
  const commit = hub.commit('o/m', files)
  const pulled = await latent(['pull', 'hf:o/m'], cache)
  expect(pulled).toMatchObject({ code: 0, stderr: '' })
  expect(pulled.stdout).toMatch(/^hf:o\/m at [0-9a-f]{12}, licence openrail\n2 files, 400\.0 kB, 400\.0 kB downloaded now\n/)

  const repo = path.join(cache, 'models--o--m')
  const pointer = path.join(repo, 'snapshots', commit, 'weights.safetensors')
  expect(pulled.stdout).toContain(pointer)
  expect(readFileSync(path.join(repo, 'refs', 'main'), 'utf8')).toBe(commit)
  expect(readdirSync(path.join(repo, 'blobs')).sort()).toEqual([gitHash(Buffer.from('model: {}')), sha256(weights)].sort())
  if (process.platform !== 'win32') {
    expect(lstatSync(pointer).isSymbolicLink()).toBe(true)
    expect(readlinkSync(pointer)).toBe(`../../blobs/${sha256(weights)}`)
  }
  const tree = JSON.parse(readFileSync(path.join(repo, 'trees', `${commit}.json`), 'utf8'))
  expect(tree).toMatchObject({
    format_version: 1,
    files: { 'weights.safetensors': { size: 400_000, lfs_sha256: sha256(weights), lfs_size: 400_000 } },
  })
  expect(tree.files['README.md']).toEqual({ size: 8, blob_id: gitHash(Buffer.from('# unread')) })

  const list = await latent(['list'], cache)
  expect(list.stdout).toMatch(/^MODEL +REVISION +REFS +SIZE +FILES +FETCHED\nhf:o\/m +[0-9a-f]{12} +main +400\.0 kB +2 files +\d{4}-/)
  const [model] = JSON.parse((await latent(['list', '--json'], cache)).stdout)
  expect(model).toMatchObject({ source: 'hf:o/m', bytes: 400_009, incompleteBytes: 0, revisions: [{ commit, refs: ['main'], files: 2 }] })

  expect(await latent(['verify'], cache)).toMatchObject({ code: 0, stdout: '2 files: 2 correct, 0 damaged, 0 missing\n' })
  const blob = realpathSync(pointer)
  const damaged = Buffer.from(weights)
  damaged[5]! ^= 1
  writeFileSync(blob, damaged)
  const found = await latent(['verify', 'hf:o/m'], cache)
  expect(found.code).toBe(1)
  expect(found.stdout).toMatch(/^damaged: hf:o\/m@[0-9a-f]{12} weights\.safetensors\n/)
  expect((await latent(['verify', '--remove'], cache)).code).toBe(1)
  expect(existsSync(pointer)).toBe(false)
  expect((await latent(['pull', 'hf:o/m', '--quiet'], cache)).code).toBe(0)
  expect(readFileSync(pointer).equals(weights)).toBe(true)

  expect(await latent(['rm', 'hf:o/m'], cache)).toMatchObject({ code: 0, stdout: 'hf:o/m: 400.0 kB freed\n' })
  expect(existsSync(repo)).toBe(false)
  const gone = await latent(['rm', 'hf:o/m'], cache)
  expect(gone).toMatchObject({ code: 1 })
  expect(gone.stderr).toMatch(/hf:o\/m is not in the cache; run latent list to see what is \(ERR_DOWNLOAD\)/)
}, 120_000)

test('two concurrent processes download the file once and both get it', async () => {
  const cache = path.join(folder, 'two')
  hub.commit('o/m', files)
  hub.pace = { bytes: 20_000, ms: 20 }
  const both = await Promise.all([latent(['pull', 'hf:o/m', '--json'], cache), latent(['pull', 'hf:o/m', '--json'], cache)])
  for (const { code, stdout } of both) {
    expect(code).toBe(0)
    expect(readFileSync(JSON.parse(stdout).path).equals(weights)).toBe(true)
  }
  expect(hub.count('storage')).toBe(1)
}, 120_000)

test('a killed pull resumes at the byte; an interrupted one exits with 130', async () => {
  const cache = path.join(folder, 'killed')
  hub.commit('o/m', files)
  const blobs = path.join(cache, 'models--o--m', 'blobs')
  const piece = () => (existsSync(blobs) ? readdirSync(blobs).find((name) => name.endsWith('.latent.incomplete')) : undefined)
  const arrived = () => (piece() ? lstatSync(path.join(blobs, piece()!)).size : 0)
  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    hub.pace = { bytes: 10_000, ms: 20 }
    const before = arrived()
    const { child, ended } = start(['pull', 'hf:o/m'], cache)
    await until(() => arrived() > before + 40_000)
    child.kill(signal)
    const { code, stderr } = await ended
    if (signal === 'SIGINT' && process.platform !== 'win32') expect({ code, stderr }).toEqual({ code: 130, stderr: 'latent: interrupted\n' })
    expect(existsSync(path.join(cache, 'models--o--m', 'refs'))).toBe(false)
  }
  hub.pace = undefined
  hub.requests.length = 0
  const have = arrived()
  const { code, stdout } = await latent(['pull', 'hf:o/m', '--json'], cache)
  expect(code).toBe(0)
  expect(hub.requests.find(({ kind }) => kind === 'storage')!.headers.range).toBe(`bytes=${have}-`)
  expect(readFileSync(JSON.parse(stdout).path).equals(weights)).toBe(true)
}, 120_000)

test('a model without a complete file is listed', async () => {
  const cache = path.join(folder, 'half')
  const blobs = path.join(cache, 'models--o--half', 'blobs')
  mkdirSync(blobs, { recursive: true })
  writeFileSync(path.join(blobs, `${sha256(weights)}.x.latent.incomplete`), weights.subarray(0, 5000))
  const { stdout } = await latent(['list'], cache)
  expect(stdout).toMatch(
    /^MODEL.*\nhf:o\/half +- +- +5\.0 kB +broken off +-\n5\.0 kB in all, of which 5\.0 kB are partial downloads \(latent rm --incomplete\)\n$/,
  )
}, 120_000)

test('offline mode, gated models and wrong names give errors', async () => {
  const cache = path.join(folder, 'refused')
  hub.commit('o/gated', files, { gated: true })
  const offline = await latent(['generate', 'x', '-m', 'hf:o/gated', '--offline'], cache)
  expect(offline).toMatchObject({ code: 1 })
  expect(offline.stderr).toMatch(/latent pull hf:o\/gated.*\(ERR_DOWNLOAD\)/)
  expect(hub.requests).toHaveLength(0)
  const gate = await latent(['pull', 'hf:o/gated'], cache)
  expect(gate.code).toBe(1)
  expect(gate.stderr).toMatch(/accept its licence \(openrail\): \(1\) open .*\(3\) set HF_TOKEN/)
  expect(await latent(['pull', 'owner/name'], cache)).toMatchObject({ code: 2, stderr: expect.stringMatching(/must be of the form hf:owner\/name/) })
  const dry = await latent(['pull', 'hf:o/gated', '--dry-run'], cache)
  expect(dry.stdout).toMatch(/400\.0 kB {2}weights\.safetensors\n.*2 files, 400\.0 kB; 400\.0 kB to download\n$/s)
  expect(existsSync(path.join(cache, 'models--o--gated', 'snapshots'))).toBe(false)
}, 120_000)

test('a model loads by name, and afterwards offline', async () => {
  const cache = path.join(folder, 'loaded')
  hub.commit('o/tiny', { 'tiny.gguf': readFileSync(path.join(root, 'models', 'tiny-scenes.gguf')) })
  const info = await latent(['inspect', 'hf:o/tiny', '--json'], cache)
  expect(info).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(info.stdout).spec.kind).toBe('text')
  hub.requests.length = 0
  const again = await latent(['inspect', 'hf:o/tiny', '--offline', '--json'], cache)
  expect(again.stdout).toBe(info.stdout)
  expect(hub.requests).toHaveLength(0)
}, 120_000)
