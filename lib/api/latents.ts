import type { NativeLatents } from '../native/contract.js'
import { addon, guarded } from '../native/call.js'
import { checkFinite, checkShape, invalidRange, invalidType, isFloat32Array, show } from '../options/validate.js'

let wrap: (native: NativeLatents) => Latents
let unwrap: (latents: Latents) => NativeLatents

/**
 * A latent tensor [n, channels, height, width], float32, held by the engine. Latents of a pipeline are already multiplied by its scale factor.
 * All methods throw `ERR_DISPOSED` after `dispose()`, and after the owning pipeline's `dispose()`.
 */
export class Latents implements Disposable {
  readonly #native: NativeLatents
  /** [n, channels, height, width] */
  readonly shape: readonly [number, number, number, number]
  /** Where the numbers are: `cpu` or a device. */
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
  static from(data: Float32Array, shape: readonly number[]): Latents {
    if (!isFloat32Array(data)) throw invalidType(`data must be a Float32Array, not ${show(data)}`)
    const checked = checkShape(shape, 'shape', data.length, 4)
    return latentsOf(checkFinite(data, 'data'), checked)
  }

  /** The numbers, row-major, in a new array or in `into` (of exactly the right length). */
  async read(into?: Float32Array): Promise<Float32Array> {
    return this.#read(into)
  }

  #read(into?: Float32Array): Float32Array {
    const length = this.#length()
    const target = into === undefined ? new Float32Array(length) : this.#checked(into, 'into', length)
    guarded(() => this.#native.read(target))
    return target
  }

  /** Replaces the numbers by those of `from` (of exactly the right length, all finite). */
  write(from: Float32Array): void {
    const source = checkFinite(this.#checked(from, 'from', this.#length()), 'from')
    guarded(() => this.#native.write(source))
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
  clone(): Latents {
    return wrap(guarded(() => this.#native.clone()))
  }

  /** Frees the numbers. Idempotent. */
  dispose(): void {
    this.#native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** For the modules of this package: a handle of the engine as the public class. */
export function wrapLatents(native: NativeLatents): Latents {
  return wrap(native)
}

/** For the modules of this package: numbers that come from the engine, as they are. */
export function latentsOf(data: Float32Array, shape: readonly number[]): Latents {
  return wrap(guarded(() => addon().latentsFrom([...shape], data)))
}

/** For the modules of this package: the engine's handle of an option that must be Latents. */
export function nativeLatents(value: unknown, name: string): NativeLatents {
  if (!(value instanceof Latents)) throw invalidType(`${name} must be Latents, not ${show(value)}`)
  return unwrap(value)
}
