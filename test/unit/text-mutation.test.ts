/** Thousands of damaged tokenizer files: each gives a tokenizer that works, or a typed error. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DiffusionError } from '../../lib/errors'
import { ClipTokenizer } from '../../lib/text/clip-tokenizer'
import { parseTokenizer, serialiseTokenizer, type TokenizerData } from '../../lib/text/tokenizer-data'
import { readTokenizerFiles } from '../../lib/text/tokenizer-files'
import { tokenizePrompt } from '../../lib/text/prompt'
import { mutate, randomOf } from '../helpers/mutate'
import { tinyMerges, tinyTokens, tinyVocab, writeTinyTokenizer } from '../helpers/tiny-tokenizer'

let folder: string
beforeAll(() => (folder = mkdtempSync(path.join(tmpdir(), 'mutants-'))))
afterAll(() => rmSync(folder, { recursive: true }))

/** Whether the data was refused; whatever was accepted must tokenise. */
async function refuses(read: () => TokenizerData | undefined | Promise<TokenizerData | undefined>): Promise<boolean> {
  try {
    const data = await read()
    if (!data) return false
    const { chunks } = await tokenizePrompt(await ClipTokenizer.create(data), 'A (cat:1.2), the\u0000 <Style> 日本 BREAK <|endoftext|>')
    for (const { ids } of chunks) expect(ids.every((id) => Number.isInteger(id) && id >= 0)).toBe(true)
    return false
  } catch (error) {
    if (error instanceof DiffusionError && ['ERR_MODEL_FORMAT', 'ERR_UNSUPPORTED_MODEL'].includes(error.code)) return true
    throw error
  }
}

const whole = JSON.stringify({
  added_tokens: [{ id: tinyTokens.length, content: '<Style>', special: false }],
  model: { type: 'BPE', unk_token: '<|endoftext|>', end_of_word_suffix: '</w>', merges: tinyMerges, vocab: tinyVocab },
})

async function mutants(file: string, count: number, seed: number): Promise<number> {
  const original = readFileSync(file)
  const random = randomOf(seed)
  let refused = 0
  for (let round = 0; round < count; round++) {
    writeFileSync(file, mutate(original, random))
    if (await refuses(() => readTokenizerFiles(folder))) refused++
  }
  writeFileSync(file, original)
  return refused
}

test.each(['vocab.json', 'merges.txt', 'tokenizer_config.json'])('%s: 600 mutants', async (name) => {
  writeTinyTokenizer(folder, {
    config: {
      model_max_length: 16,
      bos_token: { content: '<|startoftext|>' },
      eos_token: '<|endoftext|>',
      added_tokens_decoder: { 600: { content: 'x', special: true } },
    },
  })
  expect(await mutants(path.join(folder, name), 600, 7)).toBeGreaterThan(100)
})

test('tokenizer.json: 1000 mutants', async () => {
  writeFileSync(path.join(folder, 'tokenizer.json'), whole)
  expect(await mutants(path.join(folder, 'tokenizer.json'), 1000, 11)).toBeGreaterThan(300)
  rmSync(path.join(folder, 'tokenizer.json'))
})

test('the text in a model file: 1000 mutants', async () => {
  writeTinyTokenizer(folder)
  const text = Buffer.from(await serialiseTokenizer((await readTokenizerFiles(folder))!))
  const random = randomOf(13)
  let refused = 0
  for (let round = 0; round < 1000; round++) if (await refuses(() => parseTokenizer(mutate(text, random).toString('utf8')))) refused++
  expect(refused).toBeGreaterThan(300)
})

test('values of the wrong type at every position of tokenizer.json', async () => {
  const file = path.join(folder, 'tokenizer.json')
  const strange = [null, true, -1, 1e300, '', '\ud800', [], {}, [[]], { content: 5 }]
  const visit = async (value: unknown, put: (replacement: unknown) => void): Promise<void> => {
    for (const replacement of strange) {
      put(replacement)
      writeFileSync(file, JSON.stringify(json))
      await refuses(() => readTokenizerFiles(folder))
    }
    put(value)
    if (typeof value === 'object' && value !== null) {
      for (const key of Object.keys(value).slice(0, 6))
        await visit((value as Record<string, unknown>)[key], (r) => ((value as Record<string, unknown>)[key] = r))
    }
  }
  const json = JSON.parse(whole) as Record<string, unknown>
  for (const key of Object.keys(json)) await visit(json[key], (replacement) => (json[key] = replacement))
  rmSync(file)
})
