/** Pixels of an image, as RawImage has them. */
export interface Pixels {
  data: Uint8Array
  width: number
  height: number
  channels: number
}

export interface Box {
  x0: number
  y0: number
  x1: number
  y1: number
}

/** An object in front of the background; positions and sizes are fractions of the image, y goes
 * down. */
export interface Thing {
  colour: string
  shape: string
  /** Its names by all segmentations, without and with the outline; `shape` is the first. */
  shapes: string[]
  x: number
  y: number
  area: number
  box: Box
  /** From the largest segmentation. */
  extent: { box: Box; area: number }
}

export type Relation = 'left' | 'right' | 'above' | 'below' | 'on' | 'inside'

/** The contents of a caption, as in training/held_out.json; `relation` is that of the first object
 * to the second. */
export interface Expectation {
  objects: readonly { color: string; shape: string; position?: string }[]
  relation?: Relation
}

export interface Verdict {
  seen: Thing[]
  /** Per object: whether there is anything of its colour. */
  colours: boolean[]
  /** Per object: whether there is exactly one object of its colour and shape (ignoring much smaller
   * ones). */
  found: boolean[]
  /** All objects were found. */
  objects: boolean
  /** Only if a position is requested: whether the first object is there. */
  position?: boolean
  /** Only if a relation is requested: whether it holds between two matching objects. */
  relation?: boolean
}

export function describe(image: Pixels): Thing[]
export function holds(relation: Relation, a: Thing, b: Thing): boolean
export function stands(position: string, thing: Thing): boolean
export function judge(image: Pixels, expectation: Expectation): Verdict
