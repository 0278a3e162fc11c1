/** What a review found in the OpenAI and the A1111 API: limits of images that are given, answers that cannot be made, what counts as failed. */
import { tmpdir } from 'node:os'
import path from 'node:path'
import { RawImage } from '../../lib/index'
import { holdEngine } from '../helpers/held-engine'
import { ask, startServer, type Server } from '../helpers/server'

let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({ limits: { maxPixels: 1_100_000, maxSteps: 400, maxTotalSteps: 400 } })
})
afterAll(() => server.close())

async function picture(side: number): Promise<string> {
  const data = new Uint8Array(side * side * 3).fill(120)
  return Buffer.from(await new RawImage({ data, width: side, height: side, channels: 3 }).encode()).toString('base64')
}

test('sides beyond the limits of WebP are rejected before generating', async () => {
  for (const stream of [true, false]) {
    const body = { prompt: 'x', size: '16384x64', output_format: 'webp', stream, partial_images: stream ? 1 : 0 }
    const { status, json } = await ask(server, '/v1/images/generations', { body })
    expect([status, json.error]).toEqual([400, expect.objectContaining({ param: 'size', message: expect.stringContaining('16383') })])
  }
})

test('the size of a start image counts, and resizing beyond the limit is rejected', async () => {
  const init_images = [await picture(512)]
  const refused = async (body: object) => (await ask(server, '/sdapi/v1/img2img', { body: { init_images, steps: 1, ...body } })).status
  expect(await refused({ batch_size: 8 })).toBe(400)
  expect(await refused({ width: 8000, height: 8000, mask: await picture(64) })).toBe(400)
})

test('resize_mode 2 fills borders, 3 is refused', async () => {
  const init_images = [await picture(64)]
  const resized = (resize_mode: number) =>
    ask(server, '/sdapi/v1/img2img', { body: { init_images, steps: 2, denoising_strength: 0.75, width: 128, height: 64, resize_mode } })
  const { status, json } = await resized(2)
  const { width, height } = await RawImage.read(Buffer.from(json.images[0], 'base64'))
  expect([status, width, height]).toEqual([200, 128, 64])
  const refused = await resized(3)
  expect([refused.status, refused.text]).toEqual([422, expect.stringMatching(/resize_mode 3 .*0, 1 and 2 are/)])
})

