/** Access control by host name, origin of the page, and token. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createHash, timingSafeEqual } from 'node:crypto'
import { HttpError } from './errors.js'
import { allowedHosts, type Settings } from './settings.js'

const hashOf = (text: string) => createHash('sha256').update(text).digest()

/** The token in `Authorization`: Bearer, or the password of Basic. A header without a value counts as missing. */
function tokenOf(header: string | undefined): string | undefined {
  const [, scheme, value] = /^(\w+) +(\S+)$/.exec(header?.trim() ?? '') ?? []
  if (value === undefined) return undefined
  if (/^bearer$/i.test(scheme!)) return value
  if (!/^basic$/i.test(scheme!)) return undefined
  const pair = Buffer.from(value, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  return colon < 0 ? undefined : pair.slice(colon + 1)
}

/** `localhost` of `localhost:7861`; undefined for invalid hosts. */
function hostName(header: string | undefined): string | undefined {
  return /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?$/.exec(header?.toLowerCase() ?? '')?.[1]
}

/** Requests of this server's own page. The scheme may differ behind a proxy that terminates TLS. */
function isSameOrigin(origin: string, host: string): boolean {
  return origin === `http://${host}` || origin === `https://${host}`
}

/** Paths without information or effects, for probes without a token. */
const open = new Set(['/healthz', '/readyz'])

function allowOrigin(reply: FastifyReply, origin: string): void {
  void reply.header('access-control-allow-origin', origin)
  void reply.header('vary', 'Origin')
  void reply.header('access-control-expose-headers', 'etag, location, retry-after, x-request-id')
}

function answerPreflight(reply: FastifyReply): FastifyReply {
  return reply
    .header('access-control-allow-methods', 'GET, POST, PATCH, DELETE')
    .header('access-control-allow-headers', 'authorization, content-type, idempotency-key, last-event-id, x-latent-priority')
    .header('access-control-max-age', '600')
    .code(204)
    .send()
}

/** Adds the checks, which run before a request's body is read. */
export function secure(app: FastifyInstance, settings: Settings): void {
  const hosts = allowedHosts(settings)
  const origins = new Set(settings.allowOrigins)
  const expected = settings.token === undefined ? undefined : hashOf(settings.token)

  const checkHost = ({ headers }: FastifyRequest) => {
    const name = hostName(headers.host)
    if (name === undefined || !hosts.has(name))
      throw new HttpError(
        421,
        'ERR_HOST',
        `The host name ${JSON.stringify(headers.host ?? '')} is not allowed; start the server with --allow-host to allow it`,
      )
  }

  const checkOrigin = ({ headers, method }: FastifyRequest, reply: FastifyReply): 'preflight' | undefined => {
    const { origin } = headers
    const site = headers['sec-fetch-site']
    if (origin !== undefined && origins.has(origin)) {
      allowOrigin(reply, origin)
      return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined ? 'preflight' : undefined
    }
    // A link on another site may open the page, whose own requests are then same-origin.
    const isLink = method === 'GET' && origin === undefined && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
    if (origin === undefined ? (site === 'cross-site' || site === 'same-site') && !isLink : !isSameOrigin(origin, headers.host!))
      throw new HttpError(
        403,
        'ERR_ORIGIN',
        `Pages of ${origin ?? 'other sites'} may not use this server; start it with --allow-origin to allow them`,
      )
    return undefined
  }

  const checkToken = ({ headers, routeOptions }: FastifyRequest, reply: FastifyReply) => {
    if (!expected || open.has(routeOptions.url ?? '')) return
    const given = tokenOf(headers.authorization)
    // Compares hashes of equal length, so that timing reveals nothing about the token.
    if (given !== undefined && timingSafeEqual(hashOf(given), expected)) return
    void reply.header('www-authenticate', 'Basic realm="latent", charset="UTF-8"')
    throw new HttpError(401, 'ERR_TOKEN', given === undefined ? 'This server requires a token: Authorization: Bearer TOKEN' : 'The token is wrong')
  }

  app.addHook('onRequest', async (request, reply) => {
    checkHost(request)
    const preflight = checkOrigin(request, reply)
    if (preflight) return answerPreflight(reply)
    checkToken(request, reply)
    return undefined
  })
}
