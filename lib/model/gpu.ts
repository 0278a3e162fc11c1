/** The libraries for GPUs next to the addon: found here, tested in a child process, and only then loaded into this process. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { addon, guarded } from '../native/call.js'
import { outsideArchive, packageRoot, packageVersion, scope } from '../native/package-root.js'

const probeTimeout = 30_000 // milliseconds; the first use of a driver takes a few seconds

/** Kinds of devices with a library of their own. */
export const gpuKinds = ['cuda', 'vulkan', 'metal'] as const
export type GpuKind = (typeof gpuKinds)[number]

const titles: Record<GpuKind, string> = { cuda: 'CUDA engine', vulkan: 'Vulkan backend', metal: 'Metal backend' }
const suffixes: Partial<Record<NodeJS.Platform, string>> = { win32: '.dll', darwin: '.dylib' }

/** A library, or why the one found cannot be used. */
export interface FoundLibrary {
  path: string
  refused?: string
}

function variableOf(kind: GpuKind): string {
  return `LATENT_${kind.toUpperCase()}_LIBRARY`
}

function versionOf(manifest: string): string {
  return String((JSON.parse(readFileSync(manifest, 'utf8')) as { version?: unknown }).version)
}

/** The path of a library: from the environment, a build in this folder, or the optional package of the same version. Undefined if there is none. */
export function findGpuLibrary(
  kind: GpuKind,
  root: string = packageRoot(),
  env: NodeJS.ProcessEnv = process.env,
  ours: string = packageVersion(),
): FoundLibrary | undefined {
  const variable = variableOf(kind)
  const given = env[variable]
  if (given) {
    const file = path.resolve(given)
    return existsSync(file) ? { path: file } : { path: file, refused: `${variable}: ${file} does not exist` }
  }
  const file = `latent-${kind}${suffixes[process.platform] ?? '.so'}`
  const system = `${process.platform}-${process.arch}`
  for (const folder of [path.join(root, 'build', 'Release'), path.join(root, 'prebuilds', system)]) {
    if (existsSync(path.join(folder, file))) return { path: path.join(folder, file) }
  }
  const name = `${scope}/${system}-${kind}`
  let manifest: string
  try {
    manifest = createRequire(path.join(root, 'package.json')).resolve(`${name}/package.json`)
  } catch {
    return undefined
  }
  const library = outsideArchive(path.join(path.dirname(manifest), file))
  const theirs = versionOf(manifest)
  if (theirs !== ours) {
    return { path: library, refused: `${name} is version ${theirs} and node-latent-diffusion ${ours}; install ${name}@${ours}` }
  }
  return existsSync(library) ? { path: library } : { path: library, refused: `${name} has no ${file}; install it again` }
}

/** Loads the library in a child process and lists its devices. Returns the error, or undefined. */
export function probeGpuLibrary(
  kind: GpuKind,
  library: string,
  timeout = probeTimeout,
  script = path.join(__dirname, '..', '..', 'dist', 'native', 'gpu-probe.js'),
): Promise<string | undefined> {
  const what = `the ${titles[kind]} or the driver`
  return new Promise((resolve) => {
    const env: NodeJS.ProcessEnv = { ...process.env, ELECTRON_RUN_AS_NODE: '1' }
    // Only this library is tested there, so that a crash is not another one's.
    for (const each of gpuKinds) delete env[variableOf(each)]
    execFile(process.execPath, [script, kind, library], { env, timeout, killSignal: 'SIGKILL', windowsHide: true }, (error, stdout) => {
      if (stdout.trimEnd().endsWith('ok')) resolve(undefined)
      else if (error?.killed) resolve(`${what} did not answer within ${timeout / 1000} seconds (${library})`)
      else {
        const how = error?.signal ?? (error?.code === undefined ? 'no answer' : `exit code ${error.code}`)
        resolve(`${what} crashed in the test process (${how}; ${library}); update the driver`)
      }
    })
  })
}

const prepared = new Map<GpuKind, Promise<void>>()

async function prepare(kind: GpuKind): Promise<void> {
  const found = findGpuLibrary(kind)
  if (!found) return
  const refused = found.refused ?? (await probeGpuLibrary(kind, found.path))
  guarded(() => addon().setGpuLibrary(kind, found.path, refused ?? ''))
}

/** Finds, tests and registers a library, once per process, so that the engine knows its GPUs. */
function prepareKind(kind: GpuKind): Promise<void> {
  let known = prepared.get(kind)
  if (!known) prepared.set(kind, (known = prepare(kind)))
  return known
}

/** All of them. */
export async function prepareGpus(): Promise<void> {
  await Promise.all(gpuKinds.map(prepareKind))
}

/** The one that `device` needs. */
export async function prepareDevice(device: string): Promise<void> {
  const kind = gpuKinds.find((each) => device === each || device.startsWith(`${each}:`))
  if (kind) await prepareKind(kind)
}
