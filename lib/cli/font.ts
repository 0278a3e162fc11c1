/** A small bitmap font: printable ASCII, 5x7 dots and two rows for descenders, drawn for this package. */

/** Dots of a glyph across and down, without the spaces between glyphs and lines. */
export const glyphWidth = 5
export const glyphHeight = 9

/** Nine rows from the top down, one base-32 digit a row: its five bits are the dots, the leftmost first. */
const glyphs: Record<string, string> = {
  ...{
    a: '00e1fhf00',
    b: 'ggmphhu00',
    c: '00egghe00',
    d: '11djhhf00',
    e: '00ehvge00',
    f: '698s88800',
    g: '00fhhhf1e',
    h: 'ggmphhh00',
    i: '40c444e00',
  },
  ...{
    j: '2062222ic',
    k: 'ggikoki00',
    l: 'c44444e00',
    m: '00qllhh00',
    n: '00mphhh00',
    o: '00ehhhe00',
    p: '00uhhhugg',
    q: '00fhhhf11',
    r: '00mpggg00',
  },
  ...{ s: '00fge1u00', t: '88s889600', u: '00hhhjd00', v: '00hhha400', w: '00hhlla00', x: '00ha4ah00', y: '00hhhhf1e', z: '00v248v00' },
  ...{ A: 'ehhvhhh00', B: 'uhhuhhu00', C: 'ehggghe00', D: 'sihhhis00', E: 'vgguggv00', F: 'vgguggg00', G: 'ehgnhhf00', H: 'hhhvhhh00' },
  ...{
    I: 'e44444e00',
    J: '72222ic00',
    K: 'hikokih00',
    L: 'ggggggv00',
    M: 'hrllhhh00',
    N: 'hhpljhh00',
    O: 'ehhhhhe00',
    P: 'uhhuggg00',
    Q: 'ehhhlid00',
  },
  ...{
    R: 'uhhukih00',
    S: 'fgge11u00',
    T: 'v44444400',
    U: 'hhhhhhe00',
    V: 'hhhhha400',
    W: 'hhhllla00',
    X: 'hha4ahh00',
    Y: 'hhha44400',
    Z: 'v1248gv00',
  },
  ...{
    0: 'ehjlphe00',
    1: '4c4444e00',
    2: 'eh1248v00',
    3: 'v2421he00',
    4: '26aiv2200',
    5: 'vgu11he00',
    6: '68guhhe00',
    7: 'v12488800',
    8: 'ehhehhe00',
  },
  ...{ 9: 'ehhf12c00', '.': '00000cc00', ',': '00000c480', ':': '0cc0cc000', ';': '0cc0c4800', '!': '444440400', '?': 'eh1240400', "'": 'c48000000' },
  ...{ '"': 'aa0000000', '-': '000v00000', _: '000000v00', '+': '044v44000', '=': '00v0v0000', '*': '0l4e4l000', '/': '01248g000', '(': '248884200' },
  ...{
    ')': '842224800',
    '[': 'e88888e00',
    ']': 'e22222e00',
    '<': '248g84200',
    '>': '842124800',
    '%': 'op248j300',
    '@': 'eh1dlle00',
    '#': 'aavavaa00',
  },
  ...{ '&': 'cik8lid00', '|': '444444400', ' ': '000000000' },
}

/** Is there a dot of `character` at column `x` and row `y`? Missing characters are shown as a question mark. */
export function dotAt(character: string, x: number, y: number): boolean {
  const rows = glyphs[character] ?? glyphs['?']!
  return ((parseInt(rows[y]!, 32) >> (glyphWidth - 1 - x)) & 1) === 1
}

/** Breaks a text into lines of at most `columns` characters, between words where that is possible. */
export function breakLines(text: string, columns: number): string[] {
  const lines: string[] = []
  let line = ''
  for (let word of text.split(/\s+/).filter(Boolean)) {
    if (line && line.length + 1 + word.length <= columns) {
      line += ` ${word}`
      continue
    }
    if (line) lines.push(line)
    for (; word.length > columns; word = word.slice(columns)) lines.push(word.slice(0, columns))
    line = word
  }
  return line ? [...lines, line] : lines
}
