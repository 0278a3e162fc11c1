#!/usr/bin/env node
/**
 * Runs the golden tests and the embedded model on a Vulkan device, and compares its picture with the CPU's.
 *
 *   node scripts/check-vulkan.mjs [--make | --library FILE] [--required] [--driver system | FILE.json] [--cache FOLDER] [--build FOLDER] [--fast]
 *
 * --make first builds the library and the tests with only the shaders that networks use (scripts/glslc-used.sh), and leaves out the tests that take longest. It
 * has a build folder of its own, build-vulkan, whose library nothing else loads. Otherwise both must be in --build:
 * `npm run build:native -- -- -DLATENT_VULKAN=ON`, `npm run test:native -- --only graph,backend`. --library lists the devices of this library and compares the
 * picture alone. By default the driver is Mesa's software driver, of version 25 or
 * later: that of the system, or of the backports of the Debian release that runs this, unpacked beside the system; Debian 12's own one corrupts memory under
 * ggml. --driver names the description of another one, or takes the system's GPU. --fast computes with 16-bit operands, as users do, and needs a software driver
 * with LLVM 19 or later; the default is float32. Compiled shaders are kept in --cache.
 * What is missing on this machine skips the check; with --required, it fails.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { buildDirectory, configureNative, main, onPath, root, run } from './build-native.mjs'

class Skipped extends Error {}

/** The archives of the system's package sources, as [URI, options] for a line of sources.list. */
function debianArchives() {
  const folder = '/etc/apt/sources.list.d'
  const files = existsSync(folder) ? readdirSync(folder).map((name) => path.join(folder, name)) : []
  for (const file of ['/etc/apt/sources.list', ...files]) {
    if (!existsSync(file)) continue
    const text = readFileSync(file, 'utf8').replaceAll(/^#.*\n/gm, '')
    const uri = /^URIs: *(\S*\/debian)\/?\s/m.exec(text) ?? /^deb (?:\[[^\]]*\] )?(\S*\/debian)\/? /m.exec(text)
    const key = /^Signed-By: *(\S+)/im.exec(text)?.[1] ?? /signed-by=([^\] ]+)/.exec(text)?.[1]
    if (uri) return { uri: uri[1], options: key ? `[signed-by=${key}] ` : '' }
  }
  return undefined
}

const leastMesa = 25

/** For shaders of 16-bit operands: LLVM 15 did not finish the first operation in five minutes, 19 takes five for the whole check. Versions between have not been tried. */
const leastLlvm = 19

/** The version of LLVM in the dependencies of a Debian package. */
const llvmIn = (depends) => Number(/\blibllvm(\d+)/.exec(depends ?? '')?.[1] ?? NaN)

/** The system's software driver, if its Mesa is new enough. */
function systemMesa() {
  const query = (field) => spawnSync('dpkg-query', ['-W', '-f', `\${${field}}`, 'mesa-vulkan-drivers'], { encoding: 'utf8' }).stdout
  if (!(Number.parseInt(query('Version') ?? '', 10) >= leastMesa)) return undefined
  const folder = '/usr/share/vulkan/icd.d'
  const name = existsSync(folder) ? readdirSync(folder).find((each) => /^lvp_icd.*\.json$/.test(each)) : undefined
  return name && { description: path.join(folder, name), llvm: llvmIn(query('Depends')) }
}

