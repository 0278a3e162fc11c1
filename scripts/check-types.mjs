#!/usr/bin/env node
/**
 * Compares the committed declarations in types/ with those of lib/; --write replaces them. They are published and serve as a lock file of the public API: one
 * file with everything that users can reach, so that a changed signature shows in the diff.
 */
import { mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { main, root, run } from './build-native.mjs'

const require = createRequire(import.meta.url)
const { Extractor, ExtractorConfig } = require('@microsoft/api-extractor')

/** What the declarations need beyond the smallest `lib` setting of users. */
const head = `/// <reference lib="esnext.disposable" />

declare global {
    // Declared by lib.dom or @types/node, with which these merge; empty if a project has neither.
    interface AbortSignal {}
    interface URL {}
}

`
/** Other entry points, which refer to that file: ES modules, and Electron's three kinds of process. */
const wrappers = ['esm.d.mts', 'electron/main.d.ts', 'electron/preload.d.ts', 'electron/page/renderer.d.mts']

/** Emits the declarations of lib/ and rolls up those reachable from `entry` into one text. */
function declarations(folder) {
  const tsc = require.resolve('typescript/bin/tsc')
  for (const project of ['tsconfig.build.json', 'lib/electron/page'])
    run(process.execPath, [tsc, '-p', project, '--emitDeclarationOnly', '--declarationDir', path.join(folder, 'all')])
  const entry = path.join(folder, 'all', 'index.d.ts')
  const rolledUp = path.join(folder, 'index.d.ts')
  const { compilerOptions } = JSON.parse(readFileSync(path.join(root, 'tsconfig.base.json'), 'utf8'))
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: entry,
      newlineKind: 'lf',
      compiler: { overrideTsconfig: { compilerOptions, files: [entry] } },
      dtsRollup: { enabled: true, untrimmedFilePath: rolledUp },
      apiReport: { enabled: false },
      docModel: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: 'error' } },
        // Types that users cannot name are in the file but not exported.
        extractorMessageReporting: { default: { logLevel: 'none' } },
        tsdocMessageReporting: { default: { logLevel: 'none' } },
      },
    },
    packageJsonFullPath: path.join(root, 'package.json'),
  })
  const { succeeded } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      if (message.messageId === 'console-preamble') message.logLevel = 'none'
    },
  })
  if (!succeeded) throw new Error('The declarations of lib/ could not be rolled up; see the output above.')
  const files = new Map([['index.d.ts', head + readFileSync(rolledUp, 'utf8')]])
  for (const name of wrappers) files.set(name, readFileSync(path.join(folder, 'all', name), 'utf8'))
  return files
}

await main(() => {
  const types = path.join(root, 'types')
  const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-types-'))
  try {
    const now = declarations(folder)
    if (process.argv.includes('--write')) {
      rmSync(types, { recursive: true, force: true })
      mkdirSync(types)
      for (const [name, text] of now) {
        mkdirSync(path.dirname(path.join(types, name)), { recursive: true })
        writeFileSync(path.join(types, name), text)
      }
      return
    }
    const committed = new Map(
      readdirSync(types, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
        .map((file) => [path.relative(types, file).replaceAll(path.sep, '/'), readFileSync(file, 'utf8').replaceAll('\r\n', '\n')]),
    )
    const drift = [
      ...[...now.keys()].filter((name) => !committed.has(name)).map((name) => `missing: types/${name}`),
      ...[...committed.keys()].filter((name) => !now.has(name)).map((name) => `left over: types/${name}`),
      ...[...now].filter(([name, text]) => committed.has(name) && committed.get(name) !== text).map(([name]) => `differs: types/${name}`),
    ]
    if (drift.length > 0) throw new Error(`types/ does not match lib/. Run 'npm run types' and commit the result.\n${drift.join('\n')}`)
    console.log(`types: ${now.size} files match`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
