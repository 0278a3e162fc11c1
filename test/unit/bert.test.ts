/** The BERT tokenizer: vocabulary, every golden prompt, one window, tokenizer files, the text inside a GGUF file, and damage to all of them. */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DiffusionError, ModelFormatError, UnsupportedModelError } from '../../lib/errors'
import { fromVocabText, parseBert, serialiseBert, standardBertData, type BertTokenizerData } from '../../lib/text/bert-data'
import { readBertFiles } from '../../lib/text/bert-files'
import { BertTokenizer } from '../../lib/text/bert-tokenizer'
import { tokenizePrompt } from '../../lib/text/prompt'
import { readTokenizerFiles } from '../../lib/text/tokenizer-files'
import { mutate, randomOf } from '../helpers/mutate'
import { processorTime } from '../helpers/processor-time'
import { writeTinyTokenizer } from '../helpers/tiny-tokenizer'

const golden = (name: string): any => JSON.parse(readFileSync(path.join('test', 'fixtures', 'procedures', name), 'utf8'))

const tinyTokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', ',', '(', ')', 'a', 'cat', '##s', '##ty', 'É', 'the', '日']
const tinyText = `${tinyTokens.join('\n')}\n`
const tinyIds = Object.fromEntries(tinyTokens.map((token, id) => [token, id]))
let tiny: BertTokenizer
beforeAll(async () => (tiny = await BertTokenizer.create(await fromVocabText(tinyText, [], 'vocab.txt'))))

describe('the vocabulary asset', () => {
  const { bert } = golden('tokenizers_vocab.json')

  test('has the size, the tokens and the order of bert-base-uncased', async () => {
    const data = await standardBertData()
    const tokens = Array.from(data.vocab.keys())
    expect(tokens).toHaveLength(bert.size)
    expect(createHash('sha256').update(tokens.join('\n')).digest('hex')).toBe(bert.sha256_of_tokens_joined_by_newline)
    for (const [token, id] of Object.entries(bert.samples)) expect([token, data.vocab.get(token)]).toEqual([token, id])
  })

  test('if it is missing, the error says what to do', async () => {
    await expect(standardBertData(path.join(tmpdir(), 'no-such-asset.br'))).rejects.toThrow(/build:assets/)
  })
})

describe('golden prompts', () => {
  const { prompts } = golden('tokenizers.json')

  test.each(prompts.map((prompt: any) => [prompt.i, prompt]) as [any, any][])('prompt %i', async (_, prompt: any) => {
    const tokenizer = await BertTokenizer.standard()
    expect([101, ...(await tokenizer.encode(prompt.text)), 102]).toEqual(prompt.bert)
    const { chunks, truncated, tokenCount } = await tokenizePrompt(tokenizer, prompt.text, { emphasis: 'none', maxLength: 77 })
    const ids: number[] = prompt.bert
    expect(chunks.map((chunk) => chunk.ids)).toEqual([ids.length > 77 ? [...ids.slice(0, 76), 102] : [...ids, ...new Array(77 - ids.length).fill(0)]])
    expect([truncated, tokenCount]).toEqual([ids.length > 77, ids.length - 2])
  })
})

describe('one window', () => {
  const window = (prompt: string, maxLength = 8) => tokenizePrompt(tiny, prompt, { single: true, maxLength })

  test('weights take effect, and the brackets are removed', async () => {
    const { chunks, truncated } = await window('the (cats:1.5), \\(a\\)', 12)
    expect(chunks).toHaveLength(1)
    expect(chunks[0]!.text).toEqual(['[CLS]', 'the', 'cat', '##s', ',', '(', 'a', ')', '[SEP]', '[PAD]', '[PAD]', '[PAD]'])
    expect(chunks[0]!.weights).toEqual([1, 1, 1.5, 1.5, 1, 1, 1, 1, 1, 1, 1, 1])
    expect(truncated).toBe(false)
  })

  test('prompts that are too long are truncated, and the result says so', async () => {
    const { chunks, truncated, tokenCount } = await window('a '.repeat(9))
    expect(chunks[0]!.ids).toEqual([2, 8, 8, 8, 8, 8, 8, 3])
    expect([chunks.length, truncated, tokenCount]).toEqual([1, true, 9])
  })

  test('BREAK only separates words', async () => {
    expect((await window('the BREAK cat')).chunks.map(({ ids }) => ids)).toEqual([[2, 13, 9, 3, 0, 0, 0, 0]])
  })
})

