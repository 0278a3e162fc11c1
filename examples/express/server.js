// An Express server: POST /images answers with a PNG, GET /events streams progress and the image. The engine runs in a process of its own, so a crash of it
// costs one request. A client that leaves frees it at once.
// Settings: PORT, and MODEL (a file or hf:owner/name; without it the embedded model).
import { once } from 'node:events'
import express from 'express'
import { createDiffusionHost, DiffusionError } from 'node-latent-diffusion'

const host = createDiffusionHost({ models: process.env.MODEL ? { main: process.env.MODEL } : undefined, maxQueue: 16 })
const app = express()
app.disable('x-powered-by')
app.use(express.json({ limit: '16kb' }))

/** The options that clients may set, and their limits. The library checks types and ranges. */
function optionsOf({ prompt, negativePrompt, seed, steps } = {}) {
  if (typeof prompt !== 'string' || prompt.length > 1000) throw new RangeError('prompt must be a text of at most 1000 characters')
  if (steps > 50) throw new RangeError('steps must be at most 50')
  return { prompt, negativePrompt, seed, steps }
}

/** A signal that aborts when the client leaves before the response is complete. */
function whileConnected(response) {
  const controller = new AbortController()
  response.once('close', () => response.writableFinished || controller.abort(new Error('The client has left')))
  return controller.signal
}

app.get('/', (_, response) => {
  response.type('html').send(`<!doctype html>
<title>node-latent-diffusion</title>
<form><input name="prompt" value="a yellow star in the night sky" size="40"> <button>Draw</button></form>
<p><progress value="0"></progress> <output></output></p>
<img width="256" alt="">
<script type="module">
  const [form, bar, output, img] = ['form', 'progress', 'output', 'img'].map((name) => document.querySelector(name))
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const events = new EventSource('/events?' + new URLSearchParams(new FormData(form)))
    const on = (type, listener) => events.addEventListener(type, ({ data }) => listener(JSON.parse(data)))
    on('progress', ({ step, steps }) => (bar.value = step / steps))
    on('image', ({ url, seed }) => ((img.src = url), (output.value = 'seed ' + seed)))
    on('problem', ({ message }) => (output.value = message))
    on('end', () => events.close())
  })
</script>`)
})

app.post('/images', async (request, response) => {
  const { images, seed } = await host.generate({ ...optionsOf(request.body), signal: whileConnected(response) })
  response
    .set('X-Seed', String(seed))
    .type('png')
    .send(Buffer.from(await images[0].encode()))
})

app.get('/events', async (request, response) => {
  const { prompt, seed } = request.query
  const options = optionsOf({ prompt, seed: seed === undefined ? undefined : Number(seed) })
  response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' }).flushHeaders()
  const send = (type, data) => response.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`)
  try {
    const job = host.generate({ ...options, signal: whileConnected(response) })
    for await (const event of job) {
      if (event.type === 'progress' && event.phase === 'sample') send('progress', { step: event.step, steps: event.steps })
    }
    const { images, seed: used } = await job
    const url = `data:image/png;base64,${Buffer.from(await images[0].encode()).toString('base64')}`
    send('image', { url, seed: String(used) })
  } catch (error) {
    send('problem', { message: answerTo(error).message })
  }
  send('end', {})
  response.end()
})

/** What a client may know about an error. */
function answerTo(error) {
  if (error instanceof TypeError || error instanceof RangeError || error.status === 400) return { status: 400, message: error.message }
  if (error instanceof DiffusionError && error.code === 'ERR_BUSY') return { status: 503, message: 'Too many requests are waiting; try again later' }
  console.error(error)
  return { status: error.status ?? 500, message: 'The image could not be drawn' }
}

// Express takes a function with four parameters for an error handler.
app.use((error, _, response, next) => {
  if (response.destroyed) return
  if (response.headersSent) return next(error)
  const { status, message } = answerTo(error)
  if (status === 503) response.set('Retry-After', '5')
  response.status(status).json({ error: message })
})

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${server.address().port}`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close()
    await host.close() // rejects what is running and waiting
    server.closeAllConnections()
  })
}
