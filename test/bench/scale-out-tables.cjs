/** The tables of docs/scale-out.md, from queueing.cjs. */
const { fleet, limits, waitConstant } = require('./queueing.cjs')

/** Seconds for an image of 512x512 with 20 steps of Stable Diffusion 1.5: text, steps and decoder of docs/performance.md, "A full-width AVX-512 machine". */
const bfloat16 = 0.054 + 20 * 2.13 + 3.64
const int8 = 0.054 + 20 * 1.41 + 2.42
/** A device per hour, a PNG of that size: assumptions. */
const assumed = { price: 0.1, imageBytes: 450_000 }
const sizes = [1, 10, 1000, 100_000]

const digits = (value) => Number(value.toPrecision(2)).toLocaleString('en', { maximumFractionDigits: 3 })
function bytes(value) {
  const power = Math.max(0, Math.min(5, Math.floor(Math.log10(value) / 3)))
  return `${digits(value / 1000 ** power)} ${['B', 'kB', 'MB', 'GB', 'TB', 'PB'][power]}`
}
function time(seconds) {
  if (seconds < 0.001) return '0'
  if (seconds < 1) return `${digits(seconds * 1000)} ms`
  return seconds < 90 ? `${digits(seconds)} s` : `${digits(seconds / 60)} min`
}
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

/** Mean waits. */
function waitTable() {
  const shares = [0.5, 0.8, 0.9, 0.95, 0.99]
  const rows = sizes.map((devices) => [devices.toLocaleString('en'), ...shares.map((share) => time(waitConstant(devices, bfloat16, share)))])
  return table(['devices', ...shares.map((share) => `${Math.round(share * 100)} %`)], rows)
}

/** What a fleet does and needs. */
function fleetTable() {
  const rows = sizes.map((devices) => {
    const { jobs, cost, redisBytes, redisShare, events, traffic, storedBytes } = fleet({ devices, service: bfloat16, utilisation: 0.8, ...assumed })
    return [
      devices.toLocaleString('en'),
      `${digits(jobs)}`,
      `$${cost.toFixed(2)}`,
      bytes(redisBytes),
      `${digits(redisShare * 100)} %`,
      digits(events),
      `${bytes(traffic)}/s`,
      bytes(storedBytes),
    ]
  })
  return table(
    ['devices', 'images/s', 'cost of 1,000', 'outcomes in Redis', 'thread of Redis', 'events/s', 'network of Redis', 'images per day'],
    rows,
  )
}

/** Devices at which something breaks. */
function limitTable() {
  const kinds = [
    [`${digits(bfloat16)} s, bfloat16 on two cores`, bfloat16],
    [`${digits(int8)} s, int8 on two cores`, int8],
    ['1 s, assumed', 1],
  ]
  const rows = kinds.map(([name, service]) => {
    const of = (more) => limits({ service, utilisation: 0.8, ...assumed, memoryBytes: 64e9, bytesPerSecond: 1.25e9, ...more })
    const { memory, thread, network } = of({})
    const values = [memory, of({ keepSeconds: 3600 }).memory, thread, of({ eventsPerSecond: 0 }).thread, network]
    return [name, ...values.map(digits)]
  })
  return table(['time of an image', '64 GB, kept 24 h', '64 GB, kept 1 h', 'thread', 'thread, no progress', '10 Gbit/s'], rows)
}

module.exports = { fleetTable, limitTable, waitTable }
