/**
 * scripts/release.mjs against a registry on loopback: a dry run, a release, one that was broken off, and what it refuses. Releases take a minute: LATENT_TEST_RELEASE=1
 * turns them on, which `npm run test:matrix` does.
 */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as packages from '../helpers/packages'
import { libraryName, npm, root, run, succeed, type Registry } from '../helpers/packages'

const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-release-'))
const store = path.join(folder, 'registry')
const { version } = packages.readManifest(root)
const userconfig = process.env.npm_config_userconfig
let registry: Registry

const released = () => readdirSync(store).filter((name) => name.includes('latent-diffusion'))
const library = `${libraryName}-${version}.tgz`

function release(...args: string[]) {
  return run(root, process.execPath, 'scripts/release.mjs', '--here', '--out', path.join(folder, 'out'), '--registry', registry.url, ...args)
}

/** [package, outcome] of every line of the report. */
function outcomes(...args: string[]): [string, string][] {
  const { status, text } = release(...args)
  expect({ status, text }).toMatchObject({ status: 0 })
  return [...text.matchAll(/^(\S+)@\S+: ([\w ]+) \(\d/gm)].map(([, name, outcome]) => [name!, outcome!])
}

beforeAll(async () => {
  mkdirSync(store)
  registry = await packages.startRegistry(store)
  const file = path.join(folder, 'npmrc')
  writeFileSync(file, `cache=${path.join(folder, 'cache')}\n${registry.url.replace('http:', '')}:_authToken=for-this-test\n`)
  process.env.npm_config_userconfig = file
})

afterAll(() => {
  registry?.close()
  if (userconfig === undefined) delete process.env.npm_config_userconfig
  else process.env.npm_config_userconfig = userconfig
  rmSync(folder, { recursive: true, force: true })
})

test('a dry run publishes nothing and reports what it would publish', () => {
  const told = outcomes()
  expect(told.length).toBe(7)
  expect(new Set(told.map(([, outcome]) => outcome))).toEqual(new Set(['would be published']))
  expect(released()).toEqual([])
})

const releases = process.env.LATENT_TEST_RELEASE ? test : test.skip

releases('a release publishes the library last, and the published package installs and runs', () => {
  const told = outcomes('--publish')
  expect(told.map(([name]) => name).at(-1)).toBe(libraryName)
  expect(new Set(told.map(([, outcome]) => outcome))).toEqual(new Set(['published']))
  expect(released()).toHaveLength(7)

  packages.packDependencies(store)
  const project = packages.emptyProject(path.join(folder, 'project'), registry)
  succeed(project, npm, 'install', libraryName)
  const program = `console.log(require('${libraryName}').getVersions().version)`
  expect(succeed(project, process.execPath, '-e', program).trim()).toBe(version)
})

releases('running an interrupted release again completes it', () => {
  rmSync(path.join(store, library))
  const told = outcomes('--publish')
  expect(told.slice(0, -1).map(([, outcome]) => outcome)).toEqual(new Array(6).fill('already published'))
  expect(told.at(-1)).toEqual([libraryName, 'published'])
})

releases('publishing different contents under the same version is refused', () => {
  const theirs = path.join(folder, 'theirs')
  mkdirSync(theirs)
  writeFileSync(path.join(theirs, 'package.json'), JSON.stringify({ name: libraryName, version }))
  succeed(theirs, npm, 'pack', '--silent')
  renameSync(path.join(theirs, library), path.join(store, library))
  const { status, text } = release('--publish')
  expect(status).toBe(1)
  expect(text).toContain(`${libraryName}@${version} is already published with different contents`)
})

/** A library of this machine's format in the place of every binary, without those of `without`. */
function fakePrebuilds(without: string[]): string {
  const prebuilds = mkdtempSync(path.join(folder, 'prebuilds-'))
  const program = `import { missingFiles } from './scripts/packages.mjs'
import { gpuLibraries, gpuLibraryFile } from './scripts/packages/manifests.mjs'
import { platforms } from './scripts/packages/platforms.mjs'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
const [prebuilds, without] = JSON.parse(process.argv[1])
for (const platform of platforms) {
  const libraries = gpuLibraries.filter(({ platforms: all }) => all.includes(platform))
  const files = [[platform.name, platform.prebuild], ...libraries.map(({ kind }) => [platform.name + '-' + kind, path.join(path.dirname(platform.prebuild), gpuLibraryFile(kind, platform))])]
  for (const [name, file] of files) {
    if (without.includes(name)) continue
    mkdirSync(path.dirname(path.join(prebuilds, file)), { recursive: true })
    writeFileSync(path.join(prebuilds, file), '')
  }
}
console.log(JSON.stringify(missingFiles({ prebuilds })))`
  const told = JSON.parse(succeed(root, process.execPath, '--input-type=module', '-e', program, JSON.stringify([prebuilds, without]))) as Record<
    string,
    string[]
  >
  expect([...told.binaries!, ...told.libraries!].sort()).toEqual([...without].sort())
  return prebuilds
}

test('a release without one of the binaries or libraries for GPUs is refused', () => {
  for (const without of [['linux-arm64-cuda'], ['darwin-arm64-metal', 'win32-x64-vulkan'], ['linux-x64-musl']]) {
    const { status, text } = run(root, process.execPath, 'scripts/release.mjs', '--prebuilds', fakePrebuilds(without), '--registry', registry.url)
    expect(status).toBe(1)
    for (const name of without) expect(text).toMatch(new RegExp(`prebuilds/ has no binary for .*${name}`))
  }
  expect(fakePrebuilds([])).toBeDefined() // with all of them, nothing is missing
})

test('local builds are only published to a local registry, and the tag must match the version', () => {
  const elsewhere = run(root, process.execPath, 'scripts/release.mjs', '--here', '--publish', '--registry', 'https://registry.invalid')
  expect(elsewhere).toMatchObject({ status: 1 })
  expect(elsewhere.text).toContain('--here is for trials')
  process.env.GITHUB_REF_TYPE = 'tag'
  process.env.GITHUB_REF_NAME = 'v9.9.9'
  try {
    expect(release().text).toContain(`The tag is v9.9.9, but package.json has version ${version}`)
  } finally {
    delete process.env.GITHUB_REF_TYPE
    delete process.env.GITHUB_REF_NAME
  }
})
