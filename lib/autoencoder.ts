import { addon, withSource, type PreparedSource } from './engine.js'
import { DisposedError } from './errors.js'
import { readInfo } from './info.js'
import { InFlight, runJob } from './job.js'
import { Latents, nativeLatents, wrapLatents } from './latents.js'
import type { NativePipeline } from './native/contract.js'
import { optionalSignal, resolveLoad, resolveRng, resolveSeed } from './options.js'
import type { CallOptions, DecodeOptions, ImageInput, LoadOptions, ModelSource, PipelineInfo, RngName } from './types.js'
import type { RawImage } from './image/raw-image.js'
import { imageTensor, toRawImage } from './tensors.js'
import { checkName, invalidType, knownKeys } from './validate.js'

/** Options of {@link Autoencoder.encode}. */
export interface AutoencoderEncodeOptions extends CallOptions {
  /** `sample` (default) draws from the posterior, `mean` takes its mean, `moments` gives mean and log-variance channels. */
  output?: 'sample' | 'mean' | 'moments'
  /** For `sample`. Default: random. */
  seed?: number | bigint
  rng?: RngName
}

let create: (native: NativePipeline, scale: number, calls: InFlight, prepared?: PreparedSource) => Autoencoder

/** Checked options of a decode call. */
export function resolveDecode(options: DecodeOptions | undefined, where: string): { output: 'image' | 'float'; signal: AbortSignal | undefined } {
  const o = knownKeys(options, where, ['output', 'signal'])
  return { output: o.output === undefined ? 'image' : checkName(o.output, 'output', ['image', 'float'] as const), signal: optionalSignal(o) }
}

/** Runs the decoder on latents in the units of the pipeline. */
export async function decodeLatents(
  native: NativePipeline,
  latents: Latents,
  { output, signal }: ReturnType<typeof resolveDecode>,
): Promise<RawImage[] | Float32Array> {
  const handle = nativeLatents(latents, 'latents')
  const { images, tensor } = await runJob((callbacks) => native.decode(JSON.stringify({ output }), handle, callbacks), { signal })
  return output === 'float' ? tensor!.data : images.map((picture) => toRawImage(picture))
}

/** A copy of latents, times `factor`. */
async function scaled(latents: Latents, factor: number): Promise<Latents> {
  const values = await latents.read()
  return Latents.from(
    values.map((value) => value * factor),
    latents.shape,
  )
}

/**
 * A first stage alone: pictures to codes and back. Its latents are the raw codes, without the scale factor of a pipeline.
 * `Autoencoder.load()` for a file of its own (or that part of a whole model); `pipe.firstStage` for the one inside a pipeline.
 */
export class Autoencoder implements AsyncDisposable {
  readonly #native: NativePipeline
  readonly #scale: number
  readonly #calls: InFlight
  readonly #prepared: PreparedSource | undefined
  #disposing: Promise<void> | undefined
  readonly info: PipelineInfo

  static {
    create = (native, scale, calls, prepared) => new Autoencoder(native, scale, calls, prepared)
  }

  private constructor(native: NativePipeline, scale: number, calls: InFlight, prepared: PreparedSource | undefined) {
    this.#native = native
    this.#scale = scale
    this.#calls = calls
    this.#prepared = prepared
    this.info = readInfo(native)
  }

  /** Loads the first stage of a file or folder (without a source: of the model inside the package); everything else in it is left alone. */
  static async load(source?: ModelSource, options?: LoadOptions): Promise<Autoencoder> {
    const load = resolveLoad(options, 'Autoencoder.load()')
    load.request.spec = { ...(load.request.spec as object | undefined), scaleFactor: 1 }
    const { result, prepared } = await withSource(
      source,
      load,
      (request) => (callbacks) => addon().loadPipeline(JSON.stringify(request), callbacks),
      {
        firstStageOnly: true,
        discard: (native) => void native.dispose(),
      },
    )
    return create(result, 1, new InFlight(), prepared)
  }

  /** Pictures to codes [n, channels, height / factor, width / factor]. Sides must be multiples of `info.downsampling`. */
  async encode(image: ImageInput, options?: AutoencoderEncodeOptions): Promise<Latents> {
    this.#usable()
    return this.#calls.track(this.#encode(image, options))
  }

  async #encode(image: ImageInput, options?: AutoencoderEncodeOptions): Promise<Latents> {
    const o = knownKeys(options, 'encode()', ['output', 'seed', 'rng', 'signal'])
    const mode = o.output === undefined ? 'sample' : checkName(o.output, 'output', ['sample', 'mean', 'moments'] as const)
    const request = { mode, seed: String(resolveSeed(o.seed)), rng: resolveRng(o.rng) }
    const signal = optionalSignal(o)
    const { data, shape } = await imageTensor(image, 'image')
    const native = await runJob((callbacks) => this.#native.encodeImage(JSON.stringify({ ...request, shape }), data, callbacks), { signal })
    const latents = wrapLatents(native)
    if (this.#scale === 1 || mode === 'moments') return latents
    const raw = await scaled(latents, 1 / this.#scale)
    latents.dispose()
    return raw
  }

  /** Codes to 8-bit pictures, or with `output: 'float'` to planar [n, channels, height, width] numbers, not clamped. */
  async decode(latents: Latents, options: DecodeOptions & { output: 'float' }): Promise<Float32Array>
  async decode(latents: Latents, options?: DecodeOptions & { output?: 'image' }): Promise<RawImage[]>
  async decode(latents: Latents, options?: DecodeOptions): Promise<RawImage[] | Float32Array> {
    this.#usable()
    return this.#calls.track(this.#decode(latents, options))
  }

  async #decode(latents: Latents, options?: DecodeOptions): Promise<RawImage[] | Float32Array> {
    const resolved = resolveDecode(options, 'decode()')
    nativeLatents(latents, 'latents')
    if (this.#scale === 1) return decodeLatents(this.#native, latents, resolved)
    const inPipelineUnits = await scaled(latents, this.#scale)
    try {
      return await decodeLatents(this.#native, inPipelineUnits, resolved)
    } finally {
      inPipelineUnits.dispose()
    }
  }

  #usable(): void {
    if (this.#disposing) throw new DisposedError('This autoencoder has been disposed of')
  }

  /** Waits for running work and frees everything. The one inside a pipeline belongs to the pipeline: dispose of that. Idempotent. */
  async dispose(): Promise<void> {
    if (!this.#prepared) throw invalidType('This first stage belongs to a pipeline; dispose of the pipeline')
    return (this.#disposing ??= this.#free(this.#prepared))
  }

  async #free(prepared: PreparedSource): Promise<void> {
    await this.#calls.settled()
    await this.#native.dispose().promise
    await prepared.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}

/** For the pipeline: its own first stage. */
export function firstStageOf(native: NativePipeline, scaleFactor: number, calls: InFlight): Autoencoder {
  return create(native, scaleFactor, calls)
}
