/**
 * 200 clients of all three APIs against a queue of 32: every request is answered, or refused by the rules; memory stays. Some leave before their answer (what that
 * does to the engine: server-cancel). 20 seconds, or as many as LATENT_LOAD_SECONDS says (600 before a release).
 */
import { execFileSync, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as soon } from 'node:timers/promises'
import type { Job } from '../../packages/server/src/protocol'
import { ask, readEvents, type Reply } from '../helpers/server'

const seconds = Number(process.env.LATENT_LOAD_SECONDS ?? 20)
const clients = 200
const mebibyte = 2 ** 20

let child: ChildProcess
let server: { port: number }
beforeAll(async () => {
  child = fork(path.join('test', 'helpers', 'load-server.cjs'), [JSON.stringify({ limits: { maxQueue: 32, maxSteps: 400, maxTotalSteps: 400 } })])
  ;[server] = (await once(child, 'message')) as [{ port: number }]
}, 60_000)
afterAll(async () => {
  const ended = once(child, 'exit')
  child.send('close')
  await ended
}, 60_000)

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Of the server, and of its engine where the system tells of processes. */
async function memory(): Promise<{ server: number; engine: number | undefined }> {
  const told = once(child, 'message')
  child.send('memory')
  const [{ rss }] = (await told) as [{ rss: number }]
  if (process.platform === 'win32') return { server: rss, engine: undefined }
  const engine = execFileSync('ps', ['-eo', 'ppid=,rss=,args='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((found) => Number(found?.[1]) === child.pid && found![3]!.includes('engine-main'))
    .reduce<number | undefined>((largest, found) => Math.max(largest ?? 0, Number(found![2]) * 1024), undefined)
  return { server: rss, engine }
}

/** What became of the requests. */
const count = { answered: 0, refused: 0, left: 0 }
const wrong: string[] = []

/** Whether it was answered; if it was refused, waits as long as it was told to. */
async function judge(reply: Reply, call: string, until: number): Promise<boolean> {
  if (reply.status === 200 || reply.status === 202) return true
  const wait = Number(reply.headers['retry-after'])
  if (reply.status === 429 && Number.isInteger(wait) && wait >= 1) {
    count.refused++
    await soon(Math.max(0, Math.min(wait * 1000, until - performance.now())))
  } else wrong.push(`${call}: ${reply.status} ${reply.text.slice(0, 300)}`)
  return false
}

type Call = (seed: number, until: number, signal?: AbortSignal) => Promise<boolean>

const prompt = 'a red circle above a blue square'
const picture = /^[A-Za-z0-9+/]{100,}=*$/

const calls: Record<string, Call> = {
  async openai(seed, until, signal) {
    const reply = await ask(server, '/v1/images/generations', { body: { prompt, seed, steps: 2 }, signal })
    if (!(await judge(reply, 'openai', until))) return false
    if (!picture.test(reply.json.data[0].b64_json as string)) wrong.push('openai: no image')
    return true
  },
  async a1111(seed, until, signal) {
    const reply = await ask(server, '/sdapi/v1/txt2img', { body: { prompt, seed, steps: 2 }, signal })
    if (!(await judge(reply, 'a1111', until))) return false
    if (!picture.test(reply.json.images[0] as string)) wrong.push('a1111: no image')
    return true
  },
  async latent(seed, until, signal) {
    const reply = await ask(server, '/latent/v1/jobs', { body: { prompt, seed, steps: 2 }, signal })
    if (!(await judge(reply, 'latent', until))) return false
    const { links } = reply.json as Job
    const last = readEvents((await ask(server, links.events, { signal })).text).at(-1)
    if (last?.event !== 'done') wrong.push(`latent: ${JSON.stringify(last)}`)
    return true
  },
}

/** One client, which now and then does not wait for its answer. */
async function client(number: number, until: number): Promise<void> {
  const names = Object.keys(calls)
  for (let i = 0; performance.now() < until; i++) {
    const name = names[(number + i) % names.length]!
    const leaves = (number + i) % 10 === 9 ? AbortSignal.timeout(50 + ((number * 37 + i * 101) % 1000)) : undefined
    try {
      if (await calls[name]!(number * 100_000 + i, until, leaves)) count.answered++
    } catch (error) {
      if (leaves?.aborted) count.left++
      else wrong.push(`${name}: ${String(error)}`)
    }
  }
}

test(
  'every request is answered or rejected by the rules, and memory does not grow',
  async () => {
    const began = performance.now()
    const until = began + seconds * 1000
    const all = Promise.all(Array.from({ length: clients }, (_, i) => client(i, until)))
    const samples: Awaited<ReturnType<typeof memory>>[] = []
    while (performance.now() < until) {
      await soon(seconds * 10)
      samples.push(await memory())
    }
    await all
    // A third to warm up: buffers and the code that is compiled.
    const third = Math.floor(samples.length / 3)
    const growth = (of: (sample: (typeof samples)[number]) => number | undefined) => {
      const known = (from: number, to?: number) => samples.slice(from, to).flatMap((sample) => of(sample) ?? [])
      const [before, after] = [median(known(third, 2 * third)), median(known(2 * third))]
      return { before, after, allowed: before * 1.1 + 24 * mebibyte }
    }
    const [own, engine] = [growth((sample) => sample.server), growth((sample) => sample.engine)]
    const report = { seconds: Math.round((performance.now() - began) / 1000), ...count, server: own, engine }
    if (process.env.LATENT_LOAD_SECONDS) console.info(JSON.stringify(report))
    expect(wrong.slice(0, 5)).toEqual([])
    expect(count.answered).toBeGreaterThan(0) // it is the rules that are tested, not the speed
    expect(count.refused).toBeGreaterThan(0)
    expect(count.left).toBeGreaterThan(0)
    expect(own.after).toBeLessThan(own.allowed)
    if (process.platform !== 'win32') expect(engine.after).toBeLessThan(engine.allowed)
    // The job of a client that left may be under way yet.
    let { text } = await ask(server, '/metrics')
    for (let i = 0; i < 100 && !/^latent_running 0$/m.test(text); i++) {
      await soon(200)
      text = (await ask(server, '/metrics')).text
    }
    expect(text).toMatch(/^latent_queue_depth 0$/m)
    expect(text).toMatch(/^latent_running 0$/m)
    expect(text).not.toMatch(/outcome="failed"/)
  },
  (seconds + 300) * 1000,
)