/** Mesa's software driver, the system's or from Debian's backports: its description, and the version of its LLVM. */
function mesa(cache) {
  const own = systemMesa()
  if (own) return own
  const description = path.join(cache, 'lavapipe.json')
  const state = path.join(cache, 'apt')
  const unpackedMesa = () => {
    const name = existsSync(state) ? readdirSync(state).find((each) => each.endsWith('.deb')) : undefined
    return { description, llvm: llvmIn(name && spawnSync('dpkg-deb', ['-f', path.join(state, name), 'Depends'], { encoding: 'utf8' }).stdout) }
  }
  if (existsSync(description)) return unpackedMesa()
  if (!['apt-get', 'dpkg-deb'].every(onPath)) throw new Skipped('Mesa is unpacked from a Debian package, and this is no Debian')
  const release = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const archive = debianArchives()
  if (!release || !archive) throw new Skipped('no Debian archive is configured')
  mkdirSync(path.join(state, 'lists', 'partial'), { recursive: true })
  const list = path.join(state, 'sources.list')
  writeFileSync(list, `deb ${archive.options}${archive.uri} ${release}-backports main\n`)
  const options = [`Dir::Etc::sourcelist=${list}`, 'Dir::Etc::sourceparts=-', `Dir::State::Lists=${path.join(state, 'lists')}`, `Dir::Cache=${state}`]
  const apt = (...args) => spawnSync('apt-get', [...options.flatMap((option) => ['-o', option]), '-qq', ...args], { cwd: state, encoding: 'utf8' })
  apt('update')
  const downloaded = apt('download', `mesa-vulkan-drivers/${release}-backports`)
  const file = readdirSync(state).find((name) => name.endsWith('.deb'))
  if (!file)
    throw new Skipped(`mesa-vulkan-drivers could not be downloaded from ${release}-backports: ${downloaded.stderr.trim().split('\n').at(-1)}`)
  const unpacked = path.join(cache, 'mesa')
  spawnSync('dpkg-deb', ['-x', path.join(state, file), unpacked])
  const library = readdirSync(unpacked, { recursive: true }).find((name) => String(name).endsWith('libvulkan_lvp.so'))
  if (!library) throw new Skipped(`${file} has no libvulkan_lvp.so`)
  console.log(file)
  const icd = { file_format_version: '1.0.0', ICD: { library_path: path.join(unpacked, String(library)), api_version: '1.3.0' } }
  writeFileSync(description, JSON.stringify(icd))
  return unpackedMesa()
}

/** The folder where a build writes its library, as CMake was told; undefined before the first one. */
function addonFolder(build) {
  const configured = path.join(build, 'CMakeCache.txt')
  return existsSync(configured) ? /^LATENT_ADDON_DIR:\w+=(.+)$/m.exec(readFileSync(configured, 'utf8'))?.[1] : undefined
}

/** Builds the library with few shaders, and the tests. */
function make(build) {
  const needed = ['glslc', 'cmake'].filter((name) => !onPath(name))
  if (needed.length > 0) throw new Skipped(`${needed.join(' and ')} not installed`)
  const addon = path.join(build, 'addon') // inside the build folder, where no package looks
  if ((addonFolder(build) ?? addon) !== addon)
    throw new Error(`${build} is another build, which would then have few shaders; use --make with a folder of its own`)
  const few = ['-DLATENT_VULKAN=ON', `-DVulkan_GLSLC_EXECUTABLE=${path.join(root, 'scripts', 'glslc-used.sh')}`, `-DLATENT_ADDON_DIR=${addon}`]
  try {
    configureNative({ tests: true, extra: few, folder: build })
  } catch (error) {
    throw new Skipped(`CMake does not find what the Vulkan backend needs (SPIRV-Headers, libvulkan-dev): ${error.message}`, { cause: error })
  }
  run('cmake', [
    '--build',
    build,
    '--parallel',
    String(os.availableParallelism()),
    ...['latent_vulkan', 'test_graph', 'test_backend'].flatMap((t) => ['--target', t]),
  ])
}

function environment({ driver, cache, fast }) {
  const env = { LATENT_TEST_DEVICE: 'vulkan', XDG_CACHE_HOME: cache }
  if (!fast) env.LATENT_VULKAN_FLOAT32 = '1'
  if (driver === 'system') return env
  const { description: file, llvm } = driver ? { description: driver } : mesa(cache)
  if (fast && llvm < leastLlvm)
    throw new Skipped(`the software driver has LLVM ${llvm}, too slow for shaders of 16-bit operands; LLVM ${leastLlvm} or later is needed`)
  Object.assign(env, { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file, NODEVICE_SELECT: '1' })
  if (driver) return env
  // ggml skips software drivers, unless they are asked for by number. With cooperative matrices, which Mesa 26 emulates in subgroups of eight threads, some products
  // are wrong (docs/gpu.md).
  return { ...env, GGML_VK_VISIBLE_DEVICES: '0', GGML_VK_DISABLE_COOPMAT: '1' }
}

