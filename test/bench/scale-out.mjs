#!/usr/bin/env node
/**
 * The arithmetic of docs/scale-out.md.
 *
 *   node test/bench/scale-out.mjs              prints the tables of the page
 *   node test/bench/scale-out.mjs --simulate   simulates the queues and fleets of the page (half a minute), into records/scale-out.json
 *   node test/bench/scale-out.mjs --measure    measures what a job costs Redis; needs redis-server and the build
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { simulateFleet } from './fleet-simulation.cjs'
import { simulate } from './queueing.cjs'
import { cases, record, tables } from './scale-out-tables.cjs'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..')
const require = createRequire(path.join(root, 'package.json'))

function simulateAll() {
  const waits = cases.waits.map((given) => ({ ...given, ...simulate({ ...given, service: 1 }) }))
  const fleets = cases.fleets.map((given) => ({ ...given, ...simulateFleet(given) }))
  writeFileSync(record, `${JSON.stringify({ waits, fleets }, null, 2)}\n`)
}

async function measure() {
  const { Redis } = require('ioredis')
  const { createWorker, JobQueue } = require('./packages/worker/dist/index.js')
  const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-scale-'))
  const port = 20_000 + (process.pid % 20_000)
  const settings = ['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', '--loglevel', 'warning']
  const server = spawn(process.env.REDIS_SERVER ?? 'redis-server', settings.map(String), { stdio: 'inherit' })
  const redis = new Redis({ port, retryStrategy: () => 20 })
  redis.on('error', () => {}) // until it listens
  await redis.ping()
  const place = { redis: `redis://127.0.0.1:${port}`, store: path.join(folder, 'store') }
  const number = (text, name) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(text)[1])
  const look = async () => {
    const info = await redis.info()
    const sum = (...names) => names.reduce((total, name) => total + number(info, name), 0)
    return {
      memory: sum('used_memory'),
      processor: sum('used_cpu_user', 'used_cpu_sys'),
      traffic: sum('total_net_input_bytes', 'total_net_output_bytes'),
      commands: sum('total_commands_processed'),
    }
  }
  const difference = (before, after) => Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - before[key]]))
  const prompt = 'a lighthouse on a cliff at dusk, oil painting, thick brush strokes, warm light, high detail'

  const seconds = () => performance.now() / 1000
  /** Redis' own work: its timers, and writing its file. */
  const resting = await look()
  await wait(15_000)
  const own = difference(resting, await look()).processor / 15

  const queue = new JobQueue(place)
  const jobs = []
  const count = 400
  const began = seconds()
  const empty = await look()
  for (let i = 0; i < count; i++) jobs.push(await queue.submit({ model: 'tiny-scenes', options: { prompt, steps: 1, seed: i } }))
  const full = await look()
  console.log('waiting:', difference(empty, full).memory / count, 'bytes per job')
  const worker = await createWorker({ ...place, models: { 'tiny-scenes': { threads: 1 } } })
  await Promise.all(jobs.map(({ result }) => result))
  await wait(500)
  const done = await look()
  const whole = difference(empty, done)
  console.log('finished:', whole.memory / count, 'bytes per job')
  console.log(
    'per job:',
    (whole.processor - own * (seconds() - began)) / count,
    's,',
    whole.traffic / count,
    'bytes,',
    whole.commands / count,
    'commands',
  )

  const quiet = await look()
  await wait(20_000)
  const idle = difference(quiet, await look())
  console.log('an idle worker and submitter:', idle.processor / 20 - own, 's per s,', idle.commands / 20, 'commands per s')

  const subscriber = redis.duplicate()
  await subscriber.subscribe('news')
  const text = JSON.stringify({ type: 'progress', phase: 'sample', step: 10, steps: 20, elapsedMs: 21_340.123456, etaMs: 21_340.123456 })
  const started = seconds()
  const before = await look()
  for (let i = 0; i < 10_000; i++) await redis.publish('news', text)
  const events = difference(before, await look())
  console.log('per progress event:', (events.processor - own * (seconds() - started)) / 10_000, 's,', events.traffic / 10_000, 'bytes')

  await worker.close()
  await queue.close()
  subscriber.disconnect()
  await redis.quit()
  server.kill()
  await once(server, 'exit')
  rmSync(folder, { recursive: true, force: true })
}

const { values } = parseArgs({ options: { simulate: { type: 'boolean' }, measure: { type: 'boolean' } } })
if (values.simulate) simulateAll()
else if (values.measure) await measure()
else
  console.log(
    Object.values(tables)
      .map((table) => table())
      .join('\n\n'),
  )
