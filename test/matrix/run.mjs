#!/usr/bin/env node
/**
 * Runs the matrix (matrix.test.ts, and the releases of test/package/release.test.ts) with pinned tools, which npm installs into build-matrix/, and writes the
 * results to docs/compatibility.md.
 *
 *   npm run test:matrix [-- --only PATTERN]
 *
 * For Linux on x86-64. --only runs the matching cases and writes nothing.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { main, root, run } from '../../scripts/build-native.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const folder = path.join(root, 'build-matrix')
const results = path.join(folder, 'results.json')

/** Installs the tools pinned in test/matrix/tools.json, without their install scripts. */
function installTools() {
  const tools = path.join(folder, 'tools')
  const wanted = `${JSON.stringify({ private: true, dependencies: JSON.parse(readFileSync(path.join(here, 'tools.json'), 'utf8')) }, null, 2)}\n`
  const manifest = path.join(tools, 'package.json')
  const marker = path.join(tools, 'installed.json')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === wanted) return
  mkdirSync(tools, { recursive: true })
  writeFileSync(manifest, wanted)
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: tools })
  writeFileSync(marker, wanted)
}

function machine() {
  const { PRETTY_NAME: system = os.type() } = Object.fromEntries(
    (existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '').split('\n').map((line) => line.replaceAll('"', '').split('=')),
  )
  return `${system}, ${process.platform}-${process.arch}`
}

const groupOf = ({ ancestorTitles: [group = 'Releases'] }) => group

function page(report) {
  const cases = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  const groups = [...new Set(cases.map(groupOf))]
  const sections = groups.map((group) => {
    const rows = cases.filter((one) => groupOf(one) === group)
    return `## ${group}\n\n| case | outcome |\n| --- | --- |\n${rows.map(({ title, status }) => `| ${title} | ${status} |`).join('\n')}\n`
  })
  const date = new Date(report.startTime).toISOString().slice(0, 10)
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  return `# Compatibility

Written by \`npm run test:matrix\`: the packages, packed and served by a registry on loopback, with pinned versions of the tools. All cases that generate an image must generate the same one.
Installing must not warn about scripts; declarations are compiled with \`types: []\` and without \`skipLibCheck\`.

Last run: ${date}, version ${version}, ${machine()}. ${report.numPassedTests} passed, ${report.numFailedTests} failed.

Not covered yet: macOS, Windows and musl (the workflows in \`.github/workflows\` build and try them, and have not run), Electron itself
(archives are read by asar-node, which patches Node.js as Electron does).

Linux on arm64, tried by hand under qemu on 2026-11-28: the addon, cross-compiled (glibc 2.34 or newer), in Node.js 20.20.2. Ten steps of the embedded model gave the image of x86-64 within 4
of 255 (mean 0.11): float32 there, bfloat16 here.

${sections.join('\n')}`
}

await main(() => {
  const { values } = parseArgs({ options: { only: { type: 'string' } } })
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('The tools of the matrix are for Linux on x86-64')
  installTools()
  const args = ['--testMatch', '<rootDir>/test/{matrix/matrix,package/release}.test.ts', '--verbose', '--json', '--outputFile', results]
  const only = values.only === undefined ? [] : ['-t', values.only]
  const env = { ...process.env, LATENT_TEST_RELEASE: '1' }
  const { status } = spawnSync(process.execPath, [path.join(root, 'node_modules', 'jest', 'bin', 'jest.js'), ...args, ...only], {
    cwd: root,
    stdio: 'inherit',
    env,
  })
  if (values.only === undefined) writeFileSync(path.join(root, 'docs', 'compatibility.md'), page(JSON.parse(readFileSync(results, 'utf8'))))
  if (status !== 0) throw new Error('Some cases failed; see the output above.')
})
