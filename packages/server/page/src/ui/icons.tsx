/** Icons: decoration next to text, or in buttons with a label. */
const paths = {
  brush: 'M20 4c-5 2-9 6-11 9l3 3c3-2 7-6 8-12zM8 14c-3 0-3 3-5 5 3 1 7 0 8-3z',
  close: 'M6 6l12 12M18 6L6 18',
  compare: 'M12 3v18M9 6H4v12h5M15 6h5v12h-5',
  copy: 'M9 9h11v11H9zM15 9V4H4v11h5',
  dice: 'M4 7l8-4 8 4v10l-8 4-8-4zM4 7l8 4 8-4M12 11v10M8 12v.01M8 15.500v.01M16 13.500v.01',
  down: 'M6 9l6 6 6-6',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  eraser: 'M8 19l-4-4L14 5l6 6-8 8zM8 19h12M10 9l6 6',
  history: 'M4 12a8 8 0 1 0 3-6.200M4 4v4h4M12 8v4l3 2',
  image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M9 9v.01',
  invert: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  keyboard: 'M3 7h18v11H3zM7 11v.01M10.5 11v.01M14 11v.01M17 11v.01M8 14.500h8',
  left: 'M15 6l-6 6 6 6',
  lock: 'M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3',
  move: 'M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3',
  redo: 'M15 5l4 4-4 4M19 9H10a5 5 0 0 0 0 10h3',
  rectangle: 'M4 7h16v10H4z',
  right: 'M9 6l6 6-6 6',
  spark: 'M12 3l2 6 6 3-6 3-2 6-2-6-6-3 6-3z',
  swap: 'M7 4L3 8l4 4M3 8h14M17 12l4 4-4 4M21 16H7',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5',
  undo: 'M9 5L5 9l4 4M5 9h9a5 5 0 0 1 0 10h-3',
  unlock: 'M6 11h12v9H6zM9 11V8a3 3 0 0 1 5.8-1',
  up: 'M6 15l6-6 6 6',
  upload: 'M12 20V9M7 13l5-5 5 5M5 4h14',
} as const

export type IconName = keyof typeof paths

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  )
}
