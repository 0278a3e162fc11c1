/** Checked data of a CLIP tokenizer: from tokenizer files, and as the text stored in a GGUF file. */
import { ModelFormatError, UnsupportedModelError } from '../errors.js'
import { maxMembers, parseJsonSliced } from '../files/sliced-json.js'
import { forEachSliced, TimeSlice } from '../files/time-slice.js'
import { clipMerges, endOfText, endOfWord, startOfText, tokensOfMerges } from './vocabulary.js'

/** A token that is matched in the text before splitting. */
export interface AddedToken {
  id: number
  content: string
  /** Start, end or padding; matched only verbatim. Others are also matched in the normalised (lower-case) text. */
  special: boolean
}

/** A byte-pair vocabulary with its markers. */
export interface TokenizerData {
  vocab: ReadonlyMap<string, number>
  /** 'left right', best first. */
  merges: readonly string[]
  addedTokens: readonly AddedToken[]
  bosToken: string
  eosToken: string
  padToken: string
  unkToken: string
  /** Tokens per window of the text encoder, including start and end. */
  modelMaxLength: number
}

/** Limits for files. */
export const maxTokens = maxMembers
const maxTokenLength = 1024
const maxAddedTokens = 10_000
const defaultMaxLength = 77
const linesAtOnce = 256

export type Json = Record<string, unknown>

export function fail(where: string, what: string): never {
  throw new ModelFormatError(`${where}: ${what}`, { path: where })
}

async function parse(text: string, where: string, mapsAt: string | undefined): Promise<unknown> {
  try {
    return await parseJsonSliced(text, mapsAt)
  } catch (cause) {
    const problem = cause instanceof RangeError ? `cannot be read: ${cause.message}` : 'is not valid JSON'
    throw new ModelFormatError(`${where} ${problem}`, { path: where }, { cause })
  }
}

const noObject = 'the top level must be an object'

/** A JSON text whose top must be an object. A vocabulary in it is a map. */
export async function parseObject(text: string, where: string): Promise<Json> {
  const value = await parse(text, where, 'vocab')
  return isObject(value) ? value : fail(where, noObject)
}

/** A JSON text whose top is a vocabulary. */
export async function parseMap(text: string, where: string): Promise<Map<string, unknown>> {
  const value = await parse(text, where, undefined)
  return value instanceof Map ? (value as Map<string, unknown>) : fail(where, noObject)
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map)
}

export function checkToken(token: unknown, where: string): string {
  if (typeof token !== 'string' || token === '' || token.length > maxTokenLength)
    fail(where, `tokens must be strings of 1 to ${maxTokenLength} characters`)
  return token
}

function checkId(id: unknown, where: string): number {
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= maxTokens)
    fail(where, `token ids must be integers from 0 to ${maxTokens - 1}`)
  return id
}

/** Checks `{ token: id }` with unique ids and returns the map. */
export async function readVocab(value: unknown, where: string): Promise<Map<string, number>> {
  if (!(value instanceof Map)) fail(where, 'the vocabulary must be an object of token to id')
  const vocab = value as Map<string, number>
  const seen = new Uint8Array(maxTokens)
  await forEachSliced(vocab, ([token, id]) => {
    checkToken(token, where)
    if (seen[checkId(id, where)]) fail(where, 'two tokens of the vocabulary have the same id')
    seen[id] = 1
  })
  if (vocab.size === 0) fail(where, 'the vocabulary is empty')
  return vocab
}

/** Merges as lines 'left right' or as pairs; both halves and their union must be tokens. */
export async function readMerges(value: unknown, vocab: ReadonlyMap<string, number>, where: string): Promise<string[]> {
  if (!Array.isArray(value) || value.length > maxTokens) fail(where, `the merges must be a list of at most ${maxTokens}`)
  const merges: string[] = []
  await forEachSliced(value as unknown[], (merge, i) => {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    if (!Array.isArray(pair) || pair.length !== 2) fail(where, `merge ${i} is not a pair of tokens`)
    const [left, right] = pair as unknown[]
    if (typeof left !== 'string' || typeof right !== 'string' || !vocab.has(left) || !vocab.has(right) || !vocab.has(left + right)) {
      fail(where, `merge ${i} has tokens that are not in the vocabulary`)
    }
    merges.push(`${left} ${right}`)
  })
  return merges
}

