/** The history of benchmarks: reports added line by line, and compared by shares of the peak. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-history-'))
const history = path.join(folder, 'history.jsonl')
const tool = path.resolve(__dirname, '..', 'bench', 'history.mjs')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [tool, ...args, '--history', history], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

/** A report as `latent bench --json` writes it, of a machine `speed` times as fast whose step takes `share` of the bfloat16 peak. */
function report({ speed, share, rss = 1e9, width = 512 }: { speed: number; share: number; rss?: number; width?: number }) {
  const [f32, bf16, gflop] = [200 * speed, 400 * speed, 1600]
  return {
    model: 'Stable Diffusion 1.5',
    device: 'a processor',
    precision: 'fast',
    version: '0.1.0',
    threads: 2,
    kind: 'text',
    naming: 'compvis',
    dtypes: { unet: 'f16', vae: 'f16' },
    kernels: { operations: 'fused', float32: 'avx512', fast: 'avx512_bf16', int8: 'avx512_vnni', rows: 'avx512' },
    width,
    height: 512,
    peak: [
      { format: 'f32', instructions: 'avx512', gflops: f32 },
      { format: 'bf16', instructions: 'avx512_bf16', gflops: bf16 },
    ],
    stages: [
      { stage: 'load', ms: 100 / speed },
      { stage: 'step', ms: (1000 * gflop) / (bf16 * share), gflop, gflops: bf16 * share, ofPeak: share, peakFormat: 'bf16' },
    ],
    peakRssBytes: rss,
  }
}

function add(name: string, content: object, ...args: string[]) {
  const file = path.join(folder, `${name}.json`)
  writeFileSync(file, JSON.stringify(content))
  return run('add', file, '--commit', name, ...args)
}

test('reports become lines and are compared by ratios, independent of machine speed', () => {
  expect(add('aaa1', report({ speed: 1, share: 0.5 }), '--date', '2026-01-02T03:04:05Z', '--note', 'first')).toMatchObject({ status: 0, stderr: '' })
  expect(add('bbb2', report({ speed: 3, share: 0.6, rss: 0.9e9 }))).toMatchObject({ status: 0, stderr: '' })
  const lines = readFileSync(history, 'utf8').trim().split('\n')
  expect(lines).toHaveLength(2)
  expect(JSON.parse(lines[0]!)).toEqual({
    schema: 1,
    date: '2026-01-02T03:04:05.000Z',
    commit: 'aaa1',
    version: '0.1.0',
    note: 'first',
    cpu: 'a processor',
    threads: 2,
    model: { name: 'Stable Diffusion 1.5', kind: 'text', naming: 'compvis', types: { unet: 'f16', vae: 'f16' } },
    run: { width: 512, height: 512, precision: 'fast', kernels: 'avx512_bf16, int8 avx512_vnni' },
    peaks: [
      { format: 'f32', instructions: 'avx512', gflops: 200 },
      { format: 'bf16', instructions: 'avx512_bf16', gflops: 400 },
    ],
    stages: { load: { ms: 100 }, step: { ms: 8000, gflop: 1600, share: 0.5, of: 'bf16' } },
    peakRssBytes: 1e9,
  })
  const { stdout } = run('compare')
  expect(stdout).not.toMatch(/not the same/)
  expect(stdout).toMatch(/^load +- +- +- +1\.00$/m) // a third of the time on a machine three times as fast
  expect(stdout).toMatch(/^step +50\.0 % bf16 +60\.0 % bf16 +1\.20 +0\.83$/m)
  expect(stdout).toMatch(/^peak memory +1000 MB +900 MB +0\.90 +-$/m)
})

test('entries are chosen by line or commit; differences that prevent a comparison are reported', () => {
  add('ccc3', report({ speed: 1, share: 0.5, width: 768 }))
  expect(run('compare', 'bbb', 'aaa').stdout).toMatch(/^step +60\.0 % bf16 +50\.0 % bf16 +0\.83 +1\.20$/m)
  expect(run('compare', '1', 'last~1').stdout).toMatch(/1\.20 +0\.83$/m)
  expect(run('compare').stdout).toMatch(/^not the same run: .*"width":512.* and .*"width":768/m)
  expect(run('list').stdout.trim().split('\n')).toHaveLength(3)
  expect(run('compare', '1', '9')).toMatchObject({ status: 1, stdout: '', stderr: 'no entry 9 among 3\n' })
  expect(run('compare', '1', 'zzz')).toMatchObject({ status: 1, stderr: 'no entry zzz among 3\n' })
})

test('older entries, with only the forced instruction set or none, are comparable', () => {
  const [first, second] = readFileSync(history, 'utf8').trim().split('\n') as [string, string]
  const withKernels = (line: string, kernels: string | null) => {
    const entry = JSON.parse(line) as { run: object }
    return JSON.stringify({ ...entry, run: { ...entry.run, kernels } })
  }
  for (const [kernels, comparable] of [
    [null, true],
    ['avx512_bf16', true],
    ['avx2', false],
  ] as const) {
    for (const lines of [
      [withKernels(first, kernels), second],
      [second, withKernels(first, kernels)],
    ]) {
      const file = path.join(folder, 'before.jsonl')
      writeFileSync(file, `${lines.join('\n')}\n`)
      const { stdout } = spawnSync(process.execPath, [tool, 'compare', '--history', file], { encoding: 'utf8' })
      expect(stdout.includes('not the same run')).toBe(!comparable)
    }
  }
})

test('invalid reports and histories are rejected, and nothing is written', () => {
  const before = readFileSync(history, 'utf8')
  expect(add('x', { peak: [], stages: 3 })).toMatchObject({ status: 1, stderr: expect.stringMatching(/^not a report/) as string })
  expect(add('x', { ...report({ speed: 1, share: 0.5 }), peakRssBytes: null })).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/missing/) as string,
  })
  expect(run('add', path.join(folder, 'nowhere.json'))).toMatchObject({ status: 1, stderr: expect.stringMatching(/cannot be read/) as string })
  expect(run('shrink')).toMatchObject({ status: 1, stderr: 'usage: history.mjs add | list | compare\n' })
  expect(readFileSync(history, 'utf8')).toBe(before)
  writeFileSync(history, '{"schema":2}\n')
  expect(add('y', report({ speed: 1, share: 0.5 }))).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/:1 has the schema 2; this program reads 1/) as string,
  })
  expect(readFileSync(history, 'utf8')).toBe('{"schema":2}\n')
})
