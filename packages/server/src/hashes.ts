/** SHA-256 of model files: computed once per size and time of a file, one file after another. */
import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'

interface Known {
  state: string
  sha256?: string
}

export class Hashes {
  readonly #known = new Map<string, Known>()
  #last: Promise<void> = Promise.resolve()
  readonly #control = new AbortController()

  /** The hash, if known; otherwise starts computing it for later requests. */
  of(file: string | undefined): string | undefined {
    const status = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false })
    if (file === undefined || status?.isFile() !== true) return undefined
    const state = `${status.size} ${status.mtimeMs}`
    const known = this.#known.get(file)
    if (known?.state === state) return known.sha256
    const entry: Known = { state }
    this.#known.set(file, entry)
    this.#last = this.#last.then(() => this.#read(file, entry)).catch(() => void this.#known.delete(file))
    return undefined
  }

  close(): void {
    this.#control.abort()
  }

  async #read(file: string, entry: Known): Promise<void> {
    const hash = createHash('sha256')
    await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash, { signal: this.#control.signal })
    entry.sha256 = hash.digest('hex')
  }
}
