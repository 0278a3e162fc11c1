/** Locks between processes: a file that exists while one of them works, because Node has no advisory file locks. */
import { randomBytes } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { mkdir, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DiffusionError } from '../errors.js'
import { readSmall } from './small-file.js'

/** Interval in milliseconds at which the owner touches its lock ... */
const heartbeat = 5_000
/** ... and time without a touch, by a waiter's clock, after which the owner counts as dead. */
const patience = 60_000
const poll = 150

interface Owner {
  pid: number
  host: string
  token: string
}

/** A lock that is held. */
export interface Lock {
  /** Unique to this holding. */
  token: string
  /** True if the previous owner may still be alive: its files must not be touched. */
  doubtful: boolean
  release(): Promise<void>
}

/** Identifies processes with the same process ids: containers may share a host name but not its processes. */
function hostId(): string {
  try {
    return `${hostname()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function readOwner(file: string): Promise<Owner | undefined> {
  try {
    const owner = JSON.parse((await readSmall(file)) ?? '') as Partial<Owner>
    return typeof owner.token === 'string' && typeof owner.host === 'string' && Number.isSafeInteger(owner.pid) ? (owner as Owner) : undefined
  } catch {
    return undefined
  }
}

/** Creates `file`; false if it exists. Windows reports EPERM while a deleted file is still open. */
async function create(file: string, content: string): Promise<boolean> {
  try {
    await writeFile(file, content, { flag: 'wx' })
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' || (code === 'EPERM' && process.platform === 'win32')) return false
    throw error
  }
}

async function touched(file: string): Promise<number | undefined> {
  return stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  )
}

/** A waiter's observations of the current owner. */
class Observation {
  #seen = ''
  #since = 0

  /** `dead`: it has ended; `silent`: no sign of life for too long; otherwise it is working. */
  async judge(file: string, host: string): Promise<'gone' | 'dead' | 'silent' | 'works'> {
    const time = await touched(file)
    if (time === undefined) return 'gone'
    const owner = await readOwner(file)
    if (owner?.host === host && !isAlive(owner.pid)) return 'dead'
    const seen = `${owner?.token} ${time}`
    if (seen !== this.#seen) {
      this.#seen = seen
      this.#since = performance.now()
    }
    return performance.now() - this.#since > patience ? 'silent' : 'works'
  }
}

/** Removes the lock of a dead owner. Only one process at a time may do this; otherwise a second one would remove the first one's new lock. */
async function bury(file: string, observation: Observation, host: string): Promise<void> {
  const guard = `${file}.guard`
  if (!(await create(guard, ''))) {
    const time = await touched(guard)
    // Its owner ended within the few lines below.
    if (time !== undefined && Math.abs(Date.now() - time) > patience) await unlink(guard).catch(() => undefined)
    return
  }
  try {
    if (['dead', 'silent'].includes(await observation.judge(file, host))) await unlink(file).catch(() => undefined)
  } finally {
    await unlink(guard).catch(() => undefined)
  }
}

/** Waits for the lock `file` and takes it. `onWait` is called at every check while another process holds it. */
export async function acquire(file: string, options: { signal?: AbortSignal | undefined; onWait?: () => unknown } = {}): Promise<Lock> {
  const { signal, onWait } = options
  const token = randomBytes(8).toString('hex')
  const host = hostId()
  const content = JSON.stringify({ pid: process.pid, host, token, since: new Date().toISOString() })
  await mkdir(path.dirname(file), { recursive: true })
  const observation = new Observation()
  let doubtful = false
  for (let looks = 0, gone = 0; !(await create(file, content)); looks++) {
    signal?.throwIfAborted()
    const state = await observation.judge(file, host)
    if (state === 'dead' || state === 'silent') {
      doubtful ||= state === 'silent'
      await bury(file, observation, host)
    }
    if (state !== 'gone') await onWait?.()
    else if (++gone > 1000) throw new DiffusionError('ERR_IO', `The lock file ${file} can be neither created nor found`, { path: file })
    // The first check comes soon, because most files are small.
    await sleep((looks === 0 || state === 'gone' ? 10 : poll) * (0.5 + Math.random()))
  }
  const timer = setInterval(() => {
    const now = new Date()
    utimes(file, now, now).catch(() => undefined)
  }, heartbeat).unref()
  return {
    token,
    doubtful,
    async release() {
      clearInterval(timer)
      if ((await readOwner(file))?.token === token) await unlink(file).catch(() => undefined)
    },
  }
}

/** True while the lock is held. An abandoned lock counts as held until it is old enough. */
export async function isHeld(file: string): Promise<boolean> {
  const time = await touched(file)
  if (time === undefined) return false
  const owner = await readOwner(file)
  if (owner?.host === hostId()) return isAlive(owner.pid)
  return Date.now() - time < patience
}
