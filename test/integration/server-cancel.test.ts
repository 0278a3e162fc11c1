/**
 * A client that leaves frees the engine within an operation, not at the end of a step. No clock is asked: the operations that the engine has begun and ended are
 * counted. For that the engine of the server runs in this process.
 */
import { request } from 'node:http'
import type * as library from 'node-latent-diffusion'
import { DiffusionPipeline } from 'node-latent-diffusion'
import { ask, formOf, startServer, type Ask, type Server } from '../helpers/server'

jest.mock('node-latent-diffusion', () => {
  const actual = jest.requireActual<typeof library>('node-latent-diffusion')
  return { ...actual, createDiffusionHost: (options: library.HostOptions) => actual.createDiffusionHost({ ...options, isolate: 'none' }) }
})

let server: Server & { lines: string[] }
/** The pipeline of the server's engine. */
let pipe: DiffusionPipeline
/** Is told of every step of the engine, and of the end of its requests. */
let onStep: ((step: number) => void) | undefined
let onAbort: (() => void) | undefined
const { generate } = DiffusionPipeline.prototype // eslint-disable-line @typescript-eslint/unbound-method -- called with its pipeline below
beforeAll(async () => {
  const watched = function (this: DiffusionPipeline, options: library.AnyGenerateOptions) {
    pipe = this // eslint-disable-line @typescript-eslint/no-this-alias
    options.signal?.addEventListener('abort', () => onAbort?.(), { once: true })
    const onProgress = (progress: library.Progress) => {
      options.onProgress?.(progress)
      if (progress.phase === 'sample') onStep?.(progress.step)
    }
    return generate.call(this, { ...options, onProgress })
  }
  DiffusionPipeline.prototype.generate = watched as never
  server = await startServer({ limits: { maxSteps: 400, maxTotalSteps: 400 } })
})
afterAll(async () => {
  await server.close()
  DiffusionPipeline.prototype.generate = generate
})

const prompt = 'a red circle'

/** The operations of the engine while `work` runs, and until what it left behind has ended. */
async function operations(work: () => Promise<unknown>): Promise<Map<string, number>> {
  const table = await pipe.profile(async () => {
    await work()
    await pipe.unload() // in the queue of the device behind the request
  })
  return new Map(table.map(({ operation, calls }) => [operation, calls]))
}

/** Operations that each step of such a request has exactly once, and nothing else: at its begin, at its end, and between. */
async function oncePerStep(call: string, make: (steps: number) => Ask): Promise<string[]> {
  const [three, five] = [await operations(() => ask(server, call, make(3))), await operations(() => ask(server, call, make(5)))]
  const found = [...three].flatMap(([operation, calls]) => (calls === 3 && five.get(operation) === 5 ? [operation] : []))
  expect(found.length).toBeGreaterThan(10)
  return found
}

/**
 * Sends a request, and leaves in a step after its second, as well as that can be aimed at: `part` of a step after the news of an earlier one. News of several steps
 * may come as one.
 */
async function leave(call: string, { body, headers = {} }: Ask, part: number): Promise<void> {
  const bytes = Buffer.isBuffer(body) ? body : JSON.stringify(body)
  const sent = request({
    ...{ host: '127.0.0.1', port: server.port, path: call, method: 'POST', agent: false },
    headers: { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(bytes)), ...headers },
  })
  const gone = new Promise((resolve) => sent.on('close', resolve))
  sent.on('error', () => {})
  // All of it may be there before the news of any step: that try has found nothing.
  const ended = new Promise<void>((resolve) => {
    onAbort = resolve
    sent.on('response', (response) =>
      response
        .on('error', () => {})
        .on('end', resolve)
        .resume(),
    )
  })
  let first: { step: number; at: number } | undefined
  onStep = (step) => {
    const at = performance.now()
    first ??= { step, at }
    if (step < 2) return
    onStep = undefined
    setTimeout(() => sent.destroy(), step === first.step ? 0 : (part * (at - first.at)) / (step - first.step))
  }
  sent.end(bytes)
  await Promise.all([gone, ended])
  onStep = onAbort = undefined
}

const image = { type: 'image/png', bytes: Buffer.alloc(0) }
beforeAll(async () => {
  const { json } = await ask(server, '/v1/images/generations', { body: { prompt, steps: 1, size: '256x256' } })
  image.bytes = Buffer.from(json.data[0].b64_json as string, 'base64')
})

test.each<[string, string, (steps: number) => Ask]>([
  ['OpenAI images', '/v1/images/generations', (steps) => ({ body: { prompt, steps, size: '256x256' } })],
  ['a stream', '/v1/images/generations', (steps) => ({ body: { prompt, steps, size: '256x256', stream: true, partial_images: 2 } })],
  ['edits', '/v1/images/edits', (steps) => formOf({ prompt, steps: String(steps), strength: '1', image })],
  ['txt2img', '/sdapi/v1/txt2img', (steps) => ({ body: { prompt, steps, width: 256, height: 256 } })],
])('%s: the step in which the client leaves is not finished', async (_, call, make) => {
  const watched = await oncePerStep(call, make)
  // A try may find the engine between two steps. An engine that looks only there is found there by every try.
  const tries: [begun: number, finished: number][] = []
  for (let i = 0; i < 10 && !tries.some(([begun, finished]) => finished < begun); i++) {
    const counts = await operations(() => leave(call, make(400), ((i * 7) % 10) / 10 + 0.3))
    const calls = watched.map((operation) => counts.get(operation) ?? 0)
    tries.push([Math.max(...calls), Math.min(...calls)])
  }
  const [begun, finished] = tries.at(-1)!
  expect({ tries, isCut: finished === begun - 1 }).toEqual({ tries, isCut: true })
  expect(finished).toBeGreaterThanOrEqual(2)
  expect(finished).toBeLessThan(400)
  expect((await ask(server, '/v1/images/generations', { body: { prompt, steps: 1 } })).status).toBe(200)
})
