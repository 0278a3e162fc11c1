/** The package.json of every published package, from the top-level one and the table of platforms. None of them has scripts. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../build-native.mjs'
import { libraryName, platforms, scope } from './platforms.mjs'

const read = (...names) => JSON.parse(readFileSync(path.join(root, ...names), 'utf8'))
const own = read('package.json')

export const version = own.version

/** The repository, for checking provenance: from the manifest, else the one that runs the release. */
function repository() {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name } = process.env
  return own.repository ?? (server && name ? { type: 'git', url: `git+${server}/${name}.git` } : undefined)
}

const common = () => ({ version, repository: repository(), publishConfig: { access: 'public' } })

const on = (...names) => platforms.filter(({ name }) => names.includes(name))

/** The libraries for GPUs, and their platforms: those that .github/workflows/gpu-libraries.yml builds, and a release must have. */
export const gpuLibraries = [
  { kind: 'cuda', what: 'The CUDA engine', platforms: on('linux-arm64', 'linux-x64', 'win32-x64') },
  { kind: 'vulkan', what: 'The Vulkan backend', platforms: on('linux-arm64', 'linux-x64', 'win32-x64') },
  { kind: 'metal', what: 'The Metal backend', platforms: on('darwin-arm64') },
]

export const gpuLibraryFile = (kind, { os }) => `latent-${kind}${{ win32: '.dll', darwin: '.dylib' }[os] ?? '.so'}`

/** `without`: platforms without a binary in this release. */
export function libraryManifest(without = []) {
  const present = platforms.filter(({ name }) => !without.includes(name))
  const taken = ['name', 'description', 'keywords', 'license', 'type', 'engines', 'main', 'types', 'exports', 'typesVersions', 'bin', 'dependencies']
  const gpuPackages = gpuLibraries.flatMap(({ kind, platforms }) => platforms.map(({ name }) => `${scope}/${name}-${kind}`))
  const optionalPeers = [`${scope}/source`, `${scope}/server`, `${scope}/worker`, ...gpuPackages]
  return {
    ...Object.fromEntries(taken.map((key) => [key, own[key]])),
    ...common(),
    optionalDependencies: Object.fromEntries([...present.map(({ name }) => name), 'tiny-scenes'].map((name) => [`${scope}/${name}`, version])),
    peerDependencies: { ...own.peerDependencies, ...Object.fromEntries(optionalPeers.map((name) => [name, version])) },
    peerDependenciesMeta: { ...own.peerDependenciesMeta, ...Object.fromEntries(optionalPeers.map((name) => [name, { optional: true }])) },
  }
}

/** `gpu`: for a package with a library of gpuLibraries, instead of the addon. */
export function platformManifest({ name, os, cpu, libc, title }, gpu) {
  return {
    name: `${scope}/${name}${gpu ? `-${gpu.kind}` : ''}`,
    description: `${gpu ? gpu.what : 'The native binary'} of ${libraryName} for ${title}`,
    license: own.license,
    ...common(),
    ...(gpu ? {} : { main: './latent.node' }),
    os: [os],
    cpu: [cpu],
    ...(libc ? { libc: [libc] } : {}),
    engines: own.engines,
    preferUnplugged: true,
  }
}

/** For a package with its own folder in packages/. */
export function writtenManifest(folder) {
  const manifest = read('packages', folder, 'package.json')
  const peers = {
    server: {
      peerDependencies: { [libraryName]: version, [`${scope}/worker`]: version },
      peerDependenciesMeta: { [`${scope}/worker`]: { optional: true } },
    },
    worker: { peerDependencies: { [libraryName]: version } },
  }
  return { ...manifest, ...common(), ...peers[folder] }
}
