#!/usr/bin/env node
/**
 * Predicts the time of a step and of a decoding on more cores, from the profile of one.
 *
 *   latent bench MODEL --threads 1 --profile --json > one.json
 *   latent bench MODEL --threads 2 --profile --json > two.json
 *   node test/bench/scaling.mjs one.json [--check two.json] [--memory GB_PER_SECOND] [--json]
 *
 * An operation on n cores takes the larger of two times: its time on one core divided by n, and its bytes divided by the bandwidth of memory, which grows
 * with the cores up to --memory (default 80, two channels of DDR5). Each operation also wakes the other threads, 10 microseconds. Times on one core are those
 * of the fastest call, so other load hardly counts. --check prints the prediction for its number of threads beside what was measured there.
 */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const wakeMs = 0.01

/** Milliseconds of all calls, each as fast as the fastest. */
export const quietMs = (operations) => operations.reduce((sum, { calls, fastestMs }) => sum + calls * fastestMs, 0)

/** Milliseconds on `cores` cores, of which `memoryMs` in operations that wait for memory. `bandwidth`: of one core, `limit`: of all; GB/s. */
export function predict(operations, cores, { bandwidth, limit }) {
  const available = Math.min(cores * bandwidth, Math.max(limit, bandwidth))
  let ms = 0
  let memoryMs = 0
  for (const { calls, fastestMs, gigabytes } of operations) {
    const divided = (calls * fastestMs) / cores
    const moved = cores > 1 ? (1000 * gigabytes) / available : 0
    const wake = cores > 1 ? calls * wakeMs : 0
    ms += Math.max(divided, moved) + wake
    if (moved > divided) memoryMs += moved + wake
  }
  return { ms, memoryMs }
}

/** Rows for 1, 2, 4, 8 and 16 cores. */
export function scaling(report, limit) {
  if (report.threads !== 1 || !report.operations || !report.bandwidth?.length)
    throw new Error('the report must come from `latent bench --threads 1 --profile --json` on a CPU')
  const memory = { bandwidth: report.bandwidth.at(-1).gigabytesPerSecond, limit }
  return [1, 2, 4, 8, 16].map((cores) => {
    const step = predict(report.operations.step, cores, memory)
    const decode = predict(report.operations.decode, cores, memory)
    return { cores, stepMs: step.ms, decodeMs: decode.ms, memoryShare: step.memoryMs / step.ms }
  })
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { check: { type: 'string' }, memory: { type: 'string' }, json: { type: 'boolean' } },
  })
  const limit = Number(values.memory ?? 80)
  if (positionals.length !== 1 || !(limit > 0)) throw new Error('usage: scaling.mjs ONE.json [--check OTHER.json] [--memory GB_PER_SECOND] [--json]')
  const read = (file) => JSON.parse(readFileSync(file, 'utf8'))
  const report = read(positionals[0])
  const rows = scaling(report, limit)
  if (values.json) return console.log(JSON.stringify(rows, null, 2))
  const seconds = (ms) => (ms / 1000).toFixed(2).padStart(8)
  console.log('cores    step  decode  speed-up  waiting for memory')
  for (const { cores, stepMs, decodeMs, memoryShare } of rows)
    console.log(
      `${String(cores).padStart(5)}${seconds(stepMs)}${seconds(decodeMs)}${(rows[0].stepMs / stepMs).toFixed(1).padStart(10)}${`${(100 * memoryShare).toFixed(0)} %`.padStart(20)}`,
    )
  if (!values.check) return
  const other = read(values.check)
  const memory = { bandwidth: report.bandwidth.at(-1).gigabytesPerSecond, limit }
  for (const part of ['step', 'decode']) {
    const [predicted, measured] = [predict(report.operations[part], other.threads, memory).ms, quietMs(other.operations[part])]
    console.log(
      `${part} on ${other.threads} cores: predicted${seconds(predicted)}, measured${seconds(measured)}, ${(measured / predicted).toFixed(2)} of it`,
    )
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    main()
  } catch (error) {
    console.error(error.message)
    process.exitCode = 1
  }
}
