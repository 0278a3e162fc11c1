/** The unfiltered rows of a PNG file; inflates no more than they need. */
import { TimeSlice } from '../../files/time-slice.js'
import { imageError } from '../image-error.js'
import type { PngFile } from './chunks.js'
import { samplesPerPixel, type PngHeader } from './format.js'
import { inflated, lastBytes } from './inflate.js'

/** Rows of an image or, if it is interlaced, of one of its seven passes. */
export interface Pass {
  /** First column and row, and the distance to the next ones. */
  x: number
  y: number
  dx: number
  dy: number
  columns: number
  rows: number
  /** Without the leading filter byte. */
  rowBytes: number
}

const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const

function passesOf({ width, height, bitDepth, colourType, interlaced }: PngHeader): Pass[] {
  const bits = bitDepth * samplesPerPixel[colourType]!
  return (interlaced ? adam7 : [[0, 0, 1, 1] as const])
    .map(([x, y, dx, dy]) => ({ x, y, dx, dy, columns: Math.ceil((width - x) / dx), rows: Math.ceil((height - y) / dy) }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0)
    .map((pass) => ({ ...pass, rowBytes: Math.ceil((pass.columns * bits) / 8) }))
}

/** The Paeth predictor, from the left, upper and upper left bytes. */
function paeth(row: Uint8Array, above: Uint8Array, step: number): void {
  for (let i = 0; i < row.length; i++) {
    const a = i < step ? 0 : row[i - step]!
    const b = above[i]!
    const c = i < step ? 0 : above[i - step]!
    const pa = Math.abs(b - c)
    const pb = Math.abs(a - c)
    const pc = Math.abs(a + b - 2 * c)
    row[i] = row[i]! + (pa <= pb && pa <= pc ? a : pb <= pc ? b : c)
  }
}

/** Undoes a row's filter in place. `step`: bytes from a pixel to the next, at least 1. `above`: the row above, zeros for the first. */
function unfilter(filter: number, row: Uint8Array, above: Uint8Array, step: number): void {
  if (filter === 1) for (let i = step; i < row.length; i++) row[i] = row[i]! + row[i - step]!
  else if (filter === 2) for (let i = 0; i < row.length; i++) row[i] = row[i]! + above[i]!
  else if (filter === 3) {
    for (let i = 0; i < Math.min(step, row.length); i++) row[i] = row[i]! + (above[i]! >> 1)
    for (let i = step; i < row.length; i++) row[i] = row[i]! + ((row[i - step]! + above[i]!) >> 1)
  } else if (filter === 4) paeth(row, above, step)
}

/** Accepts inflated bytes and returns whole unfiltered rows. */
class RowReader {
  readonly #where: string
  readonly #step: number
  readonly #passes: Pass[]
  readonly #emit: (row: Uint8Array, y: number, pass: Pass) => void
  /** Bytes of all rows, including filter bytes, and those consumed. */
  readonly total: number
  done = 0
  /** Finished rows of the pass. */
  #row = 0
  #filled = 0
  #current: Uint8Array
  #above: Uint8Array

  constructor(header: PngHeader, emit: (row: Uint8Array, y: number, pass: Pass) => void, where: string) {
    this.#where = where
    this.#step = Math.max(1, (header.bitDepth * samplesPerPixel[header.colourType]!) >> 3)
    this.#passes = passesOf(header)
    this.#emit = emit
    this.total = this.#passes.reduce((sum, { rows, rowBytes }) => sum + rows * (rowBytes + 1), 0)
    const longest = this.#passes.reduce((most, { rowBytes }) => Math.max(most, rowBytes + 1), 0)
    this.#current = new Uint8Array(longest)
    this.#above = new Uint8Array(longest)
  }

  get complete(): boolean {
    return this.#passes.length === 0
  }

  cutShort(): Error {
    return imageError(`${this.#where} is truncated: ${this.done} of ${this.total} bytes of image data are present`)
  }

  /** @returns the number of bytes after the last row */
  async take(bytes: Uint8Array, slice: TimeSlice): Promise<number> {
    let at = 0
    while (at < bytes.length && !this.complete) {
      const pass = this.#passes[0]!
      const taken = Math.min(pass.rowBytes + 1 - this.#filled, bytes.length - at)
      this.#current.set(bytes.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      this.done += taken
      at += taken
      if (this.#filled <= pass.rowBytes) continue
      this.#finishRow(pass)
      if (slice.over) await slice.next()
    }
    return bytes.length - at
  }

  #finishRow(pass: Pass): void {
    const filter = this.#current[0]!
    if (filter > 4) throw imageError(`${this.#where} is damaged: a row has the filter ${filter}, which does not exist`)
    const row = this.#current.subarray(1, pass.rowBytes + 1)
    unfilter(filter, row, this.#above.subarray(1, pass.rowBytes + 1), this.#step)
    this.#emit(row, pass.y + this.#row * pass.dy, pass)
    ;[this.#current, this.#above] = [this.#above, this.#current]
    this.#filled = 0
    if (++this.#row < pass.rows) return
    this.#passes.shift()
    this.#row = 0
    this.#above.fill(0)
  }
}

/** Some encoders write more than the rows. */
const maxSurplusBytes = 1 << 16

function tooMuchData({ width, height }: PngHeader, where: string): Error {
  return imageError(`${where}: its image data decompress to over ${maxSurplusBytes} bytes more than ${width}x${height} pixels need`, {
    width,
    height,
  })
}

/**
 * Calls `emit` with every row of an image, pass by pass; the array is reused for the next row. Some data after the last row is ignored.
 * @throws DiffusionError `ERR_IMAGE_FORMAT` if data is missing or broken, or if there is much more than the rows need
 */
export async function readRows(file: PngFile, emit: (row: Uint8Array, y: number, pass: Pass) => void, where: string): Promise<void> {
  const reader = new RowReader(file.header, emit, where)
  const slice = new TimeSlice()
  let surplus = 0
  try {
    for await (const piece of inflated(file, where)) {
      surplus += await reader.take(piece, slice)
      if (surplus > maxSurplusBytes) throw tooMuchData(file.header, where)
    }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (!code?.startsWith('Z_')) throw cause
    if (reader.complete) return // only data after the last row is broken
    const rest = await lastBytes(file, where, reader.total, reader.done)
    if (rest) await reader.take(rest, slice)
    if (!reader.complete) throw imageError(`${where} is damaged: its image data cannot be decompressed: ${message}`, {}, cause)
  }
  if (!reader.complete) throw reader.cutShort()
}
