/** The programs in examples/, run as their users would: the single files in the repository, the others as projects made by packages/create. Electron's runs without
 * Electron here, its parts stood in for; the matrix runs it packed. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { RawImage } from '../../lib/index'
import { expectElectronExample } from '../helpers/electron-example'
import { goldenModel } from '../helpers/model'

const root = path.resolve(__dirname, '..', '..')
const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-examples-'))
const inFolder = (...names: string[]) => path.join(folder, ...names)
const children: ChildProcess[] = []

afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** A program that hangs is ended: no timeout of a test can interrupt `spawnSync`. */
function run(cwd: string, ...args: string[]) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8', timeout: 240_000, killSignal: 'SIGKILL' })
  if (error) throw new Error(`${args.join(' ')}: ${error.message}\n${stdout}${stderr}`, { cause: error })
  return { status, stdout, stderr }
}

/** A project of an example, with the packages of this repository. */
function project(name: string, ...dependencies: string[]): string {
  const place = inFolder(name)
  if (name === 'queue') {
    mkdirSync(place)
    for (const file of ['package.json', 'consumer.js', 'add.js'])
      writeFileSync(path.join(place, file), readFileSync(path.join(root, 'examples', name, file)))
  } else expect(run(folder, path.join(root, 'packages', 'create', 'index.js'), name, '--template', name)).toMatchObject({ status: 0, stderr: '' })
  mkdirSync(path.join(place, 'node_modules'))
  symlinkSync(root, path.join(place, 'node_modules', 'node-latent-diffusion'), 'junction')
  for (const each of dependencies) symlinkSync(path.join(root, 'node_modules', each), path.join(place, 'node_modules', each), 'junction')
  return place
}

/** A running program; `said` resolves with the match once its output matches. */
function start(cwd: string, command: string, args: string[], env: Record<string, string> = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  let output = ''
  const waiting = new Set<() => void>()
  const heard = (data: Buffer) => {
    output += data.toString()
    for (const look of waiting) look()
  }
  child.stdout.on('data', heard)
  child.stderr.on('data', heard)
  const ended = new Promise<number | string | null>((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)))
  const said = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(output)
        if (match === null) return
        waiting.delete(look)
        resolve(match)
      }
      waiting.add(look)
      look()
      void ended.then((code) => reject(new Error(`ended with ${code}:\n${output}`)))
    })
  return { child, ended, said, output: () => output }
}

async function expectImage(image: string | Uint8Array, width: number, height = width): Promise<void> {
  const read = await RawImage.read(image)
  expect([read.width, read.height]).toEqual([width, height])
  expect(new Set(read.data).size).toBeGreaterThan(8) // not a plain area
}

