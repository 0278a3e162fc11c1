/** CLIP's image encoder: makes the embeddings of retrieval databases from images. */
import { LoadedModel } from '../model/engine.js'
import { UnsupportedModelError } from '../errors.js'
import { toClipInput } from '../image/clip-input.js'
import { RawImage } from '../image/raw-image.js'
import { readInfo } from './info.js'
import { runJob } from '../native/job.js'
import type { NativePipeline } from '../native/contract.js'
import { readCall } from '../options/common.js'
import { promptlessLoadOptions, resolveLoad } from '../options/load.js'
import type { CallOptions, ImageInput, PromptlessLoadOptions, PipelineInfo } from '../types.js'
import { invalidType, show } from '../options/validate.js'

function isFloats(image: unknown): boolean {
  return typeof image === 'object' && image !== null && 'shape' in image
}

/** The embedding of an image, [dim], by the image tower of a loaded pipeline. */
export async function embedImage(native: NativePipeline, info: PipelineInfo, image: ImageInput, signal?: AbortSignal): Promise<Float32Array> {
  const encoder = info.condition.imageEncoder
  if (!encoder) throw new UnsupportedModelError('embedImage() needs CLIP with an image tower: load with { model, imageEncoder }')
  if (isFloats(image)) throw invalidType(`image must be an 8-bit image, a path or the bytes of an image file, not ${show(image)}`)
  signal?.throwIfAborted()
  const { data, shape } = await toClipInput(await RawImage.read(image as RawImage), encoder.size)
  const { data: embedding } = await runJob((callbacks) => native.embedImages(JSON.stringify({ shape }), data, callbacks), { signal })
  return embedding
}

let create: (model: LoadedModel) => ImageEncoder

/**
 * CLIP's image encoder on its own, to build retrieval databases and search them by image: `ViT-L/14` for the public retrieval-augmented model.
 * Inside a pipeline: `pipe.embedImage()`.
 */
export class ImageEncoder implements AsyncDisposable {
  readonly #model: LoadedModel
  readonly #info: PipelineInfo

  static {
    create = (model) => new ImageEncoder(model)
  }

  private constructor(model: LoadedModel) {
    this.#model = model
    this.#info = readInfo(model.native)
  }

  /**
   * Loads only the image tower of a CLIP file or folder (OpenAI's or Hugging Face's naming).
   * @throws UnsupportedModelError for a file without one
   */
  static async load(source: string | URL, options?: Omit<PromptlessLoadOptions, 'kind'>): Promise<ImageEncoder> {
    const load = resolveLoad(options, 'ImageEncoder.load()', promptlessLoadOptions)
    const model = await LoadedModel.load({ imageEncoder: source }, load, 'image encoder')
    const encoder = create(model)
    if (encoder.#info.condition.imageEncoder) return encoder
    await encoder.dispose()
    throw new UnsupportedModelError(`${model.source.name} has no CLIP image tower`)
  }

  /** Width of an embedding: 768 for ViT-L/14. */
  get dim(): number {
    return this.#info.condition.imageEncoder!.dim
  }

  /** The embedding of an image, [dim], not normalised. The image is resized to the encoder's square without cropping. */
  async embed(image: ImageInput, options?: CallOptions): Promise<Float32Array> {
    this.#model.usable()
    return this.#model.track(embedImage(this.#model.native, this.#info, image, readCall(options, 'embed()').signal))
  }

  /** Waits for running work and frees everything. Idempotent. */
  dispose(): Promise<void> {
    return this.#model.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}
