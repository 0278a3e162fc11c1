/** Selects a model's tokenizer and turns prompts into windows of tokens for the engine. */
import { stat } from 'node:fs/promises'
import { ModelFormatError, UnsupportedModelError } from '../errors.js'
import type { ModelInfo, PipelineInfo, TokenIds } from '../types.js'
import type { NativePromptTokens } from '../native/contract.js'
import type { ResolvedSource } from '../model/sources.js'
import { conditionerOf, type Conditioner } from '../model/spec.js'
import { withoutAdapters } from './adapters.js'
import { EmbeddingTable, type Embedding } from './embeddings.js'
import { parseBert } from './bert-data.js'
import { readBertFiles } from './bert-files.js'
import { BertTokenizer } from './bert-tokenizer.js'
import { ClipTokenizer } from './clip-tokenizer.js'
import { tokenizePrompt, type PromptChunk, type TokenizePromptOptions } from './prompt.js'
import type { TextTokenizer } from './text-tokenizer.js'
import { parseTokenizer } from './tokenizer-data.js'
import { readTokenizerFiles } from './tokenizer-files.js'
import { checkInteger, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'

/** A prompt as the text encoder will see it. */
export interface Tokenized {
  /** One per window of the encoder: ids with start and end token, a weight and the text of each. */
  chunks: PromptChunk[]
  /** True if part of the prompt did not fit. */
  truncated: boolean
}

/** Settings for encoding a prompt. */
export interface PromptSettings {
  emphasis: 'original' | 'no_norm' | 'comfy'
  /** 0: the model's default. */
  clipSkip: number
}

/** A text encoder in a model's specification: CLIP's parameters in `clip`, BERT's in `params`. */
interface TextConditioner extends Conditioner {
  clip?: { vocabSize: number; maxPositionEmbeddings: number; bosTokenId: number; eosTokenId: number; padTokenId: number }
  params?: { vocabSize: number; maxLength: number }
}

/** Properties of the model's text encoder. */
interface TextEncoder {
  kind: 'clip' | 'bert'
  vocabSize: number
  /** Tokens per window. */
  length: number
  /** Settings for its windows. CLIP's markers come from the model, BERT's from its vocabulary. */
  options: TokenizePromptOptions
}

function textEncoderOf(spec: PipelineInfo['spec']): TextEncoder | undefined {
  const { kind, clip, params } = conditionerOf<TextConditioner>(spec, 'clip_text', 'bert_text') ?? {}
  if (kind === 'clip_text' && clip) {
    const { vocabSize, maxPositionEmbeddings: length, bosTokenId, eosTokenId, padTokenId } = clip
    return { kind: 'clip', vocabSize, length, options: { bosTokenId, eosTokenId, padTokenId, maxLength: length } }
  }
  if (kind === 'bert_text' && params) {
    const { vocabSize, maxLength: length } = params
    return { kind: 'bert', vocabSize, length, options: { single: true, maxLength: length } }
  }
  return undefined
}

type MakeTokenizer = () => Promise<TextTokenizer>

/** A kind of tokenizer: its files, its place in a GGUF file, and the public one. */
interface Family {
  /** Reads the files of a folder and returns a function that creates the tokenizer. */
  read: (place: string) => Promise<MakeTokenizer | undefined>
  parse: (text: string) => Promise<TextTokenizer>
  standard: MakeTokenizer
  files: string
}

function family<Data extends object>(
  TokenizerOf: { create(data: Data): Promise<TextTokenizer>; standard(): Promise<TextTokenizer> },
  read: (place: string) => Promise<Data | undefined>,
  parse: (text: string) => Promise<Data>,
  files: string,
): Family {
  return {
    read: async (place) => {
      const data = await read(place)
      return data && (() => TokenizerOf.create(data))
    },
    parse: async (text) => TokenizerOf.create(await parse(text)),
    standard: () => TokenizerOf.standard(),
    files,
  }
}

const families: Record<TextEncoder['kind'], Family> = {
  clip: family(ClipTokenizer, readTokenizerFiles, parseTokenizer, 'tokenizer.json nor vocab.json and merges.txt'),
  bert: family(BertTokenizer, readBertFiles, parseBert, 'tokenizer.json nor vocab.txt'),
}

/** The caller's own tokenizer files, or those of the model's folder. */
async function ownTokenizer(source: ResolvedSource, family: Family): Promise<MakeTokenizer | undefined> {
  // A file that was unpacked for the engine may already have been deleted.
  const isFolder = await stat(source.model).then(
    (status) => status.isDirectory(),
    () => false,
  )
  const place = source.tokenizer ?? (isFolder ? source.model : undefined)
  const own = place === undefined ? undefined : await family.read(place)
  if (!own && source.tokenizer) throw invalidRange(`source.tokenizer: ${source.tokenizer} has neither ${family.files}`)
  return own
}

/** The tokenizer text to store in a converted file: '' if the model has no text encoder, or its file already contains one. */
export async function tokenizerForFile(source: ResolvedSource, info: ModelInfo): Promise<string> {
  const encoder = textEncoderOf(info.spec)
  if (!encoder || (info.hasTokenizer === true && !source.tokenizer)) return ''
  const family = families[encoder.kind]
  const make = (await ownTokenizer(source, family)) ?? family.standard
  return (await make()).serialise()
}

/** Far more windows than any prompt has. */
const maxTokenIds = 1 << 20

/** Windows of a prompt given as ids: one of at most the encoder's length, or several of exactly that. */
function windows(ids: readonly unknown[], length: number, vocabulary: number): number[][] {
  if (ids.length === 0) throw invalidRange('tokenIds is empty; an empty prompt still has start, end and padding tokens')
  if (ids.length > length && ids.length % length !== 0)
    throw invalidRange(`tokenIds has ${ids.length} ids; at most ${length}, or a multiple of ${length}`)
  const checked = ids.map((id, i) => checkInteger(id, `tokenIds[${i}]`, { min: 0, max: vocabulary - 1 }))
  return Array.from({ length: Math.ceil(checked.length / length) }, (_, i) => checked.slice(i * length, (i + 1) * length))
}

/** The tokenizer of a loaded pipeline. */
export class PipelineTokenizer {
  readonly #tokenizer: TextTokenizer
  readonly #encoder: TextEncoder
  readonly #embeddings: EmbeddingTable | undefined

  /** `embeddings`: words with their own vectors. */
  private constructor(tokenizer: TextTokenizer, encoder: TextEncoder, embeddings: EmbeddingTable | undefined) {
    this.#tokenizer = tokenizer
    this.#encoder = encoder
    this.#embeddings = embeddings
  }

  /**
   * Reads the tokenizer's files, if any, and returns a function that creates the tokenizer. That takes a tenth of a second, in slices, and is done at the first
   * prompt, which also reports errors in the files.
   * @param stored the text from a GGUF file, or ''. The caller's files take precedence over it, and the model's own over the public vocabulary
   */
  static async prepare(
    stored: string,
    source: ResolvedSource,
    info: PipelineInfo,
    embeddings: EmbeddingTable | undefined,
  ): Promise<() => Promise<PipelineTokenizer>> {
    const encoder = textEncoderOf(info.spec)
    if (!encoder) return async () => refuse(`${info.name || 'this model'} has no text encoder`)
    const family = families[encoder.kind]
    const of = async (tokenizer: Promise<TextTokenizer>) => new PipelineTokenizer(await tokenizer, encoder, embeddings)
    if (stored !== '' && !source.tokenizer) return () => of(family.parse(stored))
    const own = await ownTokenizer(source, family).catch((error: unknown) => async (): Promise<TextTokenizer> => {
      throw error
    })
    return () => of((own ?? family.standard)())
  }

  /** The same with further words that have their own vectors. */
  with(embeddings: readonly Embedding[]): PipelineTokenizer {
    return new PipelineTokenizer(this.#tokenizer, this.#encoder, this.#embeddings?.with(embeddings) ?? new EmbeddingTable(embeddings))
  }

  /** Given token ids, without a tokenizer. */
  static fromIds(prompt: TokenIds, info: PipelineInfo, settings: PromptSettings, where: string): NativePromptTokens {
    const { tokenIds } = knownKeys(prompt, where, ['tokenIds'])
    if (!Array.isArray(tokenIds) && !ArrayBuffer.isView(tokenIds)) throw invalidType(`tokenIds must be an array of numbers, not ${show(tokenIds)}`)
    const { length, vocabSize, options } = requireEncoder(info)
    const chunks = windows(listOf(tokenIds as unknown as ArrayLike<unknown>, 'tokenIds', maxTokenIds), length, vocabSize)
    if (options.single && chunks.length > 1) throw invalidRange(`tokenIds has more ids than this model takes: one window of at most ${length}`)
    return { chunks: chunks.map((ids) => ({ ids, weights: ids.map(() => 1) })), ...settings, truncated: false }
  }

  async tokenize(prompt: string, minChunks = 1, emphasis?: 'none'): Promise<Tokenized> {
    const { vocabSize, options } = this.#encoder
    const text = emphasis === 'none' ? prompt : withoutAdapters(prompt)
    const { chunks, truncated } = await tokenizePrompt(this.#tokenizer, text, {
      minChunks,
      ...options,
      ...(emphasis ? { emphasis } : {}),
      embeddings: this.#embeddings,
    })
    const stranger = chunks.find(({ ids }) => ids.some((id) => id >= vocabSize))?.ids.find((id) => id >= vocabSize)
    if (stranger !== undefined) {
      throw new ModelFormatError(
        `The tokenizer makes token ${stranger}, but the text encoder knows only ${vocabSize}: they are not from the same model`,
      )
    }
    return { chunks, truncated }
  }

  /** Windows without their token texts. */
  async #windows(prompt: string, minChunks: number, emphasis?: 'none'): Promise<Pick<NativePromptTokens, 'chunks' | 'truncated'>> {
    const { chunks, truncated } = await this.tokenize(prompt, minChunks, emphasis)
    return { chunks: chunks.map(({ ids, weights }) => ({ ...(this.#embeddings?.separate(ids) ?? { ids }), weights })), truncated }
  }

  /** The engine's request for a prompt, padded with empty windows to at least `minChunks`. */
  async request(prompt: string, settings: PromptSettings, minChunks = 1): Promise<NativePromptTokens> {
    return { ...(await this.#windows(prompt, minChunks)), ...settings }
  }

  /** The request for plain text, cut at one window, for retrieval-augmented models. */
  async plain(prompt: string): Promise<NativePromptTokens> {
    return { ...(await this.#windows(prompt, 1, 'none')), emphasis: 'original', clipSkip: 0 }
  }

  /** Prompt and negative prompt with the same number of windows, as required for guidance in one batch. */
  async pair(prompt: string, negative: string, settings: PromptSettings): Promise<[NativePromptTokens, NativePromptTokens]> {
    const first = await this.request(prompt, settings)
    const second = await this.request(negative, settings, first.chunks.length)
    return [second.chunks.length > first.chunks.length ? await this.request(prompt, settings, second.chunks.length) : first, second]
  }
}

function requireEncoder(info: PipelineInfo): TextEncoder {
  return textEncoderOf(info.spec) ?? refuse(`${info.name || 'this model'} has no text encoder`)
}

function refuse(message: string): never {
  throw new UnsupportedModelError(message)
}
