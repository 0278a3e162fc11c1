#!/usr/bin/env node
/**
 * Kernels of one instruction set must not export inline or template code: the linker keeps one copy of such a function for the whole program, and if that is
 * the AVX-512 one, a processor without AVX-512 crashes in it. Checks the compiled objects of a build folder (default: build-native), including those
 * cross-compiled for arm64; skipped if nm is missing.
 *
 *   node scripts/check-isa.mjs [FOLDER]
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { buildDirectory, main, onPath, root } from './build-native.mjs'

const sets = /_(avx2|avxvnni|avx512\w*|amx|neon\w*)\.cpp\.o$/

await main(() => {
  if (!onPath('nm')) {
    console.log('instruction sets: skipped, nm is not installed')
    return
  }
  const objects = [process.argv[2] ?? buildDirectory, path.join(root, 'build-aarch64')].filter(existsSync).flatMap((folder) =>
    readdirSync(folder, { recursive: true })
      .filter((name) => sets.test(name))
      .map((name) => path.join(folder, name)),
  )
  if (objects.length === 0) throw new Error('There are no objects to check: build first')
  const problems = objects.flatMap((object) => {
    const { stdout, status } = spawnSync('nm', ['--demangle', '--defined-only', object], { encoding: 'utf8' })
    if (status !== 0) return [`${object}: nm failed`]
    return stdout
      .split('\n')
      .filter((line) => /^\S*\s+[WVu] /.test(line))
      .map((line) => `${path.basename(object)}: ${line.replace(/^\S*\s+/, '')}`)
  })
  if (problems.length > 0)
    throw new Error(`Weak symbols in objects of one instruction set (use plain functions and arrays there):\n${problems.join('\n')}`)
  console.log(`instruction sets: ${objects.length} objects without shared inline code`)
})
