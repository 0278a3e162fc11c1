/** Images with URLs (`response_format: url`), kept in memory for a limited time under random names. */
import { randomBytes } from 'node:crypto'
import { notFound } from './errors.js'

interface Kept {
  bytes: Buffer
  type: string
  expires: number
}

/** As long as OpenAI keeps them. */
const lifetimeMs = 3_600_000

export class PictureUrls {
  /** Oldest first. */
  readonly #kept = new Map<string, Kept>()
  readonly #maxBytes: number
  readonly #now: () => number
  #bytes = 0

  /** `maxBytes`: of all images together; the oldest are dropped first. */
  constructor(maxBytes: number, now = () => performance.now()) {
    this.#maxBytes = maxBytes
    this.#now = now
  }

  /** @returns the name of an image */
  add(bytes: Buffer, format: string): string {
    const name = `${randomBytes(24).toString('base64url')}.${format}`
    this.#kept.set(name, { bytes, type: `image/${format}`, expires: this.#now() + lifetimeMs })
    this.#bytes += bytes.length
    this.#trim(name)
    return name
  }

  /** @throws HttpError 404 if it does not exist any more */
  get(name: string): Kept {
    this.#trim()
    const found = this.#kept.get(name)
    if (!found) throw notFound('There is no such image; images are kept for an hour at most')
    return found
  }

  /** Drops expired images, and the oldest ones to make room for a new one. */
  #trim(newest?: string): void {
    for (const [name, { bytes, expires }] of this.#kept) {
      const isTooMuch = newest !== undefined && name !== newest && this.#bytes > this.#maxBytes
      if (expires > this.#now() && !isTooMuch) return
      this.#kept.delete(name)
      this.#bytes -= bytes.length
    }
  }
}
