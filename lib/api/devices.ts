import { prepareCuda } from '../model/cuda.js'
import { runJob } from '../native/job.js'
import { addon, guarded } from '../native/call.js'
import { shared } from '../options/common.js'
import { integer, number, readOptions, type Options } from '../options/option.js'
import type { CallOptions, Device, Logger } from '../types.js'
import { invalidType, show } from '../options/validate.js'

/**
 * The devices that this machine and the loaded binary have, those that cannot be used with the reason (`refused`); the CPU is always among them. GPUs are there
 * where their engine is installed (see docs/gpu.md); a child process tries it first, once, which takes a second or two.
 */
export async function getDevices(): Promise<Device[]> {
  await prepareCuda()
  return JSON.parse(guarded(() => addon().getDevices())) as Device[]
}

/** Versions and abilities of the engine. */
export interface Versions {
  /** Of this package's engine. */
  version: string
  ggml: string
  cpu: { brand: string; features: string[]; cores: number }
  backends: string[]
}

/** What the loaded engine is. */
export function getVersions(): Versions {
  return JSON.parse(guarded(() => addon().versions())) as Versions
}

/** Hears what the engine has to say (nothing is ever printed), or `null` to stop. An error thrown by the logger is ignored. */
export function setLogger(logger: Logger | null): void {
  if (logger !== null && typeof logger !== 'function') throw invalidType(`setLogger() takes a function or null, not ${show(logger)}`)
  const safe: Logger | null =
    logger &&
    ((level, message) => {
      try {
        logger(level, message)
      } catch {
        // A logger must not be able to break a generation that it only watches.
      }
    })
  guarded(() => addon().setLogger(safe))
}

/** Options of {@link measurePeak}. */
export interface PeakOptions extends CallOptions {
  /** Default: the physical cores, within the container's CPU quota. */
  threads?: number
  /** Length of each measurement. Default 0.3. */
  seconds?: number
}

/** What a number format reaches on this processor when nothing but multiply-adds is done. */
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

/** Measures the arithmetic peak of the processor: what the speed of a network can be held against. */
export async function measurePeak(options?: PeakOptions): Promise<Peak[]> {
  const { signal, ...request } = readOptions(peakOptions, options, 'measurePeak()', undefined)
  return JSON.parse(await runJob(() => addon().measurePeak(JSON.stringify(request)), { signal })) as Peak[]
}