/** The lines of a file of tokens, without an empty last one. */
export async function linesOf(text: string, where: string): Promise<string[]> {
  const lines: string[] = []
  const slice = new TimeSlice()
  for (let start = 0; start < text.length;) {
    const found = text.indexOf('\n', start)
    const end = found < 0 ? text.length : found
    lines.push(text.slice(start, found > start && text[end - 1] === '\r' ? end - 1 : end))
    if (lines.length > maxTokens) fail(where, `more than ${maxTokens} lines`)
    if (lines.length % linesAtOnce === 0 && slice.over) await slice.next()
    start = end + 1
  }
  return lines
}

/** The lines of a merges.txt, without its version line. */
export async function mergeLines(text: string, where: string): Promise<string[]> {
  const lines = await linesOf(text, where)
  return lines.filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')))
}

/** A token named in a configuration: its text, or an object with `content`. */
export function namedToken(value: unknown): string | undefined {
  const content = isObject(value) ? value.content : value
  return typeof content === 'string' && content !== '' ? content : undefined
}

function addedToken(value: unknown, id: unknown, where: string): AddedToken {
  if (!isObject(value)) fail(where, 'an added token must be an object')
  return { id: checkId(id, where), content: checkToken(value.content, where), special: value.special === true }
}

/** Throws for more added tokens than are allowed, without creating a list of them. */
export function checkAddedTokens(tokens: object, where: string): void {
  let count = Array.isArray(tokens) ? tokens.length : 0
  if (!Array.isArray(tokens)) for (const id in tokens) if (Object.hasOwn(tokens, id) && ++count > maxAddedTokens) break
  if (count > maxAddedTokens) fail(where, `more than ${maxAddedTokens} added tokens`)
}

/** `added_tokens` of tokenizer.json (a list) or `added_tokens_decoder` of tokenizer_config.json (by id). */
export function readAddedTokens(value: unknown, where: string): AddedToken[] {
  if (value === undefined || value === null) return []
  if (typeof value !== 'object') fail(where, 'the added tokens must be a list or an object')
  checkAddedTokens(value, where)
  const entries: [unknown, unknown][] = Array.isArray(value)
    ? value.map((token: unknown) => [token, isObject(token) ? token.id : undefined])
    : Object.entries(value).map(([id, token]) => [token, Number(id)])
  return entries.map(([token, id]) => addedToken(token, id, where))
}

interface Parts {
  vocab: ReadonlyMap<string, number>
  merges: readonly string[]
  addedTokens: AddedToken[]
  /** tokenizer_config.json and special_tokens_map.json; the first with a token decides. */
  configs: readonly Json[]
}

/** Assembles the data, with CLIP's markers by default. */
export function assemble({ vocab, merges, addedTokens, configs }: Parts, where: string): TokenizerData {
  const added = new Map(addedTokens.map(({ content, id }) => [content, id]))
  const idOf = (token: string) => added.get(token) ?? vocab.get(token)
  const marker = (key: string, fallback: string) => {
    const named = configs.map((config) => namedToken(config[key])).find((token) => token !== undefined)
    const token = named ?? fallback
    return idOf(token) !== undefined ? token : fail(where, `${key} ${JSON.stringify(token)} is not in the vocabulary`)
  }
  const bosToken = marker('bos_token', startOfText)
  const eosToken = marker('eos_token', endOfText)
  const padToken = marker('pad_token', eosToken)
  const unkToken = marker('unk_token', eosToken)
  const special = new Map(addedTokens.map((token) => [token.content, token]))
  for (const content of [bosToken, eosToken]) special.set(content, { content, id: idOf(content)!, special: true })
  return { vocab, merges, addedTokens: [...special.values()], bosToken, eosToken, padToken, unkToken, modelMaxLength: windowLength(configs) }
}

/** `model_max_length` if it is plausible, 77 otherwise. */
export function windowLength(configs: readonly Json[]): number {
  const length = configs.map((config) => config.model_max_length).find((value) => typeof value === 'number')
  return typeof length === 'number' && Number.isInteger(length) && length >= 3 && length <= 4096 ? length : defaultMaxLength
}

/** The contents of a tokenizer.json. Its normaliser and splitter are not executed, because they may contain any regular expression; CLIP's are used. */
export async function fromTokenizerJson(json: Json, configs: readonly Json[], where: string): Promise<TokenizerData> {
  const model = isObject(json.model) ? json.model : fail(where, 'model is missing')
  if ((model.type !== undefined && model.type !== 'BPE') || !('merges' in model) || model.end_of_word_suffix !== endOfWord) {
    throw new UnsupportedModelError(
      `${where} has a tokenizer of type ${JSON.stringify(model.type ?? 'unknown')} with end_of_word_suffix ${JSON.stringify(model.end_of_word_suffix ?? null)}; only CLIP's byte-pair tokenizer ("BPE", "${endOfWord}") is supported`,
      { path: where },
    )
  }
  const vocab = await readVocab(model.vocab, where)
  const merges = await readMerges(model.merges, vocab, where)
  const unknown = typeof model.unk_token === 'string' ? [{ unk_token: model.unk_token }] : []
  return assemble({ vocab, merges, addedTokens: readAddedTokens(json.added_tokens, where), configs: [...configs, ...unknown] }, where)
}

