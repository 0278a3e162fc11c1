import { pullModel, type PullOptions, type PullReport } from '../index.js'
import { formatBytes, plural, readFlags, reportFlags, sameOptions, toJson, type Command, type Flags } from './command.js'
import { progressBar } from './progress-bar.js'

export const cacheFlags = {
  'cache-dir': { kind: 'text', value: 'DIR', help: 'folder of the cache (default: HF_HUB_CACHE, or ~/.cache/huggingface/hub)' },
} as const satisfies Flags

const flags = {
  variant: { kind: 'text', value: 'NAME', help: 'which weights to fetch if there are several, e.g. fp16' },
  part: { kind: 'text', value: 'PART', help: 'fetch one part only: unet, textEncoder, imageEncoder, vae or tokenizer' },
  include: { kind: 'text', value: 'LIST', help: 'additional files: PATTERN,PATTERN (* and **)' },
  'lock-file': { kind: 'text', value: 'FILE', help: 'pin the revision in FILE (latent.lock.json), or use the one pinned there' },
  'allow-pickle': { kind: 'switch', help: 'also accept .ckpt and .pt files from Civitai; they are read as data, never executed' },
  'dry-run': { kind: 'switch', help: 'list what would be fetched' },
  ...cacheFlags,
  ...reportFlags,
} as const satisfies Flags

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
      ...sameOptions(values, ['variant', 'part', 'lock-file', 'allow-pickle', 'dry-run', 'cache-dir']),
      ...(values.include === undefined ? {} : { include: values.include.split(',') }),
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
