import os from 'node:os'
import path from 'node:path'
import { childEnvironment, describeEnd, findGpuLibrary, gpuKinds, missingLibrary, prepareGpus, refusedByTest, type GpuKind } from '../model/gpu.js'
import { runLines } from '../model/child-lines.js'
import { packageVersion } from '../native/package-root.js'
import { shared } from '../options/common.js'
import { boolean, callback, number, option, readOptions, type Options } from '../options/option.js'
import { checkString, invalidRange, invalidType, listOf, show } from '../options/validate.js'
import type { CallOptions, Device } from '../types.js'
import type { CheckTask } from './check-devices-child.js'
import { getDevices, getVersions } from './devices.js'

/** One check of a device: an operation of the networks, or an image of the embedded model. */
export interface DeviceCheck {
  /** `linear q8_0`, `attention 40`, `image, fast` ... */
  check: string
  passed: boolean
  /** Not applicable here, such as `exact` on a device that computes in 16 bits. Counts as passed. */
  skipped?: boolean
  /** Why it failed or was skipped, if it did not compute. */
  reason?: string
  /** Operations: root of the summed squares of the differences from float64, relative to that of the right numbers; null if a number is not finite. */
  error?: number | null
  /** The largest error allowed. */
  bound?: number
  /** Images: bytes that differ from the CPU's exact image, of `bytes`, and by how much at most. */
  differing?: number
  bytes?: number
  largest?: number
  /** Peak signal-to-noise ratio in decibels; null if no byte differs. */
  psnr?: number | null
  /** Images: largest difference of the CPU's exact image from the one known, as means of 8x8 pixels. */
  referenceOff?: number
  /** Milliseconds to load the model. */
  loadMs?: number
  /** Milliseconds of the first run, in which drivers compile their programs. */
  firstMs?: number
  /** Milliseconds of the second run. */
  ms?: number
}

/** A device with its checks. */
export interface CheckedDevice {
  device: Device
  passed: boolean
  checks: DeviceCheck[]
  /** Why not all checks ran. */
  problem?: string
}

/** The result of {@link checkDevices}: what it takes to see from afar what a device does. */
export interface DeviceReport {
  date: string
  version: string
  ggml: string
  node: string
  system: string
  cpu: { brand: string; features: string[]; cores: number }
  /** Bytes of the host. */
  memoryTotal: number
  memoryFree: number
  /** The GPU libraries that were found. */
  libraries: { kind: string; path: string; refused?: string }[]
  devices: CheckedDevice[]
  /** Devices that cannot be used, with the reason in `refused`. */
  refused: Device[]
  /** All checks of all devices. False too if a GPU crashed, hung or computed wrong numbers in its first test, or a device named in `devices` cannot be used. */
  passed: boolean
}

/** Options of {@link checkDevices}. */
export interface CheckDevicesOptions extends CallOptions {
  /** Names of {@link getDevices}, or kinds. Default: every usable device. */
  devices?: readonly string[]
  /** Also draws the embedded model's image. Default true. */
  images?: boolean
  /** Seconds after which a check counts as hanging. Default 120: drivers compile their programs at the first use. */
  timeout?: number
  /** Called after each check. An error that it throws, or its rejected promise, ends the checks and rejects the call. */
  onCheck?: (device: string, check: DeviceCheck) => unknown
}

const checkOptions = {
  devices: option(
    (value, name): readonly string[] => {
      if (!Array.isArray(value)) throw invalidType(`${name} must be an array of names, not ${show(value)}`)
      if (value.length === 0) throw invalidRange(`${name} is empty; leave it out to check every device`)
      return listOf(value as unknown[], name, 64).map((each, i) => checkString(each, `${name}[${i}]`, 64))
    },
    { flag: '--device' },
  ),
  images: boolean({ fallback: () => true, flag: 'latent doctor always draws them' }),
  timeout: number({ min: 0.1, max: 86_400, fallback: () => 120, flag: '--timeout' }),
  onCheck: callback<NonNullable<CheckDevicesOptions['onCheck']>>({ flag: 'functions are for programs' }),
  signal: shared.signal,
} satisfies Options<CheckDevicesOptions>

const script = path.join(__dirname, '..', '..', 'dist', 'api', 'check-devices-child.js')
const maxRestarts = 4

