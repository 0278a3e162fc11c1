// Draws the jobs of a BullMQ queue, one at a time, and writes the images to a folder by the hash of their contents. Start as many as there are machines.
// Settings: REDIS_URL, QUEUE, OUTPUT (folder), MODEL (a file or hf:owner/name; without it the embedded model).
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { UnrecoverableError, Worker } from 'bullmq'
import { createDiffusionHost } from 'node-latent-diffusion'

const { REDIS_URL = 'redis://127.0.0.1:6379', QUEUE = 'images', OUTPUT = 'images', MODEL } = process.env
await mkdir(OUTPUT, { recursive: true })
const host = createDiffusionHost({ models: MODEL ? { main: MODEL } : undefined })

async function draw(job) {
  const { prompt, negativePrompt, seed, steps } = job.data
  const running = host.generate({ prompt, negativePrompt, seed, steps })
  let told = 0
  for await (const event of running) {
    if (event.type !== 'progress' || event.phase !== 'sample' || Date.now() - told < 250) continue
    told = Date.now() // at most four times a second: each is a message through Redis
    await job.updateProgress(event.step / event.steps)
  }
  const { images, seed: used } = await running
  const bytes = await images[0].encode()
  const file = path.join(OUTPUT, `${createHash('sha256').update(bytes).digest('hex')}.png`)
  await images[0].save(file) // atomic, so a job that runs twice leaves one whole file
  return { file, seed: String(used) }
}

const worker = new Worker(
  QUEUE,
  async (job) => {
    try {
      return await draw(job)
    } catch (error) {
      // Wrong options fail every time; everything else is tried again, as often as the job's attempts allow.
      throw error.code === 'ERR_INVALID_ARG' ? new UnrecoverableError(error.message) : error
    }
  },
  { connection: { url: REDIS_URL, maxRetriesPerRequest: null }, concurrency: 1 },
)
worker.on('completed', (job, { file }) => console.log(`${job.id}: ${file}`))
worker.on('failed', (job, error) => console.error(`${job?.id}: ${error.message}`))
worker.on('error', (error) => console.error(error.message))
await worker.waitUntilReady()
console.log(`waiting for jobs of ${QUEUE}`)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await worker.close() // takes no more jobs and lets the running one end
    await host.close()
  })
}
