#!/usr/bin/env node
/**
 * Builds a library for GPUs for this machine's package: prebuilds/<platform>-<arch>/latent-KIND.so (.dll, .dylib).
 *
 *   node scripts/prebuild-gpu.mjs cuda | vulkan | metal [--shaders FOLDER] [-- CMAKE_ARGUMENTS...]
 *   node scripts/prebuild-gpu.mjs shaders
 *
 * `shaders` compiles those of the Vulkan backend alone, which needs a new glslc, and collects them in build-gpu/shaders/vulkan-shaders. `vulkan --shaders FOLDER` builds
 * the library from them without glslc, where the C library is old, or on another system. The library must fit its package (packages/binary.mjs) and can be opened here.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { checkCMake, main, onPath, root, run } from './build-native.mjs'
import { unfitLibrary } from './packages/binary.mjs'
import { gpuLibraries, gpuLibraryFile } from './packages/manifests.mjs'
import { platformHere, platforms } from './packages/platforms.mjs'

/** Configures build-gpu/NAME without Node's parts, and builds one target. */
function build(name, target, options) {
  checkCMake()
  const folder = path.join(root, 'build-gpu', name)
  const generator = !existsSync(path.join(folder, 'CMakeCache.txt')) && process.platform !== 'win32' && onPath('ninja') ? ['-G', 'Ninja'] : []
  const defined = ['CMAKE_BUILD_TYPE=Release', 'LATENT_BUILD_ADDON=OFF', 'LATENT_STATIC_RUNTIME=ON', ...options].map((each) => `-D${each}`)
  run('cmake', ['-S', root, '-B', folder, ...generator, ...defined])
  run('cmake', ['--build', folder, '--config', 'Release', '--parallel', String(os.availableParallelism()), '--target', target])
  return folder
}

/** Throws unless the system can open the library: Node.js opens it before it notices that it is no addon. */
function checkLoads(file) {
  const { stderr, status } = spawnSync(process.execPath, ['-e', 'process.dlopen({ exports: {} }, process.argv[1])', file], { encoding: 'utf8' })
  if (status === 0 || !/did not self-register/.test(stderr)) throw new Error(`${file} cannot be loaded: ${stderr}`)
}

function library(kind, shaders, extra) {
  const platform = platforms.find(({ name }) => name === platformHere())
  const gpu = gpuLibraries.find((each) => each.kind === kind)
  if (!platform || !gpu?.platforms.includes(platform)) throw new Error(`There is no package of kind '${kind}' for ${platformHere()}`)
  const folder = path.join(root, 'prebuilds', path.dirname(platform.prebuild))
  mkdirSync(folder, { recursive: true })
  const from = kind === 'vulkan' ? [`LATENT_VULKAN_SHADERS=${shaders ? path.resolve(shaders) : ''}`] : []
  build(kind, `latent_${kind}`, [`LATENT_${kind.toUpperCase()}=ON`, `LATENT_ADDON_DIR=${folder}`, ...from, ...extra])
  const file = path.join(folder, gpuLibraryFile(kind, platform))
  if (platform.os !== 'win32') run('strip', [platform.os === 'darwin' ? '-x' : '--strip-unneeded', file])
  const problem = unfitLibrary(platform, file)
  if (problem) throw new Error(`${file} ${problem}`)
  checkLoads(file)
  console.log(path.relative(root, file))
}

await main(() => {
  const { values, positionals } = parseArgs({ options: { shaders: { type: 'string' } }, allowPositionals: true })
  const [what = '', ...extra] = positionals
  const kinds = gpuLibraries.map(({ kind }) => kind)
  if (![...kinds, 'shaders'].includes(what)) throw new Error(`Name one of ${[...kinds, 'shaders'].join(', ')}`)
  const definitions = extra.map((each) => each.replace(/^-D/, ''))
  if (what !== 'shaders') return library(what, values.shaders, definitions)
  const folder = path.join(build('shaders', 'latent_vulkan_shaders', ['LATENT_VULKAN=ON', ...definitions]), 'vulkan-shaders')
  console.log(`${path.relative(root, folder)}: ${readdirSync(folder).length} entries`)
})
