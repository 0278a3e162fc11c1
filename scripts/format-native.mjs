#!/usr/bin/env node
/** Runs clang-format over native/ and test/native; --check only checks. Skipped if clang-format is not installed. */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { main, onPath, root, run } from './build-native.mjs'

await main(() => {
  if (!onPath('clang-format')) {
    console.log('native format: skipped, clang-format is not installed')
    return
  }
  const files = ['native', 'test/native'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true })
      .filter((name) => /\.(cpp|h)$/.test(name))
      .map((name) => path.join(folder, name)),
  )
  run('clang-format', process.argv.includes('--check') ? ['--dry-run', '--Werror', ...files] : ['-i', ...files])
  console.log(`native format: ${files.length} files`)
})
