/** The libraries for GPUs next to the addon: found here, tested in a child process, and only then loaded into this process. Refusals are remembered. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { DeviceError } from '../errors.js'
import { addon, guarded } from '../native/call.js'
import { untilAborted } from '../native/job.js'
import { runLines, type ChildEnd } from './child-lines.js'
import { outsideArchive, packageRoot, packageVersion, scope } from '../native/package-root.js'

const probeTimeout = 30_000 // milliseconds; the first use of a driver takes a few seconds

/** Kinds of devices with a library of their own. */
export const gpuKinds = ['cuda', 'vulkan', 'metal', 'ggml-cuda'] as const
export type GpuKind = (typeof gpuKinds)[number]

const titles: Record<GpuKind, string> = { cuda: 'CUDA engine', vulkan: 'Vulkan backend', metal: 'Metal backend', 'ggml-cuda': 'CUDA backend of ggml' }
const suffixes: Partial<Record<NodeJS.Platform, string>> = { win32: '.dll', darwin: '.dylib' }

/** A library, or why the one found cannot be used. */
export interface FoundLibrary {
  path: string
  refused?: string
}

function variableOf(kind: GpuKind): string {
  return `LATENT_${kind.toUpperCase().replace('-', '_')}_LIBRARY`
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

/** Why there is no library of this kind, and how to get one. Packages with libraries are not published yet (docs/install.md). */
export function missingLibrary(kind: GpuKind, platform: string = process.platform): string {
  const mac = platform === 'darwin'
  if (kind === 'metal' && !mac) return 'Metal exists only on macOS'
  if (kind.endsWith('cuda') && mac) return 'CUDA does not exist on macOS'
  return `the ${titles[kind]} is not installed: compile it with "latent build --gpu ${kind}" (docs/gpu.md)`
}

/** What the test process found. */
export interface Probed {
  /** Why the library cannot be used at all. */
  refused?: string
  /** The test itself could not run, which says nothing about the library: the next call tries again. */
  untested?: boolean
  /** Why some of its devices cannot, by name; empty for those that passed. */
  devices: Map<string, string>
}

const maxCrashes = 8

/** The environment of test processes: no GPU library, so that a crash is not another one's, and no options of this process for Node.js. */
export function childEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env }
  for (const each of gpuKinds) delete env[variableOf(each)]
  delete env.NODE_OPTIONS
  return env
}

/** How a test process ended, with the last it wrote. */
export function describeEnd({ problem = 'ended', stderr }: ChildEnd): string {
  return stderr === undefined ? problem : `${problem}, after "${stderr.replaceAll(/\s+/g, ' ')}"`
}

/** Loads the library in a child process, lists its devices and computes a small graph on each. `timeout`: milliseconds for each of these steps. */
export async function probeGpuLibrary(
  kind: GpuKind,
  library: string,
  timeout = probeTimeout,
  script = path.join(__dirname, '..', '..', 'dist', 'native', 'gpu-probe.js'),
  signal?: AbortSignal,
): Promise<Probed> {
  const devices = new Map<string, string>()
  const untested = (why: string): Probed => ({ refused: `the ${titles[kind]} could not be tested: ${why}`, untested: true, devices })
  if (!existsSync(script)) return untested(`${script} is missing; install node-latent-diffusion again`)
  const what = `the ${titles[kind]} or the driver`
  for (let crashes = 0; crashes < maxCrashes; ++crashes) {
    let current: string | undefined
    let failed: string | undefined
    let started = false
    let done = false
    const end = await runLines(
      script,
      [kind, library, [...devices.keys()].join(',')],
      childEnvironment(),
      timeout,
      (message) => {
        started ||= message.started === true
        done ||= message.done === true
        if (typeof message.failed === 'string') failed ??= message.failed
        if (typeof message.device !== 'string') return
        const passed = message.passed === true
        current = passed || message.refused !== undefined ? undefined : message.device
        if (passed) devices.set(message.device, '')
        if (typeof message.refused === 'string') devices.set(message.device, message.refused)
      },
      signal,
    )
    if (done) return { devices }
    if (!started) return untested(failed ?? (end.unstarted ? describeEnd(end) : `the test process ${describeEnd(end)} before it loaded the library`))
    if (failed !== undefined) return { refused: `${what} failed in the test process: ${failed} (${library})`, devices }
    const why = `${describeEnd(end)}, in the test process`
    if (current === undefined) return { refused: `${what} ${why} (${library}); update the driver`, devices }
    devices.set(current, `${what} ${why}, while computing a small graph; update the driver`)
  }
  return { refused: `${what} crashed in the test process with ${maxCrashes} devices (${library}); update the driver`, devices }
}

