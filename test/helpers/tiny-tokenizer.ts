/** A CLIP tokenizer with a vocabulary of a few hundred tokens that is not the one that follows from its merges. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { byteCharacters } from '../../lib/text/vocabulary'

export const tinyMerges = ['t h', 'a t', 'a t</w>', 'c at</w>', 'th e</w>']

const bytes = byteCharacters()
export const tinyTokens = [
  ...bytes,
  ...bytes.map((character) => `${character}</w>`),
  '<|startoftext|>',
  ...tinyMerges.map((merge) => merge.replace(' ', '')),
  '<|endoftext|>',
]
export const tinyVocab: Record<string, number> = Object.fromEntries(tinyTokens.map((token, id) => [token, id]))

/** Writes vocab.json, merges.txt and tokenizer_config.json. */
export function writeTinyTokenizer(
  folder: string,
  { lineEnd = '\n', config = { model_max_length: 16 } }: { lineEnd?: string; config?: Record<string, unknown> } = {},
): void {
  writeFileSync(path.join(folder, 'vocab.json'), JSON.stringify(tinyVocab))
  writeFileSync(path.join(folder, 'merges.txt'), ['#version: 0.2', ...tinyMerges, ''].join(lineEnd))
  writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify(config))
}
