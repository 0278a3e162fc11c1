/** Lists of class names, their order, and looking classes up. */
import { checkLabel, labelsOf } from '../../lib/labels/labels'
import { synonymsOf } from '../../lib/labels/lists'

describe('lists', () => {
  test.each([
    ['imagenet-1k', 1000],
    ['open-images', 340],
    ['coco-stuff', 182],
    ['coco-stuff-171', 171],
  ] as const)('%s: %i classes, each with names', (list, count) => {
    const synonyms = synonymsOf(list)
    expect(synonyms).toHaveLength(count)
    for (const name of synonyms.flat()) expect(name).toMatch(/^\S(.*\S)?$/)
  })

  test('ImageNet is in the order of its synsets', () => {
    const names = labelsOf('class', 1000)!.names
    const known: Record<number, string> = {
      0: 'tench',
      1: 'goldfish',
      187: 'Yorkshire terrier',
      207: 'golden retriever',
      281: 'tabby',
      340: 'zebra',
      817: 'sports car',
    }
    for (const [id, name] of Object.entries({ ...known, 980: 'volcano', 992: 'agaric', 999: 'toilet tissue' })) expect(names[Number(id)]).toBe(name)
  })

  test('Open Images is sorted by identifier, Suitcase last', () => {
    const identifiers = synonymsOf('open-images').map((names) => names.at(-1)!)
    for (const identifier of identifiers) expect(identifier).toMatch(/^\/m\/0[0-9a-z_]{2,7}$/)
    const others = identifiers.slice(0, -1)
    expect(others).toEqual([...others].sort())
    expect(identifiers.at(-1)).toBe('/m/01s55n')
    expect(new Set(identifiers).size).toBe(340)
    const names = labelsOf('layout', 340)!.names
    expect(new Set(names).size).toBe(340)
    expect(names.at(-1)).toBe('Suitcase')
    // 352 names are in use: 12 categories were merged into others.
    expect(synonymsOf('open-images').flat()).toHaveLength(340 + 340 + 12)
  })

  test('COCO-Stuff: 91 thing and 91 stuff classes, of which 171 are annotated, ordered by their ids as strings', () => {
    const all = labelsOf('semantic', 182)!.names
    expect([all[0], all[15], all[90], all[91], all[168], all[181]]).toEqual(['person', 'bird', 'hair brush', 'banner', 'tree', 'wood'])
    expect(new Set(all).size).toBe(182)
    const annotated = labelsOf('layout', 171)!.names
    // ids 1, 10, 100, 101 ... 99
    expect([annotated[0], annotated[1], annotated[2], annotated[3], annotated.at(-1)]).toEqual([
      'person',
      'traffic light',
      'cardboard',
      'carpet',
      'cage',
    ])
    for (const name of ['hat', 'street sign', 'mirror', 'blender']) expect(annotated).not.toContain(name)
    expect(new Set(annotated).size).toBe(171)
  })

  test('models with other numbers of classes have no class names', () => {
    for (const [kind, count] of [
      ['class', 100],
      ['layout', 1000],
      ['semantic', 150],
      ['text', 1000],
    ] as const)
      expect(labelsOf(kind, count)).toBeUndefined()
    expect(labelsOf('class', 1000)).toBe(labelsOf('class', 1001))
  })
})

describe('look-up', () => {
  const imageNet = (label: unknown) => checkLabel(label, 'classId', 'class', 1001)
  const openImages = (label: unknown) => checkLabel(label, 'boxes[0].label', 'layout', 340)

  test.each([
    [207, 207],
    ['207', 207],
    [1000, 1000],
    ['golden retriever', 207],
    ['Golden_Retriever', 207],
    [' GOLDEN  retriever ', 207],
    ['tabby cat', 281],
    ['tench, Tinca tinca', 0],
    ['Tinca tinca', 0],
    ['great white shark', 2],
    ['man eating shark', 2],
    ['jack-o’-lantern'.replace('’', "'"), 607],
  ])('ImageNet: %j', (label, id) => expect(imageNet(label)).toBe(id))

  test('every class is found by its full label, except three that share one', () => {
    synonymsOf('imagenet-1k').forEach((names, id) => {
      if (![134, 517, 638].includes(id)) expect(imageNet(names.join(', '))).toBe(id)
    })
  })

  test('Open Images: merged categories, and identifiers', () => {
    expect(openImages('Woman')).toBe(openImages('person'))
    expect(openImages('/m/01g317')).toBe(openImages('Person'))
    expect(openImages('alarm clock')).toBe(openImages('Clock'))
    expect(openImages('suitcase')).toBe(339)
  })

  test('a main name takes precedence over a synonym of another class', () => {
    // 836 is "sunglass", 837 "sunglasses, dark glasses, shades"; 638 "maillot", 639 "maillot, tank suit"
    expect(imageNet('sunglasses')).toBe(837)
    // 657 "missile", 744 "projectile, missile"
    expect(imageNet('missile')).toBe(657)
    expect([imageNet('Cardigan'), imageNet('cardigan')]).toEqual([264, 474])
  })

  test.each<[unknown, RegExp]>([
    ['crane', /several classes are called 'crane'; give the number: 134 or 517/],
    ['maillot', /638 or 639/],
    ['CARDIGAN', /264 or 474/],
    ['shark', /no class is called 'shark'. Did you mean '[^']*' \(\d\), '[^']*' \(\d\), '[^']*' \(\d\)\?/],
    ['golden retreiver', /Did you mean 'golden retriever' \(207\)\?/],
    ['xyzzyxyzzy', /no class is called 'xyzzyxyzzy'\.$/],
    ['', /no class is called ''\.$/],
    [' - ', /no class is called ' - '\.$/],
    ['x'.repeat(1000), /1000 characters/],
    [1001, /classId must be between 0 and 1000/],
    ['1001', /classId must be between 0 and 1000/],
    [-1, /classId must be between/],
    [0.5, /classId must be a whole number/],
    [NaN, /classId must be a number/],
    [null, /must be the number or the name of a class, not null/],
    [['tench'], /must be the number or the name of a class, not an array of 1/],
  ])('refused: %j', (label, message) => {
    expect(() => imageNet(label)).toThrow(message)
    expect(() => imageNet(label)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG' }))
  })

  test('a model without class names takes numbers', () => {
    expect(checkLabel(7, 'classId', 'class', 10)).toBe(7)
    expect(() => checkLabel('cat', 'classId', 'class', 10)).toThrow(/names of this model's classes are not known.*number from 0 to 9/)
  })
})
