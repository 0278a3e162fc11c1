/** packages/create: where it writes, what it refuses, and that nothing that exists is changed. What a template does is in test/integration/examples.test.ts. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const root = path.resolve(__dirname, '..', '..')
const program = path.join(root, 'packages', 'create', 'index.js')
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
let folder: string

beforeEach(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'latent-create-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function create(...args: string[]) {
  const env = { ...process.env, npm_config_user_agent: '' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { cwd: folder, env, encoding: 'utf8', input: '' })
  return { status, stdout, stderr }
}

const here = () => readdirSync(folder, { recursive: true }).sort()

test.each(['script', 'express', 'next', 'electron'])('%s', (template) => {
  const { status, stdout } = create('deep/down/My App!', '--template', template)
  const made = path.join(folder, 'deep', 'down', 'My App!')
  expect(status).toBe(0)
  expect(stdout).toContain(`cd "deep/down/My App!"\n  npm install\n  npm run ${template === 'next' ? 'dev' : 'start'}`)
  const manifest = JSON.parse(readFileSync(path.join(made, 'package.json'), 'utf8')) as { name: string; dependencies: Record<string, string> }
  expect(manifest).toMatchObject({ name: 'my-app', version: '0.0.0', private: true, dependencies: { 'node-latent-diffusion': `^${version}` } })
  expect(readFileSync(path.join(made, '.gitignore'), 'utf8')).toContain('node_modules/\n')
  expect(readFileSync(path.join(made, 'README.md'), 'utf8')).not.toContain('../')
  // The files of the example, and nothing that was built or installed there.
  const example = readdirSync(path.join(root, 'examples', template)).filter((name) => !/^(node_modules|out|dist|package-lock\.json)$/.test(name))
  expect(readdirSync(made).sort()).toEqual([...example, '.gitignore'].sort())
  expect(readdirSync(path.dirname(made))).toEqual(['My App!'])
})

test('an empty folder is used, version control in it stays', () => {
  mkdirSync(path.join(folder, '.git'))
  writeFileSync(path.join(folder, '.git', 'HEAD'), 'ref')
  expect(create('.', '-t', 'script')).toMatchObject({ status: 0, stderr: '' })
  expect(readFileSync(path.join(folder, '.git', 'HEAD'), 'utf8')).toBe('ref')
  expect(readdirSync(folder).sort()).toEqual(['.git', '.gitignore', 'README.md', 'draw.js', 'package.json'])
})

test('a folder that is in use is not touched', () => {
  mkdirSync(path.join(folder, 'app'))
  writeFileSync(path.join(folder, 'app', 'README.md'), 'mine')
  const before = here()
  const { status, stderr } = create('app', '-t', 'script')
  expect(status).toBe(1)
  expect(stderr).toBe(`create-node-latent-diffusion: ${path.join(folder, 'app')} is not empty (README.md); choose another name, or empty it\n`)
  expect(here()).toEqual(before)
  expect(readFileSync(path.join(folder, 'app', 'README.md'), 'utf8')).toBe('mine')
})

test('files and dead links in the way are not touched', () => {
  writeFileSync(path.join(folder, 'file'), 'mine')
  symlinkSync('nowhere', path.join(folder, 'link'))
  const before = here()
  expect(create('file', '-t', 'script')).toMatchObject({ status: 1, stderr: expect.stringContaining('is not a folder') as string })
  expect(create('file/app', '-t', 'script')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('below something that is not a folder') as string,
  })
  expect(create('link', '-t', 'script')).toMatchObject({ status: 1, stderr: expect.stringContaining('does not exist') as string })
  expect(here()).toEqual(before)
})

const asRoot = process.getuid?.() === 0 || process.platform === 'win32'
;(asRoot ? test.skip : test)('nothing is left behind where the disk refuses', () => {
  chmodSync(folder, 0o555)
  expect(create('a/b', '-t', 'script')).toMatchObject({ status: 1, stderr: expect.stringContaining('could not be written') as string })
  chmodSync(folder, 0o755)
  expect(here()).toEqual([])
})

test('a name that is too long leaves nothing behind', () => {
  const { status, stderr } = create(`a/b/${'x'.repeat(300)}`, '-t', 'script')
  expect(status).toBe(1)
  expect(stderr).toMatch(/ENAMETOOLONG|name too long/i)
  expect(here()).toEqual([])
})

test.each([
  [[], 'Name a folder'],
  [['app'], 'Name a template'],
  [['app', '-t', 'nonsense'], 'There is no template "nonsense"; there are script, express, next, electron'],
  [['app', '-t', '../script'], 'There is no template "../script"'],
  [['app', '-t', 'toString'], 'There is no template "toString"'],
  [['a', 'b', '-t', 'script'], 'One folder at a time, not 2: a, b'],
  [['app', '--force'], '--force'],
  [['app', '-t'], '-t'],
  [[' ', '-t', 'script'], 'The folder needs a name'],
])('%j is refused', (args, message) => {
  const { status, stdout, stderr } = create(...args)
  expect(stderr).toContain(message)
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(here()).toEqual([])
})

test('help and version', () => {
  expect(create('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('express: an Express server') as string })
  expect(create('--version')).toMatchObject({ status: 0, stdout: `${version}\n` })
})

test.each([
  ['asked', ['app', 'express'], 'app/server.js'],
  ['the usual answers', ['', ''], 'latent-project/draw.js'],
])('on a terminal without arguments: %s', (_title, answers, file) => {
  const text = `import { main } from ${JSON.stringify(pathToFileURL(program).href)}
import { PassThrough } from 'node:stream'
const [stdin, stdout] = [Object.assign(new PassThrough(), { isTTY: true }), new PassThrough()]
const answers = ${JSON.stringify(answers)}
stdout.on('data', (data) => data.toString().includes('): ') && stdin.write(answers.shift() + '\\n'))
process.exitCode = await main([], { stdin, stdout, stderr: process.stderr })`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', text], { cwd: folder, encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(existsSync(path.join(folder, file))).toBe(true)
})

test('ten at once: one project, nine refusals', async () => {
  const children = Array.from({ length: 10 }, () => spawn(process.execPath, [program, 'app', '-t', 'express'], { cwd: folder, stdio: 'ignore' }))
  const codes = await Promise.all(children.map((child) => new Promise<number | null>((resolve) => child.once('exit', resolve))))
  expect(codes.sort()).toEqual([0, ...new Array<number>(9).fill(1)])
  expect(readdirSync(folder)).toEqual(['app'])
  expect(existsSync(path.join(folder, 'app', 'server.js'))).toBe(true)
})
