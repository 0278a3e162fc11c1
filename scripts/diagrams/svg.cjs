/** Drawings in SVG for the documentation: light or dark as the reader's system, on a ground of their own, so that they are legible on any page. */

const light = {
  ground: '#fffdfa',
  edge: '#ddd6cb',
  ink: '#22262a',
  muted: '#5b6068',
  box: '#f3efe8',
  line: '#8b8478',
  main: '#dcebe8',
  accent: '#1d6a64',
}
const dark = {
  ground: '#1c2024',
  edge: '#30363c',
  ink: '#e9e6e0',
  muted: '#a5abb3',
  box: '#272c31',
  line: '#767e87',
  main: '#1f3a38',
  accent: '#77c9bf',
}
const series = { light: ['#1d6a64', '#b9791a', '#7262a8'], dark: ['#77c9bf', '#e3b15c', '#b3a6e0'] }

const colours = ({ ground, edge, ink, muted, box, line, main, accent }, bars) =>
  [
    `.ground{fill:${ground};stroke:${edge}}`,
    `text{fill:${ink}}.muted{fill:${muted}}`,
    `.box{fill:${box};stroke:${line}}.main{fill:${main};stroke:${accent}}.group{fill:none;stroke:${line}}`,
    `.arrow,.mark{stroke:${muted}}.head{fill:${muted}}.rule{stroke:${edge}}.mark{stroke:${ink}}`,
    ...bars.map((colour, i) => `.bar${i}{fill:${colour}}`),
  ].join('')

const style = [
  'text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}',
  '.small{font-size:12px}.strong{font-weight:600}.arrow{fill:none;stroke-width:1.5}.dashed{stroke-dasharray:5 4}.mark{stroke-width:2}',
  colours(light, series.light),
  `@media(prefers-color-scheme:dark){${colours(dark, series.dark)}}`,
].join('')

const escape = (text) => text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign])
const round = (value) => Math.round(value * 10) / 10

class Drawing {
  #width
  #height
  #title
  #parts = []

  constructor(width, height, title) {
    this.#width = width
    this.#height = height
    this.#title = title
  }

  /** The width that a text may need, whatever the font. */
  static widthOf(text, { small = false, strong = false } = {}) {
    return text.length * (small ? 6.4 : 7.4) * (strong ? 1.06 : 1)
  }

  text(x, y, text, { anchor = 'start', small = false, strong = false, muted = false, room = Infinity } = {}) {
    if (Drawing.widthOf(text, { small, strong }) > room) throw new Error(`'${text}' does not fit into ${room} pixels`)
    const names = [small && 'small', strong && 'strong', muted && 'muted'].filter(Boolean).join(' ')
    const where = anchor === 'start' ? '' : ` text-anchor="${anchor}"`
    this.#parts.push(`<text x="${round(x)}" y="${round(y)}"${where}${names ? ` class="${names}"` : ''}>${escape(text)}</text>`)
    return this
  }

  /** A box with lines in its middle; the first is its name, the others say more. `kind`: `box`, `main` (what the page is about). */
  box(x, y, width, height, [name, ...more], { kind = 'box' } = {}) {
    this.rect(x, y, width, height, kind)
    const lines = 1 + more.length
    const first = y + height / 2 - (lines - 1) * 8.5 + 5
    this.text(x + width / 2, first, name, { anchor: 'middle', strong: true, room: width - 8 })
    more.forEach((line, i) => this.text(x + width / 2, first + 17 * (i + 1), line, { anchor: 'middle', small: true, muted: true, room: width - 8 }))
    return this
  }

  rect(x, y, width, height, kind, radius = 8) {
    const dashed = kind === 'group' ? ' dashed' : ''
    this.#parts.push(
      `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" rx="${radius}" class="${kind}${dashed}"/>`,
    )
    return this
  }

  /** A line through points, '10,20 30,20', with a head at its end. `both`: one at its start as well. The label is at its first stretch. */
  arrow(through, { label, at = 0.5, below = false, dashed = false, both = false } = {}) {
    const points = through.split(' ').map((point) => point.split(',').map(Number))
    const path = points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${round(x)} ${round(y)}`).join('')
    const heads = ` marker-end="url(#head)"${both ? ' marker-start="url(#head)"' : ''}`
    this.#parts.push(`<path d="${path}" class="arrow${dashed ? ' dashed' : ''}"${heads}/>`)
    if (label === undefined) return this
    const [[ax, ay], [bx, by]] = [points[0], points[1]]
    const [x, y] = [ax + (bx - ax) * at, ay + (by - ay) * at]
    const isLevel = Math.abs(by - ay) < Math.abs(bx - ax)
    return this.text(isLevel ? x : x + 8, isLevel ? (below ? y + 17 : y - 7) : y + 4, label, {
      anchor: isLevel ? 'middle' : 'start',
      small: true,
      muted: true,
    })
  }

  line(x1, y1, x2, y2, kind) {
    this.#parts.push(`<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${kind}"/>`)
    return this
  }

  /** Any other element. */
  add(markup) {
    this.#parts.push(markup)
    return this
  }

  toString() {
    const [w, h] = [this.#width, this.#height]
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img">`,
      `<title>${escape(this.#title)}</title>`,
      `<style>${style}</style>`,
      '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" class="head"/></marker>',
      `<rect x=".5" y=".5" width="${w - 1}" height="${h - 1}" rx="12" class="ground"/>`,
      ...this.#parts,
      '</svg>',
      '',
    ].join('\n')
  }
}

module.exports = { Drawing }
