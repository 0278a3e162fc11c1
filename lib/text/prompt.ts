/** Converts prompts to windows of token ids (77 in CLIP and BERT) with weights, for the text encoder. */
import { TimeSlice } from '../files/time-slice.js'
import { checkInteger, checkName, checkString, invalidRange } from '../options/validate.js'
import type { EmbeddingTable } from './embeddings.js'
import { parseEmphasis, type PromptPiece } from './emphasis.js'
import type { TextTokenizer } from './text-tokenizer.js'

/** One window of the text encoder. All three lists have the encoder's length, 77: start, up to 75 tokens, end, padding. */
export interface PromptChunk {
  /** Negative for vectors of a textual inversion. */
  ids: number[]
  /** Weight of each token's embedding; 1 on start, end and padding. */
  weights: number[]
  /** The tokens as spelled in the vocabulary (`cat</w>`). */
  text: string[]
}

/** Result of {@link tokenizePrompt}. */
export interface TokenizedPrompt {
  /** At least one. */
  chunks: PromptChunk[]
  /** Whether tokens were cut off; never with `a1111` and several chunks. */
  truncated: boolean
  /** Number of tokens, including those left free by BREAK and moved commas, as shown in the web UI. */
  tokenCount: number
}

export interface TokenizePromptOptions {
  /** `a1111` (default): emphasis, BREAK and any length. `none`: plain text, cut at one window, as in diffusers. */
  emphasis?: 'a1111' | 'none'
  /** Only one window, cut when it is full, for encoders that were trained with one (BERT): emphasis works, BREAK only separates words. Default false. */
  single?: boolean
  /** A full chunk moves the tokens after its last comma to the next chunk, if they are at most this many; 0 disables this. Default 20. */
  commaBacktrack?: number
  /** Adds empty chunks up to this number. Default 1. */
  minChunks?: number
  /** Default: those of the tokenizer. */
  bosTokenId?: number
  eosTokenId?: number
  /** Fills windows after the end token. Default: the tokenizer's; Stable Diffusion 2 pads with 0. */
  padTokenId?: number
  /** Window of the text encoder. Default: the tokenizer's, 77. */
  maxLength?: number
  /** Words with their own vectors, whose ids are negative; not for `none`. */
  embeddings?: EmbeddingTable | undefined
}

/** Longest prompt, in UTF-16 units: some 200 chunks of English. */
const maxPromptLength = 65_536
/** Each chunk is one run of the text encoder. */
const maxChunks = 1000

interface Markers {
  bos: number
  eos: number
  pad: number
  /** Tokens per chunk between start and end. */
  room: number
}

interface Span {
  ids: number[]
  weights: number[]
}

/** Fills chunks token by token. */
class ChunkWriter {
  readonly chunks: Span[] = []
  tokenCount = 0
  #current: Span = { ids: [], weights: [] }
  /** Index of the last comma in the current chunk. */
  #comma = -1

  constructor(
    readonly room: number,
    readonly commaId: number | undefined,
    readonly backtrack: number,
  ) {}

