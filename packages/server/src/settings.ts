/** Options of a server. */
import type { HostedModel, HubOptions } from 'node-latent-diffusion'
import { networkInterfaces } from 'node:os'

/** Limits of requests. */
export interface Limits {
  /** Total pixels of a request's results, and pixels of each input image. Default 4,194,304 (four images of 1024x1024). */
  maxPixels: number
  /** Steps per image. Default 150. */
  maxSteps: number
  /** Images per request. Default 16. */
  maxCount: number
  /** Steps times images. Default 600. */
  maxTotalSteps: number
  /** Waiting requests. Default 32. */
  maxQueue: number
  /** Waiting requests per client address. Default: `maxQueue` on loopback, else 4. */
  maxQueuePerClient: number
  /** Default 32 MiB. */
  maxBodyBytes: number
  /** Bytes of an image in a request. Default 16 MiB. */
  maxFileBytes: number
  /** Finished jobs that are kept. Default 100. */
  maxKeptJobs: number
  /** Bytes of images of finished jobs. Default 256 MiB. */
  maxKeptBytes: number
  /** Open event streams. Default 64. */
  maxStreams: number
}

/** A queue on Redis, whose jobs run on workers (`latent worker`). Needs the package `@node-latent-diffusion/worker`. */
export interface QueueSettings {
  /** `redis://host:6379`, or `rediss://` for TLS. */
  redis: string
  /** Name of the queue. Default `latent`. */
  queue?: string
  /** Images: a folder that all machines share, `s3://bucket/prefix`, or a store of the package `@node-latent-diffusion/worker`. */
  store: string | object
  /** Milliseconds that outcomes are kept. Default 24 hours. */
  keepMs?: number
  /** Runs of a job that fails with a retriable error. Default 3. */
  attempts?: number
  /** Milliseconds to wait for Redis. Default 10,000. */
  timeoutMs?: number
  /** Milliseconds for reading or writing an image of the store. Default 60,000. */
  storeTimeoutMs?: number
}

/** Options of `createServer()`. */
export interface ServerOptions {
  /** Default 127.0.0.1. Addresses other than loopback require a `token`. */
  host?: string
  /** Default 7861; 0: any free port. */
  port?: number
  /** Token that clients must send as `Authorization: Bearer TOKEN` or as the password of Basic. */
  token?: string
  /** Additional allowed host names (`Host`), without port. */
  allowHosts?: readonly string[]
  /** Origins of other sites whose pages may use this server: `https://example.org`. */
  allowOrigins?: readonly string[]
  /** Models by name, before those of `modelsDir`; the first is the default. Default: the embedded model. */
  models?: Readonly<Record<string, string | URL | HostedModel>>
  /** Folder of models: .safetensors, .gguf, .ckpt files and diffusers folders. */
  modelsDir?: string
  /**
   * Load options for the embedded model, models of `modelsDir` and pulled ones. Prompts may name the adapters in `loraDirectory` (`<lora:name:1>`) and the textual
   * inversions in `embeddingDirectory`.
   */
  load?: Omit<HostedModel, 'source'>
  /** Maximum models in memory. Default 1. */
  maxModels?: number
  /**
   * Maximum images of waiting requests that are made together, sharing the U-Net's calls. They differ only in prompts, seeds and classes. More throughput for small
   * images, a longer wait for the first of them. Default 1: one request after another.
   */
  maxBatch?: number
  /** Idle time in milliseconds after which the engine exits and frees its memory. Default 5 minutes; 0: never. */
  keepAliveMs?: number
  /** Whether requests may download models. Default true; false with `queue`. */
  pull?: boolean
  /** Runs jobs on other machines. Default: in this one. The workers must have the models under the same names; this server reads only their headers. */
  queue?: QueueSettings
  /** Download settings of `pull`. */
  hub?: HubOptions
  limits?: Partial<Limits>
  /** Milliseconds for the running job when the server is closed. Default 30,000. */
  graceMs?: number
  /** Milliseconds for a client to send a request. Default 60,000. */
  requestTimeoutMs?: number
  /** Folder of the page's files. Default: the page of this package, if it has one; false: none. */
  page?: string | false
  /** Receives log lines. Default: none. */
  log?: (line: string) => void
}

export type Settings = Required<Omit<ServerOptions, 'token' | 'modelsDir' | 'limits' | 'page' | 'queue'>> &
  Pick<ServerOptions, 'token' | 'modelsDir' | 'page' | 'queue'> & { limits: Limits; loopback: boolean }

const mebibyte = 2 ** 20

