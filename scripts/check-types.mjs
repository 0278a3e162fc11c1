#!/usr/bin/env node
/**
 * Compares the committed declarations in types/ with what lib/ declares now; --write replaces them.
 * They are the lock file of the public API: a change of a signature shows in the diff.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { main, root, run } from './build-native.mjs'

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

function filesOf(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const names = entries.filter((entry) => entry.isFile()).map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)))
  return new Map(names.map((name) => [name.replaceAll(path.sep, '/'), readFileSync(path.join(folder, name), 'utf8').replaceAll('\r\n', '\n')]))
}

await main(() => {
  const types = path.join(root, 'types')
  const emitted = mkdtempSync(path.join(os.tmpdir(), 'latent-types-'))
  try {
    run(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--declarationDir', emitted])
    if (process.argv.includes('--write')) {
      rmSync(types, { recursive: true, force: true })
      cpSync(emitted, types, { recursive: true })
      return
    }
    const [committed, now] = [filesOf(types), filesOf(emitted)]
    const drift = [
      ...[...now.keys()].filter((name) => !committed.has(name)).map((name) => `missing: types/${name}`),
      ...[...committed.keys()].filter((name) => !now.has(name)).map((name) => `left over: types/${name}`),
      ...[...now].filter(([name, text]) => committed.has(name) && committed.get(name) !== text).map(([name]) => `differs: types/${name}`),
    ]
    if (drift.length > 0) throw new Error(`types/ is not what lib/ declares. Run 'npm run types' and commit the result.\n${drift.join('\n')}`)
    console.log(`types: ${now.size} files as committed`)
  } finally {
    rmSync(emitted, { recursive: true, force: true })
  }
})
