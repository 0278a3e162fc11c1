/** Objects in an S3-compatible store: AWS S3, MinIO, Ceph, Cloudflare R2 and others. */
import { AwsClient } from 'aws4fetch'
import { setTimeout as wait } from 'node:timers/promises'
import { QueueError } from './errors.js'
import { hashInKey, keyOf, maxObjectBytes, types, verified, type ObjectStore } from './objects.js'

export interface S3Credentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

export interface S3Options {
  bucket: string
  /** Folder in the bucket. Default: none. */
  prefix?: string
  /** Default: AWS_REGION or AWS_DEFAULT_REGION, else us-east-1. */
  region?: string
  /** `https://minio.example:9000`; the bucket becomes part of the path. Default: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else AWS's own for the region. */
  endpoint?: string
  /** Default: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. A function is called before each request, for credentials that expire. */
  credentials?: S3Credentials | (() => Promise<S3Credentials>)
  /** Time for one request in milliseconds. Default 30,000. */
  timeoutMs?: number
  /** Further tries after a 429, a 5xx or a lost connection, with growing pauses from 100 ms. Default 4. */
  retries?: number
}

function readCredentials(): S3Credentials {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = process.env
  if (!accessKeyId || !secretAccessKey)
    throw new QueueError('ERR_STORE', 'There are no credentials for the object store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) }
}

/** The address under which objects are found. */
function readAddress({ bucket, prefix = '', endpoint }: S3Options, region: string): string {
  if (typeof bucket !== 'string' || !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket))
    throw new RangeError(`store: '${bucket}' is not the name of a bucket`)
  if (!/^[\w!.*'()/-]{0,500}$/.test(prefix) || prefix.split('/').some((part) => part === '.' || part === '..'))
    throw new RangeError(`store: the prefix '${prefix.slice(0, 100)}' must be letters, digits, slashes, dots, dashes and underscores`)
  const folder = prefix.replace(/^\/+|\/+$/g, '')
  const own = endpoint ?? process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL
  if (own !== undefined && own !== '' && !(URL.canParse(own) && /^https?:$/.test(new URL(own).protocol)))
    throw new RangeError(`store: the endpoint '${own.slice(0, 100)}' is not an address; write it as https://host:9000`)
  const base = own ? `${own.replace(/\/+$/, '')}/${bucket}` : `https://${bucket}.s3.${region}.amazonaws.com`
  return folder === '' ? base : `${base}/${folder}`
}

interface Reply {
  status: number
  bytes: Uint8Array
  /** Of an error. */
  text: string
  /** Where the bucket is, if the store says so. */
  region: string | undefined
}

export class S3Store implements ObjectStore {
  readonly #address: string
  readonly #region: string
  readonly #credentials: () => Promise<S3Credentials>
  readonly #timeoutMs: number
  readonly #retries: number

  constructor(options: S3Options) {
    const { credentials, timeoutMs = 30_000, retries = 4 } = options
    this.#region = options.region ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? 'us-east-1'
    this.#address = readAddress(options, this.#region)
    this.#credentials = typeof credentials === 'function' ? credentials : async () => credentials ?? readCredentials()
    this.#timeoutMs = timeoutMs
    this.#retries = retries
  }

  async put(bytes: Uint8Array, signal?: AbortSignal): Promise<string> {
    const key = keyOf(bytes)
    const hash = hashInKey(key)
    // The store checks the body against this hash.
    const headers = { 'content-type': types[key.slice(65)]!, 'x-amz-content-sha256': hash, 'cache-control': 'public, max-age=31536000, immutable' }
    const reply = await this.#send('PUT', key, { body: bytes, headers, ...(signal ? { stop: signal } : {}) })
    if (reply.status !== 200) throw this.#refused('write', key, reply)
    return key
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    hashInKey(key)
    const reply = await this.#send('GET', key, { ...(signal ? { stop: signal } : {}) })
    const { status, bytes } = reply
    if (status === 404) throw new QueueError('ERR_OBJECT_MISSING', `There is no object ${key}; objects are deleted after some time`)
    if (status !== 200) throw this.#refused('read', key, reply)
    return verified(bytes, key)
  }

  #refused(doing: 'read' | 'write', key: string, { status, text, region }: Omit<Reply, 'bytes'>): QueueError {
    const tag = (name: string) => new RegExp(`<${name}>([\\w.:-]{1,100})</${name}>`).exec(text)?.[1]
    const code = tag('Code')
    const right = [tag('Region'), region].find((each) => each !== undefined && /^[\w-]{1,40}$/.test(each))
    const place = tag('Endpoint')
    let advice = ''
    if (right !== undefined && right !== this.#region) advice = `; the bucket is in the region ${right}, not ${this.#region}: set AWS_REGION`
    else if (status >= 300 && status < 400)
      advice = `; redirects are not followed: check the region and the endpoint${place === undefined ? '' : ` (it names ${place})`}`
    else if (status === 400) advice = '; check the region and the endpoint'
    else if (status === 403) advice = '; check the credentials, the region and the policy of the bucket'
    else if (status === 404) advice = '; check the name of the bucket'
    return new QueueError('ERR_STORE', `The object store refuses to ${doing} ${key}: ${status}${code === undefined ? '' : ` ${code}`}${advice}`, {
      status,
      // Faults of this worker's settings: another one may be set up rightly.
      retriable: (status >= 300 && status < 400) || status === 400 || status === 403 || status === 429 || status >= 500,
    })
  }

  async #readCredentials(): Promise<S3Credentials> {
    try {
      return await this.#credentials()
    } catch (error) {
      if (error instanceof QueueError) throw error
      throw new QueueError('ERR_STORE', `There are no credentials for the object store: ${(error as Error | undefined)?.message ?? String(error)}`, {
        retriable: true,
        cause: error,
      })
    }
  }

  async #send(
    method: string,
    key: string,
    { body, headers, stop }: { body?: Uint8Array; headers?: Record<string, string>; stop?: AbortSignal },
  ): Promise<Reply> {
    const url = `${this.#address}/${hashInKey(key).slice(0, 2)}/${key}`
    for (let tried = 0; ; tried++) {
      stop?.throwIfAborted()
      // The client's own tries would go on after a deadline.
      const client = new AwsClient({ ...(await this.#readCredentials()), service: 's3', region: this.#region, retries: 0 })
      const again = tried < this.#retries
      try {
        const late = AbortSignal.timeout(this.#timeoutMs)
        const signal = stop ? AbortSignal.any([late, stop]) : late
        const request = await client.sign(url, {
          method,
          ...(headers ? { headers } : {}),
          ...(body ? { body: body as Uint8Array<ArrayBuffer> } : {}),
        })
        const response = await fetch(request, { signal, redirect: 'manual' }) // a signature is for one host
        const bytes = await readBody(response)
        if (!(again && (response.status === 429 || response.status >= 500)))
          return {
            status: response.status,
            bytes,
            text: response.ok ? '' : Buffer.from(bytes).toString('utf8').slice(0, 2000),
            region: response.headers.get('x-amz-bucket-region') ?? undefined,
          }
      } catch (error) {
        if (error instanceof QueueError) throw error
        stop?.throwIfAborted()
        if (!again) {
          const { cause } = error as Error
          const reason = cause instanceof Error && cause.message !== '' ? cause.message : (error as Error).message
          throw new QueueError('ERR_STORE', `The object store does not answer: ${reason}`, { retriable: true, cause: error })
        }
      }
      await wait(Math.random() * 100 * 2 ** tried, undefined, stop ? { signal: stop } : {}).catch(() => {}) // the next try tells why
    }
  }
}

async function readBody(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += (chunk as Uint8Array).byteLength
    if (length > maxObjectBytes) throw new QueueError('ERR_STORE', `The object store answers with more than ${maxObjectBytes} bytes`)
    chunks.push(chunk as Uint8Array)
  }
  return new Uint8Array(Buffer.concat(chunks))
}
