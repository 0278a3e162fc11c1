import type { NativeConditioning } from './native/contract.js'
import { addon, guarded } from './native/call.js'
import { checkShape, invalidRange, invalidType, isFloat32Array, show } from './validate.js'

let wrap: (native: NativeConditioning) => Conditioning
let unwrap: (conditioning: Conditioning) => NativeConditioning

/** What the text encoder made of a prompt: [1, tokens, dim], float32, held by the engine. */
export class Conditioning implements Disposable {
  readonly #native: NativeConditioning
  /** Length of the sequence: 77 per chunk for CLIP. */
  readonly tokens: number
  /** Width of the embedding. */
  readonly dim: number
  /** True where a part of the prompt did not fit and was cut off. */
  readonly truncated: boolean

  static {
    wrap = (native) => new Conditioning(native)
    unwrap = (conditioning) => conditioning.#native
  }

  private constructor(native: NativeConditioning) {
    this.#native = native
    this.tokens = native.tokens
    this.dim = native.dim
    this.truncated = native.truncated
  }

  /** [1, tokens, dim] */
  get shape(): readonly [1, number, number] {
    return [1, this.tokens, this.dim]
  }

  /** Copies an array into a new conditioning. `shape`: [1, tokens, dim] or [tokens, dim]. */
  static from(data: Float32Array, shape: readonly number[]): Conditioning {
    if (!isFloat32Array(data)) throw invalidType(`data must be a Float32Array, not ${show(data)}`)
    const given = checkShape(shape, 'shape', data.length)
    const full = given.length === 2 ? [1, ...given] : given
    if (full.length !== 3 || full[0] !== 1) throw invalidRange(`shape must be [1, tokens, dim] or [tokens, dim], not [${given.join(', ')}]`)
    return wrap(guarded(() => addon().conditioningFrom(full, data)))
  }

  /** The numbers, row-major, in a new array or in `into` (of exactly the right length). */
  async read(into?: Float32Array): Promise<Float32Array> {
    const length = this.tokens * this.dim
    const target = into ?? new Float32Array(length)
    if (!isFloat32Array(target)) throw invalidType(`into must be a Float32Array, not ${show(target)}`)
    if (target.length !== length) throw invalidRange(`into must have ${length} values (shape [1, ${this.tokens}, ${this.dim}]), not ${target.length}`)
    guarded(() => this.#native.read(target))
    return target
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
export function wrapConditioning(native: NativeConditioning): Conditioning {
  return wrap(native)
}

/** For the modules of this package: the engine's handle of an option that must be a Conditioning. */
export function nativeConditioning(value: unknown, name: string): NativeConditioning {
  if (!(value instanceof Conditioning)) throw invalidType(`${name} must be a Conditioning, not ${show(value)}`)
  return unwrap(value)
}
