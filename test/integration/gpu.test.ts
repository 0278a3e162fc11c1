/** Pipelines on a machine with GPUs, played by the library of the native tests: little memory, several threads. */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fakeGpuLibrary } from '../helpers/fake-gpu'

const library = JSON.stringify(path.join(__dirname, '..', '..', 'dist', 'index.js'))
let folder: string

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'latent-gpu-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs Node.js on a machine with two GPUs and returns the JSON that it prints. */
function node(argv: string[], env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const all = { ...process.env, LATENT_VULKAN_LIBRARY: fakeGpuLibrary, LATENT_FAKE_GPUS: '2', ...env }
    execFile(process.execPath, argv, { env: all, maxBuffer: 1e8 }, (error, stdout, stderr) =>
      error ? reject(new Error(`${error.message}\n${stderr}`)) : resolve(JSON.parse(stdout)),
    )
  })
}

function run(program: string, env?: NodeJS.ProcessEnv): Promise<unknown> {
  const file = path.join(folder, 'program.cjs')
  writeFileSync(file, `const L = require(${library})\n${program}`)
  return node([file], env)
}

/** The largest difference between the pixels of two lists of images, in levels of 8 bits. */
function difference(a: string[], b: string[]): number {
  const [x, y] = [a, b].map((images) => Buffer.concat(images.map((image) => Buffer.from(image, 'base64')))) as [Buffer, Buffer]
  expect(x).toHaveLength(a.length * 64 * 64 * 3)
  expect(y).toHaveLength(x.length)
  return x.reduce((most, level, i) => Math.max(most, Math.abs(level - y[i]!)), 0)
}

const draw = `
  const draw = async (pipe) => {
    const { images } = await pipe.generate({ prompt: 'a red circle', seed: 1, steps: 2, guidanceScale: 3 })
    return Buffer.from(images[0].data).toString('base64')
  }\n`