describe('single files', () => {
  const systems = (name: string) => path.join(root, 'models', 'systems', `${name}.gguf`)
  let inpainting: ReturnType<typeof goldenModel>
  beforeAll(async () => {
    inpainting = goldenModel('ldm-inpaint-big')
    writeFileSync(path.join(inpainting.folder, 'config.yaml'), JSON.stringify(inpainting.golden.config)) // JSON is YAML
    const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7) % 251)
    const photo = new RawImage({ data, width: 64, height: 64, channels: 3 })
    await photo.save(inFolder('photo.png'))
    await (await photo.resize(16, 16)).save(inFolder('small.png'))
  })
  afterAll(() => inpainting.remove())

  const out = () => inFolder('out.png')
  const cases: Record<string, () => { args: string[]; files?: string[]; size?: number; prints?: RegExp }> = {
    'text-to-image.mjs': () => ({ args: ['a red circle', out()], prints: /sample \d+\/25[^]*out\.png, seed \d+/ }),
    'abort-and-preview.mjs': () => ({ args: ['a pink heart', out()], prints: /shows step 2 of 25/ }),
    'class-conditional.mjs': () => ({
      args: [systems('class'), 'yellow star', out()],
      files: ['out-1.png', 'out-3.png', 'out-5.png'],
      prints: /yellow star/,
    }),
    'layout.mjs': () => ({ args: [systems('layout'), out()], prints: /knows 90 categories/ }),
    'semantic.mjs': () => ({ args: [systems('semantic'), out()] }),
    'super-resolution.mjs': () => ({ args: [systems('superres'), inFolder('small.png'), out()], prints: /16x16 to 64x64/ }),
    'inpainting.mjs': () => ({ args: [inpainting.file, inFolder('photo.png'), out()] }),
    'any-kind.mjs': () => ({ args: [systems('class'), out()], prints: /step 20 of 20/ }),
    'own-loop.mjs': () => ({ args: ['a red circle', out()] }),
    'batch.mjs': () => {
      const lines = [
        '{"prompt": "a red circle", "steps": 2}',
        '{"prompt": "a blue star", "seed": 5, "steps": 2}',
        '',
        '{"prompt": "a green square", "steps": 2}',
      ]
      writeFileSync(inFolder('prompts.jsonl'), lines.join('\n'))
      return { args: [inFolder('prompts.jsonl'), inFolder('batch')], files: ['batch/0001.png', 'batch/0002.png', 'batch/0004.png'] }
    },
  }

  test('all of them are run', () => {
    expect(Object.keys(cases).sort()).toEqual(
      readdirSync(path.join(root, 'examples'))
        .filter((name) => name.endsWith('.mjs'))
        .sort(),
    )
  })

  test.each(Object.entries(cases))('%s', async (name, make) => {
    const { args, files = ['out.png'], prints } = make()
    for (const file of files) rmSync(inFolder(file), { force: true })
    const { status, stdout, stderr } = run(root, path.join('examples', name), ...args)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    if (prints) expect(stdout).toMatch(prints)
    for (const file of files) await expectImage(inFolder(file), 64)
  })

  test('batch.mjs continues where it was stopped, and a bad line does not stop it', async () => {
    writeFileSync(
      inFolder('more.jsonl'),
      '{"prompt": "a red circle", "steps": 2}\nnonsense\n{"prompt": "a star", "stepz": 2}\n{"prompt": "a star", "steps": 2}\n',
    )
    const first = run(root, 'examples/batch.mjs', inFolder('more.jsonl'), inFolder('more'))
    expect(first.status).toBe(1)
    expect(first.stderr).toMatch(/more\.jsonl:2: .*JSON[^]*more\.jsonl:3: .*stepz/)
    rmSync(inFolder('more', '0001.png'))
    const second = run(root, 'examples/batch.mjs', inFolder('more.jsonl'), inFolder('more'))
    expect(second.stdout).toMatch(/0001\.png: a red circle\n.*0004\.png: there already/)
    await expectImage(inFolder('more', '0001.png'), 64)
  })
})

test('every project is run below; docs.test.ts reads fleet', () => {
  const folders = readdirSync(path.join(root, 'examples'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  expect(folders.map(({ name }) => name).sort()).toEqual(['electron', 'express', 'fleet', 'next', 'queue', 'script'])
})

test('script: a project of the template', async () => {
  const place = project('script')
  const { status, stdout } = run(place, 'draw.js', 'a red circle', 'circle.png')
  expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^circle\.png, seed \d+$/m) as string })
  await expectImage(path.join(place, 'circle.png'), 64)
})

