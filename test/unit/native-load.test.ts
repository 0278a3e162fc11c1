/** Finding the binary, and the errors that say why it was not found. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { BinaryNotFoundError } from '../../lib/errors'
import { candidates, chooseBinary, loadAddon } from '../../lib/native/load'
import { packageRoot } from '../../lib/native/package-root'
import { temporaryFolder } from '../helpers/golden'

const platform = `${process.platform}-${process.arch}`

describe('names of prebuilt binaries', () => {
  test('those of another C library are passed over, the most exact name wins', () => {
    const files = ['latent.node', 'latent.glibc.node', 'latent.musl.node', 'notes.txt']
    expect(chooseBinary(files, 'glibc')).toBe('latent.glibc.node')
    expect(chooseBinary(files, 'musl')).toBe('latent.musl.node')
    expect(chooseBinary(files, undefined)).toBe('latent.node')
    expect(chooseBinary(['latent.musl.node'], 'glibc')).toBeUndefined()
    expect(chooseBinary(['latent.napi.node'], 'glibc')).toBe('latent.napi.node')
    expect(chooseBinary([], 'glibc')).toBeUndefined()
  })
})

describe('places', () => {
  test('the package of dist/native and of lib/native; beside an asar archive', () => {
    const root = path.resolve('some', 'package')
    expect(packageRoot(path.join(root, 'dist', 'native'))).toBe(root)
    const packed = path.resolve('resources', 'app.asar', 'node_modules', 'p', 'dist', 'native')
    expect(packageRoot(packed)).toBe(path.resolve('resources', 'app.asar.unpacked', 'node_modules', 'p'))
  })

  test('a build in the folder comes before a prebuilt binary, the environment before both', () => {
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

describe('without a binary that loads', () => {
  test('the error lists what was tried and how to build', () => {
    const { folder, remove } = temporaryFolder()
    try {
      const prebuilt = path.join(folder, 'prebuilds', platform)
      mkdirSync(prebuilt, { recursive: true })
      writeFileSync(path.join(prebuilt, 'latent.node'), 'not a library')
      let error: unknown
      try {
        loadAddon(folder, {})
      } catch (e) {
        error = e
      }
      expect(error).toBeInstanceOf(BinaryNotFoundError)
      const { code, message, details } = error as BinaryNotFoundError
      expect(code).toBe('ERR_BINARY_NOT_FOUND')
      expect(message).toContain('npx latent build')
      expect(message).toContain(path.join('build', 'Release'))
      const { tried } = details as { tried: { path: string; problem: string }[] }
      expect(tried).toHaveLength(2)
      expect(tried[0]).toMatchObject({ problem: 'not there' })
      expect(tried[1]!.path).toBe(path.join(prebuilt, 'latent.node'))
      expect(tried[1]!.problem).not.toBe('not there')
    } finally {
      remove()
    }
  })
})