/** Tokens by position in a list; undefined if one occurs twice. */
export async function vocabOfList(tokens: readonly unknown[], where: string): Promise<Map<string, number> | undefined> {
  const vocab = new Map<string, number>()
  await forEachSliced(tokens, (token, id) => vocab.set(checkToken(token, where), id))
  return vocab.size === tokens.length ? vocab : undefined
}

/** The public CLIP tokenizer. */
export async function standardClipData(): Promise<TokenizerData> {
  const where = 'the CLIP vocabulary'
  const merges = await clipMerges()
  return assemble({ vocab: await vocabOfMerges(merges, where), merges, addedTokens: [], configs: [] }, where)
}

/** Whether the vocabulary follows from the merges, so that it need not be stored. */
async function followsFromMerges({ vocab, merges }: TokenizerData): Promise<boolean> {
  const tokens = await tokensOfMerges(merges)
  let follows = tokens.length === vocab.size
  await forEachSliced(follows ? tokens : [], (token, id) => (follows &&= vocab.get(token) === id))
  return follows
}

/** The JSON of a list, or of an object of numbers. */
export async function stringifySliced(values: readonly string[] | ReadonlyMap<string, number>): Promise<string> {
  const parts: string[] = []
  if (values instanceof Map) {
    await forEachSliced(values as ReadonlyMap<string, number>, ([token, id]) => parts.push(`${JSON.stringify(token)}:${id}`))
    return `{${parts.join(',')}}`
  }
  await forEachSliced(values as readonly string[], (text) => parts.push(JSON.stringify(text)))
  return `[${parts.join(',')}]`
}

/**
 * The tokenizer as one JSON text, for the metadata of a GGUF file:
 * `{ format: 'clip-bpe', version: 1, merges: ['l r', ...], vocab?: { token: id }, added_tokens: [...], bos_token, eos_token, pad_token, unk_token, model_max_length }`.
 * `vocab` is omitted if it follows from the merges, like CLIP's.
 */
export async function serialiseTokenizer(data: TokenizerData): Promise<string> {
  const small = JSON.stringify({
    format: 'clip-bpe',
    version: 1,
    bos_token: data.bosToken,
    eos_token: data.eosToken,
    pad_token: data.padToken,
    unk_token: data.unkToken,
    model_max_length: data.modelMaxLength,
    added_tokens: data.addedTokens,
  })
  const vocab = (await followsFromMerges(data)) ? '' : `,"vocab":${await stringifySliced(data.vocab)}`
  return `${small.slice(0, -1)}${vocab},"merges":${await stringifySliced(data.merges)}}`
}

/** Reads what {@link serialiseTokenizer} wrote. The text comes from a file and is checked like one. */
export async function parseTokenizer(text: string, where = 'the tokenizer in the model file'): Promise<TokenizerData> {
  const json = await parseObject(text, where)
  if (json.format !== 'clip-bpe')
    throw new UnsupportedModelError(`${where} has the format ${JSON.stringify(json.format ?? null)}; only "clip-bpe" is supported`)
  if (json.version !== 1)
    throw new UnsupportedModelError(`${where} has version ${JSON.stringify(json.version ?? null)}; this release reads version 1`)
  const derived = json.vocab === undefined
  const vocab = derived ? await vocabOfMerges(json.merges, where) : await readVocab(json.vocab, where)
  const merges = await readMerges(json.merges, vocab, where)
  return assemble({ vocab, merges, addedTokens: readAddedTokens(json.added_tokens, where), configs: [json] }, where)
}

async function vocabOfMerges(merges: unknown, where: string): Promise<Map<string, number>> {
  if (!Array.isArray(merges) || merges.length > maxTokens || !merges.every((merge) => typeof merge === 'string'))
    fail(where, 'the merges must be a list of strings')
  const tokens = await tokensOfMerges(merges)
  if (tokens.length > maxTokens) fail(where, `the merges make more than ${maxTokens} tokens`)
  return (await vocabOfList(tokens, where)) ?? fail(where, 'two merges make the same token')
}
