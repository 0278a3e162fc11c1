/** Models fetched by request: what is refused, names that are taken, and whose files may be deleted. */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { MockHub } from '../helpers/mock-hub'
import { pullModel } from '../../lib/index'
import { ask, readEvents, startServer, type Server } from '../helpers/server'

const weights = readFileSync(path.join(__dirname, '..', '..', 'models', 'tiny-scenes.gguf'))
let hub: MockHub
let server: Server & { lines: string[] }
const cache = mkdtempSync(path.join(tmpdir(), 'latent-pull-'))
const hubOptions = () => ({ cacheDir: cache, endpoint: hub.endpoint })

beforeAll(async () => {
  hub = await MockHub.start()
  for (const name of ['o/mine', 'o/new']) hub.commit(name, { 'tiny.gguf': weights })
  await pullModel('hf:o/mine', hubOptions())
  server = await startServer({ hub: hubOptions() })
})
afterAll(async () => {
  await server?.close()
  await hub.stop()
  rmSync(cache, { recursive: true, force: true })
})

const pull = (body: object, to: Server = server) => ask(to, '/latent/v1/models/pull', { body })
const remove = async (name: string) => (await ask(server, `/latent/v1/models/${name}`, { method: 'DELETE' })).status
const folder = (name: string) => path.join(cache, `models--o--${name}`)

test('rejected requests have the right status', async () => {
  expect((await pull({ source: '/etc/passwd' })).status).toBe(400)
  expect((await pull({ source: 'hf:nothing' })).status).toBe(400)
  expect((await pull({ source: 'hf:o/new', name: 'tiny-scenes' })).status).toBe(409)
  const closed = await startServer({ pull: false })
  try {
    expect((await pull({ source: 'hf:o/new' }, closed)).status).toBe(403)
  } finally {
    await closed.close()
  }
})

test('of two pulls with one name only one succeeds; a failed pull frees the name', async () => {
  const failed = await pull({ source: 'hf:o/none', name: 'one' })
  expect(readEvents<any>(failed.text).at(-1)!.event).toBe('error')
  const statuses = (await Promise.all([1, 2].map(() => pull({ source: 'hf:o/new', name: 'one' })))).map(({ status }) => status)
  expect(statuses.sort()).toEqual([200, 409])
})

test('files that were in the cache before stay; files of a pull are deleted once no other model uses them', async () => {
  expect(readEvents<any>((await pull({ source: 'hf:o/mine', name: 'mine' })).text).at(-1)!.event).toBe('done')
  expect(await remove('mine')).toBe(204)
  expect(existsSync(folder('mine'))).toBe(true)

  expect(readEvents<any>((await pull({ source: 'hf:o/new', name: 'two' })).text).at(-1)!.event).toBe('done')
  expect(await remove('one')).toBe(409)
  expect(await remove('two')).toBe(204)
  expect(existsSync(folder('new'))).toBe(true)
  expect(await remove('one')).toBe(204)
  expect(existsSync(folder('new'))).toBe(false)
  expect(server.lines).toEqual([])
})

test('a deleted folder of models does not fail requests', async () => {
  const modelsDir = mkdtempSync(path.join(tmpdir(), 'latent-models-'))
  const one = await startServer({ modelsDir })
  try {
    rmSync(modelsDir, { recursive: true })
    expect((await ask(one, '/latent/v1/models')).status).toBe(200)
  } finally {
    await one.close()
  }
})

// Making links takes a right on Windows.
const onPosix = process.platform === 'win32' ? test.skip : test
onPosix('what cannot be looked at in a folder of models is left out', async () => {
  const modelsDir = mkdtempSync(path.join(tmpdir(), 'latent-models-'))
  symlinkSync('circle.gguf', path.join(modelsDir, 'circle.gguf'))
  copyFileSync('models/systems/class.gguf', path.join(modelsDir, 'class.gguf'))
  const one = await startServer({ modelsDir })
  try {
    expect((await ask(one, '/latent/v1/models')).json.models).toEqual([expect.objectContaining({ name: 'class' })])
  } finally {
    await one.close()
    rmSync(modelsDir, { recursive: true })
  }
})
