/** `/metrics` for Prometheus. */
import type { FastifyInstance } from 'fastify'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { ownTimings } from 'node-latent-diffusion'
import { toAnswer } from './errors.js'
import type { Context } from './server.js'

const seconds = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600]

export function serveMetrics(app: FastifyInstance, { room, models }: Context): void {
  const register = new Registry()
  const registers = [register]
  collectDefaultMetrics({ register })
  const jobs = new Counter({ name: 'latent_jobs_total', help: 'Finished image requests', labelNames: ['api', 'outcome'], registers })
  const images = new Counter({ name: 'latent_images_total', help: 'Images made', labelNames: ['model'], registers })
  const wait = new Histogram({ name: 'latent_queue_wait_seconds', help: 'Time in the queue', buckets: seconds, registers })
  const stage = new Histogram({
    name: 'latent_stage_seconds',
    help: 'Time of the engine for a stage of a request. Requests that are made together have equal parts of the time that they share',
    labelNames: ['stage'],
    buckets: seconds,
    registers,
  })
  const step = new Histogram({
    name: 'latent_step_seconds',
    help: 'Mean time of the engine for a step of a request, of which requests that are made together have equal parts',
    buckets: seconds,
    registers,
  })
  const load = new Histogram({
    name: 'latent_model_load_seconds',
    help: 'Time to load a model, and to read weights during a request (memory low)',
    buckets: seconds,
    registers,
  })
  new Gauge({
    name: 'latent_queue_depth',
    help: 'Queued requests, of all servers of a shared queue',
    registers,
    async collect() {
      this.set(await room.depth().catch(() => room.waiting.length)) // the queue is not reachable
    },
  })
  new Gauge({
    name: 'latent_running',
    help: 'Running requests of this server',
    registers,
    collect() {
      this.set(room.running.length)
    },
  })
  new Gauge({
    name: 'latent_models_loaded',
    help: 'Models in memory',
    registers,
    collect() {
      this.set(models.loaded().length)
    },
  })
  /** Queried after each request, so that a scrape does not wait for the running one. */
  const memory = new Map<string, number>()
  const measure = async (model: string) => {
    if (!models.loaded().includes(model)) return // another machine has it
    const usage = await models.host.memoryUsage(model).catch(() => undefined) // the server or the engine has ended
    if (usage) memory.set(model, usage.total)
  }
  new Gauge({
    name: 'latent_memory_bytes',
    help: 'Memory of a loaded model, its graphs included, after its last request',
    labelNames: ['model'],
    registers,
    collect() {
      this.reset()
      for (const model of models.loaded()) if (memory.has(model)) this.set({ model }, memory.get(model)!)
    },
  })
  new Counter({
    name: 'latent_engine_restarts_total',
    help: 'Engine restarts after a crash',
    registers,
    collect() {
      this.reset()
      this.inc(models.host.status.restarts)
    },
  })
  models.host.on('loaded', (_, ms) => load.observe(ms / 1000))
  room.on('settled', (run, result, error) => {
    const outcome = result ? 'succeeded' : toAnswer(error).error.code === 'ERR_CANCELLED' ? 'cancelled' : 'failed'
    jobs.inc({ api: run.api, outcome })
    wait.observe(((run.started ?? performance.now()) - run.submitted) / 1000)
    if (!result) return
    void measure(run.model)
    images.inc({ model: run.model }, result.images.length)
    const { loadMs, encodeMs, sampleMs, decodeMs } = ownTimings(result.timings)
    for (const [name, ms] of Object.entries({ encode: encodeMs, sample: sampleMs, decode: decodeMs })) stage.observe({ stage: name }, ms / 1000)
    const steps = Number(result.options.steps)
    if (steps > 0) step.observe(sampleMs / 1000 / steps)
    if (loadMs > 0) load.observe(loadMs / 1000)
  })
  app.get('/metrics', { schema: { tags: ['server'], summary: 'Metrics for Prometheus' } }, async (_, reply) =>
    reply.type(register.contentType).send(await register.metrics()),
  )
}
