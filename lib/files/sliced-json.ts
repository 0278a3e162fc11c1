/** JSON of megabytes, read in slices of time: JSON.parse() of a tokenizer's file would hold the event loop for a tenth of a second. */
import { TimeSlice } from './time-slice.js'

/** Deeper than any file that is read with it. */
const maxDepth = 100

type Frame = { close: ']'; value: unknown[] } | { close: '}'; value: Map<string, unknown> | Record<string, unknown>; key: string }

const whiteSpace = /[ \t\n\r]*/y
const plainScalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y

/** Reads tokens of a text one by one. */
class Scanner {
  at = 0
  constructor(readonly text: string) {}

  fail(): never {
    throw new SyntaxError(this.at < this.text.length ? `unexpected text at character ${this.at}` : 'the text ends too early')
  }

  /** The next character that is not white space. */
  peek(): string | undefined {
    whiteSpace.lastIndex = this.at
    whiteSpace.test(this.text)
    this.at = whiteSpace.lastIndex
    return this.text[this.at]
  }

  take(character: string): void {
    if (this.peek() !== character) this.fail()
    this.at++
  }

  string(): string {
    let end = this.at + 1
    for (; ; end++) {
      end = this.text.indexOf('"', end)
      if (end < 0) this.fail()
      let escapes = 0
      while (this.text[end - 1 - escapes] === '\\') escapes++
      if (escapes % 2 === 0) break
    }
    const value = JSON.parse(this.text.slice(this.at, end + 1)) as string
    this.at = end + 1
    return value
  }

  /** A value that holds no others. */
  scalar(): unknown {
    if (this.peek() === '"') return this.string()
    plainScalar.lastIndex = this.at
    const found = plainScalar.exec(this.text)
    if (!found) this.fail()
    this.at = plainScalar.lastIndex
    return JSON.parse(found[0])
  }

  key(): string {
    if (this.peek() !== '"') this.fail()
    const key = this.string()
    this.take(':')
    return key
  }
}

function put(frame: Frame, value: unknown): void {
  if (frame.close === ']') frame.value.push(value)
  else if (frame.value instanceof Map) frame.value.set(frame.key, value)
  else frame.value[frame.key] = value
}

const valuesAtOnce = 64

/**
 * What JSON.parse() gives, but that objects have no prototype, and those under the name `mapsAt` (undefined: the outermost) are maps, which are quicker to fill and to walk.
 * @throws SyntaxError
 */
export async function parseJsonSliced(text: string, mapsAt: string | undefined): Promise<unknown> {
  const scanner = new Scanner(text)
  const stack: Frame[] = []
  const slice = new TimeSlice()
  const open = (): Frame | undefined => {
    const bracket = scanner.peek()
    if (bracket !== '{' && bracket !== '[') return undefined
    scanner.at++
    const outer = stack.at(-1)
    if (stack.length >= maxDepth) scanner.fail()
    if (bracket === '[') return { close: ']', value: [] }
    const isMap = outer ? outer.close === '}' && outer.key === mapsAt : mapsAt === undefined
    return { close: '}', value: isMap ? new Map<string, unknown>() : (Object.create(null) as Record<string, unknown>), key: '' }
  }
  for (let count = 0; ; count++) {
    if (count % valuesAtOnce === 0 && slice.over) await slice.next()
    const opened = open()
    if (opened && scanner.peek() !== opened.close) {
      stack.push(opened)
      if (opened.close === '}') opened.key = scanner.key()
      continue
    }
    if (opened) scanner.at++
    let value = opened ? opened.value : scanner.scalar()
    for (;;) {
      const frame = stack.at(-1)
      const next = scanner.peek()
      if (!frame) return next === undefined ? value : scanner.fail()
      put(frame, value)
      if (next !== ',' && next !== frame.close) scanner.fail()
      scanner.at++
      if (next === ',') {
        if (frame.close === '}') frame.key = scanner.key()
        break
      }
      value = frame.value
      stack.pop()
    }
  }
}
