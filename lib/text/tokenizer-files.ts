/** Tokenizer files on disk: tokenizer.json, or vocab.json with merges.txt, and the small files beside them. */
import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { DiffusionError, ModelFormatError } from '../errors.js'
import {
  assemble,
  fromTokenizerJson,
  mergeLines,
  parseObject,
  readAddedTokens,
  readMerges,
  readVocab,
  type AddedToken,
  type TokenizerData,
} from './tokenizer-data.js'

/** Tokenizer files have 2 MB at most; anything far beyond is not one of them. */
const maxFileBytes = 32 << 20

/** A text file of bounded size, or undefined where there is none. */
export function readText(file: string): string | undefined {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new DiffusionError('ERR_IO', `${file} cannot be read: ${(cause as Error).message}`, { path: file }, { cause })
  }
  try {
    const status = fstatSync(descriptor)
    if (!status.isFile()) throw new ModelFormatError(`${file} is not a regular file`, { path: file })
    if (status.size > maxFileBytes)
      throw new ModelFormatError(`${file} has ${status.size} bytes; a tokenizer file has at most ${maxFileBytes}`, { path: file, bytes: status.size })
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}

export function readJson(file: string): Record<string, unknown> | undefined {
  const text = readText(file)
  return text === undefined ? undefined : parseObject(text, file)
}

function addedTokensBeside(folder: string, config: Record<string, unknown>): AddedToken[] {
  const file = path.join(folder, 'added_tokens.json')
  const list = Object.entries(readJson(file) ?? {}).map(([content, id]) => ({ content, id }))
  return [...readAddedTokens(list, file), ...readAddedTokens(config.added_tokens_decoder, path.join(folder, 'tokenizer_config.json'))]
}

function readFolder(folder: string): TokenizerData | undefined {
  const config = readJson(path.join(folder, 'tokenizer_config.json')) ?? {}
  const configs = [config, readJson(path.join(folder, 'special_tokens_map.json')) ?? {}]
  const whole = path.join(folder, 'tokenizer.json')
  const json = readJson(whole)
  if (json) return fromTokenizerJson(json, configs, whole)

  const vocabFile = path.join(folder, 'vocab.json')
  const mergesFile = path.join(folder, 'merges.txt')
  const vocabJson = readJson(vocabFile)
  const mergesText = readText(mergesFile)
  if (!vocabJson && mergesText === undefined) return undefined
  if (!vocabJson) throw new ModelFormatError(`${mergesFile} has no vocab.json beside it`, { path: mergesFile })
  if (mergesText === undefined) throw new ModelFormatError(`${vocabFile} has no merges.txt beside it`, { path: vocabFile })
  const vocab = readVocab(vocabJson, vocabFile)
  return assemble(
    { vocab, merges: readMerges(mergeLines(mergesText), vocab, mergesFile), addedTokens: addedTokensBeside(folder, config), configs },
    folder,
  )
}

/**
 * The tokenizer of a folder (its own files or those of its `tokenizer` subfolder) or of one tokenizer.json; undefined where a folder has none.
 * @throws ModelFormatError for broken files, UnsupportedModelError for tokenizers of another kind, DiffusionError `ERR_IO` for a path that cannot be read
 */
export function readTokenizerFiles(file: string): TokenizerData | undefined {
  const status = statSync(file, { throwIfNoEntry: false })
  if (!status)
    throw new DiffusionError('ERR_IO', `${file} does not exist; a folder with tokenizer.json or vocab.json and merges.txt is expected`, {
      path: file,
    })
  if (status.isDirectory()) return readFolder(file) ?? readFolder(path.join(file, 'tokenizer'))
  return fromTokenizerJson(readJson(file) ?? {}, [], file)
}
