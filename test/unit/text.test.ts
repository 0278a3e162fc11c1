/** The CLIP tokenizer: vocabulary, every golden prompt, tokenizer files, and the text inside a GGUF file. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DiffusionError, ModelFormatError, UnsupportedModelError } from '../../lib/errors'
import { ClipTokenizer } from '../../lib/text/clip-tokenizer'
import { parseTokenizer, serialiseTokenizer, standardClipData } from '../../lib/text/tokenizer-data'
import { readTokenizerFiles } from '../../lib/text/tokenizer-files'
import { byteCharacters, clipMerges, tokensOfMerges } from '../../lib/text/vocabulary'
import { tinyMerges, tinyTokens, tinyVocab, writeTinyTokenizer } from '../helpers/tiny-tokenizer'

const golden = (name: string): any => JSON.parse(readFileSync(path.join('test', 'fixtures', 'procedures', name), 'utf8'))

describe('the vocabulary asset', () => {
  const { clip } = golden('tokenizers_vocab.json')
  let tokens: string[]
  beforeAll(async () => (tokens = await tokensOfMerges(await clipMerges())))

  test('has the size, the tokens and the order of the public vocabulary', () => {
    expect(tokens).toHaveLength(clip.size)
    expect(new Set(tokens).size).toBe(clip.size)
    expect(createHash('sha256').update(tokens.join('\n')).digest('hex')).toBe(clip.sha256_of_tokens_joined_by_newline)
  })

  test('has the right ids for sample tokens', async () => {
    for (const [token, id] of Object.entries(clip.samples)) expect([token, tokens.indexOf(token)]).toEqual([token, id])
    const { bosTokenId, eosTokenId, padTokenId, modelMaxLength } = await ClipTokenizer.standard()
    expect([bosTokenId, eosTokenId, padTokenId, modelMaxLength]).toEqual([clip.sot, clip.eot, clip.eot, 77])
  })

  test('maps bytes to 256 distinct characters', () => {
    expect(new Set(byteCharacters()).size).toBe(256)
  })

  test('if it is missing, the error says what to do', async () => {
    await expect(clipMerges(path.join(tmpdir(), 'no-such-asset.br'))).rejects.toThrow(/build:assets/)
  })
})

describe('golden prompts', () => {
  const { prompts, count } = golden('tokenizers.json')
  const added = golden('tokenizers_added.json')
  let tokenizer: ClipTokenizer
  let extended: ClipTokenizer
  beforeAll(async () => {
    tokenizer = await ClipTokenizer.standard()
    extended = await tokenizer.withAddedTokens(added.added)
  })

  test('all cases exist', () => expect(prompts).toHaveLength(count))

  test.each(prompts.map((prompt: any) => [prompt.i, prompt]) as [any, any][])('prompt %i', async (_, prompt: any) => {
    expect([49406, ...(await tokenizer.encode(prompt.text)), 49407]).toEqual(prompt.clip_hf)
  })

  test.each(added.prompts.map((prompt: any) => [prompt.text, prompt.ids]) as [any, any][])('added tokens: %s', async (text: any, ids: any) => {
    expect([49406, ...(await extended.encode(text)), 49407]).toEqual(ids)
  })
})

describe('tokenizer files', () => {
  let folder: string
  beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'tokenizer-'))))
  afterEach(() => rmSync(folder, { recursive: true }))

  test('vocab.json and merges.txt of a small vocabulary', async () => {
    writeTinyTokenizer(folder)
    const tokenizer = await ClipTokenizer.create((await readTokenizerFiles(folder))!)
    const id = (token: string) => tinyTokens.indexOf(token)
    expect(await tokenizer.encode('A Cat, the cat!')).toEqual([id('a</w>'), id('cat</w>'), id(',</w>'), id('the</w>'), id('cat</w>'), id('!</w>')])
    expect(await tokenizer.encode('caté')).toEqual([id('c'), id('at'), id('Ã'), id('©</w>')])
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.modelMaxLength]).toEqual([id('<|startoftext|>'), id('<|endoftext|>'), 16])
    expect(tokenizer.idToToken((await tokenizer.encode('cat'))[0]!)).toBe('cat</w>')
  })

  test('a tokenizer subfolder, Windows line ends, and markers with other names', async () => {
    const inner = path.join(folder, 'tokenizer')
    mkdirSync(inner)
    writeTinyTokenizer(inner, { lineEnd: '\r\n', config: { bos_token: { content: 'th' }, eos_token: 'at', pad_token: '!', model_max_length: 1e30 } })
    const tokenizer = await ClipTokenizer.create((await readTokenizerFiles(folder))!)
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId, tokenizer.modelMaxLength]).toEqual([
      tinyTokens.indexOf('th'),
      tinyTokens.indexOf('at'),
      0,
      77,
    ])
  })

  test.each(['lines', 'pairs'])('tokenizer.json with merges as %s', async (form) => {
    const merges = form === 'lines' ? tinyMerges : tinyMerges.map((merge) => merge.split(' '))
    const added = [{ id: tinyTokens.length, content: '<Style>', special: false }]
    const json = { added_tokens: added, model: { type: 'BPE', vocab: tinyVocab, merges, end_of_word_suffix: '</w>', unk_token: '<|endoftext|>' } }
    const file = path.join(folder, 'tokenizer.json')
    writeFileSync(file, JSON.stringify(json))
    for (const source of [file, folder]) {
      const tokenizer = await ClipTokenizer.create((await readTokenizerFiles(source))!)
      expect(await tokenizer.encode('cat <STYLE>')).toEqual([tinyVocab['cat</w>'], tinyTokens.length])
    }
  })

  test('added_tokens.json and added_tokens_decoder', async () => {
    writeTinyTokenizer(folder, { config: { added_tokens_decoder: { [tinyTokens.length + 1]: { content: 'two', special: false } } } })
    writeFileSync(path.join(folder, 'added_tokens.json'), JSON.stringify({ one: tinyTokens.length }))
    const tokenizer = await ClipTokenizer.create((await readTokenizerFiles(folder))!)
    expect(await tokenizer.encode('one two')).toEqual([tinyTokens.length, tinyTokens.length + 1])
  })

  test('a folder without tokenizer files gives undefined, a missing folder an error', async () => {
    expect(await readTokenizerFiles(folder)).toBeUndefined()
    await expect(readTokenizerFiles(path.join(folder, 'none'))).rejects.toThrow(DiffusionError)
  })

  test.each<[string, Record<string, string>]>([
    ['vocab.json alone', { 'vocab.json': '{"a": 0}' }],
    ['merges.txt alone', { 'merges.txt': 'a b' }],
    ['broken JSON', { 'vocab.json': '{"a": 0', 'merges.txt': '' }],
    ['a list', { 'vocab.json': '[]', 'merges.txt': '' }],
    ['an empty vocabulary', { 'vocab.json': '{}', 'merges.txt': '' }],
    ['ids twice', { 'vocab.json': '{"a": 0, "b": 0}', 'merges.txt': '' }],
    ['a huge id', { 'vocab.json': '{"a": 4294967295}', 'merges.txt': '' }],
    ['a negative id', { 'vocab.json': '{"a": -1}', 'merges.txt': '' }],
    ['a fractional id', { 'vocab.json': '{"a": 0.5}', 'merges.txt': '' }],
    ['an id that is text', { 'vocab.json': '{"a": "0"}', 'merges.txt': '' }],
    ['no markers', { 'vocab.json': '{"a": 0}', 'merges.txt': '' }],
    ['a merge of unknown tokens', { 'vocab.json': JSON.stringify(tinyVocab), 'merges.txt': 'q z' }],
    ['a merge of three', { 'vocab.json': JSON.stringify(tinyVocab), 'merges.txt': 'a t h' }],
    ['an unknown marker', { 'vocab.json': JSON.stringify(tinyVocab), 'merges.txt': '', 'tokenizer_config.json': '{"bos_token": "<none>"}' }],
    ['a tokenizer.json without a model', { 'tokenizer.json': '{}' }],
    [
      'added tokens of the wrong type',
      { 'tokenizer.json': JSON.stringify({ added_tokens: 5, model: { type: 'BPE', vocab: tinyVocab, merges: [], end_of_word_suffix: '</w>' } }) },
    ],
  ])('refuses %s', async (_, files) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text)
    await expect(readTokenizerFiles(folder)).rejects.toThrow(ModelFormatError)
  })

  test('rejects other kinds of tokenizers by name', async () => {
    writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify({ model: { type: 'Unigram', vocab: [] } }))
    await expect(readTokenizerFiles(folder)).rejects.toThrow(UnsupportedModelError)
    await expect(readTokenizerFiles(folder)).rejects.toThrow(/Unigram/)
  })

  test('names of object built-ins are ordinary tokens', async () => {
    const vocab = JSON.stringify(tinyVocab).replace('{', `{"__proto__": ${tinyTokens.length}, "constructor</w>": ${tinyTokens.length + 1}, `)
    writeFileSync(path.join(folder, 'vocab.json'), vocab)
    writeFileSync(path.join(folder, 'merges.txt'), tinyMerges.join('\n'))
    const tokenizer = await ClipTokenizer.create((await readTokenizerFiles(folder))!)
    expect(tokenizer.idToToken(tinyTokens.length)).toBe('__proto__')
    expect((await tokenizer.encode('cat constructor')).slice(0, 1)).toEqual([tinyVocab['cat</w>']])
    expect({}).not.toHaveProperty('polluted')
  })
})

describe('the tokenizer inside a model file', () => {
  test('CLIP round-trips with its merges alone, without a vocabulary', async () => {
    const text = await serialiseTokenizer(await standardClipData())
    expect(JSON.parse(text)).not.toHaveProperty('vocab')
    const back = await parseTokenizer(text)
    expect(back.vocab.size).toBe(49408)
    expect(await (await ClipTokenizer.create(back)).encode('a photo of a cat')).toEqual([320, 1125, 539, 320, 2368])
  })

  test('other vocabularies are stored in full', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tokenizer-'))
    try {
      writeTinyTokenizer(folder)
      const data = (await readTokenizerFiles(folder))!
      const back = await parseTokenizer(await serialiseTokenizer(data))
      expect(back).toEqual(data)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test.each([
    '',
    '5',
    'null',
    '{}',
    '{"format":"clip-bpe","version":1}',
    '{"format":"clip-bpe","version":2,"merges":[]}',
    '{"format":"clip-bpe","version":1,"merges":["a"]}',
    '{"format":"clip-bpe","version":1,"merges":["a b","a b"]}',
  ])('refuses %s', (text) => expect(parseTokenizer(text)).rejects.toThrow(DiffusionError))
})
