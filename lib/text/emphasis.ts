/** A1111's attention syntax: parses a prompt into weighted pieces of text. */
import { forEachSliced, TimeSlice } from '../files/time-slice.js'

/** Text with its weight, or a break between chunks. */
export type PromptPiece = { kind: 'text'; text: string; weight: number } | { kind: 'break' }

const roundFactor = 1.1
const squareFactor = 1 / 1.1
const breakWord = 'BREAK'

interface Segment {
  text: string
  weight: number
  /** A BREAK. Inside brackets it is ordinary text, as in the web UI. */
  isBreak: boolean
}

/** Python's \w and \s, which differ from JavaScript's: any script's letters and digits; separators of ASCII and NEL, not the byte order mark. */
const wordBefore = /[\p{L}\p{N}_]$/u
const wordAfter = /[\p{L}\p{N}_]/uy
const pythonSpace = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const space = new RegExp(pythonSpace)

function isWordBefore(text: string, index: number): boolean {
  return wordBefore.test(text.slice(Math.max(index - 2, 0), index))
}

function isWordAfter(text: string, index: number): boolean {
  wordAfter.lastIndex = index
  return wordAfter.test(text)
}

/** Splits plain text at the word BREAK and removes the white space around it. */
function splitBreaks(text: string, segments: Segment[]): void {
  let start = 0
  for (let at = text.indexOf(breakWord); at >= 0; at = text.indexOf(breakWord, at + breakWord.length)) {
    let after = at + breakWord.length
    if (isWordBefore(text, at) || isWordAfter(text, after)) continue
    let before = at
    while (before > start && space.test(text[before - 1]!)) before--
    while (after < text.length && space.test(text[after]!)) after++
    segments.push({ text: text.slice(start, before), weight: 1, isBreak: false }, { text: breakWord, weight: -1, isBreak: true })
    start = after
  }
  segments.push({ text: text.slice(start), weight: 1, isBreak: false })
}

const explicitWeight = new RegExp(`:${pythonSpace}*([+-]?[.\\p{Nd}]+)${pythonSpace}*\\)`, 'uy')
const decimalDigit = /\p{Nd}/u
const plainRun = /[^\\()[\]:]+/y
const escapable = new Set(['(', ')', '[', ']', '\\'])

/** The value of a digit. In every script the digits 0 to 9 are consecutive; such runs may be adjacent. */
function digitValue(digit: string): number {
  const code = digit.codePointAt(0)!
  let first = code
  while (decimalDigit.test(String.fromCodePoint(first - 1))) first--
  return (code - first) % 10
}

/** A decimal number in the digits of any script, as Python's float() reads it; NaN for anything else. */
function readWeight(text: string): number {
  return Number(text.replace(/[^0-9.+-]/gu, (digit) => String(digitValue(digit))))
}

/** Reads one token at `index` and returns the index after it. */
class Parser {
  readonly segments: Segment[] = []
  /** Indices into `segments` at which the open brackets began. */
  readonly #round: number[] = []
  readonly #square: number[] = []

  constructor(readonly prompt: string) {}

  async read(): Promise<Segment[]> {
    const slice = new TimeSlice()
    for (let index = 0; index < this.prompt.length;) {
      index = this.#element(index)
      if (slice.over) await slice.next()
    }
    this.#closeAll(this.#round, roundFactor)
    this.#closeAll(this.#square, squareFactor)
    return this.segments
  }

  #element(index: number): number {
    const character = this.prompt[index]!
    switch (character) {
      case '\\':
        return this.#escape(index)
      case '(':
        this.#round.push(this.segments.length)
        return index + 1
      case '[':
        this.#square.push(this.segments.length)
        return index + 1
      case ')':
        return this.#close(this.#round, roundFactor, ')', index + 1)
      case ']':
        return this.#close(this.#square, squareFactor, ']', index + 1)
      case ':':
        return this.#colon(index)
      default:
        plainRun.lastIndex = index
        plainRun.test(this.prompt)
        splitBreaks(this.prompt.slice(index, plainRun.lastIndex), this.segments)
        return plainRun.lastIndex
    }
  }

  /** A backslash escapes a following bracket or backslash; before anything else it is dropped. */
  #escape(index: number): number {
    const next = this.prompt[index + 1]
    const literal = next !== undefined && escapable.has(next)
    this.#literal(literal ? next : '')
    return index + (literal ? 2 : 1)
  }

  /** `:1.2)` closes a round bracket with that weight; elsewhere it is text. */
  #colon(index: number): number {
    explicitWeight.lastIndex = index
    const match = explicitWeight.exec(this.prompt)
    const weight = match ? readWeight(match[1]!) : NaN
    if (!match || !Number.isFinite(weight)) {
      this.#literal(':')
      return index + 1
    }
    return this.#close(this.#round, weight, match[0], index + match[0].length)
  }

  #close(open: number[], factor: number, literal: string, next: number): number {
    const start = open.pop()
    if (start === undefined) this.#literal(literal)
    else for (let i = start; i < this.segments.length; i++) this.segments[i]!.weight *= factor
    return next
  }

  #literal(text: string): void {
    this.segments.push({ text, weight: 1, isBreak: false })
  }

  /** Brackets that are not closed extend to the end. */
  #closeAll(open: number[], factor: number): void {
    let product = 1
    let next = 0
    for (let i = open[0] ?? this.segments.length; i < this.segments.length; i++) {
      for (; next < open.length && open[next]! <= i; next++) product *= factor
      this.segments[i]!.weight *= product
    }
  }
}

/** Merges neighbours of equal weight; keeps one empty text if there is nothing else. */
async function mergeRuns(segments: readonly Segment[]): Promise<Segment[]> {
  const runs: { texts: string[]; weight: number; isBreak: boolean }[] = []
  await forEachSliced(segments, ({ text, weight, isBreak }) => {
    const last = runs.at(-1)
    if (last && last.weight === weight) {
      last.texts.push(text)
      last.isBreak = false
    } else {
      runs.push({ texts: [text], weight, isBreak })
    }
  })
  if (runs.length === 0) runs.push({ texts: [''], weight: 1, isBreak: false })
  return runs.map(({ texts, weight, isBreak }) => ({ text: texts.join(''), weight, isBreak: isBreak && weight === -1 }))
}

/**
 * A prompt as weighted pieces. `(x)` multiplies by 1.1, `[x]` divides by it, `(x:w)` multiplies by w; brackets nest; a backslash before a bracket or backslash makes it
 * text; BREAK as a word of its own ends a chunk (inside brackets it is ordinary text, as in the web UI). Brackets without a partner are text, or reach to the end.
 * Source: the prompt language of the AUTOMATIC1111 web UI 1.10.
 */
export async function parseEmphasis(prompt: string): Promise<PromptPiece[]> {
  return (await mergeRuns(await new Parser(prompt).read())).map(({ text, weight, isBreak }) =>
    isBreak ? { kind: 'break' } : { kind: 'text', text, weight },
  )
}
