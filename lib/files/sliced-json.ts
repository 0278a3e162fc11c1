/** Parses large JSON in time slices: JSON.parse() of a tokenizer's file would block the event loop for a tenth of a second. */
import { TimeSlice } from './time-slice.js'

/** Of a map or list, which is copied without a break when it grows or ends. Vocabularies of CLIP and BERT have up to 120 thousand tokens. */
export const maxMembers = 1 << 18

/** Of an object, which takes longer to grow than a map. */
const maxObjectMembers = 1 << 15

/** Deeper than any file that it is used for. */
const maxDepth = 100

/** For an open list, `start` is the position of its first value among the collected ones. */
type Frame = { close: ']'; start: number } | { close: '}'; value: Map<string, unknown> | Record<string, unknown>; key: string; members: number }

/** Longer than any string in such a file, in UTF-16 units; a string is read without a break. */
const maxStringLength = 1 << 20

// Numbers and white space are read without a break, too.
const whiteSpace = /[ \t\n\r]{0,65536}/y
const plainScalar = /-?(?:0|[1-9]\d{0,999})(?:\.\d{1,999})?(?:[eE][+-]?\d{1,99})?|true|false|null/y

/** Reads the tokens of a text one by one. */
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
      if (end < 0 || end - this.at > maxStringLength) this.fail()
      let escapes = 0
      while (this.text[end - 1 - escapes] === '\\') escapes++
      if (escapes % 2 === 0) break
    }
    const value = JSON.parse(this.text.slice(this.at, end + 1)) as string
    this.at = end + 1
    return value
  }

  /** A scalar value. */
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

function put(frame: Frame & { close: '}' }, value: unknown): void {
  const most = frame.value instanceof Map ? maxMembers : maxObjectMembers
  if (++frame.members > most) throw new RangeError(`an object has more than ${most} members`)
  if (frame.value instanceof Map) frame.value.set(frame.key, value)
  else frame.value[frame.key] = value
}

const valuesAtOnce = 64

/**
 * Like JSON.parse(), but numbers may have at most 1000 digits, strings a million characters and runs of white space 65,536. Objects have no prototype, and
 * those under the name `mapsAt` (undefined: the outermost) become maps, which are faster to fill and iterate.
 * @throws SyntaxError; RangeError for a map or list of more than 262,144 members, or an object of more than 32,768
 */
export async function parseJsonSliced(text: string, mapsAt: string | undefined): Promise<unknown> {
  const scanner = new Scanner(text)
  const stack: Frame[] = []
  // Values of open lists. A list is created with its final size when it ends: fifty thousand growing lists would keep the garbage collector busy for 20 ms.
  const waiting: unknown[] = []
  const slice = new TimeSlice()
  const open = (): Frame | undefined => {
    const bracket = scanner.peek()
    if (bracket !== '{' && bracket !== '[') return undefined
    scanner.at++
    const outer = stack.at(-1)
    if (stack.length >= maxDepth) scanner.fail()
    if (bracket === '[') return { close: ']', start: waiting.length }
    const isMap = outer ? outer.close === '}' && outer.key === mapsAt : mapsAt === undefined
    return { close: '}', value: isMap ? new Map<string, unknown>() : (Object.create(null) as Record<string, unknown>), key: '', members: 0 }
  }
  const contents = (frame: Frame): unknown => {
    if (frame.close === '}') return frame.value
    const list = waiting.slice(frame.start)
    waiting.length = frame.start
    return list
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
    let value = opened ? contents(opened) : scanner.scalar()
    for (;;) {
      const frame = stack.at(-1)
      const next = scanner.peek()
      if (!frame) return next === undefined ? value : scanner.fail()
      if (frame.close === '}') put(frame, value)
      else if (waiting.push(value) > maxMembers) throw new RangeError(`lists have more than ${maxMembers} members`)
      if (next !== ',' && next !== frame.close) scanner.fail()
      scanner.at++
      if (next === ',') {
        if (frame.close === '}') frame.key = scanner.key()
        break
      }
      value = contents(frame)
      stack.pop()
    }
  }
}
