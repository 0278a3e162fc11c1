/** The web UI's prompt syntax and its chunks of 75 tokens. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { ClipTokenizer } from '../../lib/text/clip-tokenizer'
import { parseEmphasis } from '../../lib/text/emphasis'
import { tokenizePrompt } from '../../lib/text/prompt'
import { processorTime } from '../helpers/processor-time'

const golden = (name: string): any => JSON.parse(readFileSync(path.join('test', 'fixtures', 'procedures', name), 'utf8'))
let tokenizer: ClipTokenizer
beforeAll(async () => (tokenizer = await ClipTokenizer.standard()))
const bos = 49406
const eos = 49407

describe('emphasis', () => {
  const { cases } = golden('prompt_emphasis.json')
  test.each(cases.map((entry: any) => [entry.text, entry.parsed]) as [any, any][])('%j', async (text: any, expected: any) => {
    // The reference writes a break as text with a negative weight, and lets emphasis turn it into ordinary text.
    const pieces = (await parseEmphasis(text)).map((piece) => (piece.kind === 'break' ? ['BREAK', -1] : [piece.text, piece.weight]))
    expect(pieces.map(([piece]) => piece)).toEqual(expected.map(([piece]: any) => piece))
    pieces.forEach(([, weight], i) => expect(Math.abs((weight as number) - expected[i][1])).toBeLessThanOrEqual(1e-6))
  })

  test('an invalid number is text', async () => {
    expect(await parseEmphasis('(a:1.5.5)')).toEqual([{ kind: 'text', text: 'a:1.5.5', weight: 1.1 }])
    expect(await parseEmphasis('(a:.)')).toEqual([{ kind: 'text', text: 'a:.', weight: 1.1 }])
  })

  test('weights in the digits of any script, as Python reads them', async () => {
    const weightOf = async (prompt: string) => (await parseEmphasis(prompt)).map((piece) => (piece.kind === 'text' ? [piece.text, piece.weight] : []))
    expect(await weightOf('(a:١.٥)')).toEqual([['a', 1.5]])
    expect(await weightOf('(a:１.２)')).toEqual([['a', 1.2]])
    expect(await weightOf('(a:-०.५)')).toEqual([['a', -0.5]])
    expect(await weightOf('(a:1٢.3)')).toEqual([['a', 12.3]])
    // Mathematical digits: five rows of ten that touch, beyond the basic plane.
    expect(await weightOf('(a:\u{1d7cf}.\u{1d7d8}\u{1d7ff})')).toEqual([['a', 1.09]])
    // Numbers that are no decimal digits, and decimal points of other scripts.
    for (const text of ['a:²', 'a:Ⅳ', 'a:一', 'a:½', 'a:١٫٥', 'a:1_0', 'a:1e1', 'a:inf', 'a:0x1'])
      expect(await weightOf(`(${text})`)).toEqual([[text, 1.1]])
  })

  test('white space and words are those of Python', async () => {
    expect(await parseEmphasis('(a:\x1c1.5\x85)')).toEqual([{ kind: 'text', text: 'a', weight: 1.5 }])
    expect(await parseEmphasis('(a:\ufeff1.5)')).toEqual([{ kind: 'text', text: 'a:\ufeff1.5', weight: 1.1 }])
    const whole = async (text: string) => expect(await parseEmphasis(text)).toEqual([{ kind: 'text', text, weight: 1 }])
    await whole('\u{1d400}BREAK')
    await whole('BREAK\u{1d400}')
    await whole('1BREAK')
    expect(await parseEmphasis('😀BREAK😀')).toHaveLength(3)
  })

  test('long hostile prompts take linear time', async () => {
    const time = await processorTime(async () => {
      for (const unit of ['(', '[', '\\', ':', ' ', '(a', '(a:1.', 'BREAK', ' BREAK', ':  1', ')'])
        await parseEmphasis(unit.repeat(Math.floor(65_536 / unit.length)))
    })
    expect(time).toBeLessThan(3000)
  })
})

describe('chunks', () => {
  const { cases } = golden('prompt_chunks.json')

  test.each(cases.map((entry: any, i: number) => [i, entry]) as [any, any][])('case %i', async (_, entry: any) => {
    const { chunks, tokenCount, truncated } = await tokenizePrompt(tokenizer, entry.text, { commaBacktrack: entry.comma_backtrack })
    expect(tokenCount).toBe(entry.token_count)
    expect(truncated).toBe(false)
    expect(chunks).toHaveLength(entry.chunks.length)
    chunks.forEach(({ ids, weights, text }, i) => {
      const { tokens, weights: expected = tokens.map(() => 1) } = entry.chunks[i]
      const padding = new Array(75 - tokens.length)
      expect(ids).toEqual([bos, ...tokens, ...padding.fill(eos), eos])
      const all = [1, ...expected, ...padding.fill(1), 1]
      expect(weights).toHaveLength(77)
      weights.forEach((weight, k) => expect(Math.abs(weight - all[k])).toBeLessThanOrEqual(1e-6))
      expect(text).toEqual(ids.map((id) => tokenizer.idToToken(id)))
    })
  })

  test('padding, start and end tokens can be set by the text encoder', async () => {
    const { chunks } = await tokenizePrompt(tokenizer, 'cat', { padTokenId: 0, bosTokenId: 7, eosTokenId: 8, maxLength: 6, minChunks: 2 })
    expect(chunks.map(({ ids }) => ids)).toEqual([
      [7, 2368, 8, 0, 0, 0],
      [7, 8, 0, 0, 0, 0],
    ])
  })

  test.each(golden('tokenizers.json').prompts.map((prompt: any) => [prompt.i, prompt]) as [any, any][])(
    'without syntax: prompt %i is padded or cut at 77',
    async (_, prompt: any) => {
      const { chunks, truncated, tokenCount } = await tokenizePrompt(tokenizer, prompt.text, { emphasis: 'none' })
      const ids: number[] = prompt.clip_hf
      const padded = ids.length > 77 ? [...ids.slice(0, 76), eos] : [...ids, ...new Array(77 - ids.length).fill(eos)]
      expect(chunks.map((chunk) => chunk.ids)).toEqual([padded])
      expect([truncated, tokenCount]).toEqual([ids.length > 77, ids.length - 2])
      expect(chunks[0]!.weights).toEqual(new Array(77).fill(1))
    },
  )

  test('invalid options are rejected', async () => {
    const invalid = expect.objectContaining({ code: 'ERR_INVALID_ARG' })
    const attempt = async (prompt: unknown, options: object) => {
      try {
        return await tokenizePrompt(tokenizer, prompt as string, options)
      } catch (error) {
        return error
      }
    }
    expect(await attempt(5, {})).toEqual(invalid)
    expect(await attempt('x'.repeat(65_537), {})).toEqual(invalid)
    expect(await attempt('x', { emphasis: 'comfy' })).toEqual(invalid)
    expect(await attempt('x', { maxLength: 2 })).toEqual(invalid)
    expect(await attempt('x', { padTokenId: -1 })).toEqual(invalid)
    expect(await attempt('BREAK '.repeat(1001), {})).toEqual(invalid)
  })
})
