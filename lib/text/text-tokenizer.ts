import type { TimeSlice } from '../files/time-slice.js'

/** What prompts need of a tokenizer, whatever its vocabulary. */
export interface TextTokenizer {
  /** Opens a window: start of text, [CLS]. */
  readonly bosTokenId: number
  /** Closes it: end of text, [SEP]. */
  readonly eosTokenId: number
  readonly padTokenId: number
  /** Id of a comma as a word of its own, where the vocabulary has one. */
  readonly commaTokenId: number | undefined
  /** Tokens that the text encoder takes, start and end included. */
  readonly modelMaxLength: number
  /** Token ids of a text, without start and end. */
  encode(text: string): Promise<number[]>
  /** The vocabulary's own spelling. */
  idToToken(id: number): string | undefined
  /** The whole of it as one text, for the metadata of a GGUF file. */
  serialise(): Promise<string>
}

const charactersAtOnce = 1024

/** Lower case character by character: JavaScript's own lowering of a whole text gives a Greek word its final sigma, which the references do not. */
export async function lowerEach(text: string, slice: TimeSlice): Promise<string> {
  let lower = ''
  let count = 0
  for (const character of text) {
    lower += character.toLowerCase()
    if (++count % charactersAtOnce === 0 && slice.over) await slice.next()
  }
  return lower
}

/** Ids of a text: what `pattern` ({@link literalPattern}) splits off by the table `ids`, everything between by `encode`, which adds to a list. */
export async function encodeAround(
  text: string,
  pattern: RegExp | undefined,
  ids: ReadonlyMap<string, number>,
  encode: (part: string, into: number[]) => Promise<unknown>,
): Promise<number[]> {
  const found: number[] = []
  for (const [i, part] of (pattern ? text.split(pattern) : [text]).entries()) {
    if (i % 2 === 1) found.push(ids.get(part)!)
    else if (part !== '') await encode(part, found)
  }
  return found
}

/** A capturing pattern of literal texts, the longest first: splitting by it puts them at the odd places. Undefined for none. */
export function literalPattern(texts: readonly string[]): RegExp | undefined {
  const escaped = [...texts].sort((a, b) => b.length - a.length).map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return escaped.length === 0 ? undefined : new RegExp(`(${escaped.join('|')})`, 'g')
}
