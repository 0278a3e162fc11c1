/** Options shared by many calls, and image sizes. */
import type { CallOptions, Progress, RngName } from '../types.js'
import { callback, choice, option, pick, readOptions } from './option.js'
import { checkInteger, checkSeed, checkSignal, invalidRange } from './validate.js'

const maxSide = 16384
const maxCount = 256
const rngs: readonly RngName[] = ['philox', 'mt19937']

/** A random 32-bit seed: short enough to type, and supported by every other tool. */
function randomSeed(): bigint {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0]!)
}

/** For options that are not passed to the engine. */
export const notNative = () => ({})

const signal = option((value, name): AbortSignal => checkSignal(value, name), { toNative: notNative, flag: 'Ctrl-C aborts' })

const onProgress = callback<(progress: Progress) => unknown>({ toNative: notNative, flag: 'a terminal shows a progress bar' })

/** JSON cannot represent 64-bit numbers exactly, so seeds are passed as text. */
const seed = option((value, name): bigint => checkSeed(value, name), {
  fallback: randomSeed,
  toNative: (value: bigint) => ({ seed: String(value) }),
  flag: {
    value: 'N',
    help: '0 to 2^64-1; default, or -1: random, printed at the end',
    read(text, fail) {
      if (text === '-1') return undefined // random, as in the web UIs
      if (!/^\d{1,20}$/.test(text)) return fail(` takes a whole number, or -1 for a random one, not '${text}'`)
      return BigInt(text)
    },
  },
  infotext: 'Seed',
})

const rng = choice({
  names: rngs,
  fallback: (): RngName => 'philox',
  flag: { value: 'NAME', help: 'philox (default, as A1111) or mt19937 (as diffusers and ComfyUI)' },
  // The web UI records the noise source only if it is not the GPU, which philox reproduces.
  toInfotext: (name: RngName) => ({ RNG: name === 'mt19937' ? 'CPU' : undefined }),
})

/** Number of images, or rows of latents. */
const count = {
  ...option((value, name): number => checkInteger(value, name, { min: 1, max: maxCount }), {
    fallback: () => 1,
    flag: { help: 'number of images, with seeds N, N+1 ...' },
  }),
  type: 'number' as const,
}

/** Context for checking a side. */
export interface SideContext {
  /** Sides must be multiples of this, in pixels. */
  multiple: number
}

/** A width or height in pixels. */
export function checkSide(value: unknown, name: string, { multiple }: SideContext): number {
  const length = checkInteger(value, name, { min: multiple, max: maxSide })
  if (length % multiple !== 0) {
    const below = length - (length % multiple)
    throw invalidRange(`${name} must be a multiple of ${multiple} for this model, not ${length}; the nearest are ${below} and ${below + multiple}`)
  }
  return length
}

const side = { ...option(checkSide, { flag: { help: "in pixels; default: the model's" } }), type: 'number' as const }

export const shared = { signal, onProgress, seed, rng, count, width: side, height: side }

/** Only `signal`. */
export function readCall(options: unknown, where: string): CallOptions {
  return readOptions(pick(shared, 'signal'), options, where, undefined)
}
