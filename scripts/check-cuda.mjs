#!/usr/bin/env node
/**
 * Checks what nvcc makes of the CUDA kernels. Skipped if nvcc is not installed.
 *
 *   node scripts/check-cuda.mjs [CAPABILITY | all] [FILE...]
 *   node scripts/check-cuda.mjs run [CAPABILITY | all] [--build FOLDER]
 *
 * The first prints the registers, stack and spills of the kernels, as reported by nvcc's assembler, and fails if a kernel spills or has a stack frame, which on a
 * GPU means that its sums are in memory. `run` compiles the kernels to PTX and runs the tests of kernels and golden networks on it, without a GPU
 * (test/native/cuda/ptx); the test programs must have been built (`npm run test:native -- --only cuda,cuda_home`); --build names their build folder. CAPABILITY is a compute capability, 80 by
 * default; `all`: those of native/cmake/cuda.cmake.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { buildDirectory, main, onPath, root, run } from './build-native.mjs'

const folder = path.join(root, 'native', 'cuda')

/** Demangled names of kernels, without the namespace. */
function demangle(names) {
  const { stdout, status } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' })
  const plain = status === 0 ? stdout.trimEnd().split('\n') : names
  return plain.map((name) => name.replaceAll(/latent::cuda::|\(anonymous namespace\)::|^void /g, '').replace(/\([^()]*\)$/, ''))
}

function compile(file, given) {
  const { status, stderr } = spawnSync('nvcc', ['-std=c++17', '-O3', '-x', 'cu', `-I${path.join(root, 'native')}`, ...given, file], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`nvcc failed for ${file}:\n${stderr}`)
  return stderr
}

/** Sources with kernels in a folder, by full path. */
function sourcesIn(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith('.cpp'))
  return names.map((name) => path.join(folder, name)).filter((file) => /__global__|product_kernel\.h/.test(readFileSync(file, 'utf8')))
}

function resources(file, capability) {
  const target = `arch=compute_${capability},code=sm_${capability}`
  const object = path.join(tmpdir(), `latent-cuda-check-${process.pid}.o`)
  const stderr = compile(file, ['-gencode', target, '-Xptxas', '-v', '-c', '-o', object])
  const kernels = []
  for (const line of stderr.split('\n')) {
    const entry = /Compiling entry function '([^']+)'/.exec(line)
    if (entry) kernels.push({ name: entry[1], stack: 0, spills: 0, registers: 0 })
    const kernel = kernels.at(-1)
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
    if (kernel && frame) [kernel.stack, kernel.spills] = [Number(frame[1]), Number(frame[2]) + Number(frame[3])]
    const used = /Used (\d+) registers/.exec(line)
    if (kernel && used) kernel.registers = Number(used[1])
  }
  const names = demangle(kernels.map((kernel) => kernel.name))
  return kernels.map((kernel, index) => ({ ...kernel, name: names[index] }))
}

/** The compute capabilities that the library has code for. */
function shipped() {
  return /LATENT_CUDA_ARCHITECTURES "([\d;]+)"/.exec(readFileSync(path.join(root, 'native', 'cmake', 'cuda.cmake'), 'utf8'))[1].split(';')
}

function checkRegisters(capability, files) {
  const kernels = files.flatMap((file) => resources(file, capability))
  for (const { name, registers, stack, spills } of kernels)
    console.log(`${String(registers).padStart(3)} registers, stack ${stack}, spills ${spills}: ${name}`)
  const bad = kernels.filter((kernel) => kernel.stack > 0 || kernel.spills > 0)
  console.log(`cuda kernels: ${kernels.length} for sm_${capability}, ${bad.length} with a stack frame or spills`)
  return kernels.length > 0 && bad.length === 0
}

/** The tests with PTX in place of the kernels that the host's compiler made. */
function runTests(capability, build) {
  const programs = ['cuda/test_cuda', 'cuda_home/test_cuda_home'].map((name) => path.join(build, 'test', 'native', name))
  for (const program of programs) if (!existsSync(program)) throw new Error(`${program} is missing: npm run test:native -- --only cuda,cuda_home`)
  const ptx = path.join(root, 'build-cuda-ptx', `sm_${capability}`)
  rmSync(ptx, { recursive: true, force: true })
  mkdirSync(ptx, { recursive: true })
  const tests = path.join(root, 'test', 'native', 'cuda')
  const include = ['-DLATENT_PTX_FOR_HOST', `-I${tests}`, `-I${path.join(root, 'test', 'native')}`]
  // All tests, since test_cuda_device is compiled by nvcc too.
  const all = readdirSync(tests).filter((name) => name.endsWith('.cpp'))
  for (const file of [...sourcesIn(folder), ...all.map((name) => path.join(tests, name))])
    compile(file, [`-arch=sm_${capability}`, ...include, '-ptx', '-o', path.join(ptx, `${path.basename(file, '.cpp')}.ptx`)])
  const none = path.join(ptx, 'none')
  mkdirSync(none)
  const environment = (folder) => ({ ...process.env, LATENT_CUDA_LIBRARY: undefined, LATENT_PTX: folder })
  for (const program of programs) {
    // One that does not know of PTX would pass.
    if (spawnSync(program, { env: environment(none) }).status === 0) throw new Error(`${program} runs without PTX; build it again`)
    run(program, [], { env: environment(ptx), timeout: 900_000 })
  }
}

await main(() => {
  if (!onPath('nvcc')) {
    console.log('cuda kernels: skipped, nvcc is not installed')
    return
  }
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { build: { type: 'string', default: buildDirectory } } })
  const running = positionals[0] === 'run'
  const [capability = '80', ...given] = running ? positionals.slice(1) : positionals
  const capabilities = capability === 'all' ? shipped() : [capability]
  if (running) {
    for (const each of capabilities) runTests(each, path.resolve(values.build))
    return
  }
  const files = given.length > 0 ? given.map((name) => path.join(folder, name)) : sourcesIn(folder)
  const good = capabilities.map((each) => checkRegisters(each, files))
  if (good.includes(false)) throw new Error('a kernel spills registers to memory, or no kernel was found')
})
