/** The tables of docs/scale-out.md, from queueing.cjs and the recorded simulations. */
const { readFileSync } = require('node:fs')
const path = require('node:path')
const { fleet, limits, measured, waitConstant } = require('./queueing.cjs')

/** Seconds of a step and of the decoder of Stable Diffusion 1.5 at 512x512: docs/performance.md, "A full-width AVX-512 machine". A test compares them. */
const timings = { bfloat16: { step: 1.98, decode: 3.29 }, int8: { step: 1.3, decode: 2.13 } }
/** Of an image with 20 steps; the text encoder takes 54 ms. */
const [bfloat16, int8] = [timings.bfloat16, timings.int8].map(({ step, decode }) => 0.054 + 20 * step + decode)
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

/** What `--simulate` runs. */
const cases = {
  waits: [
    { servers: 1, utilisation: 0.8, arrivals: 3e7 },
    { servers: 1, utilisation: 0.95, arrivals: 1e8 },
    { servers: 10, utilisation: 0.8, arrivals: 3e7 },
    { servers: 10, utilisation: 0.95, arrivals: 3e7 },
    { servers: 1000, utilisation: 0.95, arrivals: 3e7 },
    { servers: 1000, utilisation: 0.99, arrivals: 1e8 },
    { servers: 100_000, utilisation: 0.99, arrivals: 3e7 },
    { servers: 100_000, utilisation: 0.999, arrivals: 2e8 },
  ],
  fleets: [
    { devices: 1, queues: 1, jobs: 300_000 },
    { devices: 10, queues: 1, jobs: 1_000_000 },
    { devices: 1000, queues: 1, jobs: 1_000_000 },
    { devices: 7800, queues: 1, jobs: 1_000_000 },
    { devices: 8600, queues: 1, jobs: 1_000_000 },
    { devices: 100_000, queues: 1, jobs: 1_000_000 },
    { devices: 100_000, queues: 20, jobs: 3_000_000 },
  ].map((each) => ({ ...each, service: bfloat16, utilisation: 0.8 })),
}

const record = path.join(__dirname, 'records', 'scale-out.json')
const recorded = () => JSON.parse(readFileSync(record, 'utf8'))

/** Waits in times of an image: formula and simulation. */
function simulatedWaitTable() {
  const short = (value) => value.toLocaleString('en', { maximumSignificantDigits: value < 0.001 ? 1 : 3 })
  const rows = recorded().waits.map(({ servers, utilisation, mean, p95 }) => [
    servers.toLocaleString('en'),
    `${Number((utilisation * 100).toFixed(1))} %`,
    short(waitConstant(servers, 1, utilisation)),
    short(mean),
    p95 === 0 ? '0' : digits(p95),
  ])
  return table(['devices', 'utilisation', 'formula', 'simulation', '95 % wait less than'], rows)
}

/** Fleets with their Redis: arithmetic and simulation. */
function simulatedFleetTable() {
  const exact = (value, count = 4) => Number(value.toPrecision(count)).toLocaleString('en', { maximumFractionDigits: 4 })
  const delay = (seconds) => (seconds < 0.1 ? `${(seconds * 1000).toFixed(1)} ms` : `${exact(seconds, 3)} s`)
  const values = ({ rate, wait, share }) => [exact(rate), delay(wait), `${exact(share * 100, 3)} %`]
  const rows = recorded().fleets.map(({ devices, queues, service, utilisation, keepsUp, rate, wait, redisShare, writes }) => {
    const one = fleet({ devices: devices / queues, service, utilisation, ...assumed })
    const computed = values({ rate: one.jobs * queues, wait: one.wait + (measured.jobSeconds * 2) / 3, share: one.redisShare })
    const simulated = keepsUp ? values({ rate, wait, share: redisShare }) : computed.map(() => '-')
    const pairs = computed.flatMap((value, i) => [value, simulated[i]])
    return [devices.toLocaleString('en'), String(queues), ...pairs, keepsUp ? exact(writes) : '-']
  })
  return table(['devices', 'queues', 'images/s', 'simulated', 'wait', 'simulated', 'thread', 'simulated', 'most writes/s'], rows)
}

const tables = { waitTable, simulatedWaitTable, fleetTable, simulatedFleetTable, limitTable }

module.exports = { cases, record, tables, timings }
