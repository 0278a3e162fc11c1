import { pullModel, type PullOptions, type PullReport } from '../index.js'
import { flagsOf } from '../options/flags.js'
import { hubOptions, pullOptions } from '../options/hub.js'
import { pick } from '../options/option.js'
import { formatBytes, plural, readFlags, readOptionFlags, reportFlags, toJson, type Command, type Flags } from './command.js'
import { progressBar } from './progress-bar.js'

export const cacheFlags = flagsOf(pick(hubOptions, 'cacheDir'))

const table = {
  ...pick(hubOptions, 'variant'),
  ...pick(pullOptions, 'part', 'include'),
  ...pick(hubOptions, 'lockFile', 'allowPickle'),
  ...pick(pullOptions, 'dryRun'),
  ...pick(hubOptions, 'cacheDir'),
}
const flags = { ...flagsOf(table), ...reportFlags } as const satisfies Flags

function describe({ source, commit, path, licence, bytes, fetchedBytes, files }: PullReport, dryRun: boolean): string {
  const revision = `${source} at ${commit.slice(0, 12)}${licence === undefined ? '' : `, licence ${licence}`}`
  if (!dryRun) return `${revision}\n${plural(files.length, 'file')}, ${formatBytes(bytes)}, ${formatBytes(fetchedBytes)} of it fetched now\n${path}\n`
  const lines = files.map(({ path: file, size }) => `  ${formatBytes(size).padStart(9)}  ${file}`)
  return [revision, ...lines, `${plural(files.length, 'file')}, ${formatBytes(bytes)}; ${formatBytes(fetchedBytes)} to fetch`, ''].join('\n')
}

export const pullCommand: Command = {
  name: 'pull',
  summary: 'fetch models into the cache, or bring them up to date',
  usage: 'MODEL... [options]   (hf:owner/name[@revision][/file][:tag] or civitai:VERSION)',
  flags,
  notes:
    'Only what the loader reads is fetched. An interrupted pull goes on where it was when it is run again.\n' +
    'HF_TOKEN or `hf auth login` gives access to gated and private models, CIVITAI_TOKEN to those for members; HF_ENDPOINT names a mirror.',
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 1, max: 100, names: 'one or more MODELs' })
    const bar = progressBar(io, values.quiet)
    const options: PullOptions = {
      ...readOptionFlags(table, values),
      signal: io.signal,
      onProgress: bar.updatePull,
    }
    const reports: PullReport[] = []
    try {
      for (const source of positionals) {
        const report = await pullModel(source, options)
        bar.clear()
        reports.push(report)
        if (!values.json && !values.quiet) io.stdout.write(describe(report, values['dry-run'] === true))
      }
    } finally {
      bar.clear()
    }
    if (values.json) io.stdout.write(toJson(reports.length === 1 ? reports[0] : reports))
  },
}