describe('normalisation', () => {
  test('special tokens match exactly, other text is split into word pieces', async () => {
    expect(await tiny.encode('[MASK] [mask]')).toEqual([tinyIds['[MASK]'], tinyIds['[UNK]'], tinyIds['[UNK]'], tinyIds['[UNK]']])
  })

  test('a cased vocabulary keeps capitals and accents', async () => {
    const cased = await BertTokenizer.create(await fromVocabText(tinyText, [{ do_lower_case: false }], 'vocab.txt'))
    expect([await cased.encode('É Cat'), await tiny.encode('É Cat')]).toEqual([
      [tinyIds['É'], tinyIds['[UNK]']],
      [tinyIds['[UNK]'], tinyIds.cat],
    ])
  })

  test('each ideograph is a word, control characters are dropped, every kind of space separates', async () => {
    expect(await tiny.encode('cat日cat')).toEqual([tinyIds.cat, tinyIds['日'], tinyIds.cat])
    expect(await tiny.encode('c\u0000a\u200Bt\u00ADs\u2003\u2028cat')).toEqual([tinyIds.cat, tinyIds['##s'], tinyIds.cat])
  })

  test('words of more than 100 characters are unknown', async () => {
    expect(await tiny.encode(`cat${'s'.repeat(97)}`)).toHaveLength(98)
    expect(await tiny.encode(`cat${'s'.repeat(98)}`)).toEqual([tinyIds['[UNK]']])
  })

  test('long hostile prompts take linear time', async () => {
    const tokenizer = await BertTokenizer.standard()
    const time = await processorTime(async () => {
      for (const unit of ['a', ' ', 'cats', '[', '[CLS]', '日', '́', 'ﷺ', '𠀀', '\u0000'])
        await tokenizer.encode(unit.repeat(Math.floor(65_536 / unit.length)))
    })
    expect(time).toBeLessThan(5000)
  })
})

describe('files', () => {
  let folder: string
  beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'bert-'))))
  afterEach(() => rmSync(folder, { recursive: true }))
  const write = (name: string, content: string | object) =>
    writeFileSync(path.join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  const wordPiece = { type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##', vocab: tinyIds }

  test('vocab.txt with the files next to it, also in the tokenizer folder of a model', async () => {
    const inner = path.join(folder, 'tokenizer')
    mkdirSync(inner)
    writeFileSync(path.join(inner, 'vocab.txt'), tinyText.replaceAll('\n', '\r\n'))
    writeFileSync(
      path.join(inner, 'tokenizer_config.json'),
      JSON.stringify({ do_lower_case: false, model_max_length: 16, cls_token: { content: 'the' } }),
    )
    writeFileSync(path.join(inner, 'special_tokens_map.json'), JSON.stringify({ cls_token: 'a', sep_token: 'cat' }))
    const { bosTokenId, eosTokenId, padTokenId, commaTokenId, modelMaxLength, data } = await BertTokenizer.create((await readBertFiles(folder))!)
    expect([bosTokenId, eosTokenId, padTokenId, commaTokenId, modelMaxLength, data.lowercase]).toEqual([13, 9, 0, 5, 16, false])
  })

  test.each(['vocab.txt', 'tokenizer.json'])('%s by its own path', async (name) => {
    write(name, name === 'vocab.txt' ? tinyText : { model: wordPiece })
    expect(await (await BertTokenizer.create((await readBertFiles(path.join(folder, name)))!)).encode('cats')).toEqual([9, 10])
  })

  test('tokenizer.json: added tokens, and lower-casing by its normaliser', async () => {
    const { '[CLS]': cls, ...vocab } = tinyIds
    write('tokenizer.json', {
      added_tokens: [{ id: cls, content: '[CLS]', special: true }],
      normalizer: { type: 'BertNormalizer', lowercase: false },
      model: { ...wordPiece, vocab },
    })
    const { bosTokenId, data } = await BertTokenizer.create((await readBertFiles(folder))!)
    expect([bosTokenId, data.lowercase]).toEqual([2, false])
  })

  test('a folder without tokenizer files gives undefined, a missing folder an error', async () => {
    expect(await readBertFiles(folder)).toBeUndefined()
    await expect(readBertFiles(path.join(folder, 'none'))).rejects.toThrow(DiffusionError)
  })

  test('a CLIP tokenizer is rejected here, and a BERT tokenizer there', async () => {
    writeTinyTokenizer(folder)
    expect(await readBertFiles(folder)).toBeUndefined()
    write('tokenizer.json', { model: { type: 'BPE', merges: [], vocab: tinyIds } })
    await expect(readBertFiles(folder)).rejects.toThrow(UnsupportedModelError)
    write('tokenizer.json', { model: wordPiece })
    await expect(readTokenizerFiles(folder)).rejects.toThrow(UnsupportedModelError)
  })

  test.each<[string, Record<string, string | object>]>([
    ['an empty vocabulary', { 'vocab.txt': '' }],
    ['an empty line', { 'vocab.txt': `${tinyText}\n\nx\n` }],
    ['a token twice', { 'vocab.txt': `${tinyText}cat\n` }],
    ['no [UNK]', { 'vocab.txt': tinyText.replace('[UNK]', 'x') }],
    ['a marker that is not there', { 'vocab.txt': tinyText, 'tokenizer_config.json': { pad_token: '<pad>' } }],
    ['a token of 2000 characters', { 'vocab.txt': `${tinyText}${'x'.repeat(2000)}\n` }],
    ['broken JSON', { 'tokenizer.json': '{' }],
    ['no model', { 'tokenizer.json': {} }],
    ['ids twice', { 'tokenizer.json': { model: { ...wordPiece, vocab: { ...tinyIds, x: 0 } } } }],
    ['a huge id', { 'tokenizer.json': { model: { ...wordPiece, vocab: { ...tinyIds, x: 4294967295 } } } }],
  ])('refused: %s', async (_, files) => {
    for (const [name, content] of Object.entries(files)) write(name, content)
    await expect(readBertFiles(folder)).rejects.toThrow(ModelFormatError)
  })
})

