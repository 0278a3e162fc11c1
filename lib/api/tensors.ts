/** Tensors of a file by name, whatever model they belong to. */
import { addon, guarded } from '../native/call.js'
import type { NativeTensors } from '../native/contract.js'
import { runJob } from '../native/job.js'
import { TimeSlice } from '../files/time-slice.js'
import { DisposedError, OutOfMemoryError } from '../errors.js'
import { resolveFile } from '../model/sources.js'
import { shared } from '../options/common.js'
import { loadOptions } from '../options/load.js'
import { choice, pick, readOptions, type Options } from '../options/option.js'
import { invalidRange, invalidType, show } from '../options/validate.js'
import type { CallOptions } from '../types.js'

/** Element types of stored tensors. The types from `q4_0` on are ggml's blocks; any other text names a type that cannot be read as numbers. */
export type TensorType =
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'f64'
  | 'f8_e4m3'
  | 'f8_e5m2'
  | 'f8_e8m0'
  | 'f4_e2m1'
  | 'i64'
  | 'i32'
  | 'i16'
  | 'i8'
  | 'u64'
  | 'u32'
  | 'u16'
  | 'u8'
  | 'bool'
  | 'q4_0'
  | 'q4_1'
  | 'q5_0'
  | 'q5_1'
  | 'q8_0'
  | 'q2_k'
  | 'q3_k'
  | 'q4_k'
  | 'q5_k'
  | 'q6_k'
  | (string & {})

/** One tensor of a {@link TensorFile}, as the header of the file describes it. */
export interface TensorInfo {
  readonly name: string
  readonly type: TensorType
  /** Outermost size first, as torch prints it; empty for a scalar. */
  readonly shape: readonly number[]
  /** Product of the shape. */
  readonly elements: number
  /** Of the contiguous tensor in its own type. */
  readonly bytes: number
  /** Whether its elements can be read as numbers; if not, only as bytes. */
  readonly readable: boolean
}

/** Numbers of a tensor, row-major. */
export type TensorValues =
  Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array | Uint32Array | BigUint64Array

/** Options of {@link openTensors}. */
export interface OpenTensorsOptions extends CallOptions {
  /** Variant of a folder's weights, such as `fp16`. Default: the plain file, else `fp16`, `bf16` or the only one. */
  variant?: string
}

/** Options of {@link TensorFile.read}. */
export interface ReadTensorOptions extends CallOptions {
  /**
   * `values` (default): an array type that represents every stored number exactly: integers and `f64` unchanged (`bool` as 0 and 1 in a `Uint8Array`), all other floats and
   * ggml's blocks as `Float32Array`. `float32`: always a `Float32Array`. `bytes`: as stored, little-endian.
   */
  as?: 'values' | 'float32' | 'bytes'
}

const readTensorOptions = {
  as: choice({ names: ['values', 'float32', 'bytes'], fallback: () => 'values' as const, flag: 'tensors are for programs' }),
  signal: shared.signal,
} satisfies Options<ReadTensorOptions>

const openTensorsOptions = { ...pick(loadOptions, 'variant'), ...pick(shared, 'signal') } satisfies Options<OpenTensorsOptions>

interface ArrayType {
  new (buffer: ArrayBuffer): TensorValues
  readonly BYTES_PER_ELEMENT: number
}

/** Types whose stored bytes match a typed array. */
const arrays: Readonly<Record<string, ArrayType>> = {
  f32: Float32Array,
  f64: Float64Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  i8: Int8Array,
  u64: BigUint64Array,
  u32: Uint32Array,
  u16: Uint16Array,
  u8: Uint8Array,
  bool: Uint8Array,
}

/** Elements read at a time: whole blocks of every type, and few enough that copying them does not block the event loop. */
const pieceElements = 1 << 20

/**
 * Tensors of a file, from {@link openTensors}. Iterating it gives their descriptions in the order of the file. All methods throw `ERR_DISPOSED` after
 * `dispose()`.
 */
export class TensorFile implements Disposable, Iterable<TensorInfo> {
  #native: NativeTensors | undefined
  readonly #numbers: ReadonlyMap<string, number>
  readonly #names: readonly string[]
  readonly #tensors: readonly TensorInfo[]
  /** The path of the file. */
  readonly path: string

  /** @internal */
  constructor(native: NativeTensors, path: string, tensors: readonly TensorInfo[], numbers: ReadonlyMap<string, number>) {
    this.#native = native
    this.path = path
    this.#tensors = tensors
    this.#numbers = numbers
    this.#names = [...numbers.keys()]
  }

  #usable(): NativeTensors {
    if (!this.#native) throw new DisposedError('These tensors have been disposed of')
    return this.#native
  }

