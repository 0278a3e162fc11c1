import { continuation, serialiseBert, standardBertData, type BertTokenizerData } from './bert-data.js'
import { encodeAround, literalPattern, lowerEach, type TextTokenizer } from './text-tokenizer.js'
import { Normalizer, Tokenizer } from './tokenizers-library.js'

const normaliserConfig = { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true }

const control = /[\0\uFFFD]|[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u
const space = /[\t\n\r\p{White_Space}]/u
/** The blocks of CJK ideographs; each is a word of its own. Kana and Hangul are written with spaces or go by pieces. */
const ideograph =
  /[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/u

/**
 * BERT's normalisation (Devlin et al. 2018; the BertNormalizer of the tokenizers library): no control characters, one kind of space, ideographs apart, and in
 * uncased vocabularies neither accents nor capitals.
 */
class BertNormalizer extends Normalizer {
  readonly #lowercase: boolean

  constructor(lowercase: boolean) {
    super(normaliserConfig)
    this.#lowercase = lowercase
  }

  override normalize(text: string): string {
    let clean = ''
    for (const character of text) {
      if (character === '\t' || character === '\n' || character === '\r') clean += ' '
      else if (control.test(character)) continue
      else if (space.test(character)) clean += ' '
      else clean += ideograph.test(character) ? ` ${character} ` : character
    }
    return this.#lowercase ? lowerEach(clean.normalize('NFD').replace(/\p{Mn}/gu, '')) : clean
  }
}

function createTokenizer(data: BertTokenizerData): Tokenizer {
  const tokenizer = new Tokenizer(
    {
      model: {
        type: 'WordPiece',
        vocab: Object.fromEntries(data.vocab),
        unk_token: data.unkToken,
        continuing_subword_prefix: continuation,
        max_input_chars_per_word: 100,
      },
      normalizer: normaliserConfig,
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: null,
      decoder: null,
      // Special tokens are split off before, see encode().
      added_tokens: [],
    },
    {},
  )
  tokenizer.normalizer = new BertNormalizer(data.lowercase)
  return tokenizer
}

let standard: BertTokenizer | undefined

/** Text to word pieces, by the vocabulary of a model or by the public one of bert-base-uncased. Immutable. */
export class BertTokenizer implements TextTokenizer {
  readonly data: BertTokenizerData
  /** [CLS] */
  readonly bosTokenId: number
  /** [SEP] */
  readonly eosTokenId: number
  readonly padTokenId: number
  readonly commaTokenId: number | undefined
  readonly #unkTokenId: number
  readonly #tokenizer: Tokenizer
  /** Markers written in the text, as they are spelt, stand for themselves. */
  readonly #specialPattern: RegExp
  readonly #byId: ReadonlyMap<number, string>

  constructor(data: BertTokenizerData) {
    this.data = data
    const { vocab, clsToken, sepToken, padToken, unkToken, maskToken } = data
    this.#tokenizer = createTokenizer(data)
    this.#specialPattern = literalPattern([clsToken, sepToken, padToken, unkToken, maskToken].filter((token) => vocab.has(token)))
    this.#byId = new Map(Array.from(vocab, ([token, id]) => [id, token]))
    this.bosTokenId = vocab.get(clsToken)!
    this.eosTokenId = vocab.get(sepToken)!
    this.padTokenId = vocab.get(padToken)!
    this.#unkTokenId = vocab.get(unkToken)!
    this.commaTokenId = vocab.get(',')
  }

  /** The tokenizer of bert-base-uncased; one instance for the process. Building it takes about 0.1 s. */
  static standard(): BertTokenizer {
    return (standard ??= new BertTokenizer(standardBertData()))
  }

  get modelMaxLength(): number {
    return this.data.modelMaxLength
  }

  encode(text: string): number[] {
    const plain = (part: string) => this.#tokenizer.encode(part, { add_special_tokens: false }).ids
    return encodeAround(text, this.#specialPattern, this.data.vocab, plain, this.#unkTokenId)
  }

  /** `cat` begins a word, `##s` goes on with one. */
  idToToken(id: number): string | undefined {
    return this.#byId.get(id)
  }

  serialise(): string {
    return serialiseBert(this.data)
  }
}