async function checkOne(
  device: Device,
  { images, timeout, onCheck }: { images: boolean; timeout: number; onCheck?: CheckDevicesOptions['onCheck'] },
  stop: AbortController,
): Promise<CheckedDevice> {
  const checks: DeviceCheck[] = []
  const found = (check: DeviceCheck) => {
    checks.push(check)
    const result = onCheck?.(device.id, check)
    if (result instanceof Promise) result.catch((error: unknown) => stop.abort(error))
  }
  const library = gpuKinds.includes(device.type as GpuKind) ? findGpuLibrary(device.type as GpuKind)?.path : undefined
  let problem: string | undefined
  for (let restarts = 0; ; ++restarts) {
    const task: CheckTask = {
      device: device.id,
      kind: device.type,
      ...(library === undefined ? {} : { library }),
      images,
      without: checks.map(({ check }) => check),
    }
    let current: string | undefined
    let ended: 'done' | 'restart' | undefined
    let failed: string | undefined
    const end = await runLines(
      script,
      [JSON.stringify(task)],
      childEnvironment(),
      timeout * 1000,
      (message) => {
        if (typeof message.check === 'string') current = message.check
        const result = (message.operation ?? message.image ?? message.failure) as DeviceCheck | undefined
        if (result) {
          current = undefined
          found(result)
        }
        if (message.done === true) ended = 'done'
        if (message.restart === true) ended = 'restart'
        if (typeof message.failed === 'string') failed ??= message.failed
      },
      stop.signal,
    )
    if (ended === 'done') break
    if (current !== undefined) found({ check: current, passed: false, reason: failed === undefined ? describeEnd(end) : failed })
    else if (ended === undefined) problem = failed ?? (end.unstarted ? describeEnd(end) : `the test process ${describeEnd(end)}`)
    if (problem === undefined && restarts >= maxRestarts) problem = `stopped after ${maxRestarts + 1} failures that ended the test process`
    if (problem !== undefined || current === 'image, reference') break
  }
  return {
    device,
    passed: problem === undefined && checks.length > 0 && checks.every(({ passed }) => passed),
    checks,
    ...(problem === undefined ? {} : { problem }),
  }
}

function chosen(devices: readonly Device[], names: readonly string[] | undefined): Device[] {
  if (!names) return [...devices]
  const wanted = names.flatMap((name) => {
    const matches = devices.filter(({ id, type }) => name === id || name === type)
    if (matches.length > 0) return matches
    const kind = gpuKinds.find((each) => name === each || name.startsWith(`${each}:`))
    const why = kind && !devices.some(({ type }) => type === kind) ? `: ${missingLibrary(kind)}` : ''
    throw invalidRange(`devices: there is no device ${show(name)}${why}; getDevices() lists ${devices.map(({ id }) => id).join(', ')}`)
  })
  return [...new Set(wanted)]
}

/**
 * Checks devices: computes the main operations of the networks and compares them with float64, and draws the embedded model's image and compares it with the CPU's.
 * Each device is checked in a child process, so that a driver that crashes or hangs does this process no harm. `latent doctor` prints the report.
 *
 * @throws RangeError for a device that does not exist, and what `onCheck` throws. Failed checks do not throw.
 */
export async function checkDevices(options?: CheckDevicesOptions): Promise<DeviceReport> {
  const { devices: names, signal, ...rest } = readOptions(checkOptions, options, 'checkDevices()', undefined)
  signal?.throwIfAborted()
  await prepareGpus(signal)
  const all = chosen(await getDevices(), names)
  const { ggml, cpu } = getVersions()
  const devices: CheckedDevice[] = []
  const stop = new AbortController()
  const abort = () => stop.abort(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    for (const device of all) {
      if (device.refused !== undefined) continue
      signal?.throwIfAborted()
      devices.push(await checkOne(device, rest, stop))
      stop.signal.throwIfAborted()
    }
  } finally {
    signal?.removeEventListener('abort', abort)
  }
  const refused = all.filter((device) => device.refused !== undefined)
  const broken = refusedByTest()
  return {
    date: new Date().toISOString(),
    version: packageVersion(),
    ggml,
    node: process.version,
    system: `${os.type()} ${os.release()} ${process.arch}`,
    cpu,
    memoryTotal: os.totalmem(),
    memoryFree: os.freemem(),
    libraries: gpuKinds.flatMap((kind) => {
      const library = findGpuLibrary(kind)
      return library ? [{ kind, ...library }] : []
    }),
    devices,
    refused,
    passed: devices.every(({ passed }) => passed) && !refused.some(({ id }) => names !== undefined || broken.has(id)),
  }
}