test('requests that are nested too deeply are rejected', async () => {
  const body = `{"prompt":"x","steps":1,"width":64,"height":64,"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
  const { status } = await ask(server, '/sdapi/v1/txt2img', { body, headers: { 'content-type': 'application/json' } })
  expect([400, 422]).toContain(status)
})

test('requests cannot choose a refiner; options in a form are read', async () => {
  expect((await ask(server, '/sdapi/v1/txt2img', { body: { prompt: 'x', steps: 1, refiner_checkpoint: 'other' } })).status).toBe(422)
  const form = new FormData()
  form.set('prompt', 'a red circle')
  form.set('image', new Blob([Buffer.from(await picture(64), 'base64')]), 'a.png')
  form.set('latent', JSON.stringify({ seed: 5, steps: 2, strength: 0.5 }))
  const reply = await fetch(`${server.url}/v1/images/edits`, { method: 'POST', body: form })
  const { latent, usage } = (await reply.json()) as { latent: { seeds: string[]; options: object }; usage: { input_tokens: number } }
  expect(latent).toMatchObject({ seeds: ['5'], options: { strength: 0.5 } })
  expect(latent).not.toHaveProperty('variationSeeds')
  expect(usage.input_tokens).toBe(77)
  form.set('latent', '[1]')
  expect((await fetch(`${server.url}/v1/images/edits`, { method: 'POST', body: form })).status).toBe(400)
})

test('an interrupted job is not a failure', async () => {
  using _ = holdEngine()
  const drawing = ask(server, '/sdapi/v1/txt2img', { body: { prompt: 'x', steps: 400, width: 128, height: 128 } })
  for (;;) {
    const { json } = await ask(server, '/sdapi/v1/progress')
    if (json.state.sampling_step > 0) break
  }
  expect((await ask(server, '/sdapi/v1/interrupt', { method: 'POST' })).json).toEqual({})
  expect((await drawing).json.images).toEqual([])
  const { text } = await ask(server, '/metrics')
  expect(text).toMatch(/latent_jobs_total\{api="a1111",outcome="cancelled"\} 1/)
  expect(text).not.toMatch(/outcome="failed"/)
})

test('allowed host names must have no port', async () => {
  await expect(startServer({ allowHosts: ['studio.local:7861'] })).rejects.toThrow(/without scheme and port/)
})

test('clients that do not accept server-sent events get a regular error', async () => {
  const { status, json } = await ask(server, '/latent/v1/events', { headers: { accept: 'application/json' } })
  expect([status, json]).toEqual([406, { error: { code: 'ERR_ACCEPT', message: expect.stringContaining('text/event-stream'), retriable: false } }])
})

test('many clients can listen without warnings', async () => {
  const warnings: string[] = []
  const warned = ({ message }: Error) => void warnings.push(message)
  process.on('warning', warned)
  const gone = new AbortController()
  const open = await Promise.all(Array.from({ length: 14 }, () => fetch(`${server.url}/latent/v1/events`, { signal: gone.signal })))
  expect(open.map(({ status }) => status)).toEqual(open.map(() => 200))
  for (const { body } of open) await body!.getReader().read() // the status, which comes once the listeners are there
  gone.abort()
  await new Promise((resolve) => setTimeout(resolve, 50))
  process.off('warning', warned)
  expect(warnings).toEqual([])
})

test('a missing file is named without its folder; the log has the full path', async () => {
  const file = path.join(tmpdir(), 'latent models', 'gone.gguf')
  const one = await startServer({ models: { gone: file } })
  try {
    for (const [call, body] of [
      ['/latent/v1/jobs', { prompt: 'x' }],
      ['/v1/images/generations', { prompt: 'x' }],
      ['/sdapi/v1/txt2img', { prompt: 'x' }],
      ['/latent/v1/models/gone/load', ''],
    ] as const) {
      const { status, text } = await ask(one, call, { body, method: 'POST' })
      expect([status, text]).toEqual([422, expect.stringContaining('gone.gguf')])
      expect(text).not.toContain('latent models')
    }
    expect(one.lines.filter((line) => line.includes(file))).toHaveLength(4)
  } finally {
    await one.close()
  }
})

test('variations: the same image from all three APIs, with the seeds of every image', async () => {
  const common = { prompt: 'a red circle', steps: 2, seed: 5 }
  const a1111 = await ask(server, '/sdapi/v1/txt2img', { body: { ...common, batch_size: 1, n_iter: 2, subseed: 9, subseed_strength: 0.5 } })
  const info = JSON.parse(a1111.json.info as string)
  expect(info).toMatchObject({ all_seeds: [5, 5], subseed: 9, all_subseeds: [9, 10], subseed_strength: 0.5 })
  expect(info.infotexts[1]).toContain('Variation seed: 10, Variation seed strength: 0.5')
  const openai = await ask(server, '/v1/images/generations', { body: { ...common, n: 2, variation_seed: 9, variation_strength: 0.5 } })
  expect(openai.json.latent).toMatchObject({
    seeds: ['5', '5'],
    variationSeeds: ['9', '10'],
    options: { variationSeed: '9', variationStrength: 0.5 },
  })
  const { json: job } = await ask(server, '/latent/v1/jobs', { body: { ...common, count: 2, variationSeed: '9', variationStrength: 0.5 } })
  await ask(server, job.links.events)
  const { result } = (await ask(server, `/latent/v1/jobs/${job.id}`)).json
  expect(result.images.map(({ seed, variationSeed }: Record<string, string>) => [seed, variationSeed])).toEqual([
    ['5', '9'],
    ['5', '10'],
  ])
  const images = await Promise.all(
    [...(a1111.json.images as string[]), ...openai.json.data.map(({ b64_json }: { b64_json: string }) => b64_json)].map(async (text: string) =>
      Buffer.from((await RawImage.read(Buffer.from(text, 'base64'))).data).toString('base64'),
    ),
  )
  expect(images.slice(2)).toEqual(images.slice(0, 2))
  expect(images[0]).not.toBe(images[1])
  // Without a strength, the other seed means nothing to this API.
  const plain = await ask(server, '/sdapi/v1/txt2img', { body: { ...common, subseed: 9, subseed_strength: 0 } })
  expect(JSON.parse(plain.json.info as string)).toMatchObject({ all_seeds: [5], all_subseeds: [5], subseed_strength: 0 })
  for (const body of [{ subseed_strength: 2 }, { subseed_strength: 0.5, subseed: 1.5 }])
    expect((await ask(server, '/sdapi/v1/txt2img', { body: { ...common, ...body } })).status).toBe(422)
})
