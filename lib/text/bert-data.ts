/** Checked data of a BERT tokenizer: from vocab.txt or tokenizer.json, and as the text stored in a GGUF file. */
import { forEachSliced } from '../files/time-slice.js'
import { loadAsset } from '../model/assets.js'
import { UnsupportedModelError } from '../errors.js'
import {
  fail,
  isObject,
  linesOf,
  maxTokens,
  namedToken,
  parseObject,
  readAddedTokens,
  readVocab,
  stringifySliced,
  vocabOfList,
  windowLength,
  type Json,
} from './tokenizer-data.js'

/** Prefix of a piece inside a word. */
export const continuation = '##'

/** A vocabulary of word pieces with its markers. */
export interface BertTokenizerData {
  vocab: ReadonlyMap<string, number>
  /** Lower-case and without accents ("uncased" vocabularies). */
  lowercase: boolean
  clsToken: string
  sepToken: string
  padToken: string
  unkToken: string
  maskToken: string
  /** Tokens per window of the text encoder, including start and end. */
  modelMaxLength: number
}

/** A marker: its field here, its key in configurations, and BERT's own. */
const markers = [
  ['clsToken', 'cls_token', '[CLS]'],
  ['sepToken', 'sep_token', '[SEP]'],
  ['padToken', 'pad_token', '[PAD]'],
  ['unkToken', 'unk_token', '[UNK]'],
  ['maskToken', 'mask_token', '[MASK]'],
] as const

type Markers = Pick<BertTokenizerData, (typeof markers)[number][0]>

/** Assembles the data. `configs`: the first with a marker or setting decides. Only the mask may be missing in the vocabulary, because prompts do not use it. */
function assembleBert(vocab: ReadonlyMap<string, number>, configs: readonly Json[], where: string): BertTokenizerData {
  const named = markers.map(([field, key, fallback]) => {
    const token = configs.map((config) => namedToken(config[key])).find((text) => text !== undefined) ?? fallback
    if (!vocab.has(token) && field !== 'maskToken') fail(where, `${key} ${JSON.stringify(token)} is not in the vocabulary`)
    return [field, token]
  })
  const lowercase = configs.map((config) => config.do_lower_case).find((value) => typeof value === 'boolean')
  return { vocab, lowercase: lowercase !== false, ...(Object.fromEntries(named) as Markers), modelMaxLength: windowLength(configs) }
}

async function vocabOfTokens(tokens: readonly unknown[], where: string): Promise<Map<string, number>> {
  if (tokens.length > maxTokens) fail(where, `more than ${maxTokens} tokens`)
  return (await vocabOfList(tokens, where)) ?? fail(where, 'a token occurs twice')
}

/** A vocab.txt: one token per line; the number of the line, from 0, is its id. */
export async function fromVocabText(text: string, configs: readonly Json[], where: string): Promise<BertTokenizerData> {
  const lines = await linesOf(text, where)
  return assembleBert(await vocabOfTokens(lines, where), configs, where)
}

/** The contents of a tokenizer.json. Only `lowercase` of its normaliser is used; the normaliser itself is not executed. */
export async function fromBertJson(json: Json, configs: readonly Json[], where: string): Promise<BertTokenizerData> {
  const model = isObject(json.model) ? json.model : fail(where, 'model is missing')
  const { type = 'WordPiece', continuing_subword_prefix: prefix = continuation } = model
  if (type !== 'WordPiece' || 'merges' in model || prefix !== continuation) {
    throw new UnsupportedModelError(
      `${where} has a tokenizer of type ${JSON.stringify(type)}; this model takes BERT's word pieces ("WordPiece" with "${continuation}")`,
      { path: where },
    )
  }
  const vocab = await readVocab(model.vocab, where)
  for (const { content, id } of readAddedTokens(json.added_tokens, where)) if (!vocab.has(content)) vocab.set(content, id)
  const normalizer = isObject(json.normalizer) ? [{ do_lower_case: json.normalizer.lowercase }] : []
  return assembleBert(vocab, [...configs, ...normalizer, { unk_token: model.unk_token }], where)
}

/** bert-base-uncased, from the generated asset: the tokenizer of the LDM text-to-image models. */
export async function standardBertData(file = 'bert-base-uncased-vocab.txt.br'): Promise<BertTokenizerData> {
  return fromVocabText(await loadAsset(file, 'The BERT vocabulary'), [], 'the BERT vocabulary')
}

/**
 * The tokenizer as one JSON text, for the metadata of a GGUF file:
 * `{ format: 'bert-wordpiece', version: 1, do_lower_case, cls_token, sep_token, pad_token, unk_token, mask_token, model_max_length, vocab: [...] | { token: id } }`.
 * `vocab` is a list by id if the ids have no gaps.
 */
export async function serialiseBert(data: BertTokenizerData): Promise<string> {
  const tokens: string[] = []
  await forEachSliced(data.vocab, ([token, id]) => (tokens[id] = token))
  const dense = tokens.length === data.vocab.size
  const small = JSON.stringify({
    format: 'bert-wordpiece',
    version: 1,
    do_lower_case: data.lowercase,
    ...Object.fromEntries(markers.map(([field, key]) => [key, data[field]])),
    model_max_length: data.modelMaxLength,
  })
  return `${small.slice(0, -1)},"vocab":${await stringifySliced(dense ? tokens : data.vocab)}}`
}

/** Reads what {@link serialiseBert} wrote. The text comes from a file and is checked like one. */
export async function parseBert(text: string, where = 'the tokenizer in the model file'): Promise<BertTokenizerData> {
  const json = await parseObject(text, where)
  if (json.format !== 'bert-wordpiece')
    throw new UnsupportedModelError(`${where} has the format ${JSON.stringify(json.format ?? null)}; this model takes "bert-wordpiece"`)
  if (json.version !== 1)
    throw new UnsupportedModelError(`${where} has version ${JSON.stringify(json.version ?? null)}; this release reads version 1`)
  const vocab = Array.isArray(json.vocab) ? await vocabOfTokens(json.vocab, where) : await readVocab(json.vocab, where)
  return assembleBert(vocab, [json], where)
}
