/** The server: checks, APIs, start and shutdown. */
import helmet from '@fastify/helmet'
import sse from '@fastify/sse'
import swagger from '@fastify/swagger'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { a1111Api, a1111Error, internalApi } from './a1111-api.js'
import { Tasks } from './a1111-tasks.js'
import { boundBodies } from './bodies.js'
import { schemaError, toAnswer, type Answer } from './errors.js'
import { FleetQueue, openFleet } from './fleet-queue.js'
import { JobStore } from './jobs.js'
import { latentApi } from './latent-api.js'
import { LocalQueue } from './local-queue.js'
import { serveMetrics } from './metrics.js'
import { Models } from './models.js'
import { describeCall } from './openapi.js'
import { openaiApi, openaiError } from './openai-api.js'
import { servePage } from './page.js'
import { PictureUrls } from './picture-urls.js'
import type { WaitingRoom } from './queue.js'
import { secure } from './security.js'
import { readSettings, type ServerOptions, type Settings } from './settings.js'
import { Sides } from './sides.js'
import { Streams } from './streams.js'

/** Shared by the APIs. */
export interface Context {
  version: string
  settings: Settings
  models: Models
  room: WaitingRoom
  jobs: JobStore
  streams: Streams
  sides: Sides
  urls: PictureUrls
  /** Jobs of other servers that are being looked up. */
  adopting: Map<string, Promise<void>>
  log: (line: string) => void
}

/** A running server. */
export interface Server extends AsyncDisposable {
  /** `http://127.0.0.1:7861` */
  readonly url: string
  readonly port: number
  /** Stops accepting requests, gives the running one `graceMs`, rejects waiting ones, and ends the engine. Idempotent. */
  close(): Promise<void>
}

/** All packages have the same version; this package's manifest gets it when it is published. */
const version = (JSON.parse(readFileSync(require.resolve('node-latent-diffusion/package.json'), 'utf8')) as { version: string }).version

/** The error format of each API, by path prefix. */
const formats: readonly [prefix: string, format: (answer: Answer) => unknown][] = [
  ['/v1/', openaiError],
  ['/sdapi/', a1111Error],
  ['/internal/', a1111Error],
]

function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply, log: Settings['log']): FastifyReply {
  const answer = toAnswer(thrown)
  if (answer.log !== undefined) log(`${request.method} ${request.url}: ${answer.log}`)
  if (answer.retryAfter !== undefined) void reply.header('retry-after', String(answer.retryAfter))
  // OpenAI's client retries every 5xx unless told not to.
  if (answer.status === 500) void reply.header('x-should-retry', 'false')
  const format = formats.find(([prefix]) => request.url.startsWith(prefix))?.[1]
  return reply.code(answer.status).send(format ? format(answer) : { error: answer.error })
}

/** Bodies must be JSON or forms: with other types a page of another site could send a "simple request" without a preflight. */
function takeBodies(app: FastifyInstance): void {
  app.removeContentTypeParser('text/plain')
  app.removeContentTypeParser('application/json')
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '')
      done(null, undefined) // axios and SillyTavern send the content type without a body
    else void parse(request, body as string, done)
  })
}

function makeApp(settings: Settings): FastifyInstance {
  const { limits, requestTimeoutMs } = settings
  const app = fastify({
    bodyLimit: limits.maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: 10_000,
    maxRequestsPerSocket: 0,
    routerOptions: { maxParamLength: 200, querystringParser: (text) => Object.fromEntries(new URLSearchParams(text)) },
    http: { headersTimeout: Math.min(15_000, requestTimeoutMs), connectionsCheckingInterval: Math.min(5000, Math.max(100, requestTimeoutMs / 4)) },
    genReqId: () => randomUUID(),
    forceCloseConnections: true,
    return503OnClosing: false,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: false } },
    schemaErrorFormatter: schemaError,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply as FastifyReply, settings.log),
    exposeHeadRoutes: false,
  })
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(error, request, reply, settings.log))
  app.setNotFoundHandler((request, reply) => {
    const missing = {
      statusCode: 404,
      code: 'ERR_NOT_FOUND',
      message: `There is no ${request.method} ${request.url.split('?', 1)[0]!.slice(0, 200)}`,
    }
    return answerError(missing, request, reply, settings.log)
  })
  // The plugin for server-sent events has its own answer for clients that do not accept them.
  app.addHook('preSerialization', async (_, reply, payload) => {
    const { message } = payload as { message?: string }
    return reply.statusCode === 406 && message !== undefined ? { error: toAnswer({ statusCode: 406, message }).error } : payload
  })
  app.addHook('onSend', async (request, reply) => {
    void reply.header('x-request-id', request.id)
    if (!reply.hasHeader('cache-control')) void reply.header('cache-control', 'no-store')
  })
  return app
}

