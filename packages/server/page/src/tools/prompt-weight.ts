/** Prompt weights by keyboard, as in the web UIs: the selection, or the word at the caret, becomes `(text:1.1)`, and its weight is changed. */

export interface Edited {
  text: string
  start: number
  end: number
}

const weighted = /^\(([\s\S]*):(\d*\.?\d+)\)$/
const wordEnd = /[\s,()[\]]/

/** The innermost `(text:number)` around the selection. */
function enclosing(text: string, start: number, end: number): { from: number; to: number } | undefined {
  let depth = 0
  for (let from = start - (text[start] === '(' ? 0 : 1); from >= 0; from--) {
    if (text[from] === ')' && from < start - 1) depth++
    if (text[from] !== '(') continue
    if (depth > 0) {
      depth--
      continue
    }
    const to = closing(text, from)
    if (to === undefined || to < end) continue
    return weighted.test(text.slice(from, to)) ? { from, to } : undefined
  }
  return undefined
}

function closing(text: string, from: number): number | undefined {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    if (text[at] === '(') depth++
    if (text[at] === ')' && --depth === 0) return at + 1
  }
  return undefined
}

/** Changes the weight of the selection by `by`; undefined if nothing is selected. */
export function changeWeight(text: string, start: number, end: number, by: number): Edited | undefined {
  const around = enclosing(text, start, end)
  if (around) {
    const [, inner = '', old = '1'] = weighted.exec(text.slice(around.from, around.to))!
    return written(text, around.from, around.to, inner, Number(old) + by)
  }
  let from = start
  let to = end
  if (from === to) {
    while (from > 0 && !wordEnd.test(text[from - 1]!)) from--
    while (to < text.length && !wordEnd.test(text[to]!)) to++
  }
  // A selection by double click may include the following space.
  while (to > from && /\s/.test(text[to - 1]!)) to--
  while (from < to && /\s/.test(text[from]!)) from++
  return from === to ? undefined : written(text, from, to, text.slice(from, to), 1 + by)
}

function written(text: string, from: number, to: number, inner: string, weight: number): Edited {
  const rounded = Math.round(Math.min(2, Math.max(0.1, weight)) * 100) / 100
  const middle = rounded === 1 ? inner : `(${inner}:${rounded})`
  const start = from + (rounded === 1 ? 0 : 1)
  return { text: text.slice(0, from) + middle + text.slice(to), start, end: start + inner.length }
}
