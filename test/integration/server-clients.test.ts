/** The OpenAI and the A1111 API through the clients that people have, and the sequences that Open WebUI and SillyTavern send. */
import { spawn } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import path from 'node:path'
import { RawImage } from '../../lib/index'
import { holdEngine } from '../helpers/held-engine'
import { ask, startServer, type Server } from '../helpers/server'

const token = 'a-token-of-some-length'
let server: Server & { lines: string[] }
beforeAll(async () => {
  server = await startServer({ token })
})
afterAll(() => server.close())

const headers = { authorization: `Basic ${Buffer.from(`user:${token}`).toString('base64')}` }
const get = (url: string) => ask(server, `/sdapi/v1/${url}`, { headers })
const post = (url: string, body?: unknown) => ask(server, `/sdapi/v1/${url}`, { method: 'POST', body, headers })

/** Half transparent: as a mask of OpenAI's, the left half is repainted. */
async function picture(): Promise<string> {
  const data = new Uint8Array(64 * 64 * 4)
  for (let i = 0; i < 64 * 64; i++) data.set([200, 0, 0, i % 64 < 32 ? 0 : 255], 4 * i)
  return Buffer.from(await new RawImage({ data, width: 64, height: 64, channels: 4 }).encode()).toString('base64')
}

async function runClients(): Promise<any> {
  const own = path.join(__dirname, 'children', 'server-clients.mjs')
  const { LATENT_TEST_CLIENTS: folder, LATENT_TEST_NODE: node = process.execPath } = process.env
  const program = folder === undefined ? own : path.join(folder, path.basename(own))
  if (folder !== undefined) copyFileSync(own, program)
  const child = spawn(node, [program, server.url, token, await picture()], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, errors] = ['', '']
  child.stdout.on('data', (data) => (out += String(data)))
  child.stderr.on('data', (data) => (errors += String(data)))
  const code = await new Promise((resolve) => child.once('close', resolve))
  expect({ code, errors: errors.slice(0, 2000) }).toEqual({ code: 0, errors: '' })
  return JSON.parse(out)
}

test('openai, ai with two providers, and stable-diffusion-api work', async () => {
  using _ = holdEngine(({ prompt }) => prompt === 'aborted')
  const { stream, ...results } = await runClients()
  // While the client is behind, previews are dropped or give way to newer ones.
  const partial = stream.slice(0, -1)
  expect(stream).toEqual([
    ...[0, 1, 2].slice(0, Math.max(1, partial.length)).map((index) => ['image_generation.partial_image', index, true]),
    ['image_generation.completed', null, true],
  ])
  const refused = (status: number, more: object) => expect.objectContaining({ failed: true, status, requestId: expect.any(String), ...more })
  expect(results).toEqual({
    generate: { pngs: [true, true], seeds: ['5', '6'], size: 'auto', usage: true },
    again: true, // `steps` counts before `quality`, and OpenAI's own names are the first model
    edit: true,
    editStream: ['image_edit.completed'],
    variation: [true, true],
    models: ['tiny-scenes'],
    errors: {
      prompt: refused(400, { class: 'BadRequestError', param: 'prompt', type: 'invalid_request_error' }),
      model: refused(404, { class: 'NotFoundError', param: 'model', code: 'model_not_found' }),
      size: refused(400, { class: 'BadRequestError' }),
      background: refused(400, { class: 'BadRequestError', param: 'background' }),
      twoPictures: refused(400, { class: 'BadRequestError', param: 'image' }),
      token: refused(401, { class: 'AuthenticationError', code: 'invalid_api_key' }),
      stream: expect.objectContaining({ failed: true, class: 'APIError' }),
    },
    abort: expect.objectContaining({ failed: true, class: 'APIUserAbortError' }),
    afterAbort: true,
    compatible: [true, true],
    compatibleSeed: true,
    openaiProvider: [true, true],
    txt2img: { sizes: [64, 64], info: true },
    samplers: ['DDIM', 'DPM++ 2M', 'Euler a', 'UniPC'],
    sdModels: ['tiny-scenes'],
    options: 'tiny-scenes',
    idle: 0,
  })
  expect(server.lines).toEqual([])
})

