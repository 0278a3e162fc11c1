/** `/latent/v1`: jobs, models, and calls of the page. */
import multipart from '@fastify/multipart'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createHash, randomUUID } from 'node:crypto'
import { freemem } from 'node:os'
import type { HostGenerateOptions, JobEvent } from 'node-latent-diffusion'
import { invalid, HttpError } from './errors.js'
import { readParts } from './forms.js'
import { JobRecord } from './jobs.js'
import { checkPicture, decodePicture } from './pictures.js'
import type {
  EstimateRequest,
  EstimateResult,
  JobRequest,
  JobStatus,
  Picture,
  Priority,
  PullEvent,
  PullRequest,
  ServerInfo,
  ServerStatus,
  TokenizeRequest,
  TokenizeResult,
} from './protocol.js'
import { checkLimits } from './requests.js'
import { estimateRequest, jobParams, jobRequest, listQuery, moveRequest, pullRequest, tokenizeRequest } from './schemas.js'
import type { Context } from './server.js'
import type { Limits } from './settings.js'
import { openStream } from './streams.js'

const pictureKeys = ['image', 'mask', 'semanticMap', 'depthMap'] as const
type Files = Partial<Record<(typeof pictureKeys)[number], Uint8Array>>

async function readPicture(value: Picture, key: string, context: Context): Promise<Uint8Array> {
  if (typeof value === 'string') return decodePicture(value, key, context.settings.limits)
  const { job: id, index } = value
  const picture = (await jobOf(id, context)).pictures[index]
  if (!picture) throw invalid(`${key}: job ${id} has no image ${index}`, key)
  return picture.png
}

/** Converts the options of a request to options of the engine. */
async function readOptions(request: JobRequest, files: Files, context: Context): Promise<HostGenerateOptions> {
  const { preview, seed, variationSeed, image, mask, semanticMap, depthMap } = request
  const own = ['model', 'priority', 'preview', 'seed', 'variationSeed', ...pictureKeys]
  const options = Object.fromEntries(Object.entries(request).filter(([key]) => !own.includes(key))) as HostGenerateOptions
  if (seed !== undefined) options.seed = BigInt(seed)
  if (variationSeed !== undefined) options.variationSeed = BigInt(variationSeed)
  for (const [key, value] of Object.entries({ image, mask, semanticMap, depthMap }) as [(typeof pictureKeys)[number], Picture | undefined][]) {
    if (value !== undefined) options[key] = await readPicture(value, key, context)
    if (files[key]) options[key] = await checkPicture(files[key], key, context.settings.limits)
  }
  if (preview) options.preview = preview === true ? {} : preview
  return options
}

/** The request without the bytes of images. */
function shownRequest(request: JobRequest, files: Files): Record<string, unknown> {
  const entries = Object.entries(request).map(([key, value]): [string, unknown] => {
    return (pictureKeys as readonly string[]).includes(key) && typeof value === 'string' ? [key, '(an image)'] : [key, value]
  })
  return { ...Object.fromEntries(entries), ...Object.fromEntries(Object.keys(files).map((key) => [key, '(an image)'])) }
}

/** The request, and the images sent as files of a form. */
async function readBody(request: FastifyRequest, limits: Limits): Promise<{ asked: unknown; files: Files }> {
  const files: Files = {}
  if (!request.isMultipart()) return { asked: request.body ?? {}, files }
  let asked: unknown = {}
  for await (const part of readParts(request, limits)) {
    if (part.type === 'field') {
      if (part.name !== 'request') throw invalid(`There is no field '${part.name.slice(0, 100)}'; send the options as JSON in the field 'request'`)
      asked = typeof part.value === 'string' ? parseField(part.value) : part.value
    } else {
      const key = pictureKeys.find((each) => each === part.name)
      if (!key) throw invalid(`There is no image '${part.name.slice(0, 100)}'; use ${pictureKeys.join(', ')}`)
      files[key] = part.bytes
    }
  }
  return { asked, files }
}

function parseField(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid(`The field 'request' is not JSON: ${(error as Error).message}`)
  }
}

function readPriority(request: FastifyRequest, own: Priority | undefined): Priority {
  const header = request.headers['x-latent-priority']
  const wanted = own ?? header ?? 'interactive'
  if (wanted !== 'interactive' && wanted !== 'batch') throw invalid(`x-latent-priority must be interactive or batch, not ${String(wanted)}`)
  return wanted
}

