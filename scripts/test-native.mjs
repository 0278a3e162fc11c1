#!/usr/bin/env node
/**
 * Builds and runs the native tests (ctest).
 *
 *   node scripts/test-native.mjs [--preset default|debug|asan|aarch64 | --build FOLDER] [--only AREA[,AREA...]] [--jobs N] [--verbose]
 *
 * Without --preset it uses the addon's build, so that nothing is compiled twice; --build names the build folder of another addon, such as that of `latent
 * build`, whose sources include test/. --only builds and runs the tests of one or more areas, separated by commas.
 */
import os from 'node:os'
import path from 'node:path'
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { buildDirectory, checkCMake, configureNative, main, onPath, root, run } from './build-native.mjs'

await main(() => {
  const { values } = parseArgs({
    options: {
      preset: { type: 'string' },
      build: { type: 'string' },
      only: { type: 'string' },
      jobs: { type: 'string', short: 'j' },
      verbose: { type: 'boolean', default: false },
    },
  })
  const jobs = values.jobs ?? String(os.availableParallelism?.() ?? os.cpus().length)
  const output = ['--no-tests=error', '--parallel', jobs, values.verbose ? '--verbose' : '--output-on-failure']
  const areas = values.only?.split(',') ?? []
  const targets = areas.flatMap((area) => ['--target', `test_${area}`])
  const chosen = areas.length > 0 ? ['--tests-regex', `^(${areas.join('|')})(_baseline)?$`] : []
  if (values.preset === undefined) {
    const folder = values.build === undefined ? buildDirectory : path.resolve(values.build)
    if (values.build !== undefined) run('cmake', [folder, '-DLATENT_BUILD_TESTS=ON'])
    else configureNative({ tests: true })
    run('cmake', ['--build', folder, '--config', 'Release', '--parallel', jobs, ...targets])
    run('ctest', ['--test-dir', folder, '-C', 'Release', ...output, ...chosen])
    return
  }
  checkCMake()
  if (values.preset === 'aarch64') {
    const missing = [['aarch64-linux-gnu-g++'], ['qemu-aarch64', 'qemu-aarch64-static']].filter((names) => !names.some(onPath))
    if (missing.length > 0) {
      console.log(`skipped: ${missing.map(([name]) => name).join(' and ')} not installed`)
      return
    }
  }
  const fresh = !existsSync(path.join(root, `build-${values.preset}`, 'CMakeCache.txt'))
  run('cmake', ['--preset', values.preset, ...(fresh && process.platform !== 'win32' && onPath('ninja') ? ['-G', 'Ninja'] : [])])
  run('cmake', ['--build', '--preset', values.preset, '--parallel', jobs, ...targets])
  run('ctest', ['--preset', values.preset, ...output, ...chosen])
})
