/** Options for textual inversions. */
import type { EmbeddingOptions } from '../types.js'
import { notNative } from './common.js'
import { option, readNested, type Options } from './option.js'
import { checkString, invalidRange, invalidType, isUrl, listOf, show } from './validate.js'

const maxEmbeddings = 10_000

function checkFile(value: unknown, name: string): EmbeddingOptions['path'] {
  if (value === undefined) throw invalidType(`${name} is missing: the file of the embedding`)
  return value as EmbeddingOptions['path']
}

function checkWord(value: unknown, name: string): string {
  const word = checkString(value, name, 200)
  if (word.trim() === '') throw invalidRange(`${name} is empty; it is the word to use in prompts`)
  return word
}

const embeddingOptions = {
  path: option(checkFile, { required: true, flag: 'the name of --embedding' }),
  name: option(checkWord, { flag: "the file's name" }),
} satisfies Options<EmbeddingOptions>

/** A file, located later, and its word. */
export interface CheckedEmbedding {
  path: EmbeddingOptions['path']
  name?: string | undefined
}

function checkEmbeddings(value: unknown, name: string): CheckedEmbedding[] {
  if (!Array.isArray(value)) throw invalidType(`${name} must be an array of paths or { path, name }, not ${show(value)}`)
  return listOf(value, name, maxEmbeddings).map((one, i) =>
    typeof one === 'string' || isUrl(one) ? { path: one } : readNested(embeddingOptions, one, `${name}[${i}]`, undefined),
  )
}

export const embeddings = {
  ...option(checkEmbeddings, {
    toNative: notNative, // read once the model is known
    flag: {
      name: 'embedding',
      value: 'FILE',
      help: 'textual inversion: a new word for prompts; can be repeated',
      read: (text) => text,
    },
  }),
  type: 'list' as const,
}
