import { convert, type ConvertOptions } from '../index.js'
import { convertOptions } from '../options/convert.js'
import { flagsOf } from '../options/flags.js'
import { omit } from '../options/option.js'
import { readFlags, readOptionFlags, reportFlags, toJson, UsageError, type Command, type Flags } from './command.js'
import { checkOutput } from './drawing.js'
import { readFileOptions, readSource, requiredModel, sourceFlags } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const flags = {
  ...omit(sourceFlags, 'refiner', 'preview-vae'), // one file is one model
  ...requiredModel,
  ...flagsOf(convertOptions),
  output: { kind: 'text', short: 'o', value: 'FILE', help: 'GGUF file to write' },
  ...reportFlags,
} as const satisfies Flags

export const convertCommand: Command = {
  name: 'convert',
  summary: 'write a model as one GGUF file',
  usage: '-m MODEL -t TYPE -o OUT.gguf   (or: latent convert MODEL OUT.gguf -t TYPE)',
  flags,
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 0, max: 2, names: 'MODEL and OUT.gguf' })
    const rest = [...positionals]
    const source = readSource(values, values.model === undefined ? rest.shift() : undefined)
    if (source === undefined) throw new UsageError('no model given: pass -m FILE')
    const output = values.output ?? rest.shift()
    if (output === undefined) throw new UsageError('no output given: pass -o OUT.gguf')
    if (rest.length > 0) throw new UsageError(`one argument too many: ${rest[0]}`)
    await checkOutput(output, '--output')
    const bar = progressBar(io, values.quiet)
    const options: ConvertOptions = {
      type: 'f16',
      ...readOptionFlags(convertOptions, values),
      signal: io.signal,
      onProgress: bar.update,
      ...readFileOptions(values),
    }
    try {
      const report = await convert(source, output, options)
      bar.clear()
      if (values.json) io.stdout.write(toJson(report))
      if (!values.quiet) {
        for (const { name, unmatched, skipped } of report.loras)
          if (unmatched.length + skipped.length > 0)
            io.stderr.write(`warning: ${name}: some layers were not applied: ${[...unmatched, ...skipped].slice(0, 3).join(', ')}\n`)
      }
      if (!values.json && !values.quiet) io.stdout.write(`${report.destination}: ${report.tensors} tensors, ${(report.bytes / 1e6).toFixed(1)} MB\n`)
    } finally {
      bar.clear()
    }
  },
}
