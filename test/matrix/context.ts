/** Shared by all cases of the matrix: the tools, the registry, and programs that must generate the same image everywhere. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as packages from '../helpers/packages'
import { runWith, type Outcome, type Registry } from '../helpers/packages'

/** Folder in which run.mjs installs the tools. */
const tools = path.join(packages.root, 'build-matrix', 'tools', 'node_modules')
/** Folder of this run, outside the repository, so that searching parent folders does not find the package. */
export const folder = mkdtempSync(path.join(os.tmpdir(), 'latent-matrix-'))
export const name = packages.libraryName
export const scope = '@node-latent-diffusion'
const tarballs = path.join(folder, 'tarballs')
const wanted = JSON.parse(readFileSync(path.join(__dirname, 'tools.json'), 'utf8')) as Record<string, string>

/** A file of a tool. */
export const tool = (...names: string[]) => path.join(tools, ...names)
/** The version of a tool, for the names of cases. */
export const versionOf = (of: string) => wanted[of]!.replace(/^npm:.*@/, '')
/** Another version of Node. */
export const node = (major: string) => tool(`node-${major}`, 'bin', 'node')

let registry: Registry | undefined

export async function open(): Promise<void> {
  mkdirSync(tarballs, { recursive: true })
  packages.packAll(folder, tarballs)
  packages.packDependencies(tarballs, packages.root, path.join(packages.root, 'packages', 'server'))
  packages.packForeign(folder, tarballs)
  registry = await packages.startRegistry(tarballs)
}

export function close(): void {
  registry?.close()
  rmSync(folder, { recursive: true, force: true })
}

/** The packed file of a package of this repository. */
export const tarball = (of: string) => path.join(tarballs, `${of}-${packages.readManifest(packages.root).version}.tgz`)

export const registryUrl = () => registry!.url

/** Generates an image with the embedded model and prints its hash. */
const body = `
  const pipe = await DiffusionPipeline.load()
  const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 1, steps: 8 })
  await pipe.dispose()
  console.log('drawn ' + createHash('sha256').update(images[0].data).digest('hex'))
`
const programs: Record<string, string> = {
  'draw.cjs': `const { createHash } = require('node:crypto')\nconst { DiffusionPipeline } = require('${name}')\n;(async () => {${body}})()\n`,
  'draw.mjs': `import { createHash } from 'node:crypto'\nimport { DiffusionPipeline } from '${name}'\n${body}`,
}

/** An empty project with the two programs, for one case. */
export function project(title: string): string {
  const place = packages.emptyProject(path.join(folder, 'projects', title), registry!)
  for (const [file, text] of Object.entries(programs)) writeFileSync(path.join(place, file), text)
  return place
}

let shared: string | undefined

/** A project with the package installed by npm; cases add files to it. */
export function installed(): string {
  if (shared === undefined) {
    shared = project('installed')
    packages.succeed(shared, packages.npm, 'install', name)
  }
  return shared
}

/** A project for one package manager, with separate caches. */
export function environment(place: string): Record<string, string> {
  const home = path.join(place, '..', `${path.basename(place)}-home`)
  mkdirSync(home, { recursive: true })
  return { HOME: home, XDG_CACHE_HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home, npm_config_userconfig: path.join(home, 'npmrc'), CI: 'true' }
}

/** Runs a program that must succeed; returns the output of both streams. */
export function succeed(variables: Record<string, string>, cwd: string, command: string, ...args: string[]): string {
  const { status, text } = runWith(variables, cwd, command, ...args)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${text}`)
  return text
}

/** Runs a program that must fail. */
export function fail(variables: Record<string, string>, cwd: string, command: string, ...args: string[]): string {
  const { status, text }: Outcome = runWith(variables, cwd, command, ...args)
  if (status === 0) throw new Error(`${command} ${args.join(' ')} ended well:\n${text}`)
  return text
}

let first: string | undefined

/** Compares a program's image with the first one of this run. */
export function expectPicture(printed: string): void {
  const picture = /^drawn ([0-9a-f]{64})$/m.exec(printed)?.[1]
  if (picture === undefined) throw new Error(`nothing was drawn:\n${printed}`)
  expect(picture).toBe((first ??= picture))
}
