#!/usr/bin/env node
/**
 * Keeps what `latent bench --json` reports, one line of JSON per run, and compares two of them. The format and how to read a comparison: README.md beside this file.
 *
 *   latent bench MODEL --json > report.json
 *   node test/bench/history.mjs add report.json [--note TEXT] [--commit NAME] [--date TIME] [--history FILE]
 *   node test/bench/history.mjs list [--history FILE]
 *   node test/bench/history.mjs compare [A] [B] [--history FILE]
 *
 * A and B: the number of a line, the beginning of a commit (the last entry of it), `last` or `last~1`; without them the last two.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = path.dirname(fileURLToPath(import.meta.url))
const schema = 1

/** What is wrong with the input or the command line. */
class Wrong extends Error {}

function parse(text, where) {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Wrong(`${where} is not JSON: ${error.message}`)
  }
}

function readText(file) {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw new Wrong(`${file} cannot be read: ${error.message}`)
  }
}

// ---- entries ---------------------------------------------------------------------------------------------------------

const isPositive = (value) => typeof value === 'number' && Number.isFinite(value) && value > 0

/** The entry of a report: its figures by name, and nothing of the place it was made in. */
export function entryOf(report, { date, commit, note }) {
  const { peak, stages, width, height, peakRssBytes } = report ?? {}
  if (!Array.isArray(peak) || !Array.isArray(stages)) throw new Wrong('not a report of `latent bench --json`: it has no peak or no stages')
  if (
    ![width, height, peakRssBytes].every(isPositive) ||
    !peak.every(({ gflops }) => isPositive(gflops)) ||
    !stages.every(({ ms }) => isPositive(ms))
  )
    throw new Wrong('not a report of `latent bench --json`: a figure is missing')
  return {
    schema,
    date,
    commit,
    version: report.version ?? null,
    ...(note ? { note } : {}),
    cpu: report.device ?? null,
    threads: report.threads ?? null,
    model: { name: report.model ?? null, kind: report.kind ?? null, naming: report.naming ?? null, types: report.dtypes ?? null },
    run: { width, height, precision: report.precision ?? null, kernels: kernelsOf(report.kernels) },
    peaks: peak.map(({ format, instructions, gflops }) => ({ format, instructions, gflops: round(gflops) })),
    stages: Object.fromEntries(
      stages.map(({ stage, ms, gflop, ofPeak, peakFormat }) => [
        stage,
        { ms: round(ms), ...(gflop ? { gflop: round(gflop) } : {}), ...(ofPeak ? { share: round(ofPeak), of: peakFormat } : {}) },
      ]),
    ),
    peakRssBytes,
  }
}

/** The sets in use, in words; older reports name those that the environment forced. */
function kernelsOf(kernels) {
  if (typeof kernels !== 'object' || kernels === null) return kernels ?? null
  return kernels.operations === 'portable' ? 'ggml' : `${kernels.fast}, int8 ${kernels.int8}`
}

/** Four significant digits: more are noise. */
function round(value) {
  return Number(value.toPrecision(4))
}

function readHistory(file) {
  if (!existsSync(file)) throw new Wrong(`there is no history ${file}; \`add\` begins one`)
  const lines = readText(file).split('\n')
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return []
    const where = `${file}:${i + 1}`
    const entry = parse(line, where)
    if (entry.schema !== schema) throw new Wrong(`${where} has the schema ${entry.schema}; this program reads ${schema}`)
    return [entry]
  })
}

function pick(entries, wanted) {
  const fromEnd = /^last(?:~(\d{1,6}))?$/.exec(wanted)
  const found = fromEnd
    ? entries.at(-1 - Number(fromEnd[1] ?? 0))
    : /^\d{1,6}$/.test(wanted)
      ? entries[Number(wanted) - 1]
      : entries.findLast(({ commit }) => commit?.startsWith(wanted))
  if (!found) throw new Wrong(`no entry ${wanted} among ${entries.length}`)
  return found
}

/** The commit that is checked out, with a mark where files differ from it; null outside of a clone. */
function currentCommit() {
  const { status, stdout } = spawnSync('git', ['describe', '--always', '--abbrev=10', '--exclude', '*', '--dirty'], { cwd: here, encoding: 'utf8' })
  return status === 0 ? stdout.trim() : null
}

// ---- comparison ------------------------------------------------------------------------------------------------------

const percent = (share) => (share === undefined ? '-' : `${(100 * share).toFixed(1)} %`)
const ratio = (value) => (Number.isFinite(value) ? value.toFixed(2) : '-')

function title(entry) {
  const { model, run, cpu, threads } = entry
  const types = model.types ? [...new Set(Object.values(model.types))].join('/') : 'types unknown'
  const kernels = run.kernels ? `, kernels ${run.kernels}` : ''
  const how = `${run.width}x${run.height} ${run.precision}, ${types}${kernels}`
  return [entry.date.slice(0, 16), entry.commit ?? '-', `${model.name}, ${how}; ${threads ?? '?'} threads, ${cpu}`, entry.note]
    .filter(Boolean)
    .join('  ')
}

