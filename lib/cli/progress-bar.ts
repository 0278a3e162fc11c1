/** One line on a terminal that is rewritten in place; nothing at all elsewhere. */
import type { Progress } from '../index.js'
import type { Io } from './command.js'

const phaseNames: Record<Progress['phase'], string> = {
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

/** The line for a state, at most `columns` wide. */
export function progressLine({ phase, step, steps, etaMs }: Progress, columns: number): string {
  const name = phaseNames[phase].padEnd(10)
  if (steps <= 0) return name
  const share = Math.min(1, step / steps)
  const count = phase === 'sample' ? `${step}/${steps}` : `${Math.floor(share * 100)}%`
  const left = etaMs !== null && share < 1 ? `, ${seconds(etaMs)} left` : ''
  const width = Math.max(0, Math.min(40, columns - name.length - count.length - left.length - 5))
  const filled = Math.round(share * width)
  return `${name} [${'='.repeat(filled)}${' '.repeat(width - filled)}] ${count}${left}`.slice(0, columns)
}

export interface ProgressBar {
  update: (progress: Progress) => void
  /** Removes the line. */
  clear: () => void
}

export function progressBar({ stderr }: Io, quiet = false): ProgressBar {
  if (!stderr.isTTY || quiet) return { update: () => undefined, clear: () => undefined }
  let shown = false
  return {
    update(progress) {
      shown = true
      stderr.write(`\r\x1b[K${progressLine(progress, (stderr.columns ?? 80) - 1)}`)
    },
    clear() {
      if (shown) stderr.write('\r\x1b[K')
      shown = false
    },
  }
}
