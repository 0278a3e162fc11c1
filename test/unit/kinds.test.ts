/** Every kind of model takes its own options, and says of the others what they are for and what it takes. */
import { resolveGenerate } from '../../lib/api/generate-options'
import { resolveLoad } from '../../lib/options/load'
import type { GenerateOptions, ModelKind, PipelineInfo } from '../../lib/types'
import { bertInfo, infoOf, rdmTextInfo, rejection, textInpaintInfo, upscalerInfo } from '../helpers/infos'

const resolve = (info: PipelineInfo, options: unknown) => resolveGenerate(options as GenerateOptions, info)
const box = { label: 1, x: 0.25, y: 0.25, width: 0.5, height: 0.5 }
const map = { data: new Uint8Array(256), width: 16, height: 16 }
const embedding = Float32Array.of(1, 2, 3, 4)

const start = { image: 'x.png', strength: 0.5, mask: map }
const prompts = { prompt: 'a', negativePrompt: 'b', emphasis: 'comfy', clipSkip: 2 }

/** All inputs that each kind takes. */
const accepted: [PipelineInfo, object][] = [
  [infoOf('text'), { ...prompts, ...start }],
  [bertInfo, { prompt: 'a', negativePrompt: 'b', emphasis: 'comfy', ...start }],
  [infoOf('class'), { classId: 2, ...start }],
  [infoOf('unconditional'), start],
  [infoOf('layout'), { boxes: [box], ...start }],
  [infoOf('semantic'), { semanticMap: map, ...start }],
  [infoOf('superres'), { image: 'x.png' }],
  [upscalerInfo, { ...prompts, image: 'x.png', noiseLevel: 350 }],
  [infoOf('inpaint'), { image: 'x.png', mask: map }],
  [textInpaintInfo, { ...prompts, image: 'x.png', mask: map }],
  [infoOf('edit'), { ...prompts, image: 'x.png' }],
  [infoOf('depth'), { ...prompts, depthMap: map, ...start }],
  [rdmTextInfo, { prompt: 'a', neighbours: [embedding], ...start }],
]

describe('inputs of each kind', () => {
  test.each(accepted.map(([info, options]) => [info.name, Object.keys(options).join(' '), info, options] as const))(
    '%s: %s',
    (_name, _keys, info, options) => {
      expect(() =>
        resolve(info, { ...options, width: 64, height: 32, count: 2, steps: 3, guidanceScale: info.condition.guidance ? 2 : 1 }),
      ).not.toThrow()
    },
  )

  const inputs: Record<string, unknown> = {
    prompt: 'a',
    negativePrompt: 'a',
    emphasis: 'comfy',
    clipSkip: 1,
    classId: 1,
    boxes: [box],
    semanticMap: map,
    mask: map,
    depthMap: map,
    noiseLevel: 1,
    neighbours: [embedding],
    image: 'x.png',
    strength: 0.5,
  }
  const refused = accepted.flatMap(([info, options]) =>
    Object.keys(inputs)
      .filter((key) => !(key in options))
      .map((key) => [info.name, key, info, options] as const),
  )

  test.each(refused)('%s refuses %s', (name, key, info, options) => {
    const error = rejection(() => resolve(info, { ...options, [key]: inputs[key] }))
    expect(error).toBeInstanceOf(TypeError)
    expect(error).toMatchObject({ code: 'ERR_INVALID_ARG' })
    expect(error.message).toMatch(new RegExp(`^generate\\(\\): option '${key}' is for .*; ${name} is not: it takes`))
    expect(error.message).not.toContain('undefined')
  })

  test('errors name the inputs that the model takes', () => {
    const says = (info: PipelineInfo, options: object) =>
      rejection(() => resolve(info, options))
        .message.split(': ')
        .at(-1)
    expect(says(infoOf('class'), { classId: 1, boxes: [] })).toBe('it takes classId and, for image to image, image with strength and mask')
    expect(says(infoOf('unconditional'), { classId: 1 })).toBe('it takes no inputs except, for image to image, image with strength and mask')
    expect(says(upscalerInfo, { image: 'x', boxes: [] })).toBe('it takes prompt, image, noiseLevel and negativePrompt')
    expect(says(infoOf('depth'), { depthMap: map, boxes: [] })).toBe(
      'it takes prompt, depthMap and negativePrompt and, for image to image, image with strength and mask',
    )
    expect(says(infoOf('inpaint'), { image: 'x', mask: 'y', prompt: 'a' })).toBe('it takes image and mask')
    expect(says(rdmTextInfo, { prompt: 'a', boxes: [] })).toBe('it takes prompt and neighbours and, for image to image, image with strength and mask')
  })
})

