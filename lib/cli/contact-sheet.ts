/** A contact sheet: many images on one, each with its label below. */
import { RawImage } from '../index.js'
import { breakLines, dotAt, glyphHeight, glyphWidth } from './font.js'

/** An image and its label. */
export interface Entry {
  image: RawImage
  label: string
}

export interface SheetOptions {
  columns: number
  /** Side of an image on the sheet, in pixels. */
  side: number
  /** Lines under all images. */
  footer?: readonly string[]
}

const gap = 16
/** Pixels per dot of the font. */
const dot = 2
const advance = (glyphWidth + 1) * dot
const lineHeight = (glyphHeight + 1) * dot
const ink = 0x33

function drawText(sheet: RawImage, text: string, left: number, top: number): void {
  for (const [i, character] of [...text].entries()) {
    for (let y = 0; y < glyphHeight * dot; y++) {
      for (let x = 0; x < glyphWidth * dot; x++) {
        if (!dotAt(character, Math.floor(x / dot), Math.floor(y / dot))) continue
        const [u, v] = [left + i * advance + x, top + y]
        if (u < sheet.width && v < sheet.height) sheet.data.fill(ink, (v * sheet.width + u) * 3, (v * sheet.width + u) * 3 + 3)
      }
    }
  }
}

/** Copies an image; grey becomes three channels, transparency is dropped. */
function drawImage(sheet: RawImage, { data, width, height, channels }: RawImage, left: number, top: number): void {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++)
        sheet.data[((top + y) * sheet.width + left + x) * 3 + c] = data[(y * width + x) * channels + (channels === 1 ? 0 : c)]!
    }
  }
}

const textWidth = (characters: number) => characters * advance - dot

/** Width of a column: that of the images or of the longest word, up to twice the images' width; longer words are broken. */
function columnWidth(entries: readonly Entry[], side: number): number {
  const longest = Math.max(0, ...entries.flatMap(({ label }) => label.split(/\s+/).map(({ length }) => length)))
  return Math.max(side, Math.min(textWidth(longest), 2 * side))
}

/** Lays images out in rows on white, each scaled to a square of `side` pixels. The longest label determines the height of a row. */
export async function contactSheet(entries: readonly Entry[], { columns, side, footer = [] }: SheetOptions): Promise<RawImage> {
  const column = columnWidth(entries, side)
  const labels = entries.map(({ label }) => breakLines(label, Math.floor((column + dot) / advance)))
  const tops = [gap]
  for (let i = 0; i < entries.length; i += columns) {
    const lines = Math.max(1, ...labels.slice(i, i + columns).map(({ length }) => length))
    tops.push(tops.at(-1)! + side + gap / 2 + lines * lineHeight + gap)
  }
  const width = columns * (column + gap) + gap
  const height = tops.at(-1)! + (footer.length > 0 ? footer.length * lineHeight + gap : 0)
  const sheet = new RawImage({ data: new Uint8Array(width * height * 3).fill(255), width, height, channels: 3 })
  for (const [i, { image }] of entries.entries()) {
    const [left, top] = [gap + (i % columns) * (column + gap), tops[Math.floor(i / columns)]!]
    drawImage(sheet, await image.resize(side, side), left, top)
    for (const [line, text] of labels[i]!.entries()) drawText(sheet, text, left, top + side + gap / 2 + line * lineHeight)
  }
  for (const [line, text] of footer.entries()) drawText(sheet, text, gap, height - gap - (footer.length - line) * lineHeight)
  return sheet
}
