/** Which tokenizer a model has, and prompts as the windows of tokens that cross to the engine. */
import { statSync } from 'node:fs'
import { ModelFormatError, UnsupportedModelError } from './errors.js'
import type { ModelInfo, PipelineInfo, TokenIds } from './types.js'
import type { NativePromptTokens } from './native/contract.js'
import type { ResolvedSource } from './sources.js'
import { ClipTokenizer } from './text/clip-tokenizer.js'
import { tokenizePrompt, type PromptChunk } from './text/prompt.js'
import { parseTokenizer, serialiseTokenizer } from './text/tokenizer-data.js'
import { readTokenizerFiles } from './text/tokenizer-files.js'
import { checkInteger, invalidRange, invalidType, knownKeys, show } from './validate.js'

/** A prompt as the text encoder will see it. */
export interface Tokenized {
  /** One per window of the encoder: ids with start and end token, a weight and the text of each. */
  chunks: PromptChunk[]
  /** True where a part of the prompt did not fit. */
  truncated: boolean
}

/** How a prompt is to be encoded. */
export interface PromptSettings {
  emphasis: 'original' | 'no_norm' | 'comfy'
  /** 0: the model's own. */
  clipSkip: number
}

interface ClipSpec {
  vocabSize: number
  maxPositionEmbeddings: number
  bosTokenId: number
  eosTokenId: number
  padTokenId: number
}

interface ClipConditioner {
  kind: string
  clip?: ClipSpec
}

function clipOf(spec: PipelineInfo['spec']): ClipSpec | undefined {
  return (spec.conditioners as unknown as ClipConditioner[]).find(({ kind }) => kind === 'clip_text')?.clip
}

/** The caller's own tokenizer files, or those of the model's folder. */
function ownTokenizer(source: ResolvedSource): ClipTokenizer | undefined {
  const place = source.tokenizer ?? (source.model && statSync(source.model).isDirectory() ? source.model : undefined)
  const data = place === undefined ? undefined : readTokenizerFiles(place)
  if (!data && source.tokenizer)
    throw invalidRange(`source.tokenizer: ${source.tokenizer} holds neither tokenizer.json nor vocab.json and merges.txt`)
  return data && new ClipTokenizer(data)
}

/** The tokenizer text to store in a converted file: '' where the model has no text encoder, or the file it comes from already carries one. */
export function tokenizerForFile(source: ResolvedSource, info: ModelInfo): string {
  if (!clipOf(info.spec) || (info.hasTokenizer === true && !source.tokenizer)) return ''
  return serialiseTokenizer((ownTokenizer(source) ?? ClipTokenizer.standard()).data)
}

/** Windows of a prompt given as ids: one of at most the encoder's length, or several of exactly that. */
function windows(ids: readonly unknown[], length: number, vocabulary: number): number[][] {
  if (ids.length === 0) throw invalidRange('tokenIds is empty; the empty prompt is start, end and padding')
  if (ids.length > length && ids.length % length !== 0)
    throw invalidRange(`tokenIds has ${ids.length} ids; at most ${length}, or a multiple of ${length}`)
  const checked = ids.map((id, i) => checkInteger(id, `tokenIds[${i}]`, { min: 0, max: vocabulary - 1 }))
  return Array.from({ length: Math.ceil(checked.length / length) }, (_, i) => checked.slice(i * length, (i + 1) * length))
}

/** The tokenizer of a loaded pipeline. */
export class PipelineTokenizer {
  readonly #tokenizer: ClipTokenizer
  readonly #clip: ClipSpec

  private constructor(tokenizer: ClipTokenizer, clip: ClipSpec) {
    this.#tokenizer = tokenizer
    this.#clip = clip
  }

  /** `stored`: the text out of a GGUF file, or ''. The caller's files win over it, the model's own over CLIP's public vocabulary. */
  static create(stored: string, source: ResolvedSource, info: PipelineInfo): PipelineTokenizer {
    const own = source.tokenizer || stored === '' ? ownTokenizer(source) : new ClipTokenizer(parseTokenizer(stored))
    return new PipelineTokenizer(own ?? ClipTokenizer.standard(), requireClip(info))
  }

  /** Token ids as they are, without a tokenizer. */
  static fromIds(prompt: TokenIds, info: PipelineInfo, settings: PromptSettings): NativePromptTokens {
    const { tokenIds } = knownKeys(prompt, 'encodePrompt()', ['tokenIds'])
    if (!Array.isArray(tokenIds) && !ArrayBuffer.isView(tokenIds)) throw invalidType(`tokenIds must be an array of numbers, not ${show(tokenIds)}`)
    const clip = requireClip(info)
    const chunks = windows(Array.from(tokenIds as ArrayLike<unknown>), clip.maxPositionEmbeddings, clip.vocabSize)
    return { chunks: chunks.map((ids) => ({ ids, weights: ids.map(() => 1) })), ...settings, truncated: false }
  }

  tokenize(prompt: string, minChunks = 1): Tokenized {
    const { bosTokenId, eosTokenId, padTokenId, maxPositionEmbeddings, vocabSize } = this.#clip
    const options = { minChunks, bosTokenId, eosTokenId, padTokenId, maxLength: maxPositionEmbeddings }
    const { chunks, truncated } = tokenizePrompt(this.#tokenizer, prompt, options)
    const stranger = chunks.flatMap(({ ids }) => ids).find((id) => id >= vocabSize)
    if (stranger !== undefined) {
      throw new ModelFormatError(`The tokenizer makes token ${stranger}, but the text encoder knows only ${vocabSize}: they do not belong together`)
    }
    return { chunks, truncated }
  }

  /** The engine's request for a prompt, padded with empty windows to at least `minChunks`. */
  request(prompt: string, settings: PromptSettings, minChunks = 1): NativePromptTokens {
    const { chunks, truncated } = this.tokenize(prompt, minChunks)
    return { chunks: chunks.map(({ ids, weights }) => ({ ids, weights })), ...settings, truncated }
  }

  /** Prompt and negative prompt with the same number of windows, as guidance in one batch needs it. */
  pair(prompt: string, negative: string, settings: PromptSettings): [NativePromptTokens, NativePromptTokens] {
    const first = this.request(prompt, settings)
    const second = this.request(negative, settings, first.chunks.length)
    return [second.chunks.length > first.chunks.length ? this.request(prompt, settings, second.chunks.length) : first, second]
  }
}

function requireClip(info: PipelineInfo): ClipSpec {
  return clipOf(info.spec) ?? refuse(`${info.name || 'this model'} has no text encoder`)
}

function refuse(message: string): never {
  throw new UnsupportedModelError(message)
}
