/** Taking apart what web UIs keep with a picture. Knows nothing of the engine or of Node: the server's page reads pictures with it, too. */

export const negativeMark = 'Negative prompt:'
/** Fewer pairs than this make no parameter line: it is taken for a line of the prompt. */
const leastPairs = 3

/** A "parameters" text, taken apart. */
export interface Infotext {
  prompt: string
  negativePrompt: string
  /** Values as text, in the order of the file. */
  fields: Record<string, string>
}

const keyCharacter = /[\p{L}\p{N}_ \-/]/u
const keyStart = /[\p{L}\p{N}_]/u

/** The key that ends before the colon at `colon`, not reaching back beyond `from`. */
function keyBefore(line: string, colon: number, from: number): string | undefined {
  let start = colon
  while (start > from && keyCharacter.test(line[start - 1]!)) start--
  while (start < colon && !keyStart.test(line[start]!)) start++
  return colon - start >= 2 ? line.slice(start, colon) : undefined
}

const quoted = /"(?:\\.|[^\\"])+"(?=,|$)/y

/** Value behind a colon and where to go on. */
function readValue(line: string, from: number): { value: string; next: number } {
  let start = from
  while (start < line.length && /\s/.test(line[start]!)) start++
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
    const { value, next } = readValue(line, colon + 1)
    pairs.push([key, value])
    at = next
  }
}

/** What is no parameter line belongs to the prompt. */
export function readInfotext(text: string): Infotext {
  const lines = text.trim().split('\n')
  const last = readPairs(lines.at(-1)!)
  const pairs = last.length >= leastPairs ? last : []
  if (pairs.length > 0) lines.pop()

  const prompt: string[] = []
  const negative: string[] = []
  let current = prompt
  for (const line of lines.map((untrimmed) => untrimmed.trim())) {
    const starts = line.startsWith(negativeMark)
    if (starts) current = negative
    const part = starts ? line.slice(negativeMark.length).trim() : line
    // Leading empty lines vanish, as the web UI joins to what is there already.
    if (current.length > 0 || part !== '') current.push(part)
  }
  const fields = Object.fromEntries(pairs)
  const hypernet = fields.Hypernet === undefined ? '' : `<hypernet:${fields.Hypernet}:${fields['Hypernet strength'] ?? '1.0'}>`
  return { prompt: prompt.join('\n') + hypernet, negativePrompt: negative.join('\n'), fields }
}
