/** CLIP's text embeddings, and the similarity of embeddings. */
import { runJob } from '../native/job.js'
import type { NativePipeline } from '../native/contract.js'
import { invalidRange, invalidType, isFloat32Array, show } from '../options/validate.js'
import { PipelineTokenizer } from '../text/tokenizer.js'
import type { PipelineInfo, TokenIds } from '../types.js'

/** The parts of a pipeline that the call needs. */
export interface TextContext {
  native: NativePipeline
  info: PipelineInfo
  tokenizer: () => Promise<PipelineTokenizer>
}

/** The embedding of a text, [dim], by the text tower of a loaded pipeline. */
export async function embedText({ native, info, tokenizer }: TextContext, prompt: string | TokenIds, signal?: AbortSignal): Promise<Float32Array> {
  signal?.throwIfAborted()
  const request =
    typeof prompt === 'string'
      ? await (await tokenizer()).plain(prompt)
      : PipelineTokenizer.fromIds(prompt, info, { emphasis: 'original', clipSkip: 0 }, 'embedText()')
  const { data } = await runJob((callbacks) => native.embedText(JSON.stringify(request), callbacks), { signal })
  return data
}

/** Far wider than any embedding. */
const maxDim = 1 << 16

function checkEmbedding(value: unknown, name: string): Float32Array {
  if (!isFloat32Array(value)) throw invalidType(`${name} must be a Float32Array, not ${show(value)}`)
  // A transferred array has length 0.
  if (value.length === 0 || value.length > maxDim) throw invalidRange(`${name} has ${value.length} numbers; an embedding has 1 to ${maxDim}`)
  if (!value.every(Number.isFinite)) throw invalidRange(`${name} contains a number that is not finite`)
  return value
}

/**
 * The cosine similarity of two embeddings of the same model, -1 to 1: how well a text fits an image, or how similar two images are. CLIP's logits are this times its
 * `logit_scale` (100 in OpenAI's models).
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for anything but Float32Arrays of finite numbers, for
 * arrays of different lengths, and for one of zeros
 */
export function cosineSimilarity(a: Float32Array, b: Float32Array): number {
  checkEmbedding(a, 'a')
  checkEmbedding(b, 'b')
  if (a.length !== b.length) throw invalidRange(`a has ${a.length} numbers and b has ${b.length}: they are not from the same model`)
  let [dot, squaresOfA, squaresOfB] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!
    squaresOfA += a[i]! ** 2
    squaresOfB += b[i]! ** 2
  }
  if (squaresOfA === 0 || squaresOfB === 0) throw invalidRange(`${squaresOfA === 0 ? 'a' : 'b'} is all zeros, so it has no direction`)
  return Math.min(1, Math.max(-1, dot / Math.sqrt(squaresOfA * squaresOfB)))
}
