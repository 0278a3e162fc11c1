#!/usr/bin/env node
/**
 * Feeds damaged and random inputs to every reader: `npm run fuzz -- [--family NAME] [--from N] [--count N]`.
 *
 * A case is a family and a number, and can be run again by them alone. Each must end in a result or one of the package's own errors; a crash, a hang, a leak or any other
 * error is a finding, and the exit code is 1. Works on the built package (dist/ and the native binary).
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { families } from './families.mjs'

const worker = fileURLToPath(new URL('worker.mjs', import.meta.url))
/** A case that says nothing for so long hangs. Generous: it is a clock, and machines are busy. */
const silenceMs = 180_000

const { values } = parseArgs({
  options: { family: { type: 'string' }, from: { type: 'string', default: '1' }, count: { type: 'string', default: '200' } },
})
const names = values.family === undefined ? Object.keys(families) : values.family.split(',')
for (const name of names)
  if (!(name in families)) {
    console.error(`there is no family '${name}'; there are: ${Object.keys(families).join(', ')}`)
    process.exit(2)
  }
const [from, count] = [Number(values.from), Number(values.count)]
if (!Number.isSafeInteger(from) || !Number.isSafeInteger(count) || count < 1) {
  console.error('--from and --count take whole numbers')
  process.exit(2)
}

/** Cases [first, end) in one process; resolves with the number of the one that it died of, or undefined. */
function runUntilDeath(name, first, end, report) {
  return new Promise((resolve) => {
    const child = fork(worker, [name, String(first), String(end - first)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    let current = first
    let done = false
    let timer
    const watch = () => {
      clearTimeout(timer)
      timer = setTimeout(() => child.kill('SIGKILL'), silenceMs)
    }
    watch()
    child.on('message', (message) => {
      watch()
      if (message.begins !== undefined) current = message.begins
      if (message.finding !== undefined) report(message.number, message.finding)
      if (message.done) done = true
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      if (done) return resolve(undefined)
      report(current, signal === 'SIGKILL' ? 'hangs' : `ends the process (${signal ?? `exit code ${status}`})`)
      resolve(current)
    })
  })
}

let findings = 0
for (const name of names) {
  const report = (number, text) => {
    findings++
    console.log(`${name} ${number}: ${text}\n  again: npm run fuzz -- --family ${name} --from ${number} --count 1`)
  }
  const before = findings
  for (let next = from; next < from + count;) {
    const dead = await runUntilDeath(name, next, from + count, report)
    next = dead === undefined ? from + count : dead + 1
  }
  console.log(`${name}: cases ${from} to ${from + count - 1}, ${findings - before} findings`)
}
process.exitCode = findings > 0 ? 1 : 0