  add(id: number, weight: number): void {
    const { ids } = this.#current
    // A comma that starts a new chunk is not remembered there, as in the web UI.
    if (id === this.commaId) this.#comma = ids.length
    else if (ids.length === this.room && this.#comma >= 0 && ids.length - this.#comma <= this.backtrack) this.#moveAfterComma()
    if (this.#current.ids.length === this.room) this.close()
    this.#current.ids.push(id)
    this.#current.weights.push(weight)
  }

  /** The vectors of a word stay in one chunk. */
  addWord(ids: readonly number[], weight: number): void {
    if (this.#current.ids.length + ids.length > this.room) this.close()
    for (const id of ids) {
      this.#current.ids.push(id)
      this.#current.weights.push(weight)
    }
  }

  #moveAfterComma(): void {
    const { ids, weights } = this.#current
    const moved = { ids: ids.splice(this.#comma + 1), weights: weights.splice(this.#comma + 1) }
    this.close()
    this.#current = moved
  }

  /** Ends the current chunk; it counts as full. */
  close(): void {
    this.tokenCount += this.room
    this.#push()
  }

  /** Ends the prompt; the last chunk counts with its actual length. */
  finish(): void {
    if (this.#current.ids.length === 0 && this.chunks.length > 0) return
    this.tokenCount += this.#current.ids.length
    this.#push()
  }

  #push(): void {
    if (this.chunks.length === maxChunks) throw invalidRange(`prompt is too long: it makes more than ${maxChunks} chunks of ${this.room} tokens`)
    this.chunks.push(this.#current)
    this.#current = { ids: [], weights: [] }
    this.#comma = -1
  }
}

async function writeChunks(
  tokenizer: TextTokenizer,
  pieces: readonly PromptPiece[],
  { room }: Markers,
  backtrack: number,
  embeddings: EmbeddingTable | undefined,
): Promise<ChunkWriter> {
  const writer = new ChunkWriter(room, tokenizer.commaTokenId, backtrack)
  for (const piece of pieces) {
    if (piece.kind === 'break') {
      writer.close()
      continue
    }
    for (const part of embeddings ? await embeddings.split(piece.text) : [piece.text]) {
      if (typeof part === 'string') for (const id of await tokenizer.encode(part)) writer.add(id, piece.weight)
      else writer.addWord(part, piece.weight)
    }
  }
  writer.finish()
  return writer
}

function window(
  tokenizer: TextTokenizer,
  { ids, weights }: Span,
  { bos, eos, pad, room }: Markers,
  embeddings: EmbeddingTable | undefined,
): PromptChunk {
  const padding = room - ids.length
  const full = [bos, ...ids, eos, ...new Array<number>(padding).fill(pad)]
  return {
    ids: full,
    weights: [1, ...weights, 1, ...new Array<number>(padding).fill(1)],
    text: full.map((id) => (id < 0 ? embeddings?.nameOf(id) : tokenizer.idToToken(id)) ?? ''),
  }
}

function resolveMarkers(tokenizer: TextTokenizer, options: TokenizePromptOptions): Markers {
  const id = (value: number | undefined, name: string, fallback: number) =>
    value === undefined ? fallback : checkInteger(value, name, { min: 0, max: 0x7fffffff })
  return {
    bos: id(options.bosTokenId, 'bosTokenId', tokenizer.bosTokenId),
    eos: id(options.eosTokenId, 'eosTokenId', tokenizer.eosTokenId),
    pad: id(options.padTokenId, 'padTokenId', tokenizer.padTokenId),
    room: (options.maxLength === undefined ? tokenizer.modelMaxLength : checkInteger(options.maxLength, 'maxLength', { min: 3, max: 4096 })) - 2,
  }
}

/**
 * Tokenises a prompt into windows of token ids and weights, as in the web UI (AUTOMATIC1111 1.10) or as plain text.
 * @throws RangeError with code `ERR_INVALID_ARG` for a prompt of more than 65536 characters, or of more than 1000 chunks
 */
export async function tokenizePrompt(tokenizer: TextTokenizer, prompt: string, options: TokenizePromptOptions = {}): Promise<TokenizedPrompt> {
  checkString(prompt, 'prompt', maxPromptLength)
  const markers = resolveMarkers(tokenizer, options)
  const emphasis = options.emphasis === undefined ? 'a1111' : checkName(options.emphasis, 'emphasis', ['a1111', 'none'] as const)
  const minChunks = options.minChunks === undefined ? 1 : checkInteger(options.minChunks, 'minChunks', { min: 1, max: maxChunks })
  const chunked = emphasis === 'a1111' ? weighted(tokenizer, prompt, markers, options) : plain(tokenizer, prompt, markers)
  const { chunks: spans, tokenCount, truncated } = await chunked
  while (spans.length < minChunks) spans.push({ ids: [], weights: [] })
  const chunks: PromptChunk[] = []
  const slice = new TimeSlice()
  for (const span of spans) {
    chunks.push(window(tokenizer, span, markers, options.embeddings))
    if (slice.over) await slice.next()
  }
  return { chunks, truncated, tokenCount }
}

interface Chunked {
  chunks: Span[]
  tokenCount: number
  truncated: boolean
}

async function weighted(tokenizer: TextTokenizer, prompt: string, markers: Markers, options: TokenizePromptOptions): Promise<Chunked> {
  if (options.single) return cut(tokenizer, await parseEmphasis(prompt), markers)
  const backtrack = options.commaBacktrack === undefined ? 20 : checkInteger(options.commaBacktrack, 'commaBacktrack', { min: 0, max: 4096 })
  const { chunks, tokenCount } = await writeChunks(tokenizer, await parseEmphasis(prompt), markers, backtrack, options.embeddings)
  return { chunks, tokenCount, truncated: false }
}

function plain(tokenizer: TextTokenizer, prompt: string, markers: Markers): Promise<Chunked> {
  return cut(tokenizer, [{ kind: 'text', text: prompt, weight: 1 }], markers)
}

/** Everything in one window, until it is full. */
async function cut(tokenizer: TextTokenizer, pieces: readonly PromptPiece[], { room }: Markers): Promise<Chunked> {
  const ids: number[] = []
  const weights: number[] = []
  for (const piece of pieces) {
    if (piece.kind === 'break') continue
    for (const id of await tokenizer.encode(piece.text)) {
      ids.push(id)
      weights.push(piece.weight)
    }
  }
  return { chunks: [{ ids: ids.slice(0, room), weights: weights.slice(0, room) }], tokenCount: ids.length, truncated: ids.length > room }
}
