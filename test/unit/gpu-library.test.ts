import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findGpuLibrary, gpuKinds, probeGpuLibrary } from '../../lib/model/gpu'

let root: string
const suffix = { win32: '.dll', darwin: '.dylib' }[process.platform as string] ?? '.so'
const system = `${process.platform}-${process.arch}`

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
  const variable = `LATENT_${kind.toUpperCase()}_LIBRARY`
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

describe('probeGpuLibrary', () => {
  const say = 'const say = (message) => process.stdout.write(JSON.stringify(message) + "\\n")\n'
  const probe = (script: string, timeout?: number) => probeGpuLibrary('vulkan', 'engine.so', timeout, write('probe.js', say + script))
  const good = { devices: new Map<string, string>() }

  test('uses the answer of the child process', async () => {
    expect(await probe("if (process.argv[2] === 'vulkan' && process.argv[3] === 'engine.so') say({ done: true })")).toEqual(good)
    expect(await probe("console.log('a line of the driver'); say({ done: true })")).toEqual(good)
    expect(await probe("say({ failed: 'no binary' }); process.exit(1)")).toMatchObject({
      refused: expect.stringMatching(/Vulkan backend.*no binary/),
    })
  })

  test('the child process knows no other library', async () => {
    const before = { ...process.env }
    for (const kind of gpuKinds) process.env[`LATENT_${kind.toUpperCase()}_LIBRARY`] = '/crashes.so'
    try {
      expect(await probe('if (!Object.keys(process.env).some((name) => /^LATENT_.*_LIBRARY$/.test(name))) say({ done: true })')).toEqual(good)
    } finally {
      for (const kind of gpuKinds) {
        const name = `LATENT_${kind.toUpperCase()}_LIBRARY`
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
  })

  test('a child process that crashes, fails or hangs is reported, and this process survives', async () => {
    const refusal = async (script: string, timeout?: number) => (await probe(script, timeout)).refused
    expect(await refusal('process.abort()')).toMatch(process.platform === 'win32' ? /Vulkan backend.*exit code/ : /Vulkan backend.*SIGABRT/)
    expect(await refusal('process.exit(3)')).toMatch(/exit code 3/)
    expect(await refusal('')).toMatch(/ended in the test process/)
    expect(await refusal('setInterval(() => {}, 1000)', 1000)).toMatch(/did not answer within 1 seconds/)
  })

  test('a device that crashes or hangs is left out, and the others are tested', async () => {
    const each = (failure: string) => `
      for (const device of ['vulkan:0', 'vulkan:1', 'vulkan:2']) {
        if (process.argv[4].split(',').includes(device)) continue
        say({ device })
        if (device === 'vulkan:1') { ${failure} }
        say(device === 'vulkan:2' ? { device, refused: 'wrong numbers' } : { device, passed: true })
      }
      say({ done: true })`
    const { refused, devices } = await probe(each('process.abort()'))
    expect(refused).toBeUndefined()
    expect([...devices.keys()]).toEqual(['vulkan:1', 'vulkan:2'])
    expect(devices.get('vulkan:1')).toMatch(/crashed .* small graph/)
    expect(devices.get('vulkan:2')).toBe('wrong numbers')
    const hung = await probe(each('for (;;);'), 1000)
    expect(hung.devices.get('vulkan:1')).toMatch(/did not answer within 1 seconds/)
  })

  test('a library that crashes with every device is refused', async () => {
    const { refused, devices } = await probe("say({ device: 'vulkan:' + process.argv[4].split(',').filter(Boolean).length }); process.abort()")
    expect(devices.size).toBe(8)
    expect(refused).toMatch(/crashed .*8 devices/)
  })
})
