/** Boxes to tokens: the golden layout, rounding, flags, crops, and everything that is refused. */
import {
  layoutEncodingOf,
  layoutLength,
  layoutTokens,
  openImagesEncoding,
  type LayoutEncoding,
  type LayoutObject,
} from '../../lib/model/layout-tokens'
import { loadCase } from '../helpers/golden'
import { readArrays } from '../helpers/safetensors'

const box = (over: Partial<LayoutObject> = {}): LayoutObject => ({ classId: 0, x: 0, y: 0, width: 1, height: 1, ...over })

test('the golden layout', () => {
  const golden = loadCase('ldm-layout2img')
  const objects = (golden.inputs.objects!.value as any[]).map(({ category, bbox: [x, y, width, height], ...flags }) => ({
    classId: category,
    x,
    y,
    width,
    height,
    groupOf: flags.is_group_of,
    occluded: flags.is_occluded,
    depiction: flags.is_depiction,
    inside: flags.is_inside,
  }))
  const { layout_tokens } = readArrays('test/fixtures/models/ldm-layout2img/expected.safetensors')
  const tokens = layoutTokens(objects)
  expect(tokens).toEqual(Array.from(layout_tokens!.data))
  expect(tokens).toHaveLength(layoutLength(openImagesEncoding))
})

test('without objects: empty slots and the crop', () => {
  expect(layoutTokens([])).toEqual([...new Array(90).fill(8191), 0, 8099])
})

test('halves are rounded to even, as in Python', () => {
  // 4 sections: corners at 0, 1, 2, 3; round(0.5) = 0, round(1.5) = 2, round(2.5) = 2
  const encoding: LayoutEncoding = { ...openImagesEncoding, classes: 2, maxObjects: 1, vocabulary: 16 + 1, encodeCrop: false, attributeFlags: false }
  const [, first, second] = layoutTokens([box({ x: 0.5 / 3, y: 0.5, width: 2 / 3, height: 0.5 })], encoding)
  expect(first).toBe(2 * 4 + 0)
  expect(second).toBe(3 * 4 + 2)
})

test('flags are encoded in the category token if the model supports them', () => {
  const all = { groupOf: true, occluded: true, depiction: true, inside: true }
  const category = (object: LayoutObject, over: Partial<LayoutEncoding> = {}) => layoutTokens([object], { ...openImagesEncoding, ...over })[0]
  expect(category(box({ classId: 7 }))).toBe(7)
  expect(category(box({ classId: 7, groupOf: true }))).toBe(7 + 340)
  expect(category(box({ classId: 7, occluded: true }))).toBe(7 + 2 * 340)
  expect(category(box({ classId: 7, depiction: true }))).toBe(7 + 4 * 340)
  expect(category(box({ classId: 7, inside: true }))).toBe(7 + 8 * 340)
  expect(category(box({ classId: 339, ...all }))).toBe(5439)
  expect(category(box({ classId: 7, ...all }), { attributeFlags: false })).toBe(7 + 340)
  expect(category(box({ classId: 7, ...all }), { groupFlag: false, attributeFlags: false })).toBe(7)
})

test('a crop is encoded, or boxes are relative to it; objects outside it are omitted', () => {
  const crop = { x: 0.5, y: 0.5, width: 0.5, height: 0.5 }
  const objects = [box({ width: 0.25, height: 0.25 }), box({ classId: 3, x: 0.25, y: 0.5, width: 0.5, height: 0.5 })]
  const whole = layoutTokens(objects, openImagesEncoding, crop)
  // 0.25 * 89 = 22.25, 0.5 * 89 = 44.5 (to 44), 0.75 * 89 = 66.75
  expect(whole.slice(0, 4)).toEqual([3, 44 * 90 + 22, 89 * 90 + 67, 8191])
  expect(whole.slice(-2)).toEqual([44 * 90 + 44, 8099])
  const relative = layoutTokens(objects, { ...openImagesEncoding, encodeCrop: false }, crop)
  expect(relative).toHaveLength(90)
  // x = (0.25 - 0.5) / 0.5 is cut to 0, the width 1 stays, as in the reference
  expect(relative.slice(0, 4)).toEqual([3, 0, 8099, 8191])
})

test('fractions computed from pixels may exceed the image by rounding', () => {
  expect(layoutTokens([box({ x: 0.1, width: 0.9000000001 })])[2]).toBe(8099)
})

test.each<[string, unknown, RegExp]>([
  ['no array', {}, /boxes must be an array/],
  ['31 boxes', Array.from({ length: 31 }, () => box()), /31 boxes; this model takes at most 30/],
  ['no object', [5], /boxes\[0\] takes an options object/],
  ['an unknown key', [{ ...box(), heigth: 1 }], /unknown option 'heigth'.*'height'/],
  ['class 340', [box({ classId: 340 })], /boxes\[0\].classId must be between 0 and 339/],
  ['class -1', [box({ classId: -1 })], /classId/],
  ['class 1.5', [box({ classId: 1.5 })], /classId must be a whole number/],
  ['no class', [{ ...box(), classId: undefined }], /classId must be a number/],
  ['a flag of another type', [{ ...box(), inside: 1 }], /boxes\[0\].inside must be true or false/],
  ['outside on the right', [box(), box({ x: 0.5, width: 0.6 })], /boxes\[1\] extends outside the image: x \+ width = 1.1/],
  ['outside at the bottom', [box({ y: 0.75, height: 0.5 })], /y \+ height = 1.25/],
  ['a negative position', [box({ x: -0.1 })], /boxes\[0\].x must be between 0 and 1/],
  ['pixels', [box({ x: 12, width: 100 })], /boxes\[0\].x must be between 0 and 1/],
  ['an empty box', [box({ width: 0 })], /width must be above 0/],
  ['NaN', [box({ y: NaN })], /boxes\[0\].y must be a number/],
])('refused: %s', (_, boxes, message) => {
  expect(() => layoutTokens(boxes as LayoutObject[])).toThrow(message)
  expect(() => layoutTokens(boxes as LayoutObject[])).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' }))
})

test('a crop outside the image', () => {
  expect(() => layoutTokens([], openImagesEncoding, { x: 0.5, y: 0, width: 0.6, height: 1 })).toThrow(/crop extends outside/)
})

test('the encoding depends on the parameters of the conditioner', () => {
  expect(layoutEncodingOf({ vocabSize: 8192, maxLength: 92 })).toEqual(openImagesEncoding)
  expect(layoutEncodingOf({ vocabSize: 8192, maxLength: 90, classes: 171, attributeFlags: false })).toEqual({
    classes: 171,
    maxObjects: 30,
    vocabulary: 8192,
    encodeCrop: false,
    groupFlag: true,
    attributeFlags: false,
  })
  expect(layoutEncodingOf({ vocabSize: 5441, maxLength: 92 })).toBeDefined()
})

test.each([
  ['a length that no number of slots has', { vocabSize: 8192, maxLength: 91 }],
  ['a vocabulary too small for the categories', { vocabSize: 5440, maxLength: 92 }],
  ['no vocabulary', { maxLength: 92 }],
  ['sizes that are no numbers', { vocabSize: '8192', maxLength: 92 }],
  ['no slots', { vocabSize: 8192, maxLength: 2 }],
  ['flags that are no booleans', { vocabSize: 8192, maxLength: 92, groupFlag: 1 }],
])('no encoding: %s', (_, params) => expect(layoutEncodingOf(params)).toBeUndefined())
