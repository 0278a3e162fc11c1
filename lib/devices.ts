import { addon, guarded } from './native/call.js'
import type { Device, Logger } from './types.js'
import { invalidType, show } from './validate.js'

/** The devices that this machine and the loaded binary have; the CPU is always among them. */
export async function getDevices(): Promise<Device[]> {
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
  const safe: Logger | null = logger && ((level, message) => {
    try {
      logger(level, message)
    } catch {
      // A logger must not be able to break a generation that it only watches.
    }
  })
  guarded(() => addon().setLogger(safe))
}
