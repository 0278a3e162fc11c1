/**
 * Runs in a child process: the checks of one device, each announced before it starts and reported after it, in lines of JSON. Arguments: JSON of CheckTask.
 */
import { addon, guarded } from '../native/call.js'
import { endWithParent } from '../files/end-with-parent.js'
import { runJob } from '../native/job.js'
import type { DeviceCheckResult } from '../native/contract.js'
import { trustLibrary, type GpuKind } from '../model/gpu.js'
import { referenceMeans } from './check-reference.js'
import { DiffusionPipeline } from './pipeline.js'
import type { Device, DeviceSpec } from '../types.js'

/** What the child does. */
export interface CheckTask {
  device: string
  kind: string
  library?: string
  images: boolean
  /** Checks that are already known. */
  without: string[]
}

/** A driver that failed for good needs another process. */
export const restartNeeded = 'restart needed'

function say(message: object): void {
  process.stdout.write(`\n${JSON.stringify(message)}\n`) // after what a driver printed without an end of line
}

function stillUsable(device: string): boolean {
  return (JSON.parse(addon().getDevices()) as Device[]).some(({ id, refused }) => id === device && refused === undefined)
}

interface Drawn {
  data: Uint8Array
  loadMs: number
  firstMs: number
  ms: number
}

/** The embedded model's image of one seed, drawn twice: the first time includes building graphs and shaders. */
async function draw(device: string, precision: 'exact' | 'fast'): Promise<Drawn> {
  const times = [performance.now()]
  const pipe = await DiffusionPipeline.load(undefined, { device: device as DeviceSpec, precision })
  try {
    let data = new Uint8Array()
    times.push(performance.now())
    for (let round = 0; round < 2; ++round) {
      const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 1, steps: 4, guidanceScale: 3 })
      data = Uint8Array.from(images[0]!.data)
      times.push(performance.now())
    }
    const [start, loaded, first, second] = times as [number, number, number, number]
    return { data, loadMs: loaded - start, firstMs: first - loaded, ms: second - first }
  } finally {
    await pipe.dispose()
  }
}

/** Means of 8x8 pixels, by row, column and channel. */
export function blockMeans(data: Uint8Array, side = 64): number[] {
  const blocks = side / 8
  const sums = new Array<number>(blocks * blocks * 3).fill(0)
  data.forEach((value, i) => {
    const pixel = Math.floor(i / 3)
    const block = Math.floor(pixel / side / 8) * blocks + Math.floor((pixel % side) / 8)
    sums[block * 3 + (i % 3)]! += value / 64
  })
  return sums.map(Math.round)
}

function compare(actual: Uint8Array, expected: Uint8Array) {
  let largest = 0
  let differing = 0
  let squares = 0
  actual.forEach((value, i) => {
    const difference = Math.abs(value - expected[i]!)
    largest = Math.max(largest, difference)
    differing += Number(difference > 0)
    squares += difference * difference
  })
  const psnr = squares === 0 ? null : 10 * Math.log10((255 * 255 * actual.length) / squares)
  return { differing, bytes: actual.length, largest, psnr }
}

/** Exact images differ by rounding at most; 30 dB is a difference that is hard to see. */
async function checkImages(device: string, without: readonly string[]): Promise<void> {
  const name = (precision: string) => `image, ${precision}`
  if (['exact', 'fast'].every((precision) => without.includes(name(precision)))) return
  say({ check: 'image, reference' })
  const reference = await draw('cpu', 'exact')
  const off = Math.max(...blockMeans(reference.data).map((mean, i) => Math.abs(mean - referenceMeans[i]!)))
  for (const precision of ['exact', 'fast'] as const) {
    if (without.includes(name(precision))) continue
    say({ check: name(precision) })
    try {
      const drawn = await draw(device, precision)
      const found = compare(drawn.data, reference.data)
      const close = precision === 'exact' ? found.largest <= 2 : found.psnr === null || found.psnr >= 30
      // The CPU's exact image is the others' reference, so it has one of its own.
      const passed = close && off <= 2
      const { loadMs, firstMs, ms } = drawn
      say({ image: { check: name(precision), passed, ...found, referenceOff: off, loadMs, firstMs, ms } })
    } catch (error) {
      failed(name(precision), error, precision === 'exact' && device !== 'cpu' && isRefusal(error))
      if (!stillUsable(device)) throw new Error(restartNeeded, { cause: error })
    }
  }
}

/** Devices that compute in 16 bits only say so. */
function isRefusal(error: unknown): boolean {
  return (error as { details?: { precision?: unknown } }).details?.precision === 'exact'
}

/** An operation that networks do not use on this kind of device. */
export function isUnsupported(error: unknown, check: string): boolean {
  return (error as { details?: { skipped?: unknown } }).details?.skipped === check
}

function failed(check: string, error: unknown, skipped = false): void {
  const { code, message } = error as { code?: unknown; message?: unknown }
  say({ failure: { check, passed: skipped, skipped, reason: `${String(message)}${typeof code === 'string' ? ` (${code})` : ''}` } })
}

async function main({ device, kind, library, images, without }: CheckTask): Promise<void> {
  if (library !== undefined) trustLibrary(kind as GpuKind, library)
  const { all } = JSON.parse(guarded(() => addon().deviceChecks())) as { all: string[] }
  for (const check of all) {
    if (without.includes(check)) continue
    say({ check })
    try {
      say({ operation: JSON.parse(await runJob(() => addon().checkDevice(device, check))) as DeviceCheckResult })
    } catch (error) {
      failed(check, error, isUnsupported(error, check))
      if (!stillUsable(device)) throw new Error(restartNeeded, { cause: error })
    }
  }
  if (images) await checkImages(device, without)
  say({ done: true })
}

/* istanbul ignore next: runs in a process of its own */
if (require.main === module) {
  endWithParent()
  main(JSON.parse(process.argv[2] ?? '{}') as CheckTask).catch((error: unknown) => {
    const message = error instanceof Error ? error.message : String(error)
    say(message === restartNeeded ? { restart: true } : { failed: message })
    process.exitCode = 1
  })
}
