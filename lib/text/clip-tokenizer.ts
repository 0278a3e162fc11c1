import { Normalizer, Tokenizer } from './tokenizers-library.js'
import { encodeAround, literalPattern, lowerEach, type TextTokenizer } from './text-tokenizer.js'
import { serialiseTokenizer, standardClipData, type TokenizerData } from './tokenizer-data.js'
import { endOfWord } from './vocabulary.js'

/** CLIP's words: contractions, runs of letters, single digits, runs of anything else that is not space (Radford et al. 2021, as transformers' CLIPTokenizer). */
const wordPattern = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"

const normaliserConfig = { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] }

/** CLIP's normalisation: NFC, lower case. White space needs no collapsing, as words never hold any. */
class ClipNormalizer extends Normalizer {
  override normalize(text: string): string {
    return lowerEach(text.normalize('NFC'))
  }
}

function createTokenizer(data: TokenizerData): Tokenizer {
  const tokenizer = new Tokenizer(
    {
      model: { type: 'BPE', vocab: Object.fromEntries(data.vocab), merges: data.merges, unk_token: data.unkToken, end_of_word_suffix: endOfWord },
      normalizer: normaliserConfig,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: wordPattern }, behavior: 'Removed', invert: true },
          { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: null,
      decoder: null,
      // Special tokens are found as written only; the library would also take their lower-case spelling for them, so they are split off before (see encode).
      added_tokens: data.addedTokens.filter(({ special }) => !special).map(({ id, content }) => ({ id, content, special: false, normalized: true })),
    },
    {},
  )
  tokenizer.normalizer = new ClipNormalizer(normaliserConfig)
  return tokenizer
}

let standard: ClipTokenizer | undefined

/** Text to the token ids of CLIP's text encoders, by the byte-pair vocabulary of a model or by CLIP's public one. Immutable. */
export class ClipTokenizer implements TextTokenizer {
  readonly data: TokenizerData
  readonly bosTokenId: number
  readonly eosTokenId: number
  readonly padTokenId: number
  readonly commaTokenId: number | undefined
  readonly #tokenizer: Tokenizer
  /** For pieces that the vocabulary lacks, which the library leaves without an id where the unknown token is no plain one. */
  readonly #unkTokenId: number
  readonly #special: ReadonlyMap<string, number>
  /** Splits a text so that special tokens stand at the odd places. */
  readonly #specialPattern: RegExp

  constructor(data: TokenizerData) {
    this.data = data
    this.#tokenizer = createTokenizer(data)
    this.#special = new Map(data.addedTokens.filter(({ special }) => special).map(({ content, id }) => [content, id]))
    this.#specialPattern = literalPattern([...this.#special.keys()])
    this.bosTokenId = this.tokenToId(data.bosToken)!
    this.eosTokenId = this.tokenToId(data.eosToken)!
    this.padTokenId = this.tokenToId(data.padToken)!
    this.#unkTokenId = this.tokenToId(data.unkToken)!
    this.commaTokenId = this.tokenToId(`,${endOfWord}`)
  }

  /** The public CLIP tokenizer of Stable Diffusion; one instance for the process. Building it takes about 0.1 s. */
  static standard(): ClipTokenizer {
    return (standard ??= new ClipTokenizer(standardClipData()))
  }

  get modelMaxLength(): number {
    return this.data.modelMaxLength
  }

  encode(text: string): number[] {
    const plain = (part: string) => this.#tokenizer.encode(part, { add_special_tokens: false }).ids
    return encodeAround(text, this.#specialPattern, this.#special, plain, this.#unkTokenId)
  }

  tokenToId(token: string): number | undefined {
    return this.#special.get(token) ?? this.#tokenizer.token_to_id(token)
  }

  /** The vocabulary's own spelling: `cat</w>` is a whole word or its end, bytes beyond ASCII are stand-in characters. */
  idToToken(id: number): string | undefined {
    return this.#tokenizer.id_to_token(id) ?? this.data.addedTokens.find((token) => token.id === id)?.content
  }

  serialise(): string {
    return serialiseTokenizer(this.data)
  }

  /** A tokenizer that also knows these texts as single tokens, with the next free ids (those that the vocabulary has keep theirs), as transformers' add_tokens(). */
  withAddedTokens(contents: readonly string[]): ClipTokenizer {
    const { data } = this
    let next = Math.max(...data.vocab.values(), ...data.addedTokens.map(({ id }) => id)) + 1
    const added = contents.filter((content) => !data.addedTokens.some((token) => token.content === content))
    return new ClipTokenizer({
      ...data,
      addedTokens: [...data.addedTokens, ...added.map((content) => ({ content, id: data.vocab.get(content) ?? next++, special: false }))],
    })
  }
}