describe('express', () => {
  let url: string
  let server: ReturnType<typeof start>
  const post = (body: unknown, signal?: AbortSignal) =>
    fetch(`${url}/images`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal: signal ?? null })

  beforeAll(async () => {
    server = start(project('express', 'express'), process.execPath, ['server.js'], { PORT: '0' })
    url = (await server.said(/http:\/\/127\.0\.0\.1:\d+/))[0]
  })

  test('draws, with a seed', async () => {
    const response = await post({ prompt: 'a red circle', seed: 7, steps: 4 })
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({ 'content-type': 'image/png', 'x-seed': '7' })
    await expectImage(new Uint8Array(await response.arrayBuffer()), 64)
  })

  test('has a page', async () => expect(await (await fetch(url)).text()).toContain('<form>'))

  test('streams progress and the image', async () => {
    const text = await (await fetch(`${url}/events?prompt=a+blue+star&seed=3`)).text()
    const events = [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, type, data]) => [type!, JSON.parse(data!)] as const)
    expect(new Set(events.map(([type]) => type))).toEqual(new Set(['progress', 'image', 'end']))
    expect(events.at(-1)![0]).toBe('end')
    const { url: data, seed } = events.find(([type]) => type === 'image')![1]
    expect(seed).toBe('3')
    await expectImage(Buffer.from(data.split(',')[1], 'base64'), 64)
  })

  test.each([
    [{}, 'prompt must be a text'],
    [{ prompt: 'a', steps: 51 }, 'steps must be at most 50'],
    [{ prompt: 'a', steps: 'many' }, 'steps'],
    [{ prompt: 'a', seed: -1 }, 'seed'],
  ])('%j is a 400', async (body, message) => {
    const response = await post(body)
    expect(response.status).toBe(400)
    expect(((await response.json()) as { error: string }).error).toContain(message)
  })

  test('a body that is no JSON is a 400', async () => {
    const response = await fetch(`${url}/images`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{' })
    expect(response.status).toBe(400)
  })

  test('a wrong option in the stream is a problem', async () => {
    expect(await (await fetch(`${url}/events?prompt=a&seed=x`)).text()).toMatch(/^event: problem\ndata: {"message":".*seed.*"}\n\nevent: end/)
  })

  const canStop = process.platform !== 'win32'

  /** Stops the engine of the server where the system can, so that it finishes no image meanwhile. The function that it returns lets it go on. */
  async function stopEngine(): Promise<() => void> {
    if (!canStop) return () => {}
    expect((await post({ prompt: 'a', steps: 1 })).status).toBe(200) // there is one
    const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n')
    const engines = lines.flatMap((line) => {
      const [, pid, parent, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
      return Number(parent) === server.child.pid && args!.includes('engine-main.js') ? [Number(pid)] : []
    })
    expect(engines).toHaveLength(1)
    process.kill(engines[0]!, 'SIGSTOP')
    return () => process.kill(engines[0]!, 'SIGCONT')
  }

  test('a client that leaves frees the engine', async () => {
    const goOn = await stopEngine()
    const controllers = Array.from({ length: 8 }, () => new AbortController())
    const requests = controllers.map(({ signal }) => post({ prompt: 'a red circle', steps: 50 }, signal).catch(() => 'left'))
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname) // one that sends its request and goes
    socket.write(
      `POST /images HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{"prompt":"a","steps": 50}`,
    )
    await new Promise((resolve) => setTimeout(resolve, 100))
    socket.destroy()
    for (const controller of controllers) controller.abort()
    const left = (await Promise.all(requests)).filter((each) => each === 'left')
    goOn()
    if (canStop) expect(left).toHaveLength(8)
    // All of them would take far longer than this one.
    expect((await post({ prompt: 'a blue star', steps: 2 })).status).toBe(200)
    expect(server.output()).not.toContain('Error')
  })

  test('too many requests are refused with Retry-After', async () => {
    const goOn = await stopEngine()
    const controller = new AbortController()
    const responses = Array.from({ length: 24 }, () =>
      post({ prompt: 'a red circle', steps: 50 }, controller.signal).then(
        (one) => one,
        () => undefined,
      ),
    )
    const refused = await Promise.race(responses.map(async (one) => ((await one)?.status === 503 ? await one : new Promise<never>(() => {}))))
    expect(refused!.headers.get('retry-after')).toBe('5')
    controller.abort()
    await Promise.all(responses)
    goOn()
  })

  test('ends on SIGTERM', async () => {
    server.child.kill('SIGTERM')
    expect(await server.ended).toBe(0)
  })
})

test('next: the route handler draws, refuses and stops', async () => {
  const place = project('next')
  const route = pathToFileURL(path.join(place, 'app', 'api', 'images', 'route.js')).href
  writeFileSync(
    path.join(place, 'try.mjs'),
    `import { POST } from ${JSON.stringify(route)}
const post = (body, signal) => POST(new Request('http://localhost/api/images', { method: 'POST', body, signal }))
const image = await post(JSON.stringify({ prompt: 'a red circle', seed: 7 }))
const refused = await Promise.all(['{', '1', '{"prompt": 5}', '{"prompt": "a", "seed": -1}'].map((body) => post(body)))
const controller = new AbortController()
globalThis.diffusionHost.pause()
const leaving = post(JSON.stringify({ prompt: 'a blue star' }), controller.signal)
while (globalThis.diffusionHost.status.queued === 0) await new Promise((resolve) => setTimeout(resolve, 5))
controller.abort()
const left = await leaving
globalThis.diffusionHost.resume()
console.log(JSON.stringify({
  status: image.status, headers: Object.fromEntries(image.headers), image: Buffer.from(await image.arrayBuffer()).toString('base64'),
  refused: await Promise.all(refused.map(async (one) => [one.status, (await one.json()).error])), left: left.status,
}))
await globalThis.diffusionHost.close()`,
  )
  const { status, stdout, stderr } = run(place, 'try.mjs')
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const told = JSON.parse(stdout)
  expect(told).toMatchObject({ status: 200, headers: { 'content-type': 'image/png', 'x-seed': '7' }, left: 499 })
  await expectImage(Buffer.from(told.image, 'base64'), 64)
  expect(told.refused).toEqual([
    [400, 'the body must be JSON'],
    [400, expect.stringContaining('prompt')],
    [400, expect.stringContaining('prompt')],
    [400, expect.stringContaining('seed')],
  ])
})

