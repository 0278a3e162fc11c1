import { forEachSliced, TimeSlice } from '../files/time-slice.js'
import { continuation, serialiseBert, standardBertData, type BertTokenizerData } from './bert-data.js'
import { encodeAround, literalPattern, lowerEach, type TextTokenizer } from './text-tokenizer.js'

const control = /[\0\uFFFD]|[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u
const space = /[\t\n\r\p{White_Space}]/u
/** The blocks of CJK ideographs; each ideograph is a word. Kana and Hangul are not included. */
const ideograph =
  /[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/u

const charactersAtOnce = 1024

/**
 * BERT's normalisation (Devlin et al. 2018; the BertNormalizer of the tokenizers library): removes control characters, unifies spaces, separates ideographs
 * and, for uncased vocabularies, removes accents and capitals.
 */
async function normalise(text: string, lowercase: boolean, slice: TimeSlice): Promise<string> {
  let clean = ''
  let count = 0
  for (const character of text) {
    if (++count % charactersAtOnce === 0 && slice.over) await slice.next()
    if (character === '\t' || character === '\n' || character === '\r') clean += ' '
    else if (control.test(character)) continue
    else if (space.test(character)) clean += ' '
    else clean += ideograph.test(character) ? ` ${character} ` : character
  }
  return lowercase ? lowerEach(clean.normalize('NFD').replace(/\p{Mn}/gu, ''), slice) : clean
}

/** Runs of characters that are neither space nor punctuation, and single punctuation marks, including all ASCII symbols. */
const wordPattern = /[^\s\p{P}!-/:-@[-`{-~]+|[\p{P}!-/:-@[-`{-~]/gu
const longestWord = 100

/** The longest matching pieces from the left; undefined if a part of the word has none. */
function wordPieces(word: string, vocab: ReadonlyMap<string, number>): number[] | undefined {
  const characters = [...word]
  if (characters.length > longestWord) return undefined
  const ids: number[] = []
  for (let start = 0; start < characters.length;) {
    let end = characters.length
    let id: number | undefined
    for (; end > start; end--) {
      id = vocab.get(`${start > 0 ? continuation : ''}${characters.slice(start, end).join('')}`)
      if (id !== undefined) break
    }
    if (id === undefined) return undefined
    ids.push(id)
    start = end
  }
  return ids
}

let standard: Promise<BertTokenizer> | undefined

/** Splits text into word pieces, with the vocabulary of a model or the public one of bert-base-uncased. Immutable. */
export class BertTokenizer implements TextTokenizer {
  readonly data: BertTokenizerData
  /** [CLS] */
  readonly bosTokenId: number
  /** [SEP] */
  readonly eosTokenId: number
  readonly padTokenId: number
  readonly commaTokenId: number | undefined
  readonly #unkTokenId: number
  /** Markers written verbatim in the text become their tokens. */
  readonly #specialPattern: RegExp | undefined
  readonly #byId: ReadonlyMap<number, string>

  private constructor(data: BertTokenizerData, byId: ReadonlyMap<number, string>) {
    this.data = data
    this.#byId = byId
    const { vocab, clsToken, sepToken, padToken, unkToken, maskToken } = data
    this.#specialPattern = literalPattern([clsToken, sepToken, padToken, unkToken, maskToken].filter((token) => vocab.has(token)))
    this.bosTokenId = vocab.get(clsToken)!
    this.eosTokenId = vocab.get(sepToken)!
    this.padTokenId = vocab.get(padToken)!
    this.#unkTokenId = vocab.get(unkToken)!
    this.commaTokenId = vocab.get(',')
  }

  static async create(data: BertTokenizerData): Promise<BertTokenizer> {
    const byId = new Map<number, string>()
    await forEachSliced(data.vocab, ([token, id]) => byId.set(id, token))
    return new BertTokenizer(data, byId)
  }

  /** The tokenizer of bert-base-uncased; one instance for the process. */
  static standard(): Promise<BertTokenizer> {
    standard ??= standardBertData().then((data) => BertTokenizer.create(data))
    // A failed load is tried again at the next call.
    standard.catch(() => (standard = undefined))
    return standard
  }

  get modelMaxLength(): number {
    return this.data.modelMaxLength
  }

  encode(text: string): Promise<number[]> {
    const { vocab, lowercase } = this.data
    const slice = new TimeSlice()
    return encodeAround(text, this.#specialPattern, vocab, async (part, ids) => {
      for (const [word] of (await normalise(part, lowercase, slice)).matchAll(wordPattern)) {
        const pieces = wordPieces(word, vocab)
        if (pieces) ids.push(...pieces)
        else ids.push(this.#unkTokenId)
        if (slice.over) await slice.next()
      }
    })
  }

  /** `cat` begins a word, `##s` continues one. */
  idToToken(id: number): string | undefined {
    return this.#byId.get(id)
  }

  serialise(): Promise<string> {
    return serialiseBert(this.data)
  }
}
