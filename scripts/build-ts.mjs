#!/usr/bin/env node
/** Compiles lib/ to dist/, packages/server to its own dist/, and the server's page to page-dist/ next to it. The declarations in types/ are committed and
 * written by `npm run types`; `npm run check:types` compares the two. */
import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { main, root, run } from './build-native.mjs'

const require = createRequire(import.meta.url)
const tsc = require.resolve('typescript/bin/tsc')
const vite = path.join(path.dirname(require.resolve('vite/package.json')), 'bin', 'vite.js')

/** The server imports the library by its package name, which in a clone resolves to this folder. */
function linkLibrary(folder) {
  const link = path.join(folder, 'node_modules', 'node-latent-diffusion')
  rmSync(link, { force: true })
  mkdirSync(path.dirname(link), { recursive: true })
  symlinkSync(root, link, 'junction')
}

await main(() => {
  const dist = path.join(root, 'dist')
  rmSync(dist, { recursive: true, force: true })
  // Code for pages is compiled against browser globals.
  for (const project of ['tsconfig.build.json', 'lib/electron/page'])
    run(process.execPath, [tsc, '-p', project, '--declaration', 'false', '--declarationDir', 'null'])
  const server = path.join(root, 'packages', 'server')
  rmSync(path.join(server, 'dist'), { recursive: true, force: true })
  linkLibrary(server)
  run(process.execPath, [tsc, '-p', server])
  run(process.execPath, [tsc, '-p', path.join(server, 'page')])
  run(process.execPath, [vite, 'build', '--config', path.join(server, 'page', 'vite.config.mjs')])
  const cli = path.join(dist, 'cli', 'main.js')
  if (existsSync(cli)) chmodSync(cli, 0o755)
})
