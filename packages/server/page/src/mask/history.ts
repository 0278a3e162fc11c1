/** The changes of a mask, with undo and redo. Coordinates are pixels of the image. */

export interface Point {
  x: number
  y: number
  /** Pressure of a pen, 0 to 1; 1 without a pen. */
  pressure: number
}

export interface Rectangle {
  x: number
  y: number
  width: number
  height: number
}

export type Change =
  | { type: 'stroke'; erase: boolean; size: number; points: readonly Point[] }
  | { type: 'rectangle'; erase: boolean; rectangle: Rectangle }
  | { type: 'invert' }
  | { type: 'clear' }
  /** A mask from a file: one byte per pixel. */
  | { type: 'load'; alpha: Uint8ClampedArray }

/** Maximum undo steps; older changes are merged. */
export const maxChanges = 500

export interface History {
  readonly changes: readonly Change[]
  /** Number of applied changes; those after can be redone. */
  readonly length: number
}

export const empty: History = { changes: [], length: 0 }

export function add({ changes, length }: History, change: Change): History {
  return { changes: [...changes.slice(0, length), change], length: length + 1 }
}

export const undo = (history: History): History => ({ ...history, length: Math.max(0, history.length - 1) })
export const redo = (history: History): History => ({ ...history, length: Math.min(history.changes.length, history.length + 1) })
export const canUndo = ({ length }: History) => length > 0
export const canRedo = ({ changes, length }: History) => length < changes.length

/** The visible changes, from the last clearing or loading on. */
export function visible({ changes, length }: History): readonly Change[] {
  const held = changes.slice(0, length)
  const from = held.findLastIndex(({ type }) => type === 'clear' || type === 'load')
  return from < 0 ? held : held.slice(from)
}
