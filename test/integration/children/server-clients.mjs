/** Uses a server through the clients that people have: prints what each got, as JSON. usage: server-clients.mjs URL TOKEN PICTURE_IN_BASE64 */
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateImage } from 'ai'
import OpenAI, { toFile } from 'openai'
import sd from 'stable-diffusion-api'

const [url, token, picture] = process.argv.slice(2)
const bytes = Buffer.from(picture, 'base64')
const file = () => toFile(bytes, 'picture.png', { type: 'image/png' })
const results = {}
const isPng = (base64) => Buffer.from(base64, 'base64').subarray(1, 4).toString() === 'PNG'

async function failure(action) {
  try {
    await action()
    return { failed: false }
  } catch (error) {
    return {
      failed: true,
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      param: error.param,
      type: error.type,
      requestId: error.requestID,
    }
  }
}

const client = new OpenAI({ apiKey: token, baseURL: `${url}/v1`, maxRetries: 0 })
const small = { prompt: 'a red circle', steps: 2, seed: 5 }

const two = await client.images.generate({ ...small, n: 2 })
results.generate = {
  pngs: two.data.map(({ b64_json }) => isPng(b64_json)),
  seeds: two.latent.seeds,
  size: two.size,
  usage: two.usage.input_tokens > 0,
}
const named = await client.images.generate({ ...small, model: 'gpt-image-1', size: '64x64', quality: 'low' })
results.again = named.data[0].b64_json === two.data[0].b64_json

const events = []
// Large enough that the client keeps up: previews are dropped while it is behind.
for await (const event of await client.images.generate({ ...small, size: '256x256', steps: 4, stream: true, partial_images: 3 }))
  events.push([event.type, event.partial_image_index, isPng(event.b64_json)])
results.stream = events

const edited = await client.images.edit({ image: await file(), prompt: 'a blue square', steps: 2, seed: 1 })
results.edit = isPng(edited.data[0].b64_json)
const masked = []
for await (const event of await client.images.edit({ image: [await file()], mask: await file(), prompt: 'a blue square', stream: true, steps: 2 }))
  masked.push(event.type)
results.editStream = masked
const varied = await client.images.createVariation({ image: await file(), n: 2, steps: 2 })
results.variation = varied.data.map(({ b64_json }) => isPng(b64_json))
results.models = (await client.models.list()).data.map(({ id }) => id)

results.errors = {
  prompt: await failure(() => client.images.generate({})),
  model: await failure(() => client.images.generate({ ...small, model: 'no-such-model' })),
  size: await failure(() => client.images.generate({ ...small, size: '63x64' })),
  background: await failure(() => client.images.generate({ ...small, background: 'transparent' })),
  twoPictures: await failure(async () => client.images.edit({ ...small, image: [await file(), await file()] })),
  token: await failure(() => new OpenAI({ apiKey: 'wrong', baseURL: `${url}/v1`, maxRetries: 0 }).models.list()),
  stream: await failure(async () => {
    for await (const event of await client.images.generate({ ...small, stream: true, width: 5, size: '63x64' })) void event
  }),
}

const control = new AbortController()
setTimeout(() => control.abort(), 300)
results.abort = await failure(() => client.images.generate({ ...small, prompt: 'aborted', steps: 150 }, { signal: control.signal }))
results.afterAbort = (await client.images.generate(small)).data[0].b64_json === two.data[0].b64_json

const compatible = createOpenAICompatible({ name: 'latent', baseURL: `${url}/v1`, apiKey: token })
const viaCompatible = await generateImage({
  model: compatible.imageModel('tiny-scenes'),
  prompt: small.prompt,
  n: 2,
  size: '64x64',
  providerOptions: { latent: { steps: 2, seed: 5 } },
})
results.compatible = viaCompatible.images.map(({ base64 }) => isPng(base64))
results.compatibleSeed = viaCompatible.images[0].base64 === two.data[0].b64_json
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: token })
const viaOpenai = await generateImage({
  model: openai.image('gpt-image-1'),
  prompt: small.prompt,
  n: 2,
  size: '64x64',
  providerOptions: { openai: { quality: 'low' } },
})
results.openaiProvider = viaOpenai.images.map(({ base64 }) => isPng(base64))

const StableDiffusionApi = sd.StableDiffusionApi ?? sd.default ?? sd
const { hostname, port } = new URL(url)
const ui = new StableDiffusionApi({ host: hostname, port: Number(port), protocol: 'http', defaultSampler: 'Euler a', defaultSteps: 2 })
ui.setAuth('user', token)
const drawn = await ui.txt2img({ prompt: 'a red circle', width: 64, height: 64, batch_size: 2, seed: 5 })
const info = typeof drawn.info === 'string' ? JSON.parse(drawn.info) : drawn.info
results.txt2img = { sizes: await Promise.all(drawn.images.map(async (image) => (await image.metadata()).width)), info: Object.keys(info).length > 0 }
results.samplers = (await ui.getSamplers())
  .map(({ name }) => name)
  .filter((name) => ['Euler a', 'DPM++ 2M', 'DDIM', 'UniPC'].includes(name))
  .sort()
results.sdModels = (await ui.getSdModels()).map(({ model_name }) => model_name)
results.options = (await ui.getOptions()).sd_model_checkpoint
await ui.setOptions({ sd_model_checkpoint: results.options, some_key_of_the_web_ui: true })
results.idle = (await ui.getProgress()).progress
process.stdout.write(JSON.stringify(results))
