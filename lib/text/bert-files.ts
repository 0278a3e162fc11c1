/** A BERT tokenizer on disk: vocab.txt or tokenizer.json, and the configuration files next to them. */
import path from 'node:path'
import { fromBertJson, fromVocabText, type BertTokenizerData } from './bert-data.js'
import { isFolder, readJson, readText } from './tokenizer-files.js'

async function readFolder(folder: string): Promise<BertTokenizerData | undefined> {
  const beside = (name: string) => path.join(folder, name)
  const configs = [(await readJson(beside('tokenizer_config.json'))) ?? {}, (await readJson(beside('special_tokens_map.json'))) ?? {}]
  const json = await readJson(beside('tokenizer.json'))
  if (json) return fromBertJson(json, configs, beside('tokenizer.json'))
  const text = await readText(beside('vocab.txt'))
  return text === undefined ? undefined : fromVocabText(text, configs, beside('vocab.txt'))
}

/**
 * The BERT tokenizer of a folder (its own files or those of its `tokenizer` subfolder), of one vocab.txt or of one tokenizer.json; undefined if a folder has none.
 * @throws ModelFormatError for broken files, UnsupportedModelError for tokenizers of another kind, DiffusionError `ERR_IO` for a path that cannot be read
 */
export async function readBertFiles(file: string): Promise<BertTokenizerData | undefined> {
  if (await isFolder(file, 'a folder with vocab.txt or tokenizer.json'))
    return (await readFolder(file)) ?? (await readFolder(path.join(file, 'tokenizer')))
  if (path.extname(file).toLowerCase() === '.json') return fromBertJson((await readJson(file)) ?? {}, [], file)
  return fromVocabText((await readText(file)) ?? '', [], file)
}
