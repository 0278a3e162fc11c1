#!/usr/bin/env node
/**
 * Packs all packages and publishes them with one version, the library last, so that its binaries are always available.
 *
 *   node scripts/release.mjs [--publish] [--partial] [--here] [--prebuilds FOLDER] [--registry URL] [--tag TAG]
 *
 * Without --publish it is a dry run that prints what it would do. Packages that are already in the registry with the same contents are skipped, so an
 * interrupted release can be finished by running it again. prebuilds/ must have the binary of every platform and every library for GPUs; --partial: without those
 * that it lacks. --here: with the local binary and libraries, for a
 * trial with a registry on this machine. In GitHub Actions (permission id-token) each package gets a provenance statement. TAG: default latest, next for
 * 1.0.0-rc.1.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { main, root, run } from './build-native.mjs'
import { assemble, missingFiles } from './packages.mjs'
import { version } from './packages/manifests.mjs'
import { platforms } from './packages/platforms.mjs'

const windows = process.platform === 'win32'

/** Runs npm; { status, stdout, stderr }. */
function npm(args, options = {}) {
  return new Promise((resolve) => {
    execFile(windows ? 'npm.cmd' : 'npm', args, { shell: windows, maxBuffer: 1 << 26, ...options }, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code ?? 1) : 0, stdout, stderr })
    })
  })
}

/** Checks before a release. */
function checkVersion({ trial }) {
  const tag = process.env.GITHUB_REF_TYPE === 'tag' ? process.env.GITHUB_REF_NAME : undefined
  if (tag !== undefined && tag !== `v${version}`) throw new Error(`The tag is ${tag}, but package.json has version ${version}`)
  const changelog = readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8')
  if (!trial && !changelog.includes(`\n## ${version}`)) throw new Error(`CHANGELOG.md has no section '## ${version}': rename 'Unreleased'`)
}

/** No package may have install scripts, and all must have this version. */
function checkManifest(folder) {
  const manifest = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
  for (const key of ['scripts', 'devDependencies', 'private', 'workspaces'])
    if (manifest[key] !== undefined) throw new Error(`${folder}: package.json has '${key}'`)
  if (manifest.version !== version) throw new Error(`${folder}: version ${manifest.version}, not ${version}`)
  return manifest
}

/** Packs the workspace; returns the packages in order of publishing. */
async function packAll(out, folders) {
  const tarballs = path.join(out, 'tarballs')
  mkdirSync(tarballs)
  const { status, stdout, stderr } = await npm(['pack', '--workspaces', '--ignore-scripts', '--json', '--silent', '--pack-destination', tarballs], {
    cwd: out,
  })
  if (status !== 0) throw new Error(`npm pack failed:\n${stderr}`)
  const report = Object.values(JSON.parse(stdout.slice(stdout.search(/[[{]\s*["{]/))))
  return folders.map((folder) => {
    const { name } = checkManifest(folder)
    const { filename, size, unpackedSize } = report.find((one) => one.name === name)
    const file = path.join(tarballs, filename)
    const integrity = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`
    return { name, file, size, unpackedSize, integrity }
  })
}

/** Integrity of this version in the registry; undefined if it does not exist there. */
async function published(name, registry) {
  const { status, stdout, stderr } = await npm(['view', `${name}@${version}`, 'dist.integrity', '--json', '--prefer-online', ...registry])
  if (status === 0) return stdout.trim() === '' ? undefined : JSON.parse(stdout)
  if (/E404|is not in this registry|no match/i.test(stdout + stderr)) return undefined
  throw new Error(`The registry could not be queried for ${name}:\n${stderr}`)
}

async function publish(one, { registry, tag, provenance }) {
  const args = ['publish', one.file, '--access', 'public', '--tag', tag, ...(provenance ? ['--provenance'] : []), ...registry]
  const { status, stdout, stderr } = await npm(args)
  if (status !== 0) throw new Error(`${one.name} could not be published; run this again once the cause is gone:\n${stdout}${stderr}`)
}

export async function release({
  publish: really = false,
  partial = false,
  here = false,
  registry,
  tag = /-/.test(version) ? 'next' : 'latest',
  out,
  prebuilds,
}) {
  const loopback = registry !== undefined && ['127.0.0.1', '[::1]', 'localhost'].includes(new URL(registry).hostname)
  if (here && really && !loopback) throw new Error('--here is for trials: publish to a registry on this machine (--registry http://127.0.0.1:...)')
  checkVersion({ trial: here || !really })
  const { binaries, libraries } = missingFiles({ prebuilds, here })
  if (binaries.length === platforms.length) throw new Error('There is no binary in prebuilds/: npm run prebuild, or --here')
  const missing = [...binaries, ...libraries]
  if (missing.length > 0 && !partial && !here)
    throw new Error(`prebuilds/ has no binary for ${missing.join(', ')}: fetch them, or release without them (--partial)`)
  if (!here) run(process.execPath, ['scripts/build-ts.mjs'])
  const { folders } = assemble({ out, prebuilds, here, partial: partial || here })
  const packed = await packAll(out, folders)
  const options = {
    registry: registry === undefined ? [] : ['--registry', registry],
    tag,
    // npm requests the token itself; without this variable signing is not possible.
    provenance: process.env.ACTIONS_ID_TOKEN_REQUEST_URL !== undefined,
  }
  const there = await Promise.all(packed.map(({ name }) => published(name, options.registry)))
  for (const [index, { name, integrity }] of packed.entries()) {
    if (there[index] !== undefined && there[index] !== integrity)
      throw new Error(`${name}@${version} is already published with different contents: raise the version`)
  }
  console.log(`${really ? 'Releasing' : 'Would release'} ${version} as ${tag}`)
  if (missing.length > 0) console.log(`without ${missing.join(', ')}`)
  for (const [index, one] of packed.entries()) {
    let outcome = 'already published'
    if (there[index] === undefined) {
      outcome = `${really ? '' : 'would be '}published${options.provenance ? ' with provenance' : ''}`
      if (really) await publish(one, options)
    }
    console.log(`${one.name}@${version}: ${outcome} (${one.size} bytes, ${one.unpackedSize} unpacked, ${one.integrity.slice(0, 19)})`)
  }
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const { values } = parseArgs({
      options: {
        publish: { type: 'boolean' },
        partial: { type: 'boolean' },
        here: { type: 'boolean' },
        registry: { type: 'string' },
        tag: { type: 'string' },
        prebuilds: { type: 'string' },
        out: { type: 'string', default: path.join(root, 'build-packages') },
      },
    })
    await release(values)
  })
}
