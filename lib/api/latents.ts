import type { NativeLatents } from '../native/contract.js'
import { addon } from '../native/call.js'
import { runJob } from '../native/job.js'
import { giveInto, newFloats, ownFloats } from '../options/arrays.js'
import { checkFinite, checkShape, invalidRange, invalidType, isFloat32Array, show } from '../options/validate.js'

let wrap: (native: NativeLatents) => Latents
let unwrap: (latents: Latents) => NativeLatents

/**
 * A latent tensor [n, channels, height, width], float32, in native memory. Latents of a pipeline are already multiplied by its scale factor. Data is copied on another
 * thread, so all methods except `dispose()` return promises. They reject with `ERR_DISPOSED` after `dispose()` of the latents or of their pipeline.
 */
export class Latents implements Disposable {
  readonly #native: NativeLatents
  /** [n, channels, height, width] */
  readonly shape: readonly [number, number, number, number]
  /** Where the data is: `cpu` or a device. */
  readonly location: string

  static {
    wrap = (native) => new Latents(native)
    unwrap = (latents) => latents.#native
  }

  private constructor(native: NativeLatents) {
    this.#native = native
    this.shape = native.shape
    this.location = native.location
  }

  /** Copies an array of finite numbers into new latents. `shape`: [n, channels, height, width], whose product is `data.length`. */
  static async from(data: Float32Array, shape: readonly number[]): Promise<Latents> {
    if (!isFloat32Array(data)) throw invalidType(`data must be a Float32Array, not ${show(data)}`)
    const checked = checkShape(shape, 'shape', data.length, 4)
    return latentsOf(await checkFinite(await ownFloats(data, 'data'), 'data'), checked)
  }

  /** The data, row-major, in a new array or in `into` (of exactly the right length). */
  async read(into?: Float32Array): Promise<Float32Array> {
    const length = this.#length()
    if (into !== undefined) this.#checked(into, 'into', length)
    const target = newFloats(length, 'read()')
    await runJob(() => this.#native.read(target))
    return into === undefined ? target : giveInto(into, target, 'into')
  }

  /** Replaces the data with `from` (of exactly the right length, all finite). */
  async write(from: Float32Array): Promise<void> {
    const source = await checkFinite(await ownFloats(this.#checked(from, 'from', this.#length()), 'from'), 'from')
    await runJob(() => this.#native.write(source))
  }

  #checked(array: Float32Array, name: string, length: number): Float32Array {
    if (!isFloat32Array(array)) throw invalidType(`${name} must be a Float32Array, not ${show(array)}`)
    if (array.length !== length) throw invalidRange(`${name} must have ${length} values (shape [${this.shape.join(', ')}]), not ${array.length}`)
    return array
  }

  #length(): number {
    return this.shape.reduce((a, b) => a * b, 1)
  }

  /** An independent copy. */
  async clone(): Promise<Latents> {
    return wrap(
      await runJob(
        () => this.#native.clone(),
        {},
        (copy) => copy.dispose(),
      ),
    )
  }

  /** Frees the memory. Idempotent. */
  dispose(): void {
    this.#native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Internal: wraps a handle of the engine in the public class. */
export function wrapLatents(native: NativeLatents): Latents {
  return wrap(native)
}

/** Internal: wraps an array that nothing else uses, without a copy. */
export async function latentsOf(data: Float32Array, shape: readonly number[]): Promise<Latents> {
  return wrap(await runJob(() => addon().latentsFrom([...shape], data)))
}

/** Internal: the engine's handle of an option that must be Latents. */
export function nativeLatents(value: unknown, name: string): NativeLatents {
  if (!(value instanceof Latents)) throw invalidType(`${name} must be Latents, not ${show(value)}`)
  return unwrap(value)
}