function runTests(folder, tests) {
  for (const [program, filter] of tests) {
    const file = path.join(folder, 'test', 'native', program)
    const start = performance.now()
    const { status, signal } = spawnSync(file, filter ? [filter] : [], { stdio: 'inherit' })
    console.log(`--- ${path.basename(program)} ${filter ?? ''}: ${((performance.now() - start) / 1000).toFixed(1)} s`)
    if (status !== 0) throw new Error(`${program} failed (${signal ?? `exit code ${status}`})`)
  }
}

/** Lists the devices and tests each in a child process, as the engine does before the first use. */
async function listDevices() {
  const { getDevices } = await import(pathToFileURL(path.join(root, 'dist', 'index.js')).href)
  const devices = await getDevices({ type: 'vulkan' })
  for (const { id, name, driver, refused } of devices) console.log(`${id}: ${name}, ${driver ?? 'unknown driver'}${refused ? `: ${refused}` : ''}`)
  if (!devices.some(({ refused }) => refused === undefined)) throw new Error('no device of the library can be used')
}

/** The largest difference of the embedded model's picture from the CPU's, in steps of 1/255. */
async function comparePicture(fast) {
  const { DiffusionPipeline } = await import(pathToFileURL(path.join(root, 'dist', 'index.js')).href)
  const pictures = []
  for (const device of ['cpu', 'vulkan']) {
    const pipe = await DiffusionPipeline.load(undefined, { device, precision: fast ? 'fast' : 'exact' })
    const start = performance.now()
    const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 1, steps: 2 })
    console.log(`${device}: ${((performance.now() - start) / 1000).toFixed(2)} s for 2 steps`)
    pictures.push(images[0].data)
    await pipe.dispose()
  }
  const differences = Array.from(pictures[0], (value, index) => Math.abs(value - pictures[1][index]))
  const largest = Math.max(...differences)
  console.log(
    `the embedded model's picture: ${differences.filter((each) => each > 0).length} of ${differences.length} bytes differ, by ${largest} at most`,
  )
  if (!(largest <= (fast ? 16 : 2))) throw new Error("the picture is not the CPU's")
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      make: { type: 'boolean', default: false },
      required: { type: 'boolean', default: false },
      driver: { type: 'string' },
      cache: { type: 'string' },
      build: { type: 'string' },
      library: { type: 'string' },
      fast: { type: 'boolean', default: false },
    },
  })
  if (values.make && values.library) throw new Error('--make builds a library of its own, so it cannot be combined with --library')
  const build = path.resolve(values.build ?? (values.make ? path.join(root, 'build-vulkan') : buildDirectory))
  const cache = path.resolve(values.cache ?? path.join(root, 'build-vulkan-cache'))
  mkdirSync(cache, { recursive: true })
  try {
    const env = environment({ driver: values.driver, cache, fast: values.fast })
    if (values.make) make(build)
    const library = path.resolve(values.library ?? path.join(addonFolder(build) ?? build, 'latent-vulkan.so'))
    if (!existsSync(library)) throw new Skipped(`${values.library ?? 'latent-vulkan.so'} is not built`)
    Object.assign(process.env, env, { LATENT_VULKAN_LIBRARY: library })
  } catch (error) {
    if (!(error instanceof Skipped)) throw error
    if (values.required) throw new Error(`vulkan: ${error.message}`, { cause: error })
    console.log(`vulkan: skipped, ${error.message}`)
    return
  }
  if (values.library) {
    await listDevices()
    await comparePicture(values.fast)
    return
  }
  // `operations` has f16, bf16, q8_0, q4_0 and q4_k weights.
  const tests = ['devices', 'operations', 'text_encoder', 'unet', 'features', 'first_stage', 'cancel', 'graphs', 'profile']
  const goldens = tests.map((test) => ['backend/test_backend', test])
  // These have bounds of float32, and many shapes: a software driver compiles their shaders for many minutes.
  const forms = ['embeddings', 'layouts', 'activations', 'group_norm', 'token_layers', 'conv_forms', 'attention_forms', 'conv_weight_types']
  runTests(build, [...(values.fast || values.make ? [] : forms.map((test) => ['test_graph', test])), ...goldens])
  await comparePicture(values.fast)
})
