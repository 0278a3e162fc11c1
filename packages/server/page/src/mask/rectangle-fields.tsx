/** A rectangle by numbers, for masks without a pointer. */
import { useSignal } from '@preact/signals'
import { say } from '../state/say.js'
import { NumberField } from '../ui/parts.js'
import type { Change } from './history.js'

export function RectangleFields({ width, height, onChange }: { width: number; height: number; onChange: (change: Change) => void }) {
  const rectangle = useSignal({ x: Math.round(width / 4), y: Math.round(height / 4), width: Math.round(width / 2), height: Math.round(height / 2) })
  const apply = (erase: boolean) => {
    onChange({ type: 'rectangle', erase, rectangle: rectangle.value })
    const { x, y, width: w, height: h } = rectangle.value
    say(`${erase ? 'Erased' : 'Painted'} ${w} × ${h} pixels at ${x}, ${y}`)
  }
  const field = (label: string, key: keyof typeof rectangle.value, max: number) => (
    <NumberField
      label={label}
      value={rectangle.value[key]}
      min={0}
      max={max}
      plain
      onChange={(value) => (rectangle.value = { ...rectangle.value, [key]: value })}
    />
  )
  return (
    <details class="rectangle-fields">
      <summary>Rectangle by numbers</summary>
      <div class="grid-2">
        {field('Left', 'x', width)}
        {field('Top', 'y', height)}
        {field('Width', 'width', width)}
        {field('Height', 'height', height)}
      </div>
      <div class="row">
        <button type="button" class="button" onClick={() => apply(false)}>
          Paint
        </button>
        <button type="button" class="button" onClick={() => apply(true)}>
          Erase
        </button>
      </div>
    </details>
  )
}
