/** The packages as they are published, packed, and served by a registry on loopback; and programs run as a stranger's shell would. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

export const root = path.resolve(__dirname, '..', '..')
export const libraryName = 'node-latent-diffusion'
const windows = process.platform === 'win32'
export const npm = windows ? 'npm.cmd' : 'npm'

export interface Manifest {
  name: string
  version: string
  scripts?: Record<string, string>
  main?: string
  os?: string[]
  cpu?: string[]
  libc?: string[]
  dependencies?: Record<string, string>
  devDependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

export interface Outcome {
  status: number | null
  /** Standard output, then standard error. */
  text: string
  stdout: string
}

/** Runs a program without this process's npm settings. */
export function run(cwd: string, command: string, ...args: string[]): Outcome {
  return runWith({}, cwd, command, ...args)
}

/** The same with variables of the environment beside. */
export function runWith(variables: Record<string, string>, cwd: string, command: string, ...args: string[]): Outcome {
  const own = Object.entries(process.env).filter(([key]) => !/^npm_(?!config_(registry|cache|userconfig|globalconfig))/i.test(key))
  const env = { ...Object.fromEntries(own), ...variables }
  const shell = windows && /\.cmd$/.test(command)
  const result = spawnSync(command, args, { cwd, env, encoding: 'utf8', shell, maxBuffer: 1 << 26 })
  return { status: result.status, text: `${result.stdout}${result.stderr}${result.error?.message ?? ''}`, stdout: result.stdout }
}

/** Standard output of a program that must succeed. */
export function succeed(cwd: string, command: string, ...args: string[]): string {
  const { status, text, stdout } = run(cwd, command, ...args)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${text}`)
  return stdout
}

export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest
}

export interface Packed {
  name: string
  filename: string
  size: number
  unpackedSize: number
  files: { path: string; size: number }[]
}

function pack(folder: string, destination: string, ...what: string[]): Packed[] {
  mkdirSync(destination, { recursive: true })
  const report = succeed(folder, npm, 'pack', '--ignore-scripts', '--json', '--silent', '--pack-destination', destination, ...what)
  const packed = JSON.parse(report.slice(report.search(/[[{]\s*["{]/))) as Packed[] | Record<string, Packed>
  return Array.isArray(packed) ? packed : Object.values(packed)
}

/** Assembles packages with the arguments of scripts/packages.mjs, and packs them into `tarballs`. */
function packWith(folder: string, tarballs: string, ...args: string[]): Packed[] {
  const out = path.join(folder, 'packages')
  succeed(root, process.execPath, 'scripts/packages.mjs', ...args, '--out', out)
  return pack(out, tarballs, '--workspaces')
}

/** The packages of this machine, with the binary that was built here (LATENT_TEST_PREBUILT: with that of prebuilds/, as it would be published), packed into `tarballs`. */
export function packAll(folder: string, tarballs: string): Packed[] {
  return packWith(folder, tarballs, ...(process.env.LATENT_TEST_PREBUILT ? [] : ['--here']))
}

/** The packages that need no binary. */
export function packPortable(folder: string, tarballs: string): Packed[] {
  return packWith(folder, tarballs, '--only', 'library,source,tiny-scenes')
}

/** Where `name` is found from `folder`, as Node.js looks for it. */
function findModule(name: string, folder: string): string {
  const place = path.join(folder, 'node_modules', name)
  if (existsSync(path.join(place, 'package.json'))) return place
  if (folder === root) throw new Error(`${name} is not installed`)
  return findModule(name, path.dirname(folder))
}

/** What packages of this repository depend on (default: the library), packed from the node_modules that tests run with: nothing is fetched. */
export function packDependencies(tarballs: string, ...dependants: string[]): void {
  const wanted = new Set<string>()
  const addOf = (folder: string) => {
    for (const name of Object.keys(readManifest(folder).dependencies ?? {})) {
      const place = findModule(name, folder)
      if (wanted.has(place)) continue
      wanted.add(place)
      addOf(place)
    }
  }
  for (const folder of dependants.length > 0 ? dependants : [root]) addOf(folder)
  pack(root, tarballs, ...[...wanted].map((place) => `./${path.relative(root, place).replaceAll(path.sep, '/')}`))
}

/** Packages of other systems (`all`: and of this one), with something in place of a binary: a registry has all of them. */
export function packForeign(folder: string, tarballs: string, { all = false } = {}): string[] {
  const program = `import { platforms, platformHere } from './scripts/packages/platforms.mjs'
import { platformManifest } from './scripts/packages/manifests.mjs'
console.log(JSON.stringify(platforms.filter(({ name }) => ${all} || name !== platformHere()).map((platform) => platformManifest(platform))))`
  const manifests = JSON.parse(succeed(root, process.execPath, '--input-type=module', '-e', program)) as Manifest[]
  const folders = manifests.map((manifest) => {
    const place = path.join(folder, 'foreign', path.basename(manifest.name))
    mkdirSync(place, { recursive: true })
    writeFileSync(path.join(place, 'package.json'), JSON.stringify(manifest))
    writeFileSync(path.join(place, 'latent.node'), 'of another system')
    return `./${path.relative(folder, place).replaceAll(path.sep, '/')}`
  })
  pack(folder, tarballs, ...folders)
  return manifests.map(({ name }) => name)
}

export interface Registry {
  url: string
  close(): void
}

/** Starts test/helpers/registry.mjs over a folder of tarballs. */
export function startRegistry(tarballs: string): Promise<Registry> {
  const child: ChildProcess = spawn(process.execPath, [path.join(__dirname, 'registry.mjs'), tarballs], { stdio: ['pipe', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the registry ended with ${code}`)))
    child.stdout!.once('data', (data: Buffer) => resolve({ url: data.toString().trim(), close: () => void child.kill() }))
  })
}

/** An empty project that knows this registry alone, with a cache of its own. */
export function emptyProject(folder: string, registry: Registry, cache = path.join(path.dirname(folder), 'cache')): string {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true }))
  writeFileSync(path.join(folder, '.npmrc'), `registry=${registry.url}\ncache=${cache}\naudit=false\nfund=false\n`)
  return folder
}

/** The first example of a language in the README. */
export function readmeExample(marker: string): string {
  const code = [...readFileSync(path.join(root, 'README.md'), 'utf8').matchAll(/```js\n([\s\S]*?)```/g)].map(([, text]) => text!)
  const found = code.find((text) => text.includes(marker))
  if (found === undefined) throw new Error(`README.md has no example with ${marker}`)
  return found
}
