import { DisposedError } from '../errors.js'
import { nativeLatents, type Latents } from './latents.js'
import type { NativeConditioning, NativeJob } from '../native/contract.js'
import { addon } from '../native/call.js'
import { runJob } from '../native/job.js'
import { giveInto, newFloats, ownFloats } from '../options/arrays.js'
import { checkFinite, checkInteger, checkShape, invalidRange, invalidType, isFloat32Array, knownKeys, show } from '../options/validate.js'

let wrap: (native: NativeConditioning) => Conditioning
let unwrap: (conditioning: Conditioning) => NativeConditioning

/** Options of {@link Conditioning.from}. */
export interface ConditioningExtras {
  /** Channels to concatenate to the latents, [n, channels, height, width]; n is 1 for all images, or one per image. Copied. */
  concat?: Latents
  /** Row of the network's class table, such as the noise level of the SD x4 upscaler. */
  classLabel?: number
  /** Vector to add to the timestep embedding: SDXL's pooled text and sizes. Copied. */
  vector?: Float32Array
}

/**
 * The conditioning of a run, float32, in native memory. Depending on the model: tokens for cross-attention [1, tokens, dim], channels concatenated to the latents, a
 * class index, a vector added to the timestep embedding.
 */
export class Conditioning implements Disposable {
  readonly #native: NativeConditioning
  #disposed = false
  /** Length of the sequence: 77 per chunk for CLIP, 1 for a class, 0 without cross-attention. */
  readonly tokens: number
  /** Width of the embedding. */
  readonly dim: number
  /** Whether the prompt was truncated. */
  readonly truncated: boolean
  /** Shape [n, channels, height, width] of the channels concatenated to the latents (label map, small image, or masked image and mask), or null. */
  readonly concatShape: readonly [number, number, number, number] | null
  /** Row of the network's class table, if it has one. */
  readonly classLabel: number | undefined
  /** Length of the vector added to the timestep embedding (SDXL: pooled text and sizes), or 0. */
  readonly vectorDim: number

  static {
    wrap = (native) => new Conditioning(native)
    unwrap = (conditioning) => conditioning.#native
  }

  private constructor(native: NativeConditioning) {
    this.#native = native
    this.tokens = native.tokens
    this.dim = native.dim
    this.truncated = native.truncated
    this.concatShape = native.concatShape ?? null
    this.classLabel = native.classLabel >= 0 ? native.classLabel : undefined
    this.vectorDim = native.vectorDim
  }

  /** [1, tokens, dim] */
  get shape(): readonly [1, number, number] {
    return [1, this.tokens, this.dim]
  }

  /** Copies an array of finite numbers into a new conditioning. `shape`: [1, tokens, dim] or [tokens, dim]. Without tokens, pass null for both, and `concat`. */
  static async from(data: Float32Array | null, shape: readonly number[] | null, extras?: ConditioningExtras): Promise<Conditioning> {
    const o = knownKeys(extras, 'Conditioning.from()', ['concat', 'classLabel', 'vector'])
    const concat = o.concat === undefined ? null : nativeLatents(o.concat, 'concat')
    const label = o.classLabel === undefined ? -1 : checkInteger(o.classLabel, 'classLabel', { min: 0, max: 2 ** 31 - 1 })
    const vector = o.vector === undefined ? null : await checkVector(o.vector)
    if (data === null || shape === null) {
      if (data !== null || shape !== null || !concat) throw invalidType('data and shape must both be null, and only with concat')
      return wrap(await runJob(() => addon().conditioningFrom(null, null, concat, label, vector)))
    }
    if (!isFloat32Array(data)) throw invalidType(`data must be a Float32Array, not ${show(data)}`)
    const given = checkShape(shape, 'shape', data.length)
    const full = given.length === 2 ? [1, ...given] : given
    if (full.length !== 3 || full[0] !== 1) throw invalidRange(`shape must be [1, tokens, dim] or [tokens, dim], not [${given.join(', ')}]`)
    const own = await checkFinite(await ownFloats(data, 'data'), 'data')
    return wrap(await runJob(() => addon().conditioningFrom(full, own, concat, label, vector)))
  }

  /** The tokens, row-major, in a new array or in `into` (of exactly the right length); empty without tokens. */
  async read(into?: Float32Array): Promise<Float32Array> {
    return this.#copy(into, this.shape, (target) => this.#native.read(target))
  }

  /** The concatenated channels, row-major; empty without channels. */
  async readConcat(into?: Float32Array): Promise<Float32Array> {
    return this.#copy(into, this.concatShape ?? [0], (target) => this.#native.readConcat(target))
  }

  /** The vector; empty without a vector. */
  async readVector(into?: Float32Array): Promise<Float32Array> {
    return this.#copy(into, [this.vectorDim], (target) => this.#native.readVector(target))
  }

  /** Does not call the engine if there is nothing to read. */
  async #copy(into: Float32Array | undefined, shape: readonly number[], read: (target: Float32Array) => NativeJob<void>): Promise<Float32Array> {
    if (this.#disposed) throw new DisposedError('This conditioning has been disposed of')
    const length = shape.reduce((a, b) => a * b, 1)
    if (into !== undefined) checkInto(into, length, shape)
    const target = newFloats(length, 'read()')
    if (length > 0) await runJob(() => read(target))
    return into === undefined ? target : giveInto(into, target, 'into')
  }

  /** Frees the memory. Idempotent. */
  dispose(): void {
    this.#disposed = true
    this.#native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

async function checkVector(value: unknown): Promise<Float32Array> {
  if (!isFloat32Array(value)) throw invalidType(`vector must be a Float32Array, not ${show(value)}`)
  if (value.length === 0) throw invalidRange('vector must have at least one number')
  return checkFinite(await ownFloats(value, 'vector'), 'vector')
}

function checkInto(into: unknown, length: number, shape: readonly number[]): void {
  if (!isFloat32Array(into)) throw invalidType(`into must be a Float32Array, not ${show(into)}`)
  if (into.length !== length) throw invalidRange(`into must have ${length} values (shape [${shape.join(', ')}]), not ${into.length}`)
}

/** Internal: wraps a handle of the engine in the public class. */
export function wrapConditioning(native: NativeConditioning): Conditioning {
  return wrap(native)
}

/** Internal: the engine's handle of an option that must be a Conditioning. */
export function nativeConditioning(value: unknown, name: string): NativeConditioning {
  if (!(value instanceof Conditioning)) throw invalidType(`${name} must be a Conditioning, not ${show(value)}`)
  return unwrap(value)
}
