/** Masks as pixels: painting the changes, files, and blending a repainted image with its original. */
import { visible, type Change, type History } from './history.js'
import { feathered, reach } from './blur.js'

export interface Size {
  width: number
  height: number
}

export function canvasOf({ width, height }: Size): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (!context) throw new Error('This browser has no memory left for images of this size')
  return [canvas, context]
}

export const pngOf = (canvas: HTMLCanvasElement) =>
  new Promise<Blob>((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The image could not be written'))), 'image/png'),
  )

function stroke(context: CanvasRenderingContext2D, { points, size, erase }: Extract<Change, { type: 'stroke' }>): void {
  context.globalCompositeOperation = erase ? 'destination-out' : 'source-over'
  context.lineCap = context.lineJoin = 'round'
  points.forEach((point, i) => {
    const before = points[Math.max(0, i - 1)]!
    context.lineWidth = Math.max(1, size * (before.pressure + point.pressure) * 0.5)
    context.beginPath()
    context.moveTo(before.x, before.y)
    context.lineTo(point.x + (i === 0 ? 0.01 : 0), point.y)
    context.stroke()
  })
}

/** Applies one change; the mask is the alpha channel of `context`. */
export function draw(context: CanvasRenderingContext2D, change: Change): void {
  const { width, height } = context.canvas
  context.fillStyle = context.strokeStyle = '#fff'
  context.globalCompositeOperation = 'source-over'
  if (change.type === 'clear') context.clearRect(0, 0, width, height)
  else if (change.type === 'stroke') stroke(context, change)
  else if (change.type === 'rectangle') {
    const { x, y, width: w, height: h } = change.rectangle
    context.globalCompositeOperation = change.erase ? 'destination-out' : 'source-over'
    context.fillRect(x, y, w, h)
  } else if (change.type === 'invert') {
    context.globalCompositeOperation = 'source-out'
    context.fillRect(0, 0, width, height)
  } else putAlpha(context, change.alpha)
}

export function paint(context: CanvasRenderingContext2D, history: History): void {
  draw(context, { type: 'clear' })
  for (const change of visible(history)) draw(context, change)
}

export function alphaOf(context: CanvasRenderingContext2D): Uint8ClampedArray {
  const { data } = context.getImageData(0, 0, context.canvas.width, context.canvas.height)
  return Uint8ClampedArray.from({ length: data.length / 4 }, (_, i) => data[i * 4 + 3]!)
}

export function putAlpha(context: CanvasRenderingContext2D, alpha: Uint8ClampedArray, [r, g, b] = [255, 255, 255]): void {
  const image = context.createImageData(context.canvas.width, context.canvas.height)
  alpha.forEach((value, i) => image.data.set([r, g, b, value], i * 4))
  context.putImageData(image, 0, 0)
}

/** White on black, as in the server and in web UIs. */
function blackAndWhite(alpha: Uint8ClampedArray, size: Size): Promise<Blob> {
  const [canvas, context] = canvasOf(size)
  const image = context.createImageData(size.width, size.height)
  alpha.forEach((value, i) => image.data.set([value, value, value, 255], i * 4))
  context.putImageData(image, 0, 0)
  return pngOf(canvas)
}

/** A painted mask: the selected area, with hard and with soft edges. */
export interface Mask {
  size: Size
  history: History
  feather: number
}

function alphaOfMask({ size, history }: Mask): Uint8ClampedArray {
  const [, context] = canvasOf(size)
  paint(context, history)
  return alphaOf(context)
}

/** Whether the mask selects anything. */
export const selects = (mask: Mask) => alphaOfMask(mask).some((value) => value >= 128)

/** The file to save: as painted. */
export const maskFile = (mask: Mask) => blackAndWhite(alphaOfMask(mask), mask.size)

/** The file for the server: the whole area to repaint, including the soft edge. */
export function requestMask(mask: Mask): Promise<Blob> {
  const { size, feather } = mask
  return blackAndWhite(reach(feathered(alphaOfMask(mask), size.width, size.height, feather), feather), size)
}

/** A file as the alpha channel of a mask of this size: its lightness, 0 where it is transparent. */
export async function readMask(file: Blob, size: Size): Promise<Uint8ClampedArray> {
  const bitmap = await createImageBitmap(file)
  const [, context] = canvasOf(size)
  context.drawImage(bitmap, 0, 0, size.width, size.height)
  bitmap.close()
  const { data } = context.getImageData(0, 0, size.width, size.height)
  return Uint8ClampedArray.from({ length: data.length / 4 }, (_, i) => {
    const light = 0.299 * data[i * 4]! + 0.587 * data[i * 4 + 1]! + 0.114 * data[i * 4 + 2]!
    return light * data[i * 4 + 3]! >= 128 * 255 ? 255 : 0
  })
}

/** The repainted image blended into its original along the soft edge of the mask. */
export async function joined(original: Blob, repainted: Blob, mask: Mask): Promise<Blob> {
  const [below, above] = await Promise.all([createImageBitmap(original), createImageBitmap(repainted)])
  const size = { width: above.width, height: above.height }
  const [edge, edgeContext] = canvasOf(mask.size)
  putAlpha(edgeContext, feathered(alphaOfMask(mask), mask.size.width, mask.size.height, mask.feather))
  const [part, partContext] = canvasOf(size)
  partContext.drawImage(edge, 0, 0, size.width, size.height)
  partContext.globalCompositeOperation = 'source-in'
  partContext.drawImage(above, 0, 0)
  const [whole, context] = canvasOf(size)
  context.drawImage(below, 0, 0, size.width, size.height)
  context.drawImage(part, 0, 0)
  below.close()
  above.close()
  return pngOf(whole)
}
