/** Bounding boxes as the tokens that layout-to-image models take (taming-transformers, ObjectsBoundingBoxConditionalBuilder; Rombach et al. 2022, section 4.3.2). */
import { checkBoolean, checkInteger, checkNumber, invalidRange, invalidType, knownKeys, listOf, show } from '../options/validate.js'

/** A rectangle in fractions of the image: `x`, `y` is its upper left corner. */
export interface Box {
  x: number
  y: number
  width: number
  height: number
}

/** One object of a layout. The four attributes are those of the Open Images annotations; missing ones count as false. */
export interface LayoutObject extends Box {
  /** Number of the category, from 0. */
  classId: number
  /** The box spans a group of objects (a crowd in COCO). */
  groupOf?: boolean
  occluded?: boolean
  /** A drawing or model of the object. */
  depiction?: boolean
  /** The image was taken from inside the object. */
  inside?: boolean
}

/** How a model was trained to read boxes. Names in brackets are those of the reference. */
export interface LayoutEncoding {
  /** Categories [no_object_classes]. */
  classes: number
  /** Object slots [no_max_objects]. */
  maxObjects: number
  /** Size of the token vocabulary; its last token fills empty slots [no_tokens]. */
  vocabulary: number
  /** Two tokens at the end hold the crop, and boxes are relative to the whole image; otherwise they are relative to the crop [encode_crop]. */
  encodeCrop: boolean
  /** The category token encodes `groupOf` [use_group_parameter]. */
  groupFlag: boolean
  /** It also encodes `occluded`, `depiction` and `inside` [use_additional_parameters]. */
  attributeFlags: boolean
}

/** layout2img-openimages256: 30 objects of 340 categories, 92 tokens out of 8192. */
export const openImagesEncoding: LayoutEncoding = {
  classes: 340,
  maxObjects: 30,
  vocabulary: 8192,
  encodeCrop: true,
  groupFlag: true,
  attributeFlags: true,
}

const tokensPerObject = 3
const wholePicture: Box = { x: 0, y: 0, width: 1, height: 1 }
/** Fractions computed from pixels may exceed the image by rounding. */
const slack = 1e-6

/** Tokens of a layout: three per slot, and two for the crop. */
export function layoutLength({ maxObjects, encodeCrop }: LayoutEncoding): number {
  return tokensPerObject * maxObjects + (encodeCrop ? 2 : 0)
}

/**
 * The encoding of a layout conditioner, from the parameters in the model's spec: the sequence length gives slots and crop, `vocabSize` the vocabulary. `classes`,
 * `groupFlag` and `attributeFlags` are not in the weights and are those of the Open Images model unless the spec names them.
 * @returns undefined if the numbers do not fit together
 */
export function layoutEncodingOf(params: Readonly<Record<string, unknown>>): LayoutEncoding | undefined {
  const { classes = openImagesEncoding.classes, vocabSize, maxLength, groupFlag = true, attributeFlags = true } = params
  const sizes = [classes, vocabSize, maxLength]
  if (!sizes.every((size) => Number.isSafeInteger(size) && (size as number) > 0)) return undefined
  if (typeof groupFlag !== 'boolean' || typeof attributeFlags !== 'boolean') return undefined
  const [count, vocabulary, length] = sizes as [number, number, number]
  const maxObjects = Math.floor(length / tokensPerObject)
  const encoding = { classes: count, maxObjects, vocabulary, encodeCrop: length % tokensPerObject === 2, groupFlag, attributeFlags }
  // Category tokens must differ from the empty slot's.
  return maxObjects > 0 && layoutLength(encoding) === length && categoryTokens(encoding) < vocabulary ? encoding : undefined
}

function categoryTokens({ classes, groupFlag, attributeFlags }: LayoutEncoding): number {
  const flags = (groupFlag ? 1 : 0) | (attributeFlags ? 2 | 4 | 8 : 0)
  return classes * (flags + 1)
}

/** Rounds to the nearest integer, halves to even, like Python's round(). */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const fraction = value - floor
  if (fraction !== 0.5) return fraction < 0.5 ? floor : floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

/** A point of the image as a token: the cells of a square grid, row by row. */
function pointToken(x: number, y: number, vocabulary: number): number {
  const sections = Math.floor(Math.sqrt(vocabulary))
  return roundHalfEven(y * (sections - 1)) * sections + roundHalfEven(x * (sections - 1))
}