test('Open WebUI: reads the options, posts them back complete, and generates', async () => {
  const { json: options } = await get('options')
  expect(options.sd_model_checkpoint).toBe('tiny-scenes')
  expect((await post('options', options)).status).toBe(200)
  const drawn = await post('txt2img', { prompt: 'a red circle', batch_size: 1, width: 64, height: 64, steps: 2, seed: 3 })
  const image = await RawImage.read(Buffer.from(drawn.json.images[0], 'base64'))
  expect([image.width, JSON.parse(drawn.json.info).all_seeds]).toEqual([64, [3]])
  const url = { authorization: `Bearer ${token}` }
  const viaOpenai = await ask(server, '/v1/images/generations?api-version=2025-04-01', {
    headers: url,
    body: { model: 'dall-e-2', prompt: 'a red circle', n: 1, size: '64x64', response_format: 'b64_json', steps: 2, seed: 3 },
  })
  const [same] = viaOpenai.json.data
  expect(Buffer.from(same.b64_json, 'base64').equals(Buffer.from(drawn.json.images[0], 'base64'))).toBe(true)
})

test('response_format url: the image is downloaded with the token from an unguessable URL', async () => {
  const body = { prompt: 'a red circle', n: 2, size: '64x64', response_format: 'url', steps: 2, seed: 3 }
  const { status, json } = await ask(server, '/v1/images/generations', { headers, body })
  expect(status).toBe(200)
  const urls = (json.data as { url: string }[]).map(({ url }) => url)
  expect(new Set(urls).size).toBe(2)
  expect(json.data[0]).toEqual({ url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/v1\/images\/files\/[\w-]{32}\.png$/) })
  const reply = await fetch(urls[0]!, { headers })
  expect([reply.status, reply.headers.get('content-type'), reply.headers.get('cache-control')]).toEqual([
    200,
    'image/png',
    expect.stringMatching(/^private/),
  ])
  const drawn = await post('txt2img', { prompt: 'a red circle', width: 64, height: 64, steps: 2, seed: 3 })
  const [made, same] = [
    await RawImage.read(new Uint8Array(await reply.arrayBuffer())),
    await RawImage.read(Buffer.from(drawn.json.images[0], 'base64')),
  ]
  expect(made.data).toEqual(same.data)
  expect((await fetch(urls[0]!)).status).toBe(401)
  expect((await fetch(`${server.url}/v1/images/files/${'x'.repeat(32)}.png`, { headers })).status).toBe(404)
})

test('SillyTavern: lists models, sets one, waits until idle, generates, and interrupts without a body', async () => {
  for (const list of ['upscalers', 'latent-upscale-modes', 'sd-vae', 'samplers', 'schedulers', 'sd-models'])
    expect(Array.isArray((await get(list)).json)).toBe(true)
  expect((await get('options')).json).not.toHaveProperty('forge_preset')
  const [model] = (await get('sd-models')).json
  expect((await post('options', { sd_model_checkpoint: model.title })).text).toBe('null')
  expect((await get('progress')).json).toMatchObject({ progress: 0, state: { job_count: 0 } })
  using _ = holdEngine()
  const drawing = post('txt2img', {
    prompt: 'x',
    steps: 150,
    n_iter: 2,
    sampler_name: 'DPM++ 2M Karras',
    scheduler: 'Automatic',
    clip_skip: 1,
    override_settings: {},
  })
  let progress: any
  do progress = (await get('progress')).json
  while (progress.state.sampling_step < 1 || progress.current_image === null)
  expect(progress).toMatchObject({ state: { job_count: 2, sampling_steps: 150 }, current_image: expect.any(String) })
  const interrupt = await ask(server, '/sdapi/v1/interrupt', { method: 'POST', headers: { ...headers, 'content-type': 'application/json' } })
  expect(interrupt.status).toBe(200)
  const { status, json } = await drawing
  expect([status, json.images]).toEqual([200, []])
  expect((await get('progress')).json.progress).toBe(0)
})

