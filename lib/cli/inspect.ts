import { inspect, openTensors, type OpenTensorsOptions } from '../index.js'
import { plural, readFlags, toJson, UsageError, type Command, type Flags, type Io } from './command.js'
import { readFileOptions, readSource, sourceFlags } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const flags = {
  ...sourceFlags,
  tensors: { kind: 'switch', help: 'list name, type, shape and bytes of all tensors' },
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

/** Lists the tensors of a container, which may be an embedding, an adapter or a single part instead of a model. */
async function listTensors(path: string, options: OpenTensorsOptions, json: boolean, { stdout }: Io): Promise<void> {
  const file = await openTensors(path, options)
  const tensors = [...file]
  const { metadata } = file
  file.dispose()
  if (json) {
    stdout.write(toJson({ path: file.path, metadata, tensors }))
    return
  }
  const width = Math.min(80, Math.max(0, ...tensors.map(({ name }) => name.length)))
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0)
  const lines = tensors.map(({ name, type, shape, bytes: own }) => `${name.padEnd(width)}  ${type.padEnd(8)} [${shape.join(', ')}]  ${own}`)
  stdout.write(`${[...lines, `${plural(tensors.length, 'tensor')}, ${bytes} bytes`].join('\n')}\n`)
}

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'describe a model from its header',
  usage: '[MODEL] [--tensors] [--json]',
  flags,
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 0, max: 1, names: 'one MODEL' })
    if (values.tensors) {
      const { model, variant, json = false } = values
      const other = Object.keys(values).find((name) => !['tensors', 'model', 'variant', 'json'].includes(name))
      if (other) throw new UsageError(`--tensors cannot be combined with --${other}`)
      const path = model ?? positionals[0]
      if (path === undefined) throw new UsageError('--tensors needs a file')
      await listTensors(path, { signal: io.signal, ...(variant === undefined ? {} : { variant }) }, json, io)
      return
    }
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
      `${spec.name || spec.kind} (${spec.kind}, ${spec.naming} names)`,
      `  ${spec.imageSize} pixels, ${spec.prediction} prediction, scale factor ${spec.scaleFactor}`,
      ...Object.entries(parts).map(describePart),
    ]
    io.stdout.write(`${lines.join('\n')}\n`)
  },
}