describe('required inputs', () => {
  test.each<[PipelineInfo, object, RegExp]>([
    [infoOf('class'), {}, /^classId is missing: .* 3$/],
    [infoOf('layout'), {}, /^boxes is missing/],
    [infoOf('semantic'), {}, /^semanticMap is missing/],
    [infoOf('superres'), {}, /^image is missing/],
    [infoOf('inpaint'), {}, /^image is missing/],
    [infoOf('inpaint'), { image: 'x.png' }, /^mask is missing/],
    [infoOf('depth'), { prompt: 'a cat' }, /^depthMap is missing: the depth of every pixel/],
    [infoOf('edit'), { prompt: 'make it snow' }, /^image is missing: the image to edit$/],
    [infoOf('rdm'), {}, /^prompt and neighbours are missing/],
  ])('%#', (info, options, message) => {
    const error = rejection(() => resolve(info, options))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(message)
  })

  test('a prompt of a retrieval-augmented model needs a text encoder', () => {
    expect(rejection(() => resolve(infoOf('rdm'), { prompt: 'a' }))).toMatchObject({
      code: 'ERR_UNSUPPORTED_MODEL',
      message: expect.stringMatching(/textEncoder/),
    })
  })

  test('a first stage does not generate images', () => {
    expect(rejection(() => resolve(infoOf('autoencoder'), {}))).toMatchObject({ code: 'ERR_UNSUPPORTED_MODEL' })
  })
})

