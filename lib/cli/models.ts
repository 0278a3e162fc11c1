/** The cache of models on the command line: list, verify, rm. */
import { listModels, removeIncompleteDownloads, removeModel, verifyModels, type CachedModel, type VerifiedFile } from '../index.js'
import { flagsOf } from '../options/flags.js'
import { hubOptions, verifyOptions } from '../options/hub.js'
import { pick } from '../options/option.js'
import {
  formatBytes,
  plural,
  readFlags,
  readOptionFlags,
  ReportedFailure,
  reportFlags,
  toJson,
  UsageError,
  type Command,
  type Flags,
  type FlagValues,
  type Io,
} from './command.js'
import { progressBar } from './progress-bar.js'
import { cacheFlags } from './pull.js'

const { json, quiet, help } = reportFlags
const listFlags = { ...cacheFlags, json: { ...json, help: 'as JSON' }, help } as const satisfies Flags
/** Flags of commands that change the cache. */
const workFlags = { ...cacheFlags, json, quiet, help } as const satisfies Flags

/** Prints the result as JSON, as text, or with --quiet not at all. */
function report(io: Io, values: FlagValues<typeof workFlags>, result: unknown, words: () => string): void {
  if (values.json) io.stdout.write(toJson(result))
  else if (!values.quiet) io.stdout.write(words())
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  return rows.map((cells) => `${cells.map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i]!))).join('  ')}\n`).join('')
}

function listing(models: readonly CachedModel[]): string {
  if (models.length === 0) return 'no models in the cache\n'
  const rows = models.flatMap(({ source, revisions, incompleteBytes }) => {
    if (revisions.length === 0) return [[source, '-', '-', formatBytes(incompleteBytes), 'broken off', '-']]
    return revisions.map(({ commit, refs, files, bytes, modified }) => [
      source,
      commit.slice(0, 12),
      refs.join(',') || '-',
      formatBytes(bytes),
      plural(files, 'file'),
      modified.toISOString().slice(0, 10),
    ])
  })
  const sum = (key: 'bytes' | 'incompleteBytes') => models.reduce((bytes, model) => bytes + model[key], 0)
  const left = sum('incompleteBytes') > 0 ? `, of which ${formatBytes(sum('incompleteBytes'))} are partial downloads (latent rm --incomplete)` : ''
  return `${table([['MODEL', 'REVISION', 'REFS', 'SIZE', 'FILES', 'FETCHED'], ...rows])}${formatBytes(sum('bytes'))} in all${left}\n`
}

export const listCommand: Command = {
  name: 'list',
  summary: 'list the models in the cache',
  usage: '[--json]',
  flags: listFlags,
  async run(argv, io) {
    const { values } = readFlags(listFlags, argv, { min: 0, max: 0, names: 'flags only' })
    const models = await listModels(readOptionFlags(pick(hubOptions, 'cacheDir'), values))
    io.stdout.write(values.json ? toJson(models) : listing(models))
  },
}

const verifyFlags = {
  ...flagsOf(verifyOptions),
  ...workFlags,
} as const satisfies Flags

function verdict(files: readonly VerifiedFile[], removed: boolean): string {
  const count = (state: VerifiedFile['state']) => files.filter((file) => file.state === state).length
  const bad = files.filter(({ state }) => state === 'damaged' || state === 'missing')
  const lines = bad.map(({ source, commit, file, state }) => `${state}: ${source}@${commit.slice(0, 12)} ${file}\n`)
  const unknown = count('unknown') > 0 ? `, ${count('unknown')} without a published hash` : ''
  const remedy =
    bad.length === 0
      ? ''
      : `${removed ? '' : 'run again with --remove, then '}latent pull ${[...new Set(bad.map(({ source }) => source))].join(' ')}\n`
  return `${lines.join('')}${plural(files.length, 'file')}: ${count('ok')} correct${unknown}, ${count('damaged')} damaged, ${count('missing')} missing\n${remedy}`
}

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'check the hashes of models in the cache; exit code 1 if a file is damaged',
  usage: '[MODEL...] [--remove]',
  flags: verifyFlags,
  async run(argv, io) {
    const { values, positionals } = readFlags(verifyFlags, argv, { min: 0, max: 100, names: 'MODELs' })
    const bar = progressBar(io, values.quiet)
    const began = performance.now()
    const onProgress = (step: number, steps: number) => {
      const elapsedMs = performance.now() - began
      bar.update({ phase: 'verify', step, steps, elapsedMs, etaMs: step > 0 ? (elapsedMs / step) * (steps - step) : null })
    }
    const options = { ...readOptionFlags({ ...pick(hubOptions, 'cacheDir'), ...verifyOptions }, values), signal: io.signal, onProgress }
    const files = await verifyModels(positionals, options).finally(bar.clear)
    report(io, values, files, () => verdict(files, values.remove === true))
    if (files.some(({ state }) => state === 'damaged' || state === 'missing')) throw new ReportedFailure()
  },
}

const rmFlags = {
  incomplete: { kind: 'switch', help: 'delete partial files of interrupted downloads' },
  ...workFlags,
} as const satisfies Flags

export const rmCommand: Command = {
  name: 'rm',
  summary: 'delete models from the cache',
  usage: 'MODEL... | --incomplete   (hf:owner/name@revision deletes only that revision)',
  flags: rmFlags,
  async run(argv, io) {
    const { values, positionals } = readFlags(rmFlags, argv, { min: 0, max: 100, names: 'MODELs' })
    if (positionals.length === 0 && !values.incomplete) throw new UsageError('no model given: name one (see latent list), or pass --incomplete')
    const options = readOptionFlags(pick(hubOptions, 'cacheDir'), values)
    const removed: { source: string; bytes: number }[] = []
    for (const source of positionals) removed.push({ source, bytes: await removeModel(source, options) })
    if (values.incomplete) removed.push({ source: 'partial downloads', bytes: await removeIncompleteDownloads(options) })
    report(io, values, removed, () => removed.map(({ source, bytes }) => `${source}: ${formatBytes(bytes)} freed\n`).join(''))
  },
}
