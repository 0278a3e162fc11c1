import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DeviceError } from '../../lib/errors'
import { findGpuLibrary, gpuKinds, missingLibrary, prepareDevice, probeGpuLibrary } from '../../lib/model/gpu'

let root: string
const suffix = { win32: '.dll', darwin: '.dylib' }[process.platform as string] ?? '.so'
const system = `${process.platform}-${process.arch}`

const variableOf = (kind: string): string => `LATENT_${kind.toUpperCase().replace('-', '_')}_LIBRARY`

function write(file: string, text = ''): string {
  const full = path.join(root, file)
  mkdirSync(path.dirname(full), { recursive: true })
  writeFileSync(full, text)
  return full
}

beforeEach(() => {
  root = mkdtempSync(path.join(os.tmpdir(), 'latent-gpu-'))
  write('package.json', '{}')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

describe.each(gpuKinds)('findGpuLibrary(%s)', (kind) => {
  const file = `latent-${kind}${suffix}`
  const variable = variableOf(kind)
  const folder = `node_modules/@node-latent-diffusion/${system}-${kind}`

  test('finds nothing on a machine without it', () => {
    expect(findGpuLibrary(kind, root, {}, '1.2.3')).toBeUndefined()
  })

  test('the order is: environment variable, file next to the binary, package of the same version', () => {
    write(`${folder}/package.json`, JSON.stringify({ version: '1.2.3' }))
    const packaged = write(`${folder}/${file}`)
    expect(findGpuLibrary(kind, root, {}, '1.2.3')).toEqual({ path: packaged })
    const built = write(`build/Release/${file}`)
    expect(findGpuLibrary(kind, root, {}, '1.2.3')).toEqual({ path: built })
    const given = write('elsewhere.so')
    expect(findGpuLibrary(kind, root, { [variable]: given }, '1.2.3')).toEqual({ path: given })
  })

  test('a missing library or another version is rejected with the reason', () => {
    write(`${folder}/package.json`, JSON.stringify({ version: '1.2.4' }))
    write(`${folder}/${file}`)
    expect(findGpuLibrary(kind, root, {}, '1.2.3')?.refused).toMatch(/version 1\.2\.4 and node-latent-diffusion 1\.2\.3; install .*@1\.2\.3/)
    write(`${folder}/package.json`, JSON.stringify({ version: '1.2.3' }))
    rmSync(path.join(root, folder, file))
    expect(findGpuLibrary(kind, root, {}, '1.2.3')?.refused).toMatch(/install it again/)
    expect(findGpuLibrary(kind, root, { [variable]: path.join(root, 'none.so') }, '1.2.3')?.refused).toMatch(/does not exist/)
  })
})

describe('a library that is not installed', () => {
  test('the reason says how to get it on this system', () => {
    const how = (title: string, kind: string) => `the ${title} is not installed: compile it with "latent build --gpu ${kind}" (docs/gpu.md)`
    for (const platform of ['win32', 'linux', 'darwin'] as const) expect(missingLibrary('vulkan', platform)).toBe(how('Vulkan backend', 'vulkan'))
    expect(missingLibrary('cuda', 'linux')).toBe(how('CUDA engine', 'cuda'))
    expect(missingLibrary('ggml-cuda', 'linux')).toBe(how('CUDA backend of ggml', 'ggml-cuda'))
    expect(missingLibrary('metal', 'darwin')).toBe(how('Metal backend', 'metal'))
    expect(missingLibrary('metal', 'linux')).toBe('Metal exists only on macOS')
    for (const kind of ['cuda', 'ggml-cuda'] as const) expect(missingLibrary(kind, 'darwin')).toBe('CUDA does not exist on macOS')
  })

  test('a device of its kind is refused with it; the CPU and unknown kinds are not its business', async () => {
    const absent = process.platform === 'darwin' ? 'cuda' : 'metal'
    const error = await prepareDevice(`${absent}:0`).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(DeviceError)
    expect(error).toMatchObject({
      message: expect.stringMatching(new RegExp(`^There is no device "${absent}:0": .*macOS\\. getDevices\\(\\) lists the devices\\.$`)),
      details: { device: `${absent}:0` },
    })
    for (const device of ['cpu', 'auto', 'quantum']) await expect(prepareDevice(device)).resolves.toBeUndefined()
  })
})

describe('probeGpuLibrary', () => {
  const say = 'const say = (message) => process.stdout.write(JSON.stringify(message) + "\\n")\n'
  const probe = (script: string, timeout?: number) => probeGpuLibrary('vulkan', 'engine.so', timeout, write('probe.js', say + script))
  const started = 'say({ started: true })\n'
  const good = { devices: new Map<string, string>() }

  /** Tests with a script that hangs. Its start counts as silence too: the limit grows until it was heard. */
  async function probeHanging(script: string, isHeard: (probed: Awaited<ReturnType<typeof probe>>) => boolean) {
    for (let limit = 1000; ; limit *= 2) {
      const probed = await probe(script, limit)
      if (isHeard(probed) || limit > 30_000) return { ...probed, reason: `did not answer within ${limit / 1000} seconds` }
    }
  }

  test('uses the answer of the child process', async () => {
    expect(await probe("if (process.argv[2] === 'vulkan' && process.argv[3] === 'engine.so') say({ done: true })")).toEqual(good)
    expect(await probe("console.log('a line of the driver'); say({ done: true })")).toEqual(good)
    expect(await probe("say({ started: true }); say({ failed: 'no binary' }); process.exit(1)")).toMatchObject({
      refused: expect.stringMatching(/Vulkan backend.*no binary/),
    })
  })

  test('the child process knows no other library', async () => {
    const before = { ...process.env }
    for (const kind of gpuKinds) process.env[variableOf(kind)] = '/crashes.so'
    try {
      expect(await probe('if (!Object.keys(process.env).some((name) => /^LATENT_.*_LIBRARY$/.test(name))) say({ done: true })')).toEqual(good)
    } finally {
      for (const kind of gpuKinds) {
        const name = variableOf(kind)
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
  })

  test('a child process that crashes, fails or hangs is reported, and this process survives', async () => {
    const refusal = async (script: string) => {
      const { refused, untested } = await probe(started + script)
      expect(untested).toBeUndefined()
      return refused
    }
    expect(await refusal('process.abort()')).toMatch(process.platform === 'win32' ? /Vulkan backend.*exit code/ : /Vulkan backend.*SIGABRT/)
    expect(await refusal('process.exit(3)')).toMatch(/exit code 3/)
    expect(await refusal('')).toMatch(/ended, in the test process/)
    const { refused, untested, reason } = await probeHanging(`${started} setInterval(() => {}, 1000)`, (probed) => !probed.untested)
    expect({ refused, untested }).toEqual({ refused: expect.stringContaining(reason) as string, untested: undefined })
  })

  test('a device that crashes or hangs is left out, and the others are tested', async () => {
    const each = (failure: string) => `${started}
      for (const device of ['vulkan:0', 'vulkan:1', 'vulkan:2']) {
        if (process.argv[4].split(',').includes(device)) continue
        say({ device })
        if (device === 'vulkan:1') { ${failure} }
        say(device === 'vulkan:2' ? { device, refused: 'wrong numbers' } : { device, passed: true })
      }
      say({ done: true })`
    const { refused, devices } = await probe(each('process.abort()'))
    expect(refused).toBeUndefined()
    expect([...devices.keys()]).toEqual(['vulkan:0', 'vulkan:1', 'vulkan:2'])
    expect(devices.get('vulkan:0')).toBe('')
    expect(devices.get('vulkan:1')).toMatch(/crashed .* small graph/)
    expect(devices.get('vulkan:2')).toBe('wrong numbers')
    const hung = await probeHanging(each('for (;;);'), (probed) => probed.devices.has('vulkan:1'))
    expect(hung.devices.get('vulkan:1')).toContain(hung.reason)
  })

  test('a library that crashes with every device is refused', async () => {
    const { refused, devices } = await probe(
      started + "say({ device: 'vulkan:' + process.argv[4].split(',').filter(Boolean).length }); process.abort()",
    )
    expect(devices.size).toBe(8)
    expect(refused).toMatch(/crashed .*8 devices/)
  })

  test('the end of what the driver wrote is in the reason', async () => {
    const { refused } = await probe(`${started} process.stderr.write('ICD: no\\nsuch symbol\\n', () => process.exit(9))`)
    expect(refused).toMatch(/"ICD: no such symbol", in the test process.*update the driver$/)
  })

  test('a test that could not run says nothing about the driver', async () => {
    const none = await probeGpuLibrary('vulkan', 'engine.so', 1000, path.join(root, 'none.js'))
    expect(none).toMatchObject({ untested: true, refused: expect.stringMatching(/could not be tested: .*none\.js is missing; install .* again$/) })
    const broken = await probe("throw new Error('not our fault')")
    expect(broken).toMatchObject({
      untested: true,
      refused: expect.stringMatching(/could not be tested: .*exit code 1.*before it loaded the library$/),
    })
    const slow = await probe('setInterval(() => {}, 1000)', 300)
    expect(slow).toMatchObject({ untested: true, refused: expect.stringMatching(/could not be tested: .*did not answer within 0\.3 seconds/) })
    const { execPath } = process
    process.execPath = path.join(root, 'none')
    try {
      expect(await probe('')).toMatchObject({ untested: true, refused: expect.stringMatching(/could not be tested: no process could be started/) })
    } finally {
      process.execPath = execPath
    }
  })

  test('the child process has no options of this one', async () => {
    process.env.NODE_OPTIONS = '--no-warnings'
    try {
      expect(await probe('if (process.env.NODE_OPTIONS === undefined) say({ done: true })')).toEqual(good)
    } finally {
      delete process.env.NODE_OPTIONS
    }
  })

  test('a signal that aborts ends the wait and the child process', async () => {
    const file = write('hang.js', `${say} setInterval(() => {}, 1000)`)
    const controller = new AbortController()
    setTimeout(() => controller.abort('stop'), 300)
    await expect(probeGpuLibrary('vulkan', 'engine.so', 60_000, file, controller.signal)).rejects.toBe('stop')
    await expect(prepareDevice('vulkan:0', AbortSignal.abort('before'))).rejects.toBe('before')
  })
})
