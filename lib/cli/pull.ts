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
  if (!dryRun) return `${revision}\n${plural(files.length, 'file')}, ${formatBytes(bytes)}, ${formatBytes(fetchedBytes)} downloaded now\n${path}\n`
  const lines = files.map(({ path: file, size }) => `  ${formatBytes(size).padStart(9)}  ${file}`)
  return [revision, ...lines, `${plural(files.length, 'file')}, ${formatBytes(bytes)}; ${formatBytes(fetchedBytes)} to download`, ''].join('\n')
}

export const pullCommand: Command = {
  name: 'pull',
  summary: 'download models into the cache, or update them',
  usage: 'MODEL... [options]   (hf:owner/name[@revision][/file][:tag] or civitai:VERSION)',
  flags,
  notes:
    'Only files that the loader reads are downloaded. Run an interrupted pull again to resume it.\n' +
    'HF_TOKEN or `hf auth login` gives access to gated and private models, CIVITAI_TOKEN to members-only models; HF_ENDPOINT sets a mirror.',
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
