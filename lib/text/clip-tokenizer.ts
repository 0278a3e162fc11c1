import { forEachSliced, TimeSlice } from '../files/time-slice.js'
import { joinPairs } from './byte-pairs.js'
import { encodeAround, literalPattern, lowerEach, type TextTokenizer } from './text-tokenizer.js'
import { serialiseTokenizer, standardClipData, type AddedToken, type TokenizerData } from './tokenizer-data.js'
import { byteCharacters, endOfWord } from './vocabulary.js'

/** CLIP's words: contractions, runs of letters, single digits, runs of anything else that is not white space of Unicode, as the tokenizers library has it (Radford et al. 2021, as transformers' CLIPTokenizer). */
const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu

/** CLIP's normalisation: NFC, lower case. White space need not be collapsed, because words never contain it. */
function normalise(text: string, slice: TimeSlice): Promise<string> {
  return lowerEach(text.normalize('NFC'), slice)
}

/** The character for each byte. */
const symbols = ((): string[] => {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte)
  const printable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  const inOrder = [...bytes.filter(printable), ...bytes.filter((byte) => !printable(byte))]
  const characters = byteCharacters()
  const table: string[] = []
  inOrder.forEach((byte, i) => (table[byte] = characters[i]!))
  return table
})()

const idsAtOnce = 1024

/** Derived tables; building them takes about 50 ms, in slices. */
interface Tables {
  ranks: ReadonlyMap<string, number>
  /** Spellings by id. */
  tokens: string[]
  /** By their normalised text. */
  added: ReadonlyMap<string, number>
}

async function makeTables({ merges, vocab, addedTokens }: TokenizerData): Promise<Tables> {
  const ranks = new Map<string, number>()
  await forEachSliced(merges, (merge, rank) => ranks.set(merge, rank))
  const tokens: string[] = []
  await forEachSliced(vocab, ([token, id]) => (tokens[id] = token))
  const added = new Map<string, number>()
  const slice = new TimeSlice()
  for (const { content, id, special } of addedTokens) {
    if (!special || tokens[id] === undefined) tokens[id] = content
    if (!special) added.set(await normalise(content, slice), id)
  }
  return { ranks, tokens, added }
}

let standard: Promise<ClipTokenizer> | undefined

/** Converts text to token ids of CLIP's text encoders, with the byte-pair vocabulary of a model or CLIP's public one. Immutable. */
export class ClipTokenizer implements TextTokenizer {
  readonly data: TokenizerData
  readonly bosTokenId: number
  readonly eosTokenId: number
  readonly padTokenId: number
  readonly commaTokenId: number | undefined
  readonly #tables: Tables
  readonly #unkTokenId: number
  readonly #special: ReadonlyMap<string, number>
  readonly #plain: ReadonlyMap<string, number>
  /** Patterns that split a text so that special and other added tokens are at odd positions. */
  readonly #specialPattern: RegExp | undefined
  readonly #addedPattern: RegExp | undefined

  private constructor(data: TokenizerData, tables: Tables) {
    this.data = data
    this.#tables = tables
    const idsOf = (tokens: readonly AddedToken[]) => new Map(tokens.map(({ content, id }) => [content, id]))
    this.#special = idsOf(data.addedTokens.filter(({ special }) => special))
    this.#plain = idsOf(data.addedTokens.filter(({ special }) => !special))
    this.#specialPattern = literalPattern([...this.#special.keys()])
    this.#addedPattern = literalPattern([...tables.added.keys()])
    this.bosTokenId = this.tokenToId(data.bosToken)!
    this.eosTokenId = this.tokenToId(data.eosToken)!
    this.padTokenId = this.tokenToId(data.padToken)!
    this.#unkTokenId = this.tokenToId(data.unkToken)!
    this.commaTokenId = this.tokenToId(`,${endOfWord}`)
  }

  static async create(data: TokenizerData): Promise<ClipTokenizer> {
    return new ClipTokenizer(data, await makeTables(data))
  }

  /** The public CLIP tokenizer of Stable Diffusion; one instance for the process. */
  static standard(): Promise<ClipTokenizer> {
    standard ??= standardClipData().then((data) => ClipTokenizer.create(data))
    // What failed may be there the next time.
    standard.catch(() => (standard = undefined))
    return standard
  }

  get modelMaxLength(): number {
    return this.data.modelMaxLength
  }

  encode(text: string): Promise<number[]> {
    const slice = new TimeSlice()
    const words = (part: string, ids: number[]) => this.#words(part, ids, slice)
    return encodeAround(text, this.#specialPattern, this.#special, async (part, ids) => {
      const between = await encodeAround(await normalise(part, slice), this.#addedPattern, this.#tables.added, words)
      for (const id of between) ids.push(id)
    })
  }

  async #words(text: string, ids: number[], slice: TimeSlice): Promise<void> {
    for (const [word] of text.matchAll(wordPattern)) {
      const bytes = Buffer.from(word, 'utf8')
      const pieces: string[] = []
      for (const byte of bytes) pieces.push(symbols[byte]!)
      pieces[pieces.length - 1] += endOfWord
      if (slice.over) await slice.next()
      const joined = await joinPairs(pieces, this.#tables.ranks, slice)
      for (let i = 0; i < joined.length; i++) {
        ids.push(this.#idOf(joined[i]!) ?? this.#unkTokenId)
        if (i % idsAtOnce === 0 && slice.over) await slice.next()
      }
    }
  }

  #idOf(token: string): number | undefined {
    return this.#plain.get(token) ?? this.data.vocab.get(token)
  }

  tokenToId(token: string): number | undefined {
    return this.#special.get(token) ?? this.#idOf(token)
  }

  /** The vocabulary's own spelling: `cat</w>` is a whole word or its end, bytes beyond ASCII are represented by other characters. */
  idToToken(id: number): string | undefined {
    return this.#tables.tokens[id]
  }

  serialise(): Promise<string> {
    return serialiseTokenizer(this.data)
  }

  /** A tokenizer with these texts as additional tokens, with the next free ids (known ones keep theirs), like transformers' add_tokens(). */
  async withAddedTokens(contents: readonly string[]): Promise<ClipTokenizer> {
    const { data } = this
    let next = this.#tables.tokens.length
    const added = contents.filter((content) => !data.addedTokens.some((token) => token.content === content))
    return ClipTokenizer.create({
      ...data,
      addedTokens: [...data.addedTokens, ...added.map((content) => ({ content, id: data.vocab.get(content) ?? next++, special: false }))],
    })
  }
}
