/** The server's package, installed next to the library: `latent serve` starts, generates the same image over HTTP, and ends on request. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RawImage } from '../../lib/index'
import { environment, expectPicture, fail, name, node, project, scope, succeed, tool, versionOf } from './context'
import { expectQuiet } from './managers'

const library = path.join('node_modules', name, 'dist', 'cli', 'main.js')

/** Starts it on a free port; `ended` has its exit code or signal. */
async function serve(place: string, command: string): Promise<{ child: ChildProcess; url: string; ended: Promise<number | string | null> }> {
  const child = spawn(command, [library, 'serve', '--port', '0'], { cwd: place, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | string | null>((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)))
  let said = ''
  const heard = (data: Buffer) => (said += data.toString())
  child.stdout.on('data', heard)
  child.stderr.on('data', heard)
  const url = () => /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0]
  for (let waited = 0; url() === undefined; waited += 50) {
    if (child.exitCode !== null || waited > 60_000) throw new Error(`no server:\n${said}`)
    await delay(50)
  }
  return { child, url: url()!, ended }
}

/** The image of the programs in context.ts, drawn by a job. */
async function draw(url: string): Promise<string> {
  const body = JSON.stringify({ prompt: 'a red circle on a blue background', seed: 1, steps: 8 })
  const headers = { 'content-type': 'application/json' }
  const job = (await (await fetch(`${url}/latent/v1/jobs`, { method: 'POST', headers, body })).json()) as { id: string }
  const events = await (await fetch(`${url}/latent/v1/jobs/${job.id}/events`)).text()
  expect(events).toMatch(/^event: done$/m)
  const response = await fetch(`${url}/latent/v1/jobs/${job.id}/images/0.png`)
  expect(response.headers.get('content-type')).toBe('image/png')
  const { data } = await RawImage.read(new Uint8Array(await response.arrayBuffer()))
  return `drawn ${createHash('sha256').update(data).digest('hex')}`
}

export function servers(): void {
  test.each(
    (
      [
        ['npm-12', '24'],
        ['npm-11', '20'],
        ['pnpm', '22'],
      ] as const
    ).map(([manager, major]) => [`${manager.split('-')[0]!} ${versionOf(manager)}`, versionOf(`node-${major}`), manager, major] as const),
  )('latent serve, installed by %s, on Node.js %s', async (_manager, _node, manager, major) => {
    const place = project(`server-${manager}`)
    const variables = environment(place)
    const run = (...args: string[]) =>
      manager === 'pnpm'
        ? succeed(variables, place, tool('.bin', 'pnpm'), 'add', ...args)
        : succeed(variables, place, node(major), tool(manager, 'bin', 'npm-cli.js'), 'install', ...args)
    expectQuiet(run(name))
    expect(fail(variables, place, node(major), library, 'serve')).toContain(`npm install ${scope}/server@`)
    expectQuiet(run(`${scope}/server`))
    expect(existsSync(path.join(place, 'node_modules', scope, 'server'))).toBe(true)
    const { child, url, ended } = await serve(place, node(major))
    try {
      expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' })
      expect(await (await fetch(url)).text()).toMatch(/^<!doctype html>/i)
      expectPicture(await draw(url))
      child.kill('SIGTERM')
      expect(await ended).toBe(0)
      await expect(fetch(`${url}/healthz`)).rejects.toThrow()
    } finally {
      child.kill('SIGKILL')
    }
  })
}
