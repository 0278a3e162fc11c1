/** A progress line that is rewritten in place on a terminal; no output elsewhere. */
import type { Progress, PullProgress } from '../index.js'
import { formatBytes, type Io } from './command.js'

/** Progress of a call or of the command itself. */
export type Shown = Omit<Progress, 'phase'> & { phase: Progress['phase'] | 'verify' }

const phaseNames: Record<Shown['phase'], string> = {
  verify: 'hashing',
  download: 'fetching',
  load: 'loading',
  encode: 'encoding',
  sample: 'sampling',
  decode: 'decoding',
  convert: 'converting',
}

function seconds(ms: number): string {
  const s = ms / 1000
  if (s < 10) return `${s.toFixed(1)} s`
  if (s < 90) return `${Math.round(s)} s`
  return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`
}

/** Name, bar and count in at most `columns`. */
function barLine(name: string, share: number, count: string, left: string, columns: number): string {
  const width = Math.max(0, Math.min(40, columns - name.length - count.length - left.length - 5))
  const filled = Math.round(share * width)
  return `${name} [${'='.repeat(filled)}${' '.repeat(width - filled)}] ${count}${left}`.slice(0, columns)
}

function leftOf(etaMs: number | null, share: number): string {
  return etaMs !== null && share < 1 ? `, ${seconds(etaMs)} left` : ''
}

/** The line for a state, at most `columns` wide. */
export function progressLine({ phase, step, steps, etaMs }: Shown, columns: number): string {
  const name = phaseNames[phase].padEnd(10)
  if (steps <= 0) return name
  const share = Math.min(1, step / steps)
  const percent = `${Math.floor(share * 100)}%`
  const count = phase === 'sample' ? `${step}/${steps}` : phase === 'download' || phase === 'verify' ? `${percent} of ${formatBytes(steps)}` : percent
  return barLine(name, share, count, leftOf(etaMs, share), columns)
}

/** The line for a download, with its speed. */
function pullLine({ bytes, totalBytes, bytesPerSecond, etaMs }: PullProgress, columns: number): string {
  const share = totalBytes > 0 ? Math.min(1, bytes / totalBytes) : 1
  const speed = bytesPerSecond > 0 && share < 1 ? `, ${formatBytes(bytesPerSecond)}/s` : ''
  const count = `${Math.floor(share * 100)}% of ${formatBytes(totalBytes)}${speed}`
  return barLine(phaseNames.download.padEnd(10), share, count, leftOf(etaMs, share), columns)
}

export interface ProgressBar {
  update: (progress: Shown) => void
  updatePull: (progress: PullProgress) => void
  /** Removes the line. */
  clear: () => void
}

export function progressBar({ stderr }: Io, quiet = false): ProgressBar {
  const nothing = () => undefined
  if (!stderr.isTTY || quiet) return { update: nothing, updatePull: nothing, clear: nothing }
  let shown = false
  const columns = () => (stderr.columns ?? 80) - 1
  const write = (line: string) => {
    shown = true
    stderr.write(`\r\x1b[K${line}`)
  }
  return {
    update: (progress) => write(progressLine(progress, columns())),
    updatePull: (progress) => write(pullLine(progress, columns())),
    clear() {
      if (shown) stderr.write('\r\x1b[K')
      shown = false
    },
  }
}