describe('inside a GGUF file', () => {
  const same = (a: BertTokenizerData, b: BertTokenizerData) => expect({ ...a, vocab: [...a.vocab] }).toEqual({ ...b, vocab: [...b.vocab] })

  test('round-trips', async () => {
    same(await parseBert(await (await BertTokenizer.standard()).serialise()), await standardBertData())
    const odd = await fromVocabText(tinyText, [{ do_lower_case: false, model_max_length: 16, sep_token: 'cat' }], 'vocab.txt')
    same(await parseBert(await serialiseBert(odd)), odd)
  })

  test('accepts ids with gaps', async () => {
    const vocab = new Map([...tiny.data.vocab, ['far', 262_143] as const])
    const data = await parseBert(await serialiseBert({ ...tiny.data, vocab }))
    expect(data.vocab.get('far')).toBe(262_143)
    expect((await serialiseBert({ ...tiny.data, vocab })).length).toBeLessThan(1000)
  })

  test('rejects other kinds and versions', async () => {
    const json = JSON.parse(await tiny.serialise())
    await expect(parseBert(JSON.stringify({ ...json, format: 'clip-bpe' }))).rejects.toThrow(UnsupportedModelError)
    await expect(parseBert(JSON.stringify({ ...json, version: 2 }))).rejects.toThrow(UnsupportedModelError)
  })
})

describe('damage', () => {
  /** Whether the data was refused; whatever was accepted must tokenise. */
  async function refuses(read: () => Promise<BertTokenizerData | undefined>): Promise<boolean> {
    try {
      const data = await read()
      if (!data) return false
      const { chunks } = await tokenizePrompt(await BertTokenizer.create(data), 'A (cat:1.2), the\u0000 [CLS] 日本 [MASK]', { single: true })
      for (const { ids } of chunks) expect(ids.every((id) => Number.isInteger(id) && id >= 0)).toBe(true)
      return false
    } catch (error) {
      if (error instanceof DiffusionError && ['ERR_MODEL_FORMAT', 'ERR_UNSUPPORTED_MODEL'].includes(error.code)) return true
      throw error
    }
  }

  test.each<[string, () => string | Promise<string>, (bytes: Buffer) => Promise<BertTokenizerData>]>([
    ['vocab.txt', () => tinyText, (bytes) => fromVocabText(bytes.toString('utf8'), [], 'vocab.txt')],
    ['the text in a model file', () => tiny.serialise(), (bytes) => parseBert(bytes.toString('utf8'))],
  ])('%s: 1000 mutants', async (_, write, read) => {
    const text = await write()
    const random = randomOf(17)
    let refused = 0
    for (let round = 0; round < 1000; round++) if (await refuses(() => read(mutate(Buffer.from(text), random)))) refused++
    expect(refused).toBeGreaterThan(300)
  })

  test('tokens named like JavaScript built-ins', async () => {
    const data = await fromVocabText(`${tinyText}__proto__\nconstructor\ntostring\n`, [], 'vocab.txt')
    const tokenizer = await BertTokenizer.create(data)
    expect(await tokenizer.encode('constructor tostring a')).toEqual([16, 17, 8])
    expect(await tokenizer.encode('hasOwnProperty')).toEqual([tinyIds['[UNK]']])
  })
})
