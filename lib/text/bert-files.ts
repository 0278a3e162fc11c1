/** A BERT tokenizer on disk: vocab.txt or tokenizer.json, and the small files beside them. */
import { statSync } from 'node:fs'
import path from 'node:path'
import { DiffusionError } from '../errors.js'
import { fromBertJson, fromVocabText, type BertTokenizerData } from './bert-data.js'
import { readJson, readText } from './tokenizer-files.js'

function readFolder(folder: string): BertTokenizerData | undefined {
  const beside = (name: string) => path.join(folder, name)
  const configs = [readJson(beside('tokenizer_config.json')) ?? {}, readJson(beside('special_tokens_map.json')) ?? {}]
  const json = readJson(beside('tokenizer.json'))
  if (json) return fromBertJson(json, configs, beside('tokenizer.json'))
  const text = readText(beside('vocab.txt'))
  return text === undefined ? undefined : fromVocabText(text, configs, beside('vocab.txt'))
}

/**
 * The BERT tokenizer of a folder (its own files or those of its `tokenizer` subfolder), of one vocab.txt or of one tokenizer.json; undefined where a folder has none.
 * @throws ModelFormatError for broken files, UnsupportedModelError for tokenizers of another kind, DiffusionError `ERR_IO` for a path that cannot be read
 */
export function readBertFiles(file: string): BertTokenizerData | undefined {
  const status = statSync(file, { throwIfNoEntry: false })
  if (!status) throw new DiffusionError('ERR_IO', `${file} does not exist; a folder with vocab.txt or tokenizer.json is expected`, { path: file })
  if (status.isDirectory()) return readFolder(file) ?? readFolder(path.join(file, 'tokenizer'))
  if (path.extname(file).toLowerCase() === '.json') return fromBertJson(readJson(file) ?? {}, [], file)
  return fromVocabText(readText(file) ?? '', [], file)
}
