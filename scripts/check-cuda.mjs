#!/usr/bin/env node
/**
 * Prints the registers, stack and spills of the CUDA kernels, as reported by nvcc's assembler. Fails if a kernel spills or has a stack frame, which on a GPU
 * means that its sums are in memory. Skipped if nvcc is not installed. Usage: node scripts/check-cuda.mjs [compute capability, 80 by default;
 * "all": those of native/cmake/cuda.cmake] [FILE...]
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { main, onPath, root } from './build-native.mjs'

const folder = path.join(root, 'native', 'cuda')

/** Demangled names of kernels, without the namespace. */
function demangle(names) {
  const { stdout, status } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' })
  const plain = status === 0 ? stdout.trimEnd().split('\n') : names
  return plain.map((name) => name.replaceAll(/latent::cuda::|\(anonymous namespace\)::|^void /g, '').replace(/\([^()]*\)$/, ''))
}

function resources(file, capability) {
  const target = `arch=compute_${capability},code=sm_${capability}`
  const object = path.join(tmpdir(), `latent-cuda-check-${process.pid}.o`)
  const { status, stderr } = spawnSync(
    'nvcc',
    [
      '-std=c++17',
      '-O3',
      '-x',
      'cu',
      '-gencode',
      target,
      '-Xptxas',
      '-v',
      `-I${path.join(root, 'native')}`,
      '-c',
      path.join(folder, file),
      '-o',
      object,
    ],
    { encoding: 'utf8' },
  )
  if (status !== 0) throw new Error(`nvcc failed for ${file}:\n${stderr}`)
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

await main(() => {
  if (!onPath('nvcc')) {
    console.log('cuda kernels: skipped, nvcc is not installed')
    return
  }
  const [capability = '80', ...given] = process.argv.slice(2)
  const sources = readdirSync(folder).filter(
    (name) => name.endsWith('.cpp') && /__global__|product_kernel\.h/.test(readFileSync(path.join(folder, name), 'utf8')),
  )
  let failed = false
  for (const each of capability === 'all' ? shipped() : [capability]) {
    const kernels = (given.length > 0 ? given : sources).flatMap((file) => resources(file, each))
    for (const { name, registers, stack, spills } of kernels)
      console.log(`${String(registers).padStart(3)} registers, stack ${stack}, spills ${spills}: ${name}`)
    const bad = kernels.filter((kernel) => kernel.stack > 0 || kernel.spills > 0)
    console.log(`cuda kernels: ${kernels.length} for sm_${each}, ${bad.length} with a stack frame or spills`)
    failed ||= kernels.length === 0 || bad.length > 0
  }
  if (failed) throw new Error('a kernel spills registers to memory, or no kernel was found')
})
