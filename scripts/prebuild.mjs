#!/usr/bin/env node
/**
 * Fills prebuilds/<platform>-<arch>/ with the addon of this machine (latent.node; on Linux latent.glibc.node or latent.musl.node), through prebuildify and node-gyp.
 * node-gyp needs Node's headers although this addon does not; uses those installed with the running Node, if any.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { main, run } from './build-native.mjs'

const require = createRequire(import.meta.url)

await main(() => {
  const prefix = path.dirname(path.dirname(process.execPath))
  const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
  const env = { ...process.env, PREBUILD_LIBC: musl ? 'musl' : 'glibc', LATENT_STATIC_RUNTIME: '1', npm_config_build_from_source: 'true' }
  if (existsSync(path.join(prefix, 'include', 'node', 'node_api.h'))) env.npm_config_nodedir ??= prefix
  const args = ['--napi', '--name', 'latent', '--strip', '--target', process.versions.node, ...(process.platform === 'linux' ? ['--tag-libc'] : [])]
  run(process.execPath, [path.join(path.dirname(require.resolve('prebuildify/package.json')), 'bin.js'), ...args], { env })
})