test('img2img: the whole image, an area, and an area at full resolution', async () => {
  const data = new Uint8Array(128 * 64 * 3).fill(90)
  const white = new Uint8Array(128 * 64)
  for (let y = 20; y < 40; y++) white.fill(255, y * 128 + 80, y * 128 + 110)
  const encode = async (image: RawImage) => Buffer.from(await image.encode()).toString('base64')
  const init = await encode(new RawImage({ data, width: 128, height: 64, channels: 3 }))
  const mask = await encode(new RawImage({ data: white, width: 128, height: 64, channels: 1 }))
  const draw = async (more: object) => {
    const { status, json } = await post('img2img', { init_images: [init], prompt: 'a red circle', steps: 2, seed: 1, denoising_strength: 1, ...more })
    expect({ status, detail: json.detail }).toEqual({ status: 200, detail: undefined })
    return RawImage.read(Buffer.from(json.images[0], 'base64'))
  }
  const differing = (image: RawImage) => {
    const xs = [...image.data.keys()].filter((i) => image.data[i] !== 90).map((i) => Math.floor(i / 3) % 128)
    return xs.length === 0 ? [] : [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))]
  }
  expect(await draw({ width: 64, height: 64 })).toMatchObject({ width: 64, height: 64 })
  const part = await draw({ mask, inpaint_full_res: false, mask_blur: 0 })
  expect(part).toMatchObject({ width: 128, height: 64 })
  expect(differing(part)).toEqual([80, 109])
  // The edge reaches out of the mask, and fades.
  const soft = await draw({ mask, inpaint_full_res: false, mask_blur: 4 })
  const [left, right] = differing(soft)
  expect(left).toBeLessThan(80)
  expect(left).toBeGreaterThan(60)
  expect(right).toBeGreaterThan(109)
  const changes = (x: number) => [0, 1, 2].map((c) => Math.abs(soft.data[3 * (30 * 128 + x) + c]! - 90)).reduce((a, b) => Math.max(a, b))
  expect(changes(left! + 1)).toBeLessThan(20)
  const full = await draw({ mask, inpaint_full_res: true, inpaint_full_res_padding: 4, mask_blur: 0, width: 64, height: 64 })
  expect(full).toMatchObject({ width: 128, height: 64 })
  expect(differing(full)).toEqual([80, 109])
  const { json: read } = await post('png-info', { image: await encode(full) })
  expect(read.parameters).toMatchObject({ Prompt: 'a red circle', Seed: '1' })
  const twice = await post('extra-single-image', { image: init, upscaling_resize: 2, upscaler_1: 'Lanczos' })
  expect(await RawImage.read(Buffer.from(twice.json.image, 'base64'))).toMatchObject({ width: 256, height: 128 })
})

test.each([
  ['txt2img', { sampler_name: 'No such sampler' }, 404],
  ['txt2img', { script_name: 'x' }, 422],
  ['txt2img', { steps: 'many' }, 422],
  ['txt2img', { steps: 151 }, 400],
  ['txt2img', { tiling: true }, 422],
  ['txt2img', { override_settings: { sd_model_checkpoint: 'nothing' } }, 404],
  ['img2img', {}, 404],
  ['img2img', { init_images: ['http://127.0.0.1/a.png'] }, 400],
  ['options', { sd_model_checkpoint: 'nothing' }, 404],
  ['interrogate', { image: '' }, 404],
])("%s %j is %p, in the web UI's words", async (call, body, status) => {
  const reply = await post(call, body)
  expect([reply.status, reply.json]).toEqual([
    status,
    { error: expect.any(String), detail: expect.any(String), body: '', errors: expect.any(String) },
  ])
})

test('metrics', async () => {
  const { text } = await ask(server, '/metrics', { headers })
  expect(text).toMatch(/^latent_jobs_total\{api="openai",outcome="succeeded"\} [1-9]/m)
  expect(text).toMatch(/^latent_queue_depth 0$/m)
  expect(text).toMatch(/^latent_step_seconds_count [1-9]/m)
  expect(text).toMatch(/^latent_memory_bytes\{model="tiny-scenes"\} \d{6,}$/m)
  expect(text).toMatch(/^process_resident_memory_bytes /m)
})
