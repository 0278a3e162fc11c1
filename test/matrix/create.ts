/** `npm create node-latent-diffusion`: the templates with their own dependencies, which npm fetches, and the packed library. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RawImage } from '../../lib/index'
import { environment, name, node, project, registryUrl, scope, succeed, tarball, tool, versionOf } from './context'

const npmCli = () => tool('npm-12', 'bin', 'npm-cli.js')

/** A project of a template. The library and its packages come from the registry of the matrix, everything else from npm's. */
function create(
  template: string,
  major: string,
  title = template,
): { place: string; variables: Record<string, string>; npm: (...args: string[]) => string } {
  const parent = project(`create-${title}-${major}`)
  const variables = environment(parent)
  succeed(variables, parent, node(major), npmCli(), 'create', '--yes', name, template, '--', '--template', template)
  const place = path.join(parent, template)
  const manifest = path.join(place, 'package.json')
  const { dependencies, ...rest } = JSON.parse(readFileSync(manifest, 'utf8')) as { dependencies: Record<string, string> }
  writeFileSync(manifest, JSON.stringify({ ...rest, dependencies: { ...dependencies, [name]: `file:${tarball(name)}` } }))
  writeFileSync(path.join(place, '.npmrc'), `${scope}:registry=${registryUrl()}\naudit=false\nfund=false\n`)
  const npm = (...args: string[]) => succeed(variables, place, node(major), npmCli(), ...args)
  npm('install', '--ignore-scripts')
  return { place, variables, npm }
}

/** Asks a server that listens on a free port for an image; ends the server. */
async function draw(place: string, variables: Record<string, string>, command: string, args: string[], address: string): Promise<RawImage> {
  const child = spawn(command, args, { cwd: place, env: { ...process.env, ...variables }, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  let said = ''
  const heard = (data: Buffer) => (said += data.toString())
  child.stdout.on('data', heard)
  child.stderr.on('data', heard)
  try {
    const url = () => /http:\/\/(127\.0\.0\.1|localhost):\d+/.exec(said)?.[0]
    for (let waited = 0; url() === undefined; waited += 50) {
      if (child.exitCode !== null || waited > 60_000) throw new Error(`no server:\n${said}`)
      await delay(50)
    }
    const body = JSON.stringify({ prompt: 'a red circle on a blue background', seed: 1 })
    const response = await fetch(`${url()}${address}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}\n${said}`)
    expect(response.headers.get('x-seed')).toBe('1')
    expect((await fetch(url()!)).status).toBe(200) // its page
    return await RawImage.read(new Uint8Array(await response.arrayBuffer()))
  } finally {
    process.kill(-child.pid!, 'SIGKILL')
  }
}

export function templates(): void {
  test.each(['20', '26'].map((major) => [versionOf(`node-${major}`), major] as const))('script, on Node.js %s', async (_version, major) => {
    const { place, npm } = create('script', major)
    expect(npm('start')).toMatch(/^out\.png, seed \d+$/m)
    expect((await RawImage.read(path.join(place, 'out.png'))).width).toBe(64)
  })

  test('express', async () => {
    const { place, variables } = create('express', '20')
    const image = await draw(place, { ...variables, PORT: '0' }, node('20'), ['server.js'], '/images')
    expect(image.width).toBe(64)
  })

  test('next: built and started, the route handler draws', async () => {
    const { place, variables, npm } = create('next', '24')
    expect(npm('run', 'build')).not.toMatch(/warn|error/i)
    const next = path.join(place, 'node_modules', 'next', 'dist', 'bin', 'next')
    const image = await draw(place, variables, node('24'), [next, 'start', '--port', '0', '--hostname', '127.0.0.1'], '/api/images')
    expect(image.width).toBe(64)
  })

  test('next, standalone: the traced files draw elsewhere', async () => {
    const { place, variables, npm } = create('next', '24', 'standalone')
    writeFileSync(path.join(place, 'next.config.mjs'), `export default { serverExternalPackages: ['${name}'], output: 'standalone' }\n`)
    npm('run', 'build')
    const standalone = path.join(place, '.next', 'standalone')
    expect(readdirSync(standalone)).toContain('server.js')
    const image = await draw(standalone, { ...variables, PORT: '0', HOSTNAME: '127.0.0.1' }, node('24'), ['server.js'], '/api/images')
    expect(image.width).toBe(64)
  })
}
