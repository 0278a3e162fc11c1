// node add.js "a red circle" "a blue star"
// Adds a job per prompt and waits for the images.
import { Queue, QueueEvents } from 'bullmq'

const { REDIS_URL = 'redis://127.0.0.1:6379', QUEUE = 'images' } = process.env
const connection = { url: REDIS_URL }
const queue = new Queue(QUEUE, { connection })
const events = new QueueEvents(QUEUE, { connection })
await events.waitUntilReady()

const prompts = process.argv.slice(2)
const settings = { attempts: 3, backoff: { type: 'exponential', delay: 1000 }, removeOnComplete: { age: 3600 }, removeOnFail: { age: 86_400 } }
const jobs = await queue.addBulk(prompts.map((prompt) => ({ name: 'draw', data: { prompt }, opts: settings })))
const results = await Promise.allSettled(jobs.map((job) => job.waitUntilFinished(events)))
for (const [i, { value, reason }] of results.entries()) console.log(`${prompts[i]}: ${value ? value.file : reason.message}`)
await events.close()
await queue.close()
