/** Parses the texts that web UIs store in images. Independent of the engine and of Node, because the server's page uses it, too. */

export const negativeMark = 'Negative prompt:'
/** A line with fewer or more pairs is part of the prompt, not a parameter line. */
const leastPairs = 3
const mostPairs = 1000

/** A parsed "parameters" text. */
export interface Infotext {
  prompt: string
  negativePrompt: string
  /** Values as strings, in the order of the text. */
  fields: Record<string, string>
}

const keyCharacter = /[\p{L}\p{N}_ \-/]/u
const keyStart = /[\p{L}\p{N}_]/u

/** Flags of each code unit; 0: not classified yet. Regular expressions take far longer for texts of a quarter of a million characters. */
const known = 1
const inKey = 2
const startsKey = 4
const white = 8
const kinds = new Uint8Array(1 << 16)

function kindAt(text: string, index: number): number {
  const code = text.charCodeAt(index)
  const kind = kinds[code]!
  if (kind !== 0) return kind
  const character = text[index]!
  return (kinds[code] =
    known | (keyCharacter.test(character) ? inKey : 0) | (keyStart.test(character) ? startsKey : 0) | (/\s/.test(character) ? white : 0))
}

/** The key before the colon at `colon`, starting at `from` at the earliest. */
function keyBefore(line: string, colon: number, from: number): string | undefined {
  let start = colon
  while (start > from && kindAt(line, start - 1) & inKey) start--
  while (start < colon && !(kindAt(line, start) & startsKey)) start++
  return colon - start >= 2 ? line.slice(start, colon) : undefined
}

const quoted = /"(?:\\.|[^\\"])+"(?=,|$)/y

/** The value after a colon, and the position after it. */
function readValue(line: string, from: number): { value: string; next: number } {
  let start = from
  while (start < line.length && kindAt(line, start) & white) start++
  quoted.lastIndex = start
  const match = quoted.exec(line)
  if (match) return { value: unquote(match[0]), next: quoted.lastIndex + 1 }
  const comma = line.indexOf(',', start)
  const end = comma < 0 ? line.length : comma
  const value = line.slice(start, end)
  return { value: /^".*"$/s.test(value) ? unquote(value) : value, next: end + 1 }
}

function unquote(text: string): string {
  try {
    return JSON.parse(text) as string
  } catch {
    return text
  }
}

/** The pairs of a line; none if there are too many. */
function readPairs(line: string): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; ;) {
    const colon = line.indexOf(':', at)
    if (colon < 0) return pairs
    const key = keyBefore(line, colon, at)
    if (key === undefined) {
      at = colon + 1
      continue
    }
    if (pairs.length === mostPairs) return []
    const { value, next } = readValue(line, colon + 1)
    pairs.push([key, value])
    at = next
  }
}

/** Trimmed lines; leading empty ones are dropped, as in the web UI. */
class TrimmedLines {
  readonly #text: string
  readonly #pieces: string[] = []
  /** Consecutive unchanged lines are copied as one piece. */
  #from = 0
  #to = -1

  constructor(text: string) {
    this.#text = text
  }

  /** Adds the line from `start` to `end`, trimmed to `from` to `to`. */
  add(start: number, end: number, from: number, to: number): void {
    const untouched = from === start && to === end
    if (untouched && this.#to >= 0 && this.#to === start - 1) {
      this.#to = end
      return
    }
    this.#flush()
    if (from === to && this.#pieces.length === 0) return
    if (untouched) {
      this.#from = start
      this.#to = end
    } else this.#pieces.push(this.#text.slice(from, to))
  }

  #flush(): void {
    if (this.#to >= 0) this.#pieces.push(this.#text.slice(this.#from, this.#to))
    this.#to = -1
  }

  join(): string {
    this.#flush()
    return this.#pieces.join('\n')
  }
}

/** The lines of both prompts, including line breaks. */
function readPrompts(text: string): { prompt: string; negativePrompt: string } {
  const prompt = new TrimmedLines(text)
  const negative = new TrimmedLines(text)
  let current = prompt
  for (let start = 0; start <= text.length;) {
    const found = text.indexOf('\n', start)
    const end = found < 0 ? text.length : found
    let from = start
    let to = end
    while (from < to && kindAt(text, from) & white) from++
    while (to > from && kindAt(text, to - 1) & white) to--
    if (to - from >= negativeMark.length && text.startsWith(negativeMark, from)) {
      current = negative
      from += negativeMark.length
      while (from < to && kindAt(text, from) & white) from++
    }
    current.add(start, end, from, to)
    start = end + 1
  }
  return { prompt: prompt.join(), negativePrompt: negative.join() }
}

/** A line that is not a parameter line belongs to the prompt. */
export function readInfotext(text: string): Infotext {
  const trimmed = text.trim()
  const lastLine = trimmed.lastIndexOf('\n') + 1
  const last = readPairs(trimmed.slice(lastLine))
  const pairs = last.length >= leastPairs ? last : []
  const { prompt, negativePrompt } = readPrompts(pairs.length === 0 ? trimmed : trimmed.slice(0, Math.max(lastLine - 1, 0)))
  const fields = Object.fromEntries(pairs)
  const hypernet = fields.Hypernet === undefined ? '' : `<hypernet:${fields.Hypernet}:${fields['Hypernet strength'] ?? '1.0'}>`
  return { prompt: prompt + hypernet, negativePrompt, fields }
}
