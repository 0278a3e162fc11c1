/** The arithmetic of docs/scale-out.md: formulas against known values and a simulation, and the page against the formulas. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { erlangC, fleet, limits, simulate, waitConstant, waitExponential } from '../bench/queueing.cjs'
import { simulateFleet } from '../bench/fleet-simulation.cjs'
import { cases, record, tables, timings } from '../bench/scale-out-tables.cjs'

const root = path.resolve(__dirname, '..', '..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

test('known values: one server, and the tables of Erlang C', () => {
  for (const utilisation of [0.1, 0.5, 0.9]) {
    expect(erlangC(1, utilisation)).toBeCloseTo(utilisation, 12)
    expect(waitExponential(1, 3, utilisation)).toBeCloseTo((3 * utilisation) / (1 - utilisation), 10)
    expect(waitConstant(1, 3, utilisation)).toBeCloseTo((3 * utilisation) / (1 - utilisation) / 2, 10) // Pollaczek and Khinchine
  }
  expect(erlangC(2, 1)).toBeCloseTo(1 / 3, 12)
  expect(erlangC(10, 8)).toBeCloseTo(0.4092, 4)
  expect(erlangC(100_000, 80_000)).toBeCloseTo(0, 100)
})

// The seed is fixed. With others the mean differs by up to 6 %, at 30 servers by up to 13 %: 300,000 arrivals are few there.
test.each([
  [1, 0.5],
  [1, 0.8],
  [4, 0.8],
  [10, 0.8],
  [30, 0.9],
])('a simulation of %s servers at %s agrees', (servers, utilisation) => {
  const given = { servers, utilisation, service: 2, arrivals: 300_000 }
  const [constant, exponential] = [simulate(given), simulate({ ...given, exponential: true })]
  expect(Math.abs(constant.mean / waitConstant(servers, 2, utilisation) - 1)).toBeLessThan(0.06)
  expect(Math.abs(exponential.mean / waitExponential(servers, 2, utilisation) - 1)).toBeLessThan(0.06)
  expect(Math.abs(exponential.waited / erlangC(servers, servers * utilisation) - 1)).toBeLessThan(0.03)
  expect(constant.mean).toBeLessThan(exponential.mean)
  expect(constant.p95).toBeGreaterThan(constant.mean)
})

test('a fleet grows in proportion, and a limit is where the fleet reaches it', () => {
  const given = { service: 10, utilisation: 0.8, imageBytes: 1e6, price: 0.36 }
  const [one, many] = [fleet({ ...given, devices: 1 }), fleet({ ...given, devices: 1000 })]
  expect(many.jobs).toBeCloseTo(80, 10)
  expect(many.redisShare / one.redisShare).toBeCloseTo(1000, 6)
  expect(many.cost).toBeCloseTo(1.25, 10) // 12.5 s at 0.0001 a second
  const { memory, thread, network } = limits({ ...given, memoryBytes: 1e9, bytesPerSecond: 1e6 })
  expect(fleet({ ...given, devices: memory }).redisBytes).toBeCloseTo(1e9, 0)
  expect(fleet({ ...given, devices: thread }).redisShare).toBeCloseTo(1, 10)
  expect(fleet({ ...given, devices: network }).traffic).toBeCloseTo(1e6, 4)
})

describe('fleets, event by event', () => {
  const given = { service: 40, utilisation: 0.8 }
  const computed = (devices: number) => fleet({ ...given, devices, imageBytes: 1, price: 1 })
  /** Relative difference. */
  const off = (value: number, expected: number) => Math.abs(value / expected - 1)

  // The seeds are fixed. With others, waits of few devices differ by up to 5 %, all else by less than 1 %.
  test.each([
    [1, 1, 100_000],
    [10, 1, 200_000],
    [40, 4, 200_000],
    [1000, 1, 100_000],
  ])('%s devices in %s queues', (devices, queues, jobs) => {
    const { keepsUp, rate, wait, redisShare, writes } = simulateFleet({ ...given, devices, queues, jobs })
    const one = computed(devices / queues)
    expect(keepsUp).toBe(true)
    expect(off(rate, one.jobs * queues)).toBeLessThan(0.02)
    expect(off(redisShare, one.redisShare)).toBeLessThan(0.03)
    expect(writes).toBeGreaterThanOrEqual(Math.ceil(rate))
    if (devices === 1000)
      expect(wait).toBeLessThan(0.001) // two commands, and no device is waited for
    else expect(off(wait, one.wait)).toBeLessThan(0.06)
  })

  test('where arithmetic says that Redis is full, its commands wait; far beyond, it stops', () => {
    const { thread } = limits({ ...given, imageBytes: 1, price: 1, memoryBytes: 1, bytesPerSecond: 1 })
    const at = (share: number) => simulateFleet({ ...given, devices: Math.round(thread * share), jobs: 300_000 })
    const [below, above] = [at(0.95), at(1.05)]
    expect(below.wait).toBeLessThan(0.01)
    expect(above.wait).toBeGreaterThan(1)
    expect(at(12).keepsUp).toBe(false)
  })
})

test('the page has the tables that the formulas and the recorded simulations give', () => {
  const page = read('docs/scale-out.md')
  for (const [name, table] of Object.entries(tables)) expect({ name, found: page.includes(table()) }).toEqual({ name, found: true })
})

test('the record is of the cases that --simulate runs', () => {
  const recorded = JSON.parse(readFileSync(record, 'utf8')) as typeof cases
  expect(recorded.waits).toMatchObject(cases.waits)
  expect(recorded.fleets).toMatchObject(cases.fleets)
})

test('the times are those that docs/performance.md has by now', () => {
  const [, section] = /^## A full-width AVX-512 machine$([^]*?)^## /m.exec(read('docs/performance.md'))!
  const after = (row: string) => Number(new RegExp(`^\\| ${row}\\s+\\|[^|]*\\| ([\\d.]+) s`, 'm').exec(section!)![1])
  for (const [suffix, { step, decode }] of [
    ['', timings.bfloat16],
    [', int8', timings.int8],
  ] as const) {
    // A later measurement may differ a little.
    expect(Math.abs(step / after(`step${suffix}`) - 1)).toBeLessThan(0.1)
    expect(Math.abs(decode / after(`decode${suffix}`) - 1)).toBeLessThan(0.1)
  }
})

test('the example for KEDA uses metrics that exist, and gives its workers time (its flags: docs.test)', () => {
  const [deployment, scaled] = parseAllDocuments(read('examples/fleet/keda.yaml')).map((document) => {
    expect(document.errors).toEqual([])
    return document.toJS()
  })
  const { containers, terminationGracePeriodSeconds } = deployment.spec.template.spec
  const args: string[] = containers[0].args
  const sources = ['packages/server/src/metrics.ts', 'packages/worker/src/metrics.ts'].map(read).join('\n')
  for (const metric of scaled.spec.triggers[0].metadata.query.match(/latent_\w+/g)) expect(sources).toContain(`name: '${metric}'`)
  expect(terminationGracePeriodSeconds).toBeGreaterThan(Number(args[args.indexOf('--grace') + 1]!.replace('s', '')))
  expect(scaled.spec.scaleTargetRef.name).toBe(deployment.metadata.name)
})
