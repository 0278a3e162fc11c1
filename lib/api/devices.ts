import { gpuKinds, prepareGpus } from '../model/gpu.js'
import { runJob } from '../native/job.js'
import { addon, guarded } from '../native/call.js'
import { shared } from '../options/common.js'
import { choice, integer, number, readOptions, type Options } from '../options/option.js'
import type { CallOptions, Device, Logger } from '../types.js'
import { invalidType, show } from '../options/validate.js'

/** Options of {@link getDevices}. */
export interface GetDevicesOptions {
  /** Only devices of this type. Libraries and drivers of the others are not loaded. */
  type?: 'cpu' | 'cuda' | 'ggml-cuda' | 'vulkan' | 'metal'
}

const listOptions = {
  type: choice({ names: ['cpu', ...gpuKinds] as const, flag: 'latent devices lists all' }),
} satisfies Options<GetDevicesOptions>

/**
 * The available devices, with the CPU as the last. Devices that cannot be used have the reason in `refused`. GPUs are listed if their library is installed
 * (docs/gpu.md); the first call tests each library in a child process, which takes a second or two.
 */
export async function getDevices(options?: GetDevicesOptions): Promise<Device[]> {
  const { type } = readOptions(listOptions, options, 'getDevices()', undefined)
  await prepareGpus(
    undefined,
    gpuKinds.filter((kind) => type === undefined || kind === type),
  )
  return JSON.parse(guarded(() => (type === undefined ? addon().getDevices() : addon().getDevices(type)))) as Device[]
}

/** Versions and abilities of the engine. */
export interface Versions {
  /** Of this package's engine. */
  version: string
  ggml: string
  cpu: { brand: string; features: string[]; cores: number }
  /** Kinds of devices whose library is known: the CPU, GPUs named in the environment, and those that this process has prepared. Nothing is loaded for it. */
  backends: string[]
}

/** Description of the loaded engine. */
export function getVersions(): Versions {
  return JSON.parse(guarded(() => addon().versions())) as Versions
}

/** Sets a function that receives log messages of the engine, or `null` for none. The engine never prints. Errors thrown by the logger are ignored. */
export function setLogger(logger: Logger | null): void {
  if (logger !== null && typeof logger !== 'function') throw invalidType(`setLogger() takes a function or null, not ${show(logger)}`)
  const safe: Logger | null =
    logger &&
    ((level, message) => {
      try {
        logger(level, message)
      } catch {
        // An error in the logger must not break a generation.
      }
    })
  guarded(() => addon().setLogger(safe))
}

/** Options of {@link measurePeak} and {@link measureBandwidth}. */
export interface PeakOptions extends CallOptions {
  /** Default: the physical cores, within the container's CPU quota. */
  threads?: number
  /** Seconds per measurement. Default 0.3. */
  seconds?: number
}

/** The peak of this processor for one number format, with multiply-adds only. */
export interface Peak {
  /** `f32`, `bf16`, `int8` ... */
  format: string
  /** The instruction set used. */
  instructions: string
  gflops: number
}

const peakOptions = {
  threads: integer({ min: 1, max: 1024, fallback: () => 0, flag: '--threads of a load' }),
  seconds: number({ min: 0.01, max: 10, fallback: () => 0.3, flag: 'latent bench measures long enough' }),
  signal: shared.signal,
} satisfies Options<PeakOptions>

/** Measures the arithmetic peak of the processor, to compare the speed of a network with. */
export async function measurePeak(options?: PeakOptions): Promise<Peak[]> {
  const { signal, ...request } = readOptions(peakOptions, options, 'measurePeak()', undefined)
  return JSON.parse(await runJob(() => addon().measurePeak(JSON.stringify(request)), { signal })) as Peak[]
}

/** How fast the processor's threads read the same data again and again. */
export interface Bandwidth {
  /** Data of each thread: 16 KiB fit the first-level cache, 512 KiB the second, 4 MiB a shared one; of the last size, only the largest caches hold all. */
  bytes: number
  /** Of all threads together; 1e9 bytes per second. */
  gigabytesPerSecond: number
}

/** Measures the bandwidth of the caches and of memory, the other bound on the speed of a network. Uses up to 256 MiB, or 16 MiB per thread if that is more. */
export async function measureBandwidth(options?: PeakOptions): Promise<Bandwidth[]> {
  const { signal, ...request } = readOptions(peakOptions, options, 'measureBandwidth()', undefined)
  return JSON.parse(await runJob(() => addon().measureBandwidth(JSON.stringify(request)), { signal })) as Bandwidth[]
}
