import { DiffusionPipeline } from '../index.js'
import { inputOptions } from '../kinds/input-options.js'
import { flagsOf } from '../options/flags.js'
import { generateOptions } from '../options/generate.js'
import { memoryOptions } from '../options/load.js'
import { pick } from '../options/option.js'
import { readFlags, readOptionFlags, reportFlags, UsageError, type Command, type Flags } from './command.js'
import { checkTarget, previewFlags, promptFlags, readDrawingOptions, samplingFlags, samplingNotes, saveAndReport } from './drawing.js'
import { loadFlags, loraFlags, readLoadOptions, readSource, requiredModel } from './model-flags.js'
import { progressBar } from './progress-bar.js'

const { prompt, noiseLevel } = inputOptions
const upscaleInputs = { prompt: { ...prompt, flag: { ...prompt.flag, help: 'content of the image, for models that read text' } }, noiseLevel }

const flags = {
  ...loadFlags,
  model: { ...requiredModel.model, help: `a super-resolution model: ${requiredModel.model.help}` },
  ...flagsOf(upscaleInputs),
  ...promptFlags,
  ...loraFlags,
  ...flagsOf(pick(memoryOptions, 'tileSize')),
  output: { kind: 'text', short: 'o', value: 'FILE', help: 'image to write (default out.png)' },
  ...samplingFlags,
  ...previewFlags,
  ...reportFlags,
} as const satisfies Flags

export const upscaleCommand: Command = {
  name: 'upscale',
  summary: 'enlarge an image four times',
  usage: '-m MODEL IMAGE [-o out.png]',
  flags,
  notes: samplingNotes,
  async run(argv, io) {
    const { values, positionals } = readFlags(flags, argv, { min: 1, max: 1, names: 'one IMAGE' })
    const source = readSource(values)
    if (source === undefined) throw new UsageError('no model given: pass -m FILE, a super-resolution model')
    const output = values.output ?? 'out.png'
    await checkTarget(output, '--output')
    if (values.preview !== undefined) await checkTarget(values.preview, '--preview')
    const { signal } = io
    const bar = progressBar(io, values.quiet)
    const options = {
      ...readDrawingOptions(values),
      ...readOptionFlags({ ...upscaleInputs, ...pick(generateOptions, 'loras') }, values),
    }
    try {
      await using pipe = await DiffusionPipeline.load(source, { ...readLoadOptions(values), kind: 'superres', signal, onProgress: bar.update })
      const result = await pipe.upscale(positionals[0]!, { ...options, signal, onProgress: bar.update })
      bar.clear()
      await saveAndReport(result, output, pipe, values, io)
    } finally {
      bar.clear()
    }
  },
}
