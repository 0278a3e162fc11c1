/** The judge of the evaluation, on flat shapes: what the semantic tests and the model card rest on. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { RawImage } from '../../lib/index'
import { describe as describePicture, holds, judge, stands, type Expectation, type Thing } from '../../scripts/judge/judge.cjs'
import { draw, insideShape, type Figure, type Rgb } from '../helpers/draw'

const colours: Record<string, Rgb> = {
  red: [214, 40, 40],
  orange: [247, 147, 30],
  yellow: [252, 220, 60],
  green: [60, 160, 80],
  blue: [40, 90, 210],
  purple: [130, 60, 170],
  pink: [248, 150, 190],
  brown: [130, 80, 45],
  white: [250, 250, 250],
  black: [25, 25, 28],
}
const grey: Rgb = [150, 150, 150]
const figure = (color: string, shape: string, at: Partial<Figure> = {}): Figure => ({
  shape,
  colour: colours[color]!,
  x: 0.5,
  y: 0.5,
  r: 0.25,
  ...at,
})

describe('one figure', () => {
  const cases = Object.keys(insideShape).flatMap((shape) => [
    { shape, r: 0.13, turn: 0.06 },
    { shape, r: 0.3, turn: -0.08 },
  ])
  test.each(cases)('$shape of size $r turned by $turn', ({ shape, r, turn }) => {
    const seen = describePicture(draw([figure('blue', shape, { r, turn })], [240, 235, 225]))
    expect(seen.map((thing) => [thing.colour, thing.shape])).toEqual([['blue', shape]])
    expect(Math.hypot(seen[0]!.x - 0.5, seen[0]!.y - 0.5)).toBeLessThan(0.5 * r)
  })

  test.each(Object.keys(colours))('%s', (color) => {
    expect(describePicture(draw([figure(color, 'circle')], grey)).map(({ colour }) => colour)).toEqual([color])
  })

  test('on an image that is larger, grey, or empty', () => {
    expect(describePicture(draw([figure('red', 'star')], [30, 60, 160], 128))).toMatchObject([{ colour: 'red', shape: 'star' }])
    expect(describePicture(new RawImage({ data: new Uint8Array(64 * 64).fill(128), width: 64, height: 64, channels: 1 }))).toEqual([])
    expect(describePicture(draw([], (y) => [80 + 120 * y, 140 + 60 * y, 230]))).toEqual([])
  })
})

describe('two figures', () => {
  const places: Record<string, [Partial<Figure>, Partial<Figure>]> = {
    left: [{ x: 0.25 }, { x: 0.75 }],
    right: [{ x: 0.75 }, { x: 0.25 }],
    above: [{ y: 0.22 }, { y: 0.76 }],
    below: [{ y: 0.76 }, { y: 0.22 }],
    on: [
      { y: 0.3, r: 0.15 },
      { y: 0.66, r: 0.22 },
    ],
    inside: [{ r: 0.16 }, { r: 0.42 }],
  }
  const relations = Object.keys(places) as NonNullable<Expectation['relation']>[]
  const expectation = (relation: Expectation['relation']): Expectation => ({
    objects: [
      { color: 'yellow', shape: 'circle' },
      { color: 'purple', shape: 'square' },
    ],
    ...(relation ? { relation } : {}),
  })

  test.each(relations)('%s', (relation) => {
    const [a, b] = places[relation]!.map((place, i) => figure(['yellow', 'purple'][i]!, ['circle', 'square'][i]!, { r: 0.18, ...place }))
    const image = draw(relation === 'inside' ? [b!, a!] : [a!, b!], [70, 150, 80])
    expect(judge(image, expectation(relation))).toMatchObject({ objects: true, relation: true })
    for (const other of relations.filter((name) => name !== relation && !(relation === 'on' && name === 'above')))
      expect([other, judge(image, expectation(other)).relation]).toEqual([other, false])
  })

  test('missing objects, and those of another colour or shape, are not found', () => {
    const image = draw([figure('yellow', 'circle', { x: 0.25, r: 0.18 }), figure('purple', 'star', { x: 0.75, r: 0.2 })], [70, 150, 80])
    const verdict = judge(image, expectation('left'))
    expect(verdict).toMatchObject({ colours: [true, true], found: [true, false], objects: false, relation: false })
    expect(judge(image, { objects: [{ color: 'purple', shape: 'circle' }] })).toMatchObject({ colours: [true], objects: false })
  })

  test('an object requested once but present twice is not found', () => {
    const twice = draw([figure('red', 'heart', { x: 0.27, r: 0.2 }), figure('red', 'heart', { x: 0.74, r: 0.18 })], grey)
    expect(judge(twice, { objects: [{ color: 'red', shape: 'heart' }] })).toMatchObject({ colours: [true], found: [false] })
  })

  test('a ring in front of another figure is found, and a figure that surrounds another is not a ring', () => {
    const image = draw([figure('red', 'heart', { r: 0.42 }), figure('white', 'ring', { y: 0.45, r: 0.18 })], [20, 30, 80])
    const asked: Expectation = {
      objects: [
        { color: 'white', shape: 'ring' },
        { color: 'red', shape: 'heart' },
      ],
      relation: 'inside',
    }
    expect(judge(image, asked)).toMatchObject({ found: [true, true], relation: true })
  })
})

test('places', () => {
  const box = { x0: 0.1, x1: 0.3, y0: 0.7, y1: 0.9 }
  const thing: Thing = { colour: 'red', shape: 'star', shapes: ['star'], x: 0.2, y: 0.8, area: 0.05, box, extent: { box, area: 0.05 } }
  expect(['left', 'bottom', 'bottom left', 'right', 'top left'].map((place) => stands(place, thing))).toEqual([true, true, true, false, false])
  expect(() => holds('beside' as 'left', thing, thing)).toThrow(/unknown relation/)
})

const training = path.resolve(__dirname, '..', '..', 'training')
const truth = existsSync(path.join(training, 'ground_truth')) ? test : test.skip
truth('the images of the world that the model is trained on: all right', async () => {
  const { prompts } = JSON.parse(readFileSync(path.join(training, 'held_out.json'), 'utf8')) as { prompts: (Expectation & { id: number })[] }
  const wrong: number[] = []
  for (const entry of prompts.slice(0, 24)) {
    const verdict = judge(await RawImage.read(path.join(training, 'ground_truth', `${String(entry.id).padStart(3, '0')}.png`)), entry)
    if (!verdict.objects || verdict.relation === false || verdict.position === false) wrong.push(entry.id)
  }
  expect(wrong).toEqual([])
})
