/** The mask editor: the model repaints the painted area. */
import { useSignal } from '@preact/signals'
import { useEffect, useId, useRef } from 'preact/hooks'
import { say, sayError } from '../state/say.js'
import { isEditingMask, setMask, type StartPicture } from '../state/start-picture.js'
import { Dialog, FileButton, IconButton, NumberField, save } from '../ui/parts.js'
import { feathered } from './blur.js'
import { add, canRedo, canUndo, empty, redo, undo, type Change, type History, type Point } from './history.js'
import { alphaOf, canvasOf, draw, maskFile, paint, putAlpha, readMask, selects } from './raster.js'
import { RectangleFields } from './rectangle-fields.js'
import { maxZoom, useView } from './view.js'

type Tool = 'brush' | 'eraser' | 'rectangle' | 'move'

const tint: [number, number, number] = [255, 43, 214]

export function MaskEditor({ picture }: { picture: StartPicture }) {
  const { width, height } = picture
  const longest = Math.max(width, height)
  const history = useSignal<History>(picture.mask?.history ?? empty)
  const feather = useSignal(picture.mask?.feather ?? 0)
  const size = useSignal(Math.max(2, Math.round(longest / 10)))
  const tool = useSignal<Tool>('brush')
  const pointer = useSignal<{ x: number; y: number } | undefined>(undefined)
  const overlay = useRef<HTMLCanvasElement>(null)
  const mask = useRef<CanvasRenderingContext2D>(undefined)
  const stroke = useRef<{ from: Point; points: Point[]; erase: boolean; rectangle: boolean }>(undefined)

  /** Shows the mask, with its soft edge if `soft`. */
  const show = (soft: boolean) => {
    const context = overlay.current?.getContext('2d')
    if (!context || !mask.current) return
    if (soft && feather.value > 0) putAlpha(context, feathered(alphaOf(mask.current), width, height, feather.value), tint)
    else {
      context.globalCompositeOperation = 'copy'
      context.drawImage(mask.current.canvas, 0, 0)
      context.globalCompositeOperation = 'source-in'
      context.fillStyle = `rgb(${tint.join()})`
      context.fillRect(0, 0, width, height)
      context.globalCompositeOperation = 'source-over'
    }
  }

  const view = useView(picture, {
    drags: () => tool.value === 'move',
    onMove: () => {
      stroke.current = undefined
      pointer.value = undefined
      if (mask.current) paint(mask.current, history.value)
      show(true)
    },
  })
  const { zoom, scale } = view

  useEffect(() => {
    mask.current ??= canvasOf({ width, height })[1]
    paint(mask.current, history.value)
    show(true)
  }, [history.value, feather.value])

  useEffect(() => {
    const element = view.area.current
    const onWheel = (event: WheelEvent) => {
      event.preventDefault()
      if (event.ctrlKey || event.metaKey) view.onWheel(event)
      else resize(event.deltaY < 0 ? 1.15 : 1 / 1.15)
    }
    element?.addEventListener('wheel', onWheel, { passive: false })
    return () => element?.removeEventListener('wheel', onWheel)
  }, [])

  const resize = (by: number) =>
    (size.value = Math.min(longest, Math.max(1, Math.round(by > 1 ? Math.max(size.value + 1, size.value * by) : size.value * by))))
  const change = (one: Change) => (history.value = add(history.value, one))
  const close = () => {
    const made = { size: { width, height }, history: history.value, feather: feather.value }
    setMask(selects(made) ? made : undefined)
    isEditingMask.value = false
  }
  const load = async (file: File) => {
    try {
      change({ type: 'load', alpha: await readMask(file, { width, height }) })
      say('Mask loaded')
    } catch {
      say('That file could not be read as an image', true)
    }
  }

  const at = (event: PointerEvent): Point => {
    const box = overlay.current!.getBoundingClientRect()
    const x = ((event.clientX - box.left) / box.width) * width
    const y = ((event.clientY - box.top) / box.height) * height
    // Mice report 0.5, touch screens any value.
    return { x, y, pressure: event.pointerType === 'pen' ? Math.max(0.1, event.pressure) : 1 }
  }
  const rectangleOf = (from: Point, to: Point) => ({
    x: Math.min(from.x, to.x),
    y: Math.min(from.y, to.y),
    width: Math.abs(to.x - from.x),
    height: Math.abs(to.y - from.y),
  })

  const onDown = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    if (tool.value === 'move' || (event.button > 0 && event.button !== 2 && event.pointerType !== 'pen')) return
    event.preventDefault()
    event.currentTarget.setPointerCapture(event.pointerId)
    // The right button and the eraser end of a pen erase.
    const erase = tool.value === 'eraser' || event.button === 2 || event.button === 5
    const from = at(event)
    stroke.current = { from, points: [from], erase, rectangle: tool.value === 'rectangle' }
    onMove(event)
  }
  const onMove = (event: PointerEvent) => {
    pointer.value = at(event)
    const now = stroke.current
    if (!now || !mask.current) return
    if (now.rectangle) {
      paint(mask.current, history.value)
      draw(mask.current, { type: 'rectangle', erase: now.erase, rectangle: rectangleOf(now.from, at(event)) })
    } else {
      const events = event.getCoalescedEvents?.() ?? []
      const fresh = (events.length > 0 ? events : [event]).map(at)
      draw(mask.current, { type: 'stroke', erase: now.erase, size: size.value, points: [now.points.at(-1)!, ...fresh] })
      now.points.push(...fresh)
    }
    show(false)
  }
  const onUp = (event: PointerEvent) => {
    const now = stroke.current
    stroke.current = undefined
    if (!now) return
    if (now.rectangle) change({ type: 'rectangle', erase: now.erase, rectangle: rectangleOf(now.from, at(event)) })
    else change({ type: 'stroke', erase: now.erase, size: size.value, points: now.points })
  }

  const onKeyDown = (event: KeyboardEvent) => {
    const control = event.ctrlKey || event.metaKey
    const key = event.key.toLowerCase()
    const isTyping = event.target instanceof HTMLInputElement && event.target.type === 'number'
    if (control && key === 'z') history.value = event.shiftKey ? redo(history.value) : undo(history.value)
    else if (control && key === 'y') history.value = redo(history.value)
    else if (control || isTyping) return
    else if (view.onKey(event)) pointer.value = undefined
    else if (key === '[') resize(1 / 1.15)
    else if (key === ']') resize(1.15)
    else if (key === 'b') tool.value = 'brush'
    else if (key === 'e') tool.value = 'eraser'
    else if (key === 'r') tool.value = 'rectangle'
    else if (key === 'h') tool.value = 'move'
    else if (key === 'i') change({ type: 'invert' })
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  const tools = [
    ['brush', 'Brush (B)'],
    ['eraser', 'Eraser (E)'],
    ['rectangle', 'Rectangle (R)'],
    ['move', 'Move (H)'],
  ] as const
  const help = useId()
  const shownSize = size.value * scale.value
  return (
    <Dialog title="Choose the area to repaint" onClose={close} class="mask-dialog" onKeyDown={onKeyDown}>
      <div class="mask-editor">
        <div class="mask-tools">
          <div class="row wrap" role="group" aria-label="Tools">
            {tools.map(([name, label]) => (
              <IconButton key={name} icon={name} label={label} pressed={tool.value === name} onClick={() => (tool.value = name)} />
            ))}
            <IconButton icon="undo" label="Undo" disabled={!canUndo(history.value)} onClick={() => (history.value = undo(history.value))} />
            <IconButton icon="redo" label="Redo" disabled={!canRedo(history.value)} onClick={() => (history.value = redo(history.value))} />
            <IconButton icon="invert" label="Invert (I)" onClick={() => change({ type: 'invert' })} />
            <IconButton icon="trash" label="Clear" onClick={() => change({ type: 'clear' })} />
          </div>
          <NumberField label="Brush" value={size.value} min={1} max={longest} onChange={(value) => (size.value = Math.max(1, value))} />
          <NumberField
            label="Feather"
            value={feather.value}
            min={0}
            max={Math.min(64, Math.round(longest / 4))}
            onChange={(value) => (feather.value = Math.max(0, value))}
          />
          <NumberField
            label="Zoom"
            value={Math.round(zoom.value * 100)}
            min={100}
            max={100 * maxZoom}
            step={10}
            onChange={(value) => view.setZoom(value / 100)}
          />
          <RectangleFields width={width} height={height} onChange={change} />
          <div class="row wrap">
            <FileButton label="Load" accept="image/*" icon="upload" onFile={(file) => void load(file)} />
            <IconButton
              icon="download"
              label="Save the mask as a file"
              text="Save"
              onClick={() =>
                void maskFile({ size: { width, height }, history: history.value, feather: 0 }).then((file) => save(file, 'mask.png'), sayError)
              }
            />
          </div>
          <p class="note">The wheel changes the brush, with Ctrl the zoom. The right button erases.</p>
          <p class="note" id={help}>
            To move an enlarged image, drag with Space or the middle button, or use two fingers or the arrow keys. + and - zoom.
          </p>
          <p class="hidden" role="status">
            {view.told}
          </p>
          <button type="button" class="button primary" onClick={close}>
            Done
          </button>
        </div>
        <div
          class="mask-area"
          ref={view.area}
          tabIndex={0}
          role="group"
          aria-label="Image and mask"
          aria-describedby={help}
          data-pointer={view.pointer.value}
          onContextMenu={(event) => event.preventDefault()}
          {...view.handlers}
        >
          <div
            class="mask-canvas"
            data-tool={tool.value}
            style={{ width: `${width * scale.value}px`, height: `${height * scale.value}px` }}
            onPointerDown={onDown}
            onPointerMove={onMove}
            onPointerUp={onUp}
            onPointerCancel={onUp}
            onPointerLeave={() => (pointer.value = undefined)}
          >
            <img src={picture.url} alt="Start image" draggable={false} />
            <canvas ref={overlay} width={width} height={height} role="img" aria-label="Mask" />
            {pointer.value && view.pointer.value === undefined && tool.value !== 'rectangle' && (
              <span
                class="brush-ring"
                aria-hidden="true"
                style={{
                  width: `${shownSize}px`,
                  height: `${shownSize}px`,
                  transform: `translate(${pointer.value.x * scale.value - shownSize / 2}px, ${pointer.value.y * scale.value - shownSize / 2}px)`,
                }}
              />
            )}
          </div>
        </div>
      </div>
    </Dialog>
  )
}
