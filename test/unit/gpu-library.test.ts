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
  const probe = (script: string, timeout?: number) => probeGpuLibrary('vulkan', 'engine.so', timeout, write('probe.js', script))

  test('uses the answer of the child process', async () => {
    expect(await probe("process.stdout.write(process.argv[2] === 'vulkan' && process.argv[3] === 'engine.so' ? 'ok\\n' : '')")).toBeUndefined()
  })

  test('the child process knows no other library', async () => {
    const before = { ...process.env }
    for (const kind of gpuKinds) process.env[`LATENT_${kind.toUpperCase()}_LIBRARY`] = '/crashes.so'
    try {
      expect(
        await probe("process.stdout.write(Object.keys(process.env).some((name) => /^LATENT_.*_LIBRARY$/.test(name)) ? '' : 'ok')"),
      ).toBeUndefined()
    } finally {
      for (const kind of gpuKinds) {
        const name = `LATENT_${kind.toUpperCase()}_LIBRARY`
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
  })

  test('a child process that crashes, fails or hangs is reported, and this process survives', async () => {
    expect(await probe('process.abort()')).toMatch(process.platform === 'win32' ? /Vulkan backend.*exit code/ : /Vulkan backend.*SIGABRT/)
    expect(await probe('process.exit(3)')).toMatch(/exit code 3/)
    expect(await probe('setInterval(() => {}, 1000)', 1000)).toMatch(/did not answer within 1 seconds/)
  })
})
