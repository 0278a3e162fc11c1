/** What `latent bench` and the scaling model derive from the profile of a run. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { deviceMemory, render, roof, type Report } from '../../lib/cli/bench-report'
import type { Device, OperationTime } from '../../lib/types'

const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-scaling-'))
const tool = path.resolve(__dirname, '..', 'bench', 'scaling.mjs')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const operation = (operation: string, calls: number, ms: number, gflop: number, gigabytes: number): OperationTime => {
  return { operation, calls, ms, fastestMs: ms / calls / 2, gflop, gigabytes }
}
const conv = operation('conv', 10, 100, 40, 0.1)
const norm = operation('norm', 20, 50, 0, 0.4)

const report = {
  model: 'm',
  device: 'cpu',
  precision: 'fast',
  width: 512,
  height: 512,
  evaluations: 2,
  threads: 1,
  dtypes: { unet: 'f16', vae: 'f16' },
  kernels: { operations: 'fused', float32: 'avx512', fast: 'avx512_bf16', int8: 'avx512_vnni', rows: 'avx512' },
  peak: [
    { format: 'f32', instructions: 'avx512', gflops: 250 },
    { format: 'bf16', instructions: 'avx512_bf16', gflops: 500 },
  ],
  bandwidth: [
    { bytes: 16384, gigabytesPerSecond: 300 },
    { bytes: 2 ** 28, gigabytesPerSecond: 10 },
  ],
  stages: [{ stage: 'load', ms: 3 }],
  operations: { step: [conv, norm], decode: [conv] },
  peakRssBytes: 1e9,
} as unknown as Report

test('the roof of an operation is the larger time of its work and its bytes', () => {
  expect(roof(conv, 500, 10)).toEqual({ byWork: 80, byBytes: 10 })
  expect(roof(norm, 500, 10)).toEqual({ byWork: 0, byBytes: 40 })
  expect(roof(conv, 0, 0)).toEqual({ byWork: 0, byBytes: 0 }) // a GPU's peak is not measured
})

test('the report prints bandwidths, and the share of its roof that each operation reaches', () => {
  const lines = render(report).split('\n')
  expect(lines[0]).toBe('m, 512x512, fast, guided (batch 2), on cpu')
  expect(lines.filter((line) => line.startsWith('  read'))).toEqual(['  read 16 KiB           300 GB/s', '  read 256 MiB           10 GB/s'])
  expect(lines.find((line) => /x {2}conv/.test(line))).toMatch(/400 GFLOP\/s\s+1\.0 GB\/s\s+80% w$/)
  expect(lines.find((line) => /x {2}norm/.test(line))).toMatch(/norm\s+8\.0 GB\/s\s+80% b$/)
})

describe('the memory taken of a device', () => {
  const gpu = (id: string, memoryFree: number, memoryTotal = 8e9): Device => ({ id, type: 'vulkan', name: 'a GPU', memoryTotal, memoryFree })
  /** After samples of vulkan:1, whose driver tells these numbers of free bytes, the first one before the load. */
  const measured = async (free: number[], total?: number) => {
    const left = [...free]
    const taken = await deviceMemory(false, () => Promise.resolve([gpu('vulkan:0', 1e9 * left.length), gpu('vulkan:1', left.shift()!, total)]))
    while (left.length > 0) await taken.sample('vulkan:1')
    return taken.peak()
  }

  test('is the most after any sample, of this device alone', async () => {
    expect(await measured([7e9, 6e9, 4e9, 5e9])).toBe(3e9)
  })

  test('is unknown where the driver does not tell how much is in use', async () => {
    expect(await measured([8e9, 8e9, 8e9])).toBeUndefined()
    expect(await measured([0, 0], 0)).toBeUndefined()
    expect(await measured([6e9, 7e9])).toBeUndefined() // another program gave some back
  })

  test('is not measured on the CPU, and no device is listed for it', async () => {
    const list = jest.fn(() => Promise.resolve([gpu('cpu', 1e9)]))
    const taken = await deviceMemory(true, list)
    await taken.sample('cpu')
    expect(taken.peak()).toBeUndefined()
    expect(list).not.toHaveBeenCalled()
  })
})

describe('the scaling model', () => {
  const run = (value: object, ...args: string[]) => {
    const file = path.join(folder, 'one.json')
    writeFileSync(file, JSON.stringify(value))
    return spawnSync(process.execPath, [tool, file, ...args], { encoding: 'utf8' })
  }

  test('divides work by the cores, and bytes by a bandwidth that ends', () => {
    const rows = JSON.parse(run(report, '--memory', '40', '--json').stdout) as {
      cores: number
      stepMs: number
      decodeMs: number
      memoryShare: number
    }[]
    expect(rows.map(({ cores }) => cores)).toEqual([1, 2, 4, 8, 16])
    // Fastest calls: 50 ms of convolutions, 25 ms of norms. On 2 cores: 25 ms against 5, 12.5 against 20, and 10 microseconds a call.
    expect(rows[0]).toEqual({ cores: 1, stepMs: 75, decodeMs: 50, memoryShare: 0 })
    expect(rows[1]!.stepMs).toBeCloseTo(25 + 0.1 + 20 + 0.2, 9)
    expect(rows[1]!.memoryShare).toBeCloseTo(20.2 / 45.3, 9)
    // Above 4 cores memory gets no faster.
    expect(rows[3]!.stepMs).toBeCloseTo(6.25 + 0.1 + 10 + 0.2, 9)
    expect(rows[4]!.stepMs).toBeCloseTo(3.125 + 0.1 + 10 + 0.2, 9)
  })

  test('compares its prediction with a run on more threads', () => {
    const two = path.join(folder, 'two.json')
    writeFileSync(two, JSON.stringify({ ...report, threads: 2 }))
    const { stdout, status } = run(report, '--memory', '40', '--check', two)
    expect(status).toBe(0)
    expect(stdout).toMatch(/step on 2 cores: predicted\s+0\.05, measured\s+0\.07, 1\.66 of it/)
  })

  test('refuses reports without a profile, of more threads, and wrong flags', () => {
    for (const wrong of [
      { ...report, operations: undefined },
      { ...report, threads: 2 },
      { ...report, bandwidth: [] },
    ]) {
      const { status, stderr } = run(wrong)
      expect([status, stderr]).toEqual([1, expect.stringContaining('--threads 1 --profile --json')])
    }
    expect(run(report, '--memory', '0').status).toBe(1)
    expect(() => execFileSync(process.execPath, [tool], { stdio: 'pipe' })).toThrow(/usage: scaling\.mjs/)
  })
})