test('electron: its page draws', () => {
  const place = project('electron')
  const { scripts } = JSON.parse(readFileSync(path.join(place, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  // The documentation's tools bring esbuild along.
  const esbuild = require.resolve('esbuild/bin/esbuild', { paths: [path.join(root, 'node_modules', 'vitepress')] })
  for (const name of ['build:preload', 'build:page']) {
    const [command, ...args] = scripts[name]!.split(' ')
    expect(command).toBe('esbuild')
    const { status, stderr } = spawnSync(esbuild, [...args, '--log-level=warning'], { cwd: place, encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  }
  const { status, stdout, stderr } = run(place, path.join(root, 'test', 'matrix', 'electron-app.cjs'), '-', place)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expectElectronExample(stdout)
})

const redis = spawnSync('redis-server', ['--version']).status === 0 && existsSync(path.join(root, 'node_modules', 'bullmq'))
if (!redis) console.log('examples/queue is not tested: there is no redis-server on the PATH')
;(redis ? describe : describe.skip)('queue', () => {
  let place: string
  let env: Record<string, string>
  let server: ReturnType<typeof start>

  beforeAll(async () => {
    place = project('queue', 'bullmq', 'ioredis')
    const socket = inFolder('redis.sock')
    // A free port, so that the address is an ordinary URL.
    const port = await new Promise<number>((resolve) => {
      const probe = createServer().listen(0, '127.0.0.1', () => {
        const { port: free } = probe.address() as { port: number }
        probe.close(() => resolve(free))
      })
    })
    server = start(folder, 'redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder, '--unixsocket', socket])
    await server.said(/Ready to accept connections/)
    env = { REDIS_URL: `redis://127.0.0.1:${port}` }
  })
  afterAll(async () => {
    server?.child.kill('SIGKILL')
    await server?.ended
  })

  test('a consumer draws jobs, refuses wrong ones once, and ends on SIGTERM', async () => {
    const consumer = start(place, process.execPath, ['consumer.js'], env)
    await consumer.said(/waiting for jobs/)
    const added = start(place, process.execPath, ['add.js', 'a red circle', 'a blue star'], env)
    expect(await added.ended).toBe(0)
    const lines = added.output().trim().split('\n')
    const file = /^images\/[0-9a-f]{64}\.png$/
    expect(lines.map((line) => line.split(': ')[0])).toEqual(['a red circle', 'a blue star'])
    for (const line of lines) {
      expect(line.split(': ')[1]).toMatch(file)
      await expectImage(path.join(place, line.split(': ')[1]!), 64)
    }

    writeFileSync(
      path.join(place, 'wrong.mjs'),
      `import { Queue, QueueEvents } from 'bullmq'
const connection = { url: process.env.REDIS_URL }
const [queue, events] = [new Queue('images', { connection }), new QueueEvents('images', { connection })]
await events.waitUntilReady()
const { id } = await queue.add('draw', { prompt: 'a', steps: 'many' }, { attempts: 3 })
const job = await queue.getJob(id)
const reason = await job.waitUntilFinished(events).catch((error) => error.message)
console.log(JSON.stringify({ reason, attempts: (await queue.getJob(id)).attemptsMade }))
await events.close()
await queue.close()`,
    )
    const wrong = start(place, process.execPath, ['wrong.mjs'], env)
    expect(await wrong.ended).toBe(0)
    expect(JSON.parse(wrong.output())).toEqual({ reason: expect.stringContaining('steps') as string, attempts: 1 })

    consumer.child.kill('SIGTERM')
    expect(await consumer.ended).toBe(0)
  })
})