function readLimits(given: Partial<Limits> = {}, loopback: boolean): Limits {
  const maxQueue = given.maxQueue ?? 32
  const usual: Limits = {
    maxPixels: 4 * mebibyte,
    maxSteps: 150,
    maxCount: 16,
    maxTotalSteps: Math.max(600, 4 * (given.maxSteps ?? 150)),
    maxQueue,
    maxQueuePerClient: loopback ? maxQueue : 4,
    maxBodyBytes: 32 * mebibyte,
    maxFileBytes: 16 * mebibyte,
    maxKeptJobs: 100,
    maxKeptBytes: 256 * mebibyte,
    maxStreams: 64,
  }
  const limits = { ...usual }
  for (const [key, value] of Object.entries(given) as [keyof Limits, number | undefined][]) {
    if (!Object.hasOwn(usual, key)) throw new TypeError(`limits has no '${key}'; the limits are ${Object.keys(usual).join(', ')}`)
    if (value === undefined) continue
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`limits.${key} must be a whole number, not ${String(value)}`)
    limits[key] = value
  }
  return limits
}

export function isLoopback(host: string): boolean {
  return /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[?::1\]?)$/.test(host)
}

function checkOrigin(origin: string): string {
  let url: URL | undefined
  try {
    url = new URL(origin)
  } catch {
    // said below
  }
  if (url?.origin !== origin)
    throw new RangeError(
      `allowOrigins: '${origin}' is not an origin; write it as ${url && url.origin !== 'null' ? url.origin : 'https://example.org'}`,
    )
  return origin
}

function checkBatch(value: number): number {
  if (!Number.isInteger(value) || value < 1 || value > 64) throw new RangeError(`maxBatch must be from 1 to 64, not ${value}`)
  return value
}

function checkDuration(value: number, name: string): number {
  if (!Number.isFinite(value) || value < 0 || value > 2 ** 31 - 1) throw new RangeError(`${name} must be from 0 to 2^31-1 milliseconds, not ${value}`)
  return value
}

/** A host name as in requests, without the port. */
function checkHost(name: string): string {
  const host = name.toLowerCase()
  if (!/^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)$/.test(host)) throw new RangeError(`allowHosts: '${name}' is not a host name; pass it without scheme and port`)
  return host
}

export function readSettings(options: ServerOptions = {}): Settings {
  const host = (options.host ?? '127.0.0.1').replace(/^\[(.*)\]$/, '$1') // as IPv6 addresses are written in URLs
  const loopback = isLoopback(host)
  const { token, modelsDir, page, queue } = options
  if (queue && options.pull) throw new RangeError('pull: with a queue, models are loaded by the workers, which do not download them on request')
  if (token !== undefined && !/^[\x21-\x7e]{8,256}$/.test(token))
    throw new RangeError('token must be 8 to 256 printable characters of ASCII, without spaces')
  if (!loopback && token === undefined)
    throw new RangeError(`Other computers can reach the server on ${host}: set a token (--token or LATENT_TOKEN), or use 127.0.0.1`)
  return {
    host,
    loopback,
    port: options.port ?? 7861,
    token,
    allowHosts: (options.allowHosts ?? []).map(checkHost),
    allowOrigins: (options.allowOrigins ?? []).map(checkOrigin),
    models: options.models ?? {},
    modelsDir,
    load: options.load ?? {},
    maxModels: options.maxModels ?? 1,
    maxBatch: checkBatch(options.maxBatch ?? 1),
    keepAliveMs: checkDuration(options.keepAliveMs ?? 300_000, 'keepAliveMs'),
    pull: options.pull ?? queue === undefined,
    queue,
    hub: options.hub ?? {},
    limits: readLimits(options.limits, loopback),
    graceMs: checkDuration(options.graceMs ?? 30_000, 'graceMs'),
    requestTimeoutMs: checkDuration(options.requestTimeoutMs ?? 60_000, 'requestTimeoutMs'),
    page,
    log: options.log ?? (() => {}),
  }
}

/** The allowed values of `Host`. IP addresses of the bound interfaces are safe, because DNS rebinding needs a name. */
export function allowedHosts({ host, loopback, allowHosts }: Settings): Set<string> {
  const names = new Set(['localhost', '127.0.0.1', '[::1]', ...allowHosts])
  if (loopback) return names
  const wildcard = host === '0.0.0.0' || host === '::' || host === '[::]'
  const bound = wildcard ? Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)) : [host]
  for (const address of bound) names.add(address.includes(':') && !address.startsWith('[') ? `[${address}]` : address.toLowerCase())
  return names
}
