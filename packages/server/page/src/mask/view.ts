/** Which part of the image the mask editor shows, and how large: zoom, and moving the enlarged image by a pointer, two fingers or keys. */
import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import type { Size } from './raster.js'

export const maxZoom = 8
const zoomStep = 1.15
/** Pixels around the whole image; more than a scrollbar takes, so that none appears before the image is enlarged. */
const margin = 32

interface Place {
  x: number
  y: number
}

const placeOf = ({ clientX, clientY }: MouseEvent): Place => ({ x: clientX, y: clientY })
const middle = ([a, b]: readonly Place[]): Place => ({ x: (a!.x + b!.x) / 2, y: (a!.y + b!.y) / 2 })
const distance = ([a, b]: readonly Place[]) => Math.max(1, Math.hypot(a!.x - b!.x, a!.y - b!.y))

/**
 * `drags`: whether the main button moves the image. `onMove`: called when a second finger begins to move it; what the first one has painted is not meant.
 * The area has the image as its only child.
 */
export function useView({ width, height }: Size, { drags, onMove }: { drags: () => boolean; onMove: () => void }) {
  const area = useRef<HTMLDivElement>(null)
  /** Relative to the scale at which the whole image fits. */
  const zoom = useSignal(1)
  const fit = useSignal(1)
  const scale = useComputed(() => fit.value * zoom.value)
  const isMoving = useSignal(false)
  const holdsSpace = useSignal(false)
  /** For screen readers. */
  const told = useSignal('')
  /** The point of the image (0 to 1) that stays at a place of the window when the scale changes. */
  const kept = useRef<{ point: Place; at: Place; tells: boolean }>(undefined)
  const fingers = useRef(new Map<number, Place>())
  /** What the fingers hold, and the distance of theirs at that zoom. */
  const held = useRef({ point: { x: 0, y: 0 }, distance: 1, zoom: 1 })
  /** The pointer that moves the image, and the point of the image that it holds. */
  const dragged = useRef<{ id: number; point: Place }>(undefined)
  /** Whether the last thing that the user did was to move the pointer here. */
  const points = useRef(false)

  const middleOfArea = (): Place => {
    const { left, top, width: w, height: h } = area.current!.getBoundingClientRect()
    return { x: left + w / 2, y: top + h / 2 }
  }
  const boxOfImage = () => area.current!.firstElementChild!.getBoundingClientRect()

  const tell = () => {
    const [image, window] = [boxOfImage(), area.current!.getBoundingClientRect()]
    const percent = (share: number) => Math.round(Math.min(1, Math.max(0, share)) * 100)
    const range = (from: number, length: number, start: number, end: number) =>
      `${percent((start - from) / length)} to ${percent((end - from) / length)} %`
    told.value =
      zoom.value === 1
        ? 'The whole image is visible'
        : `Zoom ${Math.round(zoom.value * 100)} %: ${range(image.left, image.width, window.left, window.right)} of the width, ${range(image.top, image.height, window.top, window.bottom)} of the height`
  }

  const pointAt = ({ x, y }: Place): Place => {
    const image = boxOfImage()
    return { x: (x - image.left) / image.width, y: (y - image.top) / image.height }
  }
  const moveBy = (x: number, y: number) => area.current!.scrollBy({ left: -x, top: -y, behavior: 'instant' })
  const arrive = () => {
    const now = kept.current
    kept.current = undefined
    if (!now) return
    const image = boxOfImage()
    moveBy(now.at.x - image.left - now.point.x * image.width, now.at.y - image.top - now.point.y * image.height)
    if (now.tells) tell()
  }
  useLayoutEffect(arrive, [scale.value])

  /** Brings a point of the image to a place of the window, as far as the image reaches; by default, what is in the middle stays there. */
  const setZoom = (value: number, at = middleOfArea(), { point = pointAt(at), tells = false } = {}) => {
    const next = Math.min(maxZoom, Math.max(1, value))
    const isNow = next === zoom.value && kept.current === undefined
    kept.current = { point, at, tells }
    zoom.value = next
    if (isNow) arrive()
  }

  useEffect(() => {
    const element = area.current!
    // With the scrollbars, because they must not change what makes them appear.
    const measure = () => (fit.value = Math.min((element.offsetWidth - margin) / width, (element.offsetHeight - margin) / height))
    measure()
    const observer = new ResizeObserver(measure)
    observer.observe(element)
    const release = (event: Event) => {
      if (event instanceof KeyboardEvent && event.key !== ' ') return
      // Else some browsers press the focused button.
      if (holdsSpace.value) event.preventDefault()
      holdsSpace.value = false
    }
    addEventListener('keyup', release)
    addEventListener('blur', release)
    return () => {
      observer.disconnect()
      removeEventListener('keyup', release)
      removeEventListener('blur', release)
    }
  }, [])

  const hold = () => {
    const places = [...fingers.current.values()]
    if (places.length > 1) held.current = { point: pointAt(middle(places)), distance: distance(places), zoom: zoom.value }
  }
  const onPointerDownCapture = (event: PointerEvent) => {
    const element = area.current!
    const box = element.getBoundingClientRect()
    if (event.clientX - box.left >= element.clientWidth || event.clientY - box.top >= element.clientHeight) return // a scrollbar
    element.focus({ preventScroll: true })
    if (event.pointerType === 'touch') fingers.current.set(event.pointerId, placeOf(event))
    const isSecond = fingers.current.size > 1
    if (!isSecond && event.button !== 1 && !(event.button === 0 && (holdsSpace.value || drags()))) return
    event.preventDefault()
    event.stopPropagation()
    element.setPointerCapture(event.pointerId)
    if (isSecond) {
      hold()
      onMove()
    }
    dragged.current = isSecond ? undefined : { id: event.pointerId, point: pointAt(placeOf(event)) }
    isMoving.value = true
  }
  const onPointerMoveCapture = (event: PointerEvent) => {
    points.current = true
    const at = placeOf(event)
    const isFinger = fingers.current.has(event.pointerId)
    if (isFinger) fingers.current.set(event.pointerId, at)
    if (!isMoving.value) return
    event.stopPropagation()
    if (isFinger && fingers.current.size > 1) {
      const places = [...fingers.current.values()]
      const { point, distance: before, zoom: old } = held.current
      setZoom((old * distance(places)) / before, middle(places), { point })
    } else if (dragged.current?.id === event.pointerId) setZoom(zoom.value, at, dragged.current)
  }
  const onPointerUpCapture = (event: PointerEvent) => {
    if (fingers.current.delete(event.pointerId)) hold()
    if (dragged.current?.id === event.pointerId) dragged.current = undefined
    isMoving.value = dragged.current !== undefined || fingers.current.size > 1
  }

  /** @returns whether the key was one of the view's */
  const onKey = (event: KeyboardEvent): boolean => {
    const isHere = event.target === area.current
    const { key } = event
    if (key === ' ') {
      // On a button it presses the button, unless the pointer is at work.
      if (!isHere && !points.current) return false
      return (holdsSpace.value = true)
    }
    points.current = false
    const step = Math.round(area.current!.clientWidth / (event.shiftKey ? 1.25 : 8))
    const moves: Partial<Record<string, [number, number]>> = {
      ArrowLeft: [step, 0],
      ArrowRight: [-step, 0],
      ArrowUp: [0, step],
      ArrowDown: [0, -step],
    }
    const move = isHere ? moves[key] : undefined
    if (move) {
      moveBy(...move)
      tell()
    } else if (key === '+' || key === '=') setZoom(zoom.value * zoomStep, undefined, { tells: true })
    else if (key === '-') setZoom(zoom.value / zoomStep, undefined, { tells: true })
    else if (key === '0') setZoom(1, undefined, { tells: true })
    else return false
    return true
  }

  return {
    area,
    zoom,
    scale,
    told,
    setZoom,
    onKey,
    /** One step of a wheel, about the pointer. */
    onWheel: (event: WheelEvent) => setZoom(zoom.value * (event.deltaY < 0 ? zoomStep : 1 / zoomStep), placeOf(event)),
    /** `moves`, `moving`: what the pointer does here. */
    pointer: useComputed(() => (isMoving.value ? 'moving' : holdsSpace.value || drags() ? 'moves' : undefined)),
    handlers: {
      onPointerDownCapture,
      onPointerMoveCapture,
      onPointerUpCapture,
      onPointerCancelCapture: onPointerUpCapture,
      onPointerLeave: () => (points.current = false),
      // The middle button would scroll by itself or paste.
      onMouseDown: (event: MouseEvent) => event.button === 1 && event.preventDefault(),
    },
  }
}
