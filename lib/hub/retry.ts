/** Retries after interruptions, timeouts and rate limits, with growing pauses or those that the server requests. */
import { setTimeout as sleep } from 'node:timers/promises'
import { DownloadError } from './errors.js'

/** Longest pause that a server may request. The hub counts requests in windows of five minutes. */
const longestWait = 300
const longestPause = 30_000

/** Maximum number of attempts without progress. */
const mostAttempts = 6

/** Requested pause in seconds: Retry-After (seconds or a date), or the `t` of a RateLimit header. */
export function retryAfter(headers: Headers, now = Date.now()): number | undefined {
  const value = headers.get('retry-after')?.trim()
  if (value) {
    const seconds = /^\d{1,9}$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000
    if (Number.isFinite(seconds)) return Math.max(0, seconds)
  }
  const window = /(?:^|[;,\s])t=(\d{1,9})(?:$|[;,\s])/.exec(headers.get('ratelimit') ?? '')?.[1]
  return window === undefined ? undefined : Number(window)
}

export interface RetryOptions {
  /** First pause in milliseconds. */
  backoff: number
  signal: AbortSignal | undefined
  attempts?: number
  /** True if an attempt made progress, which resets the count. */
  progressed?: () => boolean
}

/** Runs `attempt` until it succeeds, fails permanently, or has failed too often without progress. */
export async function withRetries<T>(attempt: () => Promise<T>, { backoff, signal, attempts = mostAttempts, progressed }: RetryOptions): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof DownloadError) || !error.retriable) throw error
      if (progressed?.()) failures = 1
      const wanted = error.details.retryAfter ?? 0
      if (failures >= attempts || wanted > longestWait) throw error
      const pause = Math.min(longestPause, backoff * 2 ** (failures - 1)) * (0.5 + Math.random() / 2)
      await sleep(Math.max(pause, wanted * 1000), undefined, signal ? { signal } : {}).catch((cause: unknown) => {
        signal?.throwIfAborted()
        throw cause
      })
    }
  }
}
