/**
 * `npx latent build` in the project of somebody for whom there is no binary: it compiles ggml and all of the engine, which takes minutes. Runs where
 * LATENT_TEST_BUILD_PROJECT names a folder for the project, outside of the clone, and leaves it there: continuous integration goes on with what was built in it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as packages from '../helpers/packages'
import { libraryName, npm, succeed } from '../helpers/packages'

const minutes = 60_000
const compile = process.env.LATENT_TEST_BUILD_PROJECT ? test : test.skip

compile(
  'compiles a binary from the package of the sources, and the example of the README runs on it',
  async () => {
    const project = path.resolve(process.env.LATENT_TEST_BUILD_PROJECT!)
    const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-build-'))
    const tarballs = path.join(folder, 'tarballs')
    packages.packPortable(folder, tarballs)
    packages.packDependencies(tarballs)
    packages.packForeign(folder, tarballs, { all: true })
    const registry = await packages.startRegistry(tarballs)
    try {
      packages.emptyProject(project, registry, path.join(folder, 'cache'))
      succeed(project, npm, 'install', '--omit=optional', libraryName, ...['source', 'tiny-scenes'].map((name) => `@node-latent-diffusion/${name}`))
      const binary = path.join('node_modules', libraryName, 'build', 'Release', 'latent.node')
      expect(existsSync(path.join(project, binary))).toBe(false)
      expect(succeed(project, npm, 'exec', '--offline', '--', 'latent', 'build')).toContain(binary)
      expect(existsSync(path.join(project, binary))).toBe(true)
      writeFileSync(path.join(project, 'example.mjs'), packages.readmeExample('import {'))
      succeed(project, process.execPath, 'example.mjs')
      expect(readFileSync(path.join(project, 'out.png')).subarray(1, 4).toString('latin1')).toBe('PNG')
    } finally {
      registry.close()
      rmSync(folder, { recursive: true, force: true })
    }
  },
  60 * minutes,
)
