/** Child processes that answer in lines: that a call ends whatever the child does. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { runLines } from '../../lib/model/child-lines'

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), 'latent-child-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const say = 'const say = (message) => process.stdout.write("\\n" + JSON.stringify(message) + "\\n")\n'
function write(text: string): string {
  const file = path.join(folder, 'child.js')
  writeFileSync(file, say + text)
  return file
}

async function messages(text: string, silence = 20_000, signal?: AbortSignal) {
  const all: Record<string, unknown>[] = []
  const end = await runLines(write(text), [], process.env, silence, (message) => all.push(message), signal)
  return { all, end }
}

/** A process that inherits the child's output and lives on, and writes its number. */
const grandchild = () => `
  const { pid } = require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'inherit', detached: true })
  require('fs').writeFileSync(${JSON.stringify(path.join(folder, 'pid'))}, String(pid))\n`
const endGrandchild = () => process.kill(Number(readFileSync(path.join(folder, 'pid'), 'utf8')), 'SIGKILL')

test('messages, and lines of others', async () => {
  expect(await messages('console.log("a driver"); say({ a: 1 }); say([2]); say({ b: 2 })')).toEqual({ all: [{ a: 1 }, { b: 2 }], end: {} })
})

test('a driver that prints without an end of line hides no message', async () => {
  expect((await messages('process.stdout.write("warning: "); say({ a: 1 }); process.stdout.write("bye")')).all).toEqual([{ a: 1 }])
})

test('the end of standard error is kept', async () => {
  const { end } = await messages('process.stderr.write("x".repeat(1000) + " no such symbol\\n", () => process.exit(3))')
  expect(end.problem).toBe('crashed (exit code 3)')
  expect(end.stderr).toMatch(/x no such symbol$/)
  expect(end.stderr!.length).toBeLessThanOrEqual(200)
})

describe('a process that the child started, and that holds its output open', () => {
  const patience = 45_000 // less than it lives
  afterEach(endGrandchild)

  test(
    'does not delay the end of a child that ended',
    async () => {
      expect(await messages(`${grandchild()} say({ a: 1 }); process.exit(0)`)).toEqual({ all: [{ a: 1 }], end: {} })
    },
    patience,
  )

  test(
    'does not delay the end of a child that hung',
    async () => {
      // Its start counts as silence too: the limit grows until it was heard.
      const run = (limit: number) => messages(`${grandchild()} say({ a: 1 }); for (;;);`, limit)
      let limit = 2000
      let told = await run(limit)
      while (told.all.length === 0 && limit < 16_000) told = await run((limit *= 2))
      expect(told).toEqual({ all: [{ a: 1 }], end: { problem: `did not answer within ${limit / 1000} seconds` } })
    },
    patience,
  )

  test(
    'does not delay the end of an aborted call',
    async () => {
      const controller = new AbortController()
      const running = runLines(
        write(`${grandchild()} say({ a: 1 }); for (;;);`),
        [],
        process.env,
        60_000,
        () => controller.abort('stop'),
        controller.signal,
      )
      await expect(running).rejects.toBe('stop')
    },
    patience,
  )
})

test('what the receiver of messages throws ends the child and rejects the call', async () => {
  const file = write('say({ pid: process.pid }); setInterval(() => {}, 1000)')
  let pid = 0
  const running = runLines(file, [], process.env, 60_000, (message) => {
    pid = message.pid as number
    throw new RangeError('no')
  })
  await expect(running).rejects.toThrow(new RangeError('no'))
  await gone(pid)
})

/** Waits until a process has ended. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test('a hanging child does not outlive this process', async () => {
  const file = write('say({ pid: process.pid }); for (;;);')
  const compiled = path.join(__dirname, '..', '..', 'dist', 'model', 'child-lines.js')
  const parent = `require(${JSON.stringify(compiled)}).runLines(${JSON.stringify(file)}, [], process.env, 60000, ({ pid }) => {
    console.log(pid)
    process.exit(0)
  })`
  const { stdout } = spawnSync(process.execPath, ['-e', parent], { encoding: 'utf8' })
  expect(Number(stdout)).toBeGreaterThan(0)
  await gone(Number(stdout))
})

test('nor does it outlive one that was killed', async () => {
  const dist = path.join(__dirname, '..', '..', 'dist')
  const file = write(`
    require(${JSON.stringify(path.join(dist, 'files', 'end-with-parent.js'))}).endWithParent()
    say({ pid: process.pid })
    for (;;);`)
  const parent = `require(${JSON.stringify(path.join(dist, 'model', 'child-lines.js'))}).runLines(${JSON.stringify(file)}, [], process.env, 60000, ({ pid }) => {
    require('fs').writeSync(1, String(pid))
    process.kill(process.pid, 'SIGKILL')
  })`
  const { stdout, signal } = spawnSync(process.execPath, ['-e', parent], { encoding: 'utf8' })
  if (process.platform !== 'win32') expect(signal).toBe('SIGKILL')
  expect(Number(stdout)).toBeGreaterThan(0)
  await gone(Number(stdout))
})

test('a child that watches its parent ends by itself, with a parent or without', async () => {
  const watched = `require(${JSON.stringify(path.join(__dirname, '..', '..', 'dist', 'files', 'end-with-parent.js'))}).endWithParent(); say({ a: 1 })`
  expect(await messages(watched)).toEqual({ all: [{ a: 1 }], end: {} })
  const { status, stderr } = spawnSync(process.execPath, [write(watched)], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})

test('a process that cannot be started is reported as such', async () => {
  const { execPath } = process
  process.execPath = path.join(folder, 'missing')
  try {
    expect((await messages('')).end).toEqual({ problem: expect.stringMatching(/^no process could be started: .*ENOENT/), unstarted: true })
  } finally {
    process.execPath = execPath
  }
})

test('neither can one without file descriptors, or with an argument that no process can have', async () => {
  expect(await runLines(write(''), ['a\0b'], process.env, 1000, () => undefined)).toEqual({
    problem: expect.stringMatching(/^no process could be started: /),
    unstarted: true,
  })
  if (process.platform === 'win32') return
  const compiled = path.join(__dirname, '..', '..', 'dist', 'model', 'child-lines.js')
  const text = `const fs = require('fs')
    const { runLines } = require(${JSON.stringify(compiled)})
    const files = []
    try { for (;;) files.push(fs.openSync('/dev/null')) } catch {}
    runLines('none.js', [], process.env, 1000, () => {}).then((end) => {
      for (const file of files) fs.closeSync(file)
      console.log(JSON.stringify(end))
    })`
  const parent = spawn('sh', ['-c', 'ulimit -n 100; exec "$0" -e "$1"', process.execPath, text])
  let output = ''
  for await (const chunk of parent.stdout) output += String(chunk)
  expect(JSON.parse(output)).toEqual({ problem: expect.stringMatching(/^no process could be started: .*EMFILE/), unstarted: true })
})
