/** What is used of `@huggingface/tokenizers`. Its own declarations import one another without file extensions, which Node's resolution rules do not follow. */
import * as library from '@huggingface/tokenizers'

/** Turns text into the form in which words are looked for. The library calls instances like functions. */
export interface Normalizer {
  normalize(text: string): string
}

export interface Tokenizer {
  normalizer: Normalizer | null
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] }
  token_to_id(token: string): number | undefined
  id_to_token(id: number): string | undefined
}

interface Library {
  /** Takes the contents of a tokenizer.json and of a tokenizer_config.json. */
  Tokenizer: new (tokenizer: object, config: object) => Tokenizer
  Normalizer: new (config: object) => Normalizer
}

export const { Tokenizer, Normalizer } = library as unknown as Library
