/** Tokenizer files on disk: tokenizer.json, or vocab.json with merges.txt, and the configuration files next to them. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { DiffusionError, ModelFormatError } from '../errors.js'
import { readTextIfAny } from '../files/regular-file.js'
import {
  type AddedToken,
  assemble,
  checkAddedTokens,
  fromTokenizerJson,
  mergeLines,
  parseMap,
  parseObject,
  readAddedTokens,
  readMerges,
  readVocab,
  type TokenizerData,
} from './tokenizer-data.js'

/** Limit of file size; tokenizer files have at most 2 MB. */
const maxFileBytes = 16 << 20

const refuse = (message: string, details: Record<string, unknown>) => new ModelFormatError(message, details)

/** A text file of limited size, or undefined if there is none. */
export function readText(file: string): Promise<string | undefined> {
  return readTextIfAny(file, { what: '', maxBytes: maxFileBytes, refuse })
}

export async function readJson(file: string): Promise<Record<string, unknown> | undefined> {
  const text = await readText(file)
  return text === undefined ? undefined : parseObject(text, file)
}

/** Whether a tokenizer is given as a folder; `expected` describes the alternatives. */
export async function isFolder(file: string, expected: string): Promise<boolean> {
  return (
    await stat(file).catch((cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'ENOENT' ? 'does not exist' : `cannot be read: ${cause.message}`
      throw new DiffusionError('ERR_IO', `${file} ${why}; ${expected} is expected`, { path: file }, { cause })
    })
  ).isDirectory()
}

async function addedTokensBeside(folder: string, config: Record<string, unknown>): Promise<AddedToken[]> {
  const file = path.join(folder, 'added_tokens.json')
  const json = (await readJson(file)) ?? {}
  checkAddedTokens(json, file)
  const list = Object.entries(json).map(([content, id]) => ({ content, id }))
  return [...readAddedTokens(list, file), ...readAddedTokens(config.added_tokens_decoder, path.join(folder, 'tokenizer_config.json'))]
}

async function readFolder(folder: string): Promise<TokenizerData | undefined> {
  const config = (await readJson(path.join(folder, 'tokenizer_config.json'))) ?? {}
  const configs = [config, (await readJson(path.join(folder, 'special_tokens_map.json'))) ?? {}]
  const whole = path.join(folder, 'tokenizer.json')
  const json = await readJson(whole)
  if (json) return fromTokenizerJson(json, configs, whole)

  const vocabFile = path.join(folder, 'vocab.json')
  const mergesFile = path.join(folder, 'merges.txt')
  const vocabText = await readText(vocabFile)
  const mergesText = await readText(mergesFile)
  if (vocabText === undefined && mergesText === undefined) return undefined
  if (vocabText === undefined) throw new ModelFormatError(`${mergesFile} has no vocab.json next to it`, { path: mergesFile })
  if (mergesText === undefined) throw new ModelFormatError(`${vocabFile} has no merges.txt next to it`, { path: vocabFile })
  const vocab = await readVocab(await parseMap(vocabText, vocabFile), vocabFile)
  return assemble(
    {
      vocab,
      merges: await readMerges(await mergeLines(mergesText, mergesFile), vocab, mergesFile),
      addedTokens: await addedTokensBeside(folder, config),
      configs,
    },
    folder,
  )
}

/**
 * The tokenizer of a folder (its own files or those of its `tokenizer` subfolder) or of one tokenizer.json; undefined if a folder has none.
 * @throws ModelFormatError for broken files, UnsupportedModelError for tokenizers of another kind, DiffusionError `ERR_IO` for a path that cannot be read
 */
export async function readTokenizerFiles(file: string): Promise<TokenizerData | undefined> {
  if (await isFolder(file, 'a folder with tokenizer.json or vocab.json and merges.txt'))
    return (await readFolder(file)) ?? (await readFolder(path.join(file, 'tokenizer')))
  return fromTokenizerJson((await readJson(file)) ?? {}, [], file)
}
