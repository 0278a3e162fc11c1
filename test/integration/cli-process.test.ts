/** The command as a process of its own: pipes that close, full disks, signals, targets that cannot be written. */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { convert } from '../../lib/index'
import { goldenModel, type GoldenModel } from '../helpers/model'

const main = path.resolve('dist', 'cli', 'main.js')
let model: GoldenModel
const at = (name: string) => path.join(model.folder, name)

beforeAll(() => {
  model = goldenModel('sd1')
  // JSON is YAML.
  writeFileSync(at('model.yaml'), JSON.stringify(model.golden.config))
})
afterAll(() => model.remove())

const posix = process.platform === 'win32' ? test.skip : test
const leftovers = () => readdirSync(model.folder).filter((name) => name.startsWith('.latent-'))

posix('a reader that has seen enough ends the command in silence', () => {
  const { stdout, stderr } = spawnSync('sh', ['-c', '"$0" "$1" generate --help | head -n 1', process.execPath, main], { encoding: 'utf8' })
  expect({ lines: stdout.trim().split('\n').length, stderr }).toEqual({ lines: 1, stderr: '' })
})

const full = existsSync('/dev/full') ? test : test.skip
full('a full disk behind standard output is one line and exit code 1', () => {
  const out = openSync('/dev/full', 'w')
  try {
    const { status, stderr } = spawnSync(process.execPath, [main, '--help'], { stdio: ['ignore', out, 'pipe'], encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/^latent: standard output cannot be written: .*\n$/)
  } finally {
    closeSync(out)
  }
})

test('an unwritable target is rejected before the model is loaded', () => {
  mkdirSync(at('folder.png'))
  const missing = ['-m', at('no-such-model.safetensors'), '-p', 'x']
  for (const [target, count, reason] of [
    [at('folder.png'), '1', 'it is a folder'],
    [at('nowhere/x.png'), '1', 'its folder does not exist'],
    // NAME.png is not too long, NAME-12.png is.
    [at(`${'n'.repeat(250)}.png`), '12', 'name too long'],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, [main, 'generate', ...missing, '--count', count, '-o', target], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(reason) as string })
    expect(stderr).toContain('--output')
  }
  const { status, stderr } = spawnSync(process.execPath, [main, 'convert', at('no-such-model'), at('nowhere/x.gguf'), '-t', 'f16'], {
    encoding: 'utf8',
  })
  expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining('--output') as string })
  expect(leftovers()).toEqual([])
})

posix.each([
  ['SIGTERM', 143],
  ['SIGHUP', 129],
  ['SIGINT', 130],
] as const)('%s ends a run in an orderly way, with exit code %i', async (signal, code) => {
  const steps = ['--steps', '1000', '--sampler', 'ddim', '--device', 'cpu', '--preview', at('preview.png'), '-o', at('never.png')]
  const child = spawn(process.execPath, [main, 'generate', '-m', model.file, '-p', 'x', ...steps], { stdio: ['ignore', 'ignore', 'pipe'] })
  let text = ''
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const closed = new Promise((done) => child.once('close', (status, by) => done({ status, by })))
  // The first preview shows that it draws.
  while (!existsSync(at('preview.png')) && child.exitCode === null) await new Promise((done) => setTimeout(done, 20))
  child.kill(signal)
  const ended = await closed
  rmSync(at('preview.png'), { force: true })
  expect({ ended, text }).toEqual({ ended: { status: code, by: null }, text: 'latent: interrupted\n' })
  expect(existsSync(at('never.png'))).toBe(false)
})

test('a conversion aborted at its very end either rejects without a file or resolves with the file', async () => {
  let resolved = 0
  for (let i = 0; i < 12; i++) {
    const controller = new AbortController()
    const target = at(`late-${i}.gguf`)
    const outcome = convert(model.file, target, {
      type: 'f16',
      signal: controller.signal,
      onProgress: ({ step, steps }) => {
        if (steps > 0 && step >= steps) setTimeout(() => controller.abort(), i)
      },
    })
    const done = await outcome.then(
      () => true,
      () => false,
    )
    if (done) resolved++
    expect({ i, file: existsSync(target) }).toEqual({ i, file: done })
  }
  expect(resolved).toBeGreaterThan(0)
  expect(leftovers()).toEqual([])
})
