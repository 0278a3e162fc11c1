/** Tokenizers and prompts hold the event loop for 20 ms at most, however long they are; JSON that is read in slices is JSON. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseJsonSliced } from '../../lib/files/sliced-json'
import { standardBertData } from '../../lib/text/bert-data'
import { BertTokenizer } from '../../lib/text/bert-tokenizer'
import { ClipTokenizer } from '../../lib/text/clip-tokenizer'
import { EmbeddingTable } from '../../lib/text/embeddings'
import { tokenizePrompt } from '../../lib/text/prompt'
import { parseTokenizer, serialiseTokenizer, standardClipData, type TokenizerData } from '../../lib/text/tokenizer-data'
import { readTokenizerFiles } from '../../lib/text/tokenizer-files'
import { mutate, randomOf } from '../helpers/mutate'
import { held, longestForFile, longestPromised } from '../helpers/thread-time'

describe('the event loop is blocked for at most 20 ms', () => {
  let data: TokenizerData
  let clip: ClipTokenizer
  beforeAll(async () => {
    data = await standardClipData()
    clip = await ClipTokenizer.create(data)
  })

  test('by the public vocabularies', async () => {
    expect(await held(async () => ClipTokenizer.create(await standardClipData()))).toBeLessThan(longestPromised)
    expect(await held(async () => BertTokenizer.create(await standardBertData()))).toBeLessThan(longestPromised)
  })

  test('by the text in a model file', async () => {
    const text = await serialiseTokenizer(data)
    expect(await held(() => serialiseTokenizer(data))).toBeLessThan(longestPromised)
    expect(await held(() => parseTokenizer(text))).toBeLessThan(longestPromised)
  })

  test('by tokenizer files of several megabytes', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tokenizer-'))
    try {
      const vocab = Object.fromEntries(data.vocab)
      const model = { type: 'BPE', end_of_word_suffix: '</w>', vocab, merges: data.merges.map((merge) => merge.split(' ')) }
      const whole = path.join(folder, 'whole.json')
      writeFileSync(whole, JSON.stringify({ added_tokens: [], model }, undefined, 1))
      writeFileSync(path.join(folder, 'vocab.json'), JSON.stringify(vocab))
      writeFileSync(path.join(folder, 'merges.txt'), `#version: 0.2\n${data.merges.join('\n')}\n`)
      expect((await readTokenizerFiles(whole))!.vocab.size).toBe(49408)
      const longest = longestForFile(statSync(whole).size)
      expect(await held(() => readTokenizerFiles(whole), longest)).toBeLessThan(longest)
      expect(await held(() => readTokenizerFiles(folder), longest)).toBeLessThan(longest)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('by other files with the size of a tokenizer file', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tokenizer-'))
    const size = 16 << 20
    const longest = longestForFile(size)
    const file = path.join(folder, 'tokenizer.json')
    const refused = async (text: string, name = 'tokenizer.json') => {
      writeFileSync(path.join(folder, name), text)
      let error: unknown
      const time = await held(
        async () => (error = await readTokenizerFiles(name === 'tokenizer.json' ? file : folder).catch((caught: unknown) => caught)),
        longest,
      )
      expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT' })
      return time
    }
    try {
      for (const text of [
        ' '.repeat(size),
        `["${'\\"'.repeat(size / 2 - 2)}"]`,
        '1'.repeat(size),
        `{"a":"${'猫'.repeat(5_000_000)}"}`,
        '[1,'.repeat(size / 3),
        `[${'1,'.repeat(size / 2 - 2)}1]`,
      ])
        expect(await refused(text)).toBeLessThan(longest)
      rmSync(file)
      writeFileSync(path.join(folder, 'vocab.json'), '{"a":0}')
      expect(await refused('\n'.repeat(size), 'merges.txt')).toBeLessThan(longest)
      const tokens = (count: number) => `{${Array.from({ length: count }, (_, i) => `"t${i}":${i}`).join(',')}}`
      expect(await refused(tokens(900_000), 'vocab.json')).toBeLessThan(longest)
      writeFileSync(path.join(folder, 'merges.txt'), 'a b\n')
      expect(await refused(tokens(1 << 18), 'vocab.json')).toBeLessThan(longest)
      writeFileSync(path.join(folder, 'vocab.json'), '{"a":0,"b":1,"ab":2}')
      expect(await refused(tokens(250_000), 'added_tokens.json')).toBeLessThan(longest)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('by thousands of names of embeddings', async () => {
    const vector = new Float32Array(8)
    const names = Array.from({ length: 5000 }, (_, i) => `style ${(i * 7919) % 5000} by artist-${i}`)
    const list = names.map((name) => ({ name, count: 8, encoders: [vector] }))
    expect(await held(() => new EmbeddingTable(list))).toBeLessThan(longestPromised)
    const embeddings = new EmbeddingTable(list)
    const prompt = Array.from({ length: 3000 }, (_, i) => (i % 20 === 0 ? `embedding:${names[i]}` : 'style 12 by')).join(', ')
    expect(await held(() => tokenizePrompt(clip, prompt, { embeddings }))).toBeLessThan(longestPromised)
    expect((await embeddings.split(prompt)).filter((part) => typeof part !== 'string')).toHaveLength(150)
    // All names begin alike, and so does the text at every place.
    const alike = Array.from({ length: 1000 }, (_, i) => ({ name: `${'a '.repeat(i)}b`, count: 1, encoders: [vector] }))
    expect(await held(() => new EmbeddingTable(alike).split('a '.repeat(1000)))).toBeLessThan(longestPromised)
  })

  const words = (length: number) => Array.from({ length }, (_, i) => (i % 7 === 6 ? ' ' : 'etaoinshrdlu'[(i * i + 3 * i) % 12])).join('')
  test.each<[string, string]>([
    ['words', words(65_536)],
    ['one word', 'a'.repeat(65_536)],
    ['words without spaces, of three bytes a letter', '猫'.repeat(20_000)],
    ['emphasis', '(a:1.1)'.repeat(9362)],
    ['brackets in brackets', '(a'.repeat(21_845) + ')'.repeat(21_845)],
    ['colons', ':'.repeat(65_536)],
    ['breaks', 'BREAK '.repeat(900)],
  ])('by a prompt of %s', async (_, prompt) => {
    expect(await held(() => tokenizePrompt(clip, prompt))).toBeLessThan(longestPromised)
    const bert = await BertTokenizer.standard()
    expect(await held(() => tokenizePrompt(bert, prompt, { single: true }))).toBeLessThan(longestPromised)
  })
})

describe('JSON in slices', () => {
  const text = JSON.stringify({
    a: [1, -2.5e-3, true, false, null, '', 'é"\\\n\u2028😀', [], {}, [[{}]]],
    __proto: { vocab: { x: 1, '': 2 } },
    vocab: { '"': 0, '\\': 1, 'ca t': [1, { vocab: 2 }] },
  }).replace('__proto', '__proto__')

  /** Maps as objects. */
  function plain(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(plain)
    if (typeof value !== 'object' || value === null) return value
    const entries = value instanceof Map ? [...(value as Map<string, unknown>)] : Object.entries(value)
    return Object.fromEntries(entries.map(([key, inner]) => [key, plain(inner)]))
  }

  test('gives the result of JSON.parse(), with vocabularies as maps', async () => {
    const value = (await parseJsonSliced(text, 'vocab')) as { vocab: unknown }
    expect(value.vocab).toEqual(
      new Map<string, unknown>([
        ['"', 0],
        ['\\', 1],
        ['ca t', [1, { vocab: 2 }]],
      ]),
    )
    expect(plain(value)).toEqual(JSON.parse(text))
    expect(await parseJsonSliced(' { "b" : 1 , "a" : { } } ', undefined)).toEqual(
      new Map<string, unknown>([
        ['b', 1],
        ['a', {}],
      ]),
    )
    for (const scalar of ['1', '"x"', ' null ', '[]']) expect(await parseJsonSliced(scalar, 'vocab')).toEqual(JSON.parse(scalar))
  })

  test('rejects the same input as JSON.parse(), in 5,000 mutants', async () => {
    const random = randomOf(3)
    let refused = 0
    for (let round = 0; round < 5000; round++) {
      const mutant = mutate(Buffer.from(text), random).toString('utf8')
      let expected: unknown
      try {
        expected = JSON.parse(mutant)
      } catch {
        refused++
        await expect(parseJsonSliced(mutant, 'vocab')).rejects.toThrow(SyntaxError)
        continue
      }
      expect(plain(await parseJsonSliced(mutant, 'vocab'))).toEqual(expected)
    }
    expect(refused).toBeGreaterThan(1000)
    expect(refused).toBeLessThan(5000)
  })

  test('rejects deep nesting without recursion', async () => {
    await expect(parseJsonSliced('['.repeat(1_000_000), 'vocab')).rejects.toThrow(SyntaxError)
  })
})
