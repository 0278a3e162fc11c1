#!/usr/bin/env node
/**
 * Builds the addon, build/Release/latent.node, from CMakeLists.txt. Also part of the source package; `latent build` and binding.gyp run it too.
 *
 *   node scripts/build-native.mjs [--jobs N] [--tests] [-- CMAKE_ARGUMENTS...]
 *
 * In a clone, cmake-js runs CMake (it finds the compilers of every system); in the installed source package, which does not include it, CMake is called
 * directly.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

export const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
export const buildDirectory = path.join(root, 'build-native')
const minimumCMake = [3, 21]
const require = createRequire(path.join(root, 'package.json'))

/** The folder of an npm package seen from here, or undefined. */
function packageFolder(name) {
  try {
    return path.dirname(require.resolve(`${name}/package.json`))
  } catch {
    return undefined
  }
}

export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  if (result.error) throw new Error(`Could not run ${command}: ${result.error.message}`)
  if (result.status !== 0)
    throw new Error(`${path.basename(command)} failed (${result.signal ?? `exit code ${result.status}`}); see the output above.`)
}

export function onPath(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
}

/** Throws with advice if CMake is missing or too old. */
export function checkCMake() {
  const found = spawnSync('cmake', ['--version'], { encoding: 'utf8' })
  const version = /version (\d+)\.(\d+)/.exec(found.stdout ?? '')
  const needed = minimumCMake.join('.')
  if (!version) {
    throw new Error(
      `Building needs CMake ${needed} or newer and a C++17 compiler; no cmake was found on the PATH. Install it (cmake.org, or your system's packages).`,
    )
  }
  const [major, minor] = [Number(version[1]), Number(version[2])]
  if (major < minimumCMake[0] || (major === minimumCMake[0] && minor < minimumCMake[1])) {
    throw new Error(`Building needs CMake ${needed} or newer; the one on the PATH is ${major}.${minor}.`)
  }
}

/** CMake's -D options of every build by this script, as [name, value]. */
function definitions({ tests }) {
  const result = [['LATENT_BUILD_TESTS', tests ? 'ON' : 'OFF']]
  // Given explicitly, so that a clone builds from the versions in its lock file.
  const donor = packageFolder('ggml-source')
  if (!process.env.LDM_GGML_DIR && donor) result.push(['LDM_GGML_DIR', path.join(donor, 'cpp', 'whisper.cpp', 'ggml')])
  result.push(['LATENT_STATIC_RUNTIME', process.env.LATENT_STATIC_RUNTIME ? 'ON' : 'OFF'])
  return result
}

/** Runs a cmake-js command (it finds the compilers of every system) with the options that both commands need. */
function cmakeJs(driver, folder, command, defined, ...args) {
  const options = defined.map(([name, value]) => `--CD${name}=${value}`)
  run(process.execPath, [path.join(driver, 'bin', 'cmake-js'), command, '--out', folder, '--log-level', 'error', ...options, ...args])
}

/** Configures a build folder; fast if nothing has changed. */
export function configureNative({ tests = false, extra = [], folder = buildDirectory } = {}) {
  checkCMake()
  const driver = packageFolder('cmake-js')
  const defined = definitions({ tests })
  if (driver) {
    cmakeJs(driver, folder, 'configure', defined, ...(extra.length > 0 ? ['--', ...extra] : []))
    return
  }
  const generator = !existsSync(path.join(folder, 'CMakeCache.txt')) && process.platform !== 'win32' && onPath('ninja') ? ['-G', 'Ninja'] : []
  run('cmake', ['-S', root, '-B', folder, ...generator, '-DCMAKE_BUILD_TYPE=Release', ...defined.map(([n, v]) => `-D${n}=${v}`), ...extra])
}

export function buildNative({ jobs = os.availableParallelism?.() ?? os.cpus().length, tests = false, extra = [] } = {}) {
  configureNative({ tests, extra })
  const driver = packageFolder('cmake-js')
  if (driver) cmakeJs(driver, buildDirectory, 'build', definitions({ tests }), '--parallel', String(jobs))
  else run('cmake', ['--build', buildDirectory, '--config', 'Release', '--parallel', String(jobs)])
}

/** If `work` throws, ends the process with only the message, because the tools have already printed theirs. */
export async function main(work) {
  try {
    await work()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(1)
  }
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(() => {
    const { values, positionals } = parseArgs({
      options: { jobs: { type: 'string', short: 'j' }, tests: { type: 'boolean', default: false } },
      allowPositionals: true,
    })
    const jobs = values.jobs === undefined ? undefined : Number(values.jobs)
    if (jobs !== undefined && !(Number.isInteger(jobs) && jobs > 0)) throw new Error(`--jobs must be a positive whole number, not '${values.jobs}'`)
    buildNative({ jobs, tests: values.tests, extra: positionals })
  })
}
