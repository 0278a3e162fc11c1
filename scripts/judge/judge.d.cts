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

/** Something that stands out of the background; places and sizes are fractions of the image, y goes down. */
export interface Thing {
  colour: string
  shape: string
  /** Its names by all looks at it, without and with the outline; `shape` is the first. */
  shapes: string[]
  x: number
  y: number
  area: number
  box: Box
  /** By the look that saw most of it. */
  extent: { box: Box; area: number }
}

export type Relation = 'left' | 'right' | 'above' | 'below' | 'on' | 'inside'

/** What a caption asks for, as training/held_out.json says it; `relation` is that of the first object to the second. */
export interface Expectation {
  objects: readonly { color: string; shape: string; position?: string }[]
  relation?: Relation
}

export interface Verdict {
  seen: Thing[]
  /** Per object: is there anything of its colour? */
  colours: boolean[]
  /** Per object: is there one thing of its colour and shape, and not a second one of about its size? */
  found: boolean[]
  /** All objects were found. */
  objects: boolean
  /** Only where a position is asked for: the first object stands there. */
  position?: boolean
  /** Only where a relation is asked for: it holds between two things that fit. */
  relation?: boolean
}

export function describe(image: Pixels): Thing[]
export function holds(relation: Relation, a: Thing, b: Thing): boolean
export function stands(position: string, thing: Thing): boolean
export function judge(image: Pixels, expectation: Expectation): Verdict