function healthRoutes(app: FastifyInstance, { room }: Context): void {
  app.get('/healthz', { schema: { tags: ['server'], summary: 'Health check' } }, async () => ({ status: 'ok' }))
  app.get('/readyz', { schema: { tags: ['server'], summary: 'Readiness check' } }, async (_, reply) => {
    if (room.isClosing) return reply.code(503).send({ status: 'closing' })
    if (!room.isReachable) return reply.code(503).send({ status: 'queue not reachable' })
    return room.isFull ? reply.code(503).send({ status: 'full' }) : { status: 'ready' }
  })
}

async function build(context: Context): Promise<FastifyInstance> {
  const { settings } = context
  const app = makeApp(settings)
  takeBodies(app)
  secure(app, settings)
  boundBodies(app, settings.limits)
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        ...{ defaultSrc: ["'none'"], scriptSrc: ["'self'"], styleSrc: ["'self'"], connectSrc: ["'self'"], manifestSrc: ["'self'"] },
        ...{ imgSrc: ["'self'", 'data:', 'blob:'], baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] },
      },
    },
    strictTransportSecurity: false, // set by the proxy, which has the certificate
    crossOriginResourcePolicy: settings.allowOrigins.length > 0 ? { policy: 'cross-origin' } : { policy: 'same-origin' },
    referrerPolicy: { policy: 'no-referrer' },
  })
  await app.register(sse, { heartbeatInterval: 15_000 })
  await app.register(swagger, {
    openapi: {
      info: { title: 'node-latent-diffusion', description: 'Images from latent diffusion models', version: context.version },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' }, password: { type: 'http', scheme: 'basic' } } },
      ...(settings.token === undefined ? {} : { security: [{ token: [] }, { password: [] }] }),
    },
    transform: ({ schema, url, route }) => ({ schema: describeCall(schema, String(route.method), url), url }),
  })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  healthRoutes(app, context)
  serveMetrics(app, context)
  await app.register(latentApi(context), { prefix: '/latent/v1' })
  await app.register(openaiApi(context), { prefix: '/v1' })
  const tasks = new Tasks()
  await app.register(a1111Api(context, tasks), { prefix: '/sdapi/v1' })
  await app.register(internalApi(tasks), { prefix: '/internal' })
  await servePage(app, settings)
  return app
}

async function makeQueue({ queue, limits, maxBatch, log }: Settings, models: Models): Promise<WaitingRoom> {
  if (!queue) return new LocalQueue(models.host, limits, maxBatch)
  try {
    return new FleetQueue(openFleet(queue, version, log), () => models.names(), limits)
  } catch (error) {
    await models.close()
    throw error
  }
}

/**
 * Starts a server. The engine runs in its own process (`DiffusionHost`), so that a crash of native code costs one request.
 * @throws RangeError or TypeError for invalid options, the system's error if the port is in use
 */
export async function createServer(options?: ServerOptions): Promise<Server> {
  const settings = readSettings(options)
  const models = new Models(settings)
  const room = await makeQueue(settings, models)
  const context: Context = {
    ...{ version, settings, models, room, log: settings.log },
    ...{ jobs: new JobStore(settings.limits), streams: new Streams(), sides: new Sides(settings) },
    urls: new PictureUrls(settings.limits.maxKeptBytes),
    adopting: new Map(),
  }
  models.host.on('crash', (error) => settings.log(error.message))
  let app: FastifyInstance
  try {
    app = await build(context)
    await app.listen({ host: settings.host, port: settings.port })
  } catch (error) {
    await room.close(0)
    await models.close()
    throw error
  }
  const { port } = app.server.address() as AddressInfo
  let closed: Promise<void> | undefined
  const close = async () => {
    const hasOwn = [...room.running].some(({ api }) => api === 'latent')
    context.sides.close()
    await room.close(settings.graceMs)
    await context.jobs.settled()
    await new Promise(setImmediate) // sends answers and last events
    context.streams.close()
    await new Promise(setImmediate)
    // Images with a URL can still be fetched.
    if (hasOwn && settings.graceMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(settings.graceMs, 1000)))
    await app.close()
    await models.close()
  }
  const shown = settings.host.includes(':') && !settings.host.startsWith('[') ? `[${settings.host}]` : settings.host
  return {
    url: `http://${shown}:${port}`,
    port,
    close: () => (closed ??= close()),
    [Symbol.asyncDispose]: () => (closed ??= close()),
  }
}
