/** Runs cases of one family in a process that may die of them, and tells its parent of each. */
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { families, isOwnError } from './families.mjs'
import { randomOf } from './random.mjs'

/** Bytes that the process may grow by in one case, and milliseconds of its own processor time. */
const mostGrowth = 1 << 30
const mostTime = 20_000

const [name, from, count] = process.argv.slice(2)
const family = families[name]
const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-fuzz-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

async function runCase(number) {
  const mine = mkdtempSync(path.join(folder, 'case-'))
  const [memory, time] = [process.memoryUsage.rss(), process.cpuUsage()]
  try {
    await family.run(await family.make(randomOf(number)), mine)
  } catch (error) {
    if (!isOwnError(error)) return error instanceof Error ? (error.stack ?? error.message) : String(error)
  } finally {
    rmSync(mine, { recursive: true, force: true })
  }
  const { user, system } = process.cpuUsage(time)
  const [ms, grown] = [(user + system) / 1000, process.memoryUsage.rss() - memory]
  if (ms > mostTime) return `took ${Math.round(ms)} ms of processor time`
  return grown > mostGrowth ? `took ${grown} bytes of memory` : undefined
}

for (let number = Number(from); number < Number(from) + Number(count); number++) {
  process.send({ begins: number })
  const finding = await runCase(number)
  if (finding !== undefined) process.send({ number, finding })
}
process.send({ done: true })
process.disconnect()