  /** Number of tensors. */
  get size(): number {
    return this.#tensors.length
  }

  /** Names in the order of the file. */
  get names(): string[] {
    return this.#names.slice()
  }

  /** Metadata of the file: safetensors' `__metadata__`, GGUF's keys, plain values next to the weights of a torch checkpoint. Long lists are omitted. */
  get metadata(): Record<string, unknown> {
    return JSON.parse(guarded(() => this.#usable().metadata())) as Record<string, unknown>
  }

  has(name: string): boolean {
    return this.#numbers.has(name)
  }

  /** The description of a tensor; undefined if there is none with that name. */
  get(name: string): TensorInfo | undefined {
    const number = this.#numbers.get(name)
    return number === undefined ? undefined : this.#tensors[number]
  }

  [Symbol.iterator](): IterableIterator<TensorInfo> {
    return this.#tensors[Symbol.iterator]()
  }

  /** The values of one tensor. Throws RangeError for an unknown name, ERR_MODEL_FORMAT if the type can be read only as bytes. */
  read(name: string, options: ReadTensorOptions & { as: 'float32' }): Promise<Float32Array>
  read(name: string, options: ReadTensorOptions & { as: 'bytes' }): Promise<Uint8Array>
  read(name: string, options?: ReadTensorOptions): Promise<TensorValues>
  async read(name: string, options?: ReadTensorOptions): Promise<TensorValues> {
    const { as, signal } = readOptions(readTensorOptions, options, 'read()', undefined)
    this.#usable()
    const number = typeof name === 'string' ? this.#numbers.get(name) : undefined
    if (number === undefined) throw invalidRange(`There is no tensor named ${show(name)} in ${this.path}`)
    const { type, elements, bytes } = this.#tensors[number]!
    const stored = as === 'bytes' ? Uint8Array : as === 'values' ? arrays[type] : undefined
    const width = stored === undefined ? 4 : as === 'bytes' ? 1 : stored.BYTES_PER_ELEMENT
    const buffer = this.#allocate(stored === undefined ? elements * 4 : bytes, name)
    const target = new Uint8Array(buffer)
    const total = buffer.byteLength / width
    for (let offset = 0; offset < total; offset += pieceElements) {
      const count = Math.min(pieceElements, total - offset)
      const request =
        stored === undefined
          ? { tensor: number, offset, count, as: 'float32' }
          : { tensor: number, offset: offset * width, count: count * width, as: 'bytes' }
      target.set(await runJob(() => this.#usable().read(JSON.stringify(request)), { signal }), offset * width)
    }
    return new (stored ?? Float32Array)(buffer)
  }

  #allocate(bytes: number, name: string): ArrayBuffer {
    try {
      return new ArrayBuffer(bytes)
    } catch {
      throw new OutOfMemoryError(`Not enough memory for the ${bytes} bytes of ${show(name)}`, { required: bytes })
    }
  }

  /** Closes the file; a running read fails. Idempotent. */
  dispose(): void {
    this.#native?.dispose()
    this.#native = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/**
 * Opens a safetensors or GGUF file, a torch checkpoint (.ckpt, .pt, .pth, .bin), a shard index (.index.json), or a
 * folder with one of them, for access to its tensors by name. Reads only the header; `dispose()` closes the file. Names
 * are as in the file, without torch's wrappers (`state_dict`, `params_ema`, `module.`). Throws ERR_IO and
 * ERR_MODEL_FORMAT for missing or damaged files.
 */
export async function openTensors(file: string | URL, options?: OpenTensorsOptions): Promise<TensorFile> {
  const { variant, signal } = readOptions(openTensorsOptions, options, 'openTensors()', undefined)
  if (file === undefined) throw invalidType('openTensors() needs the path of a file')
  const path = await resolveFile(file, 'file', { signal })
  const request = JSON.stringify({ path, ...(variant === undefined ? {} : { variant }) })
  const native = await runJob(
    () => addon().openTensors(request),
    { signal },
    (opened) => opened.dispose(),
  )
  const tensors: TensorInfo[] = []
  const numbers = new Map<string, number>()
  const slice = new TimeSlice()
  for (let piece = 0, text = native.list(0); text !== ''; text = native.list(++piece)) {
    for (const tensor of JSON.parse(text) as Omit<TensorInfo, 'elements'>[]) {
      numbers.set(tensor.name, tensors.length)
      tensors.push(Object.freeze({ ...tensor, shape: Object.freeze(tensor.shape), elements: tensor.shape.reduce((a, b) => a * b, 1) }))
    }
    if (slice.over) await slice.next()
  }
  return new TensorFile(native, path, tensors, numbers)
}
