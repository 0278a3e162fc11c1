import type { TimeSlice } from '../files/time-slice.js'

/** Interface of a tokenizer for prompts. */
export interface TextTokenizer {
  /** Opens a window: start of text, [CLS]. */
  readonly bosTokenId: number
  /** Closes it: end of text, [SEP]. */
  readonly eosTokenId: number
  readonly padTokenId: number
  /** Id of a comma as a word, if the vocabulary has one. */
  readonly commaTokenId: number | undefined
  /** Tokens per window of the text encoder, including start and end. */
  readonly modelMaxLength: number
  /** Token ids of a text, without start and end. */
  encode(text: string): Promise<number[]>
  /** The vocabulary's own spelling. */
  idToToken(id: number): string | undefined
  /** The tokenizer as one text, for the metadata of a GGUF file. */
  serialise(): Promise<string>
}

const charactersAtOnce = 1024

/** Lower case character by character: lower-casing a whole text in JavaScript uses the Greek final sigma, unlike the references. */
export async function lowerEach(text: string, slice: TimeSlice): Promise<string> {
  let lower = ''
  let count = 0
  for (const character of text) {
    lower += character.toLowerCase()
    if (++count % charactersAtOnce === 0 && slice.over) await slice.next()
  }
  return lower
}

/** Ids of a text: parts matching `pattern` ({@link literalPattern}) by the table `ids`, the text between by `encode`, which appends to a list. */
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

/** A capturing pattern of literal texts, the longest first: splitting by it puts them at odd positions. Undefined if there are none. */
export function literalPattern(texts: readonly string[]): RegExp | undefined {
  const escaped = [...texts].sort((a, b) => b.length - a.length).map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return escaped.length === 0 ? undefined : new RegExp(`(${escaped.join('|')})`, 'g')
}