/**
 * Rows of [stage, share of A, share of B, ratio of shares, ratio of times in units of the machine]. Milliseconds of two machines, or of one machine at two clocks, do
 * not compare; what they would have been worth in float32 multiply-adds (milliseconds times the peak of the same run) does.
 */
export function compare(a, b) {
  const unit = ({ peaks }) => Math.max(...peaks.filter(({ format }) => format === 'f32').map(({ gflops }) => gflops))
  const names = Object.keys(a.stages).filter((name) => name in b.stages)
  const rows = names.map((name) => {
    const [x, y] = [a.stages[name], b.stages[name]]
    const shares = [x, y].map(({ share, of }) => `${percent(share)}${of ? ` ${of}` : ''}`)
    const sameFormat = x.share !== undefined && x.of === y.of
    return [name, ...shares, ratio(sameFormat ? y.share / x.share : NaN), ratio((y.ms * unit(b)) / (x.ms * unit(a)))]
  })
  const megabytes = ({ peakRssBytes }) => `${(peakRssBytes / 1e6).toFixed(0)} MB`
  return [...rows, ['peak memory', megabytes(a), megabytes(b), ratio(b.peakRssBytes / a.peakRssBytes), '-']]
}

/** What makes two entries no measurements of the same thing. */
export function differences(a, b) {
  // Older entries name the forced set alone, or none.
  const comparable = (one, other) => {
    if (one.kernels === null || other.kernels === null) return { ...one, kernels: null }
    return other.kernels.includes(',') ? one : { ...one, kernels: one.kernels.split(',')[0] }
  }
  const differing = (name, x, y) => (JSON.stringify(x) === JSON.stringify(y) ? [] : [`${name}: ${JSON.stringify(x)} and ${JSON.stringify(y)}`])
  const work = Object.keys(a.stages).filter((name) => {
    const [x, y] = [a.stages[name].gflop, b.stages[name]?.gflop]
    return x !== undefined && y !== undefined && Math.abs(x / y - 1) > 0.001
  })
  return [
    ...differing('model', a.model, b.model),
    ...differing('run', comparable(a.run, b.run), comparable(b.run, a.run)),
    ...differing('threads', a.threads, b.threads),
    ...differing('cpu', a.cpu, b.cpu),
    ...work.map((name) => `work of ${name}: ${a.stages[name].gflop} and ${b.stages[name].gflop} GFLOP`),
  ]
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('   ')).join('\n')
}

// ---- commands --------------------------------------------------------------------------------------------------------

const commands = {
  add([file, ...rest], { history, note, commit, date }) {
    if (file === undefined || rest.length > 0) throw new Wrong('add takes one report (- for standard input)')
    const report = parse(readText(file), file)
    const time = date ?? report.date ?? (file === '-' ? new Date() : statSync(file).mtime)
    if (Number.isNaN(new Date(time).getTime())) throw new Wrong(`not a time: ${time}`)
    const entry = entryOf(report, { date: new Date(time).toISOString(), commit: commit ?? currentCommit(), note })
    if (existsSync(history)) readHistory(history) // a file of another kind is left alone
    appendFileSync(history, `${JSON.stringify(entry)}\n`)
    return title(entry)
  },
  list(rest, { history }) {
    if (rest.length > 0) throw new Wrong('list takes no argument')
    return readHistory(history)
      .map((entry, i) => `${String(i + 1).padStart(3)}  ${title(entry)}`)
      .join('\n')
  },
  compare([first = 'last~1', second = 'last', ...rest], { history }) {
    if (rest.length > 0) throw new Wrong('compare takes two entries')
    const entries = readHistory(history)
    const [a, b] = [pick(entries, first), pick(entries, second)]
    const heads = ['stage', 'A: share', 'B: share', 'B / A', 'time, B / A']
    const notes = differences(a, b).map((text) => `not the same ${text}`)
    return [`A  ${title(a)}`, `B  ${title(b)}`, ...notes, '', table([heads, ...compare(a, b)])].join('\n')
  },
}

function main(argv) {
  const option = { type: 'string' }
  const options = { history: { ...option, default: path.join(here, 'history.jsonl') }, note: option, commit: option, date: option }
  const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true })
  const [name, ...rest] = positionals
  const command = Object.hasOwn(commands, name ?? '') ? commands[name] : undefined
  if (!command) throw new Wrong(`usage: history.mjs ${Object.keys(commands).join(' | ')}`)
  return command(rest, values)
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log(main(process.argv.slice(2)))
  } catch (error) {
    if (!(error instanceof Wrong) && !String(error.code).startsWith('ERR_PARSE_ARGS')) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}
