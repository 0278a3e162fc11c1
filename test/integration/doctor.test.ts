/** Checks of devices in processes of their own: the CPU, and a machine with GPUs whose driver computes wrong numbers, crashes, hangs or has no memory. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { probeGpuLibrary } from '../../lib/model/gpu'
import { checkDevices, type DeviceCheck, type DeviceReport } from '../../lib/index'
import { isUnsupported } from '../../lib/api/check-devices-child'
import { renderReport, withoutHome } from '../../lib/cli/doctor'
import { fakeGpuLibrary } from '../helpers/fake-gpu'

const program = path.join(__dirname, '..', '..', 'dist', 'cli', 'main.js')
const rows = (checks: DeviceCheck[], name: RegExp) => checks.filter(({ check }) => name.test(check))

/** Runs `latent` with the library and its failure. */
function latent(failure: string | undefined, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env: NodeJS.ProcessEnv = { ...process.env, LATENT_VULKAN_LIBRARY: fakeGpuLibrary, LATENT_FAKE_GPUS: '3' }
  if (failure === undefined) delete env.LATENT_FAKE_FAILURE
  else env.LATENT_FAKE_FAILURE = failure
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { env, maxBuffer: 1e8 }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
  })
}

async function doctor(failure: string | undefined, ...args: string[]): Promise<{ code: number; report: DeviceReport; checks: DeviceCheck[] }> {
  const { code, stdout } = await latent(failure, 'doctor', '--json', '--device', 'vulkan:1', ...args)
  const report = JSON.parse(stdout) as DeviceReport
  return { code, report, checks: report.devices[0]?.checks ?? [] }
}

