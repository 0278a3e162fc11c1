/** Versions of Node, other runtimes, and messages about missing permissions. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { expectPicture, fail, installed, name, node, succeed, tool, versionOf } from './context'

export function runtimes(): void {
  const majors = ['20', '22', '24', '26']

  test.each(majors.map((major) => [versionOf(`node-${major}`), major]))('Node.js %s', (_, major) => {
    expectPicture(succeed({}, installed(), node(major), 'draw.cjs'))
    expectPicture(succeed({}, installed(), node(major), 'draw.mjs'))
  })

  test.each(majors.map((major) => [versionOf(`node-${major}`), major]))('Node.js %s with --permission', (_, major) => {
    const permission = [Number(major) >= 24 ? '--permission' : '--experimental-permission', '--allow-fs-read=*']
    expectPicture(succeed({}, installed(), node(major), ...permission, '--allow-addons', 'draw.cjs'))
    const refused = fail({}, installed(), node(major), ...permission, 'draw.cjs')
    expect(refused).toContain('start Node.js with --allow-addons')
    expect(refused).not.toContain('latent build')
  })

  test('worker threads, one of which is terminated during a step', () => {
    const place = installed()
    writeFileSync(
      path.join(place, 'worker.cjs'),
      `const { DiffusionPipeline } = require('${name}')\nconst { parentPort } = require('node:worker_threads')
DiffusionPipeline.load().then((pipe) => pipe.generate({ prompt: 'a star', steps: 1000, onProgress: ({ step }) => { if (step >= 2) parentPort.postMessage('busy') } }))\n`,
    )
    writeFileSync(
      path.join(place, 'workers.cjs'),
      `const { Worker } = require('node:worker_threads')
const worker = new Worker('./worker.cjs')
worker.once('error', (error) => { throw error })
worker.once('message', () => worker.terminate().then(() => import('./draw.mjs')))\n`,
    )
    expectPicture(succeed({}, place, node('24'), 'workers.cjs'))
  })

  test(`Bun ${versionOf('@oven/bun-linux-x64')}`, () => {
    const bun = tool('@oven', 'bun-linux-x64', 'bin', 'bun')
    expectPicture(succeed({}, installed(), bun, 'draw.cjs'))
    expectPicture(succeed({}, installed(), bun, 'draw.mjs'))
  })

  test(`Deno ${versionOf('@deno/linux-x64-glibc')}`, () => {
    const deno = tool('@deno', 'linux-x64-glibc', 'deno')
    const flags = ['--allow-read', '--allow-env', '--allow-sys', '--allow-ffi']
    expectPicture(succeed({}, installed(), deno, 'run', '--no-prompt', ...flags, 'draw.mjs'))
    const refused = fail({}, installed(), deno, 'run', '--no-prompt', ...flags.filter((one) => one !== '--allow-ffi'), 'draw.mjs')
    expect(refused).toContain('start Deno with --allow-ffi')
    expect(refused).not.toContain('latent build')
    // Without --allow-sys as well, detecting the C library must not be what fails.
    expect(fail({}, installed(), deno, 'run', '--no-prompt', '--allow-read', '--allow-env', 'draw.mjs')).toContain('start Deno with --allow-')
  })
}
