/** Metrics of a worker for Prometheus, and its health, over HTTP. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { ownTimings, type GenerateResult } from 'node-latent-diffusion'

/** `returned`: to the queue, because the worker shut down. `lost`: another worker has taken it over. */
export type Outcome = 'succeeded' | 'failed' | 'retried' | 'cancelled' | 'returned' | 'lost'

const seconds = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600]

export class WorkerMetrics {
  readonly register = new Registry()
  readonly #jobs: Counter<'model' | 'outcome'>
  readonly #images: Counter<'model'>
  readonly #duration: Histogram<'model'>
  readonly #stage: Histogram<'stage'>
  readonly #step: Histogram
  readonly #load: Histogram

  constructor(busy: () => boolean) {
    const { register } = this
    const registers = [register]
    collectDefaultMetrics({ register })
    this.#jobs = new Counter({ name: 'latent_worker_jobs_total', help: 'Jobs that left this worker', labelNames: ['model', 'outcome'], registers })
    this.#images = new Counter({ name: 'latent_images_total', help: 'Images made', labelNames: ['model'], registers })
    this.#duration = new Histogram({
      name: 'latent_worker_job_seconds',
      help: 'Duration of a job on this worker, storing its images included',
      labelNames: ['model'],
      buckets: seconds,
      registers,
    })
    this.#stage = new Histogram({
      name: 'latent_stage_seconds',
      help: 'Time of the engine for a stage of a job. Jobs that are made together have equal parts of the time that they share',
      labelNames: ['stage'],
      buckets: seconds,
      registers,
    })
    this.#step = new Histogram({
      name: 'latent_step_seconds',
      help: 'Mean time of the engine for a step of a job, of which jobs that are made together have equal parts',
      buckets: seconds,
      registers,
    })
    this.#load = new Histogram({
      name: 'latent_model_load_seconds',
      help: 'Time to load a model, and to read weights during a request (memory low)',
      buckets: seconds,
      registers,
    })
    new Gauge({
      name: 'latent_worker_busy',
      help: 'Whether a job is running: 0 or 1',
      registers,
      collect() {
        this.set(busy() ? 1 : 0)
      },
    })
  }

  left(model: string, outcome: Outcome): void {
    this.#jobs.inc({ model, outcome })
  }

  loaded(ms: number): void {
    this.#load.observe(ms / 1000)
  }

  made(model: string, { images, timings, options }: GenerateResult, durationMs: number): void {
    this.#images.inc({ model }, images.length)
    this.#duration.observe({ model }, durationMs / 1000)
    const { loadMs, encodeMs, sampleMs, decodeMs } = ownTimings(timings)
    for (const [stage, ms] of Object.entries({ encode: encodeMs, sample: sampleMs, decode: decodeMs })) this.#stage.observe({ stage }, ms / 1000)
    const { steps } = options as { steps?: unknown }
    if (typeof steps === 'number' && steps > 0) this.#step.observe(sampleMs / 1000 / steps) // image to image with strength 0 has none
    if (loadMs > 0) this.#load.observe(loadMs / 1000)
  }
}

/** Serves `/metrics`, `/healthz` and `/readyz`. @throws the system's error if the port is in use */
export async function serveHealth(
  { register }: WorkerMetrics,
  isReady: () => boolean,
  host: string,
  port: number,
): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = 'text/plain') => response.writeHead(status, { 'content-type': type }).end(text)
    const path = request.url?.split('?', 1)[0]
    if (request.method !== 'GET') answer(405, 'GET only\n')
    else if (path === '/healthz') answer(200, 'ok\n')
    else if (path === '/readyz') answer(isReady() ? 200 : 503, isReady() ? 'ready\n' : 'not ready\n')
    else if (path === '/metrics')
      register.metrics().then(
        (text) => answer(200, text, register.contentType),
        () => answer(500, 'error\n'),
      )
    else answer(404, 'there are /metrics, /healthz and /readyz\n')
  })
  server.requestTimeout = 10_000
  server.headersTimeout = 10_000
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  server.unref()
  const { address, family, port: bound } = server.address() as AddressInfo
  return { server, url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}` }
}
