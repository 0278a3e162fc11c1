/** The libraries for GPUs next to the addon: found here, tested in a child process, and only then loaded into this process. Refusals are remembered. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { addon, guarded } from '../native/call.js'
import { runLines } from './child-lines.js'
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

/** What the test process found. */
export interface Probed {
  /** Why the library cannot be used at all. */
  refused?: string
  /** Why some of its devices cannot, by name. */
  devices: Map<string, string>
}

const maxCrashes = 8

/** The environment of a process that knows no GPU library, so that a crash is not another one's. */
export function withoutLibraries(): NodeJS.ProcessEnv {
  const env = { ...process.env }
  for (const each of gpuKinds) delete env[variableOf(each)]
  return env
}

/** Loads the library in a child process, lists its devices and computes a small graph on each. `timeout`: milliseconds for each of these steps. */
export async function probeGpuLibrary(
  kind: GpuKind,
  library: string,
  timeout = probeTimeout,
  script = path.join(__dirname, '..', '..', 'dist', 'native', 'gpu-probe.js'),
): Promise<Probed> {
  const what = `the ${titles[kind]} or the driver`
  const devices = new Map<string, string>()
  for (let crashes = 0; crashes < maxCrashes; ++crashes) {
    let current: string | undefined
    let failed: string | undefined
    let done = false
    const { problem } = await runLines(script, [kind, library, [...devices.keys()].join(',')], withoutLibraries(), timeout, (message) => {
      done ||= message.done === true
      if (typeof message.failed === 'string') failed ??= message.failed
      if (typeof message.device !== 'string') return
      current = message.passed === true || message.refused !== undefined ? undefined : message.device
      if (typeof message.refused === 'string') devices.set(message.device, message.refused)
    })
    if (done) return { devices }
    if (failed !== undefined) return { refused: `${what} failed in the test process: ${failed} (${library})`, devices }
    const why = `${problem ?? 'ended'} in the test process`
    if (current === undefined) return { refused: `${what} ${why} (${library}); update the driver`, devices }
    devices.set(current, `${what} ${why}, while computing a small graph; update the driver`)
  }
  return { refused: `${what} crashed in the test process with ${maxCrashes} devices (${library}); update the driver`, devices }
}

const prepared = new Map<GpuKind, Promise<void>>()

async function prepare(kind: GpuKind): Promise<void> {
  const found = findGpuLibrary(kind)
  if (!found) return
  const probed: Probed = found.refused === undefined ? await probeGpuLibrary(kind, found.path) : { refused: found.refused, devices: new Map() }
  guarded(() => {
    addon().setGpuLibrary(kind, found.path, probed.refused ?? '')
    for (const [device, reason] of probed.devices) addon().refuseDevice(device, reason)
  })
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

/** Registers a library without a test, in a process that is made for testing it. */
export function trustLibrary(kind: GpuKind, library: string): void {
  prepared.set(kind, Promise.resolve())
  guarded(() => addon().setGpuLibrary(kind, library, ''))
}
