import { contactSheet } from '../../lib/cli/contact-sheet'
import { breakLines, dotAt, glyphHeight, glyphWidth } from '../../lib/cli/font'
import { RawImage } from '../../lib/index'

const glyph = (character: string) =>
  Array.from({ length: glyphHeight }, (_, y) => Array.from({ length: glyphWidth }, (_, x) => (dotAt(character, x, y) ? '#' : '.')).join(''))

describe('the font', () => {
  test('draws letters', () => {
    expect(glyph('T').slice(0, 7)).toEqual(['#####', ...Array<string>(6).fill('..#..')])
    expect(glyph('g')).toEqual(['.....', '.....', '.####', '#...#', '#...#', '#...#', '.####', '....#', '.###.'])
    expect(glyph(' ').join('')).not.toContain('#')
  })

  test('has a distinct glyph for every letter and digit, and a question mark for other characters', () => {
    const characters = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?"\'-_+=*/()[]<>%@#&|']
    const drawn = characters.map((character) => glyph(character).join('\n'))
    expect(new Set(drawn).size).toBe(characters.length)
    for (const picture of drawn) expect(picture).toContain('#')
    expect(glyph('ü')).toEqual(glyph('?'))
  })

  test('breaks lines between words, and inside a word only if it is longer than a line', () => {
    expect(breakLines('a small red circle above', 10)).toEqual(['a small', 'red circle', 'above'])
    expect(breakLines('extraordinarily', 6)).toEqual(['extrao', 'rdinar', 'ily'])
    expect(breakLines(' ', 6)).toEqual([])
  })
})

test('a contact sheet contains every image, scaled, with its label below', async () => {
  const plain = (r: number, g: number, b: number) =>
    new RawImage({ data: Uint8Array.from({ length: 4 * 4 * 3 }, (_, i) => [r, g, b][i % 3]!), width: 4, height: 4, channels: 3 })
  const grey = new RawImage({ data: new Uint8Array(16).fill(9), width: 4, height: 4, channels: 1 })
  const entries = [
    { image: plain(255, 0, 0), label: 'red' },
    { image: plain(0, 0, 255), label: 'blue' },
    { image: grey, label: '' },
  ]
  const sheet = await contactSheet(entries, { columns: 2, side: 64, footer: ['done'] })
  const at = (x: number, y: number) => [...sheet.data.slice((y * sheet.width + x) * 3, (y * sheet.width + x) * 3 + 3)]
  expect(sheet.width).toBe(2 * 80 + 16)
  expect([at(48, 48), at(128, 48), at(8, 8)]).toEqual([
    [255, 0, 0],
    [0, 0, 255],
    [255, 255, 255],
  ])
  const dark = (x0: number, x1: number, y0: number, y1: number) => {
    let count = 0
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) count += at(x, y)[0] === 0x33 ? 1 : 0
    return count
  }
  const dots = (text: string) => [...text].reduce((sum, character) => sum + [...glyph(character).join('')].filter((dot) => dot === '#').length, 0) * 4
  expect(dark(16, 80, 81, 110)).toBe(dots('red'))
  expect(dark(96, 160, 81, 110)).toBe(dots('blue'))
  expect(dark(0, sheet.width, sheet.height - 40, sheet.height)).toBe(dots('done'))
})

test('rows of a contact sheet are as high as their labels need, and columns as wide as the longest word', async () => {
  const image = new RawImage({ data: new Uint8Array(64 * 64), width: 64, height: 64, channels: 1 })
  const sheet = async (...labels: string[]) =>
    contactSheet(
      labels.map((label) => ({ image, label })),
      { columns: 2, side: 64 },
    )
  const heights = await Promise.all([
    sheet('a', 'a', 'a', 'a'),
    sheet('a', 'a b a b a b a b', 'a', 'a'),
    sheet('a b a b a b a b', 'a', 'a', 'a b a b a b a b'),
  ])
  const [short, one, both] = heights.map(({ height }) => height) as [number, number, number]
  expect(one).toBeGreaterThan(short)
  expect(both - one).toBe(one - short)
  const wide = await sheet('a background', 'a')
  expect(wide.width).toBe(2 * (10 * 12 - 2 + 16) + 16)
  expect(wide.height).toBe((await sheet('a b c d e f', 'a')).height) // two lines: the word is whole
  expect((await sheet('a'.repeat(1000), 'a')).width).toBe(2 * (128 + 16) + 16)
})