/** The test of a library, which ends when nobody waits for it any more. */
interface Preparation {
  done: Promise<{ found: boolean }>
  waiting: number
  finished: boolean
  stop: AbortController
}

const prepared = new Map<GpuKind, Preparation>()
const failures = new Map<GpuKind, Set<string>>()

async function prepare(kind: GpuKind, { signal }: AbortController): Promise<{ found: boolean; again: boolean }> {
  const found = findGpuLibrary(kind)
  if (!found) return { found: false, again: true }
  const probed: Probed =
    found.refused === undefined
      ? await probeGpuLibrary(kind, found.path, undefined, undefined, signal)
      : { refused: found.refused, devices: new Map() }
  guarded(() => {
    addon().setGpuLibrary(kind, found.path, probed.refused ?? '')
    // An empty reason takes back what another thread's test found.
    for (const [device, reason] of probed.devices) addon().refuseDevice(device, reason)
  })
  const failed = [...probed.devices].flatMap(([device, reason]) => (reason === '' ? [] : [device]))
  if (found.refused === undefined && probed.refused !== undefined) failed.push(kind)
  failures.set(kind, new Set(failed))
  // Electron may be forbidden to run Node.js: it then starts the app instead, which is not worth another try.
  return { found: true, again: probed.untested === true && process.versions.electron === undefined }
}

/** Devices, or whole kinds, that the test processes of this thread refused: because of a crash, a hang, wrong numbers, or because they could not run. */
export function refusedByTest(): ReadonlySet<string> {
  return new Set([...failures.values()].flatMap((each) => [...each]))
}

function begin(kind: GpuKind): Preparation {
  const forget = () => {
    if (prepared.get(kind) === preparation) prepared.delete(kind)
  }
  const stop = new AbortController()
  const done = prepare(kind, stop).then(
    ({ found, again }) => {
      preparation.finished = true
      if (again) forget()
      return { found }
    },
    (error: unknown) => {
      forget()
      throw error
    },
  )
  done.catch(() => undefined) // nobody waits for an aborted one
  const preparation: Preparation = { done, waiting: 0, finished: false, stop }
  prepared.set(kind, preparation)
  return preparation
}

/** Finds, tests and registers a library, once per thread, so that the engine knows its GPUs. */
async function prepareKind(kind: GpuKind, signal: AbortSignal | undefined): Promise<{ found: boolean }> {
  signal?.throwIfAborted()
  const preparation = prepared.get(kind) ?? begin(kind)
  ++preparation.waiting
  try {
    await untilAborted(preparation.done, signal)
    return await preparation.done
  } finally {
    if (--preparation.waiting === 0 && signal?.aborted) {
      if (prepared.get(kind) === preparation && !preparation.finished) prepared.delete(kind)
      preparation.stop.abort(signal.reason)
    }
  }
}

/** All of them, or some. */
export async function prepareGpus(signal?: AbortSignal, kinds: readonly GpuKind[] = gpuKinds): Promise<void> {
  await Promise.all(kinds.map((kind) => prepareKind(kind, signal)))
}

/** The one that `device` needs. Throws a DeviceError if it is not installed. */
export async function prepareDevice(device: string, signal?: AbortSignal): Promise<void> {
  const kind = gpuKinds.find((each) => device === each || device.startsWith(`${each}:`))
  if (!kind || (await prepareKind(kind, signal)).found) return
  throw new DeviceError(`There is no device "${device}": ${missingLibrary(kind)}. getDevices() lists the devices.`, { device })
}

/** Registers a library without a test, in a process that is made for testing it. */
export function trustLibrary(kind: GpuKind, library: string): void {
  prepared.set(kind, { done: Promise.resolve({ found: true }), waiting: 0, finished: true, stop: new AbortController() })
  guarded(() => addon().setGpuLibrary(kind, library, ''))
}