if (!fakeGpuLibrary) {
  test.skip('skipped: the fake GPU library is not built (npm run test:native -- --only backend)', () => undefined)
} else {
  describe('a GPU that is too small for all parts of the model at once', () => {
    interface Drawn {
      log: string[]
      images: string[]
      plan: { peak: number; low: number }
      error?: { code: string; message: string; nearest: unknown }
    }
    const drawn = (bytes?: number, memory = 'auto') =>
      run(
        `${draw}
        const out = { log: [], images: [] }
        L.setLogger((level, text) => { if (level === 'info') out.log.push(text) })
        void (async () => {
          const pipe = await L.DiffusionPipeline.load(undefined, { device: 'vulkan:0', memory: '${memory}' })
          const peak = async (mode) => (await L.estimateMemory(undefined, { device: 'vulkan:0', memory: mode, guidanceScale: 3 })).peakBytes
          out.plan = { peak: await peak('auto'), low: await peak('low') }
          try {
            for (let i = 0; i < 2; ++i) out.images.push(await draw(pipe))
          } catch ({ code, message, nearest }) {
            out.error = { code, message, nearest }
          }
          await pipe.dispose()
          console.log(JSON.stringify(out))
        })()`,
        bytes === undefined ? {} : { LATENT_FAKE_BYTES: String(bytes) },
      ) as Promise<Drawn>

    let ample: Drawn
    beforeAll(async () => {
      ample = await drawn()
    })

    test('the parts take turns, then also the halves of guidance, and the image stays the same', async () => {
      const { peak, low } = ample.plan
      expect(ample.log).toEqual([])
      expect(low).toBeLessThan(peak)
      const half = (peak + low) / 2
      for (const bytes of [half, 0.3 * peak + 0.7 * low, 1.02 * low]) {
        const { images, log, error } = await drawn(Math.round(bytes))
        expect(error).toBeUndefined()
        // A batch of 2 may be rounded in another way than its halves.
        expect(difference(images, ample.images)).toBeLessThanOrEqual(1)
        if (bytes === half) expect(log).toEqual([expect.stringMatching(/does not fit beside .* take turns/)])
      }
    })

    test("below that, and with memory 'fast', the error has the numbers and what fits", async () => {
      const { peak, low } = ample.plan
      const less = await drawn(Math.round(0.95 * low))
      expect(less.error).toMatchObject({
        code: 'ERR_OUT_OF_MEMORY',
        message: expect.stringMatching(/needs [\d.]+ MiB of memory, and [\d.]+ MiB are available on vulkan:0\. What fits: /),
      })
      const fast = await drawn(Math.round((peak + low) / 2), 'fast')
      expect(fast.error).toMatchObject({ code: 'ERR_OUT_OF_MEMORY', nearest: { memory: 'low' } })
    })
  })

  // The environment is not cleaned up then: pipelines still have memory of the device while static objects of the library end.
  test.each(['process.exit() with a pipeline', 'process.exit() during a step', 'the end of the program'])('%s ends the process well', async (how) => {
    const ended = await run(`
      const done = () => process.stdout.write('{"ended":true}')
      void (async () => {
        const pipe = await L.DiffusionPipeline.load(undefined, { device: 'vulkan:0' })
        await pipe.generate({ prompt: 'a red circle', steps: 1 })
        const how = ${JSON.stringify(how)}
        if (how === 'process.exit() during a step') {
          await new Promise((begun) => void pipe.generate({ prompt: '', steps: 900, onProgress: begun }).catch(() => {}))
        }
        done()
        if (how !== 'the end of the program') process.exit(0)
      })()`)
    expect(ended).toEqual({ ended: true })
  })

  test('latent bench measures what is taken of the device', async () => {
    const cli = path.join(__dirname, '..', '..', 'dist', 'cli', 'main.js')
    const report = await node([cli, 'bench', '--device', 'vulkan:1', '--repeats', '1', '--json'])
    const { peakDeviceBytes, stages } = report as { peakDeviceBytes: number; stages: unknown[] }
    expect(stages.length).toBeGreaterThan(5)
    expect(peakDeviceBytes).toBeGreaterThan(12e6) // the weights are 9.7 MB
    expect(peakDeviceBytes).toBeLessThan(40e6)
  })

  // What the dynamic linker says that it opens, in this process and its children.
  const linux = process.platform === 'linux' ? test : test.skip
  linux.each([
    ['vulkan:1', { vulkan: true, metal: false }],
    ['cpu', { vulkan: false, metal: false }],
  ])('latent bench --device %s loads no library of another kind', async (device, expected) => {
    const cli = path.join(__dirname, '..', '..', 'dist', 'cli', 'main.js')
    const logs = mkdtempSync(path.join(folder, 'linker-'))
    const libraries = { vulkan: path.join(logs, 'latent-vulkan.so'), metal: path.join(logs, 'latent-metal.so') }
    for (const each of Object.values(libraries)) copyFileSync(fakeGpuLibrary!, each)
    await node([cli, 'bench', '--device', device, '--repeats', '1', '--json'], {
      LATENT_VULKAN_LIBRARY: libraries.vulkan,
      LATENT_METAL_LIBRARY: libraries.metal,
      LD_DEBUG: 'files',
      LD_DEBUG_OUTPUT: path.join(logs, 'log'),
    })
    const said = readdirSync(logs)
      .filter((name) => name.startsWith('log.'))
      .map((name) => readFileSync(path.join(logs, name), 'utf8'))
      .join('')
    expect(said).toContain('latent.node')
    expect({ vulkan: said.includes(libraries.vulkan), metal: said.includes(libraries.metal) }).toEqual(expected)
  })

  test('worker threads on one GPU and on two: each has the image, and a lost GPU is only lost', async () => {
    const program = `
      const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
      ${draw}
      const result = async (device) => {
        try {
          const pipe = await L.DiffusionPipeline.load(undefined, { device })
          const image = await draw(pipe)
          await pipe.dispose()
          return image
        } catch ({ code, message }) {
          return code + ' ' + message
        }
      }
      const thread = (device) => new Promise((done) => new Worker(__filename, { workerData: device }).once('message', done))
      if (!isMainThread) void result(workerData).then((value) => parentPort.postMessage(value))
      else
        void (async () => {
          const threads = await Promise.all(['vulkan:0', 'vulkan:0', 'vulkan:1'].map(thread))
          console.log(JSON.stringify({ threads, after: await result('vulkan:0'), other: await result('vulkan:1') }))
        })()`
    interface Results {
      threads: string[]
      after: string
      other: string
    }
    const sound = (await run(program)) as Results
    expect(sound.other.length).toBeGreaterThan(10_000)
    expect([...sound.threads, sound.after]).toEqual(Array(4).fill(sound.other))
    const lost = (await run(program, { LATENT_FAKE_FAILURE: 'lost:0:SOFT_MAX' })) as Results
    for (const message of [...lost.threads.slice(0, 2), lost.after]) expect(message).toMatch(/^ERR_DEVICE .*ErrorDeviceLost.*process/)
    expect([lost.threads[2], lost.other]).toEqual([sound.other, sound.other])
  })
}
