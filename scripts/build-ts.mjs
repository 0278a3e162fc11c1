#!/usr/bin/env node
/** Compiles lib/ to dist/, packages/worker and packages/server to their own dist/, and the server's page to page-dist/ next to it. The declarations in types/ are committed and
 * written by `npm run types`; `npm run check:types` compares the two. */
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { main, root, run } from './build-native.mjs'

const require = createRequire(import.meta.url)
const tsc = require.resolve('typescript/bin/tsc')
const vite = path.join(path.dirname(require.resolve('vite/package.json')), 'bin', 'vite.js')

/** Packages import each other by their names, which in a clone resolve to their folders. */
function linkPackage(folder, name, target) {
  const link = path.join(folder, 'node_modules', name)
  rmSync(link, { force: true })
  mkdirSync(path.dirname(link), { recursive: true })
  symlinkSync(target, link, 'junction')
}

await main(() => {
  const dist = path.join(root, 'dist')
  rmSync(dist, { recursive: true, force: true })
  // Code for pages is compiled against browser globals.
  for (const project of ['tsconfig.build.json', 'lib/electron/page'])
    run(process.execPath, [tsc, '-p', project, '--declaration', 'false', '--declarationDir', 'null'])
  const [worker, server] = ['worker', 'server'].map((name) => path.join(root, 'packages', name))
  linkPackage(server, '@node-latent-diffusion/worker', worker)
  for (const folder of [worker, server]) {
    rmSync(path.join(folder, 'dist'), { recursive: true, force: true })
    linkPackage(folder, 'node-latent-diffusion', root)
    run(process.execPath, [tsc, '-p', folder])
  }
  run(process.execPath, [tsc, '-p', path.join(server, 'page')])
  run(process.execPath, [vite, 'build', '--config', path.join(server, 'page', 'vite.config.mjs')])
  const cli = path.join(dist, 'cli', 'main.js')
  if (existsSync(cli)) chmodSync(cli, 0o755)
})
