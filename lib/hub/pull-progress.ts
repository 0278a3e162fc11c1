/** Progress of a download of several files. */
import type { RemoteFile } from './listing.js'

/** Progress of {@link pullModel}. */
export interface PullProgress {
  /** The file downloaded last, by its path in the repository. */
  file: string
  /** Downloaded bytes of that file, and its size. */
  fileBytes: number
  fileSize: number
  /** Downloaded bytes of all files, including earlier downloads, and their total size. */
  bytes: number
  totalBytes: number
  /** Over the last seconds. */
  bytesPerSecond: number
  elapsedMs: number
  /** `null` while unknown. */
  etaMs: number | null
}

const window = 5_000
const interval = 100

/** The counted values. */
type Measured = Pick<RemoteFile, 'hash' | 'path' | 'size'>

interface Counted {
  path: string
  size: number
  bytes: number
}

/** Sums bytes per file, measures the rate, and reports a few times a second. */
export class ProgressMeter {
  readonly #report: (progress: PullProgress) => unknown
  readonly #began = performance.now()
  readonly #files = new Map<string, Counted>()
  /** Times, and bytes received until then. */
  readonly #samples: [time: number, bytes: number][] = []
  #received = 0
  #last = -Infinity

  constructor(report: ((progress: PullProgress) => unknown) | undefined) {
    this.#report = report ?? (() => undefined)
  }

  /** `file.hash` identifies files: several paths may have the same content. */
  add({ hash, path, size }: Measured, bytes = 0): void {
    this.#files.set(hash, { path, size, bytes })
  }

  /** Reports that `bytes` of the file have been downloaded. */
  set({ hash }: Measured, bytes: number): void {
    const entry = this.#files.get(hash)
    if (!entry) return
    if (bytes > entry.bytes) this.#received += bytes - entry.bytes
    entry.bytes = bytes
    // A rounded size is corrected by the received bytes.
    entry.size = Math.max(entry.size, bytes)
    this.#tell(entry, bytes === entry.size)
  }

  /** Reports that the file is complete. */
  finish({ hash }: Measured): void {
    const entry = this.#files.get(hash)
    if (!entry) return
    entry.size = entry.bytes = entry.bytes > 0 ? entry.bytes : entry.size
    this.#tell(entry, true)
  }

  get totals(): { bytes: number; totalBytes: number } {
    let [bytes, totalBytes] = [0, 0]
    for (const entry of this.#files.values()) {
      bytes += entry.bytes
      totalBytes += entry.size
    }
    return { bytes, totalBytes }
  }

  #rate(now: number): number {
    this.#samples.push([now, this.#received])
    while (this.#samples.length > 2 && now - this.#samples[0]![0] > window) this.#samples.shift()
    const [time, bytes] = this.#samples[0]!
    return now > time ? ((this.#received - bytes) / (now - time)) * 1000 : 0
  }

  #tell({ path: file, bytes: fileBytes, size: fileSize }: Counted, always: boolean): void {
    const now = performance.now()
    if (!always && now - this.#last < interval) return
    this.#last = now
    const bytesPerSecond = this.#rate(now)
    const { bytes, totalBytes } = this.totals
    const etaMs = bytesPerSecond > 0 ? ((totalBytes - bytes) / bytesPerSecond) * 1000 : null
    this.#report({ file, fileBytes, fileSize, bytes, totalBytes, bytesPerSecond, elapsedMs: now - this.#began, etaMs })
  }
}
