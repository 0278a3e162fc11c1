/** Finding the binary, and the errors that say why it was not found. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { BinaryNotFoundError } from '../../lib/errors'
import type { NativeAddon } from '../../lib/native/contract'
import { candidates, chooseBinary, loadAddon } from '../../lib/native/load'
import { isInArchive, packageRoot } from '../../lib/native/package-root'
import { platformName, platformPackage, requirePlatformPackage, type LoadedPackage } from '../../lib/native/platform-package'
import { temporaryFolder } from '../helpers/golden'

const platform = `${process.platform}-${process.arch}`

describe('names of prebuilt binaries', () => {
  test('binaries for another C library are ignored; the most specific name is preferred', () => {
    const files = ['latent.node', 'latent.glibc.node', 'latent.musl.node', 'notes.txt']
    expect(chooseBinary(files, 'glibc')).toBe('latent.glibc.node')
    expect(chooseBinary(files, 'musl')).toBe('latent.musl.node')
    expect(chooseBinary(files, undefined)).toBe('latent.node')
    expect(chooseBinary(['latent.musl.node'], 'glibc')).toBeUndefined()
    expect(chooseBinary(['latent.napi.node'], 'glibc')).toBe('latent.napi.node')
    expect(chooseBinary([], 'glibc')).toBeUndefined()
  })
})

describe('locations', () => {
  test('the package folder of dist/native and lib/native; next to an asar archive', () => {
    const root = path.resolve('some', 'package')
    expect(packageRoot(path.join(root, 'dist', 'native'))).toBe(root)
    const packed = path.resolve('resources', 'app.asar', 'node_modules', 'p', 'dist', 'native')
    expect(packageRoot(packed)).toBe(path.resolve('resources', 'app.asar.unpacked', 'node_modules', 'p'))
    expect([isInArchive(packed), isInArchive(root)]).toEqual([true, false])
  })

  test('a local build takes precedence over a prebuilt binary, the environment variable over both', () => {
    const { folder, remove } = temporaryFolder()
    try {
      const prebuilt = path.join(folder, 'prebuilds', platform)
      mkdirSync(prebuilt, { recursive: true })
      writeFileSync(path.join(prebuilt, 'latent.node'), '')
      expect(candidates(folder, {}).map((one) => one.exists)).toEqual([false, true])
      mkdirSync(path.join(folder, 'build', 'Release'), { recursive: true })
      writeFileSync(path.join(folder, 'build', 'Release', 'latent.node'), '')
      expect(candidates(folder, {}).map((one) => one.path)).toEqual([
        path.join(folder, 'build', 'Release', 'latent.node'),
        path.join(prebuilt, 'latent.node'),
      ])
      const given = path.resolve('elsewhere.node')
      expect(candidates(folder, { NODE_LATENT_DIFFUSION_BINARY: given })).toEqual([{ path: given, exists: false }])
    } finally {
      remove()
    }
  })
})

describe('the platform package', () => {
  test('its name consists of system, processor and C library', () => {
    expect(platformName('linux', 'x64', 'glibc')).toBe('linux-x64')
    expect(platformName('linux', 'arm64', 'musl')).toBe('linux-arm64-musl')
    expect(platformName('darwin', 'arm64', undefined)).toBe('darwin-arm64')
  })

  test('each name has one require() call, and there are none for other systems', () => {
    for (const name of ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-arm64-musl', 'linux-x64', 'linux-x64-musl', 'win32-arm64', 'win32-x64']) {
      const { addon, error } = requirePlatformPackage(name)
      // None of them is installed in a clone; the error is that of the one that was asked for.
      expect(addon).toBeUndefined()
      expect(String(error)).toContain(`@node-latent-diffusion/${name}'`)
    }
    expect(requirePlatformPackage('plan9-x64')).toEqual({})
  })
})

describe('without a binary that loads', () => {
  /** The error of a loader whose package answers with `loaded`; `binary` is the text of a file in place of a prebuilt binary. */
  function failure(loaded: LoadedPackage, binary?: string): BinaryNotFoundError {
    const { folder, remove } = temporaryFolder()
    try {
      if (binary !== undefined) {
        mkdirSync(path.join(folder, 'prebuilds', platform), { recursive: true })
        writeFileSync(path.join(folder, 'prebuilds', platform, 'latent.node'), binary)
      }
      loadAddon(folder, {}, () => loaded)
    } catch (error) {
      expect(error).toBeInstanceOf(BinaryNotFoundError)
      return error as BinaryNotFoundError
    } finally {
      remove()
    }
    throw new Error('a binary was loaded')
  }
  const coded = (code: string, message: string) => Object.assign(new Error(message), { code })
  const missing = coded('MODULE_NOT_FOUND', `Cannot find module '${platformPackage()}'`)

  test('the error lists what was tried and how to build', () => {
    const { code, message, details } = failure({ error: missing }, 'not a library')
    expect(code).toBe('ERR_BINARY_NOT_FOUND')
    expect(message).toContain('npx latent build')
    expect(message).toContain(path.join('build', 'Release'))
    const { tried } = details as { tried: { path: string; problem: string }[] }
    expect(tried.map(({ path: where }) => path.basename(where))).toEqual(['*.node', 'latent.node', platformName()])
    expect(tried[0]!.problem).toBe('not there')
    expect(tried[1]!.problem).not.toBe('not there')
    expect(tried[2]!.problem).toBe('not installed')
  })

  test('a missing package is named with the install command', () => {
    expect(failure({ error: missing }).message).toContain(`npm install --save-optional ${platformPackage()}@`)
    expect(failure({}).message).toContain(`There is no prebuilt binary for ${platform}.`)
    expect(failure({}).message).not.toContain('--save-optional')
  })

  // What the runtimes say: Node with --permission, Deno without a flag, the loader of Linux on an old system.
  test.each([
    [coded('ERR_DLOPEN_DISABLED', 'Cannot load native addon because loading addons is disabled.'), '--allow-addons', false],
    [coded('ERR_ACCESS_DENIED', 'Access to this API has been restricted.'), '--allow-fs-read', false],
    [new Error('Requires ffi access to "/x/latent.node", run again with the --allow-ffi flag'), '--allow-ffi', false],
    [new Error('Requires sys access to "cpus", run again with the --allow-sys flag'), '--allow-sys', false],
    [coded('ERR_DLOPEN_FAILED', "/lib/libc.so.6: version `GLIBC_2.38' not found (required by latent.node)"), 'The binary needs GLIBC_2.38', true],
    [coded('ERR_DLOPEN_FAILED', 'latent.node: invalid ELF header'), 'for another system', true],
  ])('%s is explained', (error, advice, compile) => {
    const { message } = failure({ error })
    expect(message).toContain(advice)
    expect(message.includes('npx latent build')).toBe(compile)
    expect(message).not.toContain('is not installed')
  })

  test('the error of a binary about an unsupported processor is passed on', () => {
    const verdict = coded('ERR_DEVICE', 'this processor has no AVX2')
    expect(() => loadAddon('nowhere', {}, () => ({ error: verdict }))).toThrow(verdict)
  })

  test("the environment's word stands alone", () => {
    const given = path.resolve('elsewhere.node')
    const loaded = { addon: {} as NativeAddon }
    expect(() => loadAddon('nowhere', { NODE_LATENT_DIFFUSION_BINARY: given }, () => loaded)).toThrow(given)
  })
})
