import { inspect } from '../index.js'
import { readFlags, toJson, type Command, type Flags } from './command.js'
import { readFileOptions, readSource, sourceFlags } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const flags = {
  ...sourceFlags,
  json: { kind: 'switch', help: 'everything, as JSON' },
  help: { kind: 'switch', short: 'h', help: 'show this' },
} as const satisfies Flags

interface Part {
  tensors: number
  parameters: number
  bytes: number
  dtypes: Record<string, number>
}

function describePart([name, { tensors, parameters, bytes, dtypes }]: [string, Part]): string {
  const types = Object.entries(dtypes)
    .sort(([, a], [, b]) => b - a)
    .map(([type, count]) => `${type} x${count}`)
  return `  ${name.padEnd(12)} ${(parameters / 1e6).toFixed(1).padStart(8)} M weights  ${(bytes / 1e6).toFixed(1).padStart(9)} MB  ${tensors} tensors (${types.join(', ')})`
}

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'say what a model is, from headers alone',
  usage: '[MODEL] [--json]',
  flags,
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 0, max: 1, names: 'one MODEL' })
    const bar = progressBar(io)
    const options = { signal: io.signal, onProgress: bar.update, ...readFileOptions(values) }
    const info = await inspect(readSource(values, positionals[0]), options).finally(bar.clear)
    if (values.json) {
      io.stdout.write(toJson(info))
      return
    }
    const { spec } = info
    const parts = (info.parts ?? {}) as Record<string, Part>
    const lines = [
      `${spec.name || spec.kind} (${spec.kind}, ${spec.layout} layout)`,
      `  ${spec.imageSize} pixels, ${spec.prediction} prediction, scale factor ${spec.scaleFactor}`,
      ...Object.entries(parts).map(describePart),
    ]
    io.stdout.write(`${lines.join('\n')}\n`)
  },
}