function readKey(request: FastifyRequest, asked: JobRequest, files: Files): { name: string; hash: string } | undefined {
  const name = request.headers['idempotency-key']
  if (name === undefined) return undefined
  if (typeof name !== 'string' || name.length < 1 || name.length > 255) throw invalid('Idempotency-Key must have 1 to 255 characters')
  const hash = createHash('sha256').update(JSON.stringify(asked))
  for (const [key, bytes] of Object.entries(files)) hash.update(key).update(bytes)
  return { name, hash: hash.digest('hex') }
}

function lastEventId(request: FastifyRequest): number {
  const id = Number(request.headers['last-event-id'] ?? 0)
  return Number.isSafeInteger(id) && id >= 0 ? id : 0
}

export function statusOf({ models, room, jobs }: Context): ServerStatus {
  const { state, restarts } = models.host.status
  const runs = [...room.running, ...room.waiting]
  const ids = new Map(jobs.list(undefined, undefined, Infinity).jobs.map((job) => [job.run, job.id]))
  return {
    engine: state,
    running: room.running.length > 0,
    queued: room.waiting.length,
    jobs: runs.flatMap((run) => ids.get(run) ?? []),
    loaded: models.loaded(),
    restarts,
  }
}

async function createJob(request: FastifyRequest, context: Context, validate: (data: unknown) => boolean): Promise<JobRecord> {
  const { jobs, models, room, settings, adopting } = context
  const { asked: given, files } = await readBody(request, settings.limits)
  if (request.isMultipart() && !validate(given)) throw invalid("The field 'request' does not match the schema; see /openapi.json")
  const asked = given as JobRequest
  const key = readKey(request, asked, files)
  const known = key && jobs.byKey(key)
  if (known) return known
  room.admit(request.ip)
  const model = models.resolve(asked.model)
  const options = await readOptions(asked, files, context)
  const priority = readPriority(request, asked.priority)
  await checkLimits(options, await models.info(model), settings.limits)
  const again = key && jobs.byKey(key) // created while the model's headers were read
  if (again) return again
  const shown = shownRequest(asked, files)
  const id = key ? await room.claim(key.name, key.hash, randomUUID()) : randomUUID()
  await adopting.get(id)?.catch(() => undefined) // another request asks for this job, made by another server
  const meanwhile = key && jobs.byKey(key)
  if (meanwhile) return meanwhile
  if (key && jobs.has(id)) {
    // Of another server with the same key, and asked for here before.
    const adopted = jobs.get(id)
    jobs.add(adopted, key)
    return adopted
  }
  const job = new JobRecord(shown, model, priority, id)
  const note = { request: shown, created: job.created }
  const run = room.submit({ id, api: 'latent', model, options, priority, client: request.ip, note, onEvent: (event) => job.take(event) })
  jobs.add(job, key)
  void job.track(run, settings.log).finally(() => jobs.trim())
  try {
    await run.accepted
  } catch (error) {
    jobs.drop(job)
    throw error
  }
  return job
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A job of this server, or of another one with the same queue. @throws HttpError 404 if there is none */
async function jobOf(id: string, { jobs, room, settings, adopting }: Context): Promise<JobRecord> {
  if (jobs.has(id) || !uuid.test(id)) return jobs.get(id)
  const adopt = async () => {
    const early: JobEvent[] = []
    let take: (event: JobEvent) => void = (event) => early.push(event)
    const found = await room.find(id, (event) => take(event))
    if (!found) return
    const { run, model, priority, note } = found
    const { request, created } = note
    const job = new JobRecord(
      typeof request === 'object' && request !== null ? { ...request } : {},
      model,
      priority,
      id,
      typeof created === 'string' ? created : undefined,
    )
    take = (event) => job.take(event)
    early.forEach(take)
    jobs.add(job)
    const over = job.track(run, settings.log).finally(() => jobs.trim())
    // A finished one is complete at once, with its images.
    await Promise.race([over, new Promise((resolve) => setImmediate(resolve))])
    if (run.state === 'done') await over
  }
  const pending = adopting.get(id) ?? adopt().finally(() => adopting.delete(id))
  adopting.set(id, pending)
  await pending
  return jobs.get(id)
}

/** JSON, or a form with the JSON in its field `request`. */
const jobBody = { content: { 'application/json': { schema: jobRequest }, 'multipart/form-data': { schema: {} } } }

function jobRoutes(app: FastifyInstance, context: Context): void {
  const { jobs, room } = context
  type WithId = { Params: { id: string } }

  /** Before the body is read; a repeated request gets its existing job. */
  const admit = async ({ headers, ip }: FastifyRequest) => {
    const key = headers['idempotency-key']
    if (typeof key !== 'string' || !jobs.hasKey(key)) room.admit(ip)
  }

  app.post('/jobs', { onRequest: admit, schema: { body: jobBody, tags: ['jobs'], summary: 'Make images' } }, async (request, reply) => {
    const job = await createJob(request, context, (data) => request.validateInput(data, jobRequest))
    return reply.code(202).header('location', `/latent/v1/jobs/${job.id}`).send(job.toJson())
  })

  app.get<{ Querystring: { status?: JobStatus; cursor?: string } }>(
    '/jobs',
    { schema: { querystring: listQuery, tags: ['jobs'], summary: 'List jobs, newest first' } },
    async ({ query }) => {
      const { jobs: found, next } = jobs.list(query.status, query.cursor)
      return { jobs: found.map((job) => job.toJson()), ...(next ? { next } : {}) }
    },
  )

  app.get<WithId>('/jobs/:id', { schema: { params: jobParams, tags: ['jobs'], summary: 'A job' } }, async ({ params }) =>
    (await jobOf(params.id, context)).toJson(),
  )

  app.patch<WithId & { Body: { position: number } }>(
    '/jobs/:id',
    { schema: { params: jobParams, body: moveRequest, tags: ['jobs'], summary: 'Move a queued job' } },
    async ({ params, body }) => {
      const job = await jobOf(params.id, context)
      if (job.run?.state !== 'queued') throw new HttpError(409, 'ERR_STATE', `The job is ${job.status}; only queued jobs can be moved`)
      await room.move(job.run, body.position)
      return job.toJson()
    },
  )

  app.delete<WithId>(
    '/jobs/:id',
    { schema: { params: jobParams, tags: ['jobs'], summary: 'Cancel a job, or delete a finished one' } },
    async ({ params }, reply) => {
      const job = await jobOf(params.id, context)
      if (jobs.remove(job) === 'cancelled') return job.toJson()
      await room.forget(job.id, job.model)
      return reply.code(204).send()
    },
  )

  app.get<WithId>(
    '/jobs/:id/events',
    { sse: 'only', schema: { params: jobParams, tags: ['jobs'], summary: 'Events of a job, as server-sent events' } },
    async (request, reply) => {
      const job = await jobOf(request.params.id, context)
      const after = lastEventId(request)
      // EventSource reconnects until it gets 204.
      if (!job.goesOn(after)) return reply.code(204).send()
      await openStream(context, reply, async (send, signal) => {
        for await (const { id, event } of job.follow(after, signal)) await send({ id: String(id), event: event.type, data: event })
        return job.isOver
      })
      return undefined
    },
  )

  app.get<{ Params: { id: string; file: string } }>(
    '/jobs/:id/images/:file',
    { schema: { tags: ['jobs'], summary: 'An image' } },
    async (request, reply) => sendPicture(context, request.params, request, reply),
  )
}

async function sendPicture(context: Context, { id, file }: { id: string; file: string }, request: FastifyRequest, reply: FastifyReply) {
  const index = /^(\d{1,3})(\.png)?$/.exec(file)?.[1]
  const picture = index === undefined ? undefined : (await jobOf(id, context)).pictures[Number(index)]
  if (!picture) throw new HttpError(404, 'ERR_NOT_FOUND', `Job ${id.slice(0, 64)} has no image ${file.slice(0, 20)}`)
  const etag = `"${picture.sha256}"`
  void reply.header('etag', etag).header('cache-control', 'private, max-age=31536000, immutable')
  if (request.headers['if-none-match'] === etag) return reply.code(304).send()
  return reply.type('image/png').send(Buffer.from(picture.png.buffer, picture.png.byteOffset, picture.png.byteLength))
}

/** Loading a model here would only take memory. */
export function refuseElsewhere({ settings }: Context): void {
  if (settings.queue) throw new HttpError(409, 'ERR_STATE', 'The models are loaded by the workers of the queue')
}

function modelRoutes(app: FastifyInstance, context: Context): void {
  const { models, sides } = context
  type Named = { Params: { name: string } }
  const tags = ['models']

  app.get('/models', { schema: { tags, summary: 'The models' } }, async () => {
    await models.refresh()
    return { models: models.list() }
  })
  app.get<Named>('/models/:name', { schema: { tags, summary: 'Describe a model' } }, async ({ params }) =>
    models.details(models.resolve(params.name)),
  )
  app.post<Named>('/models/:name/load', { schema: { tags, summary: 'Load a model before its first job' } }, async (request, reply) => {
    const name = models.resolve(request.params.name)
    refuseElsewhere(context)
    await sides.run(request, reply, (signal) => models.host.load(name, { signal }))
    return models.details(name)
  })
  app.post<Named>('/models/:name/unload', { schema: { tags, summary: 'Free the memory of a model' } }, async (request, reply) => {
    const name = models.resolve(request.params.name)
    refuseElsewhere(context)
    await sides.run(request, reply, () => models.host.unload(name))
    return reply.code(204).send()
  })
  app.delete<Named>('/models/:name', { schema: { tags, summary: 'Delete a pulled model' } }, async ({ params }, reply) => {
    await models.remove(models.resolve(params.name))
    return reply.code(204).send()
  })
  app.post<{ Body: PullRequest }>(
    '/models/pull',
    { sse: 'manual', schema: { body: pullRequest, tags, summary: 'Download a model from a hub, with server-sent events' } },
    async ({ body }, reply) => {
      const pulled = models.pull(body.source, body.name)
      await openStream(context, reply, async (send, signal) => {
        let pending = false
        const tell = (event: PullEvent) => {
          if (pending) return // the client reads slowly; the next event is newer
          pending = true
          void send({ event: event.type, data: event })
            .catch(() => {})
            .finally(() => (pending = false))
        }
        const model = await pulled.fetch(tell, signal)
        await send({ event: 'done', data: { type: 'done', model } satisfies PullEvent })
      })
    },
  )
}

function pageRoutes(app: FastifyInstance, context: Context): void {
  const { models, room, settings, sides } = context

  app.get('/server', { schema: { tags: ['server'], summary: 'Version, limits and status' } }, async (): Promise<ServerInfo> => {
    const { maxPixels, maxSteps, maxCount, maxQueue, maxBodyBytes, maxFileBytes } = settings.limits
    const limits = { maxPixels, maxSteps, maxCount, maxQueue, maxBodyBytes, maxFileBytes }
    return { version: context.version, defaultModel: models.defaultName, limits, canPull: settings.pull, status: statusOf(context) }
  })

  app.get(
    '/events',
    { sse: 'only', schema: { tags: ['server'], summary: 'Status of the queue and the models, as server-sent events' } },
    async (_, reply) => {
      await openStream(context, reply, async (send, signal) => {
        let wake = () => {}
        const changed = () => wake()
        room.on('change', changed)
        signal.addEventListener('abort', changed)
        try {
          for (let last = ''; !signal.aborted;) {
            const change = new Promise<void>((resolve) => (wake = resolve))
            const status = statusOf(context)
            const now = JSON.stringify(status)
            if (now !== last) await send({ event: 'status', data: status })
            last = now
            if (!signal.aborted) await change
          }
        } finally {
          room.off('change', changed)
        }
      })
    },
  )

  app.post<{ Body: TokenizeRequest }>(
    '/tokenize',
    { schema: { body: tokenizeRequest, tags: ['models'], summary: 'Tokenize a prompt; loads the model' } },
    async (request, reply): Promise<TokenizeResult> => {
      const { body } = request
      const name = models.resolve(body.model)
      const { condition } = await models.info(name)
      const { chunks, truncated } = await sides.run(request, reply, (signal) => models.host.tokenize(body.prompt, { model: name, signal }))
      const window = (condition.tokens ?? 2) - 2
      // Start and end tokens of CLIP and BERT. The padding comes after the end.
      const inner = chunks.map(({ text, weights }) => {
        const end = text.findIndex((each, i) => i > 0 && (each === '<|endoftext|>' || each === '[SEP]'))
        return { text: text.slice(1, end), weights: weights.slice(1, end) }
      })
      return { tokens: inner.reduce((sum, { text }) => sum + text.length, 0), window, windows: chunks.length, truncated, chunks: inner }
    },
  )

  app.post<{ Body: EstimateRequest }>(
    '/estimate',
    { schema: { body: estimateRequest, tags: ['models'], summary: 'Estimate the memory for an image' } },
    async ({ body }): Promise<EstimateResult> => {
      const { model, ...request } = body
      const { width, height, peakBytes, lowPeakBytes, processBytes } = await models.estimate(models.resolve(model), request)
      return { width, height, peakBytes, lowPeakBytes, processBytes, freeBytes: freemem() }
    },
  )
}

export function latentApi(context: Context) {
  return async (app: FastifyInstance): Promise<void> => {
    const { maxFileBytes, maxBodyBytes } = context.settings.limits
    await app.register(multipart, { limits: { fileSize: maxFileBytes, files: 3, fields: 1, fieldSize: maxBodyBytes, parts: 4, headerPairs: 100 } })
    jobRoutes(app, context)
    modelRoutes(app, context)
    pageRoutes(app, context)
  }
}