function cornerTokens({ x, y, width, height }: Box, vocabulary: number): [number, number] {
  return [pointToken(x, y, vocabulary), pointToken(x + width, y + height, vocabulary)]
}

function categoryToken(object: LayoutObject, { classes, groupFlag, attributeFlags }: LayoutEncoding): number {
  let flags = 0
  if (groupFlag && object.groupOf) flags |= 1
  if (attributeFlags) flags |= (object.occluded ? 2 : 0) | (object.depiction ? 4 : 0) | (object.inside ? 8 : 0)
  return object.classId + classes * flags
}

/** A box as fractions of `frame`, clipped to it. */
function relativeTo(frame: Box, box: Box): Box {
  const clamp = (value: number) => Math.max(Math.min(value, 1), 0)
  const x = clamp((box.x - frame.x) / frame.width)
  const y = clamp((box.y - frame.y) / frame.height)
  return { x, y, width: Math.min(box.width / frame.width, 1 - x), height: Math.min(box.height / frame.height, 1 - y) }
}

function overlaps(a: Box, b: Box): boolean {
  return Math.min(a.x + a.width, b.x + b.width) > Math.max(a.x, b.x) && Math.min(a.y + a.height, b.y + b.height) > Math.max(a.y, b.y)
}

/** Checks a rectangle given by a caller: it must have an area and lie inside the image. */
function checkBox(value: unknown, name: string): Box {
  if (value === null || typeof value !== 'object') throw invalidType(`${name} must be an object with x, y, width and height, not ${show(value)}`)
  const { x, y, width, height } = value as Record<string, unknown>
  const side = (size: unknown, at: number, key: string, end: string) => {
    const checked = checkNumber(size, `${name}.${key}`, { min: 0, max: 1 })
    if (checked === 0) throw invalidRange(`${name}.${key} must be above 0: the box would be empty`)
    if (at + checked > 1 + slack)
      throw invalidRange(`${name} extends outside the image: ${end} = ${at + checked}; positions are fractions from 0 to 1`)
    return checked
  }
  const left = checkNumber(x, `${name}.x`, { min: 0, max: 1 })
  const top = checkNumber(y, `${name}.y`, { min: 0, max: 1 })
  return { x: left, y: top, width: side(width, left, 'width', 'x + width'), height: side(height, top, 'height', 'y + height') }
}

/** Attributes of a box. */
export const flagNames = ['groupOf', 'occluded', 'depiction', 'inside'] as const

function checkObject(value: unknown, name: string, encoding: LayoutEncoding): LayoutObject {
  const given = knownKeys(value, name, ['classId', 'x', 'y', 'width', 'height', ...flagNames])
  const object: LayoutObject = {
    classId: checkInteger(given.classId, `${name}.classId`, { min: 0, max: encoding.classes - 1 }),
    ...checkBox(given, name),
  }
  for (const flag of flagNames) if (given[flag] !== undefined) object[flag] = checkBoolean(given[flag], `${name}.${flag}`)
  return object
}

/**
 * The tokens of a layout, [3 * maxObjects + 2]: category, upper left and lower right corner per object in the order given, the vocabulary's last token in empty
 * slots, the corners of the crop. Objects outside the crop are omitted.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for too many objects, a category that the model does not have, a box that is empty or outside
 */
export function layoutTokens(objects: readonly LayoutObject[], encoding: LayoutEncoding = openImagesEncoding, crop: Box = wholePicture): number[] {
  if (!Array.isArray(objects)) throw invalidType(`boxes must be an array, not ${show(objects)}`)
  const { maxObjects, vocabulary, encodeCrop } = encoding
  if (objects.length > maxObjects) throw invalidRange(`${objects.length} boxes; this model takes at most ${maxObjects}`)
  const window = checkBox(crop, 'crop')
  const seen = (listOf(objects, 'boxes', maxObjects) as LayoutObject[])
    .map((object, i) => checkObject(object, `boxes[${i}]`, encoding))
    .filter((object) => overlaps(object, window))
  const frame = encodeCrop ? wholePicture : window
  const tokens = seen.flatMap((object) => [categoryToken(object, encoding), ...cornerTokens(relativeTo(frame, object), vocabulary)])
  const empty = new Array<number>((maxObjects - seen.length) * tokensPerObject).fill(vocabulary - 1)
  return [...tokens, ...empty, ...(encodeCrop ? cornerTokens(window, vocabulary) : [])]
}
