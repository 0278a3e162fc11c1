/** The Electron entry points with stand-ins for Electron (children/electron.mjs): what is proven is the package's own code, not Electron's. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { makeBombs } from '../helpers/bombs'
import { runChild } from './children/run'

beforeAll(() => {
  if (!existsSync('dist/electron/main.js')) throw new Error('dist/ is missing: run `npm run build:ts` first')
})

async function scenario(name: string, options: object = {}, folder = ''): Promise<Record<string, any>> {
  const { code, said, stderr } = await runChild('electron', name, JSON.stringify(options), { env: { LATENT_TEST_FOLDER: folder } })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(said).toHaveLength(1)
  return said[0]!
}

test.each(['utilityProcess', 'none'])('a page draws the image that the host draws; isolate: %s', async (isolate) => {
  const said = await scenario('pictures', { isolate })
  expect(said).toMatchObject({ same: true, type: 'image/png', seed: '1', steps: 3, fromFile: 0.5, echoed: false, fromPixels: 1, models: ['default'] })
  expect(new Set(said.events as string[])).toEqual(new Set(['queued', 'started', 'encode', 'sample', 'preview', 'decode']))
})

test('requests beyond the limits of the application or with file names are rejected', async () => {
  const said = await scenario('refusals')
  for (const [name, message] of Object.entries({
    steps: /steps is 101; this application allows 100/,
    listed: /steps is 200/,
    width: /1024x512/,
    preset: /nothing/,
    count: /larger than the 262144 pixels/,
    loras: /a page cannot name adapter files/,
    model: /model/,
    large: /image of 1024x512 pixels/,
    sampler: /sampler/,
  }))
    expect({ [name]: said[name] as unknown }).toMatchObject({
      [name]: { code: 'ERR_INVALID_ARG', message: expect.stringMatching(message) as string, stack: false },
    })
  expect(said.bytes).toMatchObject({ code: 'ERR_IMAGE_FORMAT' })
  expect(said.function).toMatchObject({ name: 'DataCloneError' })
  expect(said.text).toMatchObject({ name: 'TypeError', message: expect.stringMatching(/image is a Blob, bytes/) as string })
  expect(said.busy).toBe(2)
})

test('decompression bombs from a page are refused', async () => {
  const side = 512
  const { bombs } = await makeBombs(side)
  const folder = mkdtempSync(path.join(tmpdir(), 'bombs-'))
  try {
    bombs.forEach(({ name, bytes }) => writeFileSync(path.join(folder, name), bytes))
    const { refusals, alive, restarts } = await scenario('bombs', { limits: { maxPixels: side * side } }, folder)
    expect([alive, restarts]).toEqual([1, 0])
    for (const { name, says } of bombs) {
      // The size is compared with the application's limit, too, which names the option.
      const [code, message] = refusals[name] as [string, string]
      expect([name, code, message]).toEqual([name, expect.stringMatching(/^ERR_(IMAGE_FORMAT|INVALID_ARG)$/), expect.stringMatching(says)])
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('pages of other origins are rejected, and a page without the preload script gets an error', async () => {
  const { refused, missing } = await scenario('origins')
  expect(refused).toMatchObject({ code: 'ERR_CONNECT', message: expect.stringMatching(/https:\/\/example\.org may not use the engine/) as string })
  expect(missing).toMatchObject({ code: 'ERR_CONNECT', message: expect.stringMatching(/exposeDiffusion\(\{ key: 'other' \}\)/) as string })
})

test('a lost utility process: the running job is rejected, the waiting one completes', async () => {
  const said = await scenario('lost')
  expect(said).toMatchObject({ running: { code: 'ERR_ENGINE_EXITED', name: 'DiffusionError' }, waiting: 1, restarts: 1, engines: 2 })
})

test('closing a page cancels its jobs', async () => {
  const said = await scenario('leaving')
  expect(said).toMatchObject({ aborted: { message: 'no longer' }, outcomes: ['ERR_DISPOSED', 'ERR_DISPOSED'], after: 'ERR_DISPOSED' })
})

test('quitting the application ends the engine', async () => {
  expect(await scenario('quitting')).toEqual({ job: 'ERR_DISPOSED', state: 'closed', handlers: 0 })
})

test('no waiting job starts while the system sleeps, on battery power if asked for, or while the application pauses the host', async () => {
  const rest = { waited: 1, images: 1, left: 0 }
  const onBattery = await scenario('power', { power: { onBattery: 'pause' } })
  expect(onBattery).toEqual({ ...rest, seen: [true, true, true, false, true, true, false], listeners: [1, 1, 1, 1] })
  expect(await scenario('power')).toEqual({ ...rest, seen: [true, true, false, false, true, true, false], listeners: [1, 1, 0, 0] })
})

test('malformed messages from a page are harmless', async () => {
  const { codes, alive } = await scenario('hostile', { limits: { maxJobs: 20 } })
  expect(alive).toBe(1)
  expect(codes).toHaveLength(11)
  for (const [name, code] of codes as [string, string][])
    expect([name, code]).toEqual([expect.stringMatching(/^(Type|Range)Error$/), 'ERR_INVALID_ARG'])
  const messages = (codes as string[][]).map(([, , message]) => message)
  expect(messages).toContainEqual(expect.stringMatching(/image: a page must pass the bytes or pixels of an image, not a file name/))
  for (const part of [/mask: a page must pass/, /4096x4096/, /2048x2048/, /4294967295 entries/])
    expect(messages).toContainEqual(expect.stringMatching(part))
})

test('the preload and page code import only electron', () => {
  for (const file of ['dist/electron/preload.js', 'dist/electron/page/renderer.mjs']) {
    const asked = [...readFileSync(file, 'utf8').matchAll(/(?:require\(|from\s+|import\()\s*['"]([^'"]+)/g)].map(([, name]) => name)
    expect(asked).toEqual(file.includes('preload') ? ['electron'] : [])
  }
})

test('outside Electron an error says so', () => {
  const program = `require(${JSON.stringify(path.resolve('dist/electron/main.js'))}).createDiffusionHost()`
  const { stderr } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' })
  expect(stderr).toMatch(/is for Electron's main process; elsewhere use createDiffusionHost\(\) of node-latent-diffusion/)
})
