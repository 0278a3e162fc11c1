#!/usr/bin/env node
/** Compiles lib/ to dist/. The declarations in types/ are committed and written by `npm run types`; `npm run check:types` compares the two. */
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { main, root, run } from './build-native.mjs'

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

await main(() => {
  const dist = path.join(root, 'dist')
  rmSync(dist, { recursive: true, force: true })
  // What runs in pages is compiled against their globals.
  for (const project of ['tsconfig.build.json', 'lib/electron/page'])
    run(process.execPath, [tsc, '-p', project, '--declaration', 'false', '--declarationDir', 'null'])
  const cli = path.join(dist, 'cli', 'main.js')
  if (existsSync(cli)) chmodSync(cli, 0o755)
})
