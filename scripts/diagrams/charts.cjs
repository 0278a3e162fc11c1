/** Charts of numbers that pages of the documentation record. */
const { readFileSync } = require('node:fs')
const path = require('node:path')
const { Drawing } = require('./svg.cjs')

const docs = path.join(__dirname, '..', '..', 'docs')
const read = (page) => readFileSync(path.join(docs, page), 'utf8')

/** The rows of the table whose head begins with this cell, as objects; of columns with one name the first. */
function tableOf(page, first) {
  const lines = read(page).split('\n')
  const cells = (line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
  const at = lines.findIndex((line) => line.startsWith('|') && cells(line)[0] === first)
  if (at < 0) throw new Error(`docs/${page} has no table that begins with '${first}'`)
  const end = lines.findIndex((line, i) => i > at && !line.startsWith('|'))
  const head = cells(lines[at])
  return lines.slice(at + 2, end).map((line) =>
    Object.fromEntries(
      cells(line)
        .map((cell, i) => [head[i], cell])
        .reverse(),
    ),
  )
}

/** The row that has this text in that column. */
function rowOf(table, column, text) {
  const row = table.find((each) => each[column].includes(text))
  if (!row) throw new Error(`no row with '${text}' as ${column}`)
  return row
}

/** The first number of a text: '1,971 / 2,009 MB' has two. */
const numbers = (text) => (text.match(/[\d,]+(\.\d+)?/g) ?? []).map((each) => Number(each.replaceAll(',', '')))

/** '1,971 / 2,009 MB' and the like. */
function pairOf(cell) {
  const [measured, estimated] = numbers(cell)
  if (measured === undefined || estimated === undefined) throw new Error(`'${cell}' is no pair of numbers`)
  return { value: measured, mark: estimated }
}

/**
 * Horizontal bars. `groups`: { title, rows: [{ label, bars: [{ value, mark, text, series }] }] }. A mark is a line across the bar. `legend`: texts by series; the last
 * may be of the marks.
 */
function barChart({ title, groups, labelWidth, unit, legend, markLegend, width = 720 }) {
  const bar = 16
  const gap = 10
  const valueWidth = 150
  const heights = groups.map(({ rows }) => 30 + rows.reduce((sum, { bars }) => sum + bars.length * (bar + 2) + gap, 0))
  const height = 52 + heights.reduce((sum, each) => sum + each + 12, 0)
  const drawing = new Drawing(width, height, title)
  const left = 20 + labelWidth
  const most = (rows) => Math.max(...rows.flatMap(({ bars }) => bars.flatMap(({ value, mark = 0 }) => [value, mark])))
  const scale = (rows, value) => ((width - left - valueWidth - 20) * value) / most(rows)

  let x = 20
  for (const [i, text] of legend.entries()) {
    drawing.rect(x, 18, 12, 12, `bar${i}`, 3).text(x + 18, 29, text, { small: true })
    x += 36 + Drawing.widthOf(text, { small: true })
  }
  if (markLegend) drawing.line(x + 6, 16, x + 6, 32, 'mark').text(x + 16, 29, markLegend, { small: true })

  let y = 52
  for (const { title: name, rows } of groups) {
    drawing.text(20, y + 14, name, { strong: true })
    y += 30
    for (const { label, bars } of rows) {
      drawing.text(left - 10, y + (bars.length * (bar + 2)) / 2 + 4, label, { anchor: 'end', small: true, room: labelWidth })
      for (const { value, mark, text = `${value.toLocaleString('en')} ${unit}`, series = 0 } of bars) {
        const length = scale(rows, value)
        drawing.rect(left, y, length, bar, `bar${series}`, 3)
        const markAt = mark === undefined ? length : scale(rows, mark)
        if (mark !== undefined) drawing.line(left + markAt, y - 1, left + markAt, y + bar + 1, 'mark')
        drawing.text(left + Math.max(length, markAt) + 8, y + 12, text, { small: true, room: width - left - Math.max(length, markAt) - 12 })
        y += bar + 2
      }
      y += gap
    }
    y += 12
  }
  return drawing
}

function memoryByType() {
  const table = tableOf('memory.md', 'file, memory mode')
  const sizes = ['512x512', '768x768', '1024x1024']
  const rows = ['f16', 'q8_0', 'q4_0'].map((type) => {
    const row = rowOf(table, 'file, memory mode', type)
    return { label: type, bars: sizes.map((size, i) => ({ ...pairOf(row[size]), series: i })) }
  })
  return barChart({
    title: 'Peak memory of Stable Diffusion 1.5 by the type of its weights and the size of the image',
    groups: [{ title: 'Stable Diffusion 1.5, whole process', rows }],
    labelWidth: 60,
    unit: 'MB',
    legend: sizes,
    markLegend: 'estimate',
  })
}

function memoryByLimit() {
  const groups = ['Stable Diffusion 1.5, f16, 512x512', 'SDXL base, q8_0, 1024x1024'].map((title) => ({
    title,
    rows: tableOf('memory.md', title)
      .filter((row) => !row[title].includes('page cache'))
      .map((row) => {
        const { value, mark } = pairOf(row.peak)
        return { label: row[title], bars: [{ value, mark, text: `${value.toLocaleString('en')} MB, step ${row.step}` }] }
      }),
  }))
  return barChart({
    title: 'Peak memory and time of a step under a limit',
    groups,
    labelWidth: 120,
    unit: 'MB',
    legend: ['peak of the whole process'],
    markLegend: 'limit and the rest of the process',
  })
}

function tinyAutoencoder() {
  const page = 'guides/tiny-autoencoders.md'
  const table = tableOf(page, 'decoding')
  const bars = (row) => ["Stable Diffusion's", 'TAESD'].map((column, i) => ({ value: numbers(row[column])[0], text: row[column], series: i }))
  const group = (title, kind) => ({
    title,
    rows: table.filter(({ decoding }) => decoding.startsWith(kind)).map((row) => ({ label: /\d+x\d+/.exec(row.decoding)[0], bars: bars(row) })),
  })
  return barChart({
    title: 'Time and memory of decoding by the first stage of Stable Diffusion and by a tiny autoencoder',
    groups: [group('Time', 'time'), group('Memory', 'memory')],
    labelWidth: 80,
    unit: '',
    legend: ["Stable Diffusion's decoder", 'TAESD'],
  })
}

function speed() {
  const table = tableOf('performance.md', 'path')
  const paths = [
    ['LATENT_OPS=portable', 'plain ggml, float32'],
    ['LATENT_KERNELS=avx2', 'AVX2, float32'],
    ['LATENT_KERNELS=avx512', 'AVX-512, float32'],
    ['bfloat16 (default)', 'default: bfloat16'],
    ["unet: 'int8'", "dtype: 'int8'"],
  ]
  const seconds = (cell) => ({ value: numbers(cell)[0], text: cell })
  const rows = paths.map(([path, label]) => {
    const { step, decode } = rowOf(table, 'path', path)
    return {
      label,
      bars: [
        { ...seconds(step), series: 0 },
        { ...seconds(decode), series: 1 },
      ],
    }
  })
  const text = read('performance.md').replace(/\s+/g, ' ')
  const found = (pattern) => {
    const match = pattern.exec(text)
    if (!match) throw new Error(`docs/performance.md has no ${pattern}`)
    return match.slice(1)
  }
  const [whole, least, half] = found(/in one run: ([\d.]+) s whole; with interval 4, ([\d.]+) s \(\d+ %\) at branch 0 and ([\d.]+) s/)
  const [unguided] = found(/the same four steps with `\[0, 0\.5\]`: ([\d.]+) s/)
  const skipping = [
    ['everything', whole],
    ['guidanceInterval [0, 0.5]', unguided],
    ['deepCache 4, branch 2', half],
    ['deepCache 4, branch 0', least],
  ].map(([label, value]) => ({ label, bars: [{ value: Number(value), text: `${value} s`, series: 2 }] }))
  return barChart({
    title: 'Time of a step and of decoding by arithmetic, and of four steps that skip work',
    groups: [
      { title: 'By arithmetic', rows },
      { title: 'Skipping work, bfloat16', rows: skipping },
    ],
    labelWidth: 180,
    unit: 's',
    legend: ['a guided step', 'decoding', 'four guided steps'],
  })
}

module.exports = { barChart, memoryByLimit, memoryByType, speed, tableOf, tinyAutoencoder }