describe('checkDevices()', () => {
  test('the CPU passes every check', async () => {
    const seen: string[] = []
    const report = await checkDevices({ devices: ['cpu'], onCheck: (device, { check }) => seen.push(`${device} ${check}`) })
    const [{ checks, passed, device }] = report.devices as [DeviceReport['devices'][0]]
    expect(checks.filter((check) => !check.passed)).toEqual([])
    expect(passed && report.passed).toBe(true)
    expect(device).toMatchObject({ id: 'cpu', type: 'cpu' })
    expect(seen).toEqual(checks.map(({ check }) => `cpu ${check}`))
    for (const check of [
      'linear f32',
      'linear q4_k',
      'conv q8_0',
      'attention 160',
      'group norm',
      'output gain',
      'rotation 40',
      'butterfly 16',
      'kronecker',
      'image, exact',
      'image, fast',
    ])
      expect(rows(checks, new RegExp(`^${check}$`))).toHaveLength(1)
    for (const { error, bound, ms } of rows(checks, /^(?!image)/)) expect(error! <= bound! && ms! > 0).toBe(true)
    expect(rows(checks, /image, exact/)[0]).toMatchObject({ differing: 0, bytes: 64 * 64 * 3, psnr: null })
    const text = renderReport(report)
    expect(text).toContain(report.cpu.brand)
    expect(text).toMatch(/^ {2}linear f32 +ok +error \d\.\de-\d+ \(at most 0\.00001\), \d/m)
    expect(text).toMatch(new RegExp(`all ${checks.length} checks passed`))
  })

  test('an operation that the networks of a device do not use is skipped, and nothing else is', () => {
    const refusal = (details: object) => Object.assign(new Error('no'), { details })
    expect(isUnsupported(refusal({ device: 'cuda:0', skipped: 'kronecker' }), 'kronecker')).toBe(true)
    for (const error of [refusal({ skipped: 'conv f32' }), refusal({ device: 'cuda:0' }), new Error('kronecker'), 'kronecker'])
      expect(isUnsupported(error, 'kronecker')).toBe(false)
  })

  test('a device that does not exist, and an abort', async () => {
    await expect(checkDevices({ devices: ['vulkan:99'] })).rejects.toThrow(/no device 'vulkan:99'.*cpu/)
    const absent = process.platform === 'darwin' ? 'cuda' : 'metal'
    await expect(checkDevices({ devices: [absent] })).rejects.toThrow(new RegExp(`no device '${absent}': .*macOS; getDevices\\(\\) lists .*cpu$`))
    await expect(checkDevices({ signal: AbortSignal.abort('stop') })).rejects.toBe('stop')
    const controller = new AbortController()
    const running = checkDevices({ devices: ['cpu'], signal: controller.signal, onCheck: () => controller.abort('stop') })
    await expect(running).rejects.toBe('stop')
  })

  test('what onCheck throws ends the checks and rejects the call; a rejected promise does too', async () => {
    let calls = 0
    const thrown = new RangeError('no')
    const check = (onCheck: () => unknown) => checkDevices({ devices: ['cpu'], images: false, onCheck })
    await expect(
      check(() => {
        ++calls
        throw thrown
      }),
    ).rejects.toBe(thrown)
    expect(calls).toBe(1)
    await expect(check(() => Promise.reject(thrown))).rejects.toBe(thrown)
  })

  test('the report has no home folder', () => {
    const report = { passed: true, size: 3, none: null, devices: [{ refused: '"/home/a/x.so" of (/home/a/y.so), not /home/ab/z' }] }
    expect(withoutHome(report, '/home/a')).toEqual({ ...report, devices: [{ refused: '"~/x.so" of (~/y.so), not /home/ab/z' }] })
    for (const home of ['', '/']) expect(withoutHome(report, home)).toEqual(report)
  })

  test('nor has the output of latent devices --check', async () => {
    const home = mkdtempSync(path.join(os.tmpdir(), 'latent-home-'))
    try {
      const env = { ...process.env, HOME: home, USERPROFILE: home, LATENT_VULKAN_LIBRARY: path.join(home, 'none.so') }
      for (const flags of [[], ['--json']]) {
        const stdout = await new Promise<string>((resolve) =>
          execFile(process.execPath, [program, 'devices', '--check', ...flags], { env }, (_, text) => resolve(text)),
        )
        expect(stdout).toMatch(/LATENT_VULKAN_LIBRARY: ~[/\\]+none\.so does not exist/)
        expect(stdout).not.toContain(home)
      }
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })

  test('devices that are named twice are checked once; no devices are an error', async () => {
    expect((await checkDevices({ devices: ['cpu', 'cpu'], images: false })).devices).toHaveLength(1)
    await expect(checkDevices({ devices: [] })).rejects.toThrow(/devices is empty/)
  })

  test('a driver that prints without an end of line hides no message of the test process', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-doctor-'))
    try {
      const script = path.join(folder, 'probe.js')
      const probe = path.join(__dirname, '..', '..', 'dist', 'native', 'gpu-probe.js')
      writeFileSync(script, `process.stdout.write('warning: '); require(${JSON.stringify(probe)})`)
      expect(await probeGpuLibrary('vulkan', path.join(folder, 'none.so'), 60_000, script)).toEqual({ devices: new Map() })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

if (!fakeGpuLibrary) {
  test.skip('skipped: the fake GPU library is not built (npm run test:native -- --only backend)', () => undefined)
} else {
  describe('latent doctor with a GPU', () => {
    test('that is sound', async () => {
      const { code, report, checks } = await doctor(undefined)
      expect(checks.filter(({ passed }) => !passed)).toEqual([])
      expect({ code, passed: report.passed, libraries: report.libraries }).toEqual({
        code: 0,
        passed: true,
        libraries: [{ kind: 'vulkan', path: fakeGpuLibrary }],
      })
      expect(report.devices[0]!.device.driver).toBe('driver of a GPU made of the CPU')
      expect(rows(checks, /image, exact/)[0]!.largest).toBeLessThanOrEqual(2)
    })

    test('that computes wrong numbers', async () => {
      const { code, checks } = await doctor('wrong:1:SOFT_MAX')
      expect(code).toBe(1)
      const wrong = rows(checks, /attention/)
      expect(wrong).toHaveLength(5)
      for (const { passed, error } of wrong) expect(!passed && error! > 0.1).toBe(true)
      expect(rows(checks, /image/).every(({ passed }) => !passed)).toBe(true)
      expect(rows(checks, /^(?!attention|image)/).every(({ passed }) => passed)).toBe(true)
    })

    test('that crashes: the other checks still run', async () => {
      const { code, checks } = await doctor('crash:1:NORM')
      expect(code).toBe(1)
      expect(rows(checks, /layer norm/)).toEqual([{ check: 'layer norm', passed: false, reason: expect.stringMatching(/crashed/) }])
      expect(rows(checks, /image/).map(({ reason }) => reason)).toEqual([expect.stringMatching(/crashed/), expect.stringMatching(/crashed/)])
      expect(rows(checks, /^(?!layer norm|image)/).every(({ passed }) => passed)).toBe(true)
    })

    test('that crashes again and again: it gives up', async () => {
      const { code, report, checks } = await doctor('crash:1:SOFT_MAX')
      expect(code).toBe(1)
      expect(rows(checks, /attention/).every(({ reason }) => /crashed/.test(reason!))).toBe(true)
      expect(report.devices[0]!.problem).toMatch(/stopped after 5 failures/)
    })

    test('that hangs', async () => {
      const { code, checks } = await doctor('hang:1:NORM', '--timeout', '10')
      expect(code).toBe(1)
      expect(rows(checks, /layer norm/)[0]!.reason).toMatch(/did not answer within 10 seconds/)
      expect(rows(checks, /attention/).every(({ passed }) => passed)).toBe(true)
    })

    test('that has no memory, or is lost', async () => {
      const { code, checks } = await doctor('memory:1:NORM')
      expect(code).toBe(1)
      expect(rows(checks, /layer norm/)[0]!.reason).toMatch(/OutOfDeviceMemory.*\(ERR_OUT_OF_MEMORY\)/)
      expect(rows(checks, /attention/).every(({ passed }) => passed)).toBe(true)
      const lost = await doctor('lost:1:NORM')
      expect(rows(lost.checks, /layer norm/)[0]!.reason).toMatch(/ErrorDeviceLost.*\(ERR_DEVICE\)/)
      expect(rows(lost.checks, /attention/).every(({ passed }) => passed)).toBe(true)
    })

    test('the JSON of latent doctor has no home folder', async () => {
      const home = path.dirname(path.dirname(fakeGpuLibrary!))
      const before = { HOME: process.env.HOME, USERPROFILE: process.env.USERPROFILE }
      process.env.HOME = process.env.USERPROFILE = home
      try {
        const { report } = await doctor('crash:1:NONE')
        expect(report.libraries[0]!.path).toMatch(/^~/)
        expect(JSON.stringify(report)).not.toContain(`${home}${path.sep}`)
      } finally {
        Object.assign(process.env, before)
        for (const name of ['HOME', 'USERPROFILE'] as const) if (before[name] === undefined) delete process.env[name]
      }
    })

    test('latent devices --check', async () => {
      const sound = await latent(undefined, 'devices', '--check')
      expect(sound.code).toBe(0)
      expect(sound.stdout).toMatch(/^vulkan:2 .* all \d+ operations are right$/m)
      const wrong = await latent('wrong:1:NORM', 'devices', '--check')
      expect(wrong.code).toBe(1)
      expect(wrong.stdout).toMatch(/^vulkan:1 .*: wrong\n {2}layer norm +FAILED/m)
    })
  })

  describe('the first use of a GPU', () => {
    test.each([
      ['crash:1', /crashed .*SIGABRT.* test process, while computing a small graph/],
      ['wrong:1', /it computes wrong numbers in the test process \(linear f16: error 0\.20, at most 0\.003\); update the driver/],
      ['lost:1', /ErrorDeviceLost, in the test process; update the driver/],
    ])('%s: it is refused with the reason, the others and the CPU work', async (failure, reason) => {
      const { stdout } = await latent(failure, 'devices', '--json')
      const devices = JSON.parse(stdout) as { id: string; refused?: string }[]
      expect(devices.filter(({ refused }) => refused !== undefined)).toEqual([
        expect.objectContaining({ id: 'vulkan:1', refused: expect.stringMatching(reason) }),
      ])
      const refused = await latent(failure, 'generate', '--device', 'vulkan:1', '--steps', '1', 'a red circle')
      expect({ code: refused.code, stderr: refused.stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/vulkan:1.*cannot be used.*; update the driver\. Devices: vulkan:0, vulkan:2, cpu\. \(ERR_DEVICE\)/),
      })
      expect(refused.stderr).toMatch(reason)
      const all = await latent(failure, 'devices', '--check', '--json')
      const report = JSON.parse(all.stdout) as DeviceReport
      expect(report.devices.map(({ device, passed }) => [device.id, passed])).toEqual([
        ['vulkan:0', true],
        ['vulkan:2', true],
        ['cpu', true],
      ])
      expect({ code: all.code, passed: report.passed }).toEqual({ code: 1, passed: false })
    })

    test('memory that is in use now is no reason to refuse it', async () => {
      const { stdout } = await latent('memory:1', 'devices', '--json')
      expect((JSON.parse(stdout) as { refused?: string }[]).every(({ refused }) => refused === undefined)).toBe(true)
    })
  })
}