describe('values', () => {
  test.each<[PipelineInfo, object, new () => Error, RegExp]>([
    [infoOf('class'), { classId: 3 }, RangeError, /classId must be between 0 and 2/],
    [infoOf('class', { condition: { classes: 4, nullClass: 1 } }), { classId: 1 }, RangeError, /^classId: 1 is the null class/],
    [infoOf('class'), { classId: -1 }, RangeError, /between 0 and 2/],
    [infoOf('class'), { classId: 1.5 }, RangeError, /whole number/],
    [infoOf('class'), { classId: true }, TypeError, /the number or the name of a class, not true/],
    [infoOf('class'), { classId: 'tensh' }, RangeError, /Did you mean 'tench' \(0\)/],
    [infoOf('class'), { classId: 'zebrafinch' }, RangeError, /no class is called 'zebrafinch'/],
    [infoOf('class'), { classId: 'crane' }, RangeError, /several classes .* 1 or 2/],
    [infoOf('class', { conditioners: [{ kind: 'class' }] }), { classId: 'tench' }, RangeError, /not known.* give a number from 0 to 2/],
    [infoOf('layout'), { boxes: [] }, RangeError, /1 to 30 entries, not 0/],
    [infoOf('layout'), { boxes: new Array(31).fill(box) }, RangeError, /not 31/],
    [infoOf('layout'), { boxes: box }, TypeError, /array of/],
    [infoOf('layout'), { boxes: [7] }, TypeError, /boxes\[0\] must be an object/],
    [infoOf('layout'), { boxes: [box, { ...box, x: 0.75 }] }, RangeError, /boxes\[1\] extends outside/],
    [infoOf('layout'), { boxes: [{ ...box, y: -0.1 }] }, RangeError, /boxes\[0\]\.y must be between 0 and 1/],
    [infoOf('layout'), { boxes: [{ ...box, width: 0 }] }, RangeError, /would be empty/],
    [infoOf('layout'), { boxes: [{ ...box, width: NaN }] }, TypeError, /boxes\[0\]\.width/],
    [infoOf('layout'), { boxes: [{ ...box, label: 340 }] }, RangeError, /boxes\[0\]\.label must be between 0 and 339/],
    [infoOf('layout'), { boxes: [{ ...box, label: 'dgo' }] }, RangeError, /boxes\[0\]\.label: no class is called 'dgo'/],
    [infoOf('layout'), { boxes: [{ ...box, weight: 2 }] }, TypeError, /boxes\[0\].*unknown option 'weight'/],
    [infoOf('layout'), { boxes: [{ ...box, classId: 3 }] }, TypeError, /boxes\[0\]: unknown option 'classId'/],
    [infoOf('layout'), { boxes: [{ ...box, occluded: 'yes' }] }, TypeError, /occluded must be true or false/],
    [upscalerInfo, { image: 'x', noiseLevel: 351 }, RangeError, /noiseLevel must be between 0 and 350/],
    [upscalerInfo, { image: 'x', noiseLevel: '20' }, TypeError, /noiseLevel must be a number/],
    [infoOf('rdm'), { neighbours: [] }, RangeError, /1 to 1000, not 0/],
    [infoOf('rdm'), { neighbours: embedding }, TypeError, /array of Float32Arrays/],
    [infoOf('rdm'), { neighbours: [[1, 2, 3, 4]] }, TypeError, /neighbours\[0\] must be a Float32Array/],
    [infoOf('rdm'), { neighbours: [embedding, new Float32Array(3)] }, RangeError, /neighbours\[1\] has 3 numbers; .* have 4/],
    [infoOf('rdm'), { neighbours: [Float32Array.of(1, NaN, 0, 0)] }, RangeError, /not finite/],
    [infoOf('rdm'), { neighbours: {} }, TypeError, /neighbours\.database/],
    [infoOf('unconditional'), { guidanceScale: 2 }, RangeError, /guidanceScale must be 1, not 2: .* without an unconditional input/],
    [infoOf('layout'), { boxes: [box], guidanceScale: 0 }, RangeError, /guidanceScale must be 1/],
    [infoOf('class'), { classId: 1, width: 100 }, RangeError, /multiple of 16/],
  ])('%#: %j is refused', (info, options, type, message) => {
    const error = rejection(() => resolve(info, options))
    expect(error).toBeInstanceOf(type)
    expect(error.code).toBe('ERR_INVALID_ARG')
    expect(error.message).toMatch(message)
  })

  test('defaults of the model', () => {
    expect(resolve(upscalerInfo, { image: 'x' }).inputs.noiseLevel).toBe(20)
    expect(resolve(infoOf('superres'), { image: 'x' }).inputs.noiseLevel).toBeUndefined()
    expect(resolve(infoOf('class'), { classId: 1 }).sampling.request.guidanceScale).toBe(3)
    expect(resolve(infoOf('unconditional'), {}).sampling.request.guidanceScale).toBe(1)
    expect(resolve(infoOf('class'), { classId: 1, image: 'x' })).toMatchObject({ start: 'x', sampling: { request: { strength: 0.75 } } })
    expect(resolve(infoOf('superres'), { image: 'x' })).toMatchObject({
      start: undefined,
      sampling: { request: expect.not.objectContaining({ strength: expect.anything() }) },
    })
    expect(resolve(infoOf('class'), { classId: 2 }).inputs).toEqual({ classId: 2 })
    expect(resolve(infoOf('class'), { classId: 'tinca TINCA' }).inputs).toEqual({ classId: 0 })
  })

  test('sizes set by the inputs may have any value, because they are only compared', () => {
    expect(resolve(infoOf('superres'), { image: 'x', width: 101, height: 7 })).toMatchObject({ width: 101, height: 7 })
  })

  test('boxes are copied with their names', () => {
    const boxes = [{ ...box, label: 'cat' }]
    const { inputs } = resolve(infoOf('layout'), { boxes })
    expect(inputs.boxes).toEqual(boxes)
    boxes[0]!.label = 'Dog'
    expect(inputs.boxes).toEqual([{ ...box, label: 'cat' }])
  })
})

test('load(): the expected kind', () => {
  expect(resolveLoad({ kind: 'class' }, 'load()').kind).toBe('class')
  expect(resolveLoad(undefined, 'load()').kind).toBeUndefined()
  expect(rejection(() => resolveLoad({ kind: 'klass' as ModelKind }, 'load()')).message).toMatch(/Did you mean 'class'/)
})
