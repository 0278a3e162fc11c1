#!/usr/bin/env node
/**
 * Assembles the packages that are published, as an npm workspace: packages/README.md lists them.
 *
 *   node scripts/packages.mjs [--out FOLDER] [--here] [--partial] [--only NAME,...]
 *
 * Binaries come from prebuilds/; packages of missing ones are listed and skipped. --here uses the binary built by `npm run build:native` for this machine, and the
 * libraries for GPUs beside it (for tests). --partial: the library does not depend on skipped packages. --only assembles some: library, create, server, worker, source, tiny-scenes, or names
 * of platforms.
 */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { main, root } from './build-native.mjs'
import { unfitFor, unfitLibrary } from './packages/binary.mjs'
import { gpuLibraries, gpuLibraryFile, libraryManifest, platformManifest, version, writtenManifest } from './packages/manifests.mjs'
import { libraryName, platformHere, platforms } from './packages/platforms.mjs'
import { stageSources } from './packages/sources.mjs'

function put(folder, manifest, files) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  for (const [to, from] of Object.entries({ LICENSE: 'LICENSE', ...files })) {
    const source = path.resolve(root, from)
    if (!existsSync(source)) throw new Error(`${source} is missing: run 'npm ci' first`)
    cpSync(source, path.join(folder, to), { recursive: true })
  }
  return folder
}

const note = (manifest) =>
  `# ${manifest.name}\n\n${manifest.description}. ${libraryName} loads it; it has no API of its own. ` +
  `It always has the same version as ${libraryName}.\n\nMIT. NOTICE lists third-party code in it.\n`

function platformPackage(out, platform, binary, gpu) {
  const manifest = platformManifest(platform, gpu)
  const name = gpu ? path.basename(binary) : 'latent.node'
  const folder = put(path.join(out, `${platform.name}${gpu ? `-${gpu.kind}` : ''}`), manifest, { [name]: binary, NOTICE: 'NOTICE' })
  writeFileSync(path.join(folder, 'README.md'), note(manifest))
  return folder
}

/** The templates of `npm create`: folders of examples/. */
const templates = ['script', 'express', 'next', 'electron']

const builders = {
  'tiny-scenes': (out) => {
    const written = ['index.js', 'index.d.ts'].map((name) => [name, `packages/tiny-scenes/${name}`])
    return put(path.join(out, 'tiny-scenes'), writtenManifest('tiny-scenes'), {
      ...Object.fromEntries(written),
      'tiny-scenes.gguf': 'models/tiny-scenes.gguf',
      'README.md': 'models/README.md',
    })
  },
  source: (out) => {
    const folder = put(path.join(out, 'source'), writtenManifest('source'), { 'README.md': 'packages/source/README.md', NOTICE: 'NOTICE' })
    stageSources(folder)
    return folder
  },
  server: (out) => {
    const names = ['dist', 'page-dist', 'README.md']
    return put(path.join(out, 'server'), writtenManifest('server'), Object.fromEntries(names.map((name) => [name, `packages/server/${name}`])))
  },
  worker: (out) => {
    const names = ['dist', 'README.md']
    return put(path.join(out, 'worker'), writtenManifest('worker'), Object.fromEntries(names.map((name) => [name, `packages/worker/${name}`])))
  },
  create: (out) => {
    const manifest = writtenManifest('create')
    const names = ['index.js', 'README.md']
    const folder = put(path.join(out, manifest.name), manifest, Object.fromEntries(names.map((name) => [name, `packages/create/${name}`])))
    const isSource = (file) => !/^(node_modules|out|dist|\.next|package-lock\.json)$/.test(path.basename(file))
    for (const name of templates)
      cpSync(path.join(root, 'examples', name), path.join(folder, 'templates', name), { recursive: true, filter: isSource })
    return folder
  },
  library: (out, without) => {
    const names = ['dist', 'types', 'assets', 'README.md', 'CHANGELOG.md', 'NOTICE']
    return put(path.join(out, libraryName), libraryManifest(without), Object.fromEntries(names.map((name) => [name, name])))
  },
}

const allPrebuilds = path.join(root, 'prebuilds')

/** Where the files of a platform's packages must be: the binary and the libraries for GPUs. `built`: those of the local build. */
function filesOf(platform, { prebuilds = allPrebuilds, here = false }) {
  const built = here && platform.name === platformHere()
  const binary = built ? path.join(root, 'build', 'Release', 'latent.node') : path.join(prebuilds, platform.prebuild)
  const libraries = gpuLibraries
    .filter(({ platforms: all }) => all.includes(platform))
    .map((gpu) => ({ gpu, name: `${platform.name}-${gpu.kind}`, file: path.join(path.dirname(binary), gpuLibraryFile(gpu.kind, platform)) }))
  return { built, binary, libraries }
}

/** What a complete release has and this one lacks, as names of packages: { binaries: linux-x64 ..., libraries: linux-x64-cuda ... }. */
export function missingFiles(options) {
  const all = platforms.map((platform) => ({ name: platform.name, ...filesOf(platform, options) }))
  return {
    binaries: all.filter(({ binary }) => !existsSync(binary)).map(({ name }) => name),
    libraries: all.flatMap(({ libraries }) => libraries.filter(({ file }) => !existsSync(file)).map(({ name }) => name)),
  }
}

/**
 * Assembles the packages and returns { folders, missing }: their folders, the library last, because it depends on all others; and the platforms without a
 * binary. Libraries for GPUs that are not there have no package. Throws if a binary does not match its package.
 */
export function assemble({ out = path.join(root, 'build-packages'), prebuilds, here, partial = false, only } = {}) {
  const known = [...platforms.map(({ name }) => name), ...Object.keys(builders)]
  const unknown = only?.filter((name) => !known.includes(name)) ?? []
  if (unknown.length > 0) throw new Error(`There is no package ${unknown.join(', ')}; there are ${known.join(', ')}`)
  const wanted = (name) => only === undefined || only.includes(name)
  const folders = []
  const missing = []
  rmSync(out, { recursive: true, force: true })
  for (const platform of platforms.filter(({ name }) => wanted(name))) {
    const { built, binary, libraries } = filesOf(platform, { prebuilds, here })
    if (!existsSync(binary)) {
      missing.push(platform.name)
      continue
    }
    // A local build is linked with this machine's C library.
    const target = built ? { ...platform, glibc: undefined } : platform
    const check = (file, problem) => {
      if (problem) throw new Error(`${path.relative(root, file)} ${problem}`)
    }
    check(binary, unfitFor(target, binary))
    folders.push(platformPackage(out, platform, binary))
    for (const { gpu, file } of libraries.filter((each) => existsSync(each.file))) {
      check(file, unfitLibrary(target, file))
      folders.push(platformPackage(out, platform, file, gpu))
    }
  }
  for (const [name, build] of Object.entries(builders)) if (wanted(name)) folders.push(build(out, partial ? missing : []))
  const workspace = { name: `${libraryName}-packages`, private: true, version, workspaces: folders.map((folder) => path.basename(folder)) }
  writeFileSync(path.join(out, 'package.json'), `${JSON.stringify(workspace, null, 2)}\n`)
  return { folders, missing }
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(() => {
    const { values } = parseArgs({
      options: { out: { type: 'string' }, here: { type: 'boolean' }, partial: { type: 'boolean' }, only: { type: 'string' } },
    })
    const { folders, missing } = assemble({ ...values, only: values.only?.split(',') })
    for (const folder of folders) console.log(path.relative(process.cwd(), folder))
    if (missing.length > 0) console.log(`without a binary in prebuilds/: ${missing.join(', ')}`)
  })
}
