/** CLIP's vocabulary: derives its tokens from the byte-pair merges, and loads the merges of the public tokenizer. */
import { forEachSliced } from '../files/time-slice.js'
import { loadAsset } from '../model/assets.js'

/** Suffix of the last piece of a word. */
export const endOfWord = '</w>'
export const startOfText = '<|startoftext|>'
export const endOfText = '<|endoftext|>'

/**
 * The 256 characters that represent bytes, in the order of their tokens: printable ASCII and Latin-1 represent themselves, other bytes use U+0100 onwards
 * (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", and the GPT-2 code; CLIP uses the same).
 */
export function byteCharacters(): string[] {
  const printable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
  const bytes = Array.from({ length: 256 }, (_, byte) => byte)
  const themselves = bytes.filter(printable)
  return [...themselves, ...bytes.filter((byte) => !printable(byte)).map((_, i) => 256 + i)].map((code) => String.fromCharCode(code))
}

/** Tokens by id for a list of merges ('left right', best first): bytes, bytes that end a word, one per merge, start and end of text. */
export async function tokensOfMerges(merges: readonly string[]): Promise<string[]> {
  const tokens = byteCharacters()
  for (let i = 0; i < 256; i++) tokens.push(tokens[i]! + endOfWord)
  await forEachSliced(merges, (merge) => tokens.push(merge.replace(' ', '')))
  tokens.push(startOfText, endOfText)
  return tokens
}

/** The 48894 merges of the public CLIP tokenizer, from the generated asset. */
export async function clipMerges(file = 'clip-bpe-merges.txt.br'): Promise<string[]> {
  return (await loadAsset(file, 'The CLIP vocabulary')).split('\n')
}
